"""Progress: how far the present action of a run has come, as its row keeps it while the action takes long, and its outcome in words.

Written by `act`, read by the messages, the API and `act` itself. It stands beside the run's life and is forgotten when the action
has an outcome. Beside it stands until when the step was attended to. Never says what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from app.domain.actuator import Partly
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult, RunState
from app.domain.units import duration, utc
from app.flow.running.life import Event
from app.policy.model import Rule
from app.store.runs import Run

TOLD_EVERY: Final = timedelta(seconds=15)
"""The incident's message is edited no more often than this."""
_KEY = "progress"


@dataclass(frozen=True, slots=True)
class SoFar:
    """`text` for people, empty before there is any progress; `state` is the actuator's; `told_at` is when people last heard of it."""

    text: str = ""
    state: Mapping[str, JsonValue] = field(default_factory=dict)
    told_at: datetime | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """What the row keeps."""
        told = self.told_at.isoformat() if self.told_at else None
        return {_KEY: {"text": self.text, "state": dict(self.state), "told_at": told}}


def so_far(run: Run) -> SoFar:
    """Of the action that is carried out now; empty in any other state."""
    kept = run.life.get(_KEY)
    if run.state is not RunState.ACTING or not kept:
        return SoFar()
    told = datetime.fromisoformat(kept["told_at"]) if kept["told_at"] else None
    return SoFar(kept["text"], kept["state"], told)


_ATTENDED = "attended"


def attended(run: Run, until: datetime, now: datetime) -> dict[str, JsonValue]:
    """Until when somebody is at the step, for its row. A break as long as an approval is good stays written down, whatever is found done
    after it."""
    gone = run.life[_ATTENDED] if left_alone(run, now) else until.isoformat()
    return {_ATTENDED: gone}


def left_alone(run: Run, now: datetime) -> str:
    """Since when nobody was at an approved step that was begun, where that is longer than an approval is good: what happened meanwhile is
    known to none of those who gave it. Empty when somebody was."""
    if run.state is not RunState.ACTING or run.answer != "approved" or not run.life.get(_ATTENDED):
        return ""
    since = datetime.fromisoformat(run.life[_ATTENDED])
    good = Rule.from_json(run.settings["rule"]).approval.expires
    if now - since <= good:
        return ""
    return f"nobody was at it from {utc(since)} on, longer than an approval is good ({duration(good)})"


_RESULTS: Final = {Event.APPLIED: ActionResult.APPLIED, Event.UNCLEAR: ActionResult.UNCLEAR}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the action. `reached`: the cluster answered. `how_left` is what is recorded of how our write left the object. `partly`
    is what a long action had done by then, which stays."""

    event: Event
    text: str
    reached: bool = True
    how_left: Mapping[str, Any] = field(default_factory=dict)
    partly: Partly | None = None

    @property
    def result(self) -> ActionResult:
        """As the journal keeps it."""
        return ActionResult.PARTLY if self.partly else _RESULTS.get(self.event, ActionResult.REFUSED)

    @property
    def told(self) -> str:
        """For people."""
        if self.partly is None:
            return self.text
        left = f"; not done: {self.partly.left}" if self.partly.left else ""
        return f"{self.text}; done until then, and it stays: {self.partly.done}{left}"
