"""Since when requests fail, told from shares of them that were recorded before a rollout and after it.

Called by who has asked for the samples. Such a share is a rate over minutes, so that it climbs slowly: what it shows has begun before, never
after. Too few values, or requests, tell nothing, and nothing is concluded from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise, takewhile

from app.domain.ports import Sample


class Since(StrEnum):
    """Since when requests fail: OLDER than the rollout, WITH its pods, LATER than these, or nobody can tell."""

    OLDER = "older"
    WITH = "with"
    LATER = "later"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Onset:
    """Since when, the share right before the rollout and the highest since. `at`: when it began, at the latest; `whole`: perhaps before all
    that is recorded. `why` nobody can tell; empty where the two shares say so."""

    since: Since
    level: float = 0.0
    most: float = 0.0
    at: datetime | None = None
    whole: bool = False
    why: str = ""


_SKEW = timedelta(seconds=30)
"""So much the clocks of the cluster and of Prometheus may differ."""
_WINDOW = timedelta(minutes=5)
"""So long the share of something new grows: it is over so many minutes."""
_CUT = timedelta(minutes=30)
"""So long before the record an earlier rollout may have brought what the record begins with."""
_CLEAN = timedelta(minutes=1)
"""So long without it, and no value may be missing for longer."""
_AT_ONCE = timedelta(minutes=3)
"""What is seen so soon after pods began to serve came with them: requests have to come, and the share to climb."""
_FAIL, _RISEN, _SAME, _QUIET = 0.01, 0.1, 0.8, 0.2
"""Shares of requests that count as failing at all; and of the highest one since: what shows a rise, is as bad, and is next to none."""
_GROWTH, _STAYS = 1.02, 0.95
"""Parts of what it was half a minute before, and a minute."""
_EXPECTED, _LEAST_VALUES = 5, 3
"""So many requests, and values, it takes to say anything."""


def onset(
    rows: Sequence[Sample],
    rate: Mapping[datetime, float],
    deployed: datetime,
    served: datetime,
    earlier: Sequence[datetime] = (),
) -> Onset:
    """`rows` are shares, oldest first, and `rate` the requests a second at these moments, empty where nobody counts them. `served`: when pods of
    the rollout of `deployed` began to. `earlier`: the rollouts before it, as far as they are known."""
    before, old = [r for r in rows if r.at <= deployed - _SKEW], [r for r in rows if r.at <= served]
    felt = rows[len(old) :]
    if not before or before[-1].at < deployed - _SKEW - _CLEAN or old[-1].at < served - _SKEW - _CLEAN:
        return Onset(Since.UNKNOWN, why="Prometheus has no values of the time right before it")
    most = max((r.value for r in felt), default=0.0)
    if most < _FAIL or max(_failed(r, rate) for r in felt) < _EXPECTED:
        return Onset(Since.UNKNOWN, why="Prometheus has next to no requests that failed since")
    level, quiet = before[-1].value, min(r.value for r in before)
    high = max(quiet + _RISEN * (most - quiet), _FAIL / 2)
    began = _run(before, high)
    past = [r for r in before if before[-1].at - _CLEAN <= r.at][:-1]
    last = [r.value for r in past if before[-1].at - _SKEW <= r.at]
    # What ended minutes ago still stands in a rate over minutes, the same or ever less of it; what goes on stays as bad, or climbs.
    grows = began is not None and deployed - began <= _WINDOW and level >= _GROWTH * min(last, default=level)
    stays = level >= _SAME * most and level >= _STAYS * max((r.value for r in past), default=level)
    if (grows or stays) and _failed(before[-1], rate) >= _EXPECTED:
        at = began or rows[0].at
        return Onset(Since.OLDER, level, most, at, whole=at == rows[0].at)
    if level > _QUIET * most or began is not None:
        return Onset(Since.UNKNOWN, level, most)
    if old[-1].value >= high:
        return Onset(Since.UNKNOWN, why="requests began to fail before its own pods served")
    if not _tells(old, rate, high, most):
        return Onset(Since.UNKNOWN, why="Prometheus has too few requests of the time before it")
    if (once := _recurs(before, rate, high, earlier)) is not None:
        minutes = max(1, round((deployed - once).total_seconds() / 60))
        why = f"requests began to fail {minutes} min before it as well and then recovered: what comes and goes may have come again"
        return Onset(Since.UNKNOWN, level, most, once, why=why)
    worst = next(n for n, r in enumerate(felt) if r.value >= most / 2)
    by = _run(felt[: worst + 1], high) or felt[worst].at
    return Onset(Since.WITH if by <= served + _AT_ONCE else Since.LATER, level, most, by)


def _failed(row: Sample, rate: Mapping[datetime, float]) -> float:
    """So many requests a share stands for; enough where nobody counts them."""
    return row.value * rate.get(row.at, 0.0) * _WINDOW.total_seconds() if rate else float(_EXPECTED)


def _run(rows: Sequence[Sample], high: float) -> datetime | None:
    """Since when the last of these are this high without a pause; None when the very last is not."""
    run = list(takewhile(lambda r: r.value >= high, reversed(rows)))
    return run[-1].at if run else None


def _recurs(
    before: Sequence[Sample], rate: Mapping[datetime, float], high: float, earlier: Sequence[datetime]
) -> datetime | None:
    """When requests began to fail the last time before the rollout from which they recovered; None when there was none. What began with an
    earlier rollout accuses that one, and clears nobody."""
    runs = list[list[Sample]]()
    for row in (r for r in before if r.value >= high):
        if runs and row.at - runs[-1][-1].at <= _CLEAN:
            runs[-1].append(row)
        else:
            runs.append([row])
    # Of one that stands where the record begins nobody knows since when: an earlier rollout within as long before it may have brought it.
    cut = before[0].at if before else None
    own = (
        run
        for run in reversed(runs)
        if any(_failed(r, rate) >= _EXPECTED for r in run)
        and not any(at - _SKEW <= run[0].at <= at + (_CUT if run[0].at == cut else _WINDOW) for at in earlier)
    )
    return next((run[0].at for run in own), None)


def _tells(old: Sequence[Sample], rate: Mapping[datetime, float], high: float, most: float) -> bool:
    """Would requests of the time before have failed, if they had failed as they do now?"""
    clean = list(takewhile(lambda r: r.value < high, reversed(old)))
    if len(clean) < _LEAST_VALUES or clean[0].at - clean[-1].at < _CLEAN:
        return False
    steps = ((earlier.at, min(later.at - earlier.at, _CLEAN)) for later, earlier in pairwise(clean))
    requests = sum(rate.get(at, 0.0) * step.total_seconds() for at, step in steps)
    return not rate or requests * most >= _EXPECTED
