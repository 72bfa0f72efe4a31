"""Does memory grow steadily, does it flatten, and do the requests of the same time account for it? A least-squares line through each pod's
samples, with what it takes to believe it.

Called by `leaks`. Time and load grow together every morning: a line over time alone does not tell a leak from traffic. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.ports import Sample

_DROP = 0.6
"""A sample below this part of the one before it: the container was started anew, and with it the line."""
_SLOWER = 0.5
"""Below this part of its steepest slope at its end, a curve flattens."""
_LEAST = 4
"""Samples of a part of a curve, from which on its own scatter tells anything."""
_SAME_TIME = 0.75
"""For this part of the time over which memory grew its requests have to be known."""
_ALIKE = 0.5
"""R squared from which requests, which vary more than memory, count as growing with it."""
_UNLIKE = 0.25
"""Requests that grew by less than this part of memory's growth do not account for it."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What it takes to call growth a leak: at least `samples` over `span` seconds, growing by `growth` of the first
    value over that span, and a line that explains `fit` of the variance (R squared)."""

    samples: int
    span: float
    growth: float
    fit: float


class Verdict(StrEnum):
    """What the samples of one pod show."""

    LEAK = "leak"
    FLATTENS = "flattens"
    STEADY = "steady"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through samples: slope in bytes a second, R squared, seconds covered, first and last value on
    the line in bytes, and when it begins."""

    slope: float
    fit: float
    span: float
    first: float
    last: float
    samples: int
    start: datetime

    @property
    def growth(self) -> float:
        """Growth over the span as a part of the first value."""
        return (self.last - self.first) / self.first if self.first > 0 else 0.0


def fit_line(samples: Sequence[Sample]) -> Line | None:
    """Least squares; None when the samples are fewer than two or lie at one moment."""
    if len(samples) < 2:
        return None
    origin = samples[0].at
    xs = [(s.at - origin).total_seconds() for s in samples]
    ys = [s.value for s in samples]
    length = max(xs) - min(xs)
    if length == 0:
        return None
    slope, at_zero = statistics.linear_regression(xs, ys)
    flat = min(ys) == max(ys)
    fit = 0.0 if flat else statistics.correlation(xs, ys) ** 2
    first = at_zero + slope * min(xs)
    return Line(slope, fit, length, first, first + slope * length, len(samples), origin)


def judge(samples: Sequence[Sample], limits: Thresholds) -> tuple[Verdict, Line | None]:
    """Verdict on one pod. Each life of its container counts for itself; the longest one that is long enough decides."""
    lines = [(line, part) for part in _lives(samples) if (line := fit_line(part)) is not None]
    usable = [(x, part) for x, part in lines if x.samples >= limits.samples and x.span >= limits.span]
    if not usable:
        return Verdict.UNKNOWN, None
    line, part = max(usable, key=lambda pair: pair[0].span)
    if line.slope <= 0 or line.growth < limits.growth or line.fit < limits.fit:
        return Verdict.STEADY, line
    return (Verdict.FLATTENS if _flattens(part) else Verdict.LEAK), line


def _flattens(samples: Sequence[Sample]) -> bool:
    """Does it grow far slower at its end than it did, as a cache that fills does? What leaks grows on. By halves, and by quarters for what
    began on the way; as far as their own scatter lets anybody say so."""
    return any(_ends_flat(samples, number) for number in (2, 4))


def _ends_flat(samples: Sequence[Sample], number: int) -> bool:
    origin, part = samples[0].at, (samples[-1].at - samples[0].at) / number
    bounds = [(origin + part * n, origin + part * (n + 1)) for n in range(number)]
    lines = [fit_line([s for s in samples if since <= s.at <= until]) for since, until in bounds]
    known = [line for line in lines if line is not None and line.samples >= _LEAST]
    if len(known) < number:
        return False
    *earlier, last = known
    scatter = math.sqrt((1 / last.fit - 1) / (last.samples - 2)) if 0 < last.fit < 1 else 0.0
    return last.slope + 2 * scatter * abs(last.slope) < _SLOWER * max(line.slope for line in earlier)


def _lives(samples: Sequence[Sample]) -> list[list[Sample]]:
    lives: list[list[Sample]] = [[]]
    for sample in sorted(samples, key=lambda s: s.at):
        if lives[-1] and sample.value < lives[-1][-1].value * _DROP:
            lives.append([])
        lives[-1].append(sample)
    return lives


class Load(StrEnum):
    """What the requests of the same time say of memory that grows."""

    EXPLAINS = "explains"
    IN_PART = "in part"
    NOT = "not"
    UNKNOWN = "unknown"


def by_load(memory: Line, requests: Sequence[Sample], limits: Thresholds) -> tuple[Load, Line | None]:
    """Can the requests a second of the same pod account for this growth? Memory that only follows them grows no more than they do, for what
    a program needs without any stays."""
    end = memory.start + timedelta(seconds=memory.span)
    line = fit_line([s for s in sorted(requests, key=lambda s: s.at) if memory.start <= s.at <= end])
    if line is None or line.samples < limits.samples or line.span < _SAME_TIME * memory.span:
        return Load.UNKNOWN, None
    grown = line.growth if line.first > 0 else math.inf if line.slope > 0 else 0.0
    if grown < max(_UNLIKE * memory.growth, limits.growth / 2):
        return Load.NOT, line
    return (Load.EXPLAINS if grown >= memory.growth and line.fit >= _ALIKE else Load.IN_PART), line
