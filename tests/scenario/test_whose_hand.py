"""Finding D, as a real API server tells of it: a person's hand after the alert is asked about whatever they changed and however, and
what is nobody's hand holds nothing up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code
from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind, Target
from app.flow.deciding.decide import firing_alerts
from app.flow.deciding.facts import Sight, outside
from app.kube.parse import parse_ref
from app.kube.read import read_workload
from app.policy.facts import Unknown
from app.policy.model import Otherwise, Policy
from tests.crash.worlds import autoscaler, flood
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
MAIN = (Kind.DEPLOYMENT, "rag7", "langgraph")
Hand = Callable[[Rig], None]


def rules(**changes: Any) -> Policy:
    undo = (Otherwise.UNDO, Otherwise.ESCALATE)
    return policy(otherwise=undo, steps=("scale-out",), cooldown=timedelta(seconds=1), **changes)


def edited(manager: str, op: str, path: str, value: Any = None) -> Hand:
    operation = {"op": op, "path": path} | ({} if op == "remove" else {"value": value})
    return lambda rig: void(rig.cluster.edit(*API, [operation], manager=manager))


def void(_: Obj) -> None:
    return


def scaled(replicas: int, manager: str = "kubectl") -> Hand:
    return lambda rig: rig.cluster.scale(*API, replicas, manager)


ENV = "/spec/template/spec/containers/0/env"
NOTE = "/metadata/annotations"
OWNED = edited("helm", "add", f"{ENV}", [{"name": "POOL", "value": "1"}])


def several(*hands: Hand) -> Hand:
    def act(rig: Rig) -> None:
        for hand in hands:
            hand(rig)

    return act


def nobody(_rig: Rig) -> None:
    return


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(nobody, scaled(4), "kubectl changed replicas at ", id="C1: kubectl scale up"),
        pytest.param(nobody, scaled(1), "kubectl changed replicas at ", id="C1: kubectl scale down"),
        pytest.param(scaled(3), nobody, "", id="C1: scaled with kubectl long before the alert"),
        pytest.param(nobody, scaled(3, "k3s"), "", id="M4: the autoscaler of k3s"),
        pytest.param(
            OWNED, edited("helm", "remove", ENV), "somebody changed template at ", id="H5: env removed"
        ),
        pytest.param(
            edited("kubectl-rollout", "add", "/spec/paused", True),
            edited("kubectl-rollout", "remove", "/spec/paused"),
            "somebody changed paused at ",
            id="H5: rollout resumed",
        ),
        pytest.param(
            OWNED,
            edited("helm", "add", "/metadata/labels/team", "b"),
            "",
            id="M1: a label by who owns the template",
        ),
        pytest.param(nobody, edited("rancher", "add", f"{NOTE}/note", "x"), "", id="H2: an annotation"),
    ],
)
async def test_what_somebody_changed_after_the_alert_is_asked_about(
    tmp_path: Path, before: Hand, after: Hand, told: str
) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    before(rig)
    await rig.run(90, alerts=False)
    sent = alert(rig, started=0, alertname="HighLatency", deployment="langgraph-api")
    await rig.run(5, alerts=False)
    after(rig)
    await rig.run(10, alerts=False)
    await rig.send(body(sent))
    await rig.run(60, alerts=False)
    found = await decision(rig)
    if not told:
        assert "hands" not in closed(found)
        assert writes(rig) == ([] if before is OWNED else ["patch langgraph-api"]), (
            "a release minutes before is a question"
        )
    else:
        assert closed(found) == {"hands": Code.CHANGED_SINCE}
        assert writes(rig) == []
        assert told in rig.notebook.text
    await rig.close()


async def acted(path: Path) -> tuple[Rig, dict[str, Any]]:
    """A rollback that is watched, and its alert, which comes by messages alone."""
    rig = await born(path, rules=policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE)), use_api=False)
    sent = alert(rig)
    await rig.send(body(sent))
    await rig.until(lambda: bool(writes(rig)), 300)
    await rig.run(10, alerts=False)
    assert (await the_run(rig)).state is RunState.VERIFYING
    return rig, sent


async def ended(rig: Rig, *, alerts: bool = False) -> RunState:
    for _ in range(120):
        await rig.run(10, alerts=alerts)
        runs = await all_runs(rig)
        if runs and runs[-1].state.ended:
            return runs[-1].state
    raise AssertionError(rig.notebook.text[-2000:])


def on_main(op: str, path: str, value: Any = None, manager: str = "kubectl-edit") -> Hand:
    operation = {"op": op, "path": path} | ({} if op == "remove" else {"value": value})
    return lambda rig: void(rig.cluster.edit(*MAIN, [operation], manager=manager))


AUTOSCALED: Hand = lambda rig: rig.cluster.scale(*MAIN, 4, "kube-controller-manager")  # noqa: E731
NOTED = on_main("add", f"{NOTE}/field.cattle.io~1publicEndpoints", "[]", "rancher")
LABELLED = on_main("add", "/metadata/labels/team", "b", "kubectl-label")
LESS = on_main("remove", "/spec/template/spec/containers/0/resources/limits/memory")


@pytest.mark.parametrize(
    "hand", [AUTOSCALED, NOTED, LABELLED], ids=["H1: autoscaler", "H2: annotation", "label"]
)
@pytest.mark.parametrize("helps", [True, False], ids=["it helps", "the alert fires on"])
async def test_nobodys_hand_ends_no_verification_and_stops_no_undo(
    tmp_path: Path, hand: Hand, *, helps: bool
) -> None:
    rig, sent = await acted(tmp_path)
    hand(rig)
    if helps:
        await rig.send(body({**sent, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    else:
        firing = {**sent, "startsAt": rig.clock.now().isoformat()}
        await rig.run(5, alerts=False)
        await rig.send(body(firing))
    state = await ended(rig)
    if helps:
        assert state is RunState.FIXED
        assert writes(rig) == ["patch langgraph"]
    else:
        assert state is RunState.STILL_FIRING, "its errors are gone, so nothing is taken back by itself"
        await rig.operations.undo((await the_run(rig)).id, "ann")
        await rig.run(30, alerts=False)
        assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    await rig.close()


async def test_what_a_person_only_takes_away_during_the_verification_is_their_hand(tmp_path: Path) -> None:
    rig, _ = await acted(tmp_path)
    LESS(rig)
    assert await ended(rig) is RunState.TAKEN_OVER
    assert (await the_run(rig)).result.startswith("somebody changed template")
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_person_who_scales_our_scale_out_back_is_named_and_nobody_else_is_called(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    await rig.run(5)
    rig.cluster.scale(*API, 3)
    assert await ended(rig, alerts=True) is RunState.TAKEN_OVER
    assert (await the_run(rig)).result.startswith(
        "our change was taken back by kubectl: /spec/replicas is 3, not "
    )
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("dry", [True, False], ids=["before the dry run", "before the write"])
async def test_kubectl_scale_right_before_our_write_takes_the_run_over(tmp_path: Path, *, dry: bool) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood())
    whole, done = rig.cluster.patch, list[str]()

    async def patch(*arguments: Any, **options: Any) -> Any:
        if not done and (dry or not options.get("dry_run")):
            done.append("scaled")
            rig.cluster.scale(*API, 5)
        return await whole(*arguments, **options)

    vars(rig.cluster)["patch"] = patch
    assert await ended(rig, alerts=True) is RunState.ABANDONED
    assert "kubectl" in (await the_run(rig)).result
    assert writes(rig) == []
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.run(3600)
    assert writes(rig) == []
    assert len(await trail(rig, EventKind.ESCALATED)) == 1, "it did not help: one call, and not none"
    await rig.close()


@pytest.mark.parametrize("manager", ["kubectl-edit", ""])
async def test_a_hand_on_the_autoscaler_that_the_step_changes_is_asked_about(
    tmp_path: Path, manager: str
) -> None:
    """Not only the workload: whatever a step changes may be somebody's by now."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    rig.cluster.create(autoscaler("api"))
    await rig.run(90, alerts=False)
    sent = alert(rig, started=0, alertname="HighLatency", deployment="langgraph-api")
    await rig.run(5, alerts=False)
    if manager:
        least = [{"op": "replace", "path": "/spec/minReplicas", "value": 3}]
        rig.cluster.edit(Kind.HPA, "rag7", "api", least, manager=manager)
    await rig.run(10, alerts=False)
    await rig.send(body(sent))
    await rig.run(60, alerts=False)
    if manager:
        assert closed(await decision(rig)) == {"hands": Code.CHANGED_SINCE}
        assert writes(rig) == []
        assert "kubectl-edit changed minReplicas of HorizontalPodAutoscaler api at " in rig.notebook.text
    else:
        assert "hands" not in closed(await decision(rig)), "its own work on the workload is no hand"
    await rig.close()


async def test_a_hand_on_any_of_several_objects_of_one_kind_is_seen(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    names = ("first", "second")
    for name in names:
        rig.cluster.create(autoscaler(name))
    await rig.run(90, alerts=False)
    sent = alert(rig, started=0, alertname="HighLatency", deployment="langgraph-api")
    await rig.run(5, alerts=False)
    least = [{"op": "replace", "path": "/spec/minReplicas", "value": 3}]
    rig.cluster.edit(Kind.HPA, "rag7", "first", least, manager="kubectl-edit")
    await rig.send(body(sent))
    (incident,) = await all_incidents(rig)
    alerts = await rig.store.read(lambda conn: firing_alerts(conn, incident.id))
    workload = await read_workload(rig.cluster, Target("rag7", Kind.DEPLOYMENT, "langgraph-api"))
    raised = FieldChange("/spec/minReplicas", 2, 4)
    actions = tuple(
        Action(ActionKind.RAISE_MIN_REPLICAS, parse_ref(Kind.HPA, rig.cluster.peek(Kind.HPA, "rag7", name) or {}),
               workload.target, (raised,), "", 0, True, "")
        for name in names
    )  # fmt: skip
    sight = Sight(workload.target, workload, actions)
    found = await outside(rig.services, rig.policy.rules[0], sight, alerts)
    assert "of HorizontalPodAutoscaler first" in str(found.changed_by)
    await rig.close()


async def test_a_change_that_its_controller_has_not_seen_yet_is_looked_at_again_and_not_asked_about(
    tmp_path: Path,
) -> None:
    """An autoscaler's scaling has no time in managedFields: whose it was is told once the controller has seen it."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await rig.run(90, alerts=False)
    await rig.send(body(alert(rig, started=30, alertname="HighLatency", deployment="langgraph-api")))
    (incident,) = await all_incidents(rig)
    alerts = await rig.store.read(lambda conn: firing_alerts(conn, incident.id))
    rig.cluster.scale(Kind.DEPLOYMENT, "rag7", "langgraph-api", 3, manager="kube-controller-manager")
    workload = await read_workload(rig.cluster, Target("rag7", Kind.DEPLOYMENT, "langgraph-api"))
    manifest = {**workload.manifest, "status": {**workload.manifest["status"], "observedGeneration": 1}}
    late = replace(workload, manifest=manifest)
    found = await outside(rig.services, rig.policy.rules[0], Sight(late.target, late), alerts)
    assert found.changed_by == Unknown("its controller has not seen its newest change yet")
    seen = {
        **manifest,
        "status": {**manifest["status"], "observedGeneration": manifest["metadata"]["generation"]},
    }
    sight = Sight(late.target, replace(workload, manifest=seen))
    assert (await outside(rig.services, rig.policy.rules[0], sight, alerts)).changed_by == ""
    await rig.close()
