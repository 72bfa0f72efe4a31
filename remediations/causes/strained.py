"""What pods that are measured at their own limit bring about themselves: probes that get no answer in time; which causes give them the load of another one to carry;
and which stand beside too much load and bring none. Pure."""

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


_LOST = frozenset({CauseCode.NODE, CauseCode.OUT_OF_MEMORY})
"""What takes a pod away and leaves its share to the others: a new pod gets another node, and less to do."""


def by_load(cause: FirstCause, diagnosis: Diagnosis, limited: Collection[str]) -> str:
    """The cause, where it speaks for more pods and not against them, as the pods that serve have these signs that they are at their limit. Either a probe got no answer in
    time of them: that takes some of them out of their Service or ends them, and leaves the others more to do. Or no more than half of them were lost with their node, or
    killed for memory. Empty where they have no such sign, or it is another cause."""
    if not limited or not cause.sure:
        return ""
    if cause.code in _LOST and _serving(cause, diagnosis):
        return f"{cause.text}, and those that serve carry its load"
    answer = _ANSWER.search(cause.text) if cause.code in _PROBES else None
    if answer is None or not LATE.search(answer["said"]):
        return ""
    return f"{cause.text}, as pods at their limit answer too late"


def _serving(cause: FirstCause, diagnosis: Diagnosis) -> bool:
    """At least half of the pods are ready, and one of the version that new pods are of."""
    state = diagnosis.finding("pods.state")
    data: Any = state.data if state is not None else {}
    return cause.newest_ready and 0 < data.get("desired", 0) <= 2 * data.get("ready", 0)


def perhaps_never_up(diagnosis: Diagnosis) -> str:
    """Why only a person may say that a probe that is late tells of load: a program that is ended while it starts uses all of its CPU too, and
    most pods are not ready. Empty where most are, and for another cause."""
    state = diagnosis.finding("pods.state")
    data: Any = state.data if state is not None else {}
    ready, desired = data.get("ready", 0), data.get("desired", 0)
    if 2 * ready > desired or FirstCause(diagnosis).code in _LOST:
        return ""
    return f"only {ready} of {count(desired, 'pod')} ready: whether the others have too much to do or do not get through their start is not known"


_OF_SOME = frozenset(
    {CauseCode.NODE, CauseCode.OUT_OF_MEMORY, CauseCode.DEPENDENCY, CauseCode.RIGHT, CauseCode.LIVENESS_PROBE, CauseCode.CRASH,
     CauseCode.ENDS, CauseCode.READINESS_PROBE, CauseCode.READINESS_GATE}
)  # fmt: skip
"""What some pods show while others do well. What keeps a pod from coming keeps more of them from coming, and what keeps requests away stays."""
_OF_ONE = _OF_SOME - {CauseCode.DEPENDENCY, CauseCode.RIGHT}
"""What takes some pods away and asks nothing of the others. What all of them need is missing to those that serve as well."""


def beside_load(scene: Scene, cause: FirstCause, diagnosis: Diagnosis, limited: Collection[str]) -> str:
    """Why only a person may say that more pods help beside a sure cause that does not make those slow which serve: as many as are wanted are
    ready, or most are and it was there long before the alert; or those that serve have these signs that they are at their limit, whatever took the others away.
    Empty without one, and where it may be what makes them slow."""
    state = diagnosis.finding("pods.state")
    data: Any = state.data if state is not None else {}
    ready, desired = data.get("ready", 0), data.get("desired", 0)
    at_limit = limited and cause.code in _OF_ONE and _serving(cause, diagnosis)
    if not cause.sure or not (2 * ready > desired or at_limit):
        return ""
    if cause.code is CauseCode.PAUSED and ready >= desired:
        return f"{cause.text}, and more pods are of both versions then"
    since = diagnosis.moment(CAUSE, "since")
    old = since is not None and since <= scene.fired_at - NEAR
    ago = f" for {span((scene.now - since).total_seconds())}" if since is not None else ""
    if cause.code not in _OF_SOME or not (old or ready >= desired):
        whether = "whether more pods come up without it is not known"
        return f"{cause.text}{ago}: those that serve are at their limit, and {whether}" if at_limit else ""
    return f"{cause.text}{ago}: that makes no other pod slow, and whether more of them come up without it is not known"
