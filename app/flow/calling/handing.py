"""Handing over: the words of a call for what no step may be taken for, whether one is made, and when it waits for a step that soon may be.

Called by `settle`. Reads nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.decision import FOLLOWS, Calls, Code, Decision, Verdict
from app.flow.deciding import investigate
from app.kube.rollout import are_up
from app.notify.timeline import Escalation
from app.policy import decide as policy_decide
from app.policy.facts import Beside
from app.store.incidents import Incident

MAX_WAIT = timedelta(minutes=15)
"""So long after its alert came about, at most, nobody is called for an incident because a step of it is not due yet."""


def not_yet(
    decision: Decision, incident: Incident, seen: investigate.Seen, now: datetime, began: datetime
) -> Decision:
    """The decision, which waits for the first step that the clock alone brings about, as the incident's waits `began`. Not for one that is due
    too late, nor for an order, which is answered at once."""
    first = min((step.later for step in seen.ladder if step.later), default=None)
    waits = incident.manual is None and first is not None and first <= began + MAX_WAIT
    return policy_decide.not_yet(decision, seen.ladder, now, waits=waits)


_FOR_A_PERSON = {
    Code.POD_CANNOT_START: "no new pod could start",
    Code.OWNED: "somebody else owns what would be changed",
    Code.PROTECTED: "the policy leaves this kind to people",
}
"""Refusals which only a person can lift: of a step that would be taken by itself, or of a kind that people keep; and how that is told."""


def calls_a_person(decision: Decision, seen: investigate.Seen | None) -> bool:
    """Whether only a person can clear the way. It is looked at again all the same, and goes on once the way is clear. A protected kind calls where
    pods of it do not come up, whether or not it is known what would help."""
    if decision.silenced or any(gate.verdict is Verdict.OBSERVE for gate in decision.gates):
        return False
    if decision.code is Code.PROTECTED:
        return seen is not None and seen.workload is not None and not are_up(seen.workload)
    return FOLLOWS[decision.code][1] is Calls.IN_THE_WAY


def put_off(decision: Decision, beside: Beside) -> Decision:
    """The decision, whose call is not made before that is over."""
    times = [at for at in (decision.retry_at, beside.until) if at is not None]
    return replace(decision, text=f"{decision.text}; {beside.what}", again=min(times, default=None))


def obstacle(decision: Decision, seen: investigate.Seen | None) -> Escalation:
    """What only a person can take out of the way."""
    gate = next(g for g in decision.gates if g.code is decision.code)
    told = f"{_FOR_A_PERSON[gate.code]}: {gate.value}"
    if gate.code is Code.PROTECTED and seen is not None and seen.step is not None:
        would = "; ".join(action.summary for action in seen.step.actions)
        return Escalation(f"{told}, so this is not done: {would} ({seen.step.why})")
    if gate.code is Code.PROTECTED and seen is not None:
        advice = tuple(dict.fromkeys(step.advice for step in seen.ladder if step.advice))
        return Escalation(f"{told}, and it is not well: {seen.diagnosis.summary}", look_at=advice)
    return Escalation(reason=told, look_at=(gate.remedy,) if gate.remedy else ())


def handed_over(decision: Decision, seen: investigate.Seen | None) -> Escalation:
    """Why no step is taken, each with its reason, and what a person does instead."""
    ladder = seen.ladder if seen is not None else ()
    return Escalation(
        reason=decision.text,
        not_taken=tuple(f"{r.name}: {r.why}" for r in ladder),
        look_at=tuple(r.advice for r in ladder if r.advice),
    )
