"""Which containers show what a rollback is for, so that another one's moved image is no doubt about it. Called by the handlers' rollback step. Pure."""

from __future__ import annotations

from typing import Any

from app.domain.evidence import Diagnosis
from remediations.causes.report import CAUSE, ORIGIN
from remediations.evidence.error_signs import ANOTHER_SIDE, ITSELF
from remediations.evidence.pods import Errors


def shown_by(diagnosis: Diagnosis) -> frozenset[str]:
    """The containers that have what a rollback is for and accuse themselves: those with the errors, else that of the cause. None where what they say is about
    an address of the pod itself: another container of it has to answer there, whatever that one is."""
    origin = diagnosis.finding(ORIGIN)
    found = origin or diagnosis.finding(CAUSE)
    data: Any = found.data if found is not None else {}
    said = Errors(diagnosis).said if origin is not None else str(data.get("text", ""))
    inside = ITSELF.search(said) and not ANOTHER_SIDE.search(said)
    return frozenset() if inside else frozenset(data.get("containers") or ())
