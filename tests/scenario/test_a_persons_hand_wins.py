"""Finding D: what somebody else does to the target ends our run, is told with who and when, and is never written over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Alert, Delivery, ManualRequest, Source
from app.domain.alert_report import AlertReport, Reported
from app.domain.decision import Code
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Otherwise, Policy
from app.store import facts as counts
from tests.crash.worlds import flood
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
    """Once whoever took it back no longer has it, the next incident asks a person instead of fighting."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await _taken_back(rig, "kubectl-edit", 20)
    assert [r.state for r in await all_runs(rig)] == [RunState.TAKEN_OVER]
    rig.clock.advance(1_900)
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
