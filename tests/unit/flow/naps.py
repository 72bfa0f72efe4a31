"""A clock for loops: it notes how long somebody sleeps and wakes them at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class Naps:
    """`naps` are the seconds that were asked for, in order."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 3, 4, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        await asyncio.sleep(0)
