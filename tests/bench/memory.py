"""Owns the bench of memory: what the process holds after a storm of alerts has been accepted."""

from __future__ import annotations

import time

from tests.bench import servers
from tests.bench.load import Load, run
from tests.bench.report import Measure, Scale, below

BENCH = "memory"
MEBIBYTES = 200.0
_PER_POST = 10
_REST = 5.0  # seconds after the last answer, so that what is only passing is gone


def measure(scale: Scale) -> list[Measure]:
    """Resident memory at rest, and after 50,000 distinct alerts on 100 targets."""
    alerts = scale.of(50_000, 50_000, 100)
    with servers.service() as server:
        before = server.resident()
        report = run(server.url, server.token, Load(alerts // _PER_POST, _PER_POST))
        if not report.accepted:
            raise RuntimeError(f"not all posts were accepted: {report.statuses}")
        time.sleep(0 if scale.tiny else _REST)
        after, peak = server.resident(), server.resident("VmHWM")
    held = Measure(BENCH, f"after {alerts:,} alerts", after, "MiB", note=f"{peak:.0f} MiB at most")
    return [Measure(BENCH, "at rest", before, "MiB"), below(held, MEBIBYTES, scale)]
