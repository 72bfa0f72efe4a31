"""The operating system's time and randomness behind our ports: the only place that asks for them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import UTC, datetime


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """Timezone-aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class TimeIds:
    """Ids that sort by time of creation: 12 hex digits of milliseconds, 5 of a counter, 8 of this process's own.

    New rows of every table keyed by them land at one end of its index. The process's digits are drawn once: asking the
    system for randomness at every id costs more than everything else about it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter = 0
        self._process = os.urandom(4).hex()

    def new(self, prefix: str) -> str:
        """A new id `prefix_...`; unique across processes."""
        with self._lock:
            self._counter = (self._counter + 1) & 0xFFFFF
            counter = self._counter
        return f"{prefix}_{time.time_ns() // 1_000_000:012x}{counter:05x}{self._process}"
