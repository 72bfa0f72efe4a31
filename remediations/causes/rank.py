"""The neighbours that errors name, and all causes of a snapshot, merged and in order. Reads only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.errors import ClusterRefused, ObjectMissing, TryLater
from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.domain.workload import Pod
from app.kube.lineage import last_write
from app.kube.owners import resolve, who_changed
from app.kube.parse import OF_SERVICE, controller_of, parse_pod, parse_time, selector_text, serves
from app.kube.quoted import told_by
from remediations.causes.around import around_causes, other_causes
from remediations.causes.churn import lost_last
from remediations.causes.containers import container_causes
from remediations.causes.creation import creation_causes, put_out_causes, reference_causes, stopped_causes
from remediations.causes.demands import selects_labels
from remediations.causes.model import (
    PULLING,
    STARTING,
    Cause,
    CauseCode,
    Neighbour,
    Snapshot,
    Sureness,
    earliest,
    not_ready_since,
)
from remediations.causes.nodes import placed
from remediations.causes.pods import ends_soon, explains_missing, pod_causes
from remediations.causes.scheduling import node_comes, scheduling_causes
from remediations.causes.stopped import starts, written_by
from remediations.evidence.error_words import Nature
from remediations.evidence.logs import ErrorLog, read_errors
from remediations.evidence.natures import absent_names
from remediations.evidence.usage import count, short, span
from remediations.evidence.used_up import USED_UP

# The neighbours: Services that errors or the containers' last words name.

_MAX_NAMED = 3
_MAX_HOPS, _MAX_PODS = 2, 2  # Services behind which is looked, and pods of each whose log is read
_MAX_BEHIND = 6  # workloads that are asked whether they stand at 0
_MAINLY = 0.5
_NAME = re.compile(r"(?<![\w.-])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?=[.:/\s,;'\")\]]|$)")
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")


async def neighbours_in(scene: Scene, texts: Iterable[str]) -> list[Neighbour]:
    """Services of the namespace that these texts name, or whose ClusterIP they have, other than the workload's own, with and without
    ready pods; and those that were looked up and do not exist; at most three. Raises ClusterRefused and TryLater."""
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
    found = [await _neighbour(scene, service) for service in named[:_MAX_NAMED]]
    names_there = {s["metadata"]["name"] for s in services}
    absent = dict.fromkeys(n for text in read for n in absent_names(text, scene.workload.target.namespace))
    missing = [Neighbour(n, "it does not exist", exists=False) for n in absent if n not in names_there]
    known = [n for n in found if n is not None]
    return [*[*(n for n in known if not n.ready), *missing][:_MAX_NAMED], *(n for n in known if n.ready)]


def _addresses(service: Obj) -> set[str]:
    spec = service.get("spec") or {}
    return {spec.get("clusterIP", ""), *(spec.get("clusterIPs") or ())} - {"", "None"}


def selector_of(service: Obj) -> dict[str, str]:
    """The labels of the pods that a Service chooses."""
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    return selector


async def _neighbour(scene: Scene, service: Obj) -> Neighbour | None:
    name, text = service["metadata"]["name"], selector_text({"matchLabels": selector_of(service)})
    listed = await scene.cluster.list_objects(Kind.POD, scene.workload.target.namespace, text)
    there = [(m, p) for m in listed if not (p := parse_pod(m)).over]
    pods = [p for _, p in there]
    if ready := tuple(m for m, p in there if p.ready):
        times = [c.since for p in pods if p.ready and (c := p.condition("Ready")) is not None]
        began = min((t for t in times if t is not None), default=None) if all(times) else None
        return Neighbour(name, "", began, addresses=tuple(sorted(_addresses(service))), ready=ready)
    if await kept_away(scene, listed):
        return None
    stopped, at = ("", None) if pods else await _stopped(scene, service)
    if stopped is None:
        return None
    # It is away since its last ready pod was lost: since the newest of what tells of that, however long another one has been broken.
    lost = [not_ready_since(pods), at, await _emptied(scene, name)]
    since = await lost_last(scene, pods, max((t for t in lost if t is not None), default=None))
    waits = (
        f": {stopped}"
        if stopped
        else next((f", {p.name} {c.waiting}" for p in pods for c in p.containers if c.waiting), "")
    )
    state = f"0 of {count(len(pods), 'pod')}{short(waits, 120)}"
    return Neighbour(name, state, since, addresses=tuple(sorted(_addresses(service))))


async def _emptied(scene: Scene, service: str) -> datetime | None:
    """When the EndpointSlices of a Service changed last: it has lost its last ready pod by then. None where nobody tells."""
    try:
        listed = await scene.cluster.list_objects(
            Kind.ENDPOINT_SLICE, scene.workload.target.namespace, f"{OF_SERVICE}={service}"
        )
    except (ClusterRefused, TryLater):
        return None
    writes = [last_write(m, everybody=True) for m in listed]
    return max((w.at for w in writes if w is not None), default=None)


async def _stopped(scene: Scene, service: Obj) -> tuple[str | None, datetime | None]:
    """Which workload the Service stands for that is set to 0 replicas, and by whom, in words, and since when; empty when none is, or it is
    not found. None where it is kept away."""
    try:
        behind = await _behind(scene, service)
    except (ClusterRefused, TryLater):
        return "", None  # it tells more and is no reason to tell less
    for kind, name in behind:
        try:
            manifest = await scene.cluster.get(kind, scene.workload.target.namespace, name)
        except (ClusterRefused, TryLater):
            continue
        spec = manifest.get("spec") or {}
        if spec.get("replicas") != 0 or not selects_labels(selector_of(service), spec.get("template") or {}):
            continue
        if await scene.off_limits(Target(scene.workload.target.namespace, kind, name)):
            return None, None
        by, at = next(iter(who_changed(manifest, "/spec/replicas")), ("", None))
        return f"{kind} {short(name, 80)} is scaled to 0{written_by(scene.now, short(by, 60), at)}", at
    return "", None


_SCALABLE = (Kind.DEPLOYMENT, Kind.STATEFUL_SET)


async def _behind(scene: Scene, service: Obj) -> list[tuple[Kind, str]]:
    """Workloads that may make the pods of a Service that has none: those whose revisions have its labels, and those of its own name."""
    text = selector_text({"matchLabels": selector_of(service)})
    listed = await asyncio.gather(
        *(
            scene.cluster.list_objects(kind, scene.workload.target.namespace, text)
            for kind in (Kind.REPLICA_SET, Kind.CONTROLLER_REVISION)
        )
    )
    owners = [owner for found in listed for m in found if (owner := controller_of(m)) is not None]
    made = [(kind, str(o.get("name"))) for o in owners for kind in _SCALABLE if o.get("kind") == kind.value]
    named = [(kind, str(service["metadata"]["name"])) for kind in _SCALABLE]
    return list(dict.fromkeys([*made, *named]))[:_MAX_BEHIND]


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


# One hop behind what the errors name: a Service with ready pods that fails itself, because of something that it needs. Where a database is
# down, who asks it answers its own callers with errors, and each of them names only the one before it.


async def lacking(scene: Scene, named: Sequence[Neighbour], window: float) -> list[Finding]:
    """What these Services lack, as findings of failed dependencies. Raises ClusterRefused and TryLater."""
    looked = await asyncio.gather(*(_lacks(scene, n, window) for n in named[:_MAX_HOPS]))
    return list({f.code: f for f in looked if f is not None}.values())


async def _lacks(scene: Scene, neighbour: Neighbour, window: float) -> Finding | None:
    pods = neighbour.ready[:_MAX_PODS]
    if await kept_away(scene, pods):
        return None
    log = await read_errors(scene.cluster, [parse_pod(m) for m in pods], scene.now, window)
    if not log.errors:
        return None
    behind = await neighbours_in(scene, [g.said for g in log.groups])
    away = [n for n in behind if n.exists and not n.ready and n.name != neighbour.name]
    down = next((n for n in away if n.fits(scene.fired_at)), None)
    if down is not None:
        text = f"Service {down.name} has no ready pod ({down.state}), and {neighbour.name}, which the errors name, fails with it{_example(log)}"
        return _failed(down.name, f"{down.name}: {text}")
    if log.share(Nature.DEPENDENCY) < _MAINLY or any(USED_UP.search(g.said) for g in log.groups):
        return None  # its own fault, its load, or a limit, which whoever asks it may have brought
    name = f"what {neighbour.name} connects to"
    return _failed(name, f"{neighbour.name}, which the errors name, cannot connect itself{_example(log)}")


def _example(log: ErrorLog) -> str:
    top = log.top
    return f': "{short(top.key, 120)}" ({count(top.count, "error line")})' if top else ""


def _failed(name: str, text: str) -> Finding:
    return Finding(f"dependency.{name}", text, data={"name": name, "kind": "service", "healthy": False})


# All causes of a snapshot, merged and in order, and the word for a workload that has none. Pure.


def unplaced_causes(seen: Snapshot) -> Iterator[Cause]:
    """Why pods have no node, where some have none."""
    return scheduling_causes(seen) if any(not p.node for p in seen.alive) else iter(())


def _of_containers(seen: Snapshot) -> Iterable[Cause]:
    """Of containers that run, are ready and never ended there is none."""
    calm = all(c.calm for p in seen.alive for c in p.containers)
    return () if calm else container_causes(seen)


_FINDERS = (
    stopped_causes,
    creation_causes,
    unplaced_causes,
    pod_causes,
    reference_causes,
    _of_containers,
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
    return [placed(seen, c) for c in sorted(_merged(found), key=lambda c: _key(seen, c))]


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
    """How long a pod may take without a word; longer while its image is being pulled, and as long as it takes while a node comes or its startup probe waits."""
    if node_comes(seen, pod) or starts(seen, [pod]):
        return timedelta.max
    return PULLING if pod.name in seen.pulling else STARTING


def _stalled(seen: Snapshot) -> Cause | None:
    """The pods that run are enough, and the rollout of the present template has passed its deadline."""
    workload = seen.workload
    conditions = (workload.manifest.get("status") or {}).get("conditions") or ()
    late = next(
        (c for c in conditions if c.get("type") == "Progressing" and c.get("status") == "False"), None
    )
    if late is None or "pods" in seen.unread or seen.missing or starts(seen, seen.alive):
        return None
    target, behind = workload.target, max(0, workload.desired - workload.updated)
    return Cause(
        CauseCode.NOT_READY,
        f"{target.kind} {target.name}",
        Sureness.POSSIBLE,
        f"the rollout of {target.name} does not go on ({told_by(late.get('reason')) or 'no reason'}, {count(behind, 'pod')} not updated), and "
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
