"""What pods that are measured at their own limit bring about themselves: probes that get no answer in time. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from app.domain.evidence import Diagnosis
from remediations.causes.model import CauseCode
from remediations.causes.report import FirstCause
from remediations.evidence.usage import count
from remediations.evidence.used_up import LATE

_PROBES = frozenset({CauseCode.READINESS_PROBE, CauseCode.LIVENESS_PROBE})
"""Of a startup probe that is late more pods change nothing: each starts with the same limit."""
_ANSWER = re.compile(r" fails(?: \([^)]*\))?: (?P<said>.*)", re.DOTALL)
"""What the kubelet got, behind what it asks."""


def late_by_load(cause: FirstCause, limited: Collection[str]) -> str:
    """The cause, where it is only that a probe got no answer in time of pods with these signs that they are at their limit: that takes some of them
    out of their Service or ends them, and leaves the others more to do. Empty where they have no such sign, or the probe got another answer."""
    answer = _ANSWER.search(cause.text) if cause.sure and cause.code in _PROBES else None
    if not limited or answer is None or not LATE.search(answer["said"]):
        return ""
    return f"{cause.text}, as pods at their limit answer too late"


def perhaps_never_up(diagnosis: Diagnosis) -> str:
    """Why only a person may say that a probe that is late tells of load: a program that is ended while it starts uses all of its CPU too, and
    most pods are not ready. Empty where most are."""
    state = diagnosis.finding("pods.state")
    data: Any = state.data if state is not None else {}
    ready, desired = data.get("ready", 0), data.get("desired", 0)
    if 2 * ready > desired:
        return ""
    return f"only {ready} of {count(desired, 'pod')} ready: whether the others have too much to do or do not get through their start is not known"
