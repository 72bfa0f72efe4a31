"""Verification: from looks at rollout and alert to a result.

Pure: the run looks, this judges, and thins out what a run keeps of its looks for people to see. An alert that fires on is no proof by
itself that the step failed: what the step was for decides with it. Fixed means that the rollout was healthy *and* the alert gone for the whole settle
time, with somebody watching; never measured is never fixed; errors of the probe are told apart from failures of the target.
Time that nobody watched (the process was dead, the clock was set) counts neither as health nor towards the timeout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.evidence import LookedAgain
from app.domain.json import JsonValue
from app.domain.outcome import Result
from app.domain.units import duration
from app.domain.workload import RolloutState

_CERTAIN = 3
"""Looks in a row at which no new pod could start: then waiting for the timeout would only prolong the fault."""
_PATIENCE = 3
"""A rollout that still progresses while the alert is gone gets so many timeouts: slow is not failed, and undoing what helps
can be the harmful action."""
READINGS = "readings"
"""Under which name the row of a run keeps what its looks read."""
_MOST_READINGS = 60


class AlertCondition(StrEnum):
    """What is known of the alert at one measurement."""

    GONE = "gone"
    FIRING = "firing"
    TOLD_EARLIER = "told_earlier"  # last heard firing before the action; nobody confirmed it since
    SILENCED = "silenced"  # hidden by a silence or an inhibition: says nothing about health
    VANISHED = "vanished"  # gone, and so is what it was measured from; or gone, and what it told of goes on
    UNREADABLE = "unreadable"
    NONE = "none"  # a manual trigger has no alert


@dataclass(frozen=True, slots=True)
class Measurement:
    """One look at rollout and alert; `text` is one sentence with numbers. `hand`: somebody else changed the target since our
    write, in words. `doomed`: why no new pod can start, empty as long as one may. `effect`: whether what the action was for is so
    by a measurement of its own, None when that could not be made; True without any. `over`: it is not so and will not be any more."""

    at: datetime
    rollout: RolloutState
    alert: AlertCondition
    text: str
    hand: str = ""
    doomed: str = ""
    effect: bool | None = True
    over: bool = False

    @property
    def healthy(self) -> bool:
        """All parts are good at this moment."""
        return self.rollout is RolloutState.COMPLETE and self.quiet and self.effect is True

    @property
    def quiet(self) -> bool:
        """No alert fires, and that is known."""
        return self.alert in (AlertCondition.GONE, AlertCondition.NONE)

    @property
    def readable(self) -> bool:
        """All parts could be measured."""
        known = self.rollout is not RolloutState.UNKNOWN and self.alert is not AlertCondition.UNREADABLE
        return known and self.effect is not None

    def to_json(self) -> dict[str, JsonValue]:
        """For the row and the audit trail."""
        return {
            "at": self.at.isoformat(),
            "rollout": self.rollout.value,
            "alert": self.alert.value,
            "text": self.text,
            "hand": self.hand,
            "doomed": self.doomed,
            "effect": self.effect,
            "over": self.over,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Rebuild from `to_json`."""
        at = datetime.fromisoformat(data["at"])
        hand, doomed = data.get("hand", ""), data.get("doomed", "")
        rollout, alert = RolloutState(data["rollout"]), AlertCondition(data["alert"])
        effect, over = data.get("effect", True), data.get("over", False)
        return cls(at, rollout, alert, data["text"], hand, doomed, effect, over)


@dataclass(frozen=True, slots=True)
class Watch:
    """All looks of one verification, added up. `watched` are the seconds since the first look that somebody watched,
    `healthy` those of unbroken health up to the last look (None when it was not healthy), `measured` whether any look could
    measure anything. `rolled_out`: some look saw the rollout complete, so that the step has really been taken. `doomed` are the
    looks in a row up to the last one at which no new pod could start."""

    looks: int = 0
    watched: float = 0.0
    healthy: float | None = None
    measured: bool = False
    last: Measurement | None = None
    rolled_out: bool = False
    doomed: int = 0

    def look(self, seen: Measurement, seconds: float | None, gap: float) -> Watch:
        """With one more look. `seconds` have passed since the last one on a clock that never jumps, None when nobody can
        tell (another process looked): then the wall clock says what counts towards the timeout, so that a process that dies
        between all looks gives up some day too. `gap` seconds without a look are the most that count as watched."""
        unbroken = seconds is not None and seconds <= gap
        if seconds is None:
            seconds = (seen.at - self.last.at).total_seconds() if self.last else 0.0
        passed = min(max(0.0, seconds), gap)
        if not seen.healthy:
            healthy = None
        elif self.healthy is None or not unbroken:
            healthy = 0.0
        else:
            healthy = self.healthy + passed
        return Watch(
            looks=self.looks + 1,
            watched=self.watched + passed,
            healthy=healthy,
            measured=self.measured or seen.readable,
            last=seen,
            rolled_out=self.rolled_out or seen.rollout is RolloutState.COMPLETE,
            doomed=self.doomed + 1 if seen.doomed else 0,
        )

    def to_json(self) -> dict[str, JsonValue]:
        """For the row."""
        return {
            "looks": self.looks,
            "watched": self.watched,
            "healthy": self.healthy,
            "measured": self.measured,
            "last": self.last.to_json() if self.last else None,
            "rolled_out": self.rolled_out,
            "doomed": self.doomed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Watch:
        """Rebuild from `to_json`; an empty object is a watch that has not begun."""
        if not data:
            return cls()
        last = data["last"]
        return cls(
            data["looks"],
            data["watched"],
            data["healthy"],
            data["measured"],
            Measurement.from_json(last) if last else None,
            data.get("rolled_out", False),
            data.get("doomed", 0),
        )


_IN_PLACE = "the change is in place and its rollout is healthy"


def by_the_alert_alone(verdict: tuple[Result, str] | None, watch: Watch) -> bool:
    """Only the alert says that the step did not help. It may fire on over a long window after its cause is gone: what the step was for has to
    be looked at again."""
    last = watch.last
    if verdict is None or verdict[0] is not Result.NOT_FIXED or last is None:
        return False
    in_place = last.rollout is RolloutState.COMPLETE and last.effect is not False and not last.over
    return in_place and last.alert is AlertCondition.FIRING


def weigh(verdict: tuple[Result, str], watch: Watch, again: LookedAgain) -> tuple[Result, str]:
    """A verdict by the alert alone, with what became of what the step was for. Where nobody can tell the alert's word stands."""
    seen = watch.last.text if watch.last else ""
    waited = duration(timedelta(seconds=watch.watched))
    if again.gone or again.partly:
        helped = "it helped" if again.gone else "it helped in part"
        result = Result.STILL_FIRING if again.gone else Result.IN_PART
        return result, f"{helped}, and the alert still fires after {waited}: {again.text}; {seen}"
    if again.gone is False:
        return Result.NOT_FIXED, f"{_IN_PLACE}, and after {waited} it did not help: {again.text}; {seen}"
    return verdict[0], f"{verdict[1]} ({again.text})"


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one look, for people: nothing is judged by them. `value` is what was measured of the trouble (the step's symptom),
    `memory` that of the fullest pod in bytes; None is what could not be read."""

    at: datetime
    ready: int | None = None
    desired: int | None = None
    value: float | None = None
    memory: int | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """For the row."""
        numbers = {"ready": self.ready, "desired": self.desired, "value": self.value, "memory": self.memory}
        return {"at": self.at.isoformat(), **{k: v for k, v in numbers.items() if v is not None}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reading:
        """Rebuild from `to_json`."""
        at, ready, desired = datetime.fromisoformat(data["at"]), data.get("ready"), data.get("desired")
        return cls(at, ready, desired, data.get("value"), data.get("memory"))


def with_reading(kept: Sequence[JsonValue], now: Reading) -> list[JsonValue]:
    """What is kept of all looks, this one added: all of a short verification, and of a long one every other, the first and the last
    among them, as often as there are too many."""
    series = [*kept, now.to_json()]
    return series if len(series) <= _MOST_READINGS else [*series[:-1:2], series[-1]]


def judge(watch: Watch, settle: timedelta, timeout: timedelta) -> tuple[Result, str] | None:
    """The result and why, or None while it is too early to tell.

    Somebody else's hand on the target ends it: what is measured from then on is not what we did. It ends early too when no new
    pod can start. What is healthy at the timeout gets the rest of its settle time; the first unhealthy look after the timeout ends it. A
    rollout that progresses within its own deadline while no alert fires is waited for, up to three timeouts.
    """
    last = watch.last
    if last is None:
        return None
    if last.hand:
        return Result.TAKEN_OVER, f"{last.hand}; what follows is not our doing ({last.text})"
    if watch.healthy is not None and watch.healthy >= settle.total_seconds():
        return Result.FIXED, f"healthy for {duration(timedelta(seconds=watch.healthy))}: {last.text}"
    if last.rollout is RolloutState.FAILED:
        return Result.NOT_FIXED, f"the rollout failed: {f'{last.doomed}; ' if last.doomed else ''}{last.text}"
    if last.over:
        return Result.NOT_FIXED, f"what it was for has failed: {last.text}"
    if watch.doomed >= _CERTAIN:
        # While an alert is gone nothing is taken back: that can be the harmful action. Of an order it is what was ordered.
        result = Result.INCONCLUSIVE if last.alert is AlertCondition.GONE else Result.NOT_FIXED
        return result, f"the rollout cannot succeed: {last.doomed}; {last.text}"
    settling = watch.healthy is not None and watch.watched < (timeout + 2 * settle).total_seconds()
    if watch.watched < timeout.total_seconds() or settling:
        return None
    waited = duration(timedelta(seconds=watch.watched))
    if watch.healthy is not None:
        return (
            Result.INCONCLUSIVE,
            f"healthy at the last look, never watched long enough in {waited}: {last.text}",
        )
    if not watch.measured:
        return Result.PROBE_ERROR, f"nothing could be measured in {waited}: {last.text}"
    if last.rollout is RolloutState.PROGRESSING and last.quiet:
        if watch.watched < _PATIENCE * timeout.total_seconds():
            return None
        return (
            Result.INCONCLUSIVE,
            f"no alert fires, and the rollout still goes on after {waited}: {last.text}",
        )
    if last.alert is AlertCondition.FIRING and last.rollout is RolloutState.COMPLETE:
        return Result.NOT_FIXED, f"{_IN_PLACE}, and the alert still fires after {waited}: {last.text}"
    if last.effect is False:
        return Result.NOT_FIXED, f"what it was for is not so after {waited}: {last.text}"
    if last.alert is AlertCondition.FIRING or last.rollout in (RolloutState.PROGRESSING, RolloutState.PAUSED):
        return Result.NOT_FIXED, f"still not healthy after {waited}: {last.text}"
    if not last.readable:
        return Result.PROBE_ERROR, f"the last look after {waited} failed: {last.text}"
    return Result.INCONCLUSIVE, f"cannot tell after {waited}: {last.text}"
