"""Verification: from measurements to one of four results.

Pure: the run measures, this judges. Fixed means that the rollout was healthy *and* the alert gone for the whole settle
time; never measured is never fixed; errors of the probe are told apart from failures of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.json import JsonValue
from app.domain.outcome import Result
from app.domain.workload import RolloutState


class AlertCondition(StrEnum):
    """What is known of the alert at one measurement."""

    GONE = "gone"
    FIRING = "firing"
    TOLD_EARLIER = "told_earlier"  # last heard firing before the action; nobody confirmed it since
    SILENCED = "silenced"  # hidden by a silence or an inhibition: says nothing about health
    UNREADABLE = "unreadable"
    NONE = "none"  # a manual trigger has no alert


@dataclass(frozen=True, slots=True)
class Measurement:
    """One look at rollout and alert; `text` is one sentence with numbers."""

    at: datetime
    rollout: RolloutState
    alert: AlertCondition
    text: str

    @property
    def healthy(self) -> bool:
        """Both halves are good at this moment."""
        return self.rollout is RolloutState.COMPLETE and self.alert in (
            AlertCondition.GONE,
            AlertCondition.NONE,
        )

    def to_json(self) -> dict[str, JsonValue]:
        """For the journal and the audit trail."""
        return {
            "at": self.at.isoformat(),
            "rollout": self.rollout.value,
            "alert": self.alert.value,
            "text": self.text,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Rebuild from `to_json`."""
        at = datetime.fromisoformat(data["at"])
        return cls(at, RolloutState(data["rollout"]), AlertCondition(data["alert"]), data["text"])


def judge(
    measurements: Sequence[Measurement], began: datetime, settle: timedelta, timeout: timedelta
) -> tuple[Result, str] | None:
    """The result and why, or None while it is too early to tell. `began` is when the last action was done.

    What is healthy at the timeout gets the rest of its settle time: the question is answered within timeout + settle, and
    the first unhealthy look after the timeout ends it.
    """
    if not measurements:
        return None
    last = measurements[-1]
    healthy_since = _healthy_since(measurements)
    if healthy_since is not None and last.at - healthy_since >= settle:
        return Result.FIXED, f"healthy for {_span(last.at - healthy_since)}: {last.text}"
    if last.rollout is RolloutState.FAILED:
        return Result.NOT_FIXED, f"the rollout failed: {last.text}"
    if last.at - began < timeout or healthy_since is not None:
        return None
    waited = _span(last.at - began)
    if all(m.rollout is RolloutState.UNKNOWN or m.alert is AlertCondition.UNREADABLE for m in measurements):
        return Result.PROBE_ERROR, f"nothing could be measured in {waited}: {last.text}"
    if last.alert is AlertCondition.FIRING or last.rollout in (RolloutState.PROGRESSING, RolloutState.PAUSED):
        return Result.NOT_FIXED, f"still not healthy after {waited}: {last.text}"
    if last.alert is AlertCondition.UNREADABLE or last.rollout is RolloutState.UNKNOWN:
        return Result.PROBE_ERROR, f"the last look after {waited} failed: {last.text}"
    return Result.INCONCLUSIVE, f"cannot tell after {waited}: {last.text}"


def _healthy_since(measurements: Sequence[Measurement]) -> datetime | None:
    since = None
    for m in reversed(measurements):
        if not m.healthy:
            break
        since = m.at
    return since


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds // 60}m{seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"
