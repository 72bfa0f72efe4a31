"""How good a revision is known to be: how long it was the present one, and whether an alert fired on it. Pure.

Called by the handlers' rollback step, through `app.kube.actions.roll_back`. Knows revisions and the alerts of this service; never
reads the cluster, and never says what was wrong with a revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.remediation import PastAlert
from app.domain.workload import Revision
from app.kube.lineage import Life

_BEFORE_ITS_PODS = timedelta(hours=1)


class Word(StrEnum):
    """What is known of a revision."""

    GOOD = "good"
    UNKNOWN = "unknown"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a revision, and why, as one clause."""

    word: Word
    why: str


@dataclass(frozen=True, slots=True)
class Records:
    """What standings are told from: the lives of all kept revisions, this service's alerts on the target, and for how long
    (seconds) a revision has to run without one to count as good."""

    lives: Sequence[Life]
    alerts: Sequence[PastAlert]
    least: float

    def standing(self, revision: Revision) -> Standing:
        """Of this revision, by its best life."""
        own = [life for life in self.lives if life.revision.fingerprint == revision.fingerprint]
        found = [self.of(life) for life in own if life.end is not None or life is not self.lives[-1]]
        for word in Word:
            if named := next((s for s in reversed(found) if s.word is word), None):
                return named
        return Standing(Word.UNKNOWN, f"revision {revision.number} was never replaced")

    def of(self, life: Life) -> Standing:
        """Of one life. What is still present has proved nothing."""
        name = f"revision {life.revision.number}"
        if life.start is None or life.end is None:
            return Standing(Word.UNKNOWN, f"how long {name} ran is not known, as revisions after it are gone")
        ran = (life.end - life.start).total_seconds()
        fired = [a for a in self.alerts if life.start <= a.opened < life.end]
        over = max((a.closed or life.end for a in fired), default=life.start)
        quiet = (life.end - max(over, life.start)).total_seconds()
        if quiet >= self.least:
            last = f", its last {_span(quiet)}" if fired else ""
            return Standing(Word.GOOD, f"{name} ran {_span(ran)}{last} without an alert")
        if fired:
            names = ", ".join(sorted({a.name for a in fired}))
            return Standing(Word.BAD, f"{names} fired while {name} ran")
        return Standing(
            Word.UNKNOWN, f"{name} ran only {_span(ran)}, and {_span(self.least)} prove that it works"
        )


def _span(seconds: float) -> str:
    whole = timedelta(seconds=int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole.total_seconds() >= size:
            return f"{int(whole.total_seconds() // size)} {unit}"
    return f"{int(seconds)} s"


def release_after(lives: Sequence[Life], revision: Revision) -> datetime | None:
    """When the release that replaced this revision the last time can have begun: its migrations may run an hour before its pods.
    None when that is not known."""
    own = [life for life in lives if life.revision.fingerprint == revision.fingerprint and life.end]
    if not own or own[-1].end is None:
        return None
    begun = own[-1].end - _BEFORE_ITS_PODS
    return max(begun, own[-1].start) if own[-1].start else begun
