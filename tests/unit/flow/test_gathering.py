"""Messages gather for a moment before they are sent, so that telling does not compete with doing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from prometheus_client import CollectorRegistry

from app.domain.ports import Clock
from app.flow.services import Nudge
from app.flow.upkeep.supervisor import Supervisor, Task
from app.observe.metrics import Metrics


class HeldClock:
    """A clock whose sleeps end when the test says so."""

    def __init__(self) -> None:
        self.asleep: list[float] = []
        self.wake = asyncio.Event()

    def now(self) -> datetime:
        return datetime(2026, 3, 4, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        self.asleep.append(seconds)
        await self.wake.wait()


async def until(condition: Any) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


async def test_after_a_nudge_messages_gather_and_further_nudges_join_them() -> None:
    clock, nudge, sent = HeldClock(), Nudge(), 0

    async def deliver() -> int:
        nonlocal sent
        sent += 1
        return 0

    supervisor = Supervisor(cast("Clock", clock), Metrics(CollectorRegistry()))
    supervisor.start(Task("deliver", deliver, 60.0, nudge, 0.25))
    await until(lambda: sent == 1)  # at the start nothing is waited for
    nudge()
    await until(lambda: clock.asleep)
    nudge()
    assert (sent, clock.asleep) == (1, [0.25])
    clock.wake.set()
    await until(lambda: sent == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (sent, clock.asleep) == (2, [0.25])  # the second nudge was part of the same gathering
    await supervisor.stop()
