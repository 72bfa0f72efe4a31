"""The pure parts of backups: names and keys, what is kept, and what a Job's manifest may hold."""

from __future__ import annotations

import gzip
import json
import random
import socket
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError, NotFoundError, PermissionDeniedError

from app.backup import bucket as bucket_module
from app.backup import restore as restore_module
from app.backup.bucket import Bucket, Counted, worded
from app.backup.failure import BackupFailed
from app.backup.job import Pod, backup_job, restore_job
from app.backup.order import Form, Keep, Order, Place, new_name, stamp_of
from app.backup.packing import archive, packed, unpacked
from app.backup.pipes import SCRIPT
from app.backup.restore_order import Phase, RestoreOrder
from app.backup.retention import Known, surplus
from app.backup.upload import _check_text
from app.domain.database import DatabaseAddress

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ORDER = Order(
    new_name("langgraph_checkpoints", AT, "uid"),
    DatabaseAddress(
        "rag7", "postgres.rag7.svc", 5432, "langgraph_checkpoints", "db", url_key="DATABASE_URL", ca_key="ca"
    ),
    Form.CUSTOM,
    Place("s3://rag7-backups", "http://s3.example:9000"),
    Keep(),
    scratch=True,
)


def test_an_order_survives_its_variable_and_its_key_tells_the_day() -> None:
    assert Order.from_text(ORDER.to_text()) == ORDER
    assert ORDER.key == f"rag7/langgraph_checkpoints/2026/03/04/{ORDER.name}.dump.zst"
    assert stamp_of(ORDER.name) == AT
    odd = [new_name(name, AT, "x") for name in ("a-b", "a_b", "a.b", "a/../b", "é")]
    assert len({name.partition("-")[0] for name in odd}) == len(odd), "two databases never share a folder"
    assert all(stamp_of(name) == AT and "/" not in name and "." not in name for name in odd)
    with pytest.raises(ValueError, match="no backup's name"):
        stamp_of("notes")


def _daily(days: int) -> dict[str, Known]:
    return {f"d{n:03d}": Known(AT - timedelta(days=n)) for n in range(days)}


_KEPT = {
    "7 days": (Keep(7, 0, 0, 0), 30, 7),
    "4 weeks of daily ones": (Keep(0, 4, 0, 0), 60, 4),
    "2 months": (Keep(0, 0, 2, 0), 60, 2),
    "all of them": (Keep(0, 0, 0), 30, 30),
    "fewer than wanted": (Keep(7, 4, 12, 0), 3, 3),
    "none yet": (Keep(), 0, 0),
}


@pytest.mark.parametrize("what", _KEPT)
def test_the_newest_of_each_period_is_kept(what: str) -> None:
    keep, days, left = _KEPT[what]
    known = _daily(days)
    assert len(known) - len(surplus(known, keep)) == left


_MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2020, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001
_TABLES = st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, 10, 21, 50]))
_BACKUPS = st.lists(st.builds(Known, _MOMENTS, _TABLES, st.booleans()), max_size=40)
_KEEPS = st.builds(Keep, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 200))


@given(_BACKUPS, _KEEPS)
def test_the_newest_is_never_surplus_and_pruning_twice_is_pruning_once(
    backups: list[Known], keep: Keep
) -> None:
    known = {f"b{n}": one for n, one in enumerate(backups)}
    gone = surplus(known, keep)
    newest_first = sorted(known, key=lambda name: (known[name].at, name), reverse=True)
    if known:
        last = known[newest_first[0]].at
        assert newest_first[0] not in gone
        assert not [name for name in gone if known[name].at > last - timedelta(hours=keep.recent)]
    assert not {name for name in newest_first if known[name].restored and name in gone}.intersection(
        [name for name in newest_first if known[name].restored][:1]
    ), "the newest that was tried"
    left = {name: one for name, one in known.items() if name not in gone}
    assert surplus(left, keep) == []


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 9), st.data())
def test_of_a_second_read_nothing_is_handed_on_that_is_not_the_same(
    blocks: list[bytes], piece: int, data: st.DataObject
) -> None:
    whole = b"".join(blocks)
    other = data.draw(st.one_of(st.just(whole), st.binary(max_size=60), _one_changed(whole)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_module, "_PIECE", piece)
        counted = Counted()
        assert b"".join(counted.through(blocks)) == whole
        handed = bytearray()
        refused = nullcontext() if other == whole else pytest.raises(BackupFailed)
        with refused:
            for some in counted.again([other[at : at + 7] for at in range(0, len(other), 7)]):
                handed += some
        assert whole.startswith(handed)


def _one_changed(whole: bytes) -> st.SearchStrategy[bytes]:
    if not whole:
        return st.just(b"x")
    at = st.integers(0, len(whole) - 1)
    return at.map(lambda n: whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])


def test_a_listing_takes_no_more_of_an_archive_than_it_wants() -> None:
    taken = list[bytes]()

    def blocks() -> Iterator[bytes]:
        for block in [b"".join(packed([random.Random(1).randbytes(3 << 20)])), *[b"x" * 9] * 50]:
            taken.append(block)
            yield block

    some = unpacked(blocks())
    next(some)
    del some
    assert len(taken) == 1


RESTORE = RestoreOrder(
    Phase.RESTORE,
    ORDER.key,
    "0" * 64,
    100,
    ORDER.database,
    ORDER.place,
    "postgres",
    "live",
    "copy",
    "mark",
    ("SELECT true",),
    privileges=False,
)


def test_a_restores_order_survives_its_variable() -> None:
    assert RestoreOrder.from_text(RESTORE.to_text()) == RESTORE


def test_nothing_of_a_dump_reaches_psql() -> None:
    """CVE-2025-8714: psql runs shell commands that stand in a plain dump."""
    assert "psql" not in SCRIPT
    assert SCRIPT.count("pg_restore --dbname=") == SCRIPT.count("--exit-on-error --no-owner") == 2


_POD = Pod("postgres:15", "remediator:1", "store", "", 7200, 86400, "512Mi", ("pull",))
JOBS = {
    "backup": backup_job(ORDER, _POD, "backup-postgres", "database-backup"),
    "restore": restore_job(RESTORE, _POD, "restore-postgres", "database-restore"),
}


@pytest.mark.parametrize("what", JOBS)
def test_promise_12_the_manifest_refers_to_secrets_and_holds_none(what: str) -> None:
    text = json.dumps(JOBS[what])
    spec = json.loads(text)["spec"]["template"]["spec"]
    upload, dump = spec["containers"]
    named = {
        e["valueFrom"]["secretKeyRef"]["key"]
        for e in upload["env"]
        if "secretKeyRef" in e.get("valueFrom", {})
    }
    assert {"DATABASE_URL", "ca", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= named
    assert "secretKeyRef" not in json.dumps(dump), "the database's image gets no Secret"
    assert "secret" not in {k for v in spec["volumes"] for k in v}


@pytest.mark.parametrize("what", JOBS)
def test_the_pod_is_within_the_restricted_standard(what: str) -> None:
    spec = json.loads(json.dumps(JOBS[what]))["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["limits"]["memory"] == "512Mi"


def test_a_copy_that_is_not_what_was_uploaded_is_no_backup(tmp_path: object) -> None:
    bucket = Bucket(Place(f"file://{tmp_path}"))
    counted = bucket.put("incomplete", iter([b"whole"]), 0)
    with pytest.raises(BackupFailed) as refused:
        bucket.publish("incomplete", "final", Counted(counted.size + 1, counted.sha256))
    assert refused.value.code == "altered"


_SAID = {
    "HTTP 503": GenericError(
        "Server returned non-2xx status code: 503 Service Unavailable: <AWSAccessKeyId>AKIA</...>"
    ),
    "refuses the login": PermissionDeniedError("403 Forbidden: <StringToSign>AKIA</StringToSign>"),
    "no such bucket": NotFoundError("AKIA"),
    "GenericError": GenericError("error sending request for url (http://AKIA)"),
}


@pytest.mark.parametrize("words", _SAID)
def test_promise_12_a_stores_own_text_is_never_passed_on(words: str) -> None:
    """It repeats the login and what was signed with it."""
    with pytest.raises(BackupFailed) as told, worded():
        raise _SAID[words]
    assert words in told.value.message
    assert "AKIA" not in str(told.value)
    assert told.value.__suppress_context__


def test_a_full_store_is_told_as_full() -> None:
    full = "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)"
    with pytest.raises(BackupFailed, match="no room left") as told, worded():
        raise GenericError(full)
    assert told.value.code == "store_full"


@given(st.lists(st.binary(max_size=3_000), max_size=8))
def test_what_was_packed_comes_back_in_bounded_blocks(blocks: list[bytes]) -> None:
    back = list(unpacked(packed(iter([*blocks, bytes(3 << 20)]))))
    assert b"".join(back) == b"".join(blocks) + bytes(3 << 20)
    assert max(map(len, back)) <= 1 << 20


def test_a_cut_package_gives_no_more_than_was_there_and_all_of_it_is_read() -> None:
    whole = b"".join(packed(iter([random.Random(1).randbytes(50_000)])))
    counted = Counted()
    with suppress(BackupFailed):
        list(unpacked(counted.through(iter([whole[:1_000], b"rubbish" * 1_000]))))
    assert counted.size == 1_000 + 7_000
    assert counted.sha256


@given(st.binary(max_size=3_000), st.booleans(), st.integers(1, 5), st.binary(max_size=9), st.data())
def test_a_package_is_taken_whole_and_with_nothing_behind_it_or_refused(
    content: bytes, checked: bool, piece: int, junk: bytes, data: st.DataObject
) -> None:
    """Whatever form its frame has, and however it comes: one byte of another number of them is refused."""
    one_byte_many_times = content + bytes(data.draw(st.sampled_from([0, 7, 300_000])))
    told = data.draw(st.sampled_from([-1, len(one_byte_many_times)]))
    packer = zstandard.ZstdCompressor(write_checksum=checked, write_content_size=told >= 0).compressobj(told)
    whole = packer.compress(one_byte_many_times) + packer.flush()
    kept = data.draw(st.integers(0, len(whole)))
    for given_, why in (
        (whole, ""),
        (whole + junk, f"has {len(junk)} bytes after"),
        (whole + whole, f"has {len(whole)} bytes after"),
        (whole[:kept], "is cut"),
    ):
        pieces = [given_[at : at + piece] for at in range(0, len(given_), piece)]
        if given_ == whole:
            assert b"".join(unpacked(pieces)) == one_byte_many_times
        else:
            with pytest.raises(BackupFailed, match=why) as refused:
                list(unpacked(pieces))
            assert refused.value.code == "altered"


@pytest.mark.parametrize("split", [1, 10_000])
def test_a_plain_dump_with_something_behind_its_end_is_refused(split: int) -> None:
    whole = gzip.compress(b"SELECT 1;\n-- PostgreSQL database dump complete\n")
    _check_text([whole])
    for spoilt in (whole + b"x", whole + whole, whole[:-1]):
        with pytest.raises(BackupFailed, match="not whole"):
            _check_text([spoilt[at : at + split] for at in range(0, len(spoilt), split)])


class _Copy:
    """A copy of a server that is away for so many tries, with this code."""

    def __init__(self, away: int, code: str = "unreachable") -> None:
        self.away, self.code, self.tries = away, code, 0

    def drop(self) -> None:
        self.tries += 1
        if self.tries <= self.away:
            raise BackupFailed("the database could not be asked", code=self.code)


@pytest.mark.parametrize(
    ("away", "code", "tries"),
    [(0, "", 1), (4, "unreachable", 5), (99, "unreachable", 10), (99, "query_failed", 2)],
)
def test_a_copy_is_dropped_once_its_server_is_back_and_what_stays_is_told_with_the_statement(
    away: int, code: str, tries: int
) -> None:
    copy, pauses, said = _Copy(away, code), list[float](), list[str]()
    parts = SimpleNamespace(order=RESTORE, say=said.append, pause=pauses.append)
    left = restore_module._dropped(cast("Any", SimpleNamespace(parts=parts, copy=copy)))
    assert copy.tries == tries
    assert bool(left) is (away == 99)
    assert (f'DROP DATABASE "{RESTORE.copy}" WITH (FORCE)' in left) is bool(left)
    assert said == [left] * bool(left)
    assert sum(pauses) <= 60


@pytest.mark.parametrize("text", [b"-- PostgreSQL database dump", b"toc.dat\0\0", b"PG", b""])
def test_only_the_custom_format_reaches_pg_restore(text: bytes) -> None:
    with pytest.raises(BackupFailed, match="custom format"):
        list(archive([text[:1], text[1:]]))
    assert b"".join(archive([b"P", b"GDMP", b"x", b"y"])) == b"PGDMPxy"


@pytest.mark.parametrize(
    ("login", "endpoint", "told"),
    [
        ({}, "http://127.0.0.1:{port}", "cannot be reached: nothing listens at its endpoint"),
        ({}, "http://no-such-host.invalid:9", "the name of its endpoint cannot be resolved"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "http://127.0.0.1:{port}", "lacks AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": ""}, "http://127.0.0.1:{port}", "lacks AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_store_that_is_not_reached_and_a_login_without_a_key_are_told_apart(
    login: dict[str, str], endpoint: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        place = Place("s3://bucket/folder", endpoint.format(port=closed.getsockname()[1]))
        given = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "canary", **login}
        for name in given:
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(BackupFailed) as failed:
            _once(place, {name: value for name, value in given.items() if value})
    assert told in str(failed.value)
    assert "canary" not in str(failed.value)


def _once(place: Place, login: dict[str, str]) -> None:
    bucket = Bucket(place, login)
    bucket._store = bucket._reading  # without another try
    bucket.size("key")
