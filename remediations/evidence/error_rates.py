"""How many error lines a minute and pod a workload's pods write now, by the time that what was read of their logs covers.

Called by `remediations.aftermath`, before a change and after it, in the same way, so that both numbers mean the same. Each line is dated by
the kubelet and not by what the program writes; only the present run of a container counts; a log that had to be cut counts for the time
between its ends. What covers too little tells nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from app.domain.cluster import Cluster, LogQuery
from app.domain.text import beside
from app.domain.workload import ContainerState, Pod
from remediations.evidence.error_lines import errors_in, first_time
from remediations.evidence.logs import PodLog, read_log
from remediations.evidence.usage import count, span

MAX_PODS: Final = 12
MAX_LOG_BYTES: Final = 1024 * 1024
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of all logs of one look together."""
MAX_LINES: Final = 10_000
_LEAST: Final = 60.0
"""Seconds that a container has run, before what it wrote is held against another time."""
_LEAST_READ: Final = 30.0
"""The same of a log that was cut: less is too few lines of what is written rarely."""
_AT_ONCE: Final = 4
_STAMP: Final = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d) ")


@dataclass(frozen=True, slots=True)
class _Counted:
    """Error lines of one container in so many seconds; `fault` is why nothing is known of them."""

    errors: int = 0
    seconds: float = 0.0
    fault: str = ""


async def error_rate(cluster: Cluster, pods: Sequence[Pod], now: datetime, window: float) -> float | str:
    """Error lines a minute and pod of the `window` seconds before `now`, of containers that have begun; or why nobody can tell: at least half
    of the pods have to tell. The pods are chosen by name: broken ones first would make it the rate of the broken."""
    begun = [(p, runs) for p in sorted(pods, key=lambda p: p.name) if not p.over and (runs := [*_runs(p)])]
    chosen = begun[:MAX_PODS]
    if not chosen:
        return "no pod runs"
    most = min(MAX_LOG_BYTES, MAX_BYTES // sum(len(runs) for _, runs in chosen))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def counted(pod: Pod, run: tuple[str, datetime]) -> _Counted:
        since = max(run[1], now - timedelta(seconds=window))
        query = LogQuery(
            pod.ref.namespace, pod.name, run[0],
            since_seconds=max(1, round(window)), tail_lines=MAX_LINES, limit_bytes=most, timestamps=True,
        )  # fmt: skip
        async with gate:
            return await _of_container(cluster, query, since, now)

    found = [await asyncio.gather(*(counted(pod, run) for run in runs)) for pod, runs in chosen]
    told = [of_pod for of_pod in found if not any(one.fault for one in of_pod)]
    if 2 * len(told) < len(chosen):
        why = next(one.fault for of_pod in found for one in of_pod if one.fault)
        return f"{len(told)} of {count(len(chosen), 'pod')} tell them ({why})"
    # A pod weighs as much as the time that is known of it.
    weights = [min(one.seconds for one in of_pod) for of_pod in told]
    rates = [sum(one.errors * 60 / one.seconds for one in of_pod) for of_pod in told]
    return round(sum(r * w for r, w in zip(rates, weights, strict=True)) / sum(weights), 1)


def _runs(pod: Pod) -> Iterator[tuple[str, datetime]]:
    """Its containers that have begun, with when their present run did, or between two runs the last one."""
    for state in pod.containers:
        if (since := _began(state)) is not None:
            yield state.name, since


def _began(state: ContainerState) -> datetime | None:
    if state.running_since is not None:
        return state.running_since
    ended = state.terminated or state.last_terminated
    return None if state.first or ended is None else ended.started_at


async def _of_container(cluster: Cluster, query: LogQuery, since: datetime, now: datetime) -> _Counted:
    where, ran = f"{query.pod}/{query.container}", (now - since).total_seconds()
    if ran < _LEAST:
        return _Counted(fault=f"{where} began {span(max(0.0, ran))} ago, {span(_LEAST)} are needed")
    read = await read_log(cluster, query)
    if read.no_end:
        # Cut in bytes it ends early. So many lines fit: the newest of them are what is asked about.
        fitting = max(1, read.text.count("\n") * 9 // 10)
        read = await read_log(cluster, replace(query, tail_lines=fitting))
    if read.fault:
        return _Counted(fault=f"the log of {where} could not be read: {read.fault}")
    return await beside(len(read.text), partial(_counted, read, where, since, now))


def _counted(read: PodLog, where: str, since: datetime, now: datetime) -> _Counted:
    rows = read.text.splitlines()[: -1 if read.no_end else None]
    seconds = (now - since).total_seconds()
    if read.cut:
        first, last = _dated(rows), now if not read.no_end else _dated(reversed(rows))
        if first is None or last is None:
            return _Counted(fault=f"the log of {where} was cut, and its lines have no time")
        seconds = min(seconds, (last - first).total_seconds())
        if seconds < _LEAST_READ:
            told = f"the log of {where} is so long that {span(max(0.0, seconds))} of it could be read"
            return _Counted(fault=f"{told}, {span(_LEAST_READ)} are needed")
    return _Counted(sum(1 for _ in errors_in(_STAMP.sub("", row, count=1) for row in rows)), seconds)


def _dated(rows: Sequence[str] | Iterator[str]) -> datetime | None:
    """When the first of these lines that has a time was written."""
    return next((at for row in islice(rows, 10) if (at := first_time(row[:40])) is not None), None)
