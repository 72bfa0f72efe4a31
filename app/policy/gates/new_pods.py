"""Gate: could a new pod start? A step that replaces or adds pods helps nobody when the cluster cannot start them, and takes
running ones down without a replacement at worst."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.decision import Code, GateResult
from app.domain.new_pods import Finding, NewPods, PodCheck
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.model import OwnedMode

_SAY = Voice("new pods")
_SHOWN = 3


@_SAY.of
def new_pods(case: Case) -> GateResult:
    """Deny when something stands in the way of a new pod; ask (or as the rule says) when a part of the proof cannot be read."""
    mode = case.rule.new_pods.unknown
    threshold = f"nothing stands in a new pod's way; what cannot be read: {mode}"
    if case.step is None:
        return _SAY.allow("no step, so no new pods", threshold)
    facts = case.facts.new_pods
    if isinstance(facts, Unknown):
        return _SAY.unknown("whether a new pod could start", facts, threshold)
    if obstacles := facts.found(Finding.MISSING):
        remedy = "; ".join(dict.fromkeys(c.remedy for c in obstacles if c.remedy))
        return _SAY.deny(Code.POD_CANNOT_START, _told(obstacles), threshold, remedy)
    unproven = facts.found(Finding.UNKNOWN)
    if not unproven:
        return _SAY.allow(_proven(facts), threshold)
    return _unproven(case, facts, unproven, threshold)


def _unproven(case: Case, facts: NewPods, unproven: Sequence[PodCheck], threshold: str) -> GateResult:
    """What cannot be read opens by the rule's word, but never for a step that may take all running pods down."""
    mode = case.rule.new_pods.unknown
    value = f"not proven: {_told(unproven)}"
    if facts.all_down:
        value += "; the step may take all running pods down at once"
    if mode is OwnedMode.DENY:
        return _SAY.deny(Code.POD_UNPROVEN, value, threshold, _read_it(unproven))
    if mode is OwnedMode.ALLOW and not facts.all_down:
        return _SAY.allow(value, threshold)
    if case.facts.approved_by:
        return _SAY.allow(f"{value}; approved by {case.facts.approved_by}", threshold)
    remedy = f"{_read_it(unproven)}, or a person approves without"
    return _SAY.hold(case.question, Code.POD_UNPROVEN, value, threshold, remedy)


def _read_it(unproven: Sequence[PodCheck]) -> str:
    return "; ".join(dict.fromkeys(c.remedy for c in unproven if c.remedy)) or "it can be read again"


def _proven(facts: NewPods) -> str:
    if not facts.checks:
        return "nothing known stands in the way of a new pod"
    proven = ", ".join(c.part for c in facts.found(Finding.OK))
    untold = facts.found(Finding.UNTOLD)
    rest = f"; not known: {_told(untold)}" if untold else ""
    return f"a new pod could start ({proven}){rest}"


def _told(checks: Sequence[PodCheck]) -> str:
    more = len(checks) - _SHOWN
    return "; ".join(c.text for c in checks[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
