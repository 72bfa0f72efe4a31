"""Reads through the cluster port, as the typed snapshots of `app.domain.workload`.

Called by the flow, the handlers and the preflight. Never writes, never retries, never guesses: what cannot be read is
the port's error (ObjectMissing, AccessDenied, ClusterUnavailable, ClusterThrottled), so that the gate stays closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

from app.domain.cluster import Cluster
from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.domain.workload import Autoscaler, KubeEvent, Pod, Revision, Workload
from app.kube.limits import (
    DisruptionBudget,
    MemoryRule,
    QuotaRoom,
    disruption_budget,
    memory_defaults,
    memory_rules,
    quota_rooms,
)
from app.kube.owners import managers_of
from app.kube.parse import (
    REVISION_HASH,
    controller_of,
    fingerprint,
    parse_autoscaler,
    parse_controller_revision,
    parse_event,
    parse_pod,
    parse_replica_set,
    parse_workload,
    plain_template,
    selects,
)
from app.kube.resolve import resolve
from app.kube.rollout import rollout_status
from app.kube.view import View

__all__ = [
    "REVISION_HASH",
    "ahead",
    "default_limits",
    "events_about",
    "limit_ranges",
    "pdbs_for",
    "quota_headroom",
    "read_autoscaler",
    "read_pods",
    "read_workload",
    "resolve",
    "revisions",
    "rollout_status",
    "surroundings_ahead",
]

WARNINGS = "type=Warning"
"""Field selector of the Events that tell of trouble: what is normal is most of what a cluster records."""


async def read_workload(cluster: Cluster, target: Target) -> Workload:
    """The workload with everyone who manages it. Raises ObjectMissing when it does not exist."""
    manifest, autoscaler = await asyncio.gather(
        cluster.get(target.kind, target.namespace, target.name), read_autoscaler(cluster, target)
    )
    managers = managers_of(manifest, autoscaled=autoscaler is not None)
    return replace(parse_workload(target, manifest), managers=managers, autoscaler=autoscaler)


async def ahead(view: View, target: Target) -> None:
    """Begin to read what every look at this target asks for; a failure is heard by whoever asks for it."""
    await asyncio.gather(
        view.ahead(target.kind, target.namespace, target.name),
        view.ahead(Kind.NAMESPACE, "", target.namespace),
        read_autoscaler(view, target),
        return_exceptions=True,
    )


async def surroundings_ahead(view: View, target: Target) -> None:
    """Begin to read the pods with their owners, and what stands around them; every investigation asks for it."""
    await asyncio.gather(
        _pods_ahead(view, target),
        view.list_objects(Kind.EVENT, target.namespace, fields=WARNINGS),
        view.list_objects(Kind.SERVICE, target.namespace),
        view.list_objects(Kind.NETWORK_POLICY, target.namespace),
        return_exceptions=True,
    )


async def _pods_ahead(view: View, target: Target) -> None:
    manifest = await view.get(target.kind, target.namespace, target.name)
    await read_pods(view, parse_workload(target, manifest))


async def read_autoscaler(cluster: Cluster, target: Target) -> Autoscaler | None:
    """The HorizontalPodAutoscaler whose scaleTargetRef is this workload."""
    manifest = await autoscaler_manifest(cluster, target)
    return parse_autoscaler(manifest) if manifest else None


async def autoscaler_manifest(cluster: Cluster, target: Target) -> Obj | None:
    """The same as a manifest."""
    for manifest in await cluster.list_objects(Kind.HPA, target.namespace):
        scales = manifest["spec"]["scaleTargetRef"]
        if scales["kind"] == target.kind and scales["name"] == target.name:
            return manifest
    return None


async def read_pods(cluster: Cluster, workload: Workload) -> list[Pod]:
    """The workload's own pods, by name; a pod that only wears its labels is not one of them."""
    pods = [parse_pod(m) for m in await pod_manifests(cluster, workload)]
    return sorted(pods, key=lambda p: p.name)


async def pod_manifests(cluster: Cluster, workload: Workload) -> list[Obj]:
    """The same pods as manifests, in no order."""
    owners, manifests = await asyncio.gather(
        _pod_owners(cluster, workload),
        cluster.list_objects(Kind.POD, workload.target.namespace, workload.selector),
    )
    return [m for m in manifests if (controller_of(m) or {}).get("uid") in owners]


async def _pod_owners(cluster: Cluster, workload: Workload) -> set[str]:
    if workload.target.kind is not Kind.DEPLOYMENT:
        return {workload.ref.uid}
    return {m["metadata"]["uid"] for m in await replica_sets_of(cluster, workload)}


async def replica_sets_of(cluster: Cluster, workload: Workload) -> list[Obj]:
    """The ReplicaSets of a Deployment as manifests; none for other kinds."""
    if workload.target.kind is not Kind.DEPLOYMENT:
        return []
    return await _owned(cluster, workload, Kind.REPLICA_SET)


async def revisions(cluster: Cluster, workload: Workload) -> list[Revision]:
    """The stored revisions of the workload's template, newest first, with the current one marked."""
    if workload.target.kind is Kind.DEPLOYMENT:
        manifests = await _owned(cluster, workload, Kind.REPLICA_SET)
        templates = {m["metadata"]["name"]: plain_template(m["spec"]["template"]) for m in manifests}
        found = [parse_replica_set(m) for m in manifests]
    else:
        manifests = await _owned(cluster, workload, Kind.CONTROLLER_REVISION)
        templates = {m["metadata"]["name"]: plain_template(m["data"]["spec"]["template"]) for m in manifests}
        found = [parse_controller_revision(m) for m in manifests]
    found.sort(key=lambda r: (r.number, r.created_at), reverse=True)
    current = _current(workload, found, templates)
    return [replace(r, current=True) if r.name == current else r for r in found]


def _current(workload: Workload, found: list[Revision], templates: dict[str, Obj]) -> str | None:
    """Name of the revision whose template the workload has now; None when its controller has not made it yet."""
    now = workload.manifest["spec"]["template"]
    exact = plain_template(now)
    for revision in found:
        if templates[revision.name] == exact:
            return revision.name
    wanted = fingerprint(now)
    if equal := next((r.name for r in found if r.fingerprint == wanted), None):
        return equal
    # Defaults that a newer API server adds make stored and present template differ; once the controller has seen the
    # present generation, its newest revision is the present one.
    observed = workload.observed_generation >= workload.ref.generation
    return found[0].name if found and observed else None


async def _owned(cluster: Cluster, workload: Workload, kind: Kind) -> list[Obj]:
    listed = await cluster.list_objects(kind, workload.target.namespace, workload.selector)
    return [m for m in listed if (controller_of(m) or {}).get("uid") == workload.ref.uid]


async def events_about(
    cluster: Cluster, namespace: str, names: Collection[str], limit: int = 50, fields: str = ""
) -> list[KubeEvent]:
    """Events about objects with one of these names, newest first, at most `limit`. `fields` is a field selector of events."""
    wanted = set(names)
    events = [parse_event(m) for m in await cluster.list_objects(Kind.EVENT, namespace, fields=fields)]
    about = [e for e in events if e.about.partition("/")[2] in wanted]
    about.sort(key=lambda e: e.last_seen or datetime.min.replace(tzinfo=UTC), reverse=True)
    return about[:limit]


async def limit_ranges(cluster: Cluster, namespace: str) -> list[MemoryRule]:
    """All memory rules of the namespace's LimitRanges."""
    listed = await cluster.list_objects(Kind.LIMIT_RANGE, namespace)
    return [rule for manifest in listed for rule in memory_rules(manifest)]


async def default_limits(cluster: Cluster, namespace: str) -> list[MemoryRule]:
    """The memory limits that the namespace's LimitRanges give to containers that set none."""
    listed = await cluster.list_objects(Kind.LIMIT_RANGE, namespace)
    return [rule for manifest in listed for rule in memory_defaults(manifest)]


async def quota_headroom(cluster: Cluster, namespace: str) -> list[QuotaRoom]:
    """Memory headroom of the namespace's ResourceQuotas."""
    listed = await cluster.list_objects(Kind.RESOURCE_QUOTA, namespace)
    return [room for manifest in listed for room in quota_rooms(manifest)]


async def pdbs_for(cluster: Cluster, workload: Workload) -> list[DisruptionBudget]:
    """The PodDisruptionBudgets that hold the workload's pods."""
    return [disruption_budget(m) for m in await pdb_manifests(cluster, workload)]


async def pdb_manifests(cluster: Cluster, workload: Workload) -> list[Obj]:
    """The same as manifests."""
    listed = await cluster.list_objects(Kind.PDB, workload.target.namespace)
    return [m for m in listed if selects((m.get("spec") or {}).get("selector"), workload.pod_labels)]
