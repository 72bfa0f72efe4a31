"""Whether a pod can be given a node: its node selector, cordoned nodes, its claims. Pure reads; called by the scheduler.

Resources do not count here: the simulated nodes are large enough. No volume is provisioned: a claim is bound when somebody
says so in its status. The texts follow kube-scheduler's.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.objects import Key, ObjectStore

_PREEMPTION = "preemption: 0/{all} nodes are available: {all} Preemption is not helpful for scheduling."


def fitting(pod: Obj, nodes: Sequence[Obj]) -> list[str]:
    """Names of the nodes that the pod may run on."""
    wanted = pod["spec"].get("nodeSelector") or {}
    return [
        n["metadata"]["name"]
        for n in nodes
        if not n["spec"].get("unschedulable")
        and wanted.items() <= (n["metadata"].get("labels") or {}).items()
    ]


def refusal(store: ObjectStore, pod: Obj, nodes: Sequence[Obj]) -> str:
    """Why no node takes the pod; empty when one does."""
    if not nodes:
        return "0/0 nodes are available"
    if why := _claims(store, pod):
        return _said(nodes, why)
    if fitting(pod, nodes):
        return ""
    cordoned = sum(bool(n["spec"].get("unschedulable")) for n in nodes)
    reasons = [f"{cordoned} node(s) were unschedulable"] if cordoned else []
    if cordoned < len(nodes):
        reasons.append(f"{len(nodes) - cordoned} node(s) didn't match Pod's node affinity/selector")
    return _said(nodes, ", ".join(reasons))


def _said(nodes: Sequence[Obj], why: str) -> str:
    number = len(nodes)
    return f"0/{number} nodes are available: {why}. {_PREEMPTION.format(all=number)}"


def _claims(store: ObjectStore, pod: Obj) -> str:
    for volume in pod["spec"].get("volumes", []):
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name:
            continue
        claim = store.find(Key(Kind.PVC, pod["metadata"]["namespace"], name))
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if (claim.get("status") or {}).get("phase") != "Bound":
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""
