"""Foreign errors of the store: what SQLAlchemy and the drivers raise becomes `app.domain.errors`.

Called by the writer, the readers and `open`. Never swallows anything: the cause is kept, its parameters (label values,
connection strings) stay out of the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import SQLITE_ERROR

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import BadInput, RemediatorError, StoreUnavailable

_RETRY_AFTER = 2.0  # seconds; Alertmanager's own back-off is of that order
_COLLISIONS = frozenset({"40001", "40P01"})  # serialization failure, deadlock: Postgres undid it, try again
_GONE = frozenset({"57", "08", "53"})  # classes: shutting down, connection, out of resources


def sqlstate(error: BaseException) -> str:
    """The five-character SQLSTATE of a Postgres error, empty for others."""
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def is_collision(error: BaseException) -> bool:
    """True when another transaction got in the way and the same work may well succeed on a second try."""
    return isinstance(error, DBAPIError) and (
        sqlstate(error) in _COLLISIONS or (isinstance(error, IntegrityError) and sqlstate(error) == "23505")
    )


def breaks_transaction(error: BaseException) -> bool:
    """True when the whole transaction is lost, not just the statement: disk full, locked, I/O, connection."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, InterfaceError | InternalError):
        return True
    if getattr(error.orig, "sqlite_errorcode", None) == SQLITE_ERROR:
        return False  # SQLite's word for a statement that makes no sense
    return isinstance(error, OperationalError) or sqlstate(error)[:2] in _GONE


def translate(error: SQLAlchemyError) -> RemediatorError:
    """Our error for a foreign one; the caller raises it `from` the foreign one.

    StoreUnavailable for everything that time may heal, BadInput for a value that the database cannot hold,
    RemediatorError (code `store_fault`) for a defect of ours.
    """
    reason = _reason(error)
    if breaks_transaction(error) or is_collision(error):
        return StoreUnavailable(f"the store could not commit: {reason}", retry_after=_RETRY_AFTER)
    if isinstance(error, DataError):
        return BadInput(f"the store cannot hold a value: {reason}", code="unstorable")
    return RemediatorError(f"the store refused a statement: {reason}", code="store_fault")


@contextmanager
def translated() -> Iterator[None]:
    """Raise our error for a foreign one inside the block."""
    try:
        yield
    except SQLAlchemyError as error:
        raise translate(error) from error


def _reason(error: SQLAlchemyError) -> str:
    original = getattr(error, "orig", None)
    if original is None:
        return type(error).__name__
    # First line only: Postgres puts the offending values into the lines after it.
    lines = str(original).strip().splitlines()
    return f"{type(original).__name__}: {lines[0]}" if lines else type(original).__name__
