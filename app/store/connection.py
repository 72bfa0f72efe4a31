"""The connection to the database: how SQLite and Postgres are opened, how values are written, the statements of the hot path, and what
drivers raise, in our words. Never builds SQL from values."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import SQLITE_ERROR, SQLITE_IOERR
from typing import Any

import orjson
import structlog
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Executable,
    bindparam,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NoResultFound,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import Text

from app.domain.database import APPLICATION
from app.domain.errors import BadInput, CommitUnclear, RemediatorError, StoreUnavailable
from app.domain.free_text import one_line
from app.store.answering import ANSWER, connected, not_begun
from app.store.folder import make_folder, require_database
from app.store.options import known

# How values stand in the database: times as microseconds since the epoch, JSON and text in a storable form.
#
# Called by every module of the store. Never touches a connection.

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# One encoder for all: building one costs more than using it. Its text is that of `app.domain.json.canonical`.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

_SMALL = re.compile(rb"[0-9]e-[0-9]")


def micros(at: datetime) -> int:
    """Microseconds since 1970 of a timezone-aware time."""
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The UTC time of `micros`."""
    return _EPOCH + timedelta(microseconds=value)


def micros_or_none(at: datetime | None) -> int | None:
    """`micros`, or None for None."""
    return None if at is None else micros(at)


def moment_or_none(value: int | None) -> datetime | None:
    """`moment`, or None for None."""
    return None if value is None else moment(value)


def storable(text: str) -> str:
    """`text` without what no database keeps: NUL becomes U+FFFD, a lone surrogate "?".

    Senders can put both into a label with a JSON escape; one such label must not lose the batch it came in.
    """
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def to_text(value: Any) -> str:
    """`value` as canonical JSON text, storable (a NUL inside is escaped by JSON itself).

    The fast encoder gives the same text but for small exponents (1e-7 for 1e-07); those, and what it refuses (lone
    surrogates, numbers beyond 64 bits), take the long way, so that anyone's canonical JSON gives the same hash.
    """
    try:
        fast = orjson.dumps(value, None, orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    else:
        if type(value) is str or _SMALL.search(fast) is None:
            return fast.decode()
    text = _encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain_text(value: Any) -> str:
    """`to_text` of what holds text and whole numbers only: there is no exponent to look for."""
    try:
        return orjson.dumps(value, None, orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return to_text(value)


def to_json(text: str) -> Any:
    """The value of `to_text`."""
    return json.loads(text)


def object_or_none(value: Mapping[str, Any] | None) -> str | None:
    """`to_text` of a JSON object, or None for None."""
    return None if value is None else to_text(value)


# Foreign errors of the store: what SQLAlchemy and the drivers raise becomes `app.domain.errors`.
#
# Called by the writer, the readers and `open`. Never swallows anything: the cause is kept, its parameters (label
# values, connection strings) stay out of the message, and so does what looks like a secret in a server's own words.

_LONGEST = 300  # characters of what a server or a driver says
_RETRY_AFTER = 2.0  # seconds; Alertmanager's own back-off is of that order
_COLLISIONS = frozenset({"40001", "40P01"})  # serialization failure, deadlock: Postgres undid it, try again
_GONE = frozenset({"57", "08", "53"})  # classes: shutting down, connection, out of resources
_UNDONE = frozenset({"23", "25", "40"})
"""Classes with which Postgres says that it undid what was to be committed: integrity, transaction state, rollback."""
_COMPLETION_UNKNOWN = "40003"
_DENIED = "42501"  # insufficient privilege
_OF = re.compile(r"(?:table|relation|sequence|schema|function|column) \"?([\w.]+)")
_log = structlog.get_logger("app.store")


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


def leaves_open(error: SQLAlchemyError) -> bool:
    """Of an error of COMMIT itself: nobody knows whether it was done. Clear is only what the database said of it: on Postgres that it
    undid the transaction, on SQLite whatever is no fault of reading and writing the file."""
    original = getattr(error, "orig", None)
    if (code := getattr(original, "sqlite_errorcode", None)) is not None:
        return bool(code & 0xFF == SQLITE_IOERR)
    state = sqlstate(error)
    return state[:2] not in _UNDONE or state == _COMPLETION_UNKNOWN


def commit_unclear(error: SQLAlchemyError) -> CommitUnclear:
    """Our error for a foreign one of which `leaves_open` is true; the caller raises it `from` the foreign one."""
    text = f"it is not known whether this was taken: the answer to the commit was lost ({_reason(error)}); look before you repeat it"
    return CommitUnclear(text, retry_after=_RETRY_AFTER)


def translate(error: SQLAlchemyError) -> RemediatorError:
    """Our error for a foreign one; the caller raises it `from` the foreign one.

    StoreUnavailable for everything that time or a GRANT may heal, BadInput for a value that the database cannot hold,
    RemediatorError (code `store_fault`) for a defect of ours. The last and a missing right are an error in the log too: who is told of
    it only hears a code.
    """
    reason = _reason(error)
    if breaks_transaction(error) or is_collision(error):
        return StoreUnavailable(f"the store {_what_failed(error)}: {reason}", retry_after=_RETRY_AFTER)
    if isinstance(error, DataError):
        return BadInput(f"the store cannot hold a value: {reason}", code="unstorable")
    original = getattr(error, "orig", None) or error
    state, table = sqlstate(error), _table(original)
    _log.error("store_refused_a_statement", error=type(original).__name__, sqlstate=state, table=table)
    if state == _DENIED:
        return StoreUnavailable(f"the store may not do this: {reason}", retry_after=_RETRY_AFTER)
    return RemediatorError(f"the store refused a statement: {reason}", code="store_fault")


def _what_failed(error: SQLAlchemyError) -> str:
    return not_begun(str(getattr(error, "orig", None) or error), sqlstate(error)) or "could not commit"


def _table(original: BaseException) -> str:
    """What the driver's error is about: as it says itself, or by the first line of its text; values stand in neither."""
    told = getattr(getattr(original, "diag", None), "table_name", None)
    found = None if told else _OF.search(next(iter(str(original).splitlines()), ""))
    return str(told or (found[1] if found else ""))


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
        return str(error) if isinstance(error, NoResultFound) else type(error).__name__
    # First line only: Postgres puts the offending values into the lines after it.
    lines = str(original).strip().splitlines()
    said = one_line(lines[0], _LONGEST) if lines else ""
    return f"{type(original).__name__}: {said}" if said else type(original).__name__


# Engines: how SQLite and Postgres are opened. Owns URLs, pragmas and time-outs.
#
# Called by `Store.open` and `migrate.upgrade`. Never runs a query of its own beyond connection settings.

READERS, LOOKERS = 4, 2  # threads that read for the service's own work, and for who looks; a connection each
_LOCK_SECONDS = 5.0
_PRAGMAS = (
    "PRAGMA auto_vacuum=INCREMENTAL",  # takes effect on a new file only, before its first table
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on disk before it is answered
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-4096",  # 4 MiB: the operating system keeps the file, and memory is counted for each connection
    "PRAGMA wal_autocheckpoint=4000",  # 16 MiB of log, so that a checkpoint writes each hot page once for many commits
    "PRAGMA journal_size_limit=16777216",  # what one large commit made it longer by is given back with the next one
)
_READER_PRAGMAS = ("PRAGMA query_only=ON", "PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-1024")
_NAME = f"{APPLICATION}-store"
ENCODING = "UTF8"
"""Of a Postgres database, and said when connecting, which counts before what the database or the role says."""
_POSTGRES_CONNECTION = {"connect_timeout": ANSWER, "client_encoding": ENCODING}
# A replica that stops in the middle of a transaction holds the audit head; the server frees it.
_POSTGRES_WRITER = (
    "-c idle_in_transaction_session_timeout=15000 -c lock_timeout=10000 -c statement_timeout=30000"
    f" -c synchronous_commit=on -c application_name={_NAME}"
)


def parse(url: str) -> URL:
    """The URL with our driver. Raises BadInput for anything but `sqlite:///PATH` and `postgresql://...`."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput("not a database URL", code="bad_setting", where="DATABASE_URL") from error
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite")
    if parsed.drivername in ("postgresql", "postgres"):
        return known(parsed).set(drivername="postgresql+psycopg")
    raise BadInput(
        "expected sqlite:///PATH or postgresql://USER@HOST/NAME", code="bad_setting", where="DATABASE_URL"
    )


def writer_engine(url: URL) -> Engine:
    """For the writing threads, which keep their connection, and for migrations."""
    if url.get_backend_name() == "sqlite":
        _private(file := Path(url.database or "").resolve())
        require_database(file, ours="alembic_version")
        return _sqlite(url, _PRAGMAS, begin="BEGIN IMMEDIATE", poolclass=NullPool)
    return _postgres(url, _POSTGRES_WRITER, poolclass=NullPool)


def _private(path: Path) -> None:
    """Make the file readable by its owner only, and its folder when it is new; SQLite's files beside it follow the file."""
    make_folder(path.parent)
    # A folder that cannot be written, a full disk, another owner's file: opening it says so in its own words.
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def reader_engine(url: URL) -> Engine:
    """For the reading threads: every read sees one moment, and cannot write."""
    size = READERS + LOOKERS
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, _READER_PRAGMAS, begin="BEGIN", poolclass=QueuePool, pool_size=size)
    options = f"-c default_transaction_read_only=on -c statement_timeout=30000 -c application_name={_NAME}"
    return _postgres(url, options, pool_size=size, pool_pre_ping=True, isolation_level="REPEATABLE READ")


def _postgres(url: URL, options: str, **pool: Any) -> Engine:
    engine = create_engine(url, connect_args={**_POSTGRES_CONNECTION, "options": options}, **pool)
    event.listen(engine, "do_connect", connected)
    return engine


def _sqlite(url: URL, pragmas: tuple[str, ...], *, begin: str, **pool: Any) -> Engine:
    wait = {} if "timeout" in url.query else {"timeout": _LOCK_SECONDS}
    engine = create_engine(url, connect_args={**wait, "check_same_thread": False}, **pool)

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


# Statements of the hot path, compiled once per dialect and executed without SQLAlchemy's per-call work.
#
# Called by `ingest` and `audit`, where a few statements carry thousands of rows. Everything else uses SQLAlchemy the
# usual way. Never builds SQL from values.

# Positional placeholders on both, so that rows are plain tuples.
_DIALECTS: dict[str, Dialect] = {
    "sqlite": SQLiteDialect_pysqlite(paramstyle="qmark"),
    "postgresql": PGDialect_psycopg(paramstyle="format"),  # type: ignore[no-untyped-call]
}


class Members(ColumnElement[str]):
    """The strings of a JSON array bound to parameter `name`, for `column.in_`-like tests with any number of values.

    One statement text serves every batch size, so it is prepared once.
    """

    inherit_cache = False  # compiled here only, never through SQLAlchemy's own cache
    type = Text()

    def __init__(self, name: str) -> None:
        self.list = bindparam(name, type_=Text())


@compiles(Members, "sqlite")
def _members_sqlite(element: Members, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.list, **kw)}))"


@compiles(Members, "postgresql")
def _members_postgresql(element: Members, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.list, **kw)} AS jsonb)))"


def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`column` is one of the strings bound to `name` with `members`."""
    return column.op("IN", is_comparison=True)(Members(name))


def members(values: Sequence[str]) -> str:
    """The parameter for `among`."""
    return to_text(values)


class Prepared:
    """One statement with its parameters in the order `names`."""

    def __init__(self, statement: Executable, names: Sequence[str]) -> None:
        self._text: dict[str, str] = {}
        for dialect_name, dialect in _DIALECTS.items():
            compiled = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
            if list(compiled.positiontup) != list(names):
                raise ValueError(f"parameters are {compiled.positiontup}, expected {list(names)}")
            self._text[dialect_name] = compiled.string

    def one(self, conn: Connection, *values: Any) -> CursorResult[*tuple[Any, ...]]:
        """Execute with one set of parameters."""
        return conn.exec_driver_sql(self._text[conn.dialect.name], values)

    def many(self, conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute once per row; nothing happens for no rows."""
        if rows:
            conn.exec_driver_sql(self._text[conn.dialect.name], list(rows))
