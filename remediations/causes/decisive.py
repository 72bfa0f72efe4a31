"""What a handler reads of an investigation's findings: it decides from these alone, so that people see why. Pure; makes no finding."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from app.domain.evidence import Certainty, Diagnosis
from remediations.causes.bystanders import Whose
from remediations.causes.model import CauseCode, Sureness
from remediations.causes.report import CAUSE, ORIGIN

_OF_SIZE = frozenset({CauseCode.AUTOSCALER, CauseCode.DISRUPTION_BUDGET})
"""Why there are not more pods, or why they cannot be moved."""


class FirstCause:
    """What the finding `cause.first` says, for decisions."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        finding = diagnosis.finding(CAUSE)
        data: Any = finding.data if finding is not None else {}
        self.text: str = finding.text if finding is not None else "nobody looked for the cause"
        self.unknown = finding is None or finding.certainty is Certainty.UNKNOWN
        """The pods could not be read."""
        self.code = CauseCode(data["code"]) if data.get("code") else None
        self.rest: str = data.get("rest", "")
        """Why nothing is to be done now."""
        self.by_design: str = data.get("by_design", "")
        """The same, where it is meant to have no pods."""
        latent = self.code is CauseCode.CONFIG_MISSING and not data.get("pods")
        self.sure = self.code is not None and not latent and data.get("sureness") != Sureness.POSSIBLE.value
        """A cause was found, it is more than possible, and it is not only what new pods would wait for."""
        possible = self.code is not None and not latent and not self.sure and self.code not in _OF_SIZE
        self.perhaps: str = self.text if possible else ""
        """A cause that is only possible, and that more pods would not end; empty without one."""
        self.of_size: str = self.text if self.code in _OF_SIZE and not self.sure else ""
        """Why there are not more pods, or why they cannot be moved, where it is only possible that this is the cause."""
        self.by_rollout: bool = data.get("rollout") is True
        """The last rollout can have brought it, and nothing fits better."""
        self.rollout_why: str = data.get("rollout_why", "")
        self.asks: str = data.get("asks", "")
        """What is not known of it, so that only a person may say that the rollout brought it."""
        self.advice: str = data.get("advice", "")
        self.held: str = data.get("held", "")
        """What was written since that may end it, and has to show first whether it does: nobody goes back to another version before."""
        self.instead: str = data.get("instead", "")
        self.beside = self.sure and data.get("errors") == Whose.ELSEWHERE
        """The errors in the logs come from elsewhere."""
        self.says_them = data.get("errors") == Whose.ITS_OWN
        self.cure = "" if self.beside else self.advice

    @property
    def acquits(self) -> str:
        """Why the last rollout did not bring it, or is not the one to be taken back now; empty when it is, when no sure cause is known, or
        when that brought no error."""
        why = self.held or ("" if self.by_rollout else self.rollout_why)
        acquitted = self.sure and not self.beside and (self.held or not self.by_rollout)
        return f"{self.text}; {why}" if acquitted else ""


def beware_of(diagnosis: Diagnosis) -> str:
    """What is told of going back also where that is right."""
    found = (diagnosis.finding(code) for code in (ORIGIN, CAUSE))
    return next((str(f.data["beware"]) for f in found if f is not None and f.data.get("beware")), "")


def time_of(diagnosis: Diagnosis, code: str, field: str) -> datetime | None:
    """A moment that a finding tells."""
    finding = diagnosis.finding(code)
    text = finding.data.get(field) if finding is not None else None
    return datetime.fromisoformat(text) if isinstance(text, str) else None


_COUNTED_OVER = timedelta(
    minutes=5
)  # what handlers ask of requests: for so long pods that are gone still count


def stands_by_design(diagnosis: Diagnosis, now: datetime, value: float | None, bad: float) -> str:
    """Why nothing is to be done about an alert on requests: the workload is meant to have no pods, and no request is measured that
    fails (`value` from `bad` on) since those of its former pods are not counted any more. Empty otherwise."""
    since = time_of(diagnosis, CAUSE, "since")
    fails = value is not None and value >= bad and (since is None or now - since > _COUNTED_OVER)
    return "" if fails else FirstCause(diagnosis).by_design
