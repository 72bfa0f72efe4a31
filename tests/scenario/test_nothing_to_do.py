"""An alert about pods that are healthy (again): it is said, nothing is done, nobody is called, and it is looked at again."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Code, Mode, Verdict
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, decision, policy, the_incident, trail, writes


@pytest.mark.parametrize(
    ("alertname", "mode"),
    [("PodRestarting", Mode.AUTO), ("PodRestarting", Mode.OBSERVE), ("OOMKilled", Mode.AUTO)],
)
async def test_nobody_is_called_for_pods_that_are_healthy(tmp_path: Path, alertname: str, mode: Mode) -> None:
    rig = await born(tmp_path, rules=policy(mode=mode), use_api=False)
    await rig.send(body(alert(rig, alertname=alertname, deployment="redis")))
    await rig.run(10, alerts=False)
    found, incident = await decision(rig), await the_incident(rig)

    assert (found.verdict, found.code) == (Verdict.OBSERVE, Code.NOTHING_TO_DO), found.text
    assert "nothing to do: 1 of 1 pod ready" in found.text
    assert incident.state is IncidentState.OBSERVED
    assert incident.due_at is not None
    assert "A person is needed" not in rig.notebook.text
    assert writes(rig) == []
    await rig.close()


def _paused(rig: Rig, manager: str) -> None:
    """The rollout stands still, and what was changed since waits for whoever paused it."""
    image = "/spec/template/spec/containers/0/image"
    for operation in (
        {"op": "add", "path": "/spec/paused", "value": True},
        {"op": "replace", "path": image, "value": "ghcr.io/stacey77/rag7:v1.5.1"},
    ):
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [operation], manager=manager)


STUCK = ("KubeDeploymentRolloutStuck", "KubePodNotReady")


@pytest.mark.parametrize("alertname", STUCK)
@pytest.mark.parametrize("manager", ["kubectl-rollout", "kubectl-edit"])
async def test_nobody_is_called_for_a_rollout_that_somebody_paused(
    tmp_path: Path, manager: str, alertname: str
) -> None:
    rig = await born(tmp_path, use_api=False)
    _paused(rig, manager)
    await rig.run(120, alerts=False)
    await rig.send(body(alert(rig, alertname=alertname)))
    await rig.run(10, alerts=False)
    found = await decision(rig)
    assert found.code is Code.NOTHING_TO_DO, found.text
    assert f"the rollout is paused by {manager} 2 min ago, nothing to do: 3 of 3 pods ready" in found.text
    assert (await the_incident(rig)).state is IncidentState.OBSERVED
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("broken", [True, False])
async def test_a_person_is_called_for_a_paused_rollout_that_nobody_is_known_to_want_or_that_is_not_well(
    tmp_path: Path, *, broken: bool
) -> None:
    """A controller paused it, or a pod of it is not ready."""
    rig = await born(tmp_path, use_api=False)
    _paused(rig, "kubectl-rollout" if broken else "kube-controller-manager")
    await rig.run(120, alerts=False)
    if broken:
        pods = await rig.cluster.list_objects(Kind.POD, "rag7")
        name = next(p["metadata"]["name"] for p in pods if p["metadata"]["name"].startswith("langgraph-"))
        rig.cluster.delete(Kind.POD, "rag7", name)
        await rig.run(2, alerts=False)
    await rig.send(body(alert(rig, alertname="KubeDeploymentRolloutStuck")))
    await rig.run(1, alerts=False)
    assert (await decision(rig)).code is not Code.NOTHING_TO_DO
    await rig.close()
