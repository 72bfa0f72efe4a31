"""Long bodies, and short ones whose texts take long to look through, are read beside the event loop: a few at once, and nobody waits for long.

Owns the places for it: one for bodies up to a mebibyte and one for longer ones, so that neither waits for the other, and in each one
body of a sender at a time, so that who sends many holds up nobody else for longer than one body takes. Who has waited too long is
told to come again. Never looks into a body itself. All looks at a body's texts together are bounded by its length.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Final, TypeVar

from app.domain.errors import TryLater
from app.domain.pieces import PIECE
from app.domain.redact import TooDear, work_bounded

T = TypeVar("T")
_LARGE: Final = 1024 * 1024
_AT_ONCE: Final = 1_000
"""Units of work (`app.domain.redact.Effort`) on the texts of one body on the event loop: some 50 ms. Alerts as Alertmanager sends them take 20 or
less each."""
_ANYWAY, _MAX_WORK = 4_000, 300_000
"""In a thread: so much, and one for every other byte; and at most."""
PATIENCE: Final = 8.0
"""Seconds that a body waits for its place."""


class LongBodies:
    """The places in which long bodies are read. `patience` is in seconds."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._places = {False: asyncio.Lock(), True: asyncio.Lock()}
        self._senders: defaultdict[tuple[str, bool], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, sender: str, body: bytes, parse: Callable[[], T]) -> T:
        """What `parse` makes of the body: at once when it is short and its texts are as programs write them, else in a thread, and then from the
        beginning. Raises TryLater (`overloaded`), and what it raises."""
        if len(body) <= PIECE:
            with suppress(TooDear), work_bounded(_AT_ONCE, hides=False):
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
            return await asyncio.to_thread(_bounded, parse, len(body))


def _bounded(parse: Callable[[], T], length: int) -> T:
    with work_bounded(min(_MAX_WORK, _ANYWAY + length // 2), hides=True):
        return parse()
