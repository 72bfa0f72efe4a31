"""Connections to a PostgreSQL server, each for one look or one piece of work, with limits on every statement.

Used by the modules of this package that send statements. A connection that fails says nothing about the server. Errors are worded
here, and never hold a text of libpq: it repeats the login.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from app.database.login import read_login, with_authority
from app.database.texts import ADAPTERS, ENCODING, NOT_UTF8
from app.domain.cluster import Cluster
from app.domain.database import ABSENT, CLOSED, EXHAUSTED, LIMITED, NO_ROOM, DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.odd_servers import ODD, Within
from app.domain.ports import Clock

TIMEOUT: Final = 5.0
"""Seconds for connecting, and as many for all statements of a look."""
STATEMENT: Final = 3_000
"""Milliseconds for one statement of a look."""
FAULTS: Final = (psycopg.Error, TimeoutError, *ODD)
"""What asking a server, and reading its answer, may raise."""
_OTHER_FORM: Final = "the answer has another form than expected"
_ATTEMPTS, _PAUSE = 3, 0.3  # for a free connection: they come and go

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_COME_AND_GO: Final = frozenset({EXHAUSTED, LIMITED})
_SAID: Final = (
    (
        re.compile(r"too many connections for role"),
        LIMITED,
        "the role of the Secret has as many connections as its own limit allows (CONNECTION LIMIT of the role), whatever the server has free",
    ),
    (
        re.compile(r"too many connections for database"),
        LIMITED,
        "the database has as many connections as its own limit allows (CONNECTION LIMIT of the database, 0 where somebody closed it)",
    ),
    (
        re.compile(r"no more connections allowed"),
        LIMITED,
        "the pooler before the server takes no more clients (max_client_conn, or its limit for a user or a database)",
    ),
    (
        re.compile(r"is not currently accepting connections"),
        CLOSED,
        "the database is closed: somebody set ALLOW_CONNECTIONS false",
    ),
    (
        re.compile(r"too many clients already|remaining connection slots are reserved"),
        EXHAUSTED,
        "the server has no free connection for this login",
    ),
    (
        re.compile(r"database \"[^\"]*\" does not exist|no such database"),
        ABSENT,
        "the server has no database of this name: it was dropped or renamed, or the address names another one",
    ),
    (
        re.compile(
            r"password authentication failed|no pg_hba\.conf entry|no password supplied|not permitted to log in"
            r"|role \"[^\"]*\" does not exist|authentication method|permission denied for database"
        ),
        "login_refused",
        "the server answers, and refuses the login of the Secret",
    ),
    (re.compile(r"No space left on device|could not write init file"), "disk_full", NO_ROOM),
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


FULL: Final = "53100"
"""The SQLSTATE of a server without room on its disk."""
_ENDED: Final = "the server ended the connection: it stops, starts, or somebody ended the session; try again"
_TOO_SHORT: Final = (
    "the server ended the session by its setting {0}, which is too short for this; it would again: give the login a longer one "
    "(ALTER ROLE ... SET {0})"
)
_BY_STATE: Final[Mapping[str, str]] = {
    "08": "the connection was lost",
    "0A": "the server does not know how to do this: its version may be too old",
    "21": _OTHER_FORM,
    "22": "a value in it is not what is expected",
    "22021": NOT_UTF8,
    "22P05": NOT_UTF8,
    "25006": "the server takes no writes: it is a standby, or default_transaction_read_only is on; name the primary as the host",
    "25P03": _TOO_SHORT.format("idle_in_transaction_session_timeout"),
    "25P04": _TOO_SHORT.format("transaction_timeout"),
    "28": "the server refuses the login of the Secret",
    "3D": "there is no such database on this server: look at its name",
    "40": "it collided with somebody else's work and was taken back; try again",
    "42501": "the login of the Secret may not do this: give it the right (GRANT), or name a login that has it",
    "42P01": "a table that it needs is not there, or not on the search path of the login",
    "42703": "a column that it needs is not there",
    "42883": "a function that it needs is not there",
    "42P04": "there is a database of this name already: look whose it is, then drop or rename it",
    "42710": "there is something of this name already: look whose it is, then drop or rename it",
    "53": "the server has too little of something: memory, connections or what its settings allow",
    FULL: NO_ROOM,
    "55000": "something there is not in the state that this needs, as a database that takes no connections; the server's log says what",
    "55006": "somebody uses it at the moment; try again when they are gone",
    "55P03": "a lock was not free in time: look who holds it, then try again",
    "57": _ENDED,
    "57P05": _TOO_SHORT.format("idle_session_timeout"),
    "58": "the server could not read or write its own files: look at its log and its disk",
    "XX": "the server reports damage or a fault of its own: look at its log before anything else",
}
"""What the server refuses, by SQLSTATE or its class: what it means, and what to do."""
_BY_TYPE: Final[Sequence[tuple[type[Exception], str]]] = (
    (psycopg.NotSupportedError, "PostgreSQL 14 or later is needed"),
    (psycopg.DataError, NOT_UTF8),
    (psycopg.OperationalError, "the connection was lost"),
)
"""What the library itself raises."""


class Connections:
    """Makes them, with the login of the Secret that an address names."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @asynccontextmanager
    async def look(
        self, cluster: Cluster, at: DatabaseAddress, milliseconds: int = STATEMENT
    ) -> AsyncIterator[Connection]:
        """A connection in a transaction that changes no row and ends with it; `milliseconds` are for each statement. Raises
        ProbeUnavailable."""
        async with self.open(cluster, at) as connection:
            try:
                # SET LOCAL rather than startup options: poolers such as PgBouncer refuse options they do not know.
                async with Within(TIMEOUT, connection):
                    await connection.execute("SET TRANSACTION READ ONLY")
                    await connection.execute(f"SET LOCAL statement_timeout = {milliseconds:d}")
            except FAULTS as error:
                raise failed(at, error) from None
            yield connection

    @asynccontextmanager
    async def open(
        self, cluster: Cluster, at: DatabaseAddress, name: str = "", *, autocommit: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection that is closed at the end. `name` is added to how our sessions are called. Raises ProbeUnavailable."""
        options, authority = await read_login(cluster, at)
        if name:
            options["application_name"] = f"{options['application_name']} {name}"
        with with_authority(options, authority) as complete:
            connection = await self._connect(at, complete)
        try:
            if autocommit:
                await connection.set_autocommit(True)
            yield connection
        finally:
            await connection.close()

    async def _connect(self, at: DatabaseAddress, options: dict[str, str]) -> Connection:
        for attempt in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await psycopg.AsyncConnection.connect(
                        make_conninfo(**options, client_encoding=ENCODING, connect_timeout=int(TIMEOUT)),
                        context=ADAPTERS,
                    )
            except TimeoutError:
                text = f"no answer within {TIMEOUT:g} s"
                raise ProbeUnavailable(text, code="unreachable", where=str(at)) from None
            except psycopg.Error as error:
                code, words = said(error)
                if code not in _COME_AND_GO or attempt == _ATTEMPTS - 1:
                    # The cause would show the login: libpq repeats user and host.
                    raise ProbeUnavailable(words, code=code, where=str(at)) from None
                await self._clock.sleep(_PAUSE)
            except ODD:
                text = f"what answers there is no PostgreSQL: {_OTHER_FORM}"
                raise ProbeUnavailable(text, code="unreachable", where=str(at)) from None
        raise AssertionError("the loop above returns or raises")


def said(error: psycopg.Error) -> tuple[str, str]:
    """Code and words for a failed connection."""
    text = str(error)
    found = next(((code, words) for pattern, code, words in _SAID if pattern.search(text)), None)
    return found or ("unreachable", "it could not be reached")


def kind(error: Exception, seconds: float = TIMEOUT) -> str:
    """What kind of failure it was, without the server's text; `seconds` are what a statement had."""
    if isinstance(error, TimeoutError | psycopg.errors.QueryCanceled):
        return f"no answer within {seconds:g} s"
    if isinstance(error, ODD) and not isinstance(error, psycopg.Error):
        return _OTHER_FORM
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        return next((words for type_, words in _BY_TYPE if isinstance(error, type_)), type(error).__name__)
    words = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    return words or f"the server refuses it ({type(error).__name__}, SQLSTATE {state}): its log says more"


def failed(at: DatabaseAddress, error: Exception, seconds: float = TIMEOUT) -> ProbeUnavailable:
    """The error of a look whose statement failed."""
    return ProbeUnavailable(f"the look failed: {kind(error, seconds)}", code="query_failed", where=str(at))
