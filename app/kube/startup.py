"""Can any pod made since a moment start? What a look at a rollout needs to end early. Pure.

Called by the verification. Says "no" only for what waiting does not heal: an image that is not there, a container that
cannot be created, one that crashes again and again, and pods that the API server refuses to make. A pod that merely is not
ready yet, or that no node takes now, may become ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.redact import redact
from app.domain.workload import ContainerState, Pod, Workload

_NO_IMAGE = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_NO_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CRASHES = 2  # restarts; the first may be a dependency that came up late
_EARLY = timedelta(seconds=2)  # times of pods are whole seconds, and stamped by another machine
_WORDS = 200


def no_new_pod_starts(workload: Workload, pods: Sequence[Pod], since: datetime) -> str:
    """Why not, with the pod and the kubelet's or the API server's words; empty when one is ready or may get ready."""
    new = [p for p in pods if p.created_at >= since - _EARLY and not p.terminating]
    if any(p.ready for p in new):
        return ""
    for pod in new:
        for state in pod.containers:
            if why := _hopeless(state):
                return f"{pod.name}/{state.name} {why}"
    return "" if new else _refused(workload)


def _hopeless(state: ContainerState) -> str:
    said = f": {redact(state.waiting_message)[:_WORDS]}" if state.waiting_message else ""
    if state.waiting in _NO_IMAGE:
        return f"cannot get its image ({state.waiting}){said}"
    if state.waiting in _NO_CONTAINER:
        return f"cannot be created ({state.waiting}){said}"
    ended = state.terminated or state.last_terminated
    if state.restarts < _CRASHES or ended is None:
        return ""
    if state.waiting == "CrashLoopBackOff" or state.terminated is not None:
        return f"crashes ({ended.how}, {state.restarts} restarts)"
    return ""


def _refused(workload: Workload) -> str:
    """The API server makes no pod at all: a quota, an admission webhook, a pod security rule. What its controller said before it
    saw the present generation is about another template, and whoever has all its pods needs none."""
    if workload.observed_generation < workload.ref.generation or workload.updated >= workload.desired:
        return ""
    for condition in (workload.manifest.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return f"no pod can be made: {redact(str(condition.get('message', '')))[:_WORDS]}"
    return ""
