"""Owns the measure of how much work something is: processor time in units of a fixed piece of work that is timed beside it.

A bound in seconds holds on the machine it was written on; a bound in units holds on a slow one too, and still tells apart what
grows with the length of a text from what grows with its square.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_TURNS = 100_000


@dataclass
class Work:
    """What was done inside the block; known once it is over."""

    units: float = 0.0
    """Units of processor time of the whole process; a unit is some 5 ms on a machine of the year 2024."""


def _unit() -> float:
    """Seconds of the fixed piece of work, in processor time."""
    begun, total = time.process_time(), 0
    for number in range(_TURNS):
        total += number % 7
    assert total
    return max(time.process_time() - begun, 1e-6)


@contextmanager
def measured() -> Iterator[Work]:
    """Measure the work of the block; the machine's speed is looked at before and after it, and the slower look counts."""
    done, before = Work(), _unit()
    begun = time.process_time()
    yield done
    done.units = (time.process_time() - begun) / max(before, _unit())
