"""Owns the bench of the start: from the start of the process to the first /readyz that answers 200."""

from __future__ import annotations

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import servers
from tests.bench.report import Measure, Scale, below, cpu_seconds

BENCH = "ready"
SECONDS = 3.0


def measure(scale: Scale) -> list[Measure]:
    """The first start, which also makes the databases, and starts on existing ones."""
    if not scale.tiny:
        with servers.service():
            pass  # what was never imported on this machine is compiled now
    with TemporaryDirectory(prefix="bench-ready-") as folder:
        fresh, fresh_cpu = _start(Path(folder))
        again = [_start(Path(folder)) for _ in range(scale.of(5, 3, 1))]
    seconds = [wall for wall, _ in again]
    first = Measure(BENCH, "first start", fresh, "s", note=f"{fresh_cpu:.2f} s of processor time")
    cpu = statistics.median(used for _, used in again)
    restart = Measure(
        BENCH,
        "restart",
        statistics.median(seconds),
        "s",
        note=f"median of {len(again)}, best {min(seconds):.2f} s; {cpu:.2f} s of processor time",
    )
    return [below(first, SECONDS, scale), below(restart, SECONDS, scale)]


def _start(folder: Path) -> tuple[float, float]:
    with servers.service(folder=folder) as server:
        return server.ready_after, cpu_seconds(server.process.pid)
