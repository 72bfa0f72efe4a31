"""Whose clock makes a checkpoint old, and what became old only after the plan: the same on a simulated and on a real PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from app.database.checkpoints import PostgresCheckpoints
from app.database.cleaning import CheckpointActuator, Cleaning
from app.database.connect import Connections
from app.domain.checkpoints import Key, Page, Tally
from app.domain.target import Kind, Target
from app.observe.system import SystemClock
from app.sim.checkpoints import LangGraph, Threads
from tests.contract.database.sides import RealSide, Side, elsewhere

DAY = 86_400.0
USED_AGAIN = Threads(count=2, checkpoints=4, newest=10.0, every=40 * DAY)
"""Threads whose last checkpoint but one is 40 days old, and that go on now."""


@pytest.mark.parametrize(("hours", "left"), [(-1, 4), (1, 6)])
async def test_what_became_old_after_the_plan_was_not_to_go(side: Side, hours: int, left: int) -> None:
    """Planned an hour ago, the one of 40 days was the newest of its thread; two older ones of each are there."""
    await side.start(langgraph=LangGraph(threads=(USED_AGAIN,)))
    before = side.now - timedelta(days=30)
    planned = side.now + timedelta(hours=hours)
    action = Cleaning(side.at, before, Page(Tally(), 0, Key()), planned).action(
        elsewhere(side), Target("rag7", Kind.STATEFUL_SET, "elsewhere"), "clean"
    )
    clients: Any = SimpleNamespace(databases=side.databases, cluster=side.cluster)
    effect = await CheckpointActuator().effect(clients, action)
    assert effect is not None
    assert (effect.good, f"{left} checkpoints" in effect.text) == (False, True)


async def test_where_nothing_else_was_to_go_it_is_done(side: Side) -> None:
    await side.start(langgraph=LangGraph(threads=(USED_AGAIN.model_copy(update={"checkpoints": 2}),)))
    before, planned = side.now - timedelta(days=30), side.now - timedelta(hours=1)
    counts = [
        (await side.databases.checkpoints.survey(side.cluster, side.at, before, when)).counted.tally
        for when in (None, planned)
    ]
    assert [tally.checkpoints.rows for tally in counts] == [2, 0]


class Shifted(SystemClock):
    """This service's clock, by so much off."""

    def __init__(self, by: timedelta) -> None:
        super().__init__()
        self.by = by

    def now(self) -> Any:
        return super().now() + self.by


@pytest.mark.parametrize(("days", "gone"), [(-365, 0), (365, 6)])
async def test_of_two_clocks_the_earlier_makes_a_checkpoint_old(real: RealSide, days: int, gone: int) -> None:
    """As if the server's were a year ahead: nothing is old by this service's; and the other way round, by the server's alone."""
    await real.start(langgraph=LangGraph(threads=(USED_AGAIN,)))
    clock = Shifted(timedelta(days=days))
    seen = await PostgresCheckpoints(clock, Connections(clock)).survey(real.cluster, real.at, 30)
    assert seen.counted.tally.checkpoints.rows == gone
    assert seen.before <= real.now - timedelta(days=30)
    assert round(seen.ahead / timedelta(days=1)) == -days
