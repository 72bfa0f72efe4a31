"""Database connections from the alert to the end: asked, looked at again, ended once, counted again, told."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.alert import ManualRequest
from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.flow.upkeep.views import order_check
from app.policy.model import Rule
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from tests.births import scenario_of
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, policy, the_incident, the_run, trail, writes


def _world(**of_server: object) -> Scenario:
    base = scenario_of("database-connections")
    (server,) = base.databases
    return base.model_copy(update={"databases": (server.model_copy(update=of_server),)})


async def _born(path: Path, mode: Mode = Mode.AUTO, world: Scenario | None = None, **params: object) -> Rig:
    rig = Rig(path / "rig.sqlite", world=world or _world())
    quick = policy(mode=mode)
    rules = tuple(_with(rule, params) for rule in quick.rules)
    rig.policy = quick.model_copy(update={"rules": rules})
    return await rig.born()


def _with(rule: Rule, params: dict[str, object]) -> Rule:
    if rule.remediation != "database-connections":
        return rule
    return rule.model_copy(update={"params": {**rule.params, **params}})


async def _rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


async def test_sessions_are_ended_after_a_yes_and_the_connections_counted_again(tmp_path: Path) -> None:
    rig = await _born(tmp_path, Mode.APPROVE)
    await rig.until(lambda: _waits(rig))
    assert writes(rig) == []
    run = await the_run(rig)
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.until(lambda: _rests(rig))
    assert len(writes(rig)) == 10
    assert (await the_run(rig)).state is RunState.CONTAINED
    assert (await the_incident(rig)).state is IncidentState.CONTAINED
    text = rig.notebook.text
    assert "End 10 sessions, the oldest of 14" in text
    assert "8 of 22 connections in use" in text
    assert "nothing to undo: the client connects again" in text
    measured = await trail(rig, EventKind.MEASURED)
    assert measured[-1].data["effect"] is True
    await rig.close()


async def _waits(rig: Rig) -> bool:
    return any(r.state is RunState.WAITING for r in await all_runs(rig))


@pytest.mark.parametrize(
    ("above", "ends"), [(0.7, IncidentState.ESCALATED), (0.8, IncidentState.RESOLVED)], ids=["fires", "gone"]
)
async def test_what_is_still_short_of_connections_is_no_fix_although_sessions_were_ended(
    tmp_path: Path, above: float, ends: IncidentState
) -> None:
    """One session is ended, seventeen of twenty-two connections stay in use; there is no second step that applies. A person is called
    while the alert fires, and nobody once it is gone: nothing of ours stays in place."""
    world = _world()
    (watched,) = world.alerts
    world = world.model_copy(update={"alerts": (watched.model_copy(update={"above": above}),)})
    rig = await _born(tmp_path, world=world, most=1, crowded=0.7)
    await rig.until(lambda: _rests(rig))
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    measured = await trail(rig, EventKind.MEASURED)
    assert measured[-1].data["effect"] is False
    assert (await the_incident(rig)).state is ends
    await rig.close()


async def test_promise_5_sessions_that_went_on_between_plan_and_write_are_left_alone(tmp_path: Path) -> None:
    """The clients commit while the run waits for a person: nothing is ended."""
    rig = await _born(tmp_path, Mode.APPROVE)
    await rig.until(lambda: _waits(rig))
    run = await the_run(rig)
    rig.cluster.databases.commit("postgres", "langgraph-ingest")
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == []
    assert (await all_runs(rig))[0].state is RunState.ABANDONED
    await rig.close()


async def test_promise_10_a_pause_between_the_intent_and_the_statement_stops_it(tmp_path: Path) -> None:
    rig = await _born(tmp_path)
    after_the_first(
        rig, EventKind.ACTION_INTENDED, lambda: rig.operations.pause("all", "hands off", "kim", None)
    )
    await rig.until(lambda: _rests(rig))
    await rig.run(60)
    assert writes(rig) == []
    run = await the_run(rig)
    assert (run.state, "all is paused by kim" in run.result) == (RunState.ABANDONED, True)
    await rig.close()


async def test_promise_2_a_lost_answer_of_the_statement_is_read_back(tmp_path: Path) -> None:
    rig = await _born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="terminate"))
    await rig.until(lambda: _rests(rig))
    assert len(writes(rig)) == len(set(writes(rig))) == 10
    assert (await the_run(rig)).state is RunState.CONTAINED
    await rig.close()


async def test_promise_4_a_wrong_password_closes_every_step_and_is_not_called_down(tmp_path: Path) -> None:
    rig = await _born(tmp_path, world=_world(password="another"))
    await rig.run(400)
    assert writes(rig) == []
    assert await all_runs(rig) == []
    assert "could not be looked at, which says nothing of it" in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize(
    ("name", "value"), [("host", "evil.example"), ("tls", "disable"), ("secret", "other")]
)
async def test_an_order_cannot_send_the_login_elsewhere(tmp_path: Path, name: str, value: str) -> None:
    rig = await _born(tmp_path)
    check = order_check(rig.services)

    def order(**params: JsonValue) -> ManualRequest:
        return ManualRequest("database-connections", "rag7/StatefulSet/postgres", params, "test", "kim")

    check(order(most=5, service="postgres"))
    with pytest.raises(BadInput) as refused:
        check(order(**{name: value}))
    assert refused.value.code == "param_fixed"
    await rig.close()
