"""All causes of a snapshot, merged and in order, with what it holds of others. Reads only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from app.domain.errors import ClusterRefused, ObjectMissing, TryLater
from app.domain.json import Obj
from app.domain.owner import Relation
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.domain.workload import KubeEvent, Pod
from app.kube.owners import names, owners_of, resolve
from app.kube.parse import controller_of, parse_event, parse_pod, parse_time, selector_text, serves
from app.kube.read import pdb_manifests
from app.kube.scaled_objects import of_target
from remediations.causes.around import around_causes, other_causes
from remediations.causes.containers import container_causes
from remediations.causes.creation import creation_causes, put_out_causes, reference_causes, stopped_causes
from remediations.causes.model import (
    PULLING,
    STARTING,
    Cause,
    CauseCode,
    Neighbour,
    Snapshot,
    Sureness,
    earliest,
    maker_of,
)
from remediations.causes.pods import ends_soon, explains_missing, pod_causes
from remediations.causes.scheduling import ADDING, NOT_ADDING, node_comes, scheduling_causes
from remediations.evidence.natures import absent_names
from remediations.evidence.usage import count, short, span

# What the snapshot holds of others: Services that the containers' last words name, pods that others put out, whose
# template the workload is, and what sizes or protects its pods.
#
# Called by `investigate`, only where pods are in trouble, missing or stopped. Reads only; whoever refuses an answer
# is left out or noted.

_MAX_NAMED = 3
_NAME = re.compile(r"(?<![\w.-])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?=[.:/\s,;'\")\]]|$)")
_PUT_OUT = ("Preempted", "EvictedByVPA")
"""Reasons of events of the scheduler and of the updater of VerticalPodAutoscalers, about pods that are gone by then."""
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")

T = TypeVar("T")


async def neighbours_in(scene: Scene, texts: Iterable[str]) -> list[Neighbour]:
    """Services of the namespace that these texts name, or whose ClusterIP they have, other than the workload's own, without a
    ready pod; and those that were looked up and do not exist; at most three. Of a Service that has one nothing is said, because
    that does not prove that it answers. Raises ClusterRefused and TryLater."""
    read = [text.lower() for text in texts]
    words = {w for text in read for w in _NAME.findall(text)}
    addresses = {a for text in read for a in _ADDRESS.findall(text)}
    if not words and not addresses:
        return []
    services = await scene.cluster.list_objects(Kind.SERVICE, scene.workload.target.namespace)
    own = scene.workload.pod_labels
    named = [
        s
        for s in services
        if (s["metadata"]["name"] in words or _addresses(s) & addresses)
        and selector_of(s)
        and not serves(s, own)
    ]
    found = [await _without_pods(scene, service) for service in named[:_MAX_NAMED]]
    names_there = {s["metadata"]["name"] for s in services}
    absent = dict.fromkeys(n for text in read for n in absent_names(text, scene.workload.target.namespace))
    missing = [Neighbour(n, "it does not exist", exists=False) for n in absent if n not in names_there]
    return [*(n for n in found if n is not None), *missing][:_MAX_NAMED]


def _addresses(service: Obj) -> set[str]:
    spec = service.get("spec") or {}
    return {spec.get("clusterIP", ""), *(spec.get("clusterIPs") or ())} - {"", "None"}


def selector_of(service: Obj) -> dict[str, str]:
    """The labels of the pods that a Service chooses."""
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    return selector


async def _without_pods(scene: Scene, service: Obj) -> Neighbour | None:
    name = service["metadata"]["name"]
    text = selector_text({"matchLabels": selector_of(service)})
    listed = await scene.cluster.list_objects(Kind.POD, scene.workload.target.namespace, text)
    pods = [p for p in map(parse_pod, listed) if not p.over]
    if any(p.ready for p in pods) or await kept_away(scene, listed):
        return None
    waits = next((f", {p.name} {c.waiting}" for p in pods for c in p.containers if c.waiting), "")
    state = f"0 of {count(len(pods), 'pod')}{short(waits, 120)}"
    return Neighbour(name, state, not_ready_since(pods), addresses=tuple(sorted(_addresses(service))))


async def kept_away(scene: Scene, pods: Sequence[Obj]) -> bool:
    """Whether one of their owners, or a pod without one, is off limits: then nothing is told of any."""
    namespace = scene.workload.target.namespace
    for name in {
        str((controller_of(m) or m["metadata"]).get("uid")): m["metadata"]["name"] for m in pods
    }.values():
        try:
            owner = await resolve(scene.cluster, namespace, Kind.POD, name)
        except ObjectMissing:
            owner = Target(namespace, Kind.POD, name)
        if await scene.off_limits(owner):
            return True
    return False


def not_ready_since(pods: Sequence[Pod]) -> datetime | None:
    """When the last of them stopped being ready."""
    times = [c.since for p in pods if (c := p.condition("Ready")) is not None and c.since is not None]
    return max(times, default=None)


async def with_others(scene: Scene, seen: Snapshot) -> Snapshot:
    """The snapshot with all that; never raises for what the cluster does."""
    stopped = seen.workload.desired == 0
    whole = seen.ready >= seen.workload.desired and seen.ready == len(seen.alive) and not seen.unmade
    if not stopped and whole:
        return seen
    named, put_out, pulling, scaling, budgets, owner = await asyncio.gather(
        _or_nothing(neighbours_in(scene, [w.text for w in seen.words.values()])),
        _or_nothing(_events(scene, seen)),
        _or_nothing(_pulls(scene, seen)),
        _or_nothing(_scaling(scene, seen)),
        _or_nothing(pdb_manifests(scene.cluster, scene.workload)),
        _template_of(scene) if stopped else _nobody(),
    )
    scalers = await _or_nothing(_scalers(scene)) if stopped else []
    vpas = await _or_nothing(_sizers(scene)) if any(e.reason == "EvictedByVPA" for e in put_out) else []
    return replace(
        seen,
        neighbours=tuple(named),
        put_out=tuple(put_out),
        pulling=frozenset(pulling),
        scaling=tuple(scaling),
        budgets=tuple(budgets),
        template_of=owner,
        vpas=tuple(vpas),
        scalers=tuple(scalers),
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
        return kind == "Pod" and event.reason in _PUT_OUT and maker_of(name) in makers

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
    told = [parse_event(m) for events in await asyncio.gather(*asked) for m in events]
    return [e for e in told if e.about in waiting and e.reason in (*ADDING, *NOT_ADDING) and seen.fresh(e)]


async def _sizers(scene: Scene) -> list[Obj]:
    listed = await scene.cluster.list_objects(Kind.VPA, scene.workload.target.namespace)
    return [m for m in listed if names((m.get("spec") or {}).get("targetRef"), scene.workload)]


async def _scalers(scene: Scene) -> list[Obj]:
    return list(await of_target(scene.cluster, scene.workload.target))


# All causes of a snapshot, merged and in order, and the word for a workload that has none. Pure.


def unplaced_causes(seen: Snapshot) -> Iterator[Cause]:
    """Why pods have no node, where some have none."""
    return scheduling_causes(seen) if any(not p.node for p in seen.alive) else iter(())


_FINDERS = (
    stopped_causes,
    creation_causes,
    unplaced_causes,
    pod_causes,
    reference_causes,
    container_causes,
    other_causes,
    put_out_causes,
    around_causes,
)
_SURE = {Sureness.CERTAIN: 0, Sureness.LIKELY: 1, Sureness.POSSIBLE: 2}
_ORDER = {code: number for number, code in enumerate(CauseCode)}
_EXPLAIN_ENDS = frozenset({CauseCode.DEPENDENCY, CauseCode.RIGHT})
_POD_BOUND = frozenset({"Pod"})


def causes_of(seen: Snapshot) -> list[Cause]:
    """Every cause, the one that explains most first."""
    found = [cause for finder in _FINDERS for cause in finder(seen)]
    found = [_dated(c, found) for c in found]
    found += _unexplained(seen, found)
    found = [c for c in found if not _being_removed(seen, c)]
    return sorted(_merged(found), key=lambda c: _key(seen, c))


def _dated(cause: Cause, found: Iterable[Cause]) -> Cause:
    """What explains the end of a container began when that container's trouble began, as far as nothing else tells."""
    if cause.since is not None or not cause.container or cause.code not in _EXPLAIN_ENDS:
        return cause
    ends = [c.since for c in found if c.container == cause.container and set(c.pods) & set(cause.pods)]
    return replace(cause, since=earliest(ends))


def _key(seen: Snapshot, cause: Cause) -> tuple[int, int, int, int]:
    stopped = cause.code is not CauseCode.SCALED_TO_ZERO
    shown = len(cause.pods) or (max(seen.missing, seen.unmade) if cause.revisions else 0)
    latent = cause.code is CauseCode.CONFIG_MISSING and not cause.pods
    return (int(stopped), _SURE[cause.sureness], int(latent) - shown, _ORDER[cause.code])


def _being_removed(seen: Snapshot, cause: Cause) -> bool:
    """Pods of an old ReplicaSet whose successor is complete are on their way out: no fault."""
    named = [p for p in seen.alive if p.name in cause.pods]
    if not named or any(seen.newest(p) for p in named):
        return False
    return sum(p.ready and seen.newest(p) for p in seen.alive) >= seen.workload.desired > 0


def _merged(found: Iterable[Cause]) -> list[Cause]:
    """The same cause of several pods is one. A missing reference that pods wait for is told once."""
    groups: dict[tuple[object, ...], list[Cause]] = {}
    for cause in found:
        kind = cause.object.partition(" ")[0]
        own = "" if kind in _POD_BOUND else cause.object
        groups.setdefault((cause.code, own, "" if cause.needs else cause.container), []).append(cause)
    return [_one(group) for group in groups.values()]


def _one(group: list[Cause]) -> Cause:
    first = min(group, key=lambda c: (_SURE[c.sureness], -len(c.pods), not any(n.key for n in c.needs)))
    pods = tuple(dict.fromkeys(n for c in group for n in c.pods))
    more = len(pods) - len(first.pods)
    text = f"{first.text} ({count(len(pods), 'pod')} alike)" if more > 0 else first.text
    return replace(
        first,
        text=text,
        pods=pods,
        since=earliest([c.since for c in group]),
        fields=tuple(dict.fromkeys(f for c in group for f in c.fields)),
        demands=tuple({d.acquits: d for c in group for d in c.demands}.values()),
        needs=tuple(dict.fromkeys(n for c in group for n in c.needs)),
    )


def _unexplained(seen: Snapshot, found: list[Cause]) -> list[Cause]:
    """Pods that are not ready, or missing, and of which nothing says why."""
    if any(c.code is CauseCode.SCALED_TO_ZERO for c in found):
        return []
    explained = {n for c in found for n in c.pods}
    dark = [
        p
        for p in seen.alive
        if not p.ready and p.name not in explained and seen.now - p.created_at >= _patience(seen, p)
    ]
    causes = []
    for pod in dark[:1]:
        names = tuple(p.name for p in dark)
        age = span((seen.now - pod.created_at).total_seconds())
        waits = next((f", container {c.name} waits ({c.waiting})" for c in pod.containers if c.waiting), "")
        gap = f" ({'; '.join(f'{k}: {v}' for k, v in seen.unread.items())})" if seen.unread else ""
        text = f"pod {pod.name} is {pod.phase or 'unknown'} and not ready {age} after it was made{waits}, and nothing says why{gap}"
        advice = f"kubectl describe pod {pod.name} -n {seen.workload.target.namespace}"
        fields = ("*",)
        causes.append(
            Cause(
                CauseCode.NOT_READY,
                f"Pod {pod.name}",
                Sureness.POSSIBLE,
                text,
                advice,
                names,
                fields=fields,
                since=pod.created_at,
            )
        )
    refused = any(explains_missing(seen, c) for c in found)
    if not dark and not found and (stalled := _stalled(seen)):
        causes.append(stalled)
        return causes
    if seen.missing and not dark and not refused and "pods" not in seen.unread and not _young(seen):
        target = seen.workload.target
        text = f"{count(seen.missing, 'pod')} of {seen.workload.desired} missing, and nothing says why"
        advice = f"kubectl describe {target.kind.lower()} {target.name} -n {target.namespace}"
        causes.append(
            Cause(
                CauseCode.NOT_READY,
                f"{target.kind} {target.name}",
                Sureness.POSSIBLE,
                text,
                advice,
                fields=(),
            )
        )
    return causes


def _patience(seen: Snapshot, pod: Pod) -> timedelta:
    """How long a pod may take without a word; longer while its image is being pulled, and as long as it takes while a node comes."""
    if node_comes(seen, pod):
        return timedelta.max
    return PULLING if pod.name in seen.pulling else STARTING


def _stalled(seen: Snapshot) -> Cause | None:
    """The pods that run are enough, and the rollout of the present template has passed its deadline."""
    workload = seen.workload
    conditions = (workload.manifest.get("status") or {}).get("conditions") or ()
    late = next(
        (c for c in conditions if c.get("type") == "Progressing" and c.get("status") == "False"), None
    )
    if late is None or "pods" in seen.unread or seen.missing:
        return None
    target, behind = workload.target, max(0, workload.desired - workload.updated)
    return Cause(
        CauseCode.NOT_READY,
        f"{target.kind} {target.name}",
        Sureness.POSSIBLE,
        f"the rollout of {target.name} does not go on ({late.get('reason', 'no reason')}, {count(behind, 'pod')} not updated), and "
        "nothing says why",
        f"kubectl rollout status {target.kind.lower()}/{target.name} -n {target.namespace}; kubectl describe its ReplicaSets",
        fields=("*",),
        since=parse_time(late.get("lastTransitionTime")),
    )


def _young(seen: Snapshot) -> bool:
    """The controller has not caught up yet, or waits for a pod that is ending in time."""
    return (
        ends_soon(seen)
        or seen.workload.observed_generation < seen.workload.ref.generation
        or any(seen.now - p.created_at < STARTING for p in seen.pods)
    )
