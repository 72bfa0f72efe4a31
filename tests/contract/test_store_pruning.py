"""Pruning is felt by nobody: small steps, sized by how long they take, that let intake go first and rest in between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.domain.outcome import IncidentState
from app.store import incidents, retention
from app.store.database import Store
from app.store.pruning import LARGEST, SMALLEST, Pruner
from app.store.retention import Pruned
from tests.contract.stores import HandClock, delivery, firing

KEEP = timedelta(days=30)


class SlowStore:
    """A store whose steps take as long as told, and in which as many writes wait as told."""

    def __init__(self, clock: HandClock) -> None:
        self.seconds, self.waiting, self.steps = 0.0, 0, 0
        self._clock = clock

    async def write(self, fn: Any) -> Pruned:
        """Take the time of one step and say that there is more."""
        del fn
        self.steps += 1
        self._clock.forward(seconds=self.seconds)
        return Pruned(more=True)


async def test_steps_become_smaller_when_they_take_long_and_larger_when_they_do_not(clock: HandClock) -> None:
    slow = SlowStore(clock)
    pruner = Pruner(slow, clock)  # type: ignore[arg-type]
    slow.seconds = 1.0
    for _ in range(10):
        await pruner.step(clock.now() - KEEP)
    assert pruner.limit == SMALLEST
    slow.seconds = 0.001
    for _ in range(10):
        await pruner.step(clock.now() - KEEP)
    assert pruner.limit == LARGEST


async def test_the_writer_is_free_at_least_half_of_the_time(clock: HandClock) -> None:
    slow = SlowStore(clock)
    slow.seconds = 0.4
    pruner, began = Pruner(slow, clock), clock.monotonic()  # type: ignore[arg-type]
    for _ in range(20):
        await pruner.step(clock.now() - KEEP)
    assert clock.monotonic() - began >= 2 * 20 * slow.seconds


async def test_intake_goes_first_but_not_for_ever(clock: HandClock) -> None:
    slow = SlowStore(clock)
    slow.waiting = 100
    began = clock.monotonic()
    await Pruner(slow, clock).step(clock.now() - KEEP)  # type: ignore[arg-type]
    assert slow.steps == 1
    assert 1.0 <= clock.monotonic() - began <= 2.0


async def test_all_that_is_old_goes_in_the_end(store: Store, clock: HandClock) -> None:
    for number in range(300):
        (incident,) = (await store.ingest(delivery(firing(f"f{number}", name=f"A{number}")))).incident_ids
        if number % 10:  # every tenth stays open, and its records with it
            await store.write(lambda tx, i=incident: incidents.move(tx, i, IncidentState.FIXED))  # type: ignore[misc]
    clock.forward(days=31)
    pruner, steps = Pruner(store, clock), 1
    while await pruner.step(clock.now() - KEEP):
        steps += 1
    assert steps > 1
    left = await store.read(lambda conn: incidents.page(conn, None, 1_000))
    assert len(left) == 30
    assert all(not i.state.closed for i in left)
    assert (await store.write(lambda tx: retention.prune(tx, tx.now - KEEP, 1_000))).audit == 0
