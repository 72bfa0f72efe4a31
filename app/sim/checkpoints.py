"""LangGraph's checkpoints of a simulated PostgreSQL server: which go, which stay, and what they refer to.

Implements the port `app.domain.checkpoints` for demo, rehearsal and tests; the contract tests hold it to what a real server does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import Field

from app.domain.checkpoints import (
    DELTA,
    UNKNOWN_SCHEMA,
    VERSIONS,
    Amount,
    Key,
    Page,
    Survey,
    Tally,
    cutoff,
    id_at,
)
from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress
from app.domain.errors import OutcomeUnclear, ProbeUnavailable
from app.sim.reaching import Reached, Reaching
from app.sim.units import Seconds, Strict

PAGE = 20
"""Checkpoints of one page."""
_STEADY = "context"
"""A channel whose value is written once: every checkpoint of its thread refers to the same blob."""


class Threads(Strict):
    """Threads of one kind. The newest checkpoint of each is `newest` old, and the one before it `every` older; `odd` ids are no UUIDs
    of version 6."""

    count: int = Field(default=1, ge=1)
    checkpoints: int = Field(default=10, ge=1)
    newest: Seconds = 0.0
    every: Seconds = 86_400.0
    namespace: str = ""
    format: int = 4
    delta: bool = False
    odd: bool = False
    bytes: int = Field(default=1_000, ge=0)


class LangGraph(Strict):
    """The tables of a database; `version` is the number of the last migration, `deletes`: the login may delete from them."""

    version: int = 9
    deletes: bool = True
    threads: tuple[Threads, ...] = ()


Blob = tuple[str, str, str, str]
"""Thread, namespace, channel, version."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One row; `blobs` are those that it refers to."""

    key: Key
    parent: str
    at: datetime
    kind: Threads
    blobs: frozenset[Blob]


class Tables:
    """The rows, made at the start of the scenario."""

    def __init__(self, spec: LangGraph, start: datetime) -> None:
        self.spec = spec
        self.planned: datetime | None = None
        self.rows = {row.key: row for row in _made(spec, start)}
        self.blobs = {blob: row.kind.bytes for row in self.rows.values() for blob in row.blobs}
        self.writes = {row.key: row.kind.bytes for row in self.rows.values()}

    def page(self, before: datetime, after: Key, size: int) -> tuple[list[Checkpoint], list[Checkpoint]]:
        """The rows of a page, and those of them that go."""
        keys = sorted(key for key in self.rows if key > after)[:size]
        page = [self.rows[key] for key in keys]
        return page, [row for row in page if self._goes(row, before)]

    def remove(self, going: Sequence[Checkpoint]) -> Tally:
        """They are gone, with what only they refer to."""
        for row in going:
            del self.rows[row.key]
        kept = {blob for row in self.rows.values() for blob in row.blobs}
        blobs = {blob for row in going for blob in row.blobs if blob in self.blobs} - kept
        return Tally(
            _amount(row.kind.bytes for row in going),
            _amount(self.blobs.pop(blob) for blob in blobs),
            _amount(self.writes.pop(row.key) for row in going if row.key in self.writes),
        )

    def copy(self) -> Tables:
        """To count what would go."""
        other = copy(self)
        other.rows, other.blobs, other.writes = {**self.rows}, {**self.blobs}, {**self.writes}
        return other

    def passed(self, row: Checkpoint, before: datetime) -> bool:
        """It is old, and its thread has gone on in its namespace."""
        until = self.planned or datetime.max.replace(tzinfo=UTC)
        mine = [key for key, one in self.rows.items() if key[:2] == row.key[:2] and one.at < until]
        newest = max(mine, default=Key())
        return not row.kind.odd and row.at < before and row.key < newest

    def _goes(self, row: Checkpoint, before: datetime) -> bool:
        mine = [x for x in self.rows.values() if x.key.thread == row.key.thread]
        children = [x for x in mine if (x.key.namespace, x.parent) == (row.key.namespace, row.key.id)]
        needed = any(x.kind.format < DELTA and not self.passed(x, before) for x in children)
        return self.passed(row, before) and not needed and not any(x.kind.delta for x in mine)


def _made(spec: LangGraph, start: datetime) -> Iterator[Checkpoint]:
    for number, kind in enumerate(spec.threads):
        for thread in range(kind.count):
            name, parent = f"thread-{number}-{thread}", ""
            for back in reversed(range(kind.checkpoints)):
                at = start - timedelta(seconds=kind.newest + back * kind.every)
                id_ = id_at(at)[:-12] + f"{number:04x}{thread:04x}{back:04x}"
                id_ = f"odd-{id_}" if kind.odd else id_
                own, steady = str(kind.checkpoints - back), "1"
                blobs = {(name, kind.namespace, "messages", own), (name, kind.namespace, _STEADY, steady)}
                yield Checkpoint(Key(name, kind.namespace, id_), parent, at, kind, frozenset(blobs))
                parent = id_


def _amount(sizes: Iterable[int]) -> Amount:
    values = list(sizes)
    return Amount(len(values), sum(values))


class SimCheckpoints:
    """The port, for the servers of a scenario. `gone` hears of each checkpoint that is removed."""

    def __init__(
        self,
        start: datetime,
        spec: Callable[[str], LangGraph | None],
        reach: Reaching,
        gone: Callable[[DatabaseAddress, str], None],
    ) -> None:
        self._start, self._spec = start, spec
        self._reach, self._gone = reach, gone
        self._tables: dict[str, Tables] = {}

    def _of(self, seen: Reached, at: DatabaseAddress) -> Tables:
        """Those of a server. Raises ProbeUnavailable (`unknown_schema`)."""
        spec = self._spec(seen.app)
        if spec is None or spec.version not in VERSIONS:
            found = "no table checkpoints" if spec is None else f"migration {spec.version}"
            text = f"the schema is not known: expected are LangGraph's tables at migration {VERSIONS[0]} to {VERSIONS[-1]}; found: {found}"
            raise ProbeUnavailable(text, code=UNKNOWN_SCHEMA, where=str(at))
        return self._tables.setdefault(seen.app, Tables(spec, self._start))

    async def denied(self, cluster: Cluster, at: DatabaseAddress) -> Sequence[str]:
        """See the port."""

        def act(seen: Reached) -> list[str]:
            tables = self._of(seen, at)
            return [] if tables.spec.deletes else ["checkpoint_blobs", "checkpoint_writes", "checkpoints"]

        return await self._reach((cluster, at), "sql", act)

    async def survey(
        self, cluster: Cluster, at: DatabaseAddress, before: datetime | int, planned: datetime | None = None
    ) -> Survey:
        """See the port. The server's clock is the world's."""

        def act(seen: Reached) -> Survey:
            tables = self._of(seen, at).copy()
            tables.planned = planned
            old = cutoff(seen.now, before)
            rows = list(tables.rows.values())
            delta = {row.key.thread for row in rows if row.kind.delta}
            kept = sum(tables.passed(row, old) for row in rows if row.key.thread in delta)
            _, going = tables.page(old, Key(), len(rows))
            sizes = {
                "checkpoints": sum(row.kind.bytes for row in rows),
                "checkpoint_blobs": sum(tables.blobs.values()),
                "checkpoint_writes": sum(tables.writes.values()),
            }
            odd = sum(row.kind.odd for row in rows)
            counted = Page(tables.remove(going), len(rows), None, kept, odd)
            return Survey(old, tables.spec.version, len(rows), counted, sizes, seen.now)

        return await self._reach((cluster, at), "sql", act)

    async def remove(
        self,
        cluster: Cluster,
        at: DatabaseAddress,
        before: datetime,
        after: Key,
        ask: Callable[[], Awaitable[None]],
    ) -> Page:
        """See the port."""

        def act(seen: Reached) -> Page:
            tables = self._of(seen, at)
            page, going = tables.page(before, after, PAGE)
            last = page[-1].key if len(page) == PAGE else None
            delta = {row.key.thread for row in tables.rows.values() if row.kind.delta}
            kept = sum(tables.passed(row, before) for row in page if row.key.thread in delta)
            tally = tables.remove(going)
            for _ in going:
                self._gone(at, before.isoformat())
            return Page(tally, len(page), last, kept, sum(row.kind.odd for row in page))

        try:
            return await self._reach((cluster, at), "remove", act, ask)
        except OutcomeUnclear as error:
            text = f"nothing of this page is known to be removed: {error.message}"
            raise ProbeUnavailable(text, code="query_failed", where=str(at)) from error
