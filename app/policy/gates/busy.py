"""Gate: is another run at work on this target? One run a target, always."""

from __future__ import annotations

from app.domain.decision import Code, GateResult
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice

_SAY = Voice("target busy")
_THRESHOLD = "no other run on the target"


@_SAY.of
def busy(case: Case) -> GateResult:
    """Deny while another run holds the target."""
    run = case.facts.busy_with
    if isinstance(run, Unknown):
        return _SAY.unknown("runs on the target", run, _THRESHOLD)
    if run:
        return _SAY.deny(Code.TARGET_BUSY, f"{run} is at work", _THRESHOLD, f"{run} ends")
    return _SAY.allow("free", _THRESHOLD)
