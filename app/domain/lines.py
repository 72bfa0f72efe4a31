"""Lines: work for many callers on a few threads, of each caller in lines of their own, so that nobody waits for all that somebody else has asked for.

Used by whatever leaves the event loop for whoever asked: the store's reads, and what is made beside the loop. Owns for whom something is done. A
thread that is free takes the next work of the line that has waited longest for a turn. Never looks into the work.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from app.domain.errors import TryLater

T = TypeVar("T")

PATIENCE: Final = 8.0
"""Seconds that whoever looks waits for a turn."""


class Asker(NamedTuple):
    """Whoever only looks, and at `what`: each kind has a line of its own, so that what is there soon waits for one of what takes long, and not for all.
    Without a name it is the service's own work, or what somebody ordered."""

    name: str = ""
    what: str = ""


EXPENSIVE: Final = "expensive"
"""What takes long, of which a caller has few places."""
NOBODY: Final = Asker()
ASKED_BY: Final[ContextVar[Asker]] = ContextVar("whoever asked for what is done", default=NOBODY)
"""In whose line it is done."""


class Lines:
    """The lines before `in_all` threads, those of `threads` or the loop's own; `of_one` caller never has more of them. Who has waited for `patience`
    seconds is told to come again; without it everybody waits."""

    def __init__(
        self, in_all: int, of_one: int, threads: Executor | None = None, patience: float | None = None
    ) -> None:
        self._in_all, self._of_one = in_all, of_one
        self._threads, self._patience = threads, patience
        self._waiting: dict[Asker, deque[asyncio.Future[None]]] = {}  # whose turn is next comes first
        self._under_way: Counter[str] = Counter()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` gives, for whoever asked. Who stops waiting ends no thread, so the turn lasts as long as the work does. Raises
        TryLater (`overloaded`), and what it raises."""
        asker = ASKED_BY.get()
        await self._turn(asker)
        loop, context = asyncio.get_running_loop(), copy_context()
        try:
            doing = loop.run_in_executor(self._threads, lambda: context.run(work))
        except RuntimeError:  # the threads have ended
            self._over(asker)
            raise
        doing.add_done_callback(partial(self._done, asker))
        return await asyncio.shield(doing)

    def _done(self, asker: Asker, doing: asyncio.Future[T]) -> None:
        if not doing.cancelled():
            doing.exception()  # seen: it may be that nobody waits for it any more
        self._over(asker)

    async def _turn(self, asker: Asker) -> None:
        if asker not in self._waiting and self._free(asker):
            self._under_way[asker.name] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(turn)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError:
            self._leave(asker, turn)
            told = "other reads of this caller are under way"
            raise TryLater(told, code="overloaded", retry_after=self._patience) from None
        except asyncio.CancelledError:
            self._leave(asker, turn)
            raise

    def _leave(self, asker: Asker, turn: asyncio.Future[None]) -> None:
        """Without the work: a turn that was given meanwhile is the next one's."""
        if turn.done() and not turn.cancelled():
            self._over(asker)
            return
        line = self._waiting[asker]
        line.remove(turn)
        if not line:
            del self._waiting[asker]

    def _over(self, asker: Asker) -> None:
        self._under_way[asker.name] -= 1
        self._under_way += Counter()  # without who has none
        following = next((one for one in self._waiting if self._free(one)), None)
        if following is None:
            return
        line = self._waiting.pop(following)
        line.popleft().set_result(None)
        self._under_way[following.name] += 1
        if line:
            self._waiting[following] = line  # behind the others

    def _free(self, asker: Asker) -> bool:
        return self._under_way[asker.name] < self._of_one and self._under_way.total() < self._in_all


class Beside:
    """A thread beside the event loop in which work is done one after the other, and in turns for those who asked: threads would only take turns at
    the interpreter, and whoever answers requests would be one of many."""

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Lines] = WeakKeyDictionary()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` gives. Raises what it raises."""
        return await self._lines.setdefault(asyncio.get_running_loop(), Lines(1, 1)).do(work)
