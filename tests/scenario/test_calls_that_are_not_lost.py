"""Calls that are not lost: an alert that flaps under its question, a stuck run whose alert goes, a question and a held undo that keep another alert of the
target waiting. And a call that is not made: for an alert whose source has it no more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.policy.model import Approval, Otherwise, Policy
from app.sim.faults import Fault, FaultKind
from app.store.incidents import Incident
from tests.crash.worlds import flood
from tests.scenario import calling
from tests.scenario.calling import CallingRig
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, policy, the_incident, trail
from tests.scenario.test_help_that_comes_late import _reaches

NEXT, UNDO, ESCALATE = Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE
SOON = timedelta(seconds=1)


async def _calls(rig: Rig, incident_id: str = "") -> int:
    return sum(not incident_id or e.incident_id == incident_id for e in await trail(rig, EventKind.ESCALATED))


async def _gets_stuck(rig: Rig) -> None:
    """The rule's undo is refused; then writes work again, and the load that made the alert fire goes away."""
    await _reaches(rig, RunState.VERIFYING)
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", times=1_000))
    await _reaches(rig, RunState.STUCK)
    rig.cluster.faults.waiting.clear()
    rig.cluster.traffic.set_rps("langgraph-api", 0.5)


def _wider(rules: Policy) -> Policy:
    """The rule for errors has a step of its own: more pods than the one for latency asks for."""
    wider = [
        rule.model_copy(update={"params": {**rule.params, "scale_to": 14}})
        if rule.remediation == "high-error-rate"
        else rule
        for rule in rules.rules
    ]
    return rules.model_copy(update={"rules": tuple(wider)})


async def _named(rig: Rig, alertname: str) -> Incident:
    return next(i for i in await all_incidents(rig) if i.alertname == alertname)


@pytest.mark.parametrize(("fires_for", "ended"), [(460, 3), (220, 8)])
async def test_the_times_of_questions_that_end_with_a_flapping_alert_add_up(
    tmp_path: Path, fires_for: int, ended: int
) -> None:
    """Gone for 20 s every 8 min, or every 4, and nobody answers: after as long as one question stands a person is called."""
    rules = policy(mode=Mode.APPROVE, otherwise=(ESCALATE,), cooldown=timedelta(minutes=15))
    rig = await born(tmp_path, world=flood(), rules=rules, use_api=False)
    labels = {"alertname": "HighLatency", "deployment": "langgraph-api"}
    fires = alert(rig, started=10, **labels)
    await rig.send(body(fires))
    for _ in range(ended + 2):
        await rig.run(fires_for, alerts=False)
        if await _calls(rig):
            break
        await rig.send(body({**fires, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(20, alerts=False)
        fires = alert(rig, started=1, **labels)
        await rig.send(body(fires))
    assert await _calls(rig) == 1
    states = [run.state for run in await all_runs(rig)]
    assert states == [RunState.ABANDONED] * ended + [RunState.EXPIRED]
    await rig.close()


async def test_a_flapping_alert_beside_the_question_about_a_later_step_calls_somebody(tmp_path: Path) -> None:
    """Whether the step before helped late is looked at once; the second time the rest of the rule follows."""
    rules = policy(otherwise=(NEXT, UNDO, ESCALATE), cooldown=timedelta(minutes=15))
    rig = await born(tmp_path, world=flood(), rules=rules, use_api=False)
    labels = {"alertname": "HighLatency", "deployment": "langgraph-api"}
    fires = alert(rig, started=10, **labels)
    await rig.send(body(fires))
    for _ in range(8):
        for _ in range(4):
            await rig.run(115, alerts=False)
            await rig.send(body(fires))
        if await _calls(rig):
            break
        await rig.send(body({**fires, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(20, alerts=False)
        fires = alert(rig, started=1, **labels)
        await rig.send(body(fires))
    assert await _calls(rig) >= 1
    await rig.close()


async def test_a_question_that_comes_back_hours_later_stands_as_long_as_the_first(tmp_path: Path) -> None:
    rules = policy(mode=Mode.APPROVE, otherwise=(ESCALATE,))
    rig = await born(tmp_path, world=flood(), rules=rules, use_api=False)
    labels = {"alertname": "HighLatency", "deployment": "langgraph-api"}
    fires = alert(rig, started=10, **labels)
    await rig.send(body(fires))
    await rig.run(1200, alerts=False)
    await rig.send(body({**fires, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(7200, alerts=False)
    await rig.send(body(alert(rig, started=1, **labels)))
    await rig.run(60, alerts=False)
    run = (await all_runs(rig))[-1]
    assert run.state is RunState.WAITING
    assert run.expires_at is not None
    assert run.expires_at - run.requested_at == timedelta(minutes=30)
    await rig.close()


async def test_a_stuck_run_stays_open_without_its_alert_until_somebody_has_it(tmp_path: Path) -> None:
    rig = await born(tmp_path, world=flood(), rules=policy(otherwise=(UNDO, ESCALATE), cooldown=SOON))
    await _gets_stuck(rig)
    await rig.run(900)
    assert not rig.cluster.alertmanager.alerts()
    incident = await the_incident(rig)
    assert incident.state is IncidentState.STUCK
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.run(60)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()


async def test_of_a_stuck_run_whose_alert_vanishes_everybody_is_asked_in_turn(tmp_path: Path) -> None:
    """And anew when it fires again after nobody answered."""
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=15.0)
    rig.policy = policy({"escalation": calling.steps()}, otherwise=(UNDO, ESCALATE), cooldown=SOON)
    await rig.born()
    await _gets_stuck(rig)
    await rig.run(10_800, alerts=False)
    assert not rig.cluster.alertmanager.alerts()
    [walk] = await rig.rounds()
    assert len(walk.asked) > 1
    assert (walk.due_at, walk.answered_at) == (None, None)
    assert (await the_incident(rig)).state is IncidentState.STUCK
    rig.cluster.traffic.set_rps("langgraph-api", 60.0)
    await rig.run(900)
    assert len(await rig.rounds()) == 2
    await rig.close()


async def test_a_stuck_run_that_is_undone_after_its_alert_has_gone_is_over(tmp_path: Path) -> None:
    rig = await born(tmp_path, world=flood(), rules=policy(otherwise=(UNDO, ESCALATE), cooldown=SOON))
    await _gets_stuck(rig)
    await rig.run(600)
    await rig.operations.undo((await all_runs(rig))[0].id, "kim")
    await rig.run(60)
    assert (await all_runs(rig))[0].state is RunState.UNDONE
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()


async def test_a_question_about_a_later_step_keeps_no_call_for_a_more_severe_alert(tmp_path: Path) -> None:
    """As one about a first step does not."""
    rig = await born(tmp_path, world=flood(), rules=policy(otherwise=(NEXT, ESCALATE), cooldown=SOON))
    await _reaches(rig, RunState.WAITING)
    other = alert(
        rig, alertname="APIRateLimiting", deployment="langgraph-api", severity="critical", started=5
    )
    rig.cluster.alertmanager.fires_elsewhere(other["labels"])
    await rig.send(body(other))
    await rig.run(90)
    assert (await all_runs(rig))[0].state is RunState.WAITING
    assert await _calls(rig, (await _named(rig, "APIRateLimiting")).id) == 1
    await rig.close()


async def test_a_step_that_a_milder_question_about_a_later_step_keeps_away_calls_a_person(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, world=flood(), rules=_wider(policy(otherwise=(NEXT, ESCALATE), cooldown=SOON)))
    await _reaches(rig, RunState.WAITING)
    other = alert(rig, alertname="HighErrorRate", deployment="langgraph-api", severity="critical", started=5)
    rig.cluster.alertmanager.fires_elsewhere(other["labels"])
    await rig.send(body(other))
    await rig.run(180)
    assert (await all_runs(rig))[0].state is RunState.WAITING
    incident = await _named(rig, "HighErrorRate")
    assert incident.state is IncidentState.REFUSED
    assert await _calls(rig, incident.id) == 1
    await rig.close()


async def test_a_step_that_a_held_undo_keeps_away_calls_a_person(tmp_path: Path) -> None:
    """The pause of one rule holds its undo; another rule's step for a critical alert waits for it, and only people end that."""
    rules = _wider(policy(otherwise=(UNDO, ESCALATE), cooldown=SOON))
    rig = await born(tmp_path, world=flood(), rules=rules)
    await _reaches(rig, RunState.VERIFYING)
    await rig.operations.pause("rule:slow answers", "we look at the latency rule", "kim", None)
    await rig.run(420)
    held = (await all_runs(rig))[0]
    assert (held.state, held.waits_for.startswith("held: ")) == (RunState.UNDOING, True)
    other = alert(rig, alertname="HighErrorRate", deployment="langgraph-api", severity="critical", started=30)
    rig.cluster.alertmanager.fires_elsewhere(other["labels"])
    await rig.send(body(other))
    await rig.run(120)
    incident = await _named(rig, "HighErrorRate")
    assert incident.state is IncidentState.REFUSED
    called = [e for e in await trail(rig, EventKind.ESCALATED) if e.incident_id == incident.id]
    assert len(called) == 1
    assert f"the undo of {held.id} has its target and waits for " in called[0].data["reason"]
    await rig.close()


async def test_nobody_is_woken_by_a_question_that_expires_after_its_alert_is_gone_at_the_source(
    tmp_path: Path,
) -> None:
    """The message that says so is on its way."""
    rules = policy(mode=Mode.APPROVE, otherwise=(ESCALATE,), approval=Approval(expires=timedelta(minutes=5)))
    rig = await born(tmp_path, "high-latency", rules=rules)
    await _reaches(rig, RunState.WAITING)
    asked = rig.clock.monotonic()
    await rig.run(120)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    while rig.cluster.alertmanager.alerts():
        await rig.run(5, alerts=False)
    await rig.run(asked + 330 - rig.clock.monotonic(), alerts=False)
    assert (await all_runs(rig))[0].state is RunState.ABANDONED
    assert await _calls(rig) == 0
    await rig.close()
