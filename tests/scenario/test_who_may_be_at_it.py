"""Who may be at work is asked before anything is written over, also where their word keeps nobody from being called; and whose word stands, of nobody else is
called for what they have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Code, Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Step
from app.policy.model import Otherwise, Policy, Rule
from app.store import runs
from app.store.runs import NewRun
from app.store.tx import Tx
from tests.births import scenario_of
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    decision,
    policy,
    the_incident,
    the_run,
    trail,
    writes,
)


def _with(rules: Policy, like: str, name: str, **changes: object) -> Policy:
    """The policy with a rule for this alert, which is like the first one of this remediation."""
    late = next(rule for rule in rules.rules if rule.remediation == like)
    one = Rule.from_json({**late.to_json(), "name": name.lower(), "when": [f'alertname="{name}"'], **changes})
    return rules.model_copy(update={"rules": (*rules.rules, one)})


async def test_who_had_it_when_a_person_was_needed_again_is_asked_before_another_alert_acts(
    tmp_path: Path,
) -> None:
    """Others are called, as the step did not help; they may be at it all the same, for as long as it is open."""
    rules = policy(otherwise=(Otherwise.ESCALATE,), steps=("scale-out",), cooldown=timedelta(seconds=1))
    rig = await born(
        tmp_path,
        rules=_with(rules, "high-latency", "Odd", params={"scale_to": 12}),
        world=flood(),
        use_api=False,
        stride=15.0,
    )
    there = alert(rig, started=1, alertname="HighLatency", deployment="langgraph-api")
    await rig.send(body(there))
    await rig.run(45, alerts=False)
    await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    for _ in range(12):
        await rig.send(body(there))
        await rig.run(60, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert "Not acknowledged any more: a person is needed again; kim had it" in rig.notebook.text
    rig.clock.advance(3_600)
    await rig.send(body(there, alert(rig, started=1, alertname="Odd", deployment="langgraph-api")))
    await rig.run(60, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert (found.code, "on this target was acknowledged through API by kim" in found.text) == (
        Code.TAKEN_BESIDE,
        True,
    ), found.text
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


async def test_who_takes_an_alert_that_no_step_helps_has_it_before_anybody_is_called(tmp_path: Path) -> None:
    """What a person is needed for is theirs: nothing was done meanwhile that did not go well."""
    rules = _with(policy(), "high-latency", "Odd")
    rig = await born(tmp_path, rules=rules, use_api=False, stride=15.0)
    there = alert(rig, started=1, alertname="Odd")
    await rig.send(body(there))
    await rig.run(20, alerts=False)
    await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    for _ in range(3):
        await rig.send(body(there))
        await rig.run(120, alerts=False)
    text = (await decision(rig)).text
    assert "A person is needed: " in text
    assert "; nobody is called, as it is acknowledged through API by kim" in text
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("while_it_fired", [True, False])
async def test_a_run_that_mends_the_target_ends_the_word_on_what_went_before_it_alone(
    tmp_path: Path, *, while_it_fired: bool
) -> None:
    """Whoever had an alert that fired on after that had it to its end, and has its target for half an hour."""
    rules = _with(policy(), "high-error-rate", "Odd")
    rig = await born(tmp_path, rules=rules, use_api=False, stride=15.0)
    await rig.operations.pause("all", "a release", "ops", None)
    there = alert(rig, started=1)
    await rig.send(body(there))
    await rig.run(15, alerts=False)
    incident = await the_incident(rig)
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.operations.resume("all", "ops")
    await rig.run(15, alerts=False)

    def mended(tx: Tx) -> None:
        key = str(incident.target_key or "rag7/Deployment/langgraph")
        word, step = "another", Step("x", "x")
        run = NewRun("run_m", incident.id, word, word, Mode.AUTO, key, step, state=RunState.FIXED)
        runs.request(tx, run)

    over = {**there, "status": "resolved", "endsAt": (rig.clock.now() + timedelta(minutes=4)).isoformat()}
    if while_it_fired:
        await rig.store.write(mended)
        await rig.run(240, alerts=False)
    await rig.send(body(over))
    await rig.run(20, alerts=False)
    if not while_it_fired:
        await rig.store.write(mended)
    await rig.send(body(alert(rig, started=1, alertname="Odd")))
    await rig.run(60, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert (found.code is Code.TAKEN_BESIDE) == while_it_fired, found.text
    assert ("was acknowledged through API by kim" in found.text) == while_it_fired
    await rig.close()


async def _two_of_one_database(tmp_path: Path) -> Rig:
    """An application and the database behind it, whose sessions a rule for the application's alert ends."""
    rules = _with(policy(), "database-connections", "PoolExhausted", mode="auto")
    database, application = scenario_of("database-connections"), scenario_of("high-error-rate")
    known = [(one["kind"], one["metadata"]["name"]) for one in database.objects]
    also = [
        one
        for one in application.objects
        if one["kind"] in ("Deployment", "Secret") and (one["kind"], one["metadata"]["name"]) not in known
    ]
    world = database.model_copy(update={"objects": (*database.objects, *also)})
    return await born(tmp_path, rules=rules, world=world, use_api=False, stride=15.0)


async def test_who_has_what_else_is_written_is_asked_too(tmp_path: Path) -> None:
    """The sessions of a database are ended for the application whose alert it is: whoever has the database's own is asked."""
    rig = await _two_of_one_database(tmp_path)
    theirs = alert(
        rig, started=1, alertname="PostgresTooManyConnections", statefulset="postgres", deployment=""
    )
    await rig.send(body(theirs))
    await rig.run(30, alerts=False)
    first = await the_incident(rig)
    await rig.operations.acknowledge(first.id, "kim")
    run = await the_run(rig)
    await rig.operations.reject(run.id, "kim", run.plan_hash)
    await rig.run(30, alerts=False)
    await rig.send(body(alert(rig, started=1, alertname="PoolExhausted", deployment="langgraph")))
    await rig.run(60, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert found.code is Code.TAKEN_BESIDE, found.text
    assert f"{first.id} on rag7/StatefulSet/postgres is acknowledged through API by kim" in found.text
    assert writes(rig) == []
    assert len(await all_runs(rig)) == 2
    await rig.close()
