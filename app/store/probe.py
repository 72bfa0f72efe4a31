"""The write probe: can the store write? A read cannot tell: a full or read-only disk still answers it.

Called by `Store.probe_write` for the readiness of the service. Never writes anything that is not there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy import update

from app.domain.errors import RemediatorError, StoreUnavailable
from app.store.audit import HeadGoneError
from app.store.schema import audit_chain
from app.store.tx import Tx

_FRESH: Final = 5.0  # seconds for which an answer stands
_PATIENCE: Final = 2.0
"""Seconds: whoever asks whether the service is ready does not wait much longer."""


class WriteProbe:
    """Remembers the last answer, so that many who ask cost one commit every few seconds, and one at a time."""

    def __init__(self, monotonic: Callable[[], float], write: Callable[[], Awaitable[None]]) -> None:
        self._monotonic, self._write = monotonic, write
        self._asked: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._error: RemediatorError | None = None

    async def __call__(self) -> None:
        """Raises StoreUnavailable, or what else the store said, when it cannot write."""
        if self._running is None and (self._asked is None or self._monotonic() - self._asked >= _FRESH):
            self._running = asyncio.create_task(self._look())
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=_PATIENCE)
            if self._running is not None:
                raise StoreUnavailable(
                    f"the store has not committed a write for {_PATIENCE:g} s", where="store"
                )
        if self._error is not None:
            raise self._error

    async def _look(self) -> None:
        try:
            await self._write()
            self._error = None
        except RemediatorError as error:
            self._error = error
        finally:
            self._asked, self._running = self._monotonic(), None


def touch(tx: Tx) -> None:
    """Write a row as it is: it goes through the log and the disk like any other. Raises HeadGoneError when it is not there, without
    which nothing else can be written."""
    head = update(audit_chain).where(audit_chain.c.id == 1).values(seq=audit_chain.c.seq)
    if not tx.conn.execute(head).rowcount:
        raise HeadGoneError
