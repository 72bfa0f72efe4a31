"""The pods that a step made or chose: how many are up, why one is not, and whether any can start, so that a look at a rollout may end early.
Pure.

Called by the verification. Says "no" only for what waiting does not heal: an image that is not there, a container that
cannot be created, one that crashes again and again, and pods that the API server refuses to make. A pod that merely is not
ready yet, or that no node takes now, may become ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.redact import in_one_line
from app.domain.workload import ContainerState, Pod, Workload
from app.kube.quoted import told_by

_NO_IMAGE = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_NO_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CRASHES = 2  # restarts; the first may be a dependency that came up late
_EARLY = timedelta(seconds=2)  # times of pods are whole seconds, and stamped by another machine
_WORDS = 200


@dataclass(frozen=True, slots=True)
class NewPods:
    """`serving` are up. `text` says so with its numbers, and why one of the others is not. `doomed`: why no pod made since can start, with the pod
    and the kubelet's or the API server's words; empty when one is ready or may get ready."""

    serving: int | None
    text: str
    doomed: str


def new_pods(workload: Workload, pods: Sequence[Pod], since: datetime, *, rolls: bool) -> NewPods:
    """Of a step written at `since`. It `rolls` pods of another template out: pods of that template that were there already are its as well."""
    alive = [p for p in pods if not p.terminating]
    made = [p for p in alive if p.created_at >= since - _EARLY]
    chosen = {p.template_hash for p in made if rolls} - {""}
    its = [p for p in alive if p in made or p.template_hash in chosen]
    between = [p for p in made if p.ready and any(map(_crashing, p.containers))]
    up = [p for p in its if p.ready and p not in between]
    serving = max(len(up), _up_by_status(workload) - len(between) if rolls else 0)
    down = next((p for p in its if p not in up and not p.over), None)
    text = f"{serving}{f' of {workload.desired}' if rolls else ''} new pods serve"
    text += _before([p for p in alive if p not in its], len(up) - serving) if rolls else ""
    text += f", and {down.name} does not: {_why_down(down)}" if down else ""
    return NewPods(serving, text, "" if serving else _doomed(workload, made))


def _before(others: Sequence[Pod], fewer: int) -> str:
    """How many pods from before serve meanwhile: a number of the new ones alone reads like an outage. So many `fewer` as are of the present template by
    the controller's numbers: what was gone back to may have its pods all along."""
    some = sum(p.ready and not any(map(_crashing, p.containers)) for p in others) + fewer
    return f", {some} of those before {'do' if some > 1 else 'does'}" if some > 0 else ""


def _up_by_status(workload: Workload) -> int:
    """Pods of the present template that are up for sure, by the controller's own numbers: even if all that are not up were of it."""
    status = workload.manifest.get("status") or {}
    if workload.observed_generation < workload.ref.generation or "replicas" not in status:
        return 0
    return max(0, workload.updated - max(0, int(status["replicas"]) - workload.available))


def _why_down(pod: Pod) -> str:
    for state in pod.containers:
        if why := _hopeless(state):
            return why
        if state.waiting and state.waiting not in ("ContainerCreating", "PodInitializing"):
            return _said(state.waiting, state.waiting_message)
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return f"no node takes it ({_said(scheduled.reason, scheduled.message)})"
    return "it is not ready"


def _said(what: str, message: str) -> str:
    return f"{what}: {in_one_line(message, _WORDS)}" if message else what


def _crashing(state: ContainerState) -> bool:
    ended = state.last_terminated
    return state.restarts >= _CRASHES and ended is not None and bool(ended.exit_code)


def _doomed(workload: Workload, new: Sequence[Pod]) -> str:
    if any(p.ready for p in new):
        return ""
    for pod in new:
        for state in pod.containers:
            if why := _hopeless(state):
                return f"{pod.name}/{state.name} {why}"
    return "" if new else _refused(workload)


def _hopeless(state: ContainerState) -> str:
    said = f": {in_one_line(state.waiting_message, _WORDS)}" if state.waiting_message else ""
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
            return f"no pod can be made: {told_by(condition.get('message'), _WORDS)}"
    return ""
