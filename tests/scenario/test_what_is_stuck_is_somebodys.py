"""What a run left that got stuck stays open until somebody has it, whichever way they say so and whatever becomes of their order; then it is over, as
soon as its alert is. Until then its alert never fires again without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.json import digest
from app.domain.outcome import IncidentState, RunState
from app.flow.services import Reach
from app.sim.faults import Fault, FaultKind
from app.store import incidents
from app.store.incidents import Incident
from tests.crash.worlds import flood
from tests.scenario import calling
from tests.scenario.calling import CallingRig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, policy, the_incident, trail
from tests.scenario.test_calls_that_are_not_lost import ESCALATE, SOON, UNDO, _gets_stuck
from tests.scenario.test_help_that_comes_late import _reaches


async def _stuck(tmp_path: Path, severity: str = "critical") -> tuple[CallingRig, dict[str, Any], Incident]:
    """A rig with steps, and the alert of its incident, which is stuck and for which the first step was asked."""
    rig = CallingRig(tmp_path / "rig.sqlite")
    rig.policy = calling.policy()
    await rig.born()
    fires = alert(rig, alertname="Odd", severity=severity)
    await rig.send(body(fires))
    await rig.turn()
    incident = await rig.incident()
    await rig.again(incident.id, "its undo failed", stuck=True)
    return rig, fires, await rig.incident()


def _ended(rig: CallingRig, fires: dict[str, Any]) -> dict[str, Any]:
    return body({**fires, "status": "resolved", "endsAt": rig.clock.now().isoformat()})


async def test_who_took_it_while_something_milder_fired_has_it_once_that_is_gone(tmp_path: Path) -> None:
    rig, fires, incident = await _stuck(tmp_path)
    milder = alert(rig, alertname="Odd", severity="warning", started=1)
    await rig.send(body(milder))
    await rig.later(1)
    await rig.send(_ended(rig, fires))
    await rig.later(1)
    await rig.operations.acknowledge(incident.id, "kim")
    assert (await rig.incident()).state is IncidentState.STUCK
    await rig.send(_ended(rig, milder))
    await rig.later(1)
    assert (await rig.incident()).state is IncidentState.RESOLVED
    assert rig.pagerduty.pages == {}
    await rig.close()


async def test_a_word_for_less_is_no_answer_to_who_takes_it_as_it_is(tmp_path: Path) -> None:
    """Nobody was asked in steps: kim took it as a warning, and it is critical by now."""
    rig = CallingRig(tmp_path / "rig.sqlite")
    rig.policy = calling.policy()
    await rig.born()
    await rig.send(body(alert(rig, alertname="Odd", severity="warning")))
    await rig.turn()
    incident = await rig.incident()
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.send(body(alert(rig, alertname="Odd", severity="critical", started=1)))
    told = await rig.operations.acknowledge(incident.id, "ana")
    assert told["by"] == "ana"
    await rig.close()


@pytest.mark.parametrize("start", ["new", "former"])
async def test_its_alert_fires_again_and_everybody_is_asked_anew(tmp_path: Path, start: str) -> None:
    """A source that was away tells of it under its former start."""
    rig, fires, _ = await _stuck(tmp_path)
    for minutes in (16, 31, 61, 61):
        await rig.later(minutes)
    await rig.send(_ended(rig, fires))
    await rig.later(30)
    assert [walk.due_at for walk in await rig.rounds()] == [None]
    await rig.send(
        body(alert(rig, alertname="Odd", severity="critical", started=1) if start == "new" else fires)
    )
    await rig.later(1)
    first, second = await rig.rounds()
    assert (len(first.asked), len(second.asked)) == (3, 1)
    assert rig.heads[-1] == (
        "Asked on-call engineer slack:U0ANA, paged through PagerDuty (anew: its alert fires again)"
    )
    await rig.close()


async def test_with_slack_alone_it_is_said_each_time_that_its_alert_fires_again(tmp_path: Path) -> None:
    rig = CallingRig(tmp_path / "rig.sqlite")
    rig.reach = Reach(pages=False, notes=False, status_page=False)
    rig.policy = policy()
    assert rig.policy.escalation is None
    await rig.born()
    fires = alert(rig, alertname="Odd", severity="critical")
    await rig.send(body(fires))
    await rig.turn()
    incident = await rig.incident()
    await rig.again(incident.id, "its undo failed", stuck=True)
    for times in (1, 2):
        await rig.send(_ended(rig, fires))
        await rig.later(240)
        assert (await rig.incident()).state is IncidentState.STUCK
        before = len(rig.notebook.posts)
        fires = alert(rig, alertname="Odd", severity="critical", started=1)
        await rig.send(body(fires))
        await rig.later(1)
        [said] = [text.splitlines()[0] for _, _, text in rig.notebook.posts[before:]]
        assert said == "Stuck, a person must look: its alert fires again: its undo failed"
        assert len(await trail(rig, EventKind.ESCALATED)) == 1 + times
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.send(_ended(rig, fires))
    await rig.later(1)
    assert (await rig.incident()).state is IncidentState.RESOLVED
    await rig.close()


async def _flooded(tmp_path: Path) -> tuple[CallingRig, Incident]:
    """A run whose undo was refused, of an alert that is gone; writes work again."""
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=15.0)
    rig.policy = policy({"escalation": calling.steps()}, otherwise=(UNDO, ESCALATE), cooldown=SOON)
    await rig.born()
    await _gets_stuck(rig)
    await rig.run(300)
    assert not rig.cluster.alertmanager.alerts()
    return rig, await the_incident(rig)


@pytest.mark.parametrize("ends", ["withdrawn", "expired"])
async def test_an_order_that_is_over_gives_the_call_back(tmp_path: Path, ends: str) -> None:
    """Who ordered the undo is taken for who has it, as long as the order stands; and it is stuck as before."""
    rig, incident = await _flooded(tmp_path)
    [run] = await all_runs(rig)
    await _ordered(rig, run.id)
    [walk] = await rig.rounds()
    assert walk.answered_by == "kim"
    if ends == "withdrawn":
        await rig.operations.reject(run.id, "kim")
        await rig.run(60, alerts=False)
    else:
        await rig.run(1_900, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.STUCK
    _, now = await rig.rounds()
    assert now.asked
    assert now.answered_at is None
    await rig.operations.resume("all", "ana")
    await rig.operations.acknowledge(incident.id, "ana")
    await rig.run(60, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()


async def _ordered(rig: CallingRig, run_id: str) -> None:
    """The undo is ordered, and a pause holds it."""
    await rig.operations.undo(run_id, "kim")
    await rig.operations.pause("all", "we look", "ana", None)
    await rig.run(60, alerts=False)
    assert (await all_runs(rig))[0].state is RunState.UNDOING


async def test_who_said_that_they_have_it_keeps_it_when_an_order_is_withdrawn(tmp_path: Path) -> None:
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=15.0)
    rig.policy = policy({"escalation": calling.steps()}, otherwise=(ESCALATE,), cooldown=SOON)
    await rig.born()
    await _reaches(rig, RunState.NOT_FIXED)
    [run], incident = await all_runs(rig), await the_incident(rig)
    await rig.operations.acknowledge(incident.id, "ana")
    await _ordered(rig, run.id)
    await rig.operations.reject(run.id, "kim")
    await rig.run(60)
    assert len(await rig.rounds()) == 1
    await rig.close()


async def test_an_order_to_undo_that_is_withdrawn_gives_the_call_for_an_alert_back_too(
    tmp_path: Path,
) -> None:
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=15.0)
    rig.policy = policy({"escalation": calling.steps()}, otherwise=(ESCALATE,), cooldown=SOON)
    await rig.born()
    await _reaches(rig, RunState.NOT_FIXED)
    [run] = await all_runs(rig)
    await rig.run(60)
    await _ordered(rig, run.id)
    await rig.operations.reject(run.id, "kim")
    await rig.run(60)
    assert [walk.answered_by for walk in await rig.rounds()] == ["kim", ""]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


@pytest.mark.parametrize("how", ["acknowledged", "undone"])
async def test_an_orders_run_that_got_stuck_is_over_once_somebody_has_it(tmp_path: Path, how: str) -> None:
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=15.0)
    rig.policy = policy({"escalation": calling.steps()}, mode=Mode.AUTO, cooldown=SOON)
    await rig.born()
    given: dict[str, Any] = {"replicas": 5}
    order = ManualRequest(
        "scale", "rag7/Deployment/langgraph-api", given, "as agreed", "kim", may_approve=True
    )
    ordered = Delivery(
        Source.MANUAL, rig.clock.now(), "kim", dedupe_key="k", body_digest=digest(["k"]), manual=order
    )
    await rig.store.ingest(ordered)
    await rig.run(120, alerts=False)
    [run] = await all_runs(rig)
    assert run.state is RunState.FIXED
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", times=1_000))
    await rig.operations.undo(run.id, "kim")
    await rig.run(60, alerts=False)
    incident = await the_incident(rig)
    assert incident.state is IncidentState.STUCK
    rig.cluster.faults.waiting.clear()
    if how == "acknowledged":
        await rig.operations.acknowledge(incident.id, "ana")
    else:
        await rig.operations.undo(run.id, "ana")
    await rig.run(60, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert rig.pagerduty.pages == {}
    await rig.close()


async def test_a_stuck_run_whose_place_a_newer_incident_has_is_over_once_somebody_has_it(
    tmp_path: Path,
) -> None:
    rig, fires, old = await _stuck(tmp_path)
    await rig.store.write(lambda tx: incidents.move(tx, old.id, IncidentState.RESOLVED))
    await rig.later(1)
    await rig.send(_ended(rig, fires))
    await rig.later(15)
    await rig.send(body(alert(rig, alertname="Odd", severity="critical", started=1)))
    await rig.turn()
    await rig.again(old.id, "its undo failed as well", stuck=True)
    stuck, newer = sorted(await all_incidents(rig), key=lambda i: i.id)
    assert (stuck.id, stuck.state, stuck.closed_at is None) == (old.id, IncidentState.STUCK, False)
    await rig.later(1)
    assert len(rig.pagerduty.pages) == 1
    await rig.operations.acknowledge(old.id, "ana")
    await rig.later(1)
    stuck, newer = sorted(await all_incidents(rig), key=lambda i: i.id)
    assert (stuck.state, newer.state.closed) == (IncidentState.RESOLVED, False)
    assert rig.pagerduty.pages == {}
    await rig.close()
