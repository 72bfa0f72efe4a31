"""Gate: is somebody at it? Whoever acknowledged the incident, or changed the target since the alert fired, has it."""

from __future__ import annotations

from app.domain.decision import Code, GateResult
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice

_SAY = Voice("hands")
_THRESHOLD = "no acknowledgement, and no change of the target by others since the alert fired"


@_SAY.of
def hands(case: Case) -> GateResult:
    """Deny while somebody has acknowledged the incident; ask when somebody else changed the target after the alert fired. Who
    orders or approves this very plan knows of it."""
    facts = case.facts
    if isinstance(facts.changed_by, Unknown):
        return _SAY.unknown("who changed the target", facts.changed_by, _THRESHOLD)
    value = "; ".join(part for part in (facts.acknowledged, facts.changed_by) if part)
    if not value:
        return _SAY.allow("nobody is at it", _THRESHOLD)
    if case.approved_by:
        return _SAY.allow(f"{value}; {case.approved_by}", _THRESHOLD)
    if facts.acknowledged:
        remedy = "the acknowledgement ends, or a person orders it"
        return _SAY.deny(Code.ACKNOWLEDGED, value, _THRESHOLD, remedy)
    remedy = f"{case.approvers} that it is written over what they did"
    return _SAY.hold(case.question, Code.CHANGED_SINCE, value, _THRESHOLD, remedy)
