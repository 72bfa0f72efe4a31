"""What the snapshot holds of others: Services that the containers' last words name, pods that others put out, whose template the workload
is, and what sizes or protects its pods.

Called by `investigate`, only where pods are in trouble, missing or stopped. Reads only; whoever refuses an answer is left out or noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from app.domain.accusing import Sign
from app.domain.errors import ClusterRefused, TryLater
from app.domain.json import Obj
from app.domain.owner import Relation
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import KubeEvent, Pod
from app.kube.owners import names, owners_of
from app.kube.parse import parse_event
from app.kube.read import in_turns, pdb_manifests
from app.kube.scaled_objects import of_target
from remediations.causes.model import Neighbour, Snapshot, maker_of
from remediations.causes.neighbours import kept_away, neighbours_in
from remediations.causes.outgrown import SYSTEM_OOM
from remediations.causes.scheduling import ADDING, NOT_ADDING
from remediations.causes.witnesses import heard_from
from remediations.evidence.last_words import LastWords

_PUT_OUT = ("Preempted", "EvictedByVPA")
"""Reasons of events of the scheduler and of the updater of VerticalPodAutoscalers, about pods that are gone by then."""

_MAX_EVENTS = 200

T = TypeVar("T")
P = ParamSpec("P")


async def _named(scene: Scene, seen: Snapshot) -> list[Neighbour]:
    """Those without a ready pod, and those that have had one again since a run began that ended. Of one that is kept away nothing is told."""
    spoke = [c for p in seen.alive for c in p.containers if (p.name, c.name) in seen.words]
    ends = [c.last_terminated or c.terminated for c in spoke]
    began = min((t.started_at for t in ends if t is not None and t.started_at is not None), default=None)
    found = await neighbours_in(scene, [w.text for w in seen.words.values()])
    back = [n for n in found if n.ready and n.since is not None and began is not None and n.since > began]
    told = [n for n in back if not await kept_away(scene, n.ready)]
    return [*(n for n in found if not n.ready), *told]


async def with_others(scene: Scene, seen: Snapshot) -> Snapshot:
    """The snapshot with all that; never raises for what the cluster does."""
    stopped = seen.workload.desired == 0
    named, put_out, pulling, scaling, budgets, owner = await asyncio.gather(
        _or_nothing(_named, scene, seen),
        _or_nothing(_events, scene, seen),
        _or_nothing(_pulls, scene, seen),
        _or_nothing(_scaling, scene, seen),
        _or_nothing(pdb_manifests, scene.cluster, scene.workload),
        _template_of(scene) if stopped else _nobody(),
    )
    scalers = await _or_nothing(_scalers, scene) if stopped else []
    vpas = await _or_nothing(_sizers, scene) if any(e.reason == "EvictedByVPA" for e in put_out) else []
    return replace(
        seen,
        words=await _without_old(scene, seen, named),
        neighbours=tuple(named),
        put_out=tuple(put_out),
        pulling=frozenset(pulling),
        scaling=tuple(scaling),
        budgets=tuple(budgets),
        template_of=owner,
        vpas=tuple(vpas),
        scalers=tuple(scalers),
    )


_OF_NODES = "default"
"""The namespace of events about what has none, such as nodes."""


async def with_nodes(scene: Scene, seen: Snapshot, killed: Sequence[Pod]) -> Snapshot:
    """The snapshot with what the kubelets said of nodes without memory, of pods of which a container was killed for it. Who may not read nodes
    is not asked, and who may not read events of that namespace knows their conditions alone."""
    nodes = {f"Node/{p.node}" for p in killed} & {f"Node/{m['metadata']['name']}" for m in seen.nodes}
    if not nodes:
        return seen
    read = scene.cluster.list_objects
    told = await _or_nothing(read, Kind.EVENT, _OF_NODES, fields=f"reason={SYSTEM_OOM}")
    events = [e for e in await in_turns(parse_event, told[:_MAX_EVENTS]) if e.about in nodes]
    return replace(seen, events=(*seen.events, *events))


async def _without_old(
    scene: Scene, seen: Snapshot, named: Sequence[Neighbour]
) -> Mapping[tuple[str, str], LastWords]:
    """The last words without what they say of Services that are away for longer than the trouble, or nobody knows since when, where the
    rest accuses the program: that comes first, and what was left out is told, for only a person may say that it is not why. Who starts for the
    first time since may be the first that needs such a Service. Reads those logs once more."""
    old = [n for n in named if not n.ready and not n.fits(seen.fired_at)]
    found = dict(seen.words)
    pods = {p.name: p for p in seen.alive}
    for (pod, container), words in seen.words.items():
        of_old = [n for n in old if n.named_in(words.text)]
        if not of_old or pod not in pods:
            continue
        without = partial(_names_one, of_old)
        rest = await heard_from(scene.cluster, seen, pods[pod], container, without)
        if rest.sign is Sign.OWN and (not rest.follows or all(n.since is not None for n in of_old)):
            away = "; ".join(
                f"Service {n.name} has no ready pod ({n.state}), and {n.since_when(seen.now)}" for n in of_old
            )
            found[pod, container] = replace(rest, aside=f'"{words.shown}", and {away}')
    return found


def _names_one(neighbours: Sequence[Neighbour], words: str) -> bool:
    return any(n.named_in(words) for n in neighbours)


async def _or_nothing(read: Callable[P, Awaitable[list[T]]], *args: P.args, **named: P.kwargs) -> list[T]:
    """Optional: without it nothing is known of others."""
    try:
        return await read(*args, **named)
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
        return kind == "Pod" and event.reason in _PUT_OUT and maker_of(name) in makers

    found = {e.about: e for e in await in_turns(parse_event, listed) if mine(e) and seen.fresh(e)}
    return sorted(found.values(), key=lambda e: e.last_seen or seen.now, reverse=True)


async def _pulls(scene: Scene, seen: Snapshot) -> list[str]:
    """Pods whose image is being pulled, as the kubelet's last word on them says: a big one takes its minutes."""
    waiting = {p.name for p in seen.alive if any(c.waiting == "ContainerCreating" for c in p.containers)}
    if not waiting:
        return []
    listed = await scene.cluster.list_objects(
        Kind.EVENT, scene.workload.target.namespace, fields="reason=Pulling"
    )
    about = {e.about for e in await in_turns(parse_event, listed) if e.reason == "Pulling" and seen.fresh(e)}
    # Whatever the kubelet complained of since is told by its warning.
    complained = {n for n in waiting if any(e.reason != "Pulling" for e in seen.about("Pod", n))}
    return [n for n in waiting - complained if f"Pod/{n}" in about]


async def _scaling(scene: Scene, seen: Snapshot) -> list[KubeEvent]:
    """What the autoscaler of nodes said about pods without a node, in normal events."""
    waiting = {f"Pod/{p.name}" for p in seen.alive if not p.node}
    if not waiting:
        return []
    namespace = scene.workload.target.namespace
    asked = (
        scene.cluster.list_objects(Kind.EVENT, namespace, fields=f"reason={reason}")
        for reason in (*ADDING, *NOT_ADDING)
    )
    listed = [m for events in await asyncio.gather(*asked) for m in events]
    told = await in_turns(parse_event, listed)
    return [e for e in told if e.about in waiting and e.reason in (*ADDING, *NOT_ADDING) and seen.fresh(e)]


async def _sizers(scene: Scene) -> list[Obj]:
    listed = await scene.cluster.list_objects(Kind.VPA, scene.workload.target.namespace)
    return [m for m in listed if names((m.get("spec") or {}).get("targetRef"), scene.workload)]


async def _scalers(scene: Scene) -> list[Obj]:
    return list(await of_target(scene.cluster, scene.workload.target))
