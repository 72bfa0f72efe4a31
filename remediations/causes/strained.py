"""What pods that are measured at their own limit bring about themselves: probes that get no answer in time; and which causes stand beside too
much load and bring none. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from app.domain.evidence import Diagnosis
from app.domain.remediation import Scene
from remediations.causes.model import NEAR, CauseCode
from remediations.causes.report import CAUSE, FirstCause
from remediations.evidence.usage import count, span
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


_OF_SOME = frozenset(
    {CauseCode.NODE, CauseCode.OUT_OF_MEMORY, CauseCode.DEPENDENCY, CauseCode.RIGHT, CauseCode.LIVENESS_PROBE, CauseCode.CRASH,
     CauseCode.ENDS, CauseCode.READINESS_PROBE, CauseCode.READINESS_GATE}
)  # fmt: skip
"""What some pods show while others do well. What keeps a pod from coming keeps more of them from coming, and what keeps requests away stays."""


def beside_load(scene: Scene, cause: FirstCause, diagnosis: Diagnosis) -> str:
    """Why only a person may say that more pods help beside a sure cause that does not make those slow which serve: as many as are wanted are
    ready, or most are and it was there long before the alert. Empty without one, and where it may be what makes them slow."""
    state = diagnosis.finding("pods.state")
    data: Any = state.data if state is not None else {}
    ready, desired = data.get("ready", 0), data.get("desired", 0)
    if not cause.sure or 2 * ready <= desired:
        return ""
    if cause.code is CauseCode.PAUSED and ready >= desired:
        return f"{cause.text}, and more pods are of both versions then"
    since = diagnosis.moment(CAUSE, "since")
    old = since is not None and since <= scene.fired_at - NEAR
    if cause.code not in _OF_SOME or not (old or ready >= desired):
        return ""
    ago = f" for {span((scene.now - since).total_seconds())}" if since is not None else ""
    return f"{cause.text}{ago}: that makes no other pod slow, and whether more of them come up without it is not known"
