"""Checks of what a workload depends on: Postgres answers SELECT 1, Redis answers PING, and which statements are slow.

Built by the composition root from the setting that maps a dependency's name to its DSN; handlers ask through the
Dependencies port. The runbook starts a debug pod for this; asking from here needs no right to create pods. Each check
opens one connection, reads, and closes it. What cannot be reached from here is not known to be down. Never writes to a dependency, never shows a DSN or a password.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from app.domain.errors import BadInput, ProbeUnavailable
from app.domain.free_text import one_line
from app.domain.odd_servers import ODD, Within
from app.domain.ports import Clock, DependencyResult, SlowQuery
from app.domain.redact import redact

TIMEOUT = 3.0
"""Seconds for the login of a check, and as many for the answer."""
_OTHER_FORM = "what answers there answers in another form than expected"
POSTGRES, REDIS = "postgres", "redis"
_KINDS = {"postgres": POSTGRES, "postgresql": POSTGRES, "redis": REDIS, "rediss": REDIS}
_LONGEST = 200

# A server that turns our own login down is up; whether the workload gets in is not known. libpq gives these as text only.
_LOGIN_REFUSED = re.compile(
    r"password authentication failed|no pg_hba\.conf entry|no password supplied|not permitted to log in"
    r"|(?:role|database) \"[^\"]*\" does not exist|authentication method"
)
_SERVER_SAID = re.compile(r"(?:FATAL|PANIC|ERROR): ")
"""How a server's own refusal of a connection looks in libpq's text; everything else happened on the way to it."""
_SLOWEST = """
    SELECT s.query, s.calls, s.mean_exec_time
    FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query NOT ILIKE '%%pg_stat_statements%%'
    ORDER BY s.mean_exec_time DESC LIMIT %s
"""


class _Dsn:
    """A DSN with what may be said about it; `text` must not be shown."""

    def __init__(self, name: str, text: str) -> None:
        try:
            parts = urlsplit(text)
            kind, password = _KINDS.get(parts.scheme), parts.password or ""
        except ValueError:
            kind, password = None, ""
        if kind is None:
            # The value is not repeated: it may be a password without anything around it.
            allowed = ", ".join(f"{k}://" for k in _KINDS)
            raise BadInput(f"must be a URL that starts with one of {allowed}", where=f"dependency {name}")
        self.kind = kind
        self.text = text
        self._secrets = {s for s in (text, password, unquote(password)) if s}

    def clean(self, error: BaseException) -> str:
        """First line of the error in short, without anything secret of this DSN."""
        line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        for secret in sorted(self._secrets, key=len, reverse=True):
            line = line.replace(secret, "[redacted]")
        return one_line(line, _LONGEST)


class ConfiguredDependencies:
    """The dependencies of the settings: `dsns` maps name to DSN. Raises BadInput for one that is neither kind."""

    def __init__(self, dsns: Mapping[str, str], clock: Clock) -> None:
        self._dsns = {name: _Dsn(name, text) for name, text in dsns.items()}
        self._clock = clock

    async def check(self, names: Sequence[str]) -> Sequence[DependencyResult]:
        """Check all of `names` at once, in their order. `healthy` is None when nothing can be said, with the reason."""
        return await asyncio.gather(*(self._check(name) for name in names))

    async def slow_queries(self, name: str, limit: int) -> Sequence[SlowQuery]:
        """Statements with the highest mean time since the statistics were reset. Raises ProbeUnavailable."""
        dsn = self._dsns.get(name)
        if dsn is None or dsn.kind != POSTGRES:
            raise ProbeUnavailable(f"{name} is not a configured Postgres", where=name)
        try:
            rows = await _ask(dsn, _SLOWEST, (limit,))
            return [SlowQuery(_statement(str(q)), int(calls), float(mean)) for q, calls, mean in rows]
        except TimeoutError as e:
            raise ProbeUnavailable(f"{name} did not answer within {TIMEOUT:g} s", where=name) from e
        except psycopg.errors.UndefinedTable as e:
            text = f"{name} does not have the extension pg_stat_statements, so slow queries are not known"
            raise ProbeUnavailable(text, where=name) from e
        except psycopg.errors.ObjectNotInPrerequisiteState as e:
            text = f"{name} does not load pg_stat_statements (shared_preload_libraries)"
            raise ProbeUnavailable(text, where=name) from e
        except psycopg.Error as e:
            raise ProbeUnavailable(f"{name}: {dsn.clean(e)}", where=name) from e
        except ODD as e:
            raise ProbeUnavailable(f"{name}: {_OTHER_FORM}", where=name) from e

    async def _check(self, name: str) -> DependencyResult:
        dsn = self._dsns.get(name)
        if dsn is None:
            return DependencyResult(name, "unknown", None, f"no dependency {name} is configured")
        began = self._clock.monotonic()
        try:
            healthy, text = await (_select_one(dsn) if dsn.kind == POSTGRES else _ping(dsn))
        except _Unreachable as away:
            return DependencyResult(name, dsn.kind, None, str(away), unreachable=True)
        except TimeoutError:
            return DependencyResult(name, dsn.kind, None, f"no answer within {TIMEOUT:g} s", unreachable=True)
        spent = (self._clock.monotonic() - began) * 1000
        return DependencyResult(name, dsn.kind, healthy, text, round(spent, 1))


class _Unreachable(Exception):
    """No word of the dependency itself: TLS, DNS, a NetworkPolicy or a firewall look like a server that is down."""


async def _select_one(dsn: _Dsn) -> tuple[bool | None, str]:
    try:
        await _ask(dsn, "SELECT 1", ())
    except psycopg.Error as e:
        text = dsn.clean(e)
        if _LOGIN_REFUSED.search(str(e)):
            return None, f"answers, but refuses the login of this check: {text}"
        if e.sqlstate is None and not _SERVER_SAID.search(str(e)):
            raise _Unreachable(text) from e
        return False, text
    except ODD:
        return None, _OTHER_FORM
    return True, "answers SELECT 1"


async def _ask(dsn: _Dsn, query: str, values: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Within `TIMEOUT` to the login, and as much for the rest. Raises psycopg.Error, TimeoutError, one of `ODD`."""
    async with asyncio.timeout(TIMEOUT):
        connection = await psycopg.AsyncConnection.connect(
            dsn.text,
            connect_timeout=int(TIMEOUT),
            application_name="alert-remediator",
            client_encoding="UTF8",
        )
    async with Within(TIMEOUT, connection), connection:
        # SET LOCAL rather than a startup option: poolers such as PgBouncer refuse options they do not know.
        await connection.execute("SET TRANSACTION READ ONLY")
        await connection.execute(f"SET LOCAL statement_timeout = {int(TIMEOUT * 1000)}")
        return list(await (await connection.execute(query, values)).fetchall())


async def _ping(dsn: _Dsn) -> tuple[bool | None, str]:
    # Imported by the first check of a Redis: it would be a tenth of every start.
    from redis import exceptions as faults
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        client = Redis.from_url(
            dsn.text,
            socket_connect_timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            retry=Retry(
                NoBackoff(), 0
            ),  # the library repeats three times by default; a check wants the first word
        )
    except ValueError as e:  # an option that the library does not know
        raise _Unreachable(dsn.clean(e)) from e
    try:
        try:
            async with asyncio.timeout(TIMEOUT):
                await client.ping()
        finally:
            await client.aclose()
    except (faults.AuthenticationError, faults.AuthorizationError, faults.NoPermissionError) as e:
        return None, f"answers, but refuses the login of this check: {dsn.clean(e)}"
    except TimeoutError:
        raise  # of ours; it is an OSError too
    except (faults.ConnectionError, faults.TimeoutError, OSError, UnicodeError) as e:
        if isinstance(e, faults.BusyLoadingError) or "max number of clients" in str(e):
            return False, dsn.clean(e)
        raise _Unreachable(dsn.clean(e)) from e
    except faults.RedisError as e:
        return False, dsn.clean(e)
    except ODD:
        return None, _OTHER_FORM
    return True, "answers PING"


def _statement(text: str) -> str:
    return redact(" ".join(text.split()))[:500]
