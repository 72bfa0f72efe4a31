"""Schedules: when a rule's procedure is ordered by the clock, and what becomes of a time that has passed.

Owns the written form and the pure rules. Times are those of cron in a time zone, as Debian's cron reads them when the clock changes: an
hour that is skipped fires when the clock has moved on, one that is repeated fires once, and what has a star as minute or hour goes on in real time.
Used by the policy's document, by the task that fires, by `policy lint` and the pages. Never reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from app.policy.block import Block
from app.policy.values import Duration, Zone

PUNCTUAL = timedelta(minutes=5)
"""A start that comes within so much is no late one: the clock is looked at every few seconds, and a restart takes minutes at most."""
LONGEST = timedelta(days=7)
"""The latest that a missed time may be made up for."""
_FIELDS = 5
_APART = timedelta(minutes=1)  # at least, between two times
_APART_OF_CHANGES = timedelta(days=1)  # at least, between two changes of a clock
_TICK = timedelta(seconds=1)


class Missed(StrEnum):
    """What becomes of times that passed while nobody ran: nothing, or one start for all of them."""

    SKIP = "skip"
    ONCE = "once"


def _cron(text: str) -> str:
    written = " ".join(text.split())
    if len(written.split(" ")) != _FIELDS:
        raise ValueError(f"expected five fields (minute, hour, day, month, weekday), got {written!r}")
    try:
        following = next(CronSim(written, datetime(2024, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"{written!r} is no cron expression: {str(error).lower()}") from error
    if following is None:
        raise ValueError(f"{written!r} never comes")
    return written


class Schedule(Block):
    """Starts the rule's procedure by the clock. `missed` says what becomes of times that passed while nothing ran: `skip`, or `once`, one
    start for all of them that is at most `late` behind the newest."""

    cron: Annotated[str, AfterValidator(_cron), Field(max_length=200, examples=["30 2 * * *"])]
    timezone: Zone
    missed: Missed = Missed.SKIP
    late: Duration = timedelta(hours=1)

    def first_after(self, at: datetime) -> datetime | None:
        """The first time after this instant, in UTC; None when there is none."""
        minute, hour, *_ = self.cron.split()
        if minute.startswith("*") or hour.startswith("*"):
            return self._in_real_time(at.astimezone(UTC))
        times = (self._once(wall) for wall in CronSim(self.cron, self._wall(at)))
        return next((found for found in times if found > at), None)

    def _in_real_time(self, at: datetime) -> datetime | None:
        """The first instant at which the clock on the wall shows one of the times. Cron's reader knows no zone: where the clock changes, it
        begins anew with what the clock shows then."""
        since, wall = at, self._wall(at)
        while (found := next(CronSim(self.cron, wall), None)) is not None:
            instant = at + (found - wall)
            turn = self._turn(since, instant)
            if turn is None:
                return instant
            since, at = turn, turn - _TICK  # the moment of the change may be one of them itself
            wall = self._wall(turn) - _TICK
        return None

    def _once(self, wall: datetime) -> datetime:
        """When a time on the wall is for the first time; of one that is skipped, when the clock has moved on."""
        first, other = (wall.replace(tzinfo=self.timezone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return first if self._wall(first) == wall else self._turn(other, first) or first

    def _turn(self, at: datetime, until: datetime) -> datetime | None:
        """The first instant after `at`, up to `until`, at which the clock changes."""
        at = at.replace(microsecond=0)
        while at < until:
            end = min(at + _APART_OF_CHANGES, until)
            if self._ahead(end) != (ahead := self._ahead(at)):
                while end - at > _TICK:
                    middle = at + (end - at) // _TICK // 2 * _TICK
                    at, end = (middle, end) if self._ahead(middle) == ahead else (at, middle)
                return end
            at = end
        return None

    def _wall(self, at: datetime) -> datetime:
        """What the clock shows, without its zone."""
        return at.astimezone(self.timezone).replace(tzinfo=None)

    def _ahead(self, at: datetime) -> timedelta | None:
        return at.astimezone(self.timezone).utcoffset()

    def coming(self, at: datetime, number: int) -> tuple[datetime, ...]:
        """The next times after this instant, in UTC."""
        found: list[datetime] = []
        while len(found) < number and (following := self.first_after(found[-1] if found else at)) is not None:
            found.append(following)
        return tuple(found)

    @property
    def decided_within(self) -> timedelta:
        """How long after its time an order that was given in time may still be decided: as late as it may be given, and our own delay."""
        allowed = self.late if self.missed is Missed.ONCE else timedelta()
        return max(allowed, PUNCTUAL) + PUNCTUAL

    def told(self, due: datetime) -> str:
        """One of its times as people in its zone read it: `2026-03-29 02:30 CEST`."""
        return f"{due.astimezone(self.timezone):%Y-%m-%d %H:%M %Z}"


class Fate(StrEnum):
    """What becomes of a time that has come."""

    START = "ordered"
    LATE = "ordered_late"
    SKIPPED = "skipped"
    TOO_LATE = "too_late"
    BUSY = "busy"
    """The one before it still runs; told by whoever knows."""
    CHANGED = "changed"
    """Its rule was changed so as it came that it is no time of it any more, or for another target; told by whoever knows."""
    REMOVED = "removed"
    """Its rule was removed as it came; told by whoever knows."""

    @property
    def starts(self) -> bool:
        """It is ordered."""
        return self in (Fate.START, Fate.LATE)


@dataclass(frozen=True, slots=True)
class Judged:
    """The newest time that has come, and what becomes of it; those before it, from `first` on, are over with it."""

    due: datetime
    fate: Fate
    first: datetime | None = None
    """The oldest of several; None where there is only one."""


def judge(schedule: Schedule, waiting: datetime, now: datetime) -> Judged:
    """What becomes of the times from `waiting`, which is one of them, to now."""
    allowed = schedule.late if schedule.missed is Missed.ONCE else timedelta()
    due = _newest(schedule, waiting, now)
    behind, first = now - due, waiting if waiting < due else None
    if behind <= PUNCTUAL:
        return Judged(due, Fate.START, first)
    if schedule.missed is Missed.SKIP:
        return Judged(due, Fate.SKIPPED, first)
    return Judged(due, Fate.LATE if behind <= allowed else Fate.TOO_LATE, first)


def _newest(schedule: Schedule, waiting: datetime, now: datetime) -> datetime:
    """The newest time up to now, by halving what lies between the one that was waited for and now: there may be millions."""
    newest, end = waiting, now
    while end - newest >= _APART:
        middle = newest + (end - newest) / 2
        following = schedule.first_after(middle)
        if following is not None and following <= now:
            newest = following
        else:
            end = middle
    return newest
