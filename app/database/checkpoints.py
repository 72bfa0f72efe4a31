"""LangGraph's checkpoints in a real PostgreSQL: which schema it is, what is old, and its removal a page at a time.

Implements the port `app.domain.checkpoints`. Sends constant statements, each with limits for locks and time. Knows the tables as
LangGraph's PostgresSaver makes them and touches no others: where something is attached to them through which a removal would reach further, they
are refused. Never reads a value that a checkpoint holds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import psycopg

from app.database import checkpoint_queries as queries
from app.database.connect import FAULTS, TIMEOUT, Connection, Connections, failed, kind
from app.database.texts import row_of
from app.domain.checkpoints import UNKNOWN_SCHEMA, VERSIONS, Amount, Key, Page, Survey, Tally, cutoff, id_at
from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.odd_servers import Within
from app.domain.ports import Clock
from app.domain.redact import in_one_line

COUNTED, REMOVED = 2_000, 500
"""Checkpoints of one page: of a count, which only reads, and of a removal."""
_LONG: Final = 20
"""So many pages of one thread are too many: each reads all of it, so that a page of it is a bigger part."""
_MAX_PAGE: Final = 20_000
"""Checkpoints of the longest page of a removal."""
_LONGEST: Final = 200
"""Characters of what is attached to a table: the names are a stranger's."""
_COUNTING: Final = 10.0
"""Seconds after which a count begins no other page: it says how far it came."""
_COUNT: Final = 8_000
"""Milliseconds for one statement of a count: with the time before it has to fit into an investigation."""
_STATEMENT: Final = 20_000
"""Milliseconds for one statement of a removal."""
_LOCK: Final = 2_000
"""Milliseconds that a removal waits for a lock, so that nobody waits behind it for longer."""
_TRANSACTION: Final = _STATEMENT / 1000
"""Seconds for all statements of a page's removal, so that some pages fit into one look at a run."""


@dataclass(frozen=True, slots=True)
class PostgresCheckpoints:
    """See the port. `removed` is the size of a page."""

    clock: Clock
    connections: Connections
    removed: int = REMOVED

    async def denied(self, cluster: Cluster, at: DatabaseAddress) -> Sequence[str]:
        """See the port."""
        try:
            async with self.connections.look(cluster, at) as connection, Within(TIMEOUT, connection):
                await _known_version(connection, at)
                (denied,) = await _one(connection, queries.DENIED)
                return list(denied)
        except FAULTS as error:
            raise failed(at, error) from None

    async def survey(
        self, cluster: Cluster, at: DatabaseAddress, before: datetime | int, planned: datetime | None = None
    ) -> Survey:
        """See the port."""
        try:
            async with (
                self.connections.look(cluster, at, _COUNT) as connection,
                Within(_COUNTING + _COUNT / 1000, connection),
            ):
                version = await _known_version(connection, at)
                there, about, sizes = row_of(await _one(connection, queries.SERVER), datetime)
                here = self.clock.now()
                old = cutoff(min(there, here), before)
                counted = await self._count(connection, old, planned)
        except FAULTS as error:
            raise failed(at, error, _COUNT / 1000) from None
        return Survey(old, version, about, counted, sizes, min(there, here), there - here)

    async def _count(self, connection: Connection, before: datetime, planned: datetime | None) -> Page:
        began = self.clock.monotonic()
        counted = Page(Tally(), 0, Key())
        await _make_room(connection)
        while counted.last is not None and self.clock.monotonic() - began < _COUNTING:
            values = await _page(connection, before, counted.last, (COUNTED, None))
            values["planned"] = None if planned is None else id_at(planned)
            try:
                counted += _told(values, await _one(connection, queries.COUNT, values))
            except psycopg.errors.QueryCanceled as error:
                if not counted.looked:
                    text = f"the look failed: {kind(error, _COUNT / 1000)}{_long(values)}"
                    raise ProbeUnavailable(text, code="query_failed") from None
                break  # it says how far it came
        return counted

    async def remove(
        self,
        cluster: Cluster,
        at: DatabaseAddress,
        before: datetime,
        after: Key,
        ask: Callable[[], Awaitable[None]],
    ) -> Page:
        """See the port."""
        values: dict[str, Any] = {}
        async with self.connections.open(cluster, at, "clean-checkpoints") as connection:
            await ask()
            try:
                async with asyncio.timeout(_TRANSACTION):
                    return await self._remove(connection, at, (before, after), values)
            except FAULTS as error:
                text = f"nothing of this page is known to be removed: {_why(error)}"
                if isinstance(error, TimeoutError | psycopg.errors.QueryCanceled):
                    text += _long(values)
                raise ProbeUnavailable(text, code="query_failed", where=str(at)) from None

    async def _remove(
        self, connection: Connection, at: DatabaseAddress, which: tuple[datetime, Key], values: dict[str, Any]
    ) -> Page:
        """`which`: of a time before the first, after the second. `values` gets what names the page."""
        # One snapshot for all statements: what the application writes meanwhile is neither removed nor miscounted.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK}")
        await connection.execute(f"SET LOCAL statement_timeout = {_STATEMENT}")
        await _lock(connection, at)
        await _known_version(connection, at)
        await _make_room(connection)
        values |= await _page(connection, *which, (self.removed, _MAX_PAGE))
        kept = await _one(connection, queries.KEPT, values)
        page = _told(values, await _one(connection, queries.REMOVE, values))
        if (left := await _one(connection, queries.KEPT, values)) != kept:
            await connection.rollback()
            text = f"nothing of this page was removed: of {kept} kept checkpoints, values and writes {left} would be left"
            raise ProbeUnavailable(text, code="values_missing", where=str(at))
        await connection.commit()
        return page


async def _lock(connection: Connection, at: DatabaseAddress) -> None:
    """Before the snapshot, so that what is looked for after it stays so. Raises ProbeUnavailable (`unknown_schema`)."""
    try:
        await connection.execute(queries.LOCK)
    except psycopg.ProgrammingError:  # there is none, it is no table, or it is not for this login
        await connection.rollback()
        await _known_version(connection, at)
        raise


async def _known_version(connection: Connection, at: DatabaseAddress) -> int:
    """The number of the last migration. Raises ProbeUnavailable (`unknown_schema`)."""
    tables = {"tables": list(queries.COLUMNS)}
    cursor = await connection.execute(queries.FOUND, tables)
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for table, column, type_ in await cursor.fetchall():
        found[table][column] = type_
    wrong = [text for table, columns in queries.COLUMNS.items() for text in _differs(table, columns, found)]
    version = -1
    if not wrong:
        (last,) = await _one(connection, queries.VERSION)
        version = -1 if last is None else int(last)
        if version not in VERSIONS:
            wrong = ["no migration" if last is None else f"migration {version}"]
        attached = await (await connection.execute(queries.ATTACHED, tables)).fetchall()
        wrong += [in_one_line(text, _LONGEST) for (text,) in attached]
    if wrong:
        expected = f"{', '.join(queries.COLUMNS)} of LangGraph's PostgresSaver with nothing attached, at migration {VERSIONS[0]} to {VERSIONS[-1]}"
        text = f"the schema is not known: expected are the tables {expected}; found: {'; '.join(wrong)}"
        raise ProbeUnavailable(text, code=UNKNOWN_SCHEMA, where=str(at))
    return version


def _differs(table: str, columns: Mapping[str, str], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    if table not in found:
        return [f"no table {table} on the search path of the login"]
    there = found[table]
    return [
        f"{table} has no column {name}"
        if name not in there
        else f"{table}.{name} is {there[name]}, not {type_}"
        for name, type_ in columns.items()
        if there.get(name) != type_
    ]


async def _make_room(connection: Connection) -> None:
    for statement in queries.ROOM:
        await connection.execute(statement)


async def _page(
    connection: Connection, before: datetime, after: Key, rows: tuple[int, int | None]
) -> dict[str, Any]:
    """The values that name a page. `rows` are on it; where it ends in a long thread it has a bigger part of that one, up to the second
    number or all of it: as much has to be read for any part."""
    usual, most = rows
    found = await _keys(connection, after, usual, None)
    (length,) = await _one(connection, queries.LENGTH, found) if found["looked"] else (0,)
    if length > _LONG * usual:
        part = length if most is None else min(most, length // _LONG)
        found = await _keys(connection, after, part, found["last_thread"])
    return {
        **found,
        "length": length,
        "planned": None,
        "before_id": id_at(before),
        "before_ts": before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    }


async def _keys(connection: Connection, after: Key, rows: int, until: str | None) -> dict[str, Any]:
    given = {**after._asdict(), "rows": rows, "until": until}
    row = await (await connection.execute(queries.PAGE, given)).fetchone()
    looked, threads, *key = row if row is not None else (0, [], *after)
    return {
        **after._asdict(),
        **{f"last_{name}": value for name, value in Key(*key)._asdict().items()},
        "threads": threads,
        "looked": looked,
        "over": until is None and looked < rows,
    }


def _long(values: Mapping[str, Any]) -> str:
    """What of this page takes long, and the way out; empty where no thread is long."""
    length = values.get("length", 0)
    if length <= _LONG * REMOVED:
        return ""
    name = in_one_line(values["last_thread"], _LONGEST)
    return f"; the thread {name} has {length:,} checkpoints, which are read together: delete it as a whole (delete_thread of the saver) if nobody needs it"


def _told(values: Mapping[str, Any], row: tuple[Any, ...]) -> Page:
    tally = Tally(Amount(*row[0:2]), Amount(*row[2:4]), Amount(*row[4:6]))
    last = None if values["over"] else Key(values["last_thread"], values["last_namespace"], values["last_id"])
    return Page(tally, values["looked"], last, *row[6:8])


async def _one(
    connection: Connection, statement: LiteralString, values: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    row = await (await connection.execute(statement, values)).fetchone()
    if row is None:
        raise psycopg.DataError
    return row


def _why(error: Exception) -> str:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return f"a lock was not free within {_LOCK / 1000:g} s"
    if isinstance(error, psycopg.errors.SerializationFailure):
        return "somebody changed one of its checkpoints at the same time"
    return kind(error, _STATEMENT / 1000)
