"""How states, gates, results and targets are put into words; shared by the parent message and the thread entries. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from app.domain.decision import Code, Decision, GateResult, Verdict, strongest
from app.domain.outcome import ActionResult, IncidentState, Result, UndoResult
from app.domain.units import counted
from app.notify.text import Line, When, bold, code, line
from app.notify.timeline import ActionDone, Escalation, Timeline, UndoHeld

GATE_WORDS = {Verdict.ALLOW: "ok", Verdict.OBSERVE: "LOOK", Verdict.ASK: "ASK", Verdict.DENY: "NO"}
"""A gate's answer to "may it act?", in the words of `remediator explain`."""

RESULT_WORDS = {
    Result.FIXED: "fixed",
    Result.CONTAINED: "contained, which buys time and is no fix",
    Result.STILL_FIRING: "it helped, and the alert still fires, which counts neither as fixed nor as failed",
    Result.IN_PART: "it helped in part, and the alert still fires, which counts neither as fixed nor as failed",
    Result.NOT_FIXED: "not fixed",
    Result.INCONCLUSIVE: "inconclusive, which does not count as fixed",
    Result.PROBE_ERROR: "could not be measured, which does not count as fixed",
    Result.TAKEN_OVER: "taken over by somebody else, which counts neither as fixed nor as failed",
}

CHECKED_WORDS = {
    Result.FIXED: "it helped",
    Result.CONTAINED: "it bought time",
    Result.STILL_FIRING: "it helped, and the alert still fires",
    Result.IN_PART: "it helped in part, and the alert still fires",
    Result.NOT_FIXED: "it did not help",
    Result.INCONCLUSIVE: "nobody can tell whether it helped",
    Result.PROBE_ERROR: "whether it helped could not be measured",
    Result.TAKEN_OVER: "somebody else took it over",
}
"""What a check came to, where its numbers stand beside it already."""

ACTION_WORDS = {
    ActionResult.APPLIED: "done",
    ActionResult.REFUSED: "refused by the cluster, nothing was changed",
    ActionResult.PARTLY: "not done to its end",
    ActionResult.UNCLEAR: "unclear: sent, no answer, and reading back failed",
}

UNDO_WORDS = {
    UndoResult.UNDONE: "undone",
    UndoResult.NOTHING: "nothing to undo",
    UndoResult.CONFLICT: "not undone: somebody else changed it since",
    UndoResult.FAILED: "the undo failed",
    UndoResult.NOT_DONE: "not undone: it stays in place",
}

STATE_WORDS = {
    IncidentState.OPEN: "LOOKING",
    IncidentState.OBSERVED: "OBSERVED",
    IncidentState.REFUSED: "REFUSED",
    IncidentState.WAITING: "WAITING FOR APPROVAL",
    IncidentState.ACTING: "ACTING",
    IncidentState.VERIFYING: "VERIFYING",
    IncidentState.FIXED: "FIXED",
    IncidentState.CONTAINED: "CONTAINED",
    IncidentState.ESCALATED: "ESCALATED",
    IncidentState.STUCK: "STUCK",
    IncidentState.RESOLVED: "RESOLVED",
    IncidentState.MERGED: "MERGED",
}

NOTHING_DONE = "NOTHING DONE"
"""An order that has ended without a change: no alert went away, and the decision says why."""


UNDONE_REASON = "undone: "
"""How the reason of an incident begins whose change a person took back."""
RESOLVED_ALONE = "the alert resolved without our doing"
RESOLVED_AFTER = "the alert resolved after something had been written for it"
"""Reasons of an incident that ended with its alert: as nothing, and as something was written for it."""
_RESOLVED_BESIDE = re.compile(
    r"the alert resolved after (?:another run|run_\w+) of this service had \w+ its target"
)


def resolved_beside(run_id: str, *, mended: bool) -> str:
    """The reason where something was written for another alert of the target. What is still checked has `changed` it, and no more is known."""
    return f"the alert resolved after {run_id} of this service had {'mended' if mended else 'changed'} its target"


class Written(StrEnum):
    """What is left of what was written for an incident, as far as its timeline knows."""

    NOTHING = "nothing"
    STANDS = "stands"  # or may: nobody knows what became of it, or an undo did not take it back
    UNDONE = "undone"


def written(timeline: Timeline) -> Written:
    """What of ours is in place. What was only tried on paper, or refused, was not written."""
    answers = (ActionResult.APPLIED, ActionResult.PARTLY, ActionResult.UNCLEAR)
    done = {a.id for a in timeline.actions if a.result in answers and not a.dry_run}
    latest = {undo.action_id: undo.result for undo in timeline.undos}
    if not done:
        return Written.NOTHING
    back = all(latest.get(one) is UndoResult.UNDONE for one in done)
    return Written.UNDONE if back else Written.STANDS


_WENT_AWAY = {
    Written.NOTHING: "The alert went away without our doing",
    Written.STANDS: "The alert went away after what was done; nobody can tell whether by it",
    Written.UNDONE: "The alert went away, and what was done was taken back",
}


def went_away(timeline: Timeline) -> str:
    """How an incident ended whose alert went away without a run that says it helped; its reason where that says more."""
    beside = _RESOLVED_BESIDE.fullmatch(timeline.reason) is not None
    if beside and written(timeline) is Written.NOTHING:
        return f"{timeline.reason[:1].upper()}{timeline.reason[1:]}"
    told = beside or timeline.reason in ("", RESOLVED_ALONE, RESOLVED_AFTER)
    said = timeline.reason.removeprefix(UNDONE_REASON)
    return _WENT_AWAY[written(timeline)] + ("" if told else f": {said}")


def state_word(state: IncidentState, *, ordered: bool) -> str:
    """The state for people. An order that wrote nothing has no alert that could resolve."""
    return NOTHING_DONE if ordered and state is IncidentState.RESOLVED else STATE_WORDS[state]


NEEDED = "A person is needed: "


def person_word(state: IncidentState) -> str:
    """That a person is needed; of an incident that is over, that one was."""
    return "A person was needed" if state.closed else NEEDED.removesuffix(": ")


def to_look_at(escalation: Escalation) -> list[str]:
    """What to look at, each once, but for what the reason says already, clause by clause."""
    said = escalation.reason.removeprefix(NEEDED).lower()
    return [
        text
        for text in dict.fromkeys(escalation.look_at)
        if not all(clause in said for clause in text.lower().split("; "))
    ]


_NOTHING = "nothing to undo: "


def undo_line(undo: str, *, reversible: bool) -> str:
    """What becomes of an action's undo, as a sentence; an action that has none says so itself in its own words."""
    return f"Undo: {undo}" if reversible else f"Nothing to undo: {undo.removeprefix(_NOTHING)}"


_ABOVE = {"observe": "approve", "approve": "auto"}

_OF = re.compile(r"([0-9]+) of ([0-9]+)[^(;,]*")
_TIGHT = 3


def gate_line(gate: GateResult) -> Line:
    """One gate with measured value and threshold: `NO  cooldown: last action 4m ago · allowed: 15m since ...`."""
    word = GATE_WORDS[gate.verdict]
    head = word if gate.verdict is Verdict.ALLOW else bold(word)
    return line(head, f"  {gate.gate}: {measured(gate)}")


def measured(gate: GateResult) -> str:
    """Value and threshold of a gate."""
    threshold = f" · allowed: {gate.threshold}" if gate.threshold else ""
    return f"{gate.value or 'nothing measured'}{threshold}"


def gate_lines(decision: Decision) -> list[Line]:
    """All gates in the policy's order."""
    return [gate_line(g) for g in decision.gates]


def allowed(gates: Sequence[GateResult]) -> int:
    """How many gates allow."""
    return sum(g.verdict is Verdict.ALLOW for g in gates)


def gates_summary(decision: Decision) -> str:
    """`16 of 16 gates (budget 1 of 3 per 1h, blast radius 0 of 3 ready pods at risk)`."""
    gates = decision.gates
    total = f"{allowed(gates)} of {counted(len(gates), 'gate')}"
    tight = tightest(gates)
    return f"{total} ({', '.join(tight)})" if tight else total


def tightest(gates: Sequence[GateResult]) -> list[str]:
    """Name and count of the allowing gates that count `N of M`, nearest to their threshold first, at most three."""
    counting = [
        (g, m) for g in gates if g.verdict is Verdict.ALLOW and (m := _OF.match(g.value)) and int(m[2])
    ]
    counting.sort(key=lambda pair: -int(pair[1][1]) / int(pair[1][2]))
    return [f"{g.gate} {m[0].strip()}" for g, m in counting[:_TIGHT]]


def against(decision: Decision) -> list[GateResult]:
    """The gates that do not allow, the deciding one first."""
    first = strongest(decision.gates)
    others = [g for g in decision.gates if g.verdict is not Verdict.ALLOW and g is not first]
    return [first, *others] if first else []


def place(target: str) -> str:
    """`namespace/name` of a target key, or what is known."""
    parts = target.split("/")
    return f"{parts[0]}/{parts[2]}" if len(parts) == 3 else target


def above(level: str) -> str:
    """The level that a promotion leads to."""
    return _ABOVE.get(level, level)


def promote_command(key: str) -> Line:
    """How to confirm a promotion that waits."""
    return line("Confirm it: ", code(f"remediator trust promote {shlex.quote(key)} --reason WHY"))


def action_line(action: ActionDone) -> Line:
    """One action and what became of it."""
    dry = "Dry run, nothing was changed: " if action.dry_run else ""
    if action.result is ActionResult.APPLIED:
        return line(f"{dry}{action.summary}")
    text = f" ({action.text})" if action.text else ""
    return line(f"{action.summary}: ", bold(action_word(action)), text)


def action_word(action: ActionDone) -> str:
    """What became of an action; "refused by the cluster" only when the cluster was asked."""
    if not action.sent:
        return "not sent, our own check stopped it"
    if action.result is ActionResult.PARTLY:
        return ACTION_WORDS[action.result] + (
            "" if action.reached else ", what it works on could not be reached"
        )
    return ACTION_WORDS[action.result] if action.reached else "not done, the cluster could not be reached"


def standing_lines(escalation: Escalation) -> list[str]:
    """What a run has left, and what a person can type, one sentence a line."""
    return [
        *(f"Now: {text}" for text in escalation.in_place),
        *(f"Done: {text}" for text in escalation.done),
        *(f"Not done: {text}" for text in escalation.not_done),
        *(f"To {text}" for text in escalation.commands),
    ]


def looks_again(at: datetime | None) -> list[Line]:
    """When a refused incident is looked at again; nothing when no time is known."""
    return [line("Looks again ", When(at))] if at else []


def undo_command(run_id: str) -> Line:
    """How to undo what a run did."""
    return line("Undo: ", code(f"remediator undo {run_id}"))


def held_lines(held: UndoHeld) -> list[Line]:
    """What a person can do about an undo that waits, and when it ends by itself."""
    lines = [line("Go on despite it: ", code(held.despite))]
    if held.withdraw:
        lines.append(line("Withdraw it until it begins: ", code(held.withdraw)))
    if held.until:
        lines.append(line("Its order is good until ", When(held.until), "; then it is not done"))
    return lines


_DELETED = frozenset({Code.TARGET_NOT_FOUND, Code.BEING_DELETED})


def may_undo(timeline: Timeline) -> bool:
    """Something reversible of ours is in place as far as the timeline knows, and what it is in is there."""
    if (timeline.verifications and timeline.verifications[-1].gone) or (
        timeline.decision is not None and timeline.decision.code in _DELETED
    ):
        return False
    # After a conflict our change is not the one in place any more; what failed or was not done can be ordered again.
    again = (UndoResult.FAILED, UndoResult.NOT_DONE)
    gone = {u.action_id for u in timeline.undos if u.result not in again}
    return bool(timeline.run_id) and any(
        a.result is ActionResult.APPLIED and a.reversible and not a.dry_run and a.id not in gone
        for a in timeline.actions
    )
