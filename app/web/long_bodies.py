"""Long bodies, and short ones whose texts take long to look through, are read beside the event loop: a few at once, and nobody waits for long.

Owns the places for it: one for bodies up to a mebibyte and one for longer ones, so that neither waits for the other, and in each one
body of a sender at a time, so that who sends many holds up nobody else for longer than one body takes. Who has waited too long is
told to come again. Owns too how much is read on the event loop before everybody else has their turn. Never looks into a body itself. All
looks at a body's texts together are bounded by its length.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

from app.domain.errors import TryLater
from app.domain.pieces import PIECE
from app.domain.redact import TooDear, work_bounded

T = TypeVar("T")
_LARGE: Final = 1024 * 1024
MAX_ON_LOOP: Final = 200
"""Units of work (`app.domain.redact.Effort`) on the texts of one body on the event loop: some 5 ms, and 20 of the dearest texts. Alerts as
Alertmanager sends them take 15 or less each, and fewer beside their like."""
_ROUND, _BYTES_OF_ONE = 100, 256
"""Units, and one more for so many bytes, after which the next body waits for the next round of the loop: many come in one moment."""
_ANEW: Final = 16
"""Bodies of a sender that are read beside the loop although they are short, after one that had to be: what was begun in vain on the loop held up
everybody, and senders repeat themselves. As many in a row that could have been read there end it."""
MAX_OF_FEW: Final = 40
"""Units on the event loop of a body of at most `_FEW` bytes of such a sender: an alert by itself takes less, and must not stand behind the dear ones
of the one Alertmanager that sends them all."""
_FEW: Final = 8 * 1024
_ANYWAY, _MAX_WORK = 4_000, 300_000
"""In a thread: so much, and one for every other byte; and at most."""
PATIENCE: Final = 8.0
"""Seconds that a body waits for its place."""


@dataclass(slots=True)
class _Sender:
    """The lines of one sender, on the loop and before either place, and how many of its next short bodies are read beside."""

    on_loop: asyncio.Lock = field(default_factory=asyncio.Lock)
    lines: dict[bool, asyncio.Lock] = field(
        default_factory=lambda: {False: asyncio.Lock(), True: asyncio.Lock()}
    )
    beside: int = 0

    def was_read(self, units: int) -> None:
        """A short body was read beside the loop, for so many units."""
        self.beside = _ANEW if units > MAX_ON_LOOP else max(0, self.beside - 1)


class LongBodies:
    """The places in which long bodies are read. `patience` is in seconds."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._places = {False: asyncio.Lock(), True: asyncio.Lock()}
        self._senders: defaultdict[str, _Sender] = defaultdict(_Sender)
        self._loop, self._of_round = asyncio.Lock(), 0

    async def read(self, sender: str, body: bytes, parse: Callable[[], T]) -> T:
        """What `parse` makes of the body: at once when it is short and its texts are as programs write them, else in a thread, and then from the
        beginning. Raises TryLater (`overloaded`), and what it raises."""
        known, short = self._senders[sender], len(body) <= PIECE
        if short:
            # Of who sends many, too, one at a time: the next of somebody else comes before their second.
            async with known.on_loop, self._loop:
                if not known.beside or len(body) <= _FEW:
                    try:
                        return await self._on_loop(body, parse, MAX_OF_FEW if known.beside else MAX_ON_LOOP)
                    except TooDear:
                        known.beside = _ANEW
        large = len(body) > _LARGE
        held = await self._taken(known.lines[large], self._places[large])
        doing = asyncio.ensure_future(asyncio.to_thread(_bounded, parse, len(body), known if short else None))
        # Who stops waiting ends no thread, so the place is taken as long as the work lasts.
        doing.add_done_callback(lambda _: held.close())
        return await asyncio.shield(doing)

    async def _on_loop(self, body: bytes, parse: Callable[[], T], most: int) -> T:
        """Raises TooDear, and what `parse` raises; after a round's work not before all others had their turn."""
        try:
            with work_bounded(most, hides=False) as work:
                return parse()
        finally:
            self._of_round += work.spent + len(body) // _BYTES_OF_ONE
            if self._of_round >= _ROUND:
                self._of_round = 0
                await asyncio.sleep(0)

    async def _taken(self, *locks: asyncio.Lock) -> ExitStack:
        """All of these, until it is closed. Raises TryLater."""
        with ExitStack() as held:
            try:
                async with asyncio.timeout(self._patience):
                    for lock in locks:
                        await lock.acquire()
                        held.callback(lock.release)
            except TimeoutError:
                raise TryLater(
                    "other long bodies are still being read", code="overloaded", retry_after=self._patience
                ) from None
            return held.pop_all()


def _bounded(parse: Callable[[], T], length: int, sender: _Sender | None) -> T:
    with work_bounded(min(_MAX_WORK, _ANYWAY + length // 2), hides=True) as work:
        try:
            return parse()
        finally:
            if sender is not None:
                sender.was_read(work.spent)
