"""What the snapshot holds of others: Services that the containers' last words name, pods that others put out, whose template the
workload is, and what sizes or protects its pods.

Called by `read`, only where pods are in trouble, missing or stopped. Reads only; whoever refuses an answer is left out or noted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from app.domain.errors import ClusterRefused, TryLater
from app.domain.json import Obj
from app.domain.owner import Relation
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import KubeEvent, Pod
from app.kube.controllers import names, owners_of
from app.kube.parse import parse_event, parse_pod, selector_text, serves
from app.kube.read import pdb_manifests
from remediations.causes.model import Neighbour, Snapshot
from remediations.evidence.units import count, short

_MOST = 3
_NAME = re.compile(r"(?<![\w.-])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?=[.:/\s,;'\")\]]|$)")
_PUT_OUT = ("Preempted", "EvictedByVPA")
"""Reasons of events of the scheduler and of the updater of VerticalPodAutoscalers, about pods that are gone by then."""
_SUFFIX = re.compile(r"-[a-z0-9]{1,10}$")

T = TypeVar("T")


async def neighbours_in(scene: Scene, texts: Iterable[str]) -> list[Neighbour]:
    """Services of the namespace that these texts name, other than the workload's own, without a ready pod; at most three. Of a
    Service that has one nothing is said, because that does not prove that it answers. Raises ClusterRefused and TryLater."""
    words = {w for text in texts for w in _NAME.findall(text.lower())}
    if not words:
        return []
    services = await scene.cluster.list_objects(Kind.SERVICE, scene.workload.target.namespace)
    own = scene.workload.pod_labels
    named = [s for s in services if s["metadata"]["name"] in words and _selector(s) and not serves(s, own)]
    found = [await _without_pods(scene, service) for service in named[:_MOST]]
    return [n for n in found if n is not None]


def _selector(service: Obj) -> dict[str, str]:
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    return selector


async def _without_pods(scene: Scene, service: Obj) -> Neighbour | None:
    name = service["metadata"]["name"]
    text = selector_text({"matchLabels": _selector(service)})
    listed = await scene.cluster.list_objects(Kind.POD, scene.workload.target.namespace, text)
    pods = [p for p in map(parse_pod, listed) if not p.over]
    if any(p.ready for p in pods):
        return None
    waits = next((f", {p.name} {c.waiting}" for p in pods for c in p.containers if c.waiting), "")
    return Neighbour(name, f"0 of {count(len(pods), 'pod')}{short(waits, 120)}", _since(pods))


def _since(pods: Sequence[Pod]) -> datetime | None:
    """When the last of them stopped being ready."""
    times = [c.since for p in pods if (c := p.condition("Ready")) is not None and c.since is not None]
    return max(times, default=None)


async def with_others(scene: Scene, seen: Snapshot) -> Snapshot:
    """The snapshot with all that; never raises for what the cluster does."""
    stopped = seen.workload.desired == 0
    whole = seen.ready >= seen.workload.desired and seen.ready == len(seen.alive) and not seen.unmade
    if not stopped and whole:
        return seen
    named, put_out, pulling, budgets, owner = await asyncio.gather(
        _or_nothing(neighbours_in(scene, seen.words.values())),
        _or_nothing(_events(scene, seen)),
        _or_nothing(_pulls(scene, seen)),
        _or_nothing(pdb_manifests(scene.cluster, scene.workload)),
        _template_of(scene) if stopped else _nobody(),
    )
    vpas = await _or_nothing(_sizers(scene)) if any(e.reason == "EvictedByVPA" for e in put_out) else []
    return replace(
        seen,
        neighbours=tuple(named),
        put_out=tuple(put_out),
        pulling=frozenset(pulling),
        budgets=tuple(budgets),
        template_of=owner,
        vpas=tuple(vpas),
    )


async def _or_nothing(asked: Awaitable[list[T]]) -> list[T]:
    """Optional: without it nothing is known of others."""
    try:
        return await asked
    except (ClusterRefused, TryLater):
        return []


async def _nobody() -> str:
    return ""


async def _template_of(scene: Scene) -> str:
    """The object whose template the workload only is, e.g. `Rollout web (Argo Rollouts)`."""
    try:
        owners = await owners_of(scene.cluster, scene.workload)
    except (ClusterRefused, TryLater):
        return ""
    return next((str(o) for o in owners.found if o.relation is Relation.TEMPLATE), "")


async def _events(scene: Scene, seen: Snapshot) -> list[KubeEvent]:
    """Events about pods of this workload that are gone: known by their names alone."""
    namespace = scene.workload.target.namespace
    asked = (
        scene.cluster.list_objects(Kind.EVENT, namespace, fields=f"reason={reason}") for reason in _PUT_OUT
    )
    listed = [m for events in await asyncio.gather(*asked) for m in events]
    makers = {m["metadata"]["name"] for m in seen.controllers} or {scene.workload.target.name}

    def mine(event: KubeEvent) -> bool:
        kind, _, name = event.about.partition("/")
        return kind == "Pod" and event.reason in _PUT_OUT and _SUFFIX.sub("", name) in makers

    found = {e.about: e for e in map(parse_event, listed) if mine(e) and seen.fresh(e)}
    return sorted(found.values(), key=lambda e: e.last_seen or seen.now, reverse=True)


async def _pulls(scene: Scene, seen: Snapshot) -> list[str]:
    """Pods whose image is being pulled, as the kubelet's last word on them says: a big one takes its minutes."""
    waiting = {p.name for p in seen.alive if any(c.waiting == "ContainerCreating" for c in p.containers)}
    if not waiting:
        return []
    listed = await scene.cluster.list_objects(
        Kind.EVENT, scene.workload.target.namespace, fields="reason=Pulling"
    )
    about = {e.about for e in map(parse_event, listed) if e.reason == "Pulling" and seen.fresh(e)}
    # Whatever the kubelet complained of since is told by its warning.
    complained = {n for n in waiting if any(e.reason != "Pulling" for e in seen.about("Pod", n))}
    return [n for n in waiting - complained if f"Pod/{n}" in about]


async def _sizers(scene: Scene) -> list[Obj]:
    listed = await scene.cluster.list_objects(Kind.VPA, scene.workload.target.namespace)
    return [m for m in listed if names((m.get("spec") or {}).get("targetRef"), scene.workload)]
