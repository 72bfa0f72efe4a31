"""Verification: from looks at rollout and alert to a result.

Pure: the run looks, this judges, and thins out what a run keeps of its looks for people to see. An alert that fires on is no proof by
itself that the step failed: what the step was for decides with it, and says what may be taken back (`worth`). Fixed means that the rollout was healthy *and* the alert gone for the whole settle
time, with somebody watching; never measured is never fixed; errors of the probe are told apart from failures of the target.
Time that nobody watched (the process was dead, the clock was set) counts neither as health nor towards the timeout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
"""A rollout that still progresses gets so many timeouts, or its own deadline where that is longer: slow is not failed, and undoing what
helps can be the harmful action."""
READINGS = "readings"
"""Under which name the row of a run keeps what its looks read."""
_MAX_READINGS = 60


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
    by a measurement of its own, None when that could not be made; True without any. `over`: it is not so and will not be any more. `serving`: how
    many pods that the step made or chose are up, None when nobody can tell. `deadline`: in how many seconds without progress the cluster itself calls
    the rollout failed, 0 where it never does."""

    at: datetime
    rollout: RolloutState
    alert: AlertCondition
    text: str
    hand: str = ""
    doomed: str = ""
    effect: bool | None = True
    over: bool = False
    serving: int | None = 0
    deadline: float = 0.0

    @property
    def healthy(self) -> bool:
        """All parts are good at this moment."""
        return self.rollout is RolloutState.COMPLETE and self.quiet and self.effect is True

    @property
    def quiet(self) -> bool:
        """No alert fires, and that is known."""
        return self.alert in (AlertCondition.GONE, AlertCondition.NONE)

    @property
    def came(self) -> bool:
        """Some of the change is up, or may be."""
        return self.rollout is RolloutState.COMPLETE or self.serving is None or self.serving > 0

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
            "serving": self.serving,
            "deadline": self.deadline,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Rebuild from `to_json`."""
        at = datetime.fromisoformat(data["at"])
        hand, doomed = data.get("hand", ""), data.get("doomed", "")
        rollout, alert = RolloutState(data["rollout"]), AlertCondition(data["alert"])
        effect, over = data.get("effect", True), data.get("over", False)
        serving, deadline = data.get("serving", 0), data.get("deadline", 0.0)
        return cls(at, rollout, alert, data["text"], hand, doomed, effect, over, serving, deadline)


@dataclass(frozen=True, slots=True)
class Watch:
    """All looks of one verification, added up. `watched` are the seconds since the first look that somebody watched,
    `healthy` those of unbroken health up to the last look (None when it was not healthy), `measured` whether any look could
    measure anything. `rolled_out`: some look saw the rollout complete, so that the step has really been taken. `doomed` are the
    looks in a row up to the last one at which no new pod could start. `most` pods of the step were up at once, first so after `moved` watched
    seconds; after `rolling` its rollout still went on."""

    looks: int = 0
    watched: float = 0.0
    healthy: float | None = None
    measured: bool = False
    last: Measurement | None = None
    rolled_out: bool = False
    doomed: int = 0
    most: int = 0
    moved: float = 0.0
    rolling: float = 0.0

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
        watched, serving = self.watched + passed, seen.serving or 0
        return Watch(
            looks=self.looks + 1,
            watched=watched,
            healthy=healthy,
            measured=self.measured or seen.readable,
            last=seen,
            rolled_out=self.rolled_out or seen.rollout is RolloutState.COMPLETE,
            doomed=self.doomed + 1 if seen.doomed else 0,
            most=max(self.most, serving),
            moved=watched if serving > self.most else self.moved,
            rolling=watched if seen.rollout is RolloutState.PROGRESSING else self.rolling,
        )

    def doubted(self, why: str, alert: AlertCondition = AlertCondition.VANISHED) -> Watch:
        """What the last look took for health is none: what the alert told of goes on, as counted, or cannot be counted any more."""
        if self.last is None:
            return self
        last = replace(self.last, alert=alert, text=f"{self.last.text}; {why}")
        return replace(self, healthy=None, last=last)

    def under_way(self, timeout: timedelta) -> bool:
        """The rollout still progresses within its own deadline, whatever the alert says. Where the cluster knows of no deadline, `timeout`
        without one more pod is too long while an alert fires."""
        if self.last is None or self.last.rollout is not RolloutState.PROGRESSING:
            return False
        if self.watched >= max(_PATIENCE * timeout.total_seconds(), self.last.deadline):
            return False
        own = self.last.deadline > 0 and not self.rolled_out
        return self.last.quiet or own or self.watched - self.moved < timeout.total_seconds()

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
            "most": self.most,
            "moved": self.moved,
            "rolling": self.rolling,
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
            data.get("most", 0),
            data.get("moved", 0.0),
            data.get("rolling", 0.0),
        )


_IN_PLACE = "the change is in place and its rollout is healthy"


_IN_PART = "a part of the change is in place"


class Worth(StrEnum):
    """What is known of a step once it was verified: whether things are better than before it."""

    BETTER = "better"
    NO_BETTER = "no_better"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, verified: Mapping[str, Any]) -> Worth:
        """What the journal keeps of it; an older version kept only the result."""
        kept = verified.get("worth") or (cls.BETTER if verified.get("result") in _BETTER else cls.UNKNOWN)
        return cls(kept)


_BETTER = frozenset({Result.FIXED, Result.CONTAINED, Result.STILL_FIRING, Result.IN_PART})


def may_have_helped(verdict: tuple[Result, str] | None, watch: Watch) -> bool:
    """Some of the change is up, and nothing but the alert or pods that are not up speaks against it: what the step was for has to be looked at
    again. The alert may fire on over a long window after its cause is gone."""
    last = watch.last
    if verdict is None or last is None or last.effect is False or last.over or not last.came:
        return False
    half_way = last.rollout is not RolloutState.COMPLETE and verdict[0] is Result.INCONCLUSIVE
    return verdict[0] is Result.NOT_FIXED or half_way


def weigh(verdict: tuple[Result, str], watch: Watch, again: LookedAgain) -> tuple[Result, str]:
    """A verdict on what may have helped, with what became of what the step was for. Where nothing of that was measured, an alert that fires on
    is no proof against the step: it is inconclusive. Of an order, which has no alert, the rollout itself is the measure."""
    last, waited = watch.last, duration(timedelta(seconds=watch.watched))
    unknown = again.gone is None and not again.partly
    if last is None or verdict[0] is not Result.NOT_FIXED or (unknown and last.alert is AlertCondition.NONE):
        return verdict[0], f"{verdict[1]} ({again.text})"
    if unknown:
        return Result.INCONCLUSIVE, f"whether it helped is not known ({again.text}): {verdict[1]}"
    if again.gone is False:
        place = _IN_PLACE if last.rollout is RolloutState.COMPLETE else _IN_PART
        return Result.NOT_FIXED, f"{place}, and after {waited} it did not help: {again.text}; {last.text}"
    helped = "it helped" if again.gone else "it helped in part"
    if last.alert is not AlertCondition.FIRING:
        return Result.INCONCLUSIVE, f"{helped} ({again.text}), and {verdict[1]}"
    result = Result.STILL_FIRING if again.gone else Result.IN_PART
    return result, f"{helped}, and the alert still fires after {waited}: {again.text}; {last.text}"


def worth(result: Result, watch: Watch, again: LookedAgain | None) -> Worth:
    """What this verification tells of its step, for whoever asks what may be taken back."""
    if result in _BETTER or (again is not None and (again.gone or again.partly)):
        return Worth.BETTER
    last = watch.last
    if again is not None and again.gone is False:
        return Worth.NO_BETTER
    if last is None or result is not Result.NOT_FIXED:
        return Worth.UNKNOWN
    failed = last.effect is False or last.over or not last.came or last.alert is AlertCondition.NONE
    return Worth.NO_BETTER if failed else Worth.UNKNOWN


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
    return series if len(series) <= _MAX_READINGS else [*series[:-1:2], series[-1]]


def judge(watch: Watch, settle: timedelta, timeout: timedelta) -> tuple[Result, str] | None:
    """The result and why, or None while it is too early to tell.

    Somebody else's hand on the target ends it: what is measured from then on is not what we did. It ends early too when no new
    pod can start. What is healthy at the timeout gets the rest of its settle time; the first unhealthy look after the timeout ends it. A
    rollout that progresses within its own deadline is waited for, up to three timeouts or that deadline.
    """
    last = watch.last
    if last is None:
        return None
    if last.hand:
        return Result.TAKEN_OVER, f"{last.hand}; what follows is not our doing ({last.text})"
    if watch.healthy is not None and watch.healthy >= settle.total_seconds():
        return Result.FIXED, f"healthy for {duration(timedelta(seconds=watch.healthy))}: {last.text}"
    if last.rollout is RolloutState.FAILED and last.came and last.alert is AlertCondition.GONE:
        return Result.INCONCLUSIVE, f"no alert fires, and the rollout failed half way: {last.text}"
    if last.rollout is RolloutState.FAILED:
        return Result.NOT_FIXED, f"the rollout failed: {f'{last.doomed}; ' if last.doomed else ''}{last.text}"
    if last.over:
        return Result.NOT_FIXED, f"what it was for has failed: {last.text}"
    if watch.doomed >= _CERTAIN:
        # While an alert is gone nothing is taken back: that can be the harmful action. Of an order it is what was ordered.
        result = Result.INCONCLUSIVE if last.alert is AlertCondition.GONE else Result.NOT_FIXED
        return result, f"the rollout cannot succeed: {last.doomed}; {last.text}"
    # A rollout that was done later than the timeout gets time to be healthy, and the alert to see that, from then on.
    late = last.rollout is RolloutState.COMPLETE and watch.rolling >= timeout.total_seconds()
    end = watch.rolling if late else timeout.total_seconds()
    more = 2 * settle.total_seconds() if late or watch.healthy is not None else 0.0
    if watch.watched < end + more or watch.under_way(timeout):
        return None
    return _at_the_end(watch, last)


def _at_the_end(watch: Watch, last: Measurement) -> tuple[Result, str]:
    """The result when there is no time left."""
    waited = duration(timedelta(seconds=watch.watched))
    if watch.healthy is not None:
        return (
            Result.INCONCLUSIVE,
            f"healthy at the last look, never watched long enough in {waited}: {last.text}",
        )
    if not watch.measured:
        return Result.PROBE_ERROR, f"nothing could be measured in {waited}: {last.text}"
    if last.rollout is RolloutState.PROGRESSING and (last.quiet or (last.deadline and not watch.rolled_out)):
        quiet = "no alert fires, and " if last.quiet else ""
        return Result.INCONCLUSIVE, f"{quiet}the rollout still goes on after {waited}: {last.text}"
    if last.alert is AlertCondition.FIRING and last.rollout is RolloutState.COMPLETE:
        return Result.NOT_FIXED, f"{_IN_PLACE}, and the alert still fires after {waited}: {last.text}"
    if last.effect is False:
        return Result.NOT_FIXED, f"what it was for is not so after {waited}: {last.text}"
    if last.rollout is RolloutState.UNKNOWN:  # what could not be looked at is not known to have failed
        return Result.PROBE_ERROR, f"the last look after {waited} failed: {last.text}"
    if last.alert is AlertCondition.FIRING or last.rollout in (RolloutState.PROGRESSING, RolloutState.PAUSED):
        return Result.NOT_FIXED, f"still not healthy after {waited}: {last.text}"
    if not last.readable:
        return Result.PROBE_ERROR, f"the last look after {waited} failed: {last.text}"
    return Result.INCONCLUSIVE, f"cannot tell after {waited}: {last.text}"
