"""Who sizes a workload now: the autoscaler that a change of its replicas, or the undo of one, would work against.

Asked by `app.kube.apply` and `app.kube.undo` right before a write: a change of the replicas was planned for a workload that nothing
sizes, so any autoscaler came later, and its hand wins. Never writes.
"""

from __future__ import annotations

from app.domain.cluster import Cluster
from app.domain.plan import Action, ActionKind
from app.kube.read import autoscaler_manifest
from app.kube.scaled_objects import maker_of


async def newer_sizer(cluster: Cluster, action: Action) -> str:
    """One clause on the autoscaler that sizes the target by now; empty for none, and for actions of another kind. Raises the port's
    read errors."""
    if action.kind is not ActionKind.SCALE:
        return ""
    hpa = await autoscaler_manifest(cluster, action.target)
    if hpa is None:
        return ""
    meta, spec = hpa["metadata"], hpa["spec"]
    owner = maker_of(hpa)
    made = f" (made by KEDA from ScaledObject {owner})" if owner else ""
    bounds = f"between {spec.get('minReplicas', 1)} and {spec['maxReplicas']}"
    return f"autoscaler {meta['name']}{made} sizes {action.target} {bounds} since then: its hand wins"
