"""Gate: the circuit breaker. After fixes that did not hold, a person decides, or the automation hides the real fault."""

from __future__ import annotations

from itertools import takewhile

from app.domain.decision import Code, GateResult
from app.domain.outcome import HELPED, RunState
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.units import duration_text

_SAY = Voice("flapping")
DID_NOT_HELP = frozenset(
    {
        RunState.NOT_FIXED,
        RunState.INCONCLUSIVE,
        RunState.PROBE_ERROR,
        RunState.FAILED,
        RunState.UNDONE,
        RunState.STUCK,
    }
)
"""Endings of a run that acted or tried to. Rejected, expired and abandoned runs say nothing about the remediation."""


@_SAY.of
def flapping(case: Case) -> GateResult:
    """Ask after too many runs in a row that did not fix it, or when it was fixed again and again within the window. A procedure
    that is ordered again after it went well is no fault that comes back."""
    rules, results = case.rule.flapping, case.facts.results
    within = duration_text(rules.within)
    on_purpose = bool(case.facts.ordered_by) and case.rule.procedure
    threshold = f"fewer than {rules.not_fixed} not fixed in a row"
    if not on_purpose:
        threshold += f" and {rules.fixed} fixed within {within}"
    if isinstance(results, Unknown):
        return _SAY.unknown("results of earlier runs", results, threshold)
    since = case.facts.now - rules.within
    tried = [r.state for r in results if r.at > since and (r.state in DID_NOT_HELP or r.state in HELPED)]
    failures = len(list(takewhile(lambda state: state in DID_NOT_HELP, tried)))
    fixes = sum(state in HELPED for state in tried)
    value = f"{failures} not fixed in a row, {fixes} fixed within {within}"
    if failures < rules.not_fixed and (on_purpose or fixes < rules.fixed):
        return _SAY.allow(value, threshold)
    if case.approved_by:
        return _SAY.allow(f"{value}; {case.approved_by}", threshold)
    remedy = "a person approves another attempt, or earlier runs leave the window"
    return _SAY.hold(case.question, Code.FLAPPING, value, threshold, remedy)
