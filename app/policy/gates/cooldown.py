"""Gate: has the last action of this remediation on this target had time to work?"""

from __future__ import annotations

from app.domain.decision import Code, GateResult
from app.domain.units import duration, utc
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.units import duration_text

_SAY = Voice("cooldown")


@_SAY.of
def cooldown(case: Case) -> GateResult:
    """Deny until the cooldown since the last action is over; the end itself is over. A procedure is ordered again on purpose:
    its orders have a cooldown only where the rule writes one."""
    last, span = case.facts.last_action, case.rule.cooldown
    if case.facts.ordered_by and case.rule.order_cooldown is not None:
        span = case.rule.order_cooldown
    threshold = f"{duration_text(span)} since the last action"
    if isinstance(last, Unknown):
        return _SAY.unknown("time of the last action", last, threshold)
    if last is None:
        return _SAY.allow("no action before", threshold)
    age, end = case.facts.now - last, last + span
    if case.facts.now < end:
        remedy = f"the cooldown ends ({utc(end)})"
        return _SAY.deny(Code.COOLING_DOWN, f"last action {duration(age)} ago", threshold, remedy, end)
    return _SAY.allow(f"last action {duration(age)} ago", threshold)
