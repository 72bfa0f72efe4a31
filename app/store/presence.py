"""Presence: which replicas of a Postgres database are alive, told by locks that the server lets go when a process dies.

Each replica holds one advisory lock under its name on a session of its own for as long as it lives. Nobody's clock is
asked: a killed process frees its lock at once, a machine that is gone frees it when the server's keepalives give up
(about 20 s). Called by the composition root's `Replicas` port for the sweep. Never decides what becomes of what a replica held that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.domain.errors import StoreUnavailable

_CLASS = 0x72656D65
"""First half of our advisory locks' keys; the second is the hash of a replica's name."""

_SESSION = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c statement_timeout=5000 -c application_name=alert-remediator-presence"
)

_HOLD = sa.text("SELECT pg_try_advisory_lock(:class, hashtext(:name))")
_FREE = sa.text("SELECT pg_advisory_unlock_all()")
_HELD = """SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = CAST(:class AS oid) AND l.objsubid = 2
    AND l.objid = CAST(hashtext({name})::bigint & 4294967295 AS oid)"""
_MINE = sa.text(f"{_HELD.format(name=':name')} AND l.pid = pg_backend_pid()")
_GONE = sa.text(f"""SELECT n.name FROM (SELECT unnest(CAST(:others AS text[])) AS name) n
    WHERE n.name <> :name AND NOT EXISTS ({_HELD.format(name="n.name")})""")


class Presence:
    """This replica's lock, and the look at those of the others. Blocking: call on a thread."""

    def __init__(self, url: str, name: str) -> None:
        self._name = name
        self._engine = sa.create_engine(
            url,
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"options": _SESSION, "connect_timeout": 5},
        )
        self._session: sa.Connection | None = None
        self._missed: frozenset[str] = frozenset()

    def hold(self) -> bool:
        """Have the lock, on a new session when the old one broke. False when another process has this name.

        Raises StoreUnavailable.
        """
        with _translated():
            try:
                return self._locked()
            except SQLAlchemyError:
                self._drop()
                return self._locked()

    def _locked(self) -> bool:
        if self._session is None:
            self._session = self._engine.connect()
        if self._session.execute(_MINE, self._key).scalar():
            return True
        return bool(self._session.execute(_HOLD, self._key).scalar())

    @property
    def _key(self) -> dict[str, object]:
        return {"class": _CLASS, "name": self._name}

    def gone(self, others: Sequence[str]) -> tuple[str, ...]:
        """Those of `others` whose lock nobody held at this look nor at the
        one before it: a broken session, or a restart, is no death. Raises StoreUnavailable."""
        with _translated():
            if self._session is None:
                return ()
            missed = frozenset(self._session.execute(_GONE, {**self._key, "others": list(others)}).scalars())
        dead = missed & self._missed
        self._missed = missed
        return tuple(sorted(dead))

    def close(self) -> None:
        """Let the lock go, so that nobody waits for the server to notice."""
        if self._session is not None:
            with suppress(SQLAlchemyError):
                self._session.execute(_FREE)
        self._drop()
        self._engine.dispose()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(SQLAlchemyError):
                session.invalidate()
                session.close()


@contextmanager
def _translated() -> Iterator[None]:
    """The database's errors, as ours."""
    try:
        yield
    except SQLAlchemyError as error:
        text = "the database that knows which replicas live did not answer"
        raise StoreUnavailable(text, where="store") from error


async def keep_watch(presence: Presence, others: Sequence[str]) -> tuple[str, ...]:
    """Hold the own name and tell which of the others are gone; for the event loop. Raises StoreUnavailable."""

    def look() -> tuple[str, ...]:
        presence.hold()
        return presence.gone(others)

    return await asyncio.to_thread(look)
