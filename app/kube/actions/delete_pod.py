"""Deleting one pod that its controller will replace. Ignores disruption budgets, as `kubectl delete pod` does.

Built by handlers. Pure.
"""

from __future__ import annotations

from app.domain.plan import Action, ActionKind
from app.domain.workload import Pod, Workload
from app.kube.impossible import Impossible


def delete_pod(pod: Pod, workload: Workload) -> Action | Impossible:
    """Delete exactly this pod (by uid), if somebody will replace it."""
    return removal(ActionKind.DELETE_POD, "Delete", pod, workload)


def removal(kind: ActionKind, verb: str, pod: Pod, workload: Workload) -> Action | Impossible:
    """Common to deletion and eviction: there must be a controller, and the pod must not be on its way out."""
    if pod.owner is None:
        return Impossible(f"pod {pod.name} has no controller: nothing would bring it back")
    if pod.terminating:
        return Impossible(f"pod {pod.name} is terminating already")
    return Action(
        kind=kind,
        object=pod.ref,
        target=workload.target,
        changes=(),
        summary=f"{verb} pod {pod.name} of {workload.target} on node {pod.node or 'none'}",
        pods_affected=1,
        reversible=False,
        undo=f"nothing to undo: {pod.owner.kind} {pod.owner.name} makes a new pod",
        params={"pod": pod.name, "node": pod.node, "owner_uid": pod.owner.uid, "ready": pod.ready},
    )
