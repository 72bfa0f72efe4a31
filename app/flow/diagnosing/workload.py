"""The sections about one workload, read from the cluster: what `kubectl get, describe, top, logs` and the rollout history tell.

The cause is that of the shared investigation (`remediations.causes`); nothing is concluded here. Called by `look`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.units import counted, few, say_memory
from app.domain.workload import ContainerState, KubeEvent, Pod, Workload
from app.kube.owners import owners_of
from app.kube.parse import parse_event, serves
from app.kube.read import WARNINGS, in_turns, pdbs_for, read_pods, replica_sets_of, revisions
from app.kube.rollout import rollout_status
from remediations.causes import findings_of, investigate
from remediations.causes.report import CAUSE
from remediations.evidence.logs import errors_finding, read_errors
from remediations.evidence.usage import span, usage_finding

HOUR = timedelta(hours=1)
_WINDOW = 300.0
_REVISIONS = 5


@dataclass(frozen=True, slots=True)
class Cause:
    """The investigation's first cause in one sentence, what a person does about it, and what could not be read for it."""

    text: str
    advice: str
    details: tuple[str, ...]


async def cause(scene: Scene) -> Cause:
    """By the one investigation."""
    found = findings_of(await investigate(scene))
    first = next(f for f in found if f.code == CAUSE)
    return Cause(first.text, str(first.data.get("advice") or ""), first.details)


async def status(scene: Scene) -> Sequence[str]:
    """Size, rollout, images."""
    workload = scene.workload
    rollout = rollout_status(workload)
    lines = [
        f"{workload.ready} of {counted(workload.desired, 'pod')} ready, {workload.updated} of the newest template",
        f"rollout {rollout.state.value}: {rollout.text}",
    ]
    return [*lines, *(f"{c.name}: {c.image}" for c in workload.containers)]


async def history(scene: Scene) -> Sequence[str]:
    """The newest revisions, the present one marked."""
    found = await revisions(scene.cluster, scene.workload)
    return [
        f"revision {r.number}{', present' if r.current else ''}, {_ago(scene.now, r.created_at)}: {', '.join(few(r.images))}"
        + (f"  ({r.change_cause})" if r.change_cause else "")
        for r in found[:_REVISIONS]
    ]


async def managed(scene: Scene) -> Sequence[str]:
    """Who else writes it."""
    workload = scene.workload
    lines = [m.value for m in workload.managers]
    scaler = workload.autoscaler
    if scaler is not None:
        text = f"HorizontalPodAutoscaler {scaler.ref.name}: {scaler.min_replicas} to {scaler.max_replicas}, wants {scaler.desired}"
        lines.append(f"{text}; {scaler.last_action}" if scaler.last_action else text)
    owners = await owners_of(scene.cluster, workload)
    lines += [
        f"{one}{f': {one.note}' if one.note else ''}{f'; change it with {one.edit}' if one.kind else ''}"
        for one in owners.found
    ]
    return [*lines, *(f"not known: {kind} may not be read" for kind in owners.untold)]


async def pods(scene: Scene) -> Sequence[str]:
    """Each pod with what is wrong with it, the broken ones first."""
    found = await read_pods(scene.cluster, scene.workload)
    return [pod_line(p, scene.now) for p in sorted(found, key=lambda p: (p.ready, p.name))]


def pod_line(pod: Pod, now: datetime) -> str:
    """`langgraph-1 ready, 0 restarts, 3 h old, on node-1`."""
    word = "ready" if pod.ready else "terminating" if pod.terminating else f"not ready ({pod.phase})"
    reasons = [f"{c.name}: {reason}" for c in pod.containers if (reason := _reason(c, pod.ready))]
    reasons += [f"{pod.reason}: {pod.message}"] if pod.reason else []
    reasons += [
        f"{c.type}: {c.message or c.reason}"
        for c in pod.conditions
        if c.type == "PodScheduled" and c.status == "False"
    ]
    restarts = sum(c.restarts for c in pod.containers)
    where = f", on {pod.node}" if pod.node else ""
    told = f"; {'; '.join(reasons)}" if reasons else ""
    age = span((now - pod.created_at).total_seconds())
    return f"{pod.name} {word}, {counted(restarts, 'restart')}, {age} old{where}{told}"


def _reason(state: ContainerState, ready: bool) -> str:
    if state.waiting:
        return f"{state.waiting}{f' ({state.waiting_message})' if state.waiting_message else ''}"
    ended = state.terminated or (None if ready and not state.restarts else state.last_terminated)
    return f"last ended with {ended.reason or 'exit'} {ended.exit_code}" if ended and not state.first else ""


async def usage(scene: Scene) -> Sequence[str]:
    """CPU and memory against the limits, as the metrics API tells."""
    pods = await read_pods(scene.cluster, scene.workload)
    found = await usage_finding(scene.cluster, scene.workload, pods, scene.now)
    if found.certainty.value == "unknown":
        raise ProbeUnavailable(found.text)
    return [found.text, *found.details]


async def warnings(scene: Scene) -> Sequence[str]:
    """Warnings of the last hour about the workload, its ReplicaSets and its pods, grouped."""
    own = await read_pods(scene.cluster, scene.workload)
    sets = await replica_sets_of(scene.cluster, scene.workload)
    names = {scene.workload.target.name, *(p.name for p in own), *(m["metadata"]["name"] for m in sets)}
    return await warnings_of(scene.cluster, scene.workload.target.namespace, scene.now, names)


async def warnings_of(
    cluster: Cluster,
    namespace: str,
    now: datetime,
    names: AbstractSet[str] | None = None,
    without: AbstractSet[str] = frozenset(),
) -> Sequence[str]:
    """Warnings of the last hour about objects of these names (None: of all but `without`); the most frequent first."""
    events = await in_turns(parse_event, await cluster.list_objects(Kind.EVENT, namespace, fields=WARNINGS))
    late = [
        e
        for e in events
        if e.last_seen is not None
        and now - e.last_seen <= HOUR
        and (names is None or e.about.partition("/")[2] in names)
        and e.about.partition("/")[2] not in without
    ]
    counts: Counter[tuple[str, str]] = Counter()
    newest: dict[tuple[str, str], KubeEvent] = {}
    for event in sorted(late, key=lambda e: e.last_seen or now):
        counts[event.reason, event.message] += max(1, event.count)
        newest[event.reason, event.message] = event
    return [
        f"{number} x {reason} {newest[reason, message].about}, last {_ago(now, newest[reason, message].last_seen)}: {message}"
        for (reason, message), number in counts.most_common()
    ]


async def errors(scene: Scene) -> Sequence[str]:
    """Error lines of the last five minutes, grouped."""
    own = [p for p in await read_pods(scene.cluster, scene.workload) if not p.over]
    found = errors_finding(await read_errors(scene.cluster, own, scene.now, _WINDOW))
    return [found.text, *found.details]


async def endpoints(scene: Scene) -> Sequence[str]:
    """The Services that choose its pods, and how many of these are ready."""
    workload = scene.workload
    services = await scene.cluster.list_objects(Kind.SERVICE, workload.target.namespace)
    own = await read_pods(scene.cluster, workload)
    ready = sum(p.ready for p in own)
    lines = []
    for service in services:
        if serves(service, workload.pod_labels):
            ports = ", ".join(
                f"{p['port']}/{p.get('protocol', 'TCP')}" for p in service["spec"].get("ports") or ()
            )
            lines.append(
                f"Service {service['metadata']['name']} ({ports}): {ready} of {counted(len(own), 'pod')} ready"
            )
    return lines


async def budgets(scene: Scene) -> Sequence[str]:
    """PodDisruptionBudgets."""
    found = await pdbs_for(scene.cluster, scene.workload)
    return [
        f"PodDisruptionBudget {b.ref.name}: {counted(b.allowed, 'disruption')} allowed, {b.healthy} healthy of {b.wanted} wanted"
        for b in found
    ]


async def limits(scene: Scene) -> Sequence[str]:
    """What its containers ask for and may use, and the namespace's bounds."""
    return [*_resources(scene.workload), *await quotas(scene.cluster, scene.workload.target.namespace)]


def _resources(workload: Workload) -> list[str]:
    return [
        f"{c.name}: CPU {_amount(c.cpu_request, 'm')} to {_amount(c.cpu_limit, 'm')}, "
        f"memory {_memory(c.memory_request)} to {_memory(c.memory_limit)}"
        for c in workload.containers
        if not c.first
    ]


def _amount(value: int | None, unit: str) -> str:
    return "unset" if value is None else f"{value}{unit}"


def _memory(value: int | None) -> str:
    return "unset" if value is None else say_memory(value)


async def quotas(cluster: Cluster, namespace: str) -> Sequence[str]:
    """ResourceQuotas with what is used of them, and LimitRanges."""
    lines = []
    for quota in await cluster.list_objects(Kind.RESOURCE_QUOTA, namespace):
        status = quota.get("status") or {}
        used, hard = status.get("used") or {}, status.get("hard") or quota["spec"].get("hard") or {}
        told = ", ".join(f"{k} {used.get(k, '?')} of {v}" for k, v in sorted(hard.items()))
        lines.append(f"ResourceQuota {quota['metadata']['name']}: {told}")
    for ranged in await cluster.list_objects(Kind.LIMIT_RANGE, namespace):
        told = "; ".join(
            f"{one['type']} "
            + ", ".join(
                f"{k} {', '.join(f'{r} {v}' for r, v in sorted(one[k].items()))}"
                for k in ("min", "max", "default")
                if one.get(k)
            )
            for one in ranged["spec"].get("limits") or ()
        )
        lines.append(f"LimitRange {ranged['metadata']['name']}: {told}")
    return lines


def _ago(now: datetime, at: datetime | None) -> str:
    return "at an unknown time" if at is None else f"{span((now - at).total_seconds())} ago"
