"""Manifests in a bucket are words of strangers: bounded, plain, and cleaned before anybody reads them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.backup import bucket as bucket_module
from app.backup.bucket import Bucket, written
from app.backup.failure import BackupFailed
from app.backup.order import Place
from app.backup.source import table_name
from app.domain.backups import LONGEST_MANIFEST, Stored, manifest_of
from app.domain.copies import Server, Wal
from app.domain.evidence import Finding
from app.domain.remediation import Scene
from remediations.evidence import restores

KEY = "rag7/postgres/db/2026/11/26/20261126T120000Z.dump"
GOOD: dict[str, Any] = {
    "kind": "x", "bytes": 9, "rows": {"public.a": 1}, "server": "16.4 (Debian)", "locale": ["C", None], "restored": False
}  # fmt: skip
HOSTILE = {
    "deep": b'{"a":' * 200_000,
    "deep and closed": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "wide": b'{"a":[' + b"[]," * 1_000_000 + b"0]}",
    "longer than one is": b'{"a":1}' + b" " * LONGEST_MANIFEST,
    "a long number": b'{"bytes":' + b"9" * 5_000 + b"}",
    "a number no database counts to": b'{"database_bytes":' + b"9" * 400 + b"}",
    "less than none": b'{"bytes":-1}',
    "no number": b'{"bytes":NaN}',
    "a fraction": b'{"bytes":1e300}',
    "a long text": json.dumps({"server": "16 " + "x" * 5_000}).encode(),
    "controls": json.dumps({"server": "16 \x1b[2J"}).encode(),
    "another direction": json.dumps({"rows": {"a\u202eb": 1}}).encode(),
    "lines": json.dumps({"ended": "a\nb"}).encode(),
    "half a character": b'{"server":"16 \\ud800"}',
    "a list": b"[]",
    "no JSON": b"\xff\xfe",
    "nothing": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_manifest_that_is_none_of_ours_is_refused_in_words_of_ours(tmp_path: Path, case: str) -> None:
    file = tmp_path / f"{KEY}{bucket_module.MANIFEST}"
    file.parent.mkdir(parents=True)
    file.write_bytes(HOSTILE[case])
    with pytest.raises(BackupFailed) as refused:
        Bucket(Place(f"file://{tmp_path}", "", ""), {}).manifest(KEY)
    assert (refused.value.code, refused.value.message) == ("altered", "the manifest is none of ours")


def test_a_manifest_of_ours_is_read_as_it_was_written(tmp_path: Path) -> None:
    place = Bucket(Place(f"file://{tmp_path}", "", ""), {})
    many = {**GOOD, "rows": {f"public.{'t' * 50}_{n}": n for n in range(5_000)}}
    for manifest in (GOOD, many):
        place.tell(KEY, manifest)
        assert place.manifest(KEY) == manifest
    assert manifest_of(json.dumps(GOOD).encode()) == GOOD


UNREADABLE: dict[str, dict[str, Any]] = {
    "what nobody sees": {**GOOD, "rows": {"public.a\u200cb": 1}},
    "a line feed": {**GOOD, "asked_by": "a\nb"},
    "a fraction": {**GOOD, "bytes": 1.5},
    "too many tables": {**GOOD, "rows": {f"public.{'t' * 60}_{n}": n for n in range(60_000)}},
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_manifest_that_a_restore_would_refuse_is_never_written(tmp_path: Path, case: str) -> None:
    with pytest.raises(BackupFailed) as refused:
        Bucket(Place(f"file://{tmp_path}", "", ""), {}).tell(KEY, UNREADABLE[case])
    assert refused.value.code == "manifest"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert ("60000 tables" in refused.value.message) is (case == "too many tables")


def test_a_manifest_that_is_not_read_back_as_it_was_written_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Bucket(Place(f"file://{tmp_path}", "", ""), {})
    monkeypatch.setattr(Bucket, "manifest", lambda *_: {**GOOD, "bytes": 8})
    with pytest.raises(BackupFailed) as refused:
        place.tell(KEY, GOOD)
    assert refused.value.code == "altered"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


NAMES = {
    "stock": "stock",
    "a.b": '"a.b"',
    'a"b': '"a""b"',
    "a\\b": "a\\b",
    "a\nb": r'U&"a\000Ab"',
    "a\x1bb": r'U&"a\001Bb"',
    "mi\u200ckhaham": r'U&"mi\200Ckhaham"',
    "a\u00ad.b": r'U&"a\00AD.b"',
    "a\\200C\u200c": r'U&"a\\200C\200C"',
    "\U000e0041": r'U&"\+0E0041"',
}


def test_a_tables_name_is_told_in_escapes_that_a_restore_reads_and_stays_one_of_its_own() -> None:
    told = {name: table_name(name) for name in NAMES}
    assert told == NAMES
    assert len(set(told.values())) == len(NAMES)
    rows = {f"public.{name}": 1 for name in told.values()}
    assert manifest_of(written({**GOOD, "rows": rows}))["rows"] == rows


def test_a_listing_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "_MAX_OBJECTS", 3)
    place = Bucket(Place(f"file://{tmp_path}", "", ""), {})
    for number in range(4):
        place.put(f"a/{number}", [b"x"], 1)
    with pytest.raises(BackupFailed) as refused:
        place.backups("a")
    assert refused.value.code == "store_full"


def test_what_a_manifest_says_is_cleaned_before_it_is_told() -> None:
    told = {**GOOD, "server": "16 " + "x" * 5_000_000 + "\x1b[2J\u202e password=Sw0rdfish"}
    server = cast("Server", SimpleNamespace(major=16, version="16.4"))
    client = Finding("client", "c")
    texts = [restores.versions_finding(Stored("k", told, 1), server, client).text]
    told["server"] = "16 password=Sw0rdfish \x1b[2J"
    texts.append(restores.versions_finding(Stored("k", told, 1), server, client).text)
    assert all(len(text) < 300 and "Sw0rdfish" not in text and "\x1b" not in text for text in texts)


@pytest.mark.parametrize("size", [10**400, -1, True, "9", None])
async def test_a_size_that_is_none_is_not_reckoned_with(size: Any) -> None:
    scene = cast("Scene", SimpleNamespace(metrics=None))
    told = {"database_bytes": size, "bytes": 1 << 20}
    finding = await restores.space_finding(scene, Stored("k", told, 1), "", 2.0, Wal())
    assert "A copy beside needs about" in finding.text
    assert not restores._whole({**GOOD, "sha256": "a" * 64, "bytes": 10**400})


_GIB = 1 << 30


@pytest.mark.parametrize(
    ("wal", "stays", "by"),
    [
        (Wal(), 2 * _GIB, ""),
        (Wal(slots=("standby",)), 100 * _GIB, "the slot standby"),
        (Wal(slots=("standby",), cap=8 * _GIB), 10 * _GIB, ""),
        (Wal(unarchived=True), 100 * _GIB, "an archiver that fails"),
    ],
)
async def test_the_room_of_a_copy_counts_the_log_that_it_makes_and_who_keeps_that(
    monkeypatch: pytest.MonkeyPatch,
    wal: Wal,
    stays: int,
    by: str,
) -> None:
    assert (wal.of_copy(100 * _GIB), wal.kept_by) == (stays, by)
    assert wal.of_copy(1) == 1
    free = cast("Any", SimpleNamespace(instant=_free))
    scene = cast("Scene", SimpleNamespace(metrics=free, workload=SimpleNamespace(target=None)))
    stored = Stored("k", {"database_bytes": 100 * _GIB, "bytes": 1}, 1)
    monkeypatch.setattr(restores, "aim", lambda query, _: query)
    finding = await restores.space_finding(scene, stored, "postgres", 2.0, wal)
    assert (by in finding.text, "135 GiB is free" in finding.text) == (True, True), finding
    assert bool(finding.data.get("obstacle")) is bool(by), finding


async def _free(query: str) -> list[tuple[dict[str, str], float]]:
    del query
    return [({}, 135.0 * _GIB)]
