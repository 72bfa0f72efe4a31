"""Promise 3: budgets and rate limits are persisted, shared, and reserved with the decision."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Code
from app.domain.outcome import IncidentState
from app.domain.quantities import parse_limits
from app.policy.model import Budget, Per
from app.store import work
from tests.crash.lives import never_over_budget
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    closed,
    decision,
    policy,
    writes,
)
from tests.scenario.test_promise_2_once import _replica

ONE_AN_HOUR = {"budgets": (Budget(per=Per.CLUSTER, limit=parse_limits("1 per 1h")),)}
TWO = ("high-error-rate", "high-latency")


async def _two_alerts(rig: Rig) -> None:
    await rig.send(body(alert(rig)))
    await rig.send(body(alert(rig, alertname="HighLatency", deployment="langgraph-api")))


async def test_two_replicas_race_for_the_last_slot_and_one_gets_it(tmp_path: Path) -> None:
    """Both looked before either reserved; counting and reserving are one step."""
    one = await born(tmp_path, *TWO, rules=policy(ONE_AN_HOUR))
    other = await _replica(one)
    await _two_alerts(one)
    await asyncio.gather(one.loops.decide_due(), other.loops.decide_due())
    await one.run(30, alerts=False)
    await other.turn()
    assert len(writes(one)) == 1
    states = sorted(i.state.value for i in await all_incidents(one))
    assert states.count("refused") == 1
    await never_over_budget(one)
    await other.close()
    await one.close()


async def test_two_targets_at_once_share_one_budget(tmp_path: Path) -> None:
    """The second one is refused by the budget gate and says when there is room again."""
    rig = await born(tmp_path, *TWO, rules=policy(ONE_AN_HOUR))
    await _two_alerts(rig)
    await rig.run(30, alerts=False)
    assert len(writes(rig)) == 1
    refused = next(i for i in await all_incidents(rig) if i.state is IncidentState.REFUSED)
    found = await decision(rig, refused.id)
    assert closed(found) == {"budget": Code.BUDGET_SPENT}
    assert found.retry_at is not None
    assert timedelta(minutes=59) < found.retry_at - rig.clock.now() <= timedelta(hours=1)
    await rig.close()


async def test_a_budget_survives_the_death_of_the_process(tmp_path: Path) -> None:
    """What was spent before it is spent after it."""
    rig = await born(tmp_path, *TWO, rules=policy(ONE_AN_HOUR))
    await rig.send(body(alert(rig)))
    await rig.run(30, alerts=False)
    await rig.die()
    await rig.born()
    await rig.send(body(alert(rig, alertname="HighLatency", deployment="langgraph-api")))
    await rig.run(60, alerts=False)
    assert len(writes(rig)) == 1
    await rig.close()


async def test_an_action_that_never_was_gives_its_reservation_back(tmp_path: Path) -> None:
    """Somebody edited the object between decision and write; the other target may use the slot."""
    rig = await born(tmp_path, *TWO, rules=policy(ONE_AN_HOUR))
    await rig.operations.pause("target:rag7/Deployment/langgraph", "mine", "kim", None)
    await rig.operations.resume("target:rag7/Deployment/langgraph", "kim")
    original = rig.engine.start

    async def start(run_id: str) -> None:
        await rig.operations.pause("target:rag7/Deployment/langgraph", "mine", "kim", None)
        rig.engine.start = original  # type: ignore[method-assign]
        await original(run_id)

    rig.engine.start = start  # type: ignore[method-assign]  # between decision and write
    await rig.send(body(alert(rig)))
    await rig.run(10, alerts=False)
    assert writes(rig) == []
    await rig.send(body(alert(rig, alertname="HighLatency", deployment="langgraph-api")))
    await rig.run(20, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    await never_over_budget(rig)
    await rig.close()


async def test_every_step_of_a_ladder_spends_once(tmp_path: Path) -> None:
    """A climb is an action like any other."""
    rig = await born(tmp_path)
    await rig.run(300)
    runs = await all_runs(rig)
    since = rig.clock.now() - timedelta(hours=1)
    spent = await rig.store.read(lambda conn: work.spent_since(conn, "cluster", since))
    assert spent == sum(r.step_index + 1 for r in runs) == 1
    await rig.close()


async def test_what_the_tests_take_for_a_breach_is_one(tmp_path: Path) -> None:
    """Under a policy that allows nothing, the write that was made is over budget: the check sees writes, not reservations."""
    rig = await born(tmp_path)
    await rig.run(300)
    assert len(writes(rig)) == 1
    await never_over_budget(rig)
    rig.policy = policy({"budgets": (Budget(per=Per.CLUSTER, limit=parse_limits("0 per 1h")),)})
    with pytest.raises(AssertionError, match="cluster: 1 of 0 per 1h"):
        await never_over_budget(rig)
    await rig.close()
