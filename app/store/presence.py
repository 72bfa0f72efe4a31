"""Presence: which replicas of a Postgres database are alive, told by locks that the server lets go when a process dies.

Each replica holds one advisory lock under its name on a session of its own for as long as it lives. Nobody's clock is
asked: a killed process frees its lock at once, a machine that is gone frees it when the server's keepalives give up
(about 20 s). Called by the composition root's `Replicas` port for the sweep. Never decides what becomes of what a replica held that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from threading import Lock

import sqlalchemy as sa

from app.store.advisory import HELD, NamedLock, answering

_CLASS = 0x72656D65
"""First half of our advisory locks' keys; the second is the hash of a replica's name."""

_GONE = sa.text(f"""SELECT n.name FROM (SELECT unnest(CAST(:others AS text[])) AS name) n
    WHERE n.name <> :name AND NOT EXISTS ({HELD.format(name="n.name")})""")


class Presence(NamedLock):
    """This replica's lock, and the look at those of the others. Blocking: call on a thread."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name, _CLASS, "presence")
        self._missed: frozenset[str] = frozenset()
        self._one_at_a_time = Lock()  # several loops ask, on threads, by one session

    def hold(self) -> bool:
        """As `NamedLock.hold`."""
        with self._one_at_a_time:
            return super().hold()

    def gone(self, others: Sequence[str]) -> tuple[str, ...]:
        """Those of `others` whose lock nobody held at this look nor at the
        one before it: a broken session, or a restart, is no death. Raises StoreUnavailable."""
        missed = self.absent(others)
        dead = missed & self._missed
        self._missed = (
            self._missed - frozenset(others)
        ) | missed  # whom another loop asked about is its matter
        return tuple(sorted(dead))

    def absent(self, others: Sequence[str]) -> frozenset[str]:
        """Those of `others` whose lock nobody holds at this moment, which alone is no death. Raises StoreUnavailable."""
        with self._one_at_a_time, answering():
            if self.session is None:
                return frozenset()
            found = self.session.execute(_GONE, {**self.key, "others": list(others)}).scalars()
            return frozenset(str(name) for name in found)


async def keep_watch(presence: Presence, others: Sequence[str]) -> tuple[str, ...]:
    """Hold the own name and tell which of the others are gone; for the event loop. Raises StoreUnavailable."""

    def look() -> tuple[str, ...]:
        presence.hold()
        return presence.gone(others)

    return await asyncio.to_thread(look)


async def away_now(presence: Presence, others: Sequence[str]) -> tuple[str, ...]:
    """Which of the others' names nobody holds at this moment; for the event loop. Raises StoreUnavailable."""
    return tuple(sorted(await asyncio.to_thread(presence.absent, others)))
