"""Reads what the checks need, side by side, and puts their answers together. Called by the flow, for a decision and again right
before each write.

Reads through the port; the dry run of a pod is the one request that is no read, and changes nothing. A read that is not
granted is a check that says so; a read that failed in passing is the caller's to hear of (TryLater kinds), because then
nothing was proven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied, ClusterRefused, ObjectMissing, TryLater
from app.domain.json import Obj
from app.domain.new_pods import Finding, NewPods, Part, PodCheck
from app.domain.plan import Action
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.newpods.goal import Goal, goal_of, pod_of
from app.kube.newpods.limit_ranges import completed, limits_check
from app.kube.newpods.nodes import daemon_check, nodes_check
from app.kube.newpods.quotas import Pods, makes_pods, quota_check
from app.kube.newpods.references import reference_checks
from app.kube.newpods.refused import refused_check, short_of_pods
from app.kube.paths import RESOURCES
from app.kube.read import pod_manifests, replica_sets_of

_ENDED = ("Succeeded", "Failed")
_NO_DRY_RUN = "does not support dry run"


async def new_pods(cluster: Cluster, workload: Workload, actions: Sequence[Action], now: datetime) -> NewPods:
    """What is known of whether the new pods of these actions could start. Raises TryLater kinds."""
    goal = goal_of(workload, actions)
    present = {
        m["metadata"]["name"]: m["spec"]
        for m in await pod_manifests(cluster, workload)
        if (m.get("status") or {}).get("phase") not in _ENDED
    }
    if not makes_pods(goal, len(present)):
        return NewPods()
    references, room, refused, admitted, nodes = await asyncio.gather(
        reference_checks(cluster, goal),
        _room(cluster, goal, present),
        _refused(cluster, goal, now),
        _admitted(cluster, goal),
        _nodes(cluster, goal, present),
    )
    checks = [*references, *room, refused, admitted, nodes]
    order = list(Part)
    checks.sort(key=lambda c: order.index(c.part))
    return NewPods(tuple(checks), _all_down(goal))


def _all_down(goal: Goal) -> bool:
    """Also where pods may surge: a rollout with maxUnavailable 100 % does not wait for them."""
    ready = goal.workload.ready
    return bool(goal.rolls and ready and goal.at_once >= ready)


async def _listed(cluster: Cluster, kind: Kind, namespace: str, fields: str = "") -> list[Obj] | AccessDenied:
    try:
        return await cluster.list_objects(kind, namespace, fields=fields)
    except AccessDenied as error:
        return error


def _unread(part: Part, kind: Kind, *, optional: bool = False) -> PodCheck:
    plural = RESOURCES[kind].plural
    finding = Finding.UNTOLD if optional else Finding.UNKNOWN
    return PodCheck(part, finding, f"{plural} may not be listed", f"the right to list {plural} is granted")


async def _room(cluster: Cluster, goal: Goal, present: dict[str, Obj]) -> list[PodCheck]:
    """LimitRanges first: their defaults are part of what a quota counts."""
    ranges, quotas = await asyncio.gather(
        _listed(cluster, Kind.LIMIT_RANGE, goal.namespace),
        _listed(cluster, Kind.RESOURCE_QUOTA, goal.namespace),
    )
    spec = completed(goal.spec, [] if isinstance(ranges, AccessDenied) else ranges)
    limits = (
        _unread(Part.LIMITS, Kind.LIMIT_RANGE)
        if isinstance(ranges, AccessDenied)
        else limits_check(spec, ranges)
    )
    quota = (
        _unread(Part.QUOTA, Kind.RESOURCE_QUOTA)
        if isinstance(quotas, AccessDenied)
        else quota_check(goal, Pods(spec, present), quotas)
    )
    return [limits, quota]


async def _refused(cluster: Cluster, goal: Goal, now: datetime) -> PodCheck:
    makers = short_of_pods(goal, await replica_sets_of(cluster, goal.workload))
    events: list[Obj] = []
    for maker in makers:
        told = await _listed(
            cluster, Kind.EVENT, goal.namespace, fields=f"regarding.name={maker['metadata']['name']}"
        )
        if isinstance(told, AccessDenied):
            return _unread(Part.REFUSALS, Kind.EVENT)
        events += told
    return refused_check(makers, events, now)


async def _admitted(cluster: Cluster, goal: Goal) -> PodCheck:
    """A server-side dry run of the pod: Pod Security, admission policies and webhooks judge pods, and not only workloads.
    Asked for only where the right is granted, so that nobody's audit log fills with refused pods."""
    try:
        if not await cluster.can_i("create", Kind.POD, goal.namespace):
            text = "a dry run of a pod is not allowed"
            return PodCheck(Part.ADMISSION, Finding.UNTOLD, text, "the right to create pods is granted")
        await cluster.dry_run_pod(goal.namespace, pod_of(goal))
    except AccessDenied:
        return PodCheck(Part.ADMISSION, Finding.UNTOLD, "a dry run of a pod is not allowed")
    except ClusterRefused as error:
        if _NO_DRY_RUN in error.message:
            return PodCheck(Part.ADMISSION, Finding.UNTOLD, "an admission webhook knows no dry run")
        text = f"a dry run of a new pod was refused: {error.message}"
        return PodCheck(Part.ADMISSION, Finding.MISSING, text, "admission accepts such a pod")
    except TryLater as error:
        return PodCheck(Part.ADMISSION, Finding.UNTOLD, f"the dry run of a pod failed: {error.message}")
    return PodCheck(Part.ADMISSION, Finding.OK)


async def _nodes(cluster: Cluster, goal: Goal, present: dict[str, Obj]) -> PodCheck:
    """Which node a DaemonSet's pod goes to is not free: its controller has chosen it."""
    try:
        nodes = await cluster.list_objects(Kind.NODE, "")
    except (AccessDenied, ObjectMissing, TryLater) as error:
        why = "may not be listed" if isinstance(error, AccessDenied) else "could not be read"
        return PodCheck(Part.NODES, Finding.UNTOLD, f"nodes {why}", "the right to list nodes is granted")
    if goal.workload.target.kind is Kind.DAEMON_SET:
        return daemon_check([spec.get("nodeName", "") for spec in present.values()], nodes)
    return nodes_check(goal.spec, nodes)
