"""View: one look at a cluster, in which each object and list is asked for once.

Made by the flow for one diagnosis, or for one second look, and thrown away with it: what was read is true for that look
and for nothing after it. Reads that are under way are shared. Never writes; a write that follows a look is bound to the
resourceVersion seen, so that the server refuses it when the look has become old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any

from app.domain.cluster import Cluster, LogQuery, PodUsage
from app.domain.errors import ClusterThrottled, ClusterUnavailable, RemediatorError
from app.domain.json import Obj
from app.domain.target import Kind


class View:
    """The reading side of a `Cluster`. What is given out is shared: nobody may change a manifest."""

    def __init__(self, cluster: Cluster) -> None:
        self.name = cluster.name
        self._cluster = cluster
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}
        self.transient_errors: list[str] = []
        """Reads that failed in this look and may well work in the next: throttled, unreachable. Not what was refused."""

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
        try:
            return await self._cluster.logs(query)
        except (ClusterThrottled, ClusterUnavailable) as error:
            self.transient_errors.append(str(error))
            raise

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
        return await self._cluster.can_i(verb, kind, namespace, subresource, name)

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        """See the port: a question, which changes nothing."""
        return await self._cluster.dry_run_pod(namespace, pod)

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
        if isinstance(error, ClusterThrottled | ClusterUnavailable):
            self.transient_errors.append(str(error))
