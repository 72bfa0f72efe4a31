"""Guarded: a cluster whose writes ask first, each right before its request goes out.

Made by `app.kube.actuator` for one write, which may send several requests when the object moves or an answer is lost. Reads, dry runs and
events pass. Never says what forbids a write: whoever made it does, by raising.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from app.domain.actuator import Ask
from app.domain.cluster import Cluster, LogQuery, PodUsage
from app.domain.json import Obj
from app.domain.target import Kind

MAX_AGE = 5.0
"""Seconds after which the word that nothing holds a write is too old to send it: the process was stopped meanwhile, or starved."""
Moment = tuple[float, float]
_ASKED: ContextVar[Moment | None] = ContextVar("asked", default=None)


def _now() -> Moment:
    """By both clocks: the first does not count the time for which a machine was suspended, the second may be set back."""
    return asyncio.get_running_loop().time(), time.time()


def looked() -> Moment:
    """Said right before what holds a write is looked at: that word is as old as this, however long its answer took."""
    now = _now()
    if _ASKED.get() is not None:
        _ASKED.set(now)
    return now


def older(since: Moment) -> bool:
    """Whether a look that began then is too old to write by it."""
    return max(now - then for now, then in zip(_now(), since, strict=True)) > MAX_AGE


def too_old() -> bool:
    """Whether a write that is about to go out was asked about too long ago; a door asks this in the last instant before it sends. What nobody
    asked about has no age."""
    asked = _ASKED.get()
    return asked is not None and older(asked)


class Guarded:
    """A `Cluster` that asks before each request that changes an object."""

    def __init__(self, cluster: Cluster, ask: Ask) -> None:
        self.name = cluster.name
        self._cluster = cluster
        self._ask = ask

    @asynccontextmanager
    async def _asked(self, *, dry_run: bool) -> AsyncIterator[None]:
        if dry_run:
            yield
            return
        token = _ASKED.set(_now())
        try:
            await self._ask()
            yield
        finally:
            _ASKED.reset(token)

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """See the port."""
        return await self._cluster.get(kind, namespace, name)

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        """See the port."""
        return await self._cluster.list_objects(kind, namespace, selector, fields)

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """See the port; asks first unless it is a dry run."""
        async with self._asked(dry_run=dry_run):
            return await self._cluster.patch(kind, namespace, name, patch, dry_run=dry_run)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """See the port; asks first unless it is a dry run."""
        async with self._asked(dry_run=dry_run):
            return await self._cluster.patch_status(kind, namespace, name, patch, dry_run=dry_run)

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """See the port; asks first unless it is a dry run."""
        async with self._asked(dry_run=dry_run):
            await self._cluster.delete_secret(namespace, name, uid, dry_run=dry_run)

    async def delete_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """See the port; asks first unless it is a dry run."""
        async with self._asked(dry_run=dry_run):
            await self._cluster.delete_pod(namespace, name, uid, dry_run=dry_run)

    async def evict_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """See the port; asks first unless it is a dry run."""
        async with self._asked(dry_run=dry_run):
            await self._cluster.evict_pod(namespace, name, uid, dry_run=dry_run)

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        """See the port; nothing is stored."""
        return await self._cluster.dry_run_pod(namespace, pod)

    async def create_job(self, namespace: str, job: Obj, *, dry_run: bool = False) -> Obj:
        """See the port; asks first unless it is a dry run."""
        async with self._asked(dry_run=dry_run):
            return await self._cluster.create_job(namespace, job, dry_run=dry_run)

    async def create_event(self, event: Obj) -> None:
        """See the port."""
        await self._cluster.create_event(event)

    async def logs(self, query: LogQuery) -> str:
        """See the port."""
        return await self._cluster.logs(query)

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        """See the port."""
        return await self._cluster.pod_usage(namespace, selector)

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        """See the port."""
        return await self._cluster.can_i(verb, kind, namespace, subresource, name)
