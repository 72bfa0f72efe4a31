"""What may be spent on what a stranger sends: on one sender's texts, and on all that is done in one go.

Counted in units of 10 to 40 µs, not by a clock, so that the same body always costs the same. Used by `app.domain.redact` for each look at a
text, and by the intake for what it compares. Never decides what becomes of what nothing is left for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Effort:
    """How much may be spent on texts of one sender: for each look at a text and each place that a class looks at or
    hides one, and more by the characters that are read there; and one for some signs that read otherwise. What is looked at when nothing is left is hidden whole, as nobody knows what is in it."""

    left: int

    def spent(self, number: int = 1) -> bool:
        """Spend so many; True when nothing is left."""
        self.left -= number
        return self.left < 0


class Spent(Exception):
    """Nothing is left to spend."""


class TooDear(Exception):
    """What was begun under `work_bounded` takes more work than it may take there."""


@dataclass(slots=True)
class Bound:
    """What may still be spent under `work_bounded`, and what was."""

    left: int
    hides: bool
    spent: int = 0


_BOUND: ContextVar[Bound | None] = ContextVar("bound of the work on texts", default=None)


@contextmanager
def work_bounded(most: int, *, hides: bool) -> Iterator[Bound]:
    """All looks at texts that are made inside may cost so many units together (`Effort`), whoever asks for them. What exceeds that is hidden
    where it `hides`; else it is not done, and TooDear tells so."""
    bound = Bound(most, hides)
    token = _BOUND.set(bound)
    try:
        yield bound
    finally:
        _BOUND.reset(token)


def spend(effort: Effort | None, number: int = 1) -> None:
    """Spend so many, of what all inside of `work_bounded` may and of one's own. Raises Spent when nothing is left, TooDear."""
    if not affordable(number) or (effort is not None and effort.spent(number)):
        raise Spent


def affordable(number: int) -> bool:
    """Whether so many are left of what all inside of `work_bounded` may spend; they are spent. To be asked before the work begins. Raises TooDear."""
    bound = _BOUND.get()
    if bound is None:
        return True
    bound.left -= number
    bound.spent += number
    if bound.left < 0 and not bound.hides:
        raise TooDear
    return bound.left >= 0
