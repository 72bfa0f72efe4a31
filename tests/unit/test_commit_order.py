"""An alert that waits for its answer is committed before what we decide, and neither waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.alert import Delivery, Source
from app.store.commit_queue import CommitQueue, CommitQueueSize
from app.store.writer import Work


class Gated:
    """A writer that notes its batches and waits before the first one."""

    dead = False

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.batches: list[list[str]] = []

    def run(self, work: Sequence[Work]) -> list[Any]:
        """Note what came together."""
        self.gate.wait()
        self.batches.append(["alert" if isinstance(w, Delivery) else "ours" for w in work])
        return [None] * len(work)

    def discard(self) -> None:
        """Nothing to close."""


async def test_deliveries_share_a_commit_with_few_functions_only() -> None:
    gate = threading.Event()
    writer = Gated(gate)
    made: Any = lambda: writer  # noqa: E731 - the queue's one dependency
    queue = CommitQueue("test", CommitQueueSize(batch=10, beside=2), made)
    delivery = Delivery(Source.ALERTMANAGER, datetime(2026, 3, 4, tzinfo=UTC), "am")
    first = queue.submit(lambda _tx: None)
    while queue.waiting:  # noqa: ASYNC110 - the writer's thread has taken it
        await asyncio.sleep(0)
    waiting = [queue.submit(lambda _tx: None) for _ in range(6)]
    waiting += [queue.submit(delivery) for _ in range(9)]
    gate.set()
    await asyncio.gather(first, *waiting)
    queue.close()
    assert writer.batches == [
        ["ours"],
        [*["alert"] * 8, "ours", "ours"],
        ["alert", "ours", "ours"],
        ["ours", "ours"],
    ]
