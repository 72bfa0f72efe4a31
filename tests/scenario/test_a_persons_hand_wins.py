"""Finding D: what somebody else does to the target ends our run, is told with who and when, and is never written over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Alert, Delivery, ManualRequest, Source
from app.domain.alert_report import AlertReport, Reported
from app.domain.decision import Code
from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.intake import pagerduty
from app.policy.model import Otherwise, Policy, Rule
from app.store import facts as counts
from tests.crash.worlds import flood
from tests.scenario.moments import during
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
    the_incident,
    the_run,
    trail,
    writes,
)

API = (Kind.DEPLOYMENT, "rag7", "langgraph-api")
SCALED = [{"op": "replace", "path": "/spec/replicas", "value": 3}]


def rules() -> Policy:
    undo = (Otherwise.UNDO, Otherwise.ESCALATE)
    return policy(otherwise=undo, steps=("scale-out",), cooldown=timedelta(seconds=1))


async def acted(path: Path) -> Rig:
    """A run that has scaled out, and is watched."""
    rig = await born(path, rules=rules(), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    await rig.run(5)
    return rig


async def ended(rig: Rig) -> RunState:
    for _ in range(100):
        await rig.run(10)
        state = (await all_runs(rig))[-1].state
        if state.ended:
            await rig.run(5)
            return state
    raise AssertionError(rig.notebook.text[-2000:])


async def test_d_a_person_who_takes_our_change_back_has_it(tmp_path: Path) -> None:
    """Named with the tool and the time; no undo, no next step, and nobody else is called for it."""
    rig = await acted(tmp_path)
    rig.cluster.edit(*API, SCALED, manager="kubectl-edit")
    assert await ended(rig) is RunState.TAKEN_OVER
    run = await the_run(rig)
    assert "our change was taken back by kubectl-edit at " in run.result
    assert writes(rig) == ["patch langgraph-api"]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert await trail(rig, EventKind.ESCALATED) == []
    assert "taken over by somebody else, which counts neither as fixed nor as failed" in rig.notebook.text
    await rig.close()


async def test_d_a_controller_that_takes_our_change_back_calls_a_person(tmp_path: Path) -> None:
    """Nobody is at it."""
    rig = await acted(tmp_path)
    rig.cluster.edit(*API, SCALED, manager="argocd-controller")
    assert await ended(rig) is RunState.TAKEN_OVER
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "argocd-controller" in called.data["reason"]
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


@pytest.mark.parametrize("manager", ["kubectl-set", "helm"])
async def test_d_a_fix_by_somebody_else_is_not_ours(tmp_path: Path, manager: str) -> None:
    """Our value stands, and they changed the template: whatever helps then is not what we did."""
    rig = await acted(tmp_path)
    image = "/spec/template/spec/containers/0/image"
    rig.cluster.edit(*API, [{"op": "replace", "path": image, "value": "new:1"}], manager=manager)
    assert await ended(rig) is RunState.TAKEN_OVER
    assert f"{manager} changed template" in (await the_run(rig)).result
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


PAUSE = [{"op": "add", "path": "/spec/paused", "value": True}]
ENV = [
    {"op": "add", "path": "/spec/template/spec/containers/0/env", "value": [{"name": "POOL", "value": "50"}]}
]


@pytest.mark.parametrize(
    ("manager", "patch", "what"),
    [("kubectl-rollout", PAUSE, "paused"), ("kubectl-edit", ENV, "template")],
    ids=["pause", "edit"],
)
async def test_d_a_hand_in_the_second_of_our_write_is_seen(
    tmp_path: Path, manager: str, patch: list[dict[str, Any]], what: str
) -> None:
    """ManagedFields have whole seconds; the generation that our write returned tells."""
    rig = await born(tmp_path, rules=rules(), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    rig.cluster.edit(*API, patch, manager=manager)
    assert await ended(rig) is RunState.TAKEN_OVER
    assert f"{manager} changed {what} at" in (await the_run(rig)).result
    assert writes(rig) == ["patch langgraph-api"]
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("dry", [True, False], ids=["before the dry run", "before the write"])
async def test_d_a_hand_right_before_our_write_takes_the_run_over(tmp_path: Path, dry: bool) -> None:
    """Nothing is sent, and nobody is called for what they do before it had its time: it is decided anew."""
    rig = await born(tmp_path, rules=rules(), world=flood())
    whole, done = rig.cluster.patch, list[str]()

    async def patch(*arguments: Any, **options: Any) -> Any:
        if not done and (dry or not options.get("dry_run")):
            done.append("scaled")
            rig.cluster.edit(*API, [{**SCALED[0], "value": 5}], manager="kubectl-scale")
        return await whole(*arguments, **options)

    vars(rig.cluster)["patch"] = patch
    assert await ended(rig) is RunState.ABANDONED
    assert "kubectl-scale" in (await the_run(rig)).result
    assert writes(rig) == []
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert await trail(rig, EventKind.ESCALATED) == []
    assert (
        await rig.services.store.read(
            lambda conn: counts.taken_over(
                conn, "rag7/Deployment/langgraph-api", rig.clock.now() - timedelta(days=7)
            )
        )
        == []
    ), "nobody overruled what was not done"
    await rig.close()


async def test_d_an_undo_leaves_a_rollout_that_was_paused_since_the_last_look(tmp_path: Path) -> None:
    """The step did not help, the rule undoes it, and a person pauses the rollout right before that."""
    rig = await acted(tmp_path)
    whole, done = rig.cluster.patch, list[str]()

    async def patch(*arguments: Any, **options: Any) -> Any:
        if not done and not options.get("dry_run"):
            done.append("paused")
            rig.cluster.edit(*API, PAUSE, manager="kubectl-rollout")
        return await whole(*arguments, **options)

    vars(rig.cluster)["patch"] = patch
    await ended(rig)
    (undone,) = await trail(rig, EventKind.UNDO_ENDED)
    assert undone.data["result"] == "conflict"
    assert "is paused (by kubectl-rollout" in undone.data["text"]
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


async def _fires(rig: Rig, started: float) -> dict[str, Any]:
    sent = alert(rig, started=started, alertname="HighLatency", deployment="langgraph-api")
    await rig.send(body(sent))
    return sent


async def _taken_back(rig: Rig, manager: str, started: float) -> None:
    """A new episode of the alert, our step, and somebody who takes it back; then the alert resolves."""
    before = len(writes(rig))
    sent = await _fires(rig, started)
    for _ in range(20):
        await rig.run(5, alerts=False)
        if len(writes(rig)) > before:
            break
    rig.cluster.edit(*API, SCALED, manager=manager)
    for _ in range(30):
        await rig.run(10, alerts=False)
        if (await all_runs(rig))[-1].state.ended:
            break
    await rig.send(body({**sent, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(30, alerts=False)


async def test_d_what_was_taken_back_is_not_repeated(tmp_path: Path) -> None:
    """The next incident asks a person instead of fighting."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await _taken_back(rig, "kubectl-edit", 20)
    assert [r.state for r in await all_runs(rig)] == [RunState.TAKEN_OVER]
    await rig.run(120, alerts=False)
    await _fires(rig, 1)
    await rig.run(120, alerts=False)
    first, later = await all_incidents(rig)
    assert first.state is IncidentState.RESOLVED
    assert later.state is IncidentState.ESCALATED
    assert writes(rig) == ["patch langgraph-api"]
    assert (
        "not repeated, as somebody overruled it: our change was taken back by kubectl-edit"
        in rig.notebook.text
    )
    await rig.close()


async def test_d_an_alert_that_resolves_after_somebody_took_our_change_back_is_no_fix_of_ours(
    tmp_path: Path,
) -> None:
    """Their repair, our silence: resolved, and nobody is called."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    sent = await _fires(rig, 20)
    await rig.run(15, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.send(body({**sent, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    rig.cluster.edit(*API, SCALED, manager="argocd-controller")
    await rig.run(120, alerts=False)
    assert (await the_run(rig)).state is RunState.TAKEN_OVER
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


async def test_d_the_second_time_calls_a_person_whoever_it_was(tmp_path: Path) -> None:
    """An order may repeat it; when a person's hand takes it back again, somebody has to settle it."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await _taken_back(rig, "kubectl-edit", 20)
    assert await trail(rig, EventKind.ESCALATED) == []
    wish = ManualRequest(
        "high-latency", "rag7/Deployment/langgraph-api", {}, "rush hour", "kim", may_approve=True
    )
    order = Delivery(Source.MANUAL, rig.clock.now(), "kim", dedupe_key="k", body_digest="d", manual=wish)
    await rig.store.ingest(order)
    await rig.run(20, alerts=False)
    assert writes(rig) == ["patch langgraph-api"] * 2
    rig.cluster.edit(*API, SCALED, manager="kubectl-edit")
    assert await ended(rig) is RunState.TAKEN_OVER
    mine = (await all_runs(rig))[-1].incident_id
    (called,) = [r for r in await trail(rig, EventKind.ESCALATED) if r.incident_id == mine]
    assert "2 runs on it were taken over in 7 days" in called.data["reason"]
    await rig.close()


async def test_d_an_acknowledgement_holds_automatic_steps_and_is_said(tmp_path: Path) -> None:
    """Until it ends: whoever acknowledged the incident has it."""
    rig = await born(tmp_path, rules=rules(), world=flood())
    held = ["acknowledged in PagerDuty by Ann at 03:01"]

    async def states(alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        return [AlertReport(Reported.FIRING, "fires", held[0])] * len(alerts)

    vars(rig.cluster.alertmanager)["states"] = states
    await rig.run(120)
    assert writes(rig) == []
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert closed(await decision(rig)) == {"hands": Code.ACKNOWLEDGED}
    assert "acknowledged in PagerDuty by Ann" in rig.notebook.text
    held[0] = ""
    await rig.until(lambda: bool(writes(rig)), 900)
    await rig.close()


DETAILS = {
    "alerts": [
        {
            "body": {
                "details": {"alertname": "HighLatency", "namespace": "rag7", "deployment": "langgraph-api"}
            }
        }
    ]
}


async def _pagerduty(rig: Rig, kind: str, number: int, incident: str = "Q0", **data: Any) -> None:
    """One event of PagerDuty; the labels of its alert were fetched where it fires."""
    started = (
        (rig.clock.now() - timedelta(seconds=20)).isoformat() if number == 0 else "2026-03-04T02:59:40+00:00"
    )
    about = {
        "id": incident,
        "type": "incident",
        "title": "HighLatency langgraph-api",
        "created_at": started,
        **data,
    }
    event = {"id": f"{incident}-{number}", "event_type": kind, "occurred_at": rig.clock.now().isoformat(), "data": about,
             "agent": {"type": "user_reference", "summary": "Ann Ops"}}  # fmt: skip
    delivery = pagerduty.parse(canonical({"event": event}).encode(), received_at=rig.clock.now())
    alerts = tuple(pagerduty.enriched(a, DETAILS) for a in delivery.alerts)
    await rig.store.ingest(replace(delivery, alerts=alerts))


async def test_d_pagerdutys_message_alone_holds_automatic_steps_until_the_next_one(tmp_path: Path) -> None:
    """Nobody gave a token for its API: who has the incident is known from its events."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await _pagerduty(rig, "incident.triggered", 0, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged")
    await rig.run(120, alerts=False)
    assert writes(rig) == []
    assert closed(await decision(rig)) == {"hands": Code.ACKNOWLEDGED}
    assert "acknowledged in PagerDuty by Ann Ops" in rig.notebook.text
    await _pagerduty(rig, "incident.annotated", 2, status="acknowledged")
    await _pagerduty(rig, "incident.priority_updated", 3, status="acknowledged")
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    await _pagerduty(rig, "incident.reassigned", 4, status="triggered")
    await rig.run(15, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


@pytest.mark.parametrize("back", ["HighLatency", "Odd"])
async def test_d_whoever_took_pagerdutys_own_incident_has_the_target_when_it_went_a_moment_ago(
    tmp_path: Path, back: str
) -> None:
    """Whichever way they said so: the same alert is theirs, and another one of the target is asked about."""
    ours = rules()
    late = next(rule for rule in ours.rules if "HighLatency" in str(rule.when))
    odd = Rule.from_json({**late.to_json(), "name": "odd", "when": ['alertname="Odd"']})
    ours = ours.model_copy(update={"rules": (*ours.rules, odd)})
    rig = await born(tmp_path, rules=ours, world=flood(), use_api=False, stride=15.0)
    await rig.operations.pause("all", "x", "ops", None)
    await _pagerduty(rig, "incident.triggered", 0, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged")
    await rig.operations.resume("all", "ops")
    await rig.run(30, alerts=False)
    await _pagerduty(rig, "incident.resolved", 2, status="resolved")
    await rig.run(15, alerts=False)
    if back == "Odd":
        await rig.send(body(alert(rig, started=1, alertname="Odd", deployment="langgraph-api")))
    else:
        await _pagerduty(rig, "incident.triggered", 0, "Q1", status="triggered")
    await rig.run(60, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert found.code is (Code.TAKEN_BESIDE if back == "Odd" else Code.ACKNOWLEDGED), found.text
    assert "acknowledged through PagerDuty by Ann Ops" in found.text
    assert writes(rig) == []
    await rig.close()


async def test_d_an_incident_of_pagerduty_that_nobody_has_holds_nothing_for_another(tmp_path: Path) -> None:
    """Two of them are one incident here; one acknowledgement of two is none of all."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await rig.operations.pause("all", "both first", "kim", None)
    for incident in ("Q1", "Q2"):
        await _pagerduty(rig, "incident.triggered", 0, incident, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, "Q1", status="acknowledged")
    await rig.operations.resume("all", "kim")
    await rig.run(30, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


async def test_d_an_acknowledgement_between_decision_and_write_stops_it(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    done = during(rig, "patch", lambda: _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged"))
    await _pagerduty(rig, "incident.triggered", 0, status="triggered")
    await rig.run(60, alerts=False)
    assert done == ["patch"]
    assert writes(rig) == []
    await rig.close()


async def test_d_a_change_after_the_alert_fired_makes_it_ask(tmp_path: Path) -> None:
    """Nothing is written over what somebody has just done, unless a person says so."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await rig.run(30, alerts=False)
    label = [{"op": "add", "path": "/spec/template/metadata/labels/by", "value": "hand"}]
    rig.cluster.edit(*API, label, manager="kubectl-edit")
    await rig.run(5, alerts=False)
    await _fires(rig, 20)
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    assert (await the_incident(rig)).state is IncidentState.WAITING
    assert closed(await decision(rig)) == {"hands": Code.CHANGED_SINCE}
    assert "kubectl-edit changed template" in rig.notebook.text
    run = await the_run(rig)
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.until(lambda: bool(writes(rig)), 60)
    await rig.close()
