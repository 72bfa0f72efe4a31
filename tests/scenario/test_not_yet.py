"""An alert that is looked at before the time of its step has come: it is looked at again at that moment, also over a death, or a person
is called, who hears when it would be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Code, Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.sim.databases import DatabaseClients
from app.sim.scenario import Scenario
from tests.births import scenario_of
from tests.scenario.rig import Rig, shipped_policy
from tests.scenario.scenes import all_incidents, all_runs, decision, policy, the_incident, trail, writes

LEAK = {"application": "ingest", "state": "idle in transaction", "count": 20}


def _world(**clients: object) -> Scenario:
    base = scenario_of("database-connections")
    (server,) = base.databases
    leak = DatabaseClients.model_validate({**LEAK, **clients})
    return base.model_copy(update={"databases": (server.model_copy(update={"clients": (leak,)}),)})


def _rig(
    path: Path, world: Scenario, idle: float = 300.0, protected: tuple[Kind, ...] = (), **of_rules: object
) -> Rig:
    rig = Rig(path / "rig.sqlite", world=world)
    quick = policy(
        {"scope": shipped_policy().scope.model_copy(update={"protected_kinds": protected})}, **of_rules
    )
    params = {"idle_in_transaction": idle}
    rules = tuple(
        r.model_copy(update={"params": {**r.params, **params}})
        if r.remediation == "database-connections"
        else r
        for r in quick.rules
    )
    rig.policy = quick.model_copy(update={"rules": rules})
    return rig


async def _decided(rig: Rig) -> bool:
    found = await all_incidents(rig)
    return bool(found) and found[0].decided_at is not None


@pytest.mark.parametrize("protected", [(), (Kind.STATEFUL_SET,)])
async def test_sessions_that_are_not_idle_for_long_enough_yet_are_ended_once_they_are(
    tmp_path: Path, protected: tuple[Kind, ...]
) -> None:
    rig = await _rig(tmp_path, _world(), protected=protected, mode=Mode.AUTO).born()
    began = rig.clock.now()
    await rig.until(lambda: _decided(rig))
    found = await decision(rig)
    assert found.code is Code.NOT_YET, found.text
    assert (
        "No session is idle in a transaction for 5 min or longer (20 for less, the longest for " in found.text
    )
    due = found.retry_at
    assert due is not None
    assert began + timedelta(minutes=5) <= due <= began + timedelta(minutes=5, seconds=5)
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert "Not yet: terminate-idle-in-transaction may be taken at " in rig.notebook.text
    await rig.die()
    await rig.born()
    await rig.until(lambda: len(writes(rig)))
    assert due <= rig.clock.now() <= due + timedelta(seconds=60)
    await rig.until(lambda: _ended(rig))
    assert len(writes(rig)) == 10
    assert [run.state for run in await all_runs(rig)] == [RunState.CONTAINED]
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


async def _ended(rig: Rig) -> bool:
    return all(run.state.ended for run in await all_runs(rig))


async def test_who_only_observes_is_shown_what_would_be_done_once_it_is_due(tmp_path: Path) -> None:
    rig = await _rig(tmp_path, _world(), mode=Mode.OBSERVE).born()
    await rig.until(lambda: _decided(rig))
    assert (await decision(rig)).code is Code.NOT_YET
    await rig.run(400)
    assert (await decision(rig)).code is Code.MODE_OBSERVE
    assert (writes(rig), await trail(rig, EventKind.ESCALATED)) == ([], [])
    await rig.close()


async def test_sessions_that_went_on_meanwhile_leave_their_alert_to_a_person(tmp_path: Path) -> None:
    rig = await _rig(tmp_path, _world(), mode=Mode.AUTO).born()
    await rig.until(lambda: _decided(rig))
    rig.cluster.databases.commit("postgres", "ingest")
    await rig.run(400)
    assert writes(rig) == []
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_a_person_is_called_at_once_for_what_is_due_too_late_and_hears_when(tmp_path: Path) -> None:
    rig = await _rig(tmp_path, _world(), idle=3_600.0, mode=Mode.AUTO).born()
    await rig.until(lambda: _decided(rig))
    found = await decision(rig)
    assert found.code is Code.PERSON_NEEDED
    assert "terminate-idle-in-transaction may be taken at 20" in found.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


@pytest.mark.parametrize("steps", [("restart-client",), ("terminate-blocker",)])
async def test_a_step_that_the_rule_does_not_list_is_not_waited_for(
    tmp_path: Path, steps: tuple[str, ...]
) -> None:
    rig = await _rig(tmp_path, _world(), mode=Mode.AUTO, steps=steps).born()
    await rig.until(lambda: _decided(rig))
    found = await decision(rig)
    assert (found.code, "may be taken" in found.text) == (Code.PERSON_NEEDED, False)
    await rig.close()


async def test_a_superuser_whose_transaction_idles_is_not_waited_for(tmp_path: Path) -> None:
    rig = await _rig(tmp_path, _world(role="superuser"), mode=Mode.AUTO).born()
    await rig.until(lambda: _decided(rig))
    assert (await decision(rig)).code is Code.PERSON_NEEDED
    await rig.close()
