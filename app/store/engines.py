"""Engines: how SQLite and Postgres are opened. Owns URLs, pragmas and time-outs.

Called by `Store.open` and `migrate.upgrade`. Never runs a query of its own beyond connection settings.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool

from app.domain.database import APPLICATION
from app.domain.errors import BadInput

READERS = 4
"""Reading threads, and connections for them."""

_LOCK_SECONDS = 5.0
_PRAGMAS = (
    "PRAGMA auto_vacuum=INCREMENTAL",  # takes effect on a new file only, before its first table
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on disk before it is answered
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16384",  # 16 MiB: the hot end of every index; the operating system keeps the rest of the file
    "PRAGMA wal_autocheckpoint=4000",  # 16 MiB of log, so that a checkpoint writes each hot page once for many commits
    "PRAGMA journal_size_limit=67108864",
)
_READER_PRAGMAS = ("PRAGMA query_only=ON", "PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-4096")
_NAME = f"{APPLICATION}-store"
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
        return parsed.set(drivername="postgresql+psycopg")
    raise BadInput(
        "expected sqlite:///PATH or postgresql://USER@HOST/NAME", code="bad_setting", where="DATABASE_URL"
    )


def writer_engine(url: URL) -> Engine:
    """For the writing threads, which keep their connection, and for migrations."""
    if url.get_backend_name() == "sqlite":
        _private(Path(url.database or "").resolve())
        return _sqlite(url, _PRAGMAS, begin="BEGIN IMMEDIATE", poolclass=NullPool)
    return create_engine(
        url, poolclass=NullPool, connect_args={"options": _POSTGRES_WRITER, "connect_timeout": 5}
    )


def _private(path: Path) -> None:
    """Make the file readable by its owner only, and its folder when it is new; SQLite's files beside it follow the file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A folder that cannot be written, a full disk, another owner's file: opening it says so in its own words.
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def reader_engine(url: URL) -> Engine:
    """For the reading threads: every read sees one moment, and cannot write."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, _READER_PRAGMAS, begin="BEGIN", poolclass=QueuePool, pool_size=READERS)
    options = f"-c default_transaction_read_only=on -c statement_timeout=30000 -c application_name={_NAME}"
    return create_engine(
        url,
        pool_size=READERS,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        connect_args={"options": options, "connect_timeout": 5},
    )


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
