"""Gate: does the alert still fire, by a word that is not too old? An old alert is a past fault."""

from __future__ import annotations

from app.domain.decision import Code, GateResult
from app.domain.units import duration
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.units import duration_text

_SAY = Voice("freshness")


@_SAY.of
def freshness(case: Case) -> GateResult:
    """Deny when the alert is resolved, silenced or inhibited, or its last word is older than the rule's freshness. A manual order
    has no alert."""
    facts, threshold = case.facts, f"fires, last word at most {duration_text(case.rule.freshness)} old"
    if facts.ordered_by:
        return _SAY.allow(f"ordered by {facts.ordered_by}, needs no alert", threshold)
    if isinstance(facts.firing, Unknown):
        return _SAY.unknown("state of the alert", facts.firing, threshold)
    if not facts.firing:
        return _SAY.deny(Code.NOT_FIRING, "the alert is resolved", threshold, "the alert fires again")
    if facts.silenced:
        remedy = "the silence or inhibition ends"
        return _SAY.deny(Code.SILENCED, facts.silenced, f"{threshold}, not silenced", remedy)
    if isinstance(facts.last_seen, Unknown):
        return _SAY.unknown("time of the alert's last word", facts.last_seen, threshold)
    age = facts.now - facts.last_seen
    if age > case.rule.freshness:
        remedy = "the alert is delivered again, or Alertmanager's API confirms it"
        return _SAY.deny(Code.STALE, f"last word {duration(age)} ago", threshold, remedy)
    return _SAY.allow(f"fires, last word {duration(age)} ago", threshold)
