"""Reads through the cluster port, as the typed snapshots of `app.domain.workload`, and the view in which each is asked for once.

Called by the flow, the handlers and the preflight. Never writes, never retries, never guesses: what cannot be read is
the port's error (ObjectMissing, AccessDenied, ClusterUnavailable, ClusterThrottled), so that the gate stays closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from app.domain.cluster import Cluster, LogQuery, PodUsage
from app.domain.errors import (
    AccessDenied,
    ClusterThrottled,
    ClusterUnavailable,
    ObjectMissing,
    ProbeUnavailable,
    RemediatorError,
)
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
from app.kube.lineage import Around, is_return, last_written, with_earlier
from app.kube.owners import managers_of
from app.kube.parse import (
    controller_of,
    fingerprint,
    parse_autoscaler,
    parse_controller_revision,
    parse_event,
    parse_pod,
    parse_replica_set,
    parse_time,
    parse_workload,
    plain_template,
    selects,
)

T = TypeVar("T")
P = ParamSpec("P")

# View: one look at a cluster, in which each object and list is asked for once.
#
# Made by the flow for one diagnosis, or for one second look, and thrown away with it: what was read is true for that
# look and for nothing after it. Reads that are under way are shared. Never writes; a write that follows a look is
# bound to the resourceVersion seen, so that the server refuses it when the look has become old.


class View:
    """The reading side of a `Cluster`. What is given out is shared: nobody may change a manifest."""

    def __init__(self, cluster: Cluster) -> None:
        self.name = cluster.name
        self._cluster = cluster
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}
        self.transient_errors: list[str] = []
        """Reads that failed in this look and may well work in the next: throttled, unreachable. Not what was refused."""
        self.unanswered: list[str] = []
        """The same of questions: whether we may, and whether a pod could be made."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """See the port."""
        found: Obj = await self._once(
            ("get", kind, namespace, name), lambda: self._cluster.get(kind, namespace, name)
        )
        return found

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        """See the port."""
        key = ("list", kind, namespace, selector, fields)
        found: list[Obj] = await self._once(
            key, lambda: self._cluster.list_objects(kind, namespace, selector, fields)
        )
        return list(found)

    async def logs(self, query: LogQuery) -> str:
        """See the port; not kept, a log may be large."""
        return await _noting(self._cluster.logs(query), self.transient_errors)

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        """See the port."""
        found: list[PodUsage] = await self._once(
            ("usage", namespace, selector), lambda: self._cluster.pod_usage(namespace, selector)
        )
        return list(found)

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        """See the port."""
        asked = self._cluster.can_i(verb, kind, namespace, subresource, name)
        return await _noting(asked, self.unanswered)

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        """See the port: a question, which changes nothing."""
        return await _noting(self._cluster.dry_run_pod(namespace, pod), self.unanswered)

    async def ahead(self, kind: Kind, namespace: str, name: str) -> None:
        """Begin to read what will be asked for; whoever asks for it hears what went wrong."""
        with suppress(RemediatorError):
            await self.get(kind, namespace, name)

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """Refused: looking changes nothing. Raises RuntimeError."""
        raise RuntimeError(f"a view was asked to patch {kind} {namespace}/{name} ({len(patch)}, {dry_run})")

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """A dry run is a question; anything else is refused like `patch`."""
        if not dry_run:
            raise RuntimeError(f"a view was asked to patch the status of {kind} {namespace}/{name}")
        return await self._cluster.patch_status(kind, namespace, name, patch, dry_run=True)

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """A dry run is a question; anything else is refused like `patch`."""
        if not dry_run:
            raise RuntimeError(f"a view was asked to delete Secret {namespace}/{name}")
        await self._cluster.delete_secret(namespace, name, uid, dry_run=True)

    async def delete_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:  # noqa: ARG002
        """Refused like `patch`."""
        raise RuntimeError(f"a view was asked to delete pod {namespace}/{name}")

    async def evict_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:  # noqa: ARG002
        """Refused like `patch`."""
        raise RuntimeError(f"a view was asked to evict pod {namespace}/{name}")

    async def create_job(self, namespace: str, job: Obj, *, dry_run: bool = False) -> Obj:
        """A dry run is a question; anything else is refused like `patch`."""
        if not dry_run:
            raise RuntimeError(f"a view was asked to create a Job in {namespace}")
        return await self._cluster.create_job(namespace, job, dry_run=True)

    async def create_event(self, event: Obj) -> None:  # noqa: ARG002
        """Refused like `patch`."""
        raise RuntimeError("a view was asked to create an event")

    async def _once(self, key: Hashable, ask: Callable[[], Awaitable[Any]]) -> Any:
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(ask())
            task.add_done_callback(self._heard)
        # One reader that gives up must not end the read of the others.
        return await asyncio.shield(task)

    def _heard(self, task: asyncio.Task[Any]) -> None:
        """Note a failure that may pass, and mark it as heard of, also when everybody who asked has gone."""
        error = None if task.cancelled() else task.exception()
        why = error.__cause__ if isinstance(error, ProbeUnavailable) else error
        if isinstance(why, ClusterThrottled | ClusterUnavailable):
            self.transient_errors.append(str(error))


async def _noting(asked: Awaitable[T], failures: list[str]) -> T:
    try:
        return await asked
    except (ClusterThrottled, ClusterUnavailable) as error:
        failures.append(str(error))
        raise


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
    found = await _autoscalers(cluster, target)
    others = tuple(m["metadata"]["name"] for m in found[1:])
    return replace(parse_autoscaler(found[0]), others=others) if found else None


async def autoscaler_manifest(cluster: Cluster, target: Target) -> Obj | None:
    """The same as a manifest."""
    return next(iter(await _autoscalers(cluster, target)), None)


async def _autoscalers(cluster: Cluster, target: Target) -> list[Obj]:
    every = ((m, m["spec"]["scaleTargetRef"]) for m in await cluster.list_objects(Kind.HPA, target.namespace))
    return [m for m, of in every if of["kind"] == target.kind and of["name"] == target.name]


_AT_ONCE = 25


async def in_turns(parse: Callable[[Obj], T], manifests: Sequence[Obj]) -> list[T]:
    """All of them parsed, giving way to others on the loop: ten thousand pods take a second, as many Events a third of one."""
    found = list[T]()
    for at in range(0, len(manifests), _AT_ONCE):
        found += map(parse, manifests[at : at + _AT_ONCE])
        await asyncio.sleep(0)
    return found


async def read_pods(cluster: Cluster, workload: Workload) -> list[Pod]:
    """The workload's own pods, by name; a pod that only wears its labels is not one of them."""
    pods = await in_turns(parse_pod, await pod_manifests(cluster, workload))
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


async def stored_revisions(cluster: Cluster, workload: Workload) -> list[Obj]:
    """The ReplicaSets or ControllerRevisions of a workload as manifests."""
    deployment = workload.target.kind is Kind.DEPLOYMENT
    return await _owned(cluster, workload, Kind.REPLICA_SET if deployment else Kind.CONTROLLER_REVISION)


async def around(cluster: Cluster, workload: Workload, now: datetime, ours: Sequence[datetime]) -> Around:
    """What tells when the workload was changed; `ours` is when this service wrote to it. What may not be read is None in it. Raises
    TryLater kinds."""
    target = workload.target
    stored, told, scaler = await asyncio.gather(
        _granted(stored_revisions, cluster, workload),
        _granted(cluster.list_objects, Kind.EVENT, target.namespace, fields=f"regarding.name={target.name}"),
        _granted(autoscaler_manifest, cluster, target),
    )
    found = await asyncio.to_thread(revisions_of, workload, stored or ())
    current = next((r for r in found if r.current), None)
    events = None if told is None else await in_turns(parse_event, told)
    return Around(
        now,
        stored,
        current.name if current else "",
        returned=current is not None and is_return(current, found),
        events=None if events is None else [e for e in events if e.about == f"{target.kind}/{target.name}"],
        autoscaled_at=parse_time(((scaler or {}).get("status") or {}).get("lastScaleTime")),
        ours=ours,
    )


async def _granted(read: Callable[P, Awaitable[T]], *args: P.args, **named: P.kwargs) -> T | None:
    try:
        return await read(*args, **named)
    except (AccessDenied, ObjectMissing):
        return None


async def revisions(cluster: Cluster, workload: Workload) -> list[Revision]:
    """The stored revisions of the workload's template, newest first, with the current one marked."""
    return await asyncio.to_thread(revisions_of, workload, await stored_revisions(cluster, workload))


def revisions_of(workload: Workload, manifests: Sequence[Obj]) -> list[Revision]:
    """The same from its ReplicaSets or ControllerRevisions; for a thread, as templates may be long."""
    if workload.target.kind is Kind.DEPLOYMENT:
        templates = {m["metadata"]["name"]: plain_template(m["spec"]["template"]) for m in manifests}
        found = [parse_replica_set(m) for m in manifests]
    else:
        templates = {m["metadata"]["name"]: plain_template(m["data"]["spec"]["template"]) for m in manifests}
        written = {m["metadata"]["name"]: last_written(m) for m in manifests}
        found = with_earlier([parse_controller_revision(m) for m in manifests], written)
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
    events = await in_turns(parse_event, await cluster.list_objects(Kind.EVENT, namespace, fields=fields))
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
