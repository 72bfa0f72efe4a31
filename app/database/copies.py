"""The databases of a real PostgreSQL server as wholes, and their new names.

Implements the port `app.domain.copies`. A renaming needs that nobody is in the database. It takes the lock that every new connection
waits for, so that nobody gets in while a second session of ours ends those that are; a client that connects again at once is let
in after the transaction, to whatever bears the name by then. A death at any point leaves all or nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from app.database.connect import FAULTS, TIMEOUT, Connection, Connections, failed, kind
from app.database.login import read_login
from app.database.texts import foreign, raw, text
from app.domain.cluster import Cluster
from app.domain.copies import (
    IN_USE,
    Found,
    Server,
    Wal,
    prepared,
    replicating,
    subscribed,
    subscription,
    template,
    waiting_slot,
)
from app.domain.database import APPLICATION, OURS, DatabaseAddress
from app.domain.errors import OutcomeUnclear, ProbeUnavailable
from app.domain.odd_servers import Within
from app.domain.ports import Clock
from app.domain.redact import in_one_line

_AS_LOGIN: Final = b"SET ROLE NONE"
"""What the Jobs do too: a setting of the login (ALTER ROLE ... SET role) would have its rights judged as those of another role."""
_WITHIN: Final = 20.0
"""Seconds for a renaming: the server waits 5 s for each database until nobody is in it."""
_AGAIN: Final = 0.05
_LONGEST: Final = 200
_LONGEST_WORDS: Final = 1_000  # with the name of a prepared transaction in them, three times
LOGIN: Final[LiteralString] = f"""
    SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000, r.rolsuper,
        r.rolsuper OR r.rolcreatedb, {raw("r.rolname")}
    FROM pg_roles r WHERE r.rolname = current_user
"""
POWERS: Final[LiteralString] = f"""
    SELECT p.what, {raw("r.rolname")} FROM pg_roles r, LATERAL (VALUES
        (1, 'the rights of the superuser ', r.rolsuper), (2, 'CREATEROLE of ', r.rolcreaterole AND NOT r.rolsuper),
        (3, '', r.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files'))
    ) p (place, what, has)
    WHERE p.has AND pg_has_role(r.oid, 'MEMBER') AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    ORDER BY p.place, r.rolname
"""
"""What SQL of this login may do as a superuser's may. A member by whatever way and with whatever option counts: SET ROLE is a statement
too, and who may grant a role may grant it to itself."""
WRITES: Final[LiteralString] = """
    SELECT pg_is_in_recovery(),
        EXISTS (SELECT FROM pg_settings WHERE name = 'default_transaction_read_only' AND reset_val = 'on')
"""
"""Whether the server takes none, and whether sessions of the login begin so that they write nothing, whatever was set in this one."""
WAL: Final[LiteralString] = """
    SELECT 'slot', slot_name::text FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL
    UNION ALL
    SELECT 'unarchived', 'archiver' FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off' AND failed_count > 0
        AND (last_archived_time IS NULL OR last_failed_time > last_archived_time)
    UNION ALL
    SELECT name, setting FROM pg_settings WHERE name IN ('max_wal_size', 'max_slot_wal_keep_size') AND setting <> '-1'
    ORDER BY 1, 2
"""
"""What keeps WAL, and how many MB of it; only the settings have a number."""
DATABASES: Final[LiteralString] = f"""
    SELECT {raw("d.datname")}, CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END,
        {raw("shobj_description(d.oid, 'pg_database')")}, pg_has_role(d.datdba, 'USAGE'), d.datallowconn,
        d.oid::bigint, {raw("pg_get_userbyid(d.datdba)")}, d.datconnlimit
    FROM pg_database d WHERE d.datname NOT IN ('template0', 'template1') ORDER BY 1
"""
"""All but the server's own: one that somebody made a template (IS_TEMPLATE) has rows, clients and a name like any other."""
CLIENTS: Final[LiteralString] = f"""
    SELECT {raw("datname")}, {raw("application_name")}, count(*) FROM pg_stat_activity
    WHERE COALESCE(backend_type, 'client backend') = 'client backend' AND datname IS NOT NULL AND usesysid IS NOT NULL
        AND COALESCE(application_name, '') NOT LIKE ALL(%(ours)s)
    GROUP BY 1, 2 ORDER BY 3 DESC, 2
"""
_MAY_END: Final[LiteralString] = """((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            OR (NOT r.rolsuper AND (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))))"""
FOREIGN: Final[LiteralString] = f"""
    SELECT {raw("a.datname")}, {raw("r.rolname")}, count(*) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
    WHERE COALESCE(a.backend_type, 'client backend') = 'client backend' AND a.datname IS NOT NULL AND NOT {_MAY_END}
    GROUP BY 1, 2 ORDER BY 3 DESC, 2
"""
"""Sessions that the login may not end, by role."""
KEPT_BACK: Final[LiteralString] = f"""
    SELECT {raw("d.datname")}, {raw("split_part(one, '=', 1)")}, {raw("r.rolname")}
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole,
        unnest(s.setconfig) one LEFT JOIN pg_settings p ON lower(p.name) = lower(split_part(one, '=', 1))
    WHERE (s.setrole <> 0 AND r.rolname IS DISTINCT FROM current_user
            OR p.context IN ('superuser', 'superuser-backend')
            OR p.name IS NULL AND current_setting('server_version_num')::int >= 150000)
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    ORDER BY 1, 3 NULLS FIRST, 2
"""
"""Settings of databases, or of a role in one (ALTER ROLE ... IN DATABASE), that only a superuser gives: those of other roles, and those of no
known parameter since PostgreSQL 15."""
HELD: Final[LiteralString] = f"""
    SELECT {raw("h.of")}, h.what, {raw("h.name")} FROM (
    SELECT p.database AS of, 'prepared' AS what, p.gid AS name FROM pg_prepared_xacts p
    UNION ALL
    SELECT s.database, CASE WHEN s.active THEN 'replicating' ELSE 'slot' END, s.slot_name
    FROM pg_replication_slots s WHERE s.database IS NOT NULL
    UNION ALL
    SELECT d.datname, CASE WHEN s.subenabled THEN 'subscribed' ELSE 'subscription' END, s.subname
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    UNION ALL
    SELECT d.datname, 'template', d.datname FROM pg_database d WHERE d.datistemplate
    UNION ALL
    SELECT a.datname, 'worker', a.backend_type || COALESCE(' of ' || a.usename, '')
    FROM pg_stat_activity a
    WHERE a.datname IS NOT NULL AND a.backend_type NOT IN ('client backend', 'autovacuum worker', 'parallel worker')
        AND a.backend_type NOT LIKE 'logical replication%%'
        AND NOT EXISTS (SELECT 1 FROM pg_replication_slots s WHERE s.active_pid = a.pid)
    ) AS h ORDER BY 1, 2, 3
"""
"""What belongs to a database and is no client's session. The server ends autovacuum by itself, and parallel workers with their leader;
workers of subscriptions are told by these."""
_IN_THE_WAY: Final[Mapping[str, Callable[[str], str]]] = {
    "prepared": prepared,
    "replicating": replicating,
    "subscribed": subscribed,
    "worker": lambda name: f"a {name} (stop it: one that is ended starts again)",
}
_LEFT_BEHIND: Final[Mapping[str, Callable[[str], str]]] = {
    "slot": waiting_slot,
    "subscription": subscription,
    "template": template,
}
END: Final[LiteralString] = f"""
    SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.datname = ANY(%(names)s) AND a.pid <> pg_backend_pid()
        AND COALESCE(a.backend_type, 'client backend') = 'client backend'
        AND {_MAY_END}
"""
"""Ends those that the login may end. What a session is, is hidden from logins that may not read all of them."""


class PostgresCopies:
    """See the port."""

    def __init__(self, clock: Clock, connections: Connections) -> None:
        self._clock = clock
        self._connections = connections

    async def look(self, cluster: Cluster, at: DatabaseAddress, entry: str) -> Server:
        """See the port."""
        options, _ = await read_login(cluster, at)
        values = {"ours": [f"{name}%" for name in OURS]}
        try:
            async with (
                self._connections.look(cluster, replace(at, database=entry)) as conn,
                Within(TIMEOUT, conn),
            ):
                await conn.execute(_AS_LOGIN)
                ((version, major, superuser, may_create, login),) = await _rows(conn, LOGIN)
                ((standby, read_only),) = await _rows(conn, WRITES)
                powers, wal = await _rows(conn, POWERS), await _rows(conn, WAL)
                rows = await _rows(conn, DATABASES)
                sessions = await _rows(conn, CLIENTS, values)
                found = _databases(
                    rows,
                    sessions,
                    (await _rows(conn, FOREIGN), await _rows(conn, KEPT_BACK)),
                    await _rows(conn, HELD, ()),
                )
                login_is = (superuser, may_create, found, login, powers_of(powers))
                no = no_writes(standby, read_only)
                return Server(text(version), int(major), options["dbname"], *login_is, _wal(wal), no)
        except FAULTS as error:
            raise failed(at, error) from None

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
        place = replace(at, database=entry)
        async with (
            self._connections.open(cluster, place) as conn,
            self._connections.open(cluster, place, autocommit=True) as other,
        ):
            await ask()
            try:
                async with Within(TIMEOUT, other):
                    await other.execute(_AS_LOGIN)
                async with asyncio.timeout(_WITHIN), self._nobody_in(other, names), conn.transaction():
                    await _rename(conn, names, closed, number)
            except psycopg.errors.ObjectInUse:
                text = f"{await _why_in_use(other, [old for old, _ in names])}; nothing was renamed"
                raise ProbeUnavailable(text, code=IN_USE, where=str(at)) from None
            except FAULTS as error:
                text = f"the renaming failed: {kind(error, _WITHIN)}"
                if getattr(error, "sqlstate", None):  # the server said no, and took all of it back
                    raise ProbeUnavailable(text, code="query_failed", where=str(at)) from None
                raise OutcomeUnclear(text, where=str(at)) from None

    @asynccontextmanager
    async def _nobody_in(self, conn: Connection, names: Sequence[tuple[str, str]]) -> AsyncIterator[None]:
        """Sessions in these databases are ended all the while."""
        ending = asyncio.create_task(self._end(conn, [old for old, _ in names]))  # noqa: RUF006 - it is awaited below
        try:
            yield
        finally:
            ending.cancel()
            with suppress(asyncio.CancelledError, *FAULTS):
                await ending

    async def _end(self, conn: Connection, names: list[str]) -> None:
        """End the sessions in these databases until it is cancelled."""
        while True:
            await conn.execute(END, {"names": names})
            await self._clock.sleep(_AGAIN)


def _databases(
    rows: Sequence[tuple[Any, ...]],
    sessions: Sequence[tuple[Any, ...]],
    not_ours: tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]],
    held: Sequence[tuple[Any, ...]],
) -> tuple[Found, ...]:
    """The databases with who is in each. `not_ours`: sessions that the login may not end, settings that it may not give."""
    unendable, kept_back = not_ours
    clients = _counted([(name, app or "no application name", number) for name, app, number in sessions])
    others = _counted(unendable)
    return tuple(
        Found(
            name,
            size,
            mark if (mark or "").startswith(APPLICATION) else "",
            owned,
            open_,
            clients.get(name, {}),
            id=number,
            owner=owner,
            foreign=others.get(name, {}),
            kept_back=tuple(_setting(what, role) for of, what, role in kept_back if of == name),
            in_the_way=_held(held, name, _IN_THE_WAY),
            left_behind=_held(held, name, _LEFT_BEHIND),
            limit=limit,
        )
        for name, size, mark, owned, open_, number, owner, limit in rows
    )


async def _rename(
    conn: Connection, names: Sequence[tuple[str, str]], closed: Sequence[str], number: int
) -> None:
    await conn.execute(_AS_LOGIN)
    await conn.execute("SET LOCAL lock_timeout = '5s'")
    await conn.execute("SET LOCAL statement_timeout = 0")
    await conn.execute("SET TRANSACTION READ WRITE")
    for old, new in names:
        await conn.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
        )
    if number:  # after the renaming, whose lock nobody else gets past
        row = await (
            await conn.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [names[0][1]])
        ).fetchone()
        if row is None or row[0] != number:
            text = f"{names[0][0]} is another database by now; nothing was renamed"
            raise ProbeUnavailable(text, code="changed")
    for _, new in names:
        word = sql.SQL("false" if new in closed else "true")
        await conn.execute(
            sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(sql.Identifier(new), word)
        )


async def _why_in_use(conn: Connection, names: Sequence[str]) -> str:
    """What is in these databases besides sessions; where nothing is, it is a session."""
    held: list[tuple[Any, ...]] = []
    with suppress(*FAULTS):
        async with Within(TIMEOUT, conn):
            held = await _rows(conn, HELD, ())
    if found := [words for name in names for words in _held(held, name, _IN_THE_WAY)]:
        return f"a database cannot get another name while in it is {'; '.join(found)}"
    return "a session could not be ended in time, or may not be ended by this login"


def no_writes(standby: bool, read_only: bool) -> str:
    """Why nothing can be restored to this server by this login, by what `WRITES` found; empty when it can."""
    if standby:
        return "the server is a standby and takes no writes: name the primary as the host"
    if read_only:
        return "sessions of the login write nothing (default_transaction_read_only is on): ALTER ROLE ... SET default_transaction_read_only = off"
    return ""


def powers_of(rows: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """In words, what `POWERS` found; names of roles as the server gives them, or as bytes."""
    names = (foreign(name) if isinstance(name, bytes) else name for _, name in rows)
    return tuple(f"{text(what)}{_clean(name)}" for (what, _), name in zip(rows, names, strict=True))


def _wal(rows: Sequence[tuple[Any, ...]]) -> Wal:
    sizes = {name: int(value) << 20 for name, value in rows if name.startswith("max_")}
    default = Wal()
    return Wal(
        sizes.get("max_wal_size", default.most),
        sizes.get("max_slot_wal_keep_size", default.cap),
        tuple(_clean(value) for name, value in rows if name == "slot"),
        any(name == "unarchived" for name, _ in rows),
    )


def _held(
    rows: Iterable[tuple[Any, ...]], database: str, words: Mapping[str, Callable[[str], str]]
) -> tuple[str, ...]:
    """In words, what of these kinds a database has."""
    found = (words[kind_](text(name)) for of, kind_, name in rows if of == database and kind_ in words)
    return tuple(in_one_line(one, _LONGEST_WORDS) for one in found)


def _setting(name: str, role: str | None) -> str:
    return f"{_clean(name)} of the role {_clean(role)}" if role else _clean(name)


def _counted(rows: Iterable[tuple[Any, ...]]) -> dict[str, dict[str, int]]:
    """Numbers by database and by what a stranger calls itself."""
    found: dict[str, dict[str, int]] = {}
    for database, name, number in rows:
        found.setdefault(database, {})[_clean(name)] = number
    return found


async def _rows(conn: Connection, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    """Names of other databases are in their encodings: they come as bytes."""
    rows = await (await conn.execute(statement.encode(), values)).fetchall()
    return [tuple(foreign(value) if isinstance(value, bytes) else value for value in row) for row in rows]


def _clean(said: Any) -> str:
    """What a client calls itself is a stranger's text."""
    return in_one_line(text(said), _LONGEST)
