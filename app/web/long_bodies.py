"""Long bodies are read beside the event loop: a few at once, and nobody waits for long.

Owns the places for it: one for bodies up to a mebibyte and one for longer ones, so that neither waits for the other, and in each one
body of a sender at a time, so that who sends many holds up nobody else for longer than one body takes. Who has waited too long is
told to come again. Never looks into a body; what one may cost is bounded by whoever reads it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from app.domain.errors import TryLater
from app.domain.pieces import PIECE

T = TypeVar("T")
_LARGE: Final = 1024 * 1024
PATIENCE: Final = 8.0
"""Seconds that a body waits for its place."""


class LongBodies:
    """The places in which long bodies are read. `patience` is in seconds."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._places = {False: asyncio.Lock(), True: asyncio.Lock()}
        self._senders: defaultdict[tuple[str, bool], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, sender: str, body: bytes, parse: Callable[[], T]) -> T:
        """What `parse` makes of the body: at once when it is short, else in a thread. Raises TryLater (`overloaded`), and what it raises."""
        if len(body) <= PIECE:
            return parse()
        large = len(body) > _LARGE
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._patience):
                    await held.enter_async_context(self._senders[sender, large])
                    await held.enter_async_context(self._places[large])
            except TimeoutError:
                raise TryLater(
                    "other long bodies are still being read", code="overloaded", retry_after=self._patience
                ) from None
            return await asyncio.to_thread(parse)
