"""Whether the first cause can be what the errors in the logs come from, or only stands beside them. Pure.

A cause says why pods are not ready, not there or not updated; that requests fail can have another reason. A pod that never ran has written no
error, and a helper that lacks something makes no program fail by its own fault.
"""

from __future__ import annotations

from enum import StrEnum

from app.domain.accusing import Sign
from remediations.causes.model import Cause, CauseCode, Snapshot
from remediations.evidence.error_words import Nature
from remediations.evidence.logs import ErrorGroup, ErrorLog
from remediations.evidence.used_up import LATE

_ON_THE_WAY = frozenset(
    {CauseCode.SCALED_TO_ZERO, CauseCode.SERVICE_SELECTOR, CauseCode.SERVICE_PORT, CauseCode.SERVICE_ENDPOINTS, CauseCode.NETWORK_POLICY}
)  # fmt: skip
"""What keeps requests from the pods, or the pods from what they ask: it is in no pod, and its errors are in any."""


class Whose(StrEnum):
    """Where the errors are: most come from elsewhere than the cause, all are in the very container that shows it alone, or neither is known."""

    ELSEWHERE = "elsewhere"
    ITS_OWN = "its own"
    UNKNOWN = ""


def whose_errors(seen: Snapshot, cause: Cause, log: ErrorLog) -> Whose:
    """Can the errors come from this cause?"""
    if cause.code in _ON_THE_WAY:
        return Whose.UNKNOWN
    if not log.groups:
        # Whose pods are all there fails by no pod that is not updated; of anything else nobody knows where requests fail.
        whole = cause.code is CauseCode.PAUSED and seen.ready >= seen.workload.desired
        return Whose.ELSEWHERE if whole else Whose.UNKNOWN
    elsewhere = sum(g.count for g in log.groups if not _brings(seen, cause, g))
    if 2 * elsewhere > sum(g.count for g in log.groups):
        return Whose.ELSEWHERE
    alone = all(g.names <= set(cause.pods) and g.containers == {cause.container} for g in log.groups)
    return Whose.ITS_OWN if alone else Whose.UNKNOWN


def _brings(seen: Snapshot, cause: Cause, group: ErrorGroup) -> bool:
    """Can these errors come from it: they are in its own pods alone, are what others than the program did in the same container of other pods,
    or speak of more load, which fewer pods bring to each."""
    own, pods = group.sign is Sign.OWN, set(cause.pods)
    inside = not cause.container or cause.container in group.containers
    if group.names <= pods:
        return inside or not own
    if cause.container and inside and not own and _ran(seen, cause):
        return True
    by_load = group.nature is Nature.CAPACITY or (group.nature is Nature.ANSWER and LATE.search(group.said))
    return bool(by_load) and seen.ready < seen.workload.desired and cause.code is not CauseCode.PAUSED


def _ran(seen: Snapshot, cause: Cause) -> bool:
    """Has its container run in any of its pods?"""
    return any(
        c.running_since or c.terminated or c.last_terminated
        for p in seen.alive
        for c in p.containers
        if p.name in cause.pods and c.name == cause.container
    )
