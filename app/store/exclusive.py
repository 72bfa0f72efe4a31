"""One process per store file, one per replica's name on a shared database: a second one is refused at its start.

On SQLite a lock on a file beside the store's, on Postgres an advisory lock under the replica's name on a session of its own. The
operating system, or the server, lets go of either when the process dies, however it dies. Called by `serve` before it opens
the store. Never waits and never takes a lock from anybody.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.domain.errors import BadInput, StoreUnavailable
from app.store.advisory import NamedLock
from app.store.connection import parse, translate
from app.store.folder import make_folder, no_folder, require_database

_CLASS: Final = 0x72656D78
"""First half of the advisory lock's key, another than that of the presence of replicas; the second is the name's hash."""
Hold = Callable[[], bool]
"""Have the lock still, or anew after the server restarted. False when another process has taken it. Blocking; raises
StoreUnavailable."""


@contextmanager
def only_process(url: str, replica: str) -> Iterator[Hold]:
    """Be the only process on this store for the length of the block; blocking at its start. What it gives keeps the lock: the
    caller asks it now and then, because a session's lock goes with a restart of the server.

    Raises BadInput when another one is (code `already_running`), and when the folder cannot be written or Postgres not be opened (`bad_setting`).
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        with _file_lock(Path(parsed.database or "")):
            yield lambda: True  # the file is open until the end
    else:
        with _session_lock(parsed, replica) as hold:
            yield hold


def engine_file(store: Path) -> Path:
    """Where the workflow engine keeps what it knows, beside a store that is a file."""
    return store.with_name(f"{store.stem}-engine.sqlite")


@contextmanager
def _file_lock(store: Path) -> Iterator[None]:
    make_folder(store.parent)
    path = store.with_name(f"{store.name}.lock")
    # Never removed: a second process could lock a file that a third no longer finds.
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise no_folder(store.parent, error) from error
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
        require_database(engine_file(store))
        yield
    finally:
        os.close(file)


@contextmanager
def _session_lock(url: URL, replica: str) -> Iterator[Hold]:
    lock = NamedLock(url, replica, _CLASS, "exclusive")
    try:
        try:
            held = lock.hold()
        except StoreUnavailable as error:
            raise _not_opened(url, error) from error
        if not held:
            raise taken(replica)
        yield lock.hold
    finally:
        lock.close()


def _not_opened(url: URL, error: StoreUnavailable) -> BadInput:
    """At the start it is the setting that is looked at first, whatever the reason; the password is in none of this."""
    cause = error.__cause__
    reason = translate(cause).message if isinstance(cause, SQLAlchemyError) else error.message
    place = f"{url.host or 'the local socket'}:{url.port or 5432}"
    told = f"the database {url.database or ''} at {place} could not be opened as {url.username or 'nobody'}: {reason}"
    return BadInput(told, code="bad_setting", where="REMEDIATOR_DATABASE_URL")


def taken(replica: str) -> BadInput:
    """Another process runs under this replica's name."""
    return BadInput(
        f"another process runs as replica {replica!r} on this database; give each its own name",
        code="already_running",
        where="REMEDIATOR_REPLICA",
    )
