"""How an object is read: by ranges, each with tries of its own, and never two objects mixed. A stand-in store; nobody waits."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice, repeat
from operator import length_hint
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError, NotFoundError, PermissionDeniedError

from app.backup import bucket as bucket_module
from app.backup.bucket import Bucket, worded
from app.backup.failure import BackupFailed, MayPass
from app.backup.order import Place
from app.backup.ranges import RANGE, TRIES, Ranges
from app.domain.backups import LONGEST_MANIFEST

WHOLE = random.Random(1).randbytes(3 * RANGE + 5)
SILENT = "the store sent nothing for 60 s"


class Store:
    """Gives `brings` bytes a request and then falls silent; 0 is a request that brings nothing. `tags` are what it calls the object."""

    def __init__(self, brings: list[int] | int | None = None, tags: tuple[object, ...] = ("a",)) -> None:
        self.brings, self.tags = brings, tags
        self.asked: list[tuple[int, int]] = []
        self.pauses: list[float] = []
        self._one = threading.Lock()

    @contextmanager
    def ask(self, at: int, end: int) -> Iterator[tuple[object, Iterator[bytes]]]:
        with self._one:
            self.asked.append((at, end))
            number = len(self.asked)
            bring = self.brings
            if isinstance(bring, list):
                bring = bring.pop(0) if bring else None
        yield self.tags[min(number, len(self.tags)) - 1], self._some(at, end, bring)

    def _some(self, at: int, end: int, bring: int | None) -> Iterator[bytes]:
        last = end if bring is None else min(at + bring, end)
        if last > at:
            yield WHOLE[at:last]
        if last < end:
            raise MayPass(SILENT, code="store_failed")

    def read(self, size: int = len(WHOLE)) -> Iterator[bytes]:
        return Ranges(self.ask, size, self.pauses.append).blocks()


def test_an_object_is_read_in_order_by_requests_that_end_by_themselves() -> None:
    store = Store()
    assert b"".join(store.read()) == WHOLE
    assert sorted(store.asked) == [(at, min(at + RANGE, len(WHOLE))) for at in range(0, len(WHOLE), RANGE)]
    assert list(Store().read(0)) == []


def test_a_reader_that_waits_keeps_no_request_open() -> None:
    """pg_restore lets a read wait for as long as an index takes."""
    store = Store()
    blocks = store.read()
    next(blocks)
    assert len(store.asked) <= 3, "those that are ahead, of which each ends by itself"
    assert sum(1 for _ in blocks) == 3
    assert len(store.asked) == 4


def test_a_slow_store_is_read_to_its_end_however_many_requests_that_takes() -> None:
    store = Store(brings=RANGE // 32)
    assert b"".join(store.read()) == WHOLE
    assert len(store.asked) > 10 * TRIES
    assert all(end - at <= RANGE for at, end in store.asked)


def test_what_a_broken_request_has_brought_is_not_asked_for_again() -> None:
    store = Store(brings=[1_000])
    assert b"".join(store.read(5_000)) == WHOLE[:5_000]
    assert store.asked == [(0, 5_000), (1_000, 5_000)]


def test_a_store_that_sends_nothing_is_left_after_bounded_tries_in_words() -> None:
    store = Store(brings=[700, *[0] * (TRIES - 1)])
    with pytest.raises(BackupFailed, match=f"{SILENT} at byte 700 of 5000, tried {TRIES} times"):
        list(store.read(5_000))
    assert len(store.asked) == TRIES
    assert store.pauses == sorted(store.pauses)


def test_tries_are_counted_for_each_stall_and_not_for_the_whole_read() -> None:
    stalls = [[*[0] * (TRIES - 2), 500] for _ in range(9)]
    store = Store(brings=[one for stall in stalls for one in stall])
    assert b"".join(store.read(5_000)) == WHOLE[:5_000]


@pytest.mark.parametrize("tags", [("a", "b"), (("a", None), ("a", "2"))])
def test_two_objects_are_never_mixed(tags: tuple[object, ...]) -> None:
    with pytest.raises(BackupFailed, match="became another one") as told:
        list(Store(brings=[1_000], tags=tags).read(5_000))
    assert told.value.code == "altered"


ERRORS = {
    "a login that is refused": (PermissionDeniedError("403"), 1),
    "an object that is gone": (NotFoundError("404"), 1),
    "a request that is wrong": (GenericError("Server returned non-2xx status code: 400 Bad Request"), 1),
    "a store that is busy": (GenericError("Server returned non-2xx status code: 503 Slow Down"), TRIES),
    "a store that asks for patience": (GenericError("non-2xx status code: 429 Too Many"), TRIES),
    "a connection that broke": (GenericError("request or response body error kind: Interrupted"), TRIES),
}


@pytest.mark.parametrize("what", ERRORS)
def test_only_what_may_pass_is_tried_again(what: str) -> None:
    error, tries = ERRORS[what]
    asked = []

    @contextmanager
    def failing(at: int, end: int) -> Iterator[tuple[object, Iterator[bytes]]]:
        asked.append((at, end))
        with worded():
            yield "a", broken()

    def broken() -> Iterator[bytes]:
        yield b""
        raise error

    with pytest.raises(BackupFailed):
        list(Ranges(failing, 10, lambda _: None).blocks())
    assert len(asked) == tries


def test_a_reader_that_has_seen_enough_ends_the_read() -> None:
    store = Store()
    blocks = store.read()
    assert next(islice(blocks, 1)) == WHOLE[:RANGE]
    blocks.close()  # type: ignore[attr-defined]
    assert len(store.asked) <= 3


def test_a_request_that_brings_empty_blocks_without_an_end_is_left() -> None:
    nothing = repeat(b"", 1_000_000)

    @contextmanager
    def endless(at: int, end: int) -> Iterator[tuple[object, Iterator[bytes]]]:
        yield "a", nothing

    with pytest.raises(BackupFailed, match="the store sent nothing"):
        list(Ranges(endless, 10, lambda _: None).blocks())
    assert length_hint(nothing) > 900_000


CUT_WHILE_READ = """
import os, resource, sys
import obstore
from app.backup.bucket import Bucket
from app.backup.failure import BackupFailed
from app.backup.order import Place
from app.backup.ranges import Ranges

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
folder, left, read = sys.argv[1], int(sys.argv[2]), sys.argv[3]
get = obstore.get

def cut(store, key, **options):
    found = get(store, key, **options)
    os.truncate(os.path.join(folder, key), left)
    return found

obstore.get = cut
bucket = Bucket(Place("file://" + folder))
try:
    if read == "object":
        list(bucket.read("key"))
    else:
        bucket.manifest("key")
except BackupFailed as error:
    print(error.code, error.message)
"""


@pytest.mark.parametrize(
    ("read", "left", "told"),
    [
        ("object", 0, "altered the object became another one while it was read"),
        ("object", 1, "altered the object became another one while it was read"),
        ("object", 30 << 20, "altered the object became another one while it was read"),
        ("object", 50 << 20, "altered the object became another one while it was read"),
        ("manifest", 0, "store_failed the store failed (GenericError)"),
        ("manifest", 1, "store_failed the store failed (GenericError)"),
    ],
)
def test_a_file_that_is_cut_or_grows_while_it_is_read_ends_the_read_and_not_the_process(
    tmp_path: Path, read: str, left: int, told: str
) -> None:
    """A process of its own, with bounds: the library's stream of such a file takes all memory and never ends."""
    (tmp_path / "key").write_bytes(bytes(40 << 20))
    if read == "manifest":
        (tmp_path / "key").rename(tmp_path / "key.manifest.json")
        (tmp_path / "key.manifest.json").write_bytes(b"{}" * 1_000)
    command = [sys.executable, "-c", CUT_WHILE_READ, str(tmp_path), str(left), read]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, told), done.stderr[-1_000:]


@pytest.mark.parametrize("size", [0, LONGEST_MANIFEST + 1])
def test_a_manifest_of_no_byte_or_of_too_many_is_none_of_ours(tmp_path: Path, size: int) -> None:
    (tmp_path / "key.manifest.json").write_bytes(b" " * size)
    with pytest.raises(BackupFailed, match="none of ours") as told:
        Bucket(Place(f"file://{tmp_path}")).manifest("key")
    assert told.value.code == "altered"


@pytest.mark.parametrize("url", ["s3://b/pre", "gs://b/pre", "az://b/pre"])
def test_every_kind_of_store_has_limits_for_requests_and_no_library_default(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(bucket_module, "from_url", lambda _, **options: made.append(options))
    Bucket(Place(url))
    limits = [options["client_options"]["timeout"] for options in made]
    assert limits == [timedelta(minutes=1)] * 2
    assert [options["retry_config"].get("max_retries") for options in made] == [None, 0]


def test_a_part_of_an_upload_has_the_time_that_its_size_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(bucket_module, "from_url", lambda _, **options: made.append(options))
    monkeypatch.setattr(obstore, "put", lambda *_, **options: made.append(options))
    bucket = Bucket(Place("s3://b/pre"))
    for expected in (0, 900 << 30):
        bucket.put("key", [], expected)
        chosen, put = made[-2:]
        limit, again = chosen["client_options"]["timeout"], chosen["retry_config"]["retry_timeout"]
        assert limit >= timedelta(seconds=max(120, put["chunk_size"] / (1 << 18)))
        assert again >= 2 * limit, "a part that stalled is sent again"
