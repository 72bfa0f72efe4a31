"""Pruning: retention in steps so small that nobody who posts an alert notices.

Owns how much one step removes and how long the next one waits. A step is one write transaction; on SQLite a post that comes
during it waits for its end, so steps are sized by how long the last one took, and between two of them there is as much time
without one. Called by the prune loop. Never decides what may go: that is `retention`'s.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from app.domain.ports import Clock
from app.store import retention
from app.store.database import Store

SMALLEST: Final = 5
LARGEST: Final = 200
_FIRST: Final = 20
_AIM: Final = 0.025
"""Seconds that a step may hold the writer: a post waits for its own commit about as long."""
_PAUSE: Final = 0.05  # seconds
_BUSY: Final = 8  # waiting writes from which on intake goes first
_YIELDS: Final = 20
"""How often a step waits for intake at most: a store that is never pruned fills the disk."""


class Pruner:
    """Where the pass stands, and how large its steps are."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._audit_from = 0
        self.limit = _FIRST

    async def step(self, older_than: datetime, counted: timedelta = timedelta()) -> bool:
        """Remove one step's worth of what was over before `older_than`; True when there is more. `counted` is how long limits count what a
        run did. Raises StoreUnavailable."""
        for _ in range(_YIELDS):
            if self._store.waiting <= _BUSY:
                break
            await self._clock.sleep(_PAUSE)
        limit, start, began = self.limit, self._audit_from, self._clock.monotonic()
        pruned = await self._store.write(
            lambda tx: retention.prune(tx, older_than, limit, start, counted=counted)
        )
        took = self._clock.monotonic() - began
        self._audit_from = pruned.audit_from
        if took > 2 * _AIM:
            self.limit = max(SMALLEST, limit // 2)
        elif took < _AIM:
            self.limit = min(LARGEST, limit * 2)
        if pruned.more:
            await self._clock.sleep(max(_PAUSE, took))
        return pruned.more
