"""One process per store file, one per replica's name on a shared database: a second one is refused at its start.

On SQLite a lock on a file beside the store's, on Postgres an advisory lock under the replica's name on a session of its own. The
operating system, or the server, lets go of either when the process dies, however it dies. Called by `serve` before it opens
the store. Never waits and never takes a lock from anybody.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import URL

from app.domain.errors import BadInput
from app.store.engines import parse
from app.store.faults import translated

_CLASS: Final = 0x72656D78
"""First half of the advisory lock's key, another than that of the presence of replicas; the second is the name's hash."""
_SESSION: Final = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c application_name=alert-remediator-exclusive"
)
_TAKE = sa.text("SELECT pg_try_advisory_lock(:class, hashtext(:name))")


@contextmanager
def only_process(url: str, replica: str) -> Iterator[None]:
    """Be the only process on this store for the length of the block; blocking at its start.

    Raises BadInput (code `already_running`) when another one is, StoreUnavailable when Postgres does not answer.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        with _file_lock(Path(parsed.database or "")):
            yield
    else:
        with _session_lock(parsed, replica):
            yield


@contextmanager
def _file_lock(store: Path) -> Iterator[None]:
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = store.with_name(f"{store.name}.lock")
    # Never removed: a second process could lock a file that a third no longer finds.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            raise BadInput(
                f"another process{f' ({holder})' if holder else ''} serves {store}; two would send and act twice",
                code="already_running",
                where="REMEDIATOR_STATE_DIR",
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"pid {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


@contextmanager
def _session_lock(url: URL, replica: str) -> Iterator[None]:
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"options": _SESSION, "connect_timeout": 5},
    )
    try:
        with translated():
            session = engine.connect()
            taken = session.execute(_TAKE, {"class": _CLASS, "name": replica}).scalar()
        if not taken:
            session.close()
            raise BadInput(
                f"another process runs as replica {replica!r} on this database; give each its own name",
                code="already_running",
                where="REMEDIATOR_REPLICA",
            )
        try:
            yield
        finally:
            session.invalidate()
            session.close()
    finally:
        engine.dispose()
