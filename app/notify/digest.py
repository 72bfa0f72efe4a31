"""The digest: one message for the many incidents of a storm, edited as they move.

Called by `app.flow.notifying.deliver` with counts from the store and the stories of those that need a person most. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.outcome import IncidentState
from app.domain.units import counted
from app.notify.message import Context, Message, Section
from app.notify.parent import headline
from app.notify.text import When, bold, code, line
from app.notify.timeline import Timeline
from app.notify.wording import STATE_WORDS

SHOWN = 15
"""Incidents named in the message."""
_WORDS = 5  # alert names and namespaces named

Counted = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Digest:
    """What it tells: how many incidents stand where, under which alerts and in which namespaces, the most frequent first.
    `stories` are at most `SHOWN` of them, those that need a person first."""

    id: str
    since: datetime
    states: Sequence[tuple[IncidentState, int]]
    alertnames: Counted
    namespaces: Counted
    timelines: Sequence[Timeline]

    @property
    def total(self) -> int:
        """All its incidents."""
        return sum(number for _, number in self.states)


def digest(told: Digest) -> Message:
    """The whole message. Raises ValueError for no incidents."""
    if not told.total:
        raise ValueError("a digest needs at least one incident")
    states = ", ".join(f"{n:,} {STATE_WORDS[state].lower()}" for state, n in told.states)
    head = line(
        bold("STORM"), f" · {counted(told.total, 'incident')} since ", When(told.since), f": {states}"
    )
    where = Section(
        (
            line(f"Alerts: {_most(told.alertnames, 'name')}"),
            line(f"Namespaces: {_most(told.namespaces, 'namespace')}"),
        )
    )
    lines = [line(*headline(s), " · ", code(f"remediator explain {s.incident_id}")) for s in told.timelines]
    if told.total > len(lines):
        lines.append(line(f"… and {told.total - len(lines):,} more: ", code("remediator incidents")))
    small = Context((line("What is done, asked or handed over has its own message"),))
    first = told.timelines[0].incident_id if told.timelines else told.id
    return Message(first, head, (where, Section(tuple(lines)), small))


def _most(most: Counted, noun: str) -> str:
    shown = ", ".join(f"{word or 'without a ' + noun} {number:,}" for word, number in most[:_WORDS])
    rest = len(most) - _WORDS
    return f"{shown} and {counted(rest, f'more {noun}')}" if rest > 0 else shown
