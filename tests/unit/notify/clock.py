"""A clock that only moves when somebody sleeps on it or sets it forward."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.unit.notify.timelines import OPENED


class SteppingClock:
    """Port `Clock`. `slept` lists every sleep in seconds."""

    def __init__(self, start: datetime = OPENED) -> None:
        self._start = start
        self._passed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return 1_000.0 + self._passed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._passed += seconds

    def forward(self, seconds: float) -> None:
        self._passed += seconds
