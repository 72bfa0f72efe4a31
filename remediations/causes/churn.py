"""Whether pods that come and go make a Service that has been away for long look as if it lost its pods lately.

Asked by `rank` of a Service without a ready pod. Reads its owner, once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from app.domain.errors import ClusterRefused, TryLater
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.owners import resolve
from app.kube.parse import parse_time
from remediations.causes.model import NEAR, STARTING


async def lost_last(scene: Scene, pods: Sequence[Pod], since: datetime | None) -> datetime | None:
    """When the last ready pod was lost, where `since` is what its pods and its slices tell. Pods that were never ready tell when they were made,
    and each one writes the slices: where their Deployment has been unavailable for longer, it is as long as that where one pod is all, and not
    known where others may have served meanwhile."""
    if since is None or not pods or not all(map(_never_ready, pods)):
        return since
    unavailable = await _unavailable(scene, pods[0])
    if unavailable is None or unavailable[0] > since - NEAR:
        return since
    return unavailable[0] if unavailable[1] == 1 else None


def _never_ready(pod: Pod) -> bool:
    ready = pod.condition("Ready")
    return ready is None or (ready.since is not None and ready.since - pod.created_at <= STARTING)


async def _unavailable(scene: Scene, pod: Pod) -> tuple[datetime, int] | None:
    """Since when a pod's Deployment has not been available, and how many pods it wants; None where it says no such thing."""
    try:
        owner = await resolve(scene.cluster, scene.workload.target.namespace, Kind.POD, pod.name)
        if owner.kind is not Kind.DEPLOYMENT:
            return None
        manifest = await scene.cluster.get(owner.kind, owner.namespace, owner.name)
    except (ClusterRefused, TryLater):
        return None
    for condition in (manifest.get("status") or {}).get("conditions") or ():
        at = parse_time(condition.get("lastTransitionTime"))
        if condition.get("type") == "Available" and condition.get("status") == "False" and at is not None:
            return at, int((manifest.get("spec") or {}).get("replicas", 1))
    return None
