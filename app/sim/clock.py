"""Clocks of the simulation: one that stands still until it is moved, one that runs faster than real time.

Owns virtual time for tests, rehearsals and the demo; both classes implement the port `app.domain.ports.Clock`.
`VirtualClock` never waits for real time and never asks the operating system for it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from app.domain.ports import Clock

START = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
"""Where virtual time begins unless told: a night hour, so that texts read as they will."""

T = TypeVar("T")
_Sleeper = tuple[float, int, asyncio.AbstractEventLoop, "asyncio.Future[None]"]


async def turns() -> None:
    """Let every task that can run do so, many times over, without real waiting."""
    for _ in range(25):
        await asyncio.sleep(0)


class VirtualClock:
    """Time that passes only when `advance`, `run` or `run_until` moves it.

    Sleepers may live on several event loops and threads; each is woken on its own loop.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[_Sleeper] = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Timezone-aware UTC."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Virtual seconds since this clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until virtual time has passed; zero or less only yields."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), loop, future))
        await future

    def next_deadline(self) -> float | None:
        """When the next sleeper wakes, in seconds of `monotonic`; None when nobody sleeps."""
        with self._lock:
            while self._sleepers and (self._sleepers[0][3].done() or self._sleepers[0][2].is_closed()):
                heapq.heappop(self._sleepers)
            return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Move time in one jump; sleepers that are due become runnable. Raises ValueError when negative."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._move_to(self._elapsed + seconds)

    async def run(self, seconds: float, settle: Callable[[], Awaitable[None]] = turns) -> None:
        """Let time pass from wake-up to wake-up, so that each sleeper sees its own moment.

        `settle` gives the woken tasks their turn; pass a real short wait when they work in threads.
        """
        end = self._elapsed + seconds
        await settle()
        while (deadline := self.next_deadline()) is not None and deadline <= end:
            self._move_to(deadline)
            await settle()
        self._move_to(end)
        await settle()

    async def run_until(
        self, work: Awaitable[T], *, limit: float = 86_400.0, settle: Callable[[], Awaitable[None]] = turns
    ) -> T:
        """Drive time until `work` is done and give its result. Raises TimeoutError after `limit` virtual seconds,
        or when `work` waits for something that no clock will bring."""
        task = asyncio.ensure_future(work)
        end = self._elapsed + limit
        try:
            await settle()
            while not task.done():
                deadline = self.next_deadline()
                if deadline is None or deadline > end:
                    await settle()
                    if task.done() or self.next_deadline() != deadline:
                        continue
                    why = "nobody sleeps" if deadline is None else f"{limit:g} virtual seconds have passed"
                    raise TimeoutError(f"not done and {why}")
                self._move_to(deadline)
                await settle()
            return task.result()
        finally:
            if not task.done():
                task.cancel()

    async def run_until_idle(self, *, limit: float = 86_400.0) -> None:
        """Drive time until nobody sleeps on it any more. Raises TimeoutError after `limit` virtual seconds."""
        end = self._elapsed + limit
        await turns()
        while (deadline := self.next_deadline()) is not None:
            if deadline > end:
                raise TimeoutError(f"still busy after {limit:g} virtual seconds")
            self._move_to(deadline)
            await turns()

    def _move_to(self, elapsed: float) -> None:
        due: list[_Sleeper] = []
        with self._lock:
            self._elapsed = max(self._elapsed, elapsed)
            while self._sleepers and self._sleepers[0][0] <= self._elapsed:
                due.append(heapq.heappop(self._sleepers))
        for _, _, loop, future in due:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_MAX_REAL_SECONDS = 0.2
"""Real seconds that may pass between two looks at an accelerated clock and still count."""
_LOOK = 0.1
"""Real seconds after which a sleeper looks at it again."""


class AcceleratedClock:
    """Virtual time that runs `speed` times as fast as a real clock: for the demo, where a person watches.

    On a machine that is too busy to look at it, it runs slower: else a process that gets no processor for a second would find that a
    minute had passed in which it did nothing, and its simulated cluster everything.
    """

    def __init__(self, real: Clock, speed: float) -> None:
        if speed <= 0:
            raise ValueError("speed must be positive")
        self.speed = speed
        self._real = real
        self._start = real.now()
        self._looked = real.monotonic()
        self._passed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Timezone-aware UTC: the moment of construction plus the accelerated seconds since."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Accelerated seconds since construction."""
        with self._lock:
            now = self._real.monotonic()
            self._passed += min(max(0.0, now - self._looked), _MAX_REAL_SECONDS) * self.speed
            self._looked = now
            return self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of accelerated time."""
        end = self.monotonic() + seconds
        while True:
            left = (end - self.monotonic()) / self.speed
            await self._real.sleep(min(max(left, 0.0), _LOOK))
            if end - self.monotonic() <= _HAIR:
                return


_HAIR = 1e-6
"""Seconds that rounding may leave."""
