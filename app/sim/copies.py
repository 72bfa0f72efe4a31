"""The databases of a simulated server as wholes: the one of the scenario, copies that Jobs have restored, and their new names.

Implements the port `app.domain.copies` for demo, rehearsal and tests. A copy is there once the Job whose order names it is complete.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.domain.cluster import Cluster
from app.domain.copies import IN_USE, RESTORE, Found, Server
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.reaching import Reached, Reaching
from app.sim.world import World

_SIZE = 52 * 1024**2


@dataclass(slots=True)
class _State:
    """A server's databases by name, and the copies that have come from Jobs so far."""

    databases: dict[str, Found]
    seen: set[str] = field(default_factory=set)


class SimCopies:
    """The port. `database` gives a server's database, with an empty name when it has none; `renamed` hears of each transaction."""

    def __init__(
        self,
        world: World,
        database: Callable[[str], Found],
        reach: Reaching,
        renamed: Callable[[DatabaseAddress, str], None],
    ) -> None:
        self._world, self._database = world, database
        self._reach, self._renamed = reach, renamed
        self._states: dict[str, _State] = {}

    async def look(self, cluster: Cluster, at: DatabaseAddress, entry: str) -> Server:
        """See the port."""

        def act(seen: Reached) -> Server:
            state = self._state(seen)
            live = at.database or self._database(seen.app).name
            clients = Counter(s.application or "no application name" for s in seen.sessions)
            found = tuple(
                replace(d, clients=dict(clients) if d.name == live else {}) for d in state.databases.values()
            )
            return Server("15.18 (simulated)", 15, live, superuser=False, may_create=True, databases=found)

        return await self._reach((cluster, replace(at, database=entry)), "sql", act)

    async def rename(
        self,
        to: tuple[Cluster, DatabaseAddress, str],
        names: Sequence[tuple[str, str]],
        closed: Sequence[str],
        ask: Callable[[], Awaitable[None]],
        number: int = 0,
    ) -> None:
        """See the port."""
        cluster, at, entry = to

        def act(seen: Reached) -> None:
            found = dict(self._state(seen).databases)
            first = found.get(names[0][0])
            if number and (first is None or first.id != number):
                raise ProbeUnavailable("it is another database by now", code="changed", where=str(at))
            for old, new in names:
                if way := old in found and found[old].in_the_way:
                    text = f"a database cannot get another name while in it is {'; '.join(way)}; nothing was renamed"
                    raise ProbeUnavailable(text, code=IN_USE, where=str(at))
                if old not in found or new in found:
                    raise ProbeUnavailable("the renaming failed", code="query_failed", where=str(at))
                found[new] = replace(found.pop(old), name=new, open=new not in closed)
            self._state(seen).databases = found
            self._renamed(at, names[-1][1])

        await self._reach((cluster, replace(at, database=entry)), "rename", act, ask)

    def drop(self, name: str) -> None:
        """A person drops this database."""
        for state in self._states.values():
            state.databases.pop(name, None)

    def _state(self, seen: Reached) -> _State:
        live = self._database(seen.app)
        first = {live.name: live} if live.name else {}
        state = self._states.setdefault(seen.app, _State(first))
        for copy, mark in self._restored():
            if copy not in state.seen:
                state.seen.add(copy)
                state.databases[copy] = Found(copy, _SIZE, mark, id=len(state.seen) + 1)
        return state

    def _restored(self) -> Iterator[tuple[str, str]]:
        """Names and marks of the copies that complete Jobs have made."""
        for job in self._world.store.all(Kind.JOB):
            conditions = job.get("status", {}).get("conditions", ())
            if not any(c["type"] == "Complete" and c["status"] == "True" for c in conditions):
                continue
            for order in _orders(job):
                if order.get("phase") == "restore":
                    yield str(order["copy"]), str(order["mark"])


def _orders(job: Obj) -> Iterator[dict[str, Any]]:
    for container in job["spec"]["template"]["spec"]["containers"]:
        for entry in container.get("env", ()):
            if entry["name"] == RESTORE:
                yield json.loads(entry["value"])
