"""Look: everything that an engineer asks first about a workload or a namespace, read side by side, as one screen.

Called by the API. Asks the scope before anything is read: of a namespace that is off limits nothing is read and nothing told, and a
workload that opted out is only named. Reads only, through one view; nothing of it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.cluster import Cluster
from app.domain.errors import BadInput, Missing, NotPermitted, ObjectMissing, RemediatorError
from app.domain.json import JsonValue
from app.domain.remediation import Scene
from app.domain.target import WORKLOAD_KINDS, Kind, Target
from app.domain.workload import RolloutState, Workload
from app.flow.deciding.investigate import off_limits
from app.flow.diagnosing import workload as of
from app.flow.diagnosing.known import known
from app.flow.diagnosing.section import LIMIT, Section, said, section, shown
from app.flow.services import Services
from app.kube.owners import managers_of
from app.kube.parse import controller_of, parse_pod, parse_workload
from app.kube.read import read_workload
from app.kube.resolve import find
from app.kube.rollout import rollout_status
from app.kube.view import View
from app.policy.gates.scope import mark_of

_WORKLOADS = 40
"""Workloads of a namespace that are looked at."""
_CAUSES = 3
"""Workloads in trouble whose cause is looked for."""
_AT_ONCE = 8

Read = Callable[[Scene], Awaitable[Sequence[str]]]

SECTIONS: tuple[tuple[str, Read, str], ...] = (
    ("Status", of.status, "none"),
    ("Revisions", of.history, "no revision is kept"),
    ("Managed by", of.managed, "nobody else, as far as it is known"),
    ("Pods", of.pods, "no pod"),
    ("Usage", of.usage, "none"),
    ("Warnings, last hour", of.warnings, "none"),
    ("Errors, last 5 min", of.errors, "none"),
    ("Endpoints", of.endpoints, "no Service chooses its pods"),
    ("Disruption budgets", of.budgets, "none"),
    ("Limits and quota", of.limits, "none"),
)


@dataclass(frozen=True, slots=True)
class Screen:
    """One diagnosis. `cause` is the named cause in one sentence, `advice` what a person does about it."""

    subject: str
    at: datetime
    seconds: float
    cause: str
    advice: str
    sections: tuple[Section, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """As the API gives it."""
        return {
            "subject": self.subject,
            "at": self.at.isoformat(),
            "seconds": round(self.seconds, 3),
            "cause": self.cause,
            "advice": self.advice,
            "sections": [one.to_json() for one in self.sections],
        }


async def diagnose(services: Services, namespace: str, kind: str = "", name: str = "") -> Screen:
    """The screen of a workload, or of its namespace without `kind` and `name`; a pod stands for its owner.

    Raises BadInput, NotPermitted (`off_limits`) for what is not ours to read, Missing for a workload that is not there, and the
    port's read errors when not even that can be asked.
    """
    if bool(kind) != bool(name):
        raise BadInput("kind and name go together", code="bad_target", where="name" if kind else "kind")
    began = services.clock.monotonic()
    view = View(services.cluster)
    looking = replace(services, cluster=view)
    named = (
        Target(namespace, Kind.NAMESPACE, namespace)
        if not kind
        else Target.parse(f"{namespace}/{kind}/{name}")
    )
    if await off_limits(looking, services.policy(), named):
        text = f"the policy's scope keeps the namespace {said(namespace)} away (outside of it, protected or opted out): nothing of it is read"
        raise NotPermitted(text, code="off_limits", where="namespace")
    if kind:
        screen = await _of_workload(looking, await _found(view, named))
    else:
        screen = await _of_namespace(looking, namespace)
    return replace(screen, seconds=services.clock.monotonic() - began)


async def _found(view: Cluster, named: Target) -> Target:
    try:
        return (await find(view, named.namespace, named.kind, named.name)).target
    except ObjectMissing as error:
        raise Missing(error.message, where=named.key) from error


async def _of_workload(services: Services, target: Target) -> Screen:
    now = services.clock.now()
    workload, unread = await _read(services.cluster, target)
    if why := _opted_out(workload):
        return Screen(target.key, now, 0.0, why, "", ())
    scene = _scene(services, workload, now)
    (cause, advice, first), sections, told = await asyncio.gather(
        _cause(scene),
        asyncio.gather(*(section(title, read(scene), none) for title, read, none in SECTIONS)),
        _known(services, target.key, target.namespace, now),
    )
    told_too = [replace(s, unread=unread) if s.name == "Managed by" and not s.unread else s for s in sections]
    return Screen(target.key, now, 0.0, cause, advice, (first, *told_too, *told))


async def _read(cluster: Cluster, target: Target) -> tuple[Workload, str]:
    """The workload, and why its autoscaler is not known where that could not be read. Raises the port's errors for the object itself."""
    try:
        return await read_workload(cluster, target), ""
    except RemediatorError as error:
        manifest = await cluster.get(target.kind, target.namespace, target.name)
        managers = managers_of(manifest, autoscaled=False)
        return replace(parse_workload(target, manifest), managers=managers), said(
            f"autoscalers: {error.message}"
        )


def _opted_out(workload: Workload) -> str:
    """Why the workload is only named; empty when it may be looked at. The namespace's own mark was asked before."""
    mark = mark_of({"labels": workload.labels, "annotations": workload.annotations})
    return (
        "" if mark in (None, "true") else "it opted out (alert-remediator.io/enabled): nothing of it is shown"
    )


def _scene(services: Services, workload: Workload, now: datetime) -> Scene:
    return Scene(
        cluster=services.cluster,
        workload=workload,
        alertname="diagnosis",
        labels={},
        fired_at=now,
        now=now,
        dependencies=services.dependencies,
        metrics=services.metric_source,
    )


async def _cause(scene: Scene) -> tuple[str, str, Section]:
    """The named cause, the advice, and the section with what else fits and what could not be read."""
    try:
        async with asyncio.timeout(LIMIT):
            found = await of.cause(scene)
    except RemediatorError as error:
        return "", "", Section("Cause", unread=said(error.message))
    except TimeoutError:
        return "", "", Section("Cause", unread=f"the investigation took longer than {LIMIT:g} s")
    text, advice = said(found.text), said(found.advice)
    lines = [text, *((f"To do: {advice}",) if advice else ()), *found.details]
    return text, advice, Section("Cause", shown(lines))


async def _known(services: Services, target: str, namespace: str, now: datetime) -> list[Section]:
    return await services.store.read(lambda conn: known(conn, now, target, namespace))


async def _of_namespace(services: Services, namespace: str) -> Screen:
    now, cluster = services.clock.now(), services.cluster
    listed: list[Workload] = []

    async def workloads() -> Sequence[str]:
        found = await _workloads(cluster, namespace)
        listed.extend(w for w, _ in found)
        return [f"{_line(w)}{f'; not read: {why}' if why else ''}" for w, why in found]

    reads: tuple[tuple[str, Awaitable[Sequence[str]], str], ...] = (
        ("Workloads", workloads(), "none with pods or revisions"),
        ("Pods not ready", _not_ready(cluster, namespace, now), "none"),
        ("Usage", _usage(cluster, namespace), "the metrics API has no values"),
        ("Warnings, last hour", of.warnings_of(cluster, namespace, now), "none"),
        ("Endpoints", _endpoints(cluster, namespace), "no Service"),
        ("Disruption budgets", _budgets(cluster, namespace), "none"),
        ("Quota and limits", of.quotas(cluster, namespace), "none"),
    )
    sections, told = await asyncio.gather(
        asyncio.gather(*(section(*one) for one in reads)), _known(services, "", namespace, now)
    )
    broken = [w for w in listed if not _sound(w)][:_CAUSES]
    causes = await asyncio.gather(*(_cause(_scene(services, w, now)) for w in broken))
    lines = [
        f"{w.target.kind}/{w.target.name}: {c or s.unread}"
        for w, (c, _, s) in zip(broken, causes, strict=True)
    ]
    advice = next((a for _, a, _ in causes if a), "")
    cause = lines[0] if lines else "all workloads are rolled out with their pods ready" if listed else ""
    first = Section("Causes", shown(lines) if lines else (cause or "not known: no workload could be read",))
    return Screen(namespace, now, 0.0, said(cause), advice, (first, *sections, *told))


async def _workloads(cluster: Cluster, namespace: str) -> list[tuple[Workload, str]]:
    """The workloads that own ReplicaSets, revisions or pods here, which needs no right to list them. Those that opted out are left
    out."""
    owned = await asyncio.gather(
        *(
            cluster.list_objects(kind, namespace)
            for kind in (Kind.REPLICA_SET, Kind.CONTROLLER_REVISION, Kind.POD)
        )
    )
    owners = [controller_of(m) or {} for listed in owned for m in listed]
    targets = sorted(
        {Target(namespace, Kind(o["kind"]), o["name"]) for o in owners if o.get("kind") in WORKLOAD_KINDS}
    )
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> tuple[Workload, str] | None:
        async with gate:
            try:
                return await _read(cluster, target)
            except ObjectMissing:
                return None

    found = await asyncio.gather(*(one(t) for t in targets[:_WORKLOADS]))
    return [one for one in found if one is not None and not _opted_out(one[0])]


def _sound(workload: Workload) -> bool:
    return workload.ready >= workload.desired and rollout_status(workload).state is RolloutState.COMPLETE


def _line(workload: Workload) -> str:
    managers = [m.value for m in workload.managers]
    by = f"; by {', '.join(managers)}" if managers else ""
    state = rollout_status(workload).state.value
    return f"{workload.target.kind}/{workload.target.name}: {workload.ready} of {workload.desired} ready, {state}{by}"


async def _not_ready(cluster: Cluster, namespace: str, now: datetime) -> Sequence[str]:
    pods = [parse_pod(m) for m in await cluster.list_objects(Kind.POD, namespace)]
    return [of.pod_line(p, now) for p in sorted(pods, key=lambda p: p.name) if not p.ready and not p.over]


async def _usage(cluster: Cluster, namespace: str) -> Sequence[str]:
    used = await cluster.pod_usage(namespace, "")
    rows = sorted(used, key=lambda u: -u.total_memory)
    return [f"{u.pod}: CPU {sum(u.cpu.values())}m, memory {u.total_memory // 2**20} MiB" for u in rows]


async def _endpoints(cluster: Cluster, namespace: str) -> Sequence[str]:
    services, listed = await asyncio.gather(
        cluster.list_objects(Kind.SERVICE, namespace), cluster.list_objects(Kind.POD, namespace)
    )
    pods = [p for m in listed if not (p := parse_pod(m)).over]
    lines = []
    for service in services:
        selector = service["spec"].get("selector") or {}
        chosen = [p for p in pods if selector and selector.items() <= p.labels.items()]
        told = f"{sum(p.ready for p in chosen)} of {len(chosen)} pods ready" if selector else "no selector"
        lines.append(f"Service {service['metadata']['name']}: {told}")
    return lines


async def _budgets(cluster: Cluster, namespace: str) -> Sequence[str]:
    found = await cluster.list_objects(Kind.PDB, namespace)
    return [
        f"PodDisruptionBudget {m['metadata']['name']}: {(m.get('status') or {}).get('disruptionsAllowed', '?')} disruptions allowed"
        for m in found
    ]
