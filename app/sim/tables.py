"""The tables of a simulated PostgreSQL server, and vacuums that take their virtual time.

Implements the port `app.domain.tables` for demo, rehearsal and tests; the contract tests hold it to what a real server does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress, Session
from app.domain.errors import OutcomeUnclear, ProbeUnavailable
from app.domain.tables import Holder, Look, Table, TableId, Vacuum
from app.sim.reaching import Reached, Reaching
from app.sim.units import Seconds, Strict

_FIRST_OID = 16_384
_FREEZE = 200_000_000
_BLOCK = 8_192
_SHORTEST = 0.001  # seconds


class TableSpec(Strict):
    """One table. `vacuumed` is how long before the start, `seconds` how long a vacuum takes, `fails` how it ends; `busy`: the
    server vacuums it by itself for so many seconds from the start on."""

    name: str
    rows: int = Field(default=1_000, ge=0)
    dead: int = Field(default=0, ge=0)
    bytes: int = Field(default=1_000_000, ge=0)
    age: int = Field(default=1_000, ge=0)
    vacuumed: Seconds | None = None
    seconds: Seconds = 0.0
    busy: Seconds = 0.0
    allowed: bool = True
    fails: str = ""


@dataclass(frozen=True, slots=True)
class _Running:
    """A vacuum of ours since `began`, and the name of its session."""

    table: TableId
    name: str
    began: datetime


class _State:
    """A server's tables, made at the start of the scenario."""

    def __init__(self, specs: Sequence[TableSpec], start: datetime) -> None:
        self.start = start
        self.specs = {spec.name: spec for spec in specs}
        self.tables = list(_made(specs, start))
        self.running: _Running | None = None
        self.faults: dict[str, str] = {}

    def begin(self, table: TableId, name: str, now: datetime) -> None:
        """Its vacuum runs from now on."""
        self.faults.pop(name, None)
        self.running = _Running(table, name, now)

    def catch_up(self, now: datetime) -> None:
        """What has ended by now has ended."""
        if (run := self.running) is not None:
            spec = self.specs[run.table.name]
            ended = run.began + timedelta(seconds=max(spec.seconds, _SHORTEST))
            if now > ended:
                self.running = None
                if spec.fails:
                    self.faults[run.name] = spec.fails
                else:
                    self._vacuumed(run.table, "vacuumed", ended)
        for spec in self.specs.values():
            ended = self.start + timedelta(seconds=spec.busy)
            if spec.busy and now > ended:
                oid = next(t.id for t in self.tables if t.id.name == spec.name)
                self._vacuumed(oid, "by_itself", ended)

    def _vacuumed(self, table: TableId, by: Literal["vacuumed", "by_itself"], at: datetime) -> None:
        clean: dict[str, Any] = {"dead": 0, "age": 0, by: at}
        self.tables = [replace(t, **clean) if t.id == table else t for t in self.tables]

    def vacuums(self, now: datetime) -> Iterator[Vacuum]:
        """Those that run."""
        for table in self.tables:
            spec, blocks = self.specs[table.id.name], table.size // _BLOCK
            if spec.busy and now <= self.start + timedelta(seconds=spec.busy):
                yield Vacuum(table.id.oid, 77, "autovacuum", "", "scanning heap", blocks // 2, blocks)
            if (run := self.running) is not None and run.table == table.id:
                share = (now - run.began).total_seconds() / max(spec.seconds, 1.0)
                scanned = min(blocks, int(blocks * share))
                yield Vacuum(table.id.oid, 78, "langgraph", run.name, "scanning heap", scanned, blocks)


def _made(specs: Sequence[TableSpec], start: datetime) -> Iterator[Table]:
    for number, spec in enumerate(specs):
        at = None if spec.vacuumed is None else start - timedelta(seconds=spec.vacuumed)
        oid = TableId(_FIRST_OID + number, "public", spec.name)
        yield Table(oid, spec.bytes, spec.rows, spec.dead, None, at, spec.age, spec.allowed)


class SimTables:
    """The port, for the servers of a scenario. `began` hears of each vacuum that begins."""

    def __init__(
        self,
        start: datetime,
        specs: Callable[[str], Sequence[TableSpec]],
        reach: Reaching,
        began: Callable[[DatabaseAddress, str], None],
    ) -> None:
        self._start, self._specs = start, specs
        self._reach, self._began = reach, began
        self._states: dict[str, _State] = {}

    async def look(self, cluster: Cluster, at: DatabaseAddress) -> Look:
        """See the port."""

        def act(seen: Reached) -> Look:
            state = self._state(seen)
            tables = sorted(state.tables, key=lambda t: (-t.size, t.id.oid))
            size = sum(t.size for t in tables)
            return Look(
                seen.now,
                seen.database,
                size,
                tuple(tables),
                tuple(state.vacuums(seen.now)),
                _holder(seen.sessions),
                _FREEZE,
            )

        return await self._reach((cluster, at), "sql", act)

    async def vacuum(
        self,
        to: tuple[Cluster, DatabaseAddress],
        table: TableId,
        name: str,
        longest: timedelta,  # noqa: ARG002 - simulated ones end in time
        ask: Callable[[], Awaitable[None]],
    ) -> None:
        """See the port."""

        def act(seen: Reached) -> None:
            self._state(seen).begin(table, name, seen.now)
            self._began(to[1], table.name)

        try:
            await self._reach(to, "vacuum", act, ask)
        except OutcomeUnclear as error:
            text = f"whether the vacuum began is not known: {error.message}"
            raise ProbeUnavailable(text, code="query_failed", where=str(to[1])) from error

    def fault(self, name: str) -> str:
        """See the port."""
        return next((text for s in self._states.values() if (text := s.faults.get(name))), "")

    def _state(self, seen: Reached) -> _State:
        state = self._states.setdefault(seen.app, _State(self._specs(seen.app), self._start))
        state.catch_up(seen.now)
        return state


def _holder(sessions: Sequence[Session]) -> Holder | None:
    holding = [s for s in sessions if s.transaction_since is not None]
    oldest = min(holding, key=lambda s: (s.transaction_since, s.pid), default=None)
    if oldest is None:
        return None
    return Holder(
        f"{oldest.application or 'no application name'} ({oldest.user}, pid {oldest.pid}, {oldest.state})",
        oldest.transaction_since,
    )
