"""How a connection to Postgres begins: with a first word of the server within a few seconds, and without our password in what it says.

Called by SQLAlchemy for each new connection of the engines of `app.store.connection`.
"""

from __future__ import annotations

import re
from threading import Event, Timer
from typing import Any, Final

from sqlalchemy import Dialect

from app.domain.odd_servers import hang_up

ANSWER: Final = 5
"""Seconds for the login, and as many for the first answer after it."""
_REDACTED: Final = "[redacted]"


def connected(dialect: Dialect, _record: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """A connection that has answered. Raises what the driver does."""
    faults: Any = dialect.loaded_dbapi
    try:
        connection: Any = dialect.connect(*arguments, **options)
    except faults.Error as error:
        raise type(error)(_without(str(error), str(options.get("password") or ""))) from None
    # A server, or a pooler in front of it, may take the login and then say nothing: the driver would wait for ever.
    late = Event()

    def end() -> None:
        late.set()
        hang_up(connection.fileno())

    timer = Timer(ANSWER, end)
    timer.daemon = True
    timer.start()
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except faults.Error as error:
        connection.close()
        if late.is_set():
            told = f"the server takes the login, and gave no answer within {ANSWER} s"
            raise faults.OperationalError(told) from None
        raise type(error)(_without(str(error), str(options.get("password") or ""))) from None
    finally:
        timer.cancel()
    return connection


def _without(text: str, password: str) -> str:
    """What a server repeats of our own login is known to be a secret, in whatever sentence."""
    return text.replace(password, _REDACTED) if password else text


_LOGIN = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects|role \"[^\"]*\" does not exist|not permitted to log in"
    r"|permission denied for database"
)
_REFUSED: Final = (
    (
        re.compile(r"database \"[^\"]*\" does not exist|no such database"),
        "is not there: the server has no database of this name (CREATE DATABASE makes it, or REMEDIATOR_DATABASE_URL names another one)",
    ),
    (
        re.compile(r"too many connections for (?:role|database)"),
        "has as many connections as its role or database may (CONNECTION LIMIT)",
    ),
    (re.compile(r"is not currently accepting connections"), "is closed (ALLOW_CONNECTIONS false)"),
    (
        re.compile(r"too many clients already|remaining connection slots are reserved"),
        "has no free connection (max_connections of the server)",
    ),
)
_AWAY = re.compile(
    r"connection (?:failed|refused|timeout|to server)|could not (?:connect|receive data|translate)|failed to resolve|timeout expired"
    r"|name or service not known|unable to open database file",
    re.IGNORECASE,
)


def not_begun(said: str, state: str) -> str:
    """What a server or a driver says of a connection that did not come about, in words; empty for another fault. `state` is its SQLSTATE."""
    said = said[:4_000]
    if found := next((words for pattern, words in _REFUSED if pattern.search(said)), ""):
        return found
    if state[:2] == "28" or _LOGIN.search(said):
        return "refused the login"
    return "cannot be reached" if _AWAY.search(said) else ""
