"""Presence: which replicas of a Postgres database are alive, told by locks that the server lets go when a process dies.

Each replica holds one advisory lock under its name on a session of its own for as long as it lives. Nobody's clock is
asked: a killed process frees its lock at once, a machine that is gone frees it when the server's keepalives give up
(about 20 s). Called by the composition root's `Replicas` port for the sweep. Never decides what becomes of what a replica held that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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

    def gone(self, others: Sequence[str]) -> tuple[str, ...]:
        """Those of `others` whose lock nobody held at this look nor at the
        one before it: a broken session, or a restart, is no death. Raises StoreUnavailable."""
        with answering():
            if self.session is None:
                return ()
            missed = frozenset(self.session.execute(_GONE, {**self.key, "others": list(others)}).scalars())
        dead = missed & self._missed
        self._missed = missed
        return tuple(sorted(dead))


async def keep_watch(presence: Presence, others: Sequence[str]) -> tuple[str, ...]:
    """Hold the own name and tell which of the others are gone; for the event loop. Raises StoreUnavailable."""

    def look() -> tuple[str, ...]:
        presence.hold()
        return presence.gone(others)

    return await asyncio.to_thread(look)
