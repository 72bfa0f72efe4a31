"""The tables of a real PostgreSQL database: sizes, dead rows, vacuums that run, and beginning one.

Implements the port `app.domain.tables`. A vacuum runs in a task and a session of its own: the server goes on with it when this
process dies, and ends it by itself after the time that it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from app.database.connect import FAULTS, TIMEOUT, Connection, Connections, failed, kind
from app.database.texts import foreign, raw, row_of, text
from app.domain.cluster import Cluster
from app.domain.database import APPLICATION, NO_ROOM, DatabaseAddress
from app.domain.odd_servers import Within
from app.domain.redact import in_one_line
from app.domain.tables import Holder, Look, Table, TableId, Vacuum

MAX_ROWS: Final = 500
"""Tables of one look, the biggest."""
_LOCK = 5_000  # milliseconds that a vacuum waits for its table
_LONGEST = 100
_OURS: Final = f"{APPLICATION} "
_VALUES: Final = {"ours": f"{_OURS}vacuum %"}

SERVER: Final = """
    SELECT clock_timestamp(), current_database(), current_setting('autovacuum_freeze_max_age')::bigint,
        CASE WHEN has_database_privilege(current_database(), 'CONNECT') THEN pg_database_size(current_database()) END
"""
TABLES: Final[LiteralString] = f"""
    SELECT c.oid::bigint, n.nspname, c.relname, pg_total_relation_size(c.oid),
        COALESCE(pg_stat_get_live_tuples(c.oid), 0), COALESCE(pg_stat_get_dead_tuples(c.oid), 0),
        CASE c.relkind WHEN 'p' THEN pg_stat_get_last_analyze_time(c.oid) ELSE pg_stat_get_last_vacuum_time(c.oid) END,
        pg_stat_get_last_autovacuum_time(c.oid), CASE c.relkind WHEN 'p' THEN 0 ELSE age(c.relfrozenxid) END,
        pg_has_role(current_user, c.relowner, 'USAGE') OR pg_has_role(current_user, d.datdba, 'USAGE')
            OR CASE WHEN current_setting('server_version_num')::int >= 170000
                THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END,
        c.relkind = 'p'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_database d ON d.datname = current_database()
    WHERE (c.relkind IN ('r', 'm') OR (c.relkind = 'p' AND NOT c.relispartition)) AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
    ORDER BY 4 DESC, 1 LIMIT {MAX_ROWS}
"""
_USER: Final = (
    "COALESCE(a.usename, CASE WHEN a.backend_type = 'autovacuum worker' THEN 'autovacuum' END, 'somebody')"
)
VACUUMS: Final[LiteralString] = f"""
    SELECT COALESCE(v.relid, z.relid, 0)::bigint, a.pid,
        {raw(_USER)},
        CASE WHEN a.application_name LIKE %(ours)s THEN a.application_name ELSE '' END,
        CASE WHEN v.pid IS NOT NULL THEN COALESCE(v.phase, '') WHEN z.pid IS NOT NULL THEN 'analyzing'
            WHEN a.wait_event_type = 'Lock' THEN 'waiting for a lock' ELSE 'starting' END,
        COALESCE(v.heap_blks_scanned, z.sample_blks_scanned, 0), COALESCE(v.heap_blks_total, z.sample_blks_total, 0)
    FROM pg_stat_activity a LEFT JOIN pg_stat_progress_vacuum v ON v.pid = a.pid
        LEFT JOIN pg_stat_progress_analyze z ON z.pid = a.pid
    WHERE a.datname = current_database()
        AND (v.pid IS NOT NULL OR (a.application_name LIKE %(ours)s AND a.state = 'active'))
    ORDER BY a.pid
"""
HOLDER: Final[LiteralString] = f"""
    SELECT {raw("x.who")}, x.since
    FROM (
        SELECT format('%%s (%%s, pid %%s, %%s)', COALESCE(NULLIF(a.application_name, ''), 'no application name'),
                COALESCE(a.usename, a.backend_type, 'nobody known'), a.pid, COALESCE(a.state, 'state unknown')) AS who,
            a.xact_start AS since, greatest(age(a.backend_xmin), age(a.backend_xid)) AS held
        FROM pg_stat_activity a
        WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
            AND (a.datname = current_database() OR a.backend_type = 'walsender')
            AND a.application_name NOT LIKE %(ours)s
            AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
        UNION ALL
        SELECT 'the prepared transaction ' || p.gid, p.prepared, age(p.transaction)
        FROM pg_prepared_xacts p WHERE p.database = current_database()
        UNION ALL
        SELECT 'the replication slot ' || s.slot_name, NULL, age(s.xmin)
        FROM pg_replication_slots s WHERE s.xmin IS NOT NULL
    ) AS x
    ORDER BY x.held DESC, x.since NULLS LAST LIMIT 1
"""
"""Who keeps the oldest rows visible: a snapshot, a transaction that has written, a standby."""


class PostgresTables:
    """See the port."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._running: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, str] = {}

    async def look(self, cluster: Cluster, at: DatabaseAddress) -> Look:
        """See the port."""
        try:
            async with self._connections.look(cluster, at) as connection, Within(TIMEOUT, connection):
                (server,) = await _rows(connection, SERVER)
                now, database, freeze, size = row_of(server, datetime, str, int, int | None)
                tables = await _rows(connection, TABLES)
                vacuums = await _rows(connection, VACUUMS, _VALUES)
                holders = await _rows(connection, HOLDER, _VALUES)
                return Look(
                    now=now,
                    database=text(database),
                    size=size,
                    tables=tuple(_table(row) for row in tables),
                    vacuums=tuple(_vacuum(row) for row in vacuums),
                    holder=Holder(_clean(holders[0][0]), holders[0][1]) if holders else None,
                    freeze=freeze,
                )
        except FAULTS as error:
            raise failed(at, error) from None

    async def vacuum(
        self,
        to: tuple[Cluster, DatabaseAddress],
        table: TableId,
        name: str,
        longest: timedelta,
        ask: Callable[[], Awaitable[None]],
    ) -> None:
        """See the port."""
        cluster, at = to
        async with AsyncExitStack() as stack:
            opened = self._connections.open(cluster, at, f"vacuum {name}", autocommit=True)
            connection = await stack.enter_async_context(opened)
            try:
                async with Within(TIMEOUT, connection):
                    await connection.execute(f"SET lock_timeout = {_LOCK}")
                    limit = int(longest.total_seconds() * 1000)
                    await connection.execute(f"SET statement_timeout = {limit:d}")
                    statement = await _statement(connection, table)
            except FAULTS as error:
                raise failed(at, error) from None
            await ask()
            self._faults.pop(name, None)
            work = self._run(stack.pop_all(), connection, statement, name)
            self._running[name] = asyncio.create_task(work, name=f"vacuum {name}")

    async def _run(
        self, stack: AsyncExitStack, connection: Connection, statement: sql.Composed, name: str
    ) -> None:
        """To its end, in a task that nobody waits for; what went wrong is kept for who asks."""
        try:
            async with stack:
                await connection.execute(statement)
        except psycopg.Error as error:
            self._faults[name] = _why(error)
        finally:
            self._running.pop(name, None)

    def fault(self, name: str) -> str:
        """See the port."""
        return self._faults.get(name, "")


async def _statement(connection: Connection, table: TableId) -> sql.Composed:
    """A vacuum of a parent would be one of all its partitions, which have their own turns; ANALYZE takes a sample of each."""
    kind = await connection.execute("SELECT 1 FROM pg_class WHERE oid = %s AND relkind = 'p'", (table.oid,))
    words = sql.SQL("ANALYZE {}") if await kind.fetchone() else sql.SQL("VACUUM (ANALYZE) {}")
    return words.format(sql.Identifier(table.schema, table.name))


async def _rows(
    connection: Connection, statement: LiteralString, values: dict[str, str] | None = None
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, values)).fetchall()


def _table(row: tuple[Any, ...]) -> Table:
    maybe = datetime | None
    oid, schema, name, *rest = row_of(row, int, str, str, int, int, int, maybe, maybe, int, bool, bool)
    return Table(TableId(oid, schema, name), *rest)


def _vacuum(row: tuple[Any, ...]) -> Vacuum:
    oid, pid, user, ours, phase, scanned, blocks = row_of(row, int, int, bytes, str, str, int, int)
    name = text(ours).removeprefix(f"{_OURS}vacuum ")
    return Vacuum(oid, pid, _clean(user), name, text(phase), scanned, blocks)


def _clean(said: Any) -> str:
    """What a client calls itself is a stranger's text."""
    return in_one_line(foreign(said), _LONGEST)


def _why(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return f"its lock was not free within {_LOCK / 1000:g} s"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return "it was ended: it took too long, or somebody cancelled it"
    if isinstance(error, psycopg.errors.DiskFull):
        return NO_ROOM
    if isinstance(error, psycopg.OperationalError):
        return "the connection was lost"
    return kind(error)
