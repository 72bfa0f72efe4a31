"""Ready means that alerts can be stored; nothing else keeps them out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.ports import Clock
from app.flow.upkeep.health import Health, probe_write
from app.observe.system import SystemClock, TimeIds
from app.store.database import Store


class Hands:
    """A monotonic clock moved by hand."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


class Probe:
    """A store that says what it is told to."""

    def __init__(self) -> None:
        self.asked, self.fault = 0, ""

    async def __call__(self) -> None:
        self.asked += 1
        if self.fault:
            raise StoreUnavailable(self.fault)


async def test_a_store_that_cannot_write_is_the_one_thing_that_is_not_ready() -> None:
    clock, probe = Hands(), Probe()
    health = Health(cast("Clock", clock), probe, [SimpleNamespace(problems={"cluster": "no answer"})])
    found = await health()
    assert (found.problems, found.degraded) == ({}, {"cluster": "no answer"})
    probe.fault, clock.at = "the disk is full", 3.0
    assert (await health()).problems == {"store": "the disk is full"}


async def test_many_who_ask_cost_one_write_every_two_seconds() -> None:
    clock, probe = Hands(), Probe()
    health = Health(cast("Clock", clock), probe, [])
    for moment in (0.0, 0.5, 1.9, 2.0, 2.1):
        clock.at = moment
        await health()
    assert probe.asked == 2


async def test_the_probe_writes_so_a_file_that_is_only_readable_fails_it(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/state.db", clock=SystemClock(), ids=TimeIds())
    try:
        await probe_write(store)

        def forbid(tx: Any) -> None:
            tx.conn.exec_driver_sql("PRAGMA query_only=1")

        await store.write(forbid)
        with pytest.raises(StoreUnavailable):
            await probe_write(store)
    finally:
        store.close()
