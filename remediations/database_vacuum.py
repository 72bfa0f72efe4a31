"""Vacuum a database: VACUUM (ANALYZE) of its tables one by one, with what they hold and how full of dead rows they are told first.

Implements that part of the runbook's section Database Maintenance. Called by the flow. Nothing is begun while somebody holds a
transaction open for so long that it would free nothing, and a table that is vacuumed already is left to whoever does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from app.database.vacuuming import Vacuuming, held_against
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Remediation, Scene
from app.domain.tables import Look, Table, TableId
from remediations.database_params import WHERE, DatabaseParams
from remediations.evidence.pods import pods_state
from remediations.evidence.usage import count, memory, percent, span
from remediations.shared import Seconds, act, nothing, refuse

VACUUM = "vacuum"
TABLES = "database.tables"
"""The finding; its data: `code`, empty or why nobody could look, and then `since`, `held`, `wanted` and
`stands`: there are tables that it may vacuum, and none has to be."""
_SHOWN = 8
_MAX_LONGEST = 24 * 86_400
"""Seconds: the server's own limit of a statement is a number of milliseconds below 2^31, and 0 would be no limit at all."""


class DatabaseVacuumParams(DatabaseParams):
    """`dead`: share of dead rows from which on a table is vacuumed; all of them unless told. At most `most` tables, those with the
    most dead rows first. `longest`: how long the vacuum of one table may take. `held`: nothing is begun while somebody has held
    a transaction open for longer."""

    dead: float | None = Field(
        default=None, ge=0, le=1, description="Only tables with at least this share of dead rows, e.g. 0.2."
    )
    most: int = Field(default=200, ge=1, le=500, description="At most so many tables.")
    longest: Seconds = Field(
        default=7_200, ge=1, le=_MAX_LONGEST, description="Seconds that the vacuum of one table may take."
    )
    held: Seconds = Field(
        default=600, description="Begin nothing while a transaction has been open for longer, in seconds."
    )


class DatabaseVacuum(Remediation[DatabaseVacuumParams]):
    """The handler."""

    name = "database-vacuum"
    runbook = "Database Maintenance"
    steps: tuple[str, ...] = (VACUUM,)
    params: type[DatabaseVacuumParams] = DatabaseVacuumParams
    actions: frozenset[ActionKind] = frozenset({ActionKind.VACUUM})
    secret_params: tuple[str, ...] = ("secret",)
    fixed_params: frozenset[str] = WHERE
    procedure = Procedure(
        Consent.ORDER, settle=timedelta(seconds=30), timeout=timedelta(minutes=10), poll=timedelta(seconds=15)
    )

    async def diagnose(self, scene: Scene, params: DatabaseVacuumParams) -> Diagnosis:
        """Sizes, dead rows, ages, vacuums that run, and who holds the horizon; the server's pods."""
        tables, pods = await asyncio.gather(
            _look(scene, params), pods_state(scene.cluster, scene.workload, scene.fired_at)
        )
        return Diagnosis(tables.text, (tables, pods))

    async def ladder(
        self, scene: Scene, params: DatabaseVacuumParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """Vacuum them, or say why not."""
        found = diagnosis.finding(TABLES)
        if found is None or found.data["code"]:
            return (refuse(VACUUM, found.text if found else "nobody looked at the tables"),)
        if held := str(found.data["held"]):
            advice = "end that transaction, for example by the remediation database-connections, and order it again"
            return (refuse(VACUUM, held, advice),)
        wanted: Any = found.data["wanted"]
        if not wanted:
            return ((nothing if found.data["stands"] else refuse)(VACUUM, found.text),)
        at = params.address(scene.workload.target.namespace)
        job = Vacuuming(
            at,
            tuple(TableId.from_json(one) for one in wanted),
            datetime.fromisoformat(str(found.data["since"])),
            timedelta(seconds=params.longest),
            timedelta(seconds=params.held),
        )
        summary = f"VACUUM (ANALYZE) {count(len(wanted), 'table')} at {at}, one after the other"
        return (act(VACUUM, found.text, job.action(scene.workload.ref, scene.workload.target, summary)),)


async def _look(scene: Scene, params: DatabaseVacuumParams) -> Finding:
    at = params.address(scene.workload.target.namespace)
    if scene.databases is None:
        text = f"{at} was not looked at: no database can be asked"
        return Finding(TABLES, text, Certainty.UNKNOWN, {"code": "no_login"})
    try:
        seen = await scene.databases.tables.look(scene.cluster, at)
    except ProbeUnavailable as error:
        text = f"{at} could not be looked at, which says nothing of it: {error.message}"
        return Finding(TABLES, text, Certainty.UNKNOWN, {"code": error.code})
    return _found(at, seen, params)


def _found(at: DatabaseAddress, seen: Look, params: DatabaseVacuumParams) -> Finding:
    dead, live = sum(t.dead for t in seen.tables), sum(t.live for t in seen.tables)
    size = f"holds {memory(seen.size)}" if seen.size is not None else "has a size that may not be read"
    share = percent(dead / (dead + live)) if dead + live else "0 %"
    text = f"{at} {size} in {count(len(seen.tables), 'table')}; {dead:,} of {dead + live:,} rows are dead ({share})"
    held = held_against(seen, timedelta(seconds=params.held))
    wanted, why_none = _wanted(seen, params)
    details = [*(_line(seen, t) for t in seen.tables[:_SHOWN]), *_running(seen)]
    if not held and seen.holder is not None:
        since = seen.held_for()
        details.append(
            f"the oldest transaction is that of {seen.holder.who}"
            + (f", open for {span(since.total_seconds())}" if since is not None else "")
        )
    if denied := [str(t.id) for t in seen.tables if not t.allowed]:
        details.append(f"left out, as the login may not vacuum them: {', '.join(denied[:_SHOWN])}")
    data: dict[str, JsonValue] = {
        "code": "",
        "since": seen.now.isoformat(),
        "held": held,
        "wanted": [t.to_json() for t in wanted],
        "stands": any(t.allowed for t in seen.tables),
    }
    against = held or why_none
    return Finding(TABLES, f"{text}; {against}" if against else text, data=data, details=tuple(details))


def _wanted(seen: Look, params: DatabaseVacuumParams) -> tuple[list[TableId], str]:
    """The tables to vacuum, the most dead rows first, or why there are none."""
    allowed = [t for t in seen.tables if t.allowed]
    full = [t for t in allowed if t.dead_share >= (params.dead or 0.0)]
    free = [t for t in full if seen.vacuum_of(t.id) is None]
    chosen = sorted(free, key=lambda t: (-t.dead, -t.size, t.id.oid))[: params.most]
    if chosen:
        return [t.id for t in chosen], ""
    if full:
        return [], "each of them is vacuumed just now"
    if allowed:
        return [], f"none has {percent(params.dead or 0.0)} dead rows or more"
    return [], "the login may vacuum none of them" if seen.tables else "there is none"


def _line(seen: Look, table: Table) -> str:
    last, done = table.last, "analyzed" if table.parent else "vacuumed"
    ago = f"last {done} {span((seen.now - last).total_seconds())} ago" if last else f"never {done}"
    if table.parent:
        return f"{table.id}: parent of partitions, {ago}"
    by = " by the server" if last is not None and last == table.by_itself else ""
    age = f"{percent(table.age / seen.freeze)} of the way to a forced vacuum" if seen.freeze else ""
    rows = f"{table.dead:,} of {table.live + table.dead:,} rows dead ({percent(table.dead_share)})"
    return f"{table.id}: {memory(table.size)}, {rows}, {ago}{by}, {age}"


def _running(seen: Look) -> Iterator[str]:
    names = {t.id.oid: str(t.id) for t in seen.tables}
    for vacuum in seen.vacuums:
        table = names.get(vacuum.oid, "a table that the login may not see")
        yield f"{table} is vacuumed just now by {vacuum.user} (pid {vacuum.pid}, {vacuum.phase or 'phase not told'})"
