"""Who has an incident without having been called for it: whoever took it while its question stood has it when nobody answers, and nobody is called,
but for what is more severe, or after a step that did not help; and an order's is over with their word."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Code, Mode
from app.domain.events import EventKind
from app.domain.json import digest
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Approval, Otherwise, Rule
from tests.crash.worlds import flood
from tests.scenario import calling
from tests.scenario.calling import CallingRig
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
from tests.scenario.test_alerts_that_fire_on import fires_on

LABELS = {"alertname": "HighLatency", "deployment": "langgraph-api"}


@pytest.mark.parametrize("taken", [True, False])
async def test_a_question_that_expires_calls_only_where_nobody_has_the_incident(
    tmp_path: Path, *, taken: bool
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.until(lambda: "WAITING FOR APPROVAL" in rig.notebook.text, 600)
    fires_on(rig)
    if taken:
        await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    await rig.run(2_100, alerts=False)
    assert (await the_run(rig)).state is RunState.EXPIRED
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == (not taken)
    assert ("person is needed: nobody answered" in rig.notebook.text) == (not taken)
    reasons = [str(moved.data.get("reason")) for moved in await trail(rig, EventKind.INCIDENT_MOVED)]
    assert any("nobody else is called, as it is " in why and "kim" in why for why in reasons) == taken, (
        reasons
    )
    assert writes(rig) == []
    await rig.close()


async def _called(tmp_path: Path, mode: Mode) -> CallingRig:
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=30.0, use_api=False)
    rig.sweep = 30.0
    rig.policy = policy(
        {"escalation": calling.steps()},
        mode=mode,
        otherwise=(Otherwise.ESCALATE,),
        approval=Approval(expires=timedelta(minutes=5)),
    )
    await rig.born()
    return rig


@pytest.mark.parametrize("rejected", [True, False])
async def test_a_more_severe_alert_calls_for_what_was_somebodys_without_a_call(
    tmp_path: Path, *, rejected: bool
) -> None:
    rig = await _called(tmp_path, Mode.APPROVE)
    warns = alert(rig, started=1, severity="warning", **LABELS)
    await rig.send(body(warns))
    await rig.run(30, alerts=False)
    run = await the_run(rig)
    if rejected:
        await rig.operations.reject(run.id, "kim", run.plan_hash)
    else:
        await rig.operations.acknowledge(run.incident_id, "kim")
    await rig.run(400, alerts=False)
    assert ((await the_incident(rig)).state, rig.pagerduty.woken) == (IncidentState.ESCALATED, [])
    await rig.send(body(warns))
    await rig.run(30, alerts=False)
    assert rig.pagerduty.woken == []
    await rig.send(body(warns, alert(rig, severity="critical", started=1, **LABELS)))
    await rig.run(60, alerts=False)
    assert len(rig.pagerduty.woken) == 1
    assert "it is critical now, warning before" in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize("how", ["called, then taken", "taken, then nobody answered", "rejected"])
async def test_an_orders_incident_is_over_once_somebody_has_it(tmp_path: Path, how: str) -> None:
    """It has no alert by which it could end, and nothing that could be looked at."""
    rig = await _called(tmp_path, Mode.APPROVE)
    order = ManualRequest("high-latency", "rag7/Deployment/langgraph-api", {}, "as agreed", "kim")
    ordered = Delivery(
        Source.MANUAL, rig.clock.now(), "kim", dedupe_key="k", body_digest=digest(["k"]), manual=order
    )
    await rig.store.ingest(ordered)
    called = how.startswith("called")
    await rig.run(420 if called else 30, alerts=False)
    incident, run = await the_incident(rig), await the_run(rig)
    assert incident.state is (IncidentState.ESCALATED if called else IncidentState.WAITING)
    assert len(rig.pagerduty.woken) == called
    if how == "rejected":
        await rig.operations.reject(run.id, "ana", run.plan_hash)
    else:
        await rig.operations.acknowledge(incident.id, "kim")
    await rig.run(60 if called else 400, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert len(rig.pagerduty.woken) == called
    assert list(rig.pagerduty.pages) == []
    await rig.close()


async def test_who_took_it_hears_that_a_person_is_needed_again(tmp_path: Path) -> None:
    """The step did not help; who had taken the incident has to say so again."""
    rig = await _called(tmp_path, Mode.AUTO)
    fires = alert(rig, started=1, severity="critical", **LABELS)
    await rig.send(body(fires))
    await rig.run(60, alerts=False)
    await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    for _ in range(12):
        await rig.send(body(fires))
        await rig.run(60, alerts=False)
    assert len(rig.pagerduty.woken) == 1
    assert "Not acknowledged any more: a person is needed again; kim had it" in rig.notebook.text
    await rig.close()


async def _paused(tmp_path: Path) -> Rig:
    """A rule acts by itself, and another alert has one like it; everything is paused."""
    rules = policy()
    odd = Rule.from_json({**rules.rules[0].to_json(), "name": "odd", "when": ['alertname="Odd"']})
    rules = rules.model_copy(update={"rules": (*rules.rules, odd)})
    rig = await born(tmp_path, rules=rules, use_api=False, stride=15.0)
    await rig.operations.pause("all", "a release", "ops", None)
    return rig


async def _asked_over_their_change(tmp_path: Path) -> Rig:
    """Somebody changed the target after the alert fired, so that the rule asks."""
    rig = await _paused(tmp_path)
    await rig.send(body(alert(rig, started=1)))
    await rig.run(15, alerts=False)
    rig.cluster.scale(Kind.DEPLOYMENT, "rag7", "langgraph", 4, "kubectl-scale")
    await rig.operations.resume("all", "ops")
    await rig.run(45, alerts=False)
    [run] = await all_runs(rig)
    assert run.state is RunState.WAITING
    return rig


async def _back(rig: Rig, gone: float, **labels: str) -> None:
    """Its alert goes, and is back, or another one of the same target is there."""
    there = [one for one in rig.bodies if one["status"] == "firing"][-1]["alerts"][0]
    await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(gone, alerts=False)
    await rig.send(body(alert(rig, started=1, **labels)))
    await rig.run(60, alerts=False)


@pytest.mark.parametrize("gone", [30.0, 1_200.0])
async def test_a_question_that_nobody_answered_is_put_again_when_its_alert_is_back(
    tmp_path: Path, gone: float
) -> None:
    """Also when that is so late that their change was before it fired."""
    rig = await _asked_over_their_change(tmp_path)
    await _back(rig, gone)
    first, again = await all_runs(rig)
    assert (first.state, again.state) == (RunState.ABANDONED, RunState.WAITING)
    assert ("kubectl-scale changed replicas" in (await decision(rig, again.incident_id)).text) == (gone < 60)
    assert not writes(rig)
    await rig.close()


@pytest.mark.parametrize(
    ("name", "gone", "said", "runs"),
    [
        ("HighErrorRate", 30.0, "was left to ana, who rejected its plan", 1),
        ("HighErrorRate", 2_000.0, "refused it on this target: rejected by ana", 2),
        ("Odd", 30.0, "on this target was left to ana, who rejected its plan", 2),
    ],
)
async def test_what_a_person_rejected_is_not_done_by_itself_when_an_alert_is_back(
    tmp_path: Path, name: str, gone: float, said: str, runs: int
) -> None:
    """They have it for half an hour as if they had taken it; after that, and for another alert of the target, it is asked about."""
    rig = await _asked_over_their_change(tmp_path)
    await rig.operations.reject((await the_run(rig)).id, "ana")
    await rig.run(30, alerts=False)
    await _back(rig, gone, alertname=name)
    back = (await all_incidents(rig))[-1]
    assert said in (await decision(rig, back.id)).text
    found = await all_runs(rig)
    assert len(found) == runs
    assert found[-1].state is (RunState.REJECTED if runs == 1 else RunState.WAITING)
    assert not writes(rig)
    await rig.close()


async def test_who_had_an_alert_for_longer_than_half_an_hour_has_it_when_it_is_back(tmp_path: Path) -> None:
    rig = await _paused(tmp_path)
    there = alert(rig, started=1)
    await rig.send(body(there))
    await rig.run(15, alerts=False)
    await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    await rig.operations.resume("all", "ops")
    for _ in range(4):
        await rig.run(600, alerts=False)
        await rig.send(body(there))
    await _back(rig, 30.0)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert (found.code, "by kim at" in found.text) == (Code.ACKNOWLEDGED, True)
    assert not writes(rig)
    await rig.close()


@pytest.mark.parametrize("rejects", [False, True])
async def test_whose_another_incident_of_the_target_is_has_a_rule_ask(
    tmp_path: Path, *, rejects: bool
) -> None:
    """By their word, or by their no."""
    rig = await (_asked_over_their_change(tmp_path) if rejects else _paused(tmp_path))
    if rejects:
        await rig.operations.reject((await the_run(rig)).id, "kim")
    else:
        await rig.send(body(alert(rig, started=1)))
        await rig.run(15, alerts=False)
        await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
        await rig.operations.resume("all", "ops")
    await rig.run(15, alerts=False)
    first = await the_incident(rig)
    await rig.send(body(alert(rig, started=1, alertname="Odd")))
    await rig.run(60, alerts=False)
    odd = (await all_incidents(rig))[-1]
    text = (await decision(rig, odd.id)).text
    assert odd.state is IncidentState.WAITING
    assert f"{first.id} on this target is " in text
    assert "kim" in text
    assert not writes(rig)
    await rig.close()


async def _taken(tmp_path: Path, **labels: str) -> Rig:
    """Somebody has the incident, and nothing is paused any more."""
    rig = await _paused(tmp_path)
    await rig.send(body(alert(rig, started=1, **labels)))
    await rig.run(15, alerts=False)
    await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    await rig.operations.resume("all", "ops")
    await rig.run(30, alerts=False)
    return rig


@pytest.mark.parametrize("blinks", [True, False])
async def test_whoever_had_an_alert_that_went_a_moment_ago_is_asked_before_another_one_of_the_target_acts(
    tmp_path: Path, *, blinks: bool
) -> None:
    """They have it for half an hour after it went, whether it came back or not."""
    rig = await _taken(tmp_path)
    if blinks:
        await _back(rig, 20.0)
    there = [one for one in rig.bodies if one["status"] == "firing"][-1]["alerts"][0]
    if not blinks:
        await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(20, alerts=False)
    await rig.send(body(alert(rig, started=1, alertname="Odd")))
    await rig.run(90, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert found.code is Code.TAKEN_BESIDE, found.text
    assert "on this target was acknowledged through API by kim" in found.text
    assert not writes(rig)
    await rig.close()


async def test_half_an_hour_after_it_went_nobody_has_its_target(tmp_path: Path) -> None:
    rig = await _taken(tmp_path)
    there = [one for one in rig.bodies if one["status"] == "firing"][-1]["alerts"][0]
    await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(1_900, alerts=False)
    await rig.send(body(alert(rig, started=1, alertname="Odd")))
    await rig.run(90, alerts=False)
    assert len(writes(rig)) == 1
    await rig.close()


@pytest.mark.parametrize("how", ["joins", "replaces", "comes back"])
async def test_whoever_has_what_becomes_more_severe_is_asked_before_anything_is_written(
    tmp_path: Path, how: str
) -> None:
    """Their word does not keep others from being called for it; they are at work on it all the same."""
    rig = await _taken(tmp_path, severity="warning")
    there = [one for one in rig.bodies if one["status"] == "firing"][-1]["alerts"][0]
    over = {**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}
    if how == "comes back":
        await rig.send(body(over))
        await rig.run(20, alerts=False)
    more = alert(rig, started=1, severity="critical")
    await rig.send(body(more, over) if how == "replaces" else body(more))
    await rig.run(90, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert (found.code, "by kim" in found.text) == (Code.TAKEN_BESIDE, True), found.text
    assert not writes(rig)
    assert ("kim had it" in rig.notebook.text) == (how != "comes back")
    await rig.close()


async def test_the_rules_own_undo_is_not_begun_while_somebody_has_another_incident_of_its_target(
    tmp_path: Path,
) -> None:
    """It would be written under their hands, and an undo has no question: a person is called, who may order it."""
    rules = policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE))
    late = next(rule for rule in rules.rules if "HighLatency" in str(rule.when))
    odd = Rule.from_json({**late.to_json(), "name": "odd", "when": ['alertname="Odd"'], "mode": "approve"})
    rules = rules.model_copy(update={"rules": (*rules.rules, odd)})
    rig = await born(tmp_path, rules=rules, world=flood(), use_api=False, stride=15.0)
    one, other = (alert(rig, started=1, **{**LABELS, "alertname": name}) for name in ("HighLatency", "Odd"))
    await rig.send(body(one))
    await rig.run(45, alerts=False)
    await rig.send(body(other))
    await rig.run(15, alerts=False)
    theirs = (await all_incidents(rig))[-1].id
    await rig.operations.acknowledge(theirs, "kim")
    for _ in range(10):
        await rig.send(body(one, other))
        await rig.run(60, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    [run] = [run for run in await all_runs(rig) if run.rule == late.name]
    assert f"{theirs} on this target is acknowledged through API by kim" in run.result
    assert f"remediator undo {run.id}" in run.result
    [called] = await trail(rig, EventKind.ESCALATED)
    assert called.incident_id == run.incident_id
    await rig.operations.undo(run.id, "ana")
    await rig.run(60, alerts=False)
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    await rig.close()


@pytest.mark.parametrize("agreed", [True, False])
async def test_whoever_has_the_storm_is_asked_before_one_of_its_targets_is_written_to(
    tmp_path: Path, *, agreed: bool
) -> None:
    """Also when no more alerts come, so that the storm holds nothing; and nobody else is called where nobody agrees."""
    rig = CallingRig(tmp_path / "rig.sqlite", scenarios=("high-error-rate",), stride=15.0, use_api=False)
    rig.sweep = 15.0
    rig.policy = policy({"escalation": calling.steps()}, approval=Approval(expires=timedelta(minutes=3)))
    await rig.born()
    names = ("langgraph", *(f"svc-{number}" for number in range(11)))
    there = body(*(alert(rig, started=1, deployment=name) for name in names))
    await rig.send(there)
    await rig.run(60, alerts=False)
    [storm] = rig.pagerduty.woken
    by = "kim" if agreed else "Ann Ops"
    if agreed:
        await rig.operations.acknowledge(storm, by)
    else:
        await rig.pagerduty_says("incident.acknowledged", of=storm)
    runs = []
    for _ in range(8):
        await rig.run(60, alerts=False)
        await rig.send(there)
        runs = await all_runs(rig)
        if runs:
            break
    [run] = runs
    found = await decision(rig, run.incident_id)
    assert found.code is Code.TAKEN_BESIDE, found.text
    assert f"hands: {by} has the storm {storm}, which this target is part of" in found.text
    assert writes(rig) == []
    if agreed:
        await rig.operations.approve(run.id, "ana", run.plan_hash)
    await rig.run(30 if agreed else 300, alerts=False)
    assert bool(writes(rig)) == agreed
    assert rig.pagerduty.woken == [storm]
    await rig.close()
