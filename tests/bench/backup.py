"""Owns the bench of a backup: the dump and upload of a pod against `pg_dump | zstd`, the restore of that backup by a pod against
`pg_restore`, every row of the copy against the database's, and memory: the uploader's, and the service's while it is ordered to do both.

All are of one database in one run. The pods of the first part have a folder as their bucket, so that no network is measured.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.backup.restore_order import Phase
from tests.bench import backup_service
from tests.bench.backup_world import (
    Database,
    Digests,
    beside,
    compare,
    digests,
    drop,
    filled,
    piped,
    restored_by_hand,
)
from tests.bench.report import Measure, Scale, at_least, below, resident
from tests.contract.backup.pod import PodRun
from tests.contract.backup.recovery import Recovery, planned
from tests.contract.postgres import running

BENCH = "backup"
RATIO, MEBIBYTES = 0.8, 200.0
ROWS = 3_500_000
"""One gigabyte."""
_PATIENCE = 1_800.0  # seconds that a pod may take
_BY_HAND = "by_hand"


@dataclass(frozen=True)
class _Round:
    """Seconds of one round, the most memory of the uploader in MiB, and how many rows were alike."""

    piped: float
    moved: float
    whole: float
    peak: float
    by_hand: float
    restored: float
    alike: int


def measure(scale: Scale) -> list[Measure]:
    """How fast a backup gets there and back, whether every row does, and what the uploader and the service need for it."""
    with running(on_disk=True) as server, tempfile.TemporaryDirectory(prefix="bench-backup-") as folder:
        database = filled(server, scale.of(ROWS, 700_000, 2_000))
        live = digests(database.url)
        rounds = [_round(database, live, Path(folder) / str(n)) for n in range(1 if scale.tiny else 3)]
        rows = min(r.alike for r in rounds)
        alike = Measure(
            BENCH, "rows of the copy that are the database's", rows, "rows", note="all, by sha256"
        )
        found = [*_there(rounds, database.size, scale), *_back(rounds, database.size), alike]
        return found + backup_service.measure(database, live, Path(folder), scale)


def _there(rounds: list[_Round], size: int, scale: Scale) -> list[Measure]:
    pipe, ours = min(r.piped for r in rounds), min(r.moved for r in rounds)
    note = f"{size / 1e6:.0f} MB in {ours:.1f} s, the pipe in {pipe:.1f} s"
    ratio = Measure(BENCH, "dump and upload, to pg_dump | zstd", pipe / ours, "x", note=note)
    memory = Measure(BENCH, "the uploader's most memory", min(r.peak for r in rounds), "MiB")
    total = Measure(BENCH, "with start, read back and check", min(r.whole for r in rounds), "s")
    return [at_least(ratio, RATIO, scale), below(memory, MEBIBYTES, scale), total]


def _back(rounds: list[_Round], size: int) -> list[Measure]:
    by_hand, ours = min(r.by_hand for r in rounds), min(r.restored for r in rounds)
    note = f"in {ours:.1f} s, with the digest before and the validation after; pg_restore in {by_hand:.1f} s"
    return [
        Measure(BENCH, "restore of that backup, to pg_restore", by_hand / ours, "x", note=note),
        Measure(BENCH, "restore, the database's size by its time", size / 1e6 / ours, "MB/s"),
        Measure(BENCH, "the same of pg_restore", size / 1e6 / by_hand, "MB/s"),
    ]


def _round(database: Database, live: Digests, folder: Path) -> _Round:
    """Raises RowsDiffer."""
    made = planned(database.url, database.owner, folder)
    pipe, began = piped(database.url, folder), time.monotonic()
    peak = _peak(made.backup_pod)
    whole = time.monotonic() - began
    made = made.published()
    made.seconds = _PATIENCE
    at = [datetime.fromisoformat(made.manifest[name]) for name in ("started", "uploaded")]
    by_hand = restored_by_hand(database.url, made.stored, _BY_HAND)
    drop(database.url, _BY_HAND)
    restored = _restored(made)
    (copy,) = made.copies
    alike = compare(live, digests(beside(database.url, copy)))
    drop(database.url, copy)
    return _Round(pipe, (at[1] - at[0]).total_seconds(), whole, peak, by_hand, restored, alike)


def _restored(made: Recovery) -> float:
    """Seconds of a restore by the pod, from its start to its end."""
    began = time.monotonic()
    code, words = made.run(Phase.RESTORE)
    if code != 0:
        raise RuntimeError(f"the restore failed: {words}")
    return time.monotonic() - began


def _peak(pod: PodRun) -> float:
    """Run it; the uploader's greatest resident size in MiB."""
    processes, peak = pod.start(), 0.0
    upload = processes["upload"]
    while upload.poll() is None:
        with suppress(OSError, StopIteration):
            peak = max(peak, resident(upload.pid, "VmHWM"))
        time.sleep(0.02)
    said = {name: process.communicate()[0].decode() for name, process in processes.items()}
    assert upload.returncode == 0, said
    return peak
