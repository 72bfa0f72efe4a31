"""The simulated cluster: the port `Cluster` in memory, on any clock.

Used by the demo, rehearsals and tests. Before each request the world catches up with the clock, tick by tick; nothing runs
in between. Beyond the port it offers what a test needs: faults, hooks, the record of mutations, and other people's hands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from app.domain.cluster import FIELD_MANAGER, MARKER, LogQuery, PodUsage
from app.domain.database import DatabaseAddress
from app.domain.errors import AccessDenied, ObjectChanged, ObjectInvalid, ObjectMissing, ProbeUnavailable
from app.domain.json import Obj
from app.domain.ports import Clock
from app.domain.target import Kind
from app.sim.containers import Phase
from app.sim.faults import Faults, Hook, Mutation, Request, Verb, raise_after, raise_before
from app.sim.kinds import APIS, seconds_of
from app.sim.kubelet import node
from app.sim.objects import Key, make_key
from app.sim.patch import clone
from app.sim.scenario import Scenario
from app.sim.selectors import field_selector, label_selector
from app.sim.simulation import Simulation

T = TypeVar("T")
_SUBRESOURCES = {"eviction": "evict", "log": "logs"}
"""Subresources that have a verb of their own here."""


class SimCluster:
    """One simulated cluster. Without a scenario it is empty: three nodes and the namespace `default`."""

    def __init__(self, clock: Clock, scenario: Scenario | None = None, *, name: str = "simulated") -> None:
        self.name = name
        self.faults = Faults()
        self.mutations: list[Mutation] = []
        """Every accepted write through the port, dry runs included, in order."""
        self.metrics_api = True
        """False: the cluster does not serve metrics.k8s.io."""
        self._clock = clock
        self._hooks: list[Hook] = []
        self._denied: set[tuple[str, Kind]] = set()
        # Callers may live on several event loops and threads.
        self._lock = threading.RLock()
        self._simulation = Simulation(clock.now().timestamp(), scenario, self.catch_up, self._request)
        self._world = self._simulation.world
        self._store = self._world.store
        self.alertmanager = self._simulation.alertmanager
        self.metrics = self._simulation.metrics
        self.dependencies = self._simulation.dependencies
        self.databases = self._simulation.databases
        self.databases.wrote = self._wrote
        self.caches = self._simulation.caches
        self.backups = self._simulation.backups
        self.traffic = self._simulation.traffic
        self.http = self._simulation.http
        self.catch_up()

    def catch_up(self) -> None:
        """Let the world reach the clock's present."""
        with self._lock:
            self._world.run_to(self._clock.now().timestamp())

    # --- the port: reads ---

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """Read one object."""
        key = make_key(kind, namespace, name)
        return await self._request(
            Request("get", kind, key.namespace, name), lambda: clone(self._store.get(key))
        )

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        """List objects by label and field selector, by name; an empty namespace means all.

        Like the items of a real list they come without apiVersion and kind.
        """

        def act() -> list[Obj]:
            self._served(kind)
            by_label, by_field = label_selector(selector), field_selector(fields)
            return [
                {k: clone(v) for k, v in o.items() if k not in {"apiVersion", "kind"}}
                for o in self._store.all(kind, namespace)
                if by_label(o["metadata"].get("labels") or {}) and by_field(o)
            ]

        return await self._request(Request("list", kind, namespace, ""), act)

    async def logs(self, query: LogQuery) -> str:
        """Log text of a container's present or previous instance; empty when there was none."""

        def act() -> str:
            key = Key(Kind.POD, query.namespace, query.pod)
            self._store.get(key)
            run = self._simulation.kubelet.run_of(key)
            if run is None:
                return ""
            found = [c for c in run.containers if c.name == query.container]
            if not found:
                raise ObjectInvalid(f"container {query.container} is not valid for pod {query.pod}")
            container = found[0]
            log = container.dead_log if query.previous else container.log
            since = self._world.time - query.since_seconds if query.since_seconds is not None else 0.0
            if log is None:
                return ""
            return log.text(since, query.tail_lines, query.limit_bytes, timestamps=query.timestamps)

        return await self._request(Request("logs", Kind.POD, query.namespace, query.pod), act)

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        """Usage of the pods that run, from the model."""

        def act() -> list[PodUsage]:
            if not self.metrics_api:
                raise ProbeUnavailable("the metrics API is not served", where="metrics.k8s.io")
            chosen = label_selector(selector)
            pods = [
                p for p in self._store.all(Kind.POD, namespace) if chosen(p["metadata"].get("labels") or {})
            ]
            return [usage for p in pods if (usage := self._usage(p)) is not None]

        return await self._request(Request("usage", None, namespace, ""), act)

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        """May we do this? Yes, unless `deny` says no, which is for objects of any name."""
        del name
        asked = _SUBRESOURCES.get(subresource, verb)
        return await self._request(
            Request("can_i", None, namespace, ""), lambda: (asked, kind) not in self._denied
        )

    # --- the port: writes ---

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """Apply a JSON patch as our field manager; returns the object after it."""
        return await self._patch(make_key(kind, namespace, name), patch, "", dry_run)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """The same through the status subresource."""
        return await self._patch(make_key(kind, namespace, name), patch, "status", dry_run)

    async def _patch(self, key: Key, patch: Sequence[dict[str, Any]], subresource: str, dry_run: bool) -> Obj:
        request = Request("patch", key.kind, key.namespace, key.name, dry_run, subresource)

        def act() -> Obj:
            after: Obj = clone(
                self._store.patch(key, patch, FIELD_MANAGER, subresource=subresource, dry_run=dry_run)
            )
            self._record(request, after, clone(list(patch)))
            return after

        return await self._request(request, act)

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a Secret if it still has this uid."""
        request = Request("delete", Kind.SECRET, namespace, name, dry_run)

        def act() -> None:
            key = Key(Kind.SECRET, namespace, name)
            secret = self._store.get(key)
            if secret["metadata"]["uid"] != uid:
                raise ObjectChanged("the UID in the precondition does not match", where=str(key))
            if not dry_run:
                self._store.delete(key)
            self._record(request, secret)

        await self._request(request, act)

    async def delete_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a pod if it still has this uid."""
        await self._remove(Request("delete", Kind.POD, namespace, name, dry_run), uid)

    async def evict_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Evict a pod if it still has this uid and its disruption budget allows it."""
        await self._remove(Request("evict", Kind.POD, namespace, name, dry_run), uid)

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        """Ask whether a pod like this would be accepted; nothing is stored."""
        request = Request("create", Kind.POD, namespace, "", dry_run=True)

        def act() -> Obj:
            try:
                return self._simulation.dry_run_pod(namespace, pod, FIELD_MANAGER)
            except AccessDenied as refusal:  # admission's 403 is about the object, as the port says
                raise ObjectInvalid(refusal.message, code="admission_denied", where=str(request)) from refusal

        return await self._request(request, act)

    async def create_job(self, namespace: str, job: Obj, *, dry_run: bool = False) -> Obj:
        """Create a Job; its controller makes the pod."""
        request = Request("create", Kind.JOB, namespace, job["metadata"]["name"], dry_run)
        placed = {**job, "metadata": {**job["metadata"], "namespace": namespace}}

        def act() -> Obj:
            created: Obj = clone(self._store.create(placed, FIELD_MANAGER, dry_run=dry_run))
            self._record(request, created)
            return created

        return await self._request(request, act)

    async def create_event(self, event: Obj) -> None:
        """Create an Event; an existing one of that name counts as success."""
        metadata = event.get("metadata", {})
        request = Request(
            "create", Kind.EVENT, metadata.get("namespace", "default"), metadata.get("name", "")
        )

        def act() -> None:
            try:
                created = self._store.create(event, FIELD_MANAGER)
            except ObjectChanged:
                return
            self._record(request, created)

        await self._request(request, act)

    def _served(self, kind: Kind) -> None:
        """A custom kind that nobody has installed is not served. Raises ObjectMissing."""
        if APIS[kind].custom and next(iter(self._store.all(kind)), None) is None:
            raise ObjectMissing("the server could not find the requested resource", where=APIS[kind].resource)

    async def _remove(self, request: Request, uid: str) -> None:
        def act() -> None:
            key = Key(Kind.POD, request.namespace, request.name)
            pod = self._store.get(key)
            if request.verb == "evict":
                # The budget is charged before the uid is compared, as in the real eviction.
                self._simulation.budgets.charge(pod, dry_run=request.dry_run)
            if pod["metadata"]["uid"] != uid:
                text = f"the UID in the precondition ({uid}) does not match the UID in record ({pod['metadata']['uid']})"
                raise ObjectChanged(text, where=str(key))
            self._record(request, pod if request.dry_run else self._store.terminate(key))

        await self._request(request, act)

    # --- what surrounds each request ---

    async def _request(self, request: Request, act: Callable[[], T]) -> T:
        fault = self.faults.take(request)
        if fault is not None and fault.seconds:
            await self._clock.sleep(fault.seconds)
        with self._lock:
            self.catch_up()
            self._tell(request, "before")
            if request.kind is not None and (request.verb, request.kind) in self._denied:
                resource = APIS[request.kind].resource
                raise AccessDenied(f"cannot {request.verb} {resource}", where=str(request))
            if fault is not None:
                raise_before(fault, request)
            result = act()
            self._tell(request, "after")
            if fault is not None:
                raise_after(fault, request)
            return result

    def _tell(self, request: Request, when: Literal["before", "after"]) -> None:
        for hook in list(self._hooks):
            hook(request, when)

    def _record(self, request: Request, after: Obj, patch: Sequence[dict[str, Any]] = ()) -> None:
        if request.kind is None:
            return
        metadata = after["metadata"]
        self.mutations.append(
            Mutation(
                at=self._clock.now(),
                verb=request.verb,
                kind=request.kind,
                namespace=request.namespace,
                name=request.name,
                dry_run=request.dry_run,
                manager=FIELD_MANAGER,
                patch=patch,
                resource_version=metadata.get("resourceVersion", ""),
                marker=_said_in_status(patch) or (metadata.get("annotations") or {}).get(MARKER, ""),
            )
        )

    def _wrote(self, verb: Verb, at: DatabaseAddress, name: str) -> None:
        """What is inside of a database is no object of the cluster: it is recorded under a name that the action has, too."""
        kind = Kind.STATEFUL_SET
        self.mutations.append(
            Mutation(self._clock.now(), verb, kind, at.namespace, name, False, FIELD_MANAGER)
        )

    def _usage(self, pod: Obj) -> PodUsage | None:
        run = self._simulation.kubelet.run_of(
            Key(Kind.POD, pod["metadata"]["namespace"], pod["metadata"]["name"])
        )
        running = [c for c in run.containers if c.phase is Phase.RUNNING] if run is not None else []
        if not running:
            return None
        at = datetime.fromtimestamp(self._world.time, UTC)
        memory = {c.name: c.memory(self._world.time) for c in running}
        return PodUsage(pod["metadata"]["name"], at, memory, {c.name: c.cpu() for c in running})

    # --- for tests and the demo ---

    def on_request(self, hook: Hook) -> Callable[[], None]:
        """Call `hook` before and after each request is applied; the returned function takes it away again."""
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook)

    def deny(self, verb: str, kind: Kind) -> None:
        """From now on we may not do this (get, list, patch, delete, create, ...)."""
        self._denied.add((verb, kind))

    def allow(self, verb: str, kind: Kind) -> None:
        """We may do this again."""
        self._denied.discard((verb, kind))

    def create(self, manifest: Obj, manager: str = "kubectl-create") -> Obj:
        """Create an object as somebody else; its namespace is created when it is missing."""
        with self._lock:
            self.catch_up()
            return self._simulation.create(manifest, manager)

    def edit(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Sequence[dict[str, Any]],
        manager: str = "kubectl-edit",
    ) -> Obj:
        """Change an object as somebody else."""
        with self._lock:
            self.catch_up()
            edited: Obj = clone(self._store.patch(make_key(kind, namespace, name), patch, manager))
            return edited

    def scale(self, kind: Kind, namespace: str, name: str, replicas: int, manager: str = "kubectl") -> None:
        """Scale as somebody else, through the subresource: as kubectl scale and the autoscalers do."""
        with self._lock:
            self.catch_up()
            patch = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
            self._store.patch(make_key(kind, namespace, name), patch, manager, subresource="scale")

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object as somebody else, with all that it owns; pods end gracefully."""
        with self._lock:
            self.catch_up()
            self._simulation.delete(make_key(kind, namespace, name))

    def recreate(self, kind: Kind, namespace: str, name: str) -> Obj:
        """Delete an object and create a namesake with the same spec and another uid."""
        with self._lock:
            old = self.peek(kind, namespace, name)
            if old is None:
                raise ObjectMissing("not found", where=f"{namespace}/{kind}/{name}")
            self.delete(kind, namespace, name)
            kept = ("name", "namespace", "labels", "annotations")
            metadata = {k: v for k, v in old["metadata"].items() if k in kept}
            rest = {k: v for k, v in old.items() if k not in {"metadata", "status"}}
            return self.create({**rest, "metadata": metadata})

    def peek(self, kind: Kind, namespace: str, name: str) -> Obj | None:
        """The object now, without counting as a request; None when there is none."""
        with self._lock:
            self.catch_up()
            found = self._store.find(make_key(kind, namespace, name))
            return None if found is None else clone(found)

    def add_node(self, name: str) -> None:
        """Add a ready node."""
        self.create(node(name, seconds_of(self._clock.now().isoformat())), "kubelet")


def _said_in_status(patch: Sequence[dict[str, Any]]) -> str:
    """The mark in the message of a condition that a patch sets: a status has no annotations."""
    found = [op.get("value") for op in patch if str(op.get("path", "")).startswith("/status/conditions/")]
    said = [str(value.get("message", "")) for value in found if isinstance(value, dict)]
    return next((text.partition(f"{MARKER}=")[2] for text in said if f"{MARKER}=" in text), "")
