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

from app.domain.errors import BadInput
from app.store.advisory import NamedLock
from app.store.connection import parse

_CLASS: Final = 0x72656D78
"""First half of the advisory lock's key, another than that of the presence of replicas; the second is the name's hash."""
Hold = Callable[[], bool]
"""Have the lock still, or anew after the server restarted. False when another process has taken it. Blocking; raises
StoreUnavailable."""


@contextmanager
def only_process(url: str, replica: str) -> Iterator[Hold]:
    """Be the only process on this store for the length of the block; blocking at its start. What it gives keeps the lock: the
    caller asks it now and then, because a session's lock goes with a restart of the server.

    Raises BadInput (code `already_running`) when another one is, StoreUnavailable when Postgres does not answer.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        with _file_lock(Path(parsed.database or "")):
            yield lambda: True  # the file is open until the end
    else:
        with _session_lock(parsed, replica) as hold:
            yield hold


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
def _session_lock(url: URL, replica: str) -> Iterator[Hold]:
    lock = NamedLock(url, replica, _CLASS, "exclusive")
    try:
        if not lock.hold():
            raise taken(replica)
        yield lock.hold
    finally:
        lock.close()


def taken(replica: str) -> BadInput:
    """Another process runs under this replica's name."""
    return BadInput(
        f"another process runs as replica {replica!r} on this database; give each its own name",
        code="already_running",
        where="REMEDIATOR_REPLICA",
    )
