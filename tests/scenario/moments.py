"""Moments: something happens in the middle of a look, between two of its requests or between its intent and its write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from app.domain.events import EventKind
from app.store import audit
from tests.scenario.rig import Rig

Doing = Callable[[], Awaitable[Any]]


def during(rig: Rig, method: str, do: Doing, *, when: Callable[[], bool] = lambda: True) -> list[str]:
    """Do it once, before the next request of this kind to the cluster is answered. What is returned shows whether it was."""
    whole, done = getattr(rig.cluster, method), list[str]()

    async def answer(*arguments: Any, **options: Any) -> Any:
        if not done and when():
            done.append(method)
            await do()
        return await whole(*arguments, **options)

    vars(rig.cluster)[method] = answer
    return done


class Watched:
    """The store, in which something is done once right after the commit of the first record of a kind."""

    def __init__(self, store: Any, kind: EventKind, do: Doing) -> None:
        self._store, self._kind, self._do = store, kind, do
        self.done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, fn: Callable[..., Any]) -> Any:
        """A write, and what follows it."""
        result = await self._store.write(fn)
        if not self.done:
            records = await self._store.read(lambda conn: audit.page(conn, 0, 100_000))
            if any(record.kind is self._kind for record in records):
                self.done = True
                await self._do()
        return result


def after_the_first(rig: Rig, kind: EventKind, do: Doing) -> Watched:
    """Do it right after the commit that holds the first record of this kind."""
    store = Watched(rig.services.store, kind, do)
    object.__setattr__(rig.services, "store", store)
    return store
