"""Owns the bench of a backup: dump and upload against `pg_dump | zstd` of the same database in the same run, and the uploader's memory.

The bucket is a folder, so that no network is measured. The service has no part in it: its memory is not touched.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg

from tests.bench.report import Measure, Scale, at_least, below
from tests.contract.backup.pod import PodRun
from tests.contract.backup.test_backup import pod_for
from tests.contract.postgres import find_programs, running

BENCH = "backup"
RATIO, MEBIBYTES = 0.8, 200.0
ROWS = 3_500_000
_FILL = """
    INSERT INTO t SELECT g, md5(g::text), repeat(md5((g * 7)::text), 4), jsonb_build_object('k', md5((g * 3)::text), 'n', g)
    FROM generate_series(1, {}) g
"""


def measure(scale: Scale) -> list[Measure]:
    """How fast the bytes get there against a pipe, how long all of it takes, and the most memory that the uploader had."""
    with running(on_disk=True) as server, tempfile.TemporaryDirectory() as folder:
        url = server.new_database()
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text, c jsonb)")
            conn.execute(_FILL.format(scale.of(ROWS, 700_000, 2_000)).encode())
            row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
        size = int(row[0]) if row else 0
        rounds = []
        for number in range(1 if scale.tiny else 3):
            place = Path(folder) / str(number)
            place.mkdir()
            rounds.append((_piped(url, place), *_backed_up(url, place)))
    piped, ours, whole, peak = (min(one) for one in zip(*rounds, strict=True))
    note = f"{size / 1e6:.0f} MB in {ours:.1f} s, the pipe in {piped:.1f} s"
    ratio = Measure(BENCH, "dump and upload, to pg_dump | zstd", piped / ours, "x", note=note)
    memory = Measure(BENCH, "the uploader's most memory", peak, "MiB")
    total = Measure(BENCH, "with start, read back and check", whole, "s")
    return [ratio, memory, total] if scale.tiny else [at_least(ratio, RATIO), below(memory, MEBIBYTES), total]


def _backed_up(url: str, folder: Path) -> tuple[float, float, float]:
    """Seconds of dump and upload, seconds of all of it, and the most memory in MiB."""
    pod, began = pod_for(url, folder), time.monotonic()
    peak = _peak(pod)
    whole = time.monotonic() - began
    manifest = json.loads(next(folder.rglob("*.manifest.json")).read_text("utf-8"))
    at = [datetime.fromisoformat(manifest[name]) for name in ("started", "uploaded")]
    return (at[1] - at[0]).total_seconds(), whole, peak


def _piped(url: str, folder: Path) -> float:
    began = time.monotonic()
    command = f"'{find_programs()}/pg_dump' '{url}' | zstd --quiet --force -o '{folder}/piped.zst'"
    subprocess.run(command, shell=True, check=True)  # noqa: S602 - its own words
    return time.monotonic() - began


def _peak(pod: PodRun) -> float:
    """Run it; the uploader's greatest resident size in MiB."""
    processes, peak = pod.start(), 0
    upload = processes["upload"]
    while upload.poll() is None:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{upload.pid}/status").read_text("utf-8").splitlines()
            peak = max(peak, int(next(one.split()[1] for one in lines if one.startswith("VmHWM"))))
        time.sleep(0.02)
    said = {name: process.communicate()[0].decode() for name, process in processes.items()}
    assert upload.returncode == 0, said
    return peak / 1024
