"""One look at a PostgreSQL server, and the statement that ends sessions. Each connects, asks, and disconnects.

Built by the composition root; handlers and the actuator of sessions go through the port `Databases`. Short time-outs; a connection
that fails says nothing about the server. Errors are worded here, and never hold a text of libpq: it repeats the login.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from app.database import queries
from app.database.login import read_login, with_authority
from app.domain.cluster import Cluster
from app.domain.database import OURS, Activity, Condition, DatabaseAddress, Session, SessionId
from app.domain.errors import OutcomeUnclear, ProbeUnavailable
from app.domain.ports import Clock
from app.domain.redact import redact
from app.domain.sql_text import shortened
from app.domain.text import bounded

TIMEOUT: Final = 5.0
"""Seconds for connecting, and as many for all statements of a look."""
_STATEMENT = 3_000  # milliseconds
_ATTEMPTS, _PAUSE = 3, 0.3  # for a free connection: they come and go
_LONGEST = 64

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_EXHAUSTED = "exhausted"
_SAID: Final = (
    (
        re.compile(
            r"too many clients already|remaining connection slots are reserved|too many connections for"
        ),
        _EXHAUSTED,
        "the server has no free connection for this login",
    ),
    (
        re.compile(
            r"password authentication failed|no pg_hba\.conf entry|no password supplied|not permitted to log in"
            r"|(?:role|database) \"[^\"]*\" does not exist|authentication method|permission denied for database"
        ),
        "login_refused",
        "the server answers, and refuses the login of the Secret",
    ),
    (re.compile(r"No space left on device"), "disk_full", "the server says: no space left on device"),
    (
        re.compile(r"starting up|shutting down|in recovery mode|not yet accepting connections"),
        "unreachable",
        "the server is starting, stopping or recovering",
    ),
    (re.compile(r"(?:FATAL|PANIC|ERROR): "), "refused", "the server refuses the connection"),
    (re.compile(r"SSL|TLS|certificate"), "unreachable", "no encrypted connection could be made"),
    (re.compile(r"resolve|translate host name|not known"), "unreachable", "its name could not be resolved"),
    (re.compile(r"[Cc]onnection refused"), "unreachable", "the connection was refused"),
)
"""What a failed connection says, by libpq's and the server's words, in ours; the first that is found counts."""


class PostgresDatabases:
    """The port, for real servers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def activity(self, cluster: Cluster, at: DatabaseAddress) -> Activity:
        """See the port."""
        began = self._clock.monotonic()
        async with self._connected(cluster, at) as connection:
            spent = (self._clock.monotonic() - began) * 1000
            try:
                async with asyncio.timeout(TIMEOUT):
                    server, sessions, size = await _look(connection)
            except (psycopg.Error, TimeoutError) as error:
                raise _failed(at, error) from None
        now, version, database, most, usable, used = server
        return Activity(
            now=now,
            version=str(version),
            database=str(database),
            max_connections=most,
            usable=usable,
            used=used,
            sessions=tuple(_session(row) for row in sessions),
            size=size,
            milliseconds=round(spent, 1),
        )

    async def terminate(
        self,
        cluster: Cluster,
        at: DatabaseAddress,
        sessions: Sequence[SessionId],
        condition: Condition,
        ask: Callable[[], Awaitable[None]],
    ) -> Sequence[SessionId]:
        """See the port."""
        values = {
            "pids": [s.pid for s in sessions],
            "started": [s.started for s in sessions],
            "seconds": condition.seconds,
            "ours": [f"{name}%" for name in OURS],
        }
        async with self._connected(cluster, at) as connection:
            await ask()
            try:
                async with asyncio.timeout(TIMEOUT):
                    cursor = await connection.execute(queries.TERMINATE[condition.why], values)
                    rows = await cursor.fetchall()
            except (psycopg.Error, TimeoutError) as error:
                text = f"the answer of {at} was lost ({_kind(error)})"
                raise OutcomeUnclear(text, where=str(at)) from None
        return [_id(pid, started) for pid, started in rows]

    @asynccontextmanager
    async def _connected(self, cluster: Cluster, at: DatabaseAddress) -> AsyncIterator[Connection]:
        """A connection in a transaction that changes no row and ends with it. Raises ProbeUnavailable."""
        options, authority = await read_login(cluster, at)
        with with_authority(options, authority) as complete:
            connection = await self._connect(at, complete)
        try:
            try:
                # SET LOCAL rather than startup options: poolers such as PgBouncer refuse options they do not know.
                await connection.execute("SET TRANSACTION READ ONLY")
                await connection.execute(f"SET LOCAL statement_timeout = {_STATEMENT}")
            except (psycopg.Error, TimeoutError) as error:
                raise _failed(at, error) from None
            yield connection
        finally:
            await connection.close()

    async def _connect(self, at: DatabaseAddress, options: dict[str, str]) -> Connection:
        for attempt in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await psycopg.AsyncConnection.connect(
                        make_conninfo(**options, connect_timeout=int(TIMEOUT))
                    )
            except TimeoutError:
                text = f"no answer within {TIMEOUT:g} s"
                raise ProbeUnavailable(text, code="unreachable", where=str(at)) from None
            except psycopg.Error as error:
                code, words = said(error)
                if code != _EXHAUSTED or attempt == _ATTEMPTS - 1:
                    # The cause would show the login: libpq repeats user and host.
                    raise ProbeUnavailable(words, code=code, where=str(at)) from None
                await self._clock.sleep(_PAUSE)
        raise AssertionError("the loop above returns or raises")


async def _look(connection: Connection) -> tuple[tuple[Any, ...], list[tuple[Any, ...]], int | None]:
    if connection.info.server_version < queries.OLDEST:
        raise psycopg.NotSupportedError
    server = await (await connection.execute(queries.SERVER)).fetchone()
    ours = {"ours": [f"{name}%" for name in OURS]}
    sessions = await (await connection.execute(queries.SESSIONS, ours)).fetchall()
    if server is None:
        raise psycopg.DataError
    return server, sessions, await _size(connection)


async def _size(connection: Connection) -> int | None:
    """None when it may not be read or takes too long: the look is whole without."""
    try:
        async with connection.transaction():
            row = await (await connection.execute(queries.SIZE)).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else int(row[0])


def _id(pid: int, started: datetime) -> SessionId:
    return SessionId(pid, started.astimezone(UTC))


def _session(row: tuple[Any, ...]) -> Session:
    pid, started, database, user, application, client, state, since, began, waits, blockers, query = row[:12]
    protected, endable = row[12:]
    return Session(
        pid=pid,
        id=None if not isinstance(started, datetime) else _id(pid, started),
        database=_clean(database),
        user=_clean(user),
        application=_clean(application),
        client=_clean(client),
        state=_clean(state),
        state_since=since,
        transaction_since=began,
        waits_since=waits,
        blocked_by=tuple(blockers),
        query=shortened(str(query or "")),
        protected=protected,
        endable=endable,
    )


def _clean(text: Any) -> str:
    """What a client calls itself is a stranger's text."""
    return redact(bounded(" ".join(str(text or "").split()), _LONGEST))


def said(error: psycopg.Error) -> tuple[str, str]:
    """Code and words of a connection that failed; nothing of the error's own text, which repeats the login."""
    text = str(error)
    found = next(((code, words) for pattern, code, words in _SAID if pattern.search(text)), None)
    return found or ("unreachable", "it could not be reached")


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError | psycopg.errors.QueryCanceled):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, psycopg.NotSupportedError):
        return "PostgreSQL 14 or later is needed"
    return type(error).__name__


def _failed(at: DatabaseAddress, error: Exception) -> ProbeUnavailable:
    return ProbeUnavailable(f"the look failed: {_kind(error)}", code="query_failed", where=str(at))
