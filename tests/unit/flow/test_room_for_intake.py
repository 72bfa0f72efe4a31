"""Deciding makes room while alerts are coming in faster than they are committed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.flow.deciding import decide
from app.flow.services import Services
from app.flow.upkeep import bulk
from app.flow.upkeep.loops import Loops
from app.store import incidents
from tests.unit.flow.naps import Naps


class LoadedStore:
    """A store with so many writes waiting, and nothing due."""

    def __init__(self, waiting: int, due: int = 0) -> None:
        self.waiting = waiting
        self.due = due

    async def read(self, fn: Callable[[Any], Any]) -> Any:
        return self.due

    async def write(self, fn: Callable[[Any], Any]) -> Any:
        return fn(None)


@pytest.mark.parametrize(
    ("waiting", "limit", "naps"), [(0, 16, []), (8, 16, []), (9, 4, [0.1]), (5_000, 4, [0.1])]
)
async def test_a_loaded_store_is_given_time_before_the_next_decisions(
    monkeypatch: pytest.MonkeyPatch, waiting: int, limit: int, naps: list[float]
) -> None:
    limits: list[int] = []

    def claim_due(_tx: Any, _owner: str, _lease: timedelta, most: int) -> list[Any]:
        limits.append(most)
        return []

    monkeypatch.setattr(incidents, "claim_due", claim_due)
    clock = Naps()
    services = SimpleNamespace(
        store=LoadedStore(waiting), clock=clock, replica="one", lease=timedelta(seconds=60)
    )

    async def deliver() -> int:
        return 0

    loops = Loops(cast("Services", services), deliver, timedelta(days=30))
    assert await loops.decide_due() == 0
    assert (limits, clock.naps) == ([limit], naps)


@pytest.mark.parametrize(("waiting", "most"), [(0, 200), (9, 50)])
async def test_many_due_incidents_are_settled_together_and_fewer_at_once_under_pressure(
    monkeypatch: pytest.MonkeyPatch, waiting: int, most: int
) -> None:
    """One transaction that settles two hundred holds up nothing but intake. A full batch is what makes a bulk be looked for:
    a single alert pays for no question about it."""
    limits: list[int] = []

    def settle(_tx: Any, _services: Any, limit: int) -> list[tuple[Any, None]]:
        limits.append(limit)
        return [(None, None)] * 7

    def claim_due(_tx: Any, _owner: str, _lease: timedelta, most: int) -> list[Any]:
        return [SimpleNamespace(id=f"inc_{n}") for n in range(most)]

    async def decided(_services: Any, _incident_id: str) -> None:
        return None

    monkeypatch.setattr(bulk, "_settle", settle)
    monkeypatch.setattr(incidents, "claim_due", claim_due)
    monkeypatch.setattr(decide, "decide_incident", decided)
    services: Any = SimpleNamespace(
        store=LoadedStore(waiting, bulk.MANY + 1),
        clock=Naps(),
        metrics=None,
        deliver_nudge=lambda: None,
        decide_nudge=lambda: None,
        replica="one",
        lease=timedelta(seconds=60),
    )

    async def deliver() -> int:
        return 0

    loops = Loops(services, deliver, timedelta(days=30))
    assert (await loops.decide_due(), limits) == (16 if most == 200 else 4, [])
    assert (await loops.decide_due(), limits) == (7, [most])
    services.store.due = bulk.MANY
    assert await bulk.settle_due(services) == 0
    assert limits == [most], "a few are looked at one by one"
