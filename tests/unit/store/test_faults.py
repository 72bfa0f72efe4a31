"""Foreign errors become ours: what the caller should do is in the type, and no value leaks into the text."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
import pytest
from sqlalchemy import exc

from app.domain.errors import BadInput, RemediatorError, StoreUnavailable
from app.store.connection import breaks_transaction, commit_unclear, is_collision, leaves_open, translate


def sqlite(kind: type[sqlite3.Error], code: int, text: str = "database or disk is full") -> sqlite3.Error:
    """An error of the driver with SQLite's code."""
    error = kind(text)
    error.sqlite_errorcode = code
    return error


def wrapped(kind: type[exc.DBAPIError], original: Exception) -> exc.DBAPIError:
    """As SQLAlchemy raises it, with a statement and its parameters."""
    return kind("INSERT INTO t VALUES (?)", ("hunter2",), original)


_O, _I = exc.OperationalError, exc.IntegrityError
CASES: dict[str, tuple[Any, bool, bool, type[RemediatorError], str]] = {
    "disk full": (
        wrapped(_O, sqlite(sqlite3.OperationalError, sqlite3.SQLITE_FULL)),
        True,
        False,
        StoreUnavailable,
        "",
    ),
    "locked": (
        wrapped(_O, sqlite(sqlite3.OperationalError, sqlite3.SQLITE_BUSY)),
        True,
        False,
        StoreUnavailable,
        "",
    ),
    "bad statement": (
        wrapped(_O, sqlite(sqlite3.OperationalError, sqlite3.SQLITE_ERROR, "no such table: x")),
        False,
        False,
        RemediatorError,
        "store_fault",
    ),
    "unique on sqlite": (
        wrapped(_I, sqlite(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT)),
        False,
        False,
        RemediatorError,
        "store_fault",
    ),
    "unique on postgres": (
        wrapped(_I, psycopg.errors.UniqueViolation("duplicate key\nDETAIL: (hunter2)")),
        False,
        True,
        StoreUnavailable,
        "",
    ),
    "deadlock": (wrapped(_O, psycopg.errors.DeadlockDetected("deadlock")), True, True, StoreUnavailable, ""),
    "serialization": (
        wrapped(_O, psycopg.errors.SerializationFailure("again")),
        True,
        True,
        StoreUnavailable,
        "",
    ),
    "connection": (wrapped(_O, psycopg.OperationalError("server closed")), True, False, StoreUnavailable, ""),
    "value": (
        wrapped(exc.DataError, psycopg.errors.DataException("too big")),
        False,
        False,
        BadInput,
        "unstorable",
    ),
    "pool": (exc.TimeoutError("pool"), True, False, StoreUnavailable, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_each_foreign_error_has_its_meaning(case: str) -> None:
    error, breaks, collision, kind, code = CASES[case]
    ours = translate(error)
    assert (breaks_transaction(error), is_collision(error)) == (breaks, collision)
    assert type(ours) is kind
    assert ours.code == (code or "store_unavailable")
    assert "hunter2" not in str(ours)


def test_what_may_heal_says_when_to_come_back() -> None:
    ours = translate(CASES["disk full"][0])
    assert isinstance(ours, StoreUnavailable)
    assert ours.retry_after == 2.0


def test_errors_of_others_are_not_ours_to_judge() -> None:
    assert not breaks_transaction(ValueError("x"))
    assert not is_collision(ValueError("x"))


AT_COMMIT: dict[str, tuple[Any, bool]] = {
    "connection": (CASES["connection"][0], True),
    "ended by an administrator": (wrapped(_O, psycopg.errors.AdminShutdown("terminating")), True),
    "server crashed": (wrapped(_O, psycopg.errors.CrashShutdown("crash")), True),
    "completion unknown": (wrapped(_O, psycopg.errors.StatementCompletionUnknown("?")), True),
    "serialization": (CASES["serialization"][0], False),
    "deadlock": (CASES["deadlock"][0], False),
    "unique on postgres": (CASES["unique on postgres"][0], False),
    "idle for too long": (wrapped(_O, psycopg.errors.IdleInTransactionSessionTimeout("idle")), False),
    "disk full": (CASES["disk full"][0], False),
    "locked": (CASES["locked"][0], False),
    "the disk failed": (
        wrapped(_O, sqlite(sqlite3.OperationalError, sqlite3.SQLITE_IOERR, "disk I/O error")),
        True,
    ),
    "its sync failed": (
        wrapped(_O, sqlite(sqlite3.OperationalError, sqlite3.SQLITE_IOERR | 4 << 8, "disk I/O error")),
        True,
    ),
}


@pytest.mark.parametrize("case", AT_COMMIT)
def test_of_a_commit_it_is_known_which_error_leaves_it_open(case: str) -> None:
    error, unclear = AT_COMMIT[case]
    assert leaves_open(error) is unclear
    ours = commit_unclear(error)
    assert (ours.code, ours.retry_after) == ("commit_unclear", 2.0)
    assert "hunter2" not in str(ours)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('connection failed: FATAL:  password authentication failed for user "app"', "refused the login"),
        ('connection failed: FATAL:  role "app" does not exist', "refused the login"),
        ("FATAL:  no pg_hba.conf entry for host", "refused the login"),
        ('connection failed: FATAL:  database "absent" does not exist', "is not there: the server has no database of this name (CREATE DATABASE makes it, or REMEDIATOR_DATABASE_URL names another one)"),
        ('connection failed: FATAL:  too many connections for role "lim"', "has as many connections as its role or database may (CONNECTION LIMIT)"),
        ('connection failed: FATAL:  too many connections for database "db"', "has as many connections as its role or database may (CONNECTION LIMIT)"),
        ('FATAL:  database "db" is not currently accepting connections', "is closed (ALLOW_CONNECTIONS false)"),
        ("connection failed: FATAL:  sorry, too many clients already", "has no free connection (max_connections of the server)"),
        ('connection failed: connection to server at "10.0.0.1", port 5432 failed: Connection refused', "cannot be reached"),
        ("[Errno -2] Name or service not known", "cannot be reached"),
        ("connection timeout expired", "cannot be reached"),
        ("database or disk is full", "could not commit"),
        ("server closed the connection unexpectedly", "could not commit"),
    ],
)  # fmt: skip
def test_what_failed_is_said(said: str, told: str) -> None:
    error = exc.OperationalError(None, None, psycopg.OperationalError(said))
    assert translate(error).message.startswith(f"the store {told}: ")


def test_a_login_is_known_by_its_state_whatever_the_language() -> None:
    original = psycopg.errors.InvalidPassword("FATAL:  Passwort-Authentifizierung fehlgeschlagen")
    error = exc.OperationalError(None, None, original)
    assert translate(error).message.startswith("the store refused the login: ")
