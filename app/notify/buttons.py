"""Buttons: which ones a message has, and what stands in them.

Owns the action ids and the opaque value. The value names a run, a step and the beginning of the plan's hash, so that an
answer is for the very plan that was read; it carries no rights and no secret. Called by `app.notify.parent` and, to read a
click, by `app.flow.people.clicks`. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from app.domain.outcome import IncidentState, RunState
from app.domain.units import counted
from app.notify import escalation
from app.notify.message import Button, Confirm
from app.notify.text import joined
from app.notify.timeline import ApprovalAsked, Timeline
from app.notify.wording import above, may_undo

MAX_SNOOZES = 2
"""How often a question may be put off; then somebody answers or it expires."""
CONFIRM_ABOVE = 30
"""Percent of the workload's pods above which an approval asks once more."""
_HASH = 16
_SUBJECT = re.compile(r"(inc|dig)_[A-Za-z0-9_-]{1,58}", re.ASCII)
_VALUE = re.compile(r"(run_[A-Za-z0-9_-]{1,120}):(\d{1,4}):([0-9a-f]{16})", re.ASCII)


class Click(StrEnum):
    """What a button does; the value is its action id, unique within a message."""

    APPROVE = "remediator.approve"
    REJECT = "remediator.reject"
    SNOOZE = "remediator.snooze"
    UNDO = "remediator.undo"
    WITHDRAW = "remediator.withdraw"
    EXPLAIN = "remediator.explain"
    PAUSE = "remediator.pause"
    PROMOTE = "remediator.promote"
    ACKNOWLEDGE = escalation.ACKNOWLEDGE


@dataclass(frozen=True, slots=True)
class Token:
    """What a value says: the question (run and step) and the beginning of the plan's hash; for a promotion the run that led to
    it and the question's mark."""

    run_id: str
    step_index: int
    plan_hash: str

    def __str__(self) -> str:
        return f"{self.run_id}:{self.step_index}:{self.plan_hash[:_HASH]}"


def read_token(value: str) -> Token | None:
    """The token in a value; None when it is none of ours."""
    match = _VALUE.fullmatch(value)
    return Token(match[1], int(match[2]), match[3]) if match else None


def read_subject(value: str) -> str:
    """The incident or storm that an acknowledgement is about; empty when the value names none."""
    return value if _SUBJECT.fullmatch(value) else ""


def buttons(timeline: Timeline) -> tuple[Button, ...]:
    """The buttons of the parent message: answers while a question stands, the one that takes an approval back until the plan begins,
    undo once there is something to undo, the one that withdraws an undo that waits, and while a person is needed the word that one has it."""
    if timeline.state is IncidentState.WAITING and timeline.approval is not None:
        if timeline.answer is None:
            return _answers(timeline)
        if timeline.answer.answer == "approved":
            return (_reject(timeline.approval),)
    mine: tuple[Button, ...] = ()
    nobody = timeline.acknowledged is None or timeline.called is not None
    if timeline.escalation is not None and nobody and not timeline.state.closed:
        mine = (escalation.button(timeline.incident_id),)
    ended = timeline.run_state is not None and timeline.run_state.ended
    if not ended:
        return (*mine, *_withdraw(timeline))
    undo: tuple[Button, ...] = ()
    if may_undo(timeline) and timeline.plan is not None:
        undo = _afterwards(timeline, str(Token(timeline.run_id, timeline.step_index, timeline.plan.hash)))
    return (*_promotion(timeline), *mine, *undo)


def _promotion(timeline: Timeline) -> tuple[Button, ...]:
    """One at a time: an order may have brought several trust levels so far, and action ids are unique within a message."""
    asked = timeline.promotion
    if asked is None:
        return ()
    level = above(asked.level)
    confirm = Confirm(f"Promote to {level}?", f"{asked.key}: {asked.text}", "Promote")
    value = str(Token(timeline.run_id, 0, asked.mark))
    command = f"remediator trust promote {asked.key} --reason '...'"
    return (Button(Click.PROMOTE, f"Promote to {level}", value, "primary", confirm, command),)


def _withdraw(timeline: Timeline) -> tuple[Button, ...]:
    held = timeline.undo_held
    if (
        held is None
        or not held.withdraw
        or timeline.run_state is not RunState.UNDOING
        or timeline.plan is None
    ):
        return ()
    value = str(Token(timeline.run_id, timeline.step_index, timeline.plan.hash))
    return (Button(Click.WITHDRAW, "Withdraw undo", value, command=held.withdraw),)


def _answers(timeline: Timeline) -> tuple[Button, ...]:
    asked = timeline.approval
    if asked is None:
        return ()
    value = _asked_about(asked)
    share = _percent(asked.pods_affected, asked.pods)
    confirm = None
    if share is None or share > CONFIRM_ABOVE:
        known = (
            f"{counted(asked.pods, 'pod')} ({share} %)" if share is not None else "an unknown number of pods"
        )
        text = f"{joined(list(asked.actions))}. It takes down {asked.pods_affected} of {known} of {timeline.place} at worst."
        confirm = Confirm("Approve this?", text, "Approve")
    found = [
        Button(
            Click.APPROVE, "Approve", value, "primary", confirm, command=f"remediator approve {asked.run_id}"
        ),
        _reject(asked),
    ]
    if timeline.snoozes < MAX_SNOOZES:
        found.append(Button(Click.SNOOZE, "Snooze 1h", value))
    return tuple(found)


def _reject(asked: ApprovalAsked) -> Button:
    command = f"remediator reject {asked.run_id}"
    return Button(Click.REJECT, "Reject", _asked_about(asked), "danger", command=command)


def _asked_about(asked: ApprovalAsked) -> str:
    return str(Token(asked.run_id, asked.step_index, asked.plan_hash))


def _percent(part: int, whole: int) -> int | None:
    """Rounded up, so that a little above the line is above it; None when the whole is not known."""
    return -(-part * 100 // whole) if whole > 0 else None


def _afterwards(timeline: Timeline, value: str) -> tuple[Button, ...]:
    done = joined([a.summary for a in timeline.actions if a.reversible])
    confirm = Confirm("Undo this?", f"Takes back on {timeline.place}: {done}", "Undo")
    namespace = timeline.place.partition("/")[0]
    found = [
        Button(Click.UNDO, "Undo", value, "danger", confirm, command=f"remediator undo {timeline.run_id}"),
        Button(Click.EXPLAIN, "Explain", value),
    ]
    if timeline.paused is None:
        found.append(Button(Click.PAUSE, f"Pause {namespace} 1h", value))
    return tuple(found)
