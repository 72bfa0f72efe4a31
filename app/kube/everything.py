"""All kinds of objects that a namespace may hold, by the API server's own discovery, and their objects page by page.

Used by the backup of a configuration and by its restore, which run with rights of their own and never inside of the service. Works on the raw
requests of `app.kube.client`. Raises the port's errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app.domain.errors import ClusterRefused, TryLater
from app.domain.json import Obj
from app.kube.paths import Resource
from app.kube.wire import How

PAGE: Final = 25
"""Objects of one page: with it the memory is bounded, whatever a namespace holds. An object has 1.5 MiB at most."""


class Raw(Protocol):
    """The requests that need no kind known beforehand."""

    async def read(
        self, resource: Resource, namespace: str, name: str, query: Sequence[tuple[str, str]]
    ) -> Obj:
        """GET of a collection (empty name) or of an object."""
        ...

    async def document(self, path: str) -> Obj:
        """GET of a path of discovery."""
        ...

    async def put_as(
        self, at: tuple[Resource, str], body: Obj, how: How = How.APPLIED, *, manager: str, dry_run: bool
    ) -> Obj:
        """One object into a namespace. Raises ObjectInvalid with the code `not_appliable` for what server-side apply cannot express, such as a
        variable that stands twice, and what the API server takes all the same."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """One kind that the API server serves in namespaces, in the version that comes first of those that have it."""

    resource: Resource
    kind: str

    @property
    def name(self) -> str:
        """`deployments.apps`."""
        return self.resource.full_name


async def served(cluster: Raw) -> tuple[list[Served], list[str]]:
    """The kinds that can be listed and created in a namespace, and the groups of which a version did not answer. A group may serve a kind in a
    version alone that is not its preferred one: all that it serves are asked."""
    found, silent = await _of_group(cluster, "", "v1"), list[str]()
    groups = await cluster.document("/apis")
    for group in groups.get("groups") or ():
        name, of_group = str(group.get("name", "")), dict[str, Served]()
        for version in _versions(group):
            try:
                kinds = await _of_group(cluster, name, version)
            except (ClusterRefused, TryLater):
                silent += [name] * (name not in silent)
                continue
            of_group = {**{kind.resource.plural: kind for kind in kinds}, **of_group}
        found += of_group.values()
    return found, silent


def _versions(group: Obj) -> list[str]:
    """Its versions, the preferred one first and then in the API server's order."""
    told = (group.get("preferredVersion"), *(group.get("versions") or ()))
    return list(dict.fromkeys(version for one in told if one and (version := str(one.get("version", "")))))


async def _of_group(cluster: Raw, group: str, version: str) -> list[Served]:
    return [
        Served(Resource(group, version, one["name"]), one["kind"])
        for one in await _namespaced(cluster, Resource(group, version, ""))
        if {"list", "create"} <= set(one.get("verbs") or ())
    ]


async def kinds_of(cluster: Raw, group: str, version: str) -> Mapping[str, str]:
    """Kind by plural of all that this version of a group has in namespaces. Raises the port's errors."""
    found = await _namespaced(cluster, Resource(group, version, ""))
    return {str(one["name"]): str(one["kind"]) for one in found}


async def _namespaced(cluster: Raw, of: Resource) -> list[Obj]:
    listed: Any = (await cluster.document(of.root)).get("resources") or ()
    return [one for one in listed if one.get("namespaced") and "/" not in one["name"]]


async def pages(cluster: Raw, kind: Served, namespace: str) -> AsyncIterator[list[Obj]]:
    """The objects of a kind, with apiVersion and kind. A list that expires on its way raises (ClusterRefused, HTTP 410): the whole is
    begun anew then."""
    token = ""
    while True:
        query = [("limit", str(PAGE)), *([("continue", token)] if token else [])]
        page = await cluster.read(kind.resource, namespace, "", query)
        head = {"apiVersion": kind.resource.api_version, "kind": kind.kind}
        yield [{**item, **head} for item in page.get("items") or ()]
        token = (page.get("metadata") or {}).get("continue", "")
        if not token:
            return
