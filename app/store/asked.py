"""Asked: the steps that people were asked in one round, as its row keeps them.

Read and written with the round (`escalations`), and read of earlier rounds (`lately`). Never says who is asked next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.store.connection import micros, moment, to_json, to_text

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """One step that was asked. `waited`: for so long it had been waited for before, in earlier calls for an alert that comes and goes."""

    step: str
    at: datetime
    paged: bool
    waited: timedelta = timedelta()


def from_text(text: str) -> tuple[Asked, ...]:
    """As they stand in the row, the first one first."""
    return tuple(
        Asked(one["step"], moment(one["at"]), bool(one["paged"]), one.get("waited", 0) * _MICROSECOND)
        for one in to_json(text)
    )


def as_text(asked: Iterable[Asked]) -> str:
    """As the row keeps them."""
    return to_text(
        [
            {"step": a.step, "at": micros(a.at), "paged": a.paged, "waited": a.waited // _MICROSECOND}
            for a in asked
        ]
    )
