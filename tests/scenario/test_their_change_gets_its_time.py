"""Somebody changes the target while our question stands: what they did gets its time to help before anybody is called, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Code, Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.calling import escalation
from app.policy.model import Otherwise
from app.sim.scenario import PatchStep, Scenario, Step
from tests.births import scenario_of
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_runs,
    body,
    born,
    decision,
    policy,
    says_yes,
    the_incident,
    the_run,
    trail,
    writes,
)
from tests.scenario.test_alerts_that_fire_on import fires_on

MAIN = (Kind.DEPLOYMENT, "rag7", "langgraph")
ROLLED_BACK, HOTFIX = (f"ghcr.io/stacey77/rag7:{tag}" for tag in ("v1.4.2", "v1.4.3"))


async def _asked(path: Path) -> Rig:
    rig = await born(path, rules=policy(mode=Mode.APPROVE))
    await rig.until(lambda: "WAITING FOR APPROVAL" in rig.notebook.text, 600)
    return rig


def _deploys(rig: Rig, image: str, manager: str) -> None:
    operation = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}
    rig.cluster.edit(*MAIN, [operation], manager=manager)


@pytest.mark.parametrize("answered", [False, True], ids=["nobody answers", "somebody says yes"])
@pytest.mark.parametrize(
    ("image", "manager"),
    [(ROLLED_BACK, "kubectl-rollout"), (HOTFIX, "kubectl-set"), (HOTFIX, "helm")],
    ids=["rolled back", "hotfix", "helm upgrade"],
)
async def test_what_somebody_did_while_the_question_stood_calls_nobody_where_it_helps(
    tmp_path: Path, image: str, manager: str, answered: bool
) -> None:
    rig = await _asked(tmp_path)
    _deploys(rig, image, manager)
    await rig.run(15)
    if answered:
        await says_yes(rig)
    await rig.until(lambda: "before our write: noticed" in rig.notebook.text, 120)
    assert (await decision(rig)).code is Code.TARGET_BUSY
    assert f"{manager} changed template" in (await decision(rig)).text
    await rig.run(600)
    assert (await the_run(rig)).state is RunState.ABANDONED
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert await trail(rig, EventKind.ESCALATED) == []
    assert writes(rig) == []
    await rig.close()


async def test_a_person_is_called_where_their_change_has_not_helped_in_its_time(tmp_path: Path) -> None:
    rig = await _asked(tmp_path)
    _deploys(rig, HOTFIX, "kubectl-set")
    await rig.until(lambda: "before our write: noticed" in rig.notebook.text, 120)
    fires_on(rig)
    await rig.run(240, alerts=False)
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.run(120, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert writes(rig) == []
    await rig.close()


def _before(image: str) -> Scenario:
    """The broken release, after which somebody deploys this image 20 s before we hear of its alert."""
    world = scenario_of("high-error-rate")
    operation = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}
    patch = PatchStep(kind=MAIN[0], name=MAIN[2], manager="kubectl-set", operations=(operation,))
    return world.model_copy(update={"story": (*world.story, Step(at=-20, say="their hand", patch=patch))})


@pytest.mark.parametrize("image", [ROLLED_BACK, HOTFIX])
async def test_what_somebody_did_before_we_heard_of_the_alert_has_its_time(
    tmp_path: Path, image: str
) -> None:
    rig = await born(tmp_path, world=_before(image))
    await rig.until(lambda: "which may yet help" in rig.notebook.text, 120)
    assert (await decision(rig)).code is Code.TARGET_BUSY
    assert "kubectl-set changed template" in (await decision(rig)).text
    await rig.run(600)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert await trail(rig, EventKind.ESCALATED) == []
    assert writes(rig) == []
    await rig.close()


async def test_a_person_is_called_once_where_what_they_did_before_has_not_helped_in_its_time(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, world=_before(HOTFIX))
    await rig.until(lambda: "which may yet help" in rig.notebook.text, 120)
    fires_on(rig)
    await rig.run(240, alerts=False)
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.run(120, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.run(2_000, alerts=False)
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert writes(rig) == []
    await rig.close()


async def test_who_changes_it_again_and_again_puts_the_call_off_once(tmp_path: Path) -> None:
    """Their time begins while we have just heard of the alert, and no later."""
    rig = await born(tmp_path, world=_before(HOTFIX))
    await rig.until(lambda: "which may yet help" in rig.notebook.text, 120)
    fires_on(rig)
    for number in range(8):
        await rig.run(120, alerts=False)
        _deploys(rig, f"{HOTFIX}-{number}", "kubectl-set")
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_what_who_had_an_alert_did_at_the_end_of_their_time_has_its_own(tmp_path: Path) -> None:
    """They took it, it went and came back, and they deployed something two minutes before they no longer had it."""
    rig = await born(tmp_path)
    await rig.operations.pause("all", "somebody looks", "ops", None)
    there = alert(rig, started=1)
    await rig.send(body(there))
    await rig.run(30, alerts=False)
    await escalation.acknowledge(rig.services, (await the_incident(rig)).id, "kim", "API")
    await rig.operations.resume("all", "ops")
    await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(20, alerts=False)
    await rig.send(body(alert(rig, started=1)))
    fires_on(rig)
    await rig.run(28 * 60, alerts=False)
    _deploys(rig, HOTFIX, "kubectl-set")
    await rig.run(240, alerts=False)
    assert "which may yet help" in rig.notebook.text
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.run(1_200, alerts=False)
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert writes(rig) == []
    await rig.close()


API = (Kind.DEPLOYMENT, "rag7", "langgraph-api")


async def second_question(path: Path) -> Rig:
    """A run whose first step did not help and whose second one is asked about."""
    both = policy(mode=Mode.APPROVE, otherwise=(Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE))
    rig = await born(path, rules=both, world=flood())
    await rig.until(lambda: "WAITING FOR APPROVAL" in rig.notebook.text, 600)
    await says_yes(rig)
    await rig.run(60)
    run = await the_run(rig)
    while run.state is not RunState.WAITING or run.step_index == 0:
        await rig.run(30)
        run = await the_run(rig)
    return rig


@pytest.mark.parametrize(
    ("change", "answered"),
    [
        *(("env", True), ("env", False)),
        *(("deleted", True), ("deleted", False)),
        *(("kept away", True), ("kept away", False)),
        *(("out of scope", True), ("out of scope", False)),
    ],
)
async def test_what_became_of_the_target_beside_the_second_question_calls_nobody_at_once(
    tmp_path: Path, change: str, *, answered: bool
) -> None:
    rig = await second_question(tmp_path)
    match change:
        case "env":
            value = [{"name": "A", "value": "1"}]
            patch = {"op": "add", "path": "/spec/template/spec/containers/0/env", "value": value}
            rig.cluster.edit(*API, [patch], manager="kubectl-set")
        case "deleted":
            rig.cluster.delete(*API)
        case "out of scope":
            scope = rig.policy.scope.model_copy(update={"namespaces": ("shop",)})
            rig.policy = rig.policy.model_copy(update={"scope": scope})
        case _:
            mark = {"op": "add", "path": "/metadata/labels/alert-remediator.io~1enabled", "value": "false"}
            rig.cluster.edit(*API, [mark], manager="kubectl-label")
    await rig.run(3)
    if answered:
        await says_yes(rig)
    await rig.run(200)
    assert await trail(rig, EventKind.ESCALATED) == []
    assert (await all_runs(rig))[0].state is RunState.TAKEN_OVER
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


@pytest.mark.parametrize("helps", [True, False])
async def test_what_somebody_did_while_the_second_question_stood_has_its_time_too(
    tmp_path: Path, *, helps: bool
) -> None:
    """An earlier step of ours stands: nothing of it is taken back under their hand, and nobody is called before their time is over."""
    rig = await second_question(tmp_path)
    rig.cluster.scale(*API, 12, manager="kubectl")
    if helps:
        rig.cluster.traffic.set_rps("langgraph-api", 0.2)
    await rig.run(240)
    assert await trail(rig, EventKind.ESCALATED) == []
    first = (await all_runs(rig))[0]
    assert (first.state, "kubectl changed replicas" in first.result) == (RunState.TAKEN_OVER, True)
    await rig.run(2_400)
    assert writes(rig) == ["patch langgraph-api"], "nothing is taken back under their hand"
    assert len(await trail(rig, EventKind.ESCALATED)) == (0 if helps else 1)
    await rig.close()
