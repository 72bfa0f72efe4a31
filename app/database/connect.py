"""Connections to a PostgreSQL server, each for one look or one piece of work, with limits on every statement.

Used by the modules of this package that send statements. A connection that fails says nothing about the server. Errors are worded
here, and never hold a text of libpq: it repeats the login.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from app.database.login import read_login, with_authority
from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.ports import Clock

TIMEOUT: Final = 5.0
"""Seconds for connecting, and as many for all statements of a look."""
STATEMENT: Final = 3_000
"""Milliseconds for one statement of a look."""
_ATTEMPTS, _PAUSE = 3, 0.3  # for a free connection: they come and go

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
                await connection.execute("SET TRANSACTION READ ONLY")
                await connection.execute(f"SET LOCAL statement_timeout = {milliseconds:d}")
            except (psycopg.Error, TimeoutError) as error:
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


def said(error: psycopg.Error) -> tuple[str, str]:
    """Code and words for a failed connection."""
    text = str(error)
    found = next(((code, words) for pattern, code, words in _SAID if pattern.search(text)), None)
    return found or ("unreachable", "it could not be reached")


def kind(error: Exception, seconds: float = TIMEOUT) -> str:
    """What kind of failure it was, without the server's text; `seconds` are what a statement had."""
    if isinstance(error, TimeoutError | psycopg.errors.QueryCanceled):
        return f"no answer within {seconds:g} s"
    if isinstance(error, psycopg.NotSupportedError):
        return "PostgreSQL 14 or later is needed"
    return type(error).__name__


def failed(at: DatabaseAddress, error: Exception, seconds: float = TIMEOUT) -> ProbeUnavailable:
    """The error of a look whose statement failed."""
    return ProbeUnavailable(f"the look failed: {kind(error, seconds)}", code="query_failed", where=str(at))
