"""What of a namespace may be shown: its workloads, and the pods of those that did not opt out.

Read first, because nothing of a workload that opted out is shown, nor of one of which that is not known. Called by `namespace`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.domain.target import WORKLOAD_KINDS, Kind, Target
from app.domain.workload import Pod, Workload
from app.flow.diagnosing.reading import Ground, read
from app.flow.diagnosing.section import said
from app.kube.parse import controller_of, parse_pod

_WORKLOADS = 40
"""Workloads of a namespace that are looked at."""
_PODS = 2_000
"""Pods of a namespace that are looked at."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Inside:
    """`workloads` each with what could not be read of it; `notes` about those that are not there. `hidden` are names of workloads, ReplicaSets
    and pods of which nothing is shown, `keys` those workloads' keys; `only` are the names of those that may be shown, where only what bears
    a mark may. `pods` are the others, `more` how many were not looked at."""

    workloads: tuple[tuple[Workload, str], ...] = ()
    notes: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    keys: frozenset[str] = frozenset()
    pods: tuple[Pod, ...] = ()
    more: int = 0


async def look_inside(cluster: Cluster, namespace: str, ground: Ground) -> Inside:
    """The workloads that own ReplicaSets, revisions or pods here, which needs no right to list them. Raises the port's read errors."""
    sets, revisions, pods = await asyncio.gather(
        *(
            cluster.list_objects(kind, namespace)
            for kind in (Kind.REPLICA_SET, Kind.CONTROLLER_REVISION, Kind.POD)
        )
    )
    of_set = {m["metadata"]["name"]: _owner(m, {}, namespace) for m in sets}
    of_pod = {m["metadata"]["name"]: _owner(m, of_set, namespace) for m in pods}
    owners = {*of_set.values(), *of_pod.values(), *(_owner(m, {}, namespace) for m in revisions)}
    targets = sorted(t for t in owners if t is not None)
    found = await _each(cluster, targets[:_WORKLOADS])
    shown = {w.target: (w, why) for w, why in found if isinstance(w, Workload) and not ground.opt_out_of(w)}
    kept = frozenset(t for t in targets if t not in shown)
    owned = of_set | of_pod
    hidden = {t.name for t in kept} | {n for n, t in owned.items() if t in kept}
    only = None
    if ground.marked_alone:  # what belongs to no workload is not marked either
        only = {t.name for t in shown} | {n for n, t in owned.items() if t in shown}
        hidden |= owned.keys() - only
    visible = [m for m in pods if m["metadata"]["name"] not in hidden]
    parsed = await asyncio.to_thread(lambda: tuple(parse_pod(m) for m in visible[:_PODS]))
    notes = [f"{w.kind}/{w.name}: not read: {why}" for w, why in found if isinstance(w, Target)]
    if len(targets) > _WORKLOADS:
        notes.append(f"and {len(targets) - _WORKLOADS} workloads that were not looked at")
    return Inside(
        tuple(shown.values()),
        tuple(notes),
        frozenset(hidden),
        None if only is None else frozenset(only),
        frozenset(t.key for t in kept),
        parsed,
        max(0, len(visible) - _PODS),
    )


def _owner(manifest: Obj, of_set: Mapping[str, Target | None], namespace: str) -> Target | None:
    """The workload that controls it, through its ReplicaSet where that is one's."""
    owner: Mapping[str, Any] = controller_of(manifest) or {}
    if owner.get("kind") == Kind.REPLICA_SET:
        return of_set.get(owner["name"])
    return (
        Target(namespace, Kind(owner["kind"]), owner["name"]) if owner.get("kind") in WORKLOAD_KINDS else None
    )


async def _each(cluster: Cluster, targets: Sequence[Target]) -> list[tuple[Workload | Target, str]]:
    """Each with what is not known of it; a target alone is one that could not be read. Those that are gone are left out."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> tuple[Workload | Target, str] | None:
        async with gate:
            try:
                return await read(cluster, target)
            except ObjectMissing:
                return None
            except RemediatorError as error:
                return target, said(error.message)

    return [found for found in await asyncio.gather(*(one(t) for t in targets)) if found is not None]
