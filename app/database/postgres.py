"""One look at a PostgreSQL server, and the statement that ends sessions. Each connects, asks, and disconnects.

Built by the composition root; handlers and the actuators go through the port `Databases`. Short time-outs; a connection that fails
says nothing about the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from app.database import queries
from app.database.checkpoints import PostgresCheckpoints
from app.database.connect import FAULTS, TIMEOUT, Connection, Connections, failed, kind
from app.database.copies import PostgresCopies
from app.database.login import read_login
from app.database.tables import PostgresTables
from app.database.texts import foreign, row_of, text
from app.domain.cluster import Cluster
from app.domain.database import (
    OURS,
    PREPARED_PID,
    Activity,
    Condition,
    DatabaseAddress,
    PreparedTransaction,
    Replication,
    Session,
    SessionId,
    Slot,
    Standby,
)
from app.domain.errors import OutcomeUnclear
from app.domain.odd_servers import Within
from app.domain.ports import Clock
from app.domain.redact import in_one_line, redact
from app.domain.sql_text import shortened

_LONGEST, _LONGEST_GID = 64, 200
_MAYBE: Final = datetime | None
_TEXT: Final = bytes | None
_SESSION: Final = (
    int,
    _MAYBE,
    _TEXT,
    _TEXT,
    _TEXT,
    str,
    str,
    _MAYBE,
    _MAYBE,
    _MAYBE,
    list,
    bool,
    _TEXT,
    str,
    bool,
)
"""What `queries.SESSIONS` gives."""


class PostgresDatabases:
    """The port, for real servers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._connections = Connections(clock)
        self.checkpoints = PostgresCheckpoints(clock, self._connections)
        self.tables = PostgresTables(self._connections)
        self.copies = PostgresCopies(clock, self._connections)

    async def host(self, cluster: Cluster, at: DatabaseAddress) -> str:
        """See the port."""
        return at.host or (await read_login(cluster, at))[0]["host"]

    async def activity(self, cluster: Cluster, at: DatabaseAddress) -> Activity:
        """See the port."""
        began = self._clock.monotonic()
        async with self._connections.look(cluster, at) as connection:
            spent = (self._clock.monotonic() - began) * 1000
            try:
                async with Within(TIMEOUT, connection):
                    (now, version, database, most, usable, used), rows, size = await _look(connection)
                    replication = await _replication(connection)
                    sessions = tuple(map(_session, rows))
                    prepared = await _prepared(connection, sessions)
            except FAULTS as error:
                raise failed(at, error) from None
        return Activity(
            now=now,
            version=text(version),
            database=text(database),
            max_connections=most,
            usable=usable,
            used=used,
            sessions=sessions,
            size=size,
            milliseconds=round(spent, 1),
            replication=replication,
            prepared=prepared,
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
        async with self._connections.look(cluster, at) as connection:
            await ask()
            try:
                async with Within(TIMEOUT, connection):
                    cursor = await connection.execute(queries.TERMINATE[condition.why], values)
                    return [_id(*row_of(row, int, datetime)) for row in await cursor.fetchall()]
            except FAULTS as error:
                text = f"the answer of {at} was lost ({kind(error)})"
                raise OutcomeUnclear(text, where=str(at)) from None


async def _look(connection: Connection) -> tuple[tuple[Any, ...], list[tuple[Any, ...]], int | None]:
    if connection.info.server_version < queries.OLDEST:
        raise psycopg.NotSupportedError
    server = await (await connection.execute(queries.SERVER)).fetchone()
    ours = {"ours": [f"{name}%" for name in OURS]}
    sessions = await (await connection.execute(queries.SESSIONS, ours)).fetchall()
    if server is None:
        raise psycopg.DataError
    row_of(server, datetime, str, str, int, int, int)
    return tuple(server), sessions, await _size(connection)


async def _size(connection: Connection) -> int | None:
    """None when it may not be read or takes too long: the look is whole without."""
    try:
        async with connection.transaction():
            row = await (await connection.execute(queries.SIZE)).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else row_of(row, int | None)[0]


async def _prepared(connection: Connection, sessions: Sequence[Session]) -> tuple[PreparedTransaction, ...]:
    """Asked only where somebody waits for one."""
    if not any(PREPARED_PID in session.blocked_by for session in sessions):
        return ()
    rows = await (await connection.execute(queries.PREPARED)).fetchall()
    return tuple(
        PreparedTransaction(redact(foreign(name), longest=_LONGEST_GID), _clean(foreign(owner)), since)
        for name, owner, since in (row_of(row, bytes, bytes, datetime) for row in rows)
    )


async def _replication(connection: Connection) -> Replication | None:
    """None when it may not be read or takes too long: the look is whole without."""
    try:
        async with connection.transaction():
            recovery = await (await connection.execute(queries.RECOVERY)).fetchone()
            standbys = await (await connection.execute(queries.STANDBYS)).fetchall()
            slots = await (await connection.execute(queries.SLOTS)).fetchall()
    except psycopg.Error:
        return None
    if recovery is None:
        return None
    standby, behind_by = row_of(recovery, bool, float | None)
    return Replication(
        standby,
        behind_by,
        tuple(
            Standby(_clean(foreign(name)), _clean(text(state)), *behind)
            for name, state, *behind in (
                row_of(row, bytes, str, int | None, float | None) for row in standbys
            )
        ),
        tuple(
            Slot(_clean(foreign(name)), *state)
            for name, *state in (row_of(row, bytes, bool, int | None, bool) for row in slots)
        ),
    )


def _id(pid: int, started: datetime) -> SessionId:
    return SessionId(pid, started.astimezone(UTC))


def _session(row: tuple[Any, ...]) -> Session:
    row_of(row, *_SESSION)
    pid, started, database, user, application, client, state, since, began, waits, blockers = row[:11]
    for_transaction, query, protected, endable = row[11:]
    return Session(
        pid=pid,
        id=None if not isinstance(started, datetime) else _id(pid, started),
        database=_clean(foreign(database)),
        user=_clean(foreign(user)),
        application=_clean(foreign(application)),
        client=_clean(text(client)),
        state=_clean(text(state)),
        state_since=since,
        transaction_since=began,
        waits_since=waits,
        blocked_by=tuple(blockers),
        waits_for_transaction=for_transaction,
        query=shortened(foreign(query)),
        protected=protected,
        endable=endable,
    )


def _clean(said: str) -> str:
    """What a client calls itself is a stranger's text."""
    return in_one_line(said, _LONGEST)
