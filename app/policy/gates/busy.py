"""Gate: is another run at work on this target? One at a time, always.

A plan that waits for its first answer has written nothing and keeps nobody away; it is checked again before it acts.
"""

from __future__ import annotations

from app.domain.decision import Code, GateResult
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice

_SAY = Voice("target busy")
_THRESHOLD = "no other run at work on the target"


@_SAY.of
def busy(case: Case) -> GateResult:
    """Deny while another run is at work on the target; plans for it that wait for an answer are named."""
    run = case.facts.busy_with
    if isinstance(run, Unknown):
        return _SAY.unknown("runs on the target", run, _THRESHOLD)
    if run:
        return _SAY.deny(Code.TARGET_BUSY, f"{run} is at work", _THRESHOLD, f"{run} ends")
    if waiting := case.facts.waiting:
        told = ", ".join(waiting)
        return _SAY.allow(f"free; waiting for an answer, with nothing written: {told}", _THRESHOLD)
    return _SAY.allow("free", _THRESHOLD)
