"""A cluster port of a few lines that keeps manifests, checks resourceVersions, and fails on demand.

For the tests of what must happen between a write and its answer; the simulated cluster of the service has controllers,
which would move the objects meanwhile.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from app.domain.cluster import LogQuery, PodUsage
from app.domain.errors import AccessDenied, ObjectChanged, ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind

Hook = Callable[[], object]


class FakeCluster:
    """`before` and `after` hold hooks for the next writes, first come first served; a hook may raise."""

    name = "fake"

    def __init__(self, *manifests: Obj) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.on_get: list[Hook] = []
        self.writes: list[tuple[str, bool]] = []
        self.gets: list[tuple[str, str]] = []
        self.denied: set[tuple[str, Kind]] = set()
        self.on_dry_run: list[Hook] = []
        self.dry_runs: list[Obj] = []
        for manifest in manifests:
            self.put(manifest)

    def put(self, manifest: Obj) -> None:
        meta = manifest["metadata"]
        self.objects[manifest["kind"], meta.get("namespace", ""), meta["name"]] = copy.deepcopy(manifest)

    def of(self, kind: Kind, name: str, namespace: str = "rag7") -> Obj:
        return self.objects[kind.value, namespace, name]

    def edit(self, kind: Kind, name: str, *, spec: bool = True) -> Obj:
        """The live object for somebody else's change: with a new resourceVersion, and generation if in its spec."""
        found = self.of(kind, name)
        _bump(found, spec=spec)
        return found

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        self.gets.append((kind.value, name))
        self._allow("get", kind)
        _next(self.on_get)
        try:
            return copy.deepcopy(self.objects[kind.value, namespace, name])
        except KeyError:
            raise ObjectMissing("not found", where=f"{namespace}/{kind}/{name}") from None

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        self._allow("list", kind)
        wanted = dict(pair.split("=") for pair in selector.split(",") if "=" in pair)
        return [
            copy.deepcopy(m)
            for (k, ns, _), m in self.objects.items()
            if (k, ns) == (kind.value, namespace)
            and wanted.items() <= (m["metadata"].get("labels") or {}).items()
        ]

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        _next(self.before)
        stored = await self.get(kind, namespace, name)
        result = copy.deepcopy(stored)
        for op in patch:
            _apply(result, op, stored["metadata"]["resourceVersion"])
        self.writes.append(("patch", dry_run))
        if not dry_run:
            _bump(result, spec=result["spec"] != stored["spec"])
            self.put(result)
        _next(self.after)
        return result

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        return await self.patch(kind, namespace, name, patch, dry_run=dry_run)

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        raise NotImplementedError

    async def delete_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        await self._remove("delete", namespace, name, uid, dry_run=dry_run)

    async def evict_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        await self._remove("evict", namespace, name, uid, dry_run=dry_run)

    async def _remove(self, verb: str, namespace: str, name: str, uid: str, *, dry_run: bool) -> None:
        _next(self.before)
        found = await self.get(Kind.POD, namespace, name)
        if found["metadata"]["uid"] != uid:
            raise ObjectChanged("uid in precondition")
        self.writes.append((verb, dry_run))
        if not dry_run:
            del self.objects["Pod", namespace, name]
        _next(self.after)

    async def create_event(self, event: Obj) -> None:
        raise NotImplementedError

    async def logs(self, query: LogQuery) -> str:
        raise NotImplementedError

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        raise NotImplementedError

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        del namespace, subresource, name
        return (verb, kind) not in self.denied

    async def create_job(self, namespace: str, job: Obj, *, dry_run: bool = False) -> Obj:
        self._allow("create", Kind.JOB)
        stored = {
            **job,
            "metadata": {**job["metadata"], "namespace": namespace, "uid": job["metadata"]["name"]},
        }
        if dry_run:
            self.dry_runs.append(copy.deepcopy(stored))
            return stored
        _next(self.before)
        if ("Job", namespace, job["metadata"]["name"]) in self.objects:
            raise ObjectChanged("already exists", code="already_exists")
        self.put(stored)
        self.writes.append(("create", dry_run))
        _next(self.after)
        return stored

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        self.dry_runs.append(copy.deepcopy(pod))
        _next(self.on_dry_run)
        return {**pod, "metadata": {**pod["metadata"], "namespace": namespace}}

    def _allow(self, verb: str, kind: Kind) -> None:
        if (verb, kind) in self.denied:
            raise AccessDenied(f"may not {verb} {kind}")


def raising(error: BaseException) -> Hook:
    """A hook that fails."""

    def hook() -> None:
        raise error

    return hook


def _next(hooks: list[Hook]) -> None:
    if hooks:
        hooks.pop(0)()


def _bump(manifest: Obj, *, spec: bool) -> None:
    meta = manifest["metadata"]
    meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
    if spec and "generation" in meta:
        meta["generation"] += 1


def _apply(manifest: Obj, op: dict[str, Any], version: str) -> None:
    if op["path"] == "/metadata/resourceVersion":
        if op["value"] != version:
            raise ObjectChanged("resourceVersion")
        return
    steps = [s.replace("~1", "/").replace("~0", "~") for s in op["path"][1:].split("/")]
    node: Any = manifest
    for step in steps[:-1]:
        node = node[int(step)] if isinstance(node, list) else node[step]
    match op["op"]:
        case "remove":
            del node[steps[-1]]
        case "replace":
            assert steps[-1] in node
            node[steps[-1]] = copy.deepcopy(op["value"])
        case _:
            node[steps[-1]] = copy.deepcopy(op["value"])
