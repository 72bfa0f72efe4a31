"""Advisory: one lock of Postgres under a replica's name, on a session of its own, for as long as the process lives.

The server lets go of it when the process dies, however it dies: a killed process frees it at once, a machine that is gone when the
server's keepalives give up (about 20 s). A session that breaks, because the server restarted, loses the lock as well: `hold`
takes it anew. Called by `presence` and `exclusive`, each with a class of keys. Never waits and never takes a lock from anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.domain.errors import StoreUnavailable
from app.store.answering import connected

_SESSION = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c statement_timeout=5000"
HELD = """SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = CAST(:class AS oid) AND l.objsubid = 2
    AND l.objid = CAST(hashtext({name})::bigint & 4294967295 AS oid)"""
"""Somebody holds the lock of this class and name."""

_MINE = sa.text(f"{HELD.format(name=':name')} AND l.pid = pg_backend_pid()")
_TAKE = sa.text("SELECT pg_try_advisory_lock(:class, hashtext(:name))")
_FREE = sa.text("SELECT pg_advisory_unlock_all()")


@contextmanager
def answering() -> Iterator[None]:
    """The database's errors, as ours."""
    try:
        yield
    except SQLAlchemyError as error:
        text = "the database that knows which replicas live did not answer"
        raise StoreUnavailable(text, where="store") from error


class NamedLock:
    """The lock of one class and name. Blocking: call on a thread."""

    def __init__(self, url: str | URL, name: str, number: int, purpose: str) -> None:
        self.key: dict[str, object] = {"class": number, "name": name}
        self._engine = sa.create_engine(
            url,
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "options": f"{_SESSION} -c application_name=alert-remediator-{purpose}",
                "connect_timeout": 5,
            },
        )
        sa.event.listen(self._engine, "do_connect", connected)
        self.session: sa.Connection | None = None

    def hold(self) -> bool:
        """Have the lock, on a new session when the old one broke. False when another process has this name.

        Raises StoreUnavailable.
        """
        with answering():
            try:
                return self._locked()
            except SQLAlchemyError:
                self._drop()
                return self._locked()

    def _locked(self) -> bool:
        if self.session is None:
            self.session = self._engine.connect()
        if self.session.execute(_MINE, self.key).scalar():
            return True
        return bool(self.session.execute(_TAKE, self.key).scalar())

    def close(self) -> None:
        """Let the lock go, so that nobody waits for the server to notice."""
        if self.session is not None:
            with suppress(SQLAlchemyError):
                self.session.execute(_FREE)
        self._drop()
        self._engine.dispose()

    def _drop(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            with suppress(SQLAlchemyError):
                session.invalidate()
                session.close()
