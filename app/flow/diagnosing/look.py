"""Look: everything that an engineer asks first about a workload or a namespace, read side by side, as one screen.

Called by the API. Asks the scope before anything is read: of a namespace that is off limits nothing is read and nothing told, and a
workload that opted out is only named. Reads only, through one view; nothing of it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.domain.cluster import Cluster
from app.domain.errors import BadInput, Missing, NotPermitted, ObjectMissing, RemediatorError
from app.domain.json import JsonValue
from app.domain.remediation import Scene
from app.domain.target import Target
from app.domain.workload import Workload
from app.flow.deciding.marks import namespace_shut, of_namespace, off_limits
from app.flow.diagnosing import rollouts
from app.flow.diagnosing import workload as of
from app.flow.diagnosing.inside import look_inside
from app.flow.diagnosing.known import known
from app.flow.diagnosing.namespace import about, is_sound
from app.flow.diagnosing.reading import Ground, asked, read
from app.flow.diagnosing.section import LIMIT, Section, said, section, shown
from app.flow.services import Services
from app.kube.owners import find
from app.kube.read import View
from app.policy.gates.target import off_limits_by_name

_CAUSES = 3
"""Workloads in trouble whose cause is looked for."""

_NOBODY = "nobody else, as far as it is known"
Read = Callable[[Scene], Awaitable[Sequence[str]]]

SECTIONS: tuple[tuple[str, Read, str], ...] = (
    ("Status", of.status, "none"),
    ("Revisions", of.history, "no revision is kept"),
    ("Managed by", of.managed, _NOBODY),
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


@dataclass(frozen=True, slots=True)
class Present:
    """A workload now. `rollouts` are the newest first; `unread` says why there are none, or why some are missing."""

    at: datetime
    sections: tuple[Section, ...]
    rollouts: tuple[rollouts.Rollout, ...]
    unread: str = ""


async def diagnose(services: Services, namespace: str, kind: str = "", name: str = "") -> Screen:
    """The screen of a workload, or of its namespace without `kind` and `name`; a pod stands for its owner.

    Raises BadInput, NotPermitted (`off_limits`) for what is not ours to read, Missing for a workload that is not there, and
    ClusterUnavailable when the cluster does not answer or does not let us ask that: what is not known to be ours is not read.
    """
    if bool(kind) != bool(name):
        raise BadInput("kind and name go together", code="bad_target", where="name" if kind else "kind")
    began = services.clock.monotonic()
    view = View(services.cluster)
    looking = replace(services, cluster=view)
    named = Target.parse(f"{namespace}/{kind}/{name}") if kind else None
    ground = await _ground(services, view, namespace)
    if named is not None:
        screen = await _of_workload(looking, await asked(_found(view, named)), ground)
    else:
        screen = await _of_namespace(looking, namespace, ground)
    return replace(screen, seconds=services.clock.monotonic() - began)


async def present(services: Services, target: Target) -> Present:
    """How a workload stands now, who else writes it and what was rolled out of it: the part of a diagnosis that needs three reads.

    Raises what `diagnose` does."""
    view = View(services.cluster)
    ground = await _ground(services, view, target.namespace)
    workload, unread = await asked(_read(view, target))
    if why := ground.opt_out_of(workload):
        return Present(services.clock.now(), (), (), why)
    now = services.clock.now()
    past = await services.store.read(lambda conn: rollouts.past_of(conn, target.key, now))
    scene = replace(_scene(replace(services, cluster=view), workload, now), history=past)
    state, managed, (rolled, why) = await asyncio.gather(
        section("Status", partial(of.status, scene)),
        section("Managed by", partial(of.managed, scene), _NOBODY),
        rollouts.read(scene),
    )
    managed = replace(managed, unread=managed.unread or unread)
    return Present(now, (state, managed), rolled, why)


async def _read(view: Cluster, target: Target) -> tuple[Workload, str]:
    try:
        return await read(view, target)
    except ObjectMissing as error:
        raise Missing(error.message, where=target.key) from error


async def _ground(services: Services, view: Cluster, namespace: str) -> Ground:
    """What may be shown of a namespace. Raises NotPermitted (`off_limits`) where that is nothing, ClusterUnavailable where nobody can tell."""
    scope = services.policy().scope
    shut = off_limits_by_name(scope, namespace)
    around = {} if shut else await asked(of_namespace(view, namespace))
    if shut or namespace_shut(scope, around):
        text = f"the policy's scope keeps the namespace {said(namespace)} away (outside of it, protected or opted out): nothing of it is read"
        raise NotPermitted(text, code="off_limits", where="namespace")
    return Ground(scope, around)


async def _found(view: Cluster, named: Target) -> Target:
    try:
        return (await find(view, named.namespace, named.kind, named.name)).target
    except ObjectMissing as error:
        raise Missing(error.message, where=named.key) from error


async def _of_workload(services: Services, target: Target, ground: Ground) -> Screen:
    now = services.clock.now()
    workload, unread = await asked(read(services.cluster, target))
    if why := ground.opt_out_of(workload):
        return Screen(target.key, now, 0.0, why, "", ())
    scene = _scene(services, workload, now)
    (cause, advice, first), sections, told = await asyncio.gather(
        _cause(scene),
        asyncio.gather(*(section(title, partial(read, scene), none) for title, read, none in SECTIONS)),
        _known(services, target.key, target.namespace, now),
    )
    told_too = [replace(s, unread=unread) if s.name == "Managed by" and not s.unread else s for s in sections]
    return Screen(target.key, now, 0.0, cause, advice, (first, *told_too, *told))


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
        off_limits=partial(off_limits, services.cluster, services.policy().scope),
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


async def _known(
    services: Services, target: str, namespace: str, now: datetime, without: frozenset[str] = frozenset()
) -> list[Section]:
    return await services.store.read(lambda conn: known(conn, now, target, namespace, without))


async def _of_namespace(services: Services, namespace: str, ground: Ground) -> Screen:
    now, cluster = services.clock.now(), services.cluster
    inside = await asked(look_inside(cluster, namespace, ground))
    sections, told = await asyncio.gather(
        asyncio.gather(*(section(*one) for one in about(cluster, namespace, now, inside))),
        _known(services, "", namespace, now, inside.keys),
    )
    broken = [w for w, _ in inside.workloads if not is_sound(w)][:_CAUSES]
    causes = await asyncio.gather(*(_cause(_scene(services, w, now)) for w in broken))
    lines = [
        f"{w.target.kind}/{w.target.name}: {c or s.unread}"
        for w, (c, _, s) in zip(broken, causes, strict=True)
    ]
    advice = next((a for _, a, _ in causes if a), "")
    sound = (
        "all workloads are rolled out with their pods ready" if inside.workloads and not inside.notes else ""
    )
    cause = lines[0] if lines else sound
    first = Section(
        "Causes", shown(lines) if lines else (cause or "not known: not all workloads could be read",)
    )
    return Screen(namespace, now, 0.0, said(cause), advice, (first, *sections, *told))
