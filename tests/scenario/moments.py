"""Moments: something happens in the middle of a look, between two of its requests or between its intent and its write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection

from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.sim.faults import Fault, FaultKind, Faults, Request
from app.store import audit, runs
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
    """The store, in which something is done once, right after the first commit by which `happened` is true of it."""

    def __init__(self, store: Any, happened: Callable[[Connection], bool], do: Doing) -> None:
        self._store, self._happened, self._do = store, happened, do
        self.done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, fn: Callable[..., Any]) -> Any:
        """A write, and what follows it."""
        result = await self._store.write(fn)
        if not self.done and await self._store.read(self._happened):
            self.done = True
            await self._do()
        return result


def _watch(rig: Rig, happened: Callable[[Connection], bool], do: Doing) -> Watched:
    store = Watched(rig.services.store, happened, do)
    object.__setattr__(rig.services, "store", store)
    return store


def after_the_first(rig: Rig, kind: EventKind, do: Doing) -> Watched:
    """Do it right after the commit that holds the first record of this kind."""
    return _watch(rig, lambda conn: any(r.kind is kind for r in audit.page(conn, 0, 100_000)), do)


class Blind(Faults):
    """While `on`, nothing can be read from the API server."""

    on = False

    def take(self, request: Request) -> Fault | None:
        """The fault that hits this request."""
        if self.on and not request.writes and not request.dry_run:
            return Fault(FaultKind.UNREACHABLE)
        return super().take(request)


def blind_from(rig: Rig, state: RunState) -> Blind:
    """Nothing can be read from the moment on at which a run comes into this state, until `on` is set to False."""
    blind = Blind()
    rig.cluster.faults = blind

    async def begin() -> None:
        blind.on = True

    _watch(rig, lambda conn: any(run.state is state for run in runs.page(conn, None, 10)), begin)
    return blind
