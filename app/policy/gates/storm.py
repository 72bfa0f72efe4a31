"""Gate: are many targets in trouble at once? Then the cause is elsewhere, and acting on each of them makes it worse."""

from __future__ import annotations

from app.domain.decision import Code, GateResult, Verdict
from app.domain.units import counted
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.units import duration_text

_SAY = Voice("storm")


@_SAY.of
def storm(case: Case) -> GateResult:
    """Observe during a storm. A person's order or approval of this plan goes through: they saw it."""
    rules, count = case.policy.storm, case.facts.storm_targets
    within = duration_text(rules.within)
    threshold = f"fewer than {rules.targets} targets with new alerts within {within}"
    if isinstance(count, Unknown):
        return _SAY.unknown("targets with new alerts", count, threshold)
    value = f"{counted(count, 'target')} with new alerts within {within}"
    if case.storming:
        remedy = "fewer targets are in trouble, or a person orders the remediation"
        return _SAY.hold(Verdict.OBSERVE, Code.STORM, value, threshold, remedy)
    return _SAY.allow(value, threshold)
