"""A workload that is meant to have no pods: it is said, nothing is done, nobody is called, whatever alert fires; unless requests are
measured that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, decision, policy, the_incident, trail, writes

NAME = "langgraph"
IDLE = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": "False"}]

_ACTIVE = {"type": "ScalingActive", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def _keda(rig: Rig, spec: dict[str, Any], **notes: str) -> None:
    noted = {f"autoscaling.keda.sh/{key}": value for key, value in notes.items()}
    rig.cluster.create(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {
                "name": NAME,
                "namespace": "rag7",
                "annotations": {**noted, "simulated/away": "yes"},
            },
            "spec": {
                "scaleTargetRef": {"name": NAME},
                "triggers": [{"type": "cron", "metadata": {}}],
                **spec,
            },
            "status": {"conditions": IDLE},
        }
    )
    rig.cluster.scale(Kind.DEPLOYMENT, "rag7", NAME, 0, manager="keda-operator")


def _autoscaler(rig: Rig) -> None:
    rig.cluster.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": NAME, "namespace": "rag7"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
                "minReplicas": 0,
                "maxReplicas": 5,
            },
            "status": {"desiredReplicas": 0, "conditions": [_ACTIVE]},
        }
    )
    rig.cluster.scale(Kind.DEPLOYMENT, "rag7", NAME, 0, manager="kube-controller-manager")


def _declared(rig: Rig) -> None:
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", NAME, patch, manager="kubectl-edit")


STOPPED: dict[str, Callable[[Rig], None]] = {
    "KEDA sees no load": lambda rig: _keda(rig, {"minReplicaCount": 0}),
    "KEDA idles": lambda rig: _keda(rig, {"minReplicaCount": 2, "idleReplicaCount": 0}),
    "KEDA is paused at 0": lambda rig: _keda(rig, {}, **{"paused-replicas": "0"}),
    "KEDA is paused": lambda rig: _keda(rig, {}, paused="true"),
    "HPA with minReplicas 0": _autoscaler,
    "kubectl scale": lambda rig: rig.cluster.scale(Kind.DEPLOYMENT, "rag7", NAME, 0),
    "replicas 0 declared": _declared,
}
ALERTS = (
    "HighErrorRate",
    "HighLatency",
    "PodRestarting",
    "KubePodNotReady",
    "OOMKilled",
    "RateLimitErrors",
)


async def _stopped(path: Path, how: str) -> Rig:
    rig = await born(path, use_api=False)
    STOPPED[how](rig)
    await rig.run(600, alerts=False)
    pods = await rig.cluster.list_objects(Kind.POD, "rag7")
    assert not [pod for pod in pods if pod["metadata"]["name"].startswith(f"{NAME}-")]
    return rig


def _requests_fail(rig: Rig, share: float) -> None:
    async def instant(query: str) -> list[tuple[dict[str, str], float]]:
        return [({}, share)]

    vars(rig.cluster.metrics)["instant"] = instant


@pytest.mark.parametrize("how", STOPPED)
@pytest.mark.parametrize("alertname", ALERTS)
async def test_nobody_is_called_for_what_is_meant_to_have_no_pods(
    tmp_path: Path, alertname: str, how: str
) -> None:
    rig = await _stopped(tmp_path, how)
    await rig.send(body(alert(rig, alertname=alertname)))
    await rig.run(10, alerts=False)
    found, incident = await decision(rig), await the_incident(rig)

    assert found.code is Code.NOTHING_TO_DO, found.text
    assert "at 0 replicas by design" in found.text
    assert (incident.state, writes(rig)) == (IncidentState.OBSERVED, [])
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("protected", [True, False])
async def test_nobody_is_called_for_connections_of_a_server_that_somebody_stopped(
    tmp_path: Path, *, protected: bool
) -> None:
    rules = policy()
    scope = rules.scope if protected else rules.scope.model_copy(update={"protected_kinds": ()})
    rig = await born(
        tmp_path, "database-connections", rules=rules.model_copy(update={"scope": scope}), use_api=False
    )
    rig.cluster.scale(Kind.STATEFUL_SET, "rag7", "postgres", 0)
    await rig.run(600, alerts=False)
    fired = alert(
        rig, alertname="PostgresqlTooManyConnections", deployment="", statefulset="postgres", team=""
    )
    await rig.send(body(fired))
    await rig.run(10, alerts=False)
    found = await decision(rig)
    assert found.code is (Code.PROTECTED if protected else Code.NOTHING_TO_DO), found.text
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("how", STOPPED)
async def test_a_person_is_told_what_is_known_where_requests_are_measured_that_fail(
    tmp_path: Path, how: str
) -> None:
    rig = await _stopped(tmp_path, how)
    _requests_fail(rig, 0.4)
    await rig.send(body(alert(rig)))
    await rig.run(10, alerts=False)
    found, incident = await decision(rig), await the_incident(rig)

    assert found.code is Code.PERSON_NEEDED, found.text
    assert (incident.state, writes(rig)) == (IncidentState.ESCALATED, [])
    assert "to 0" in rig.notebook.text
    await rig.close()


async def test_requests_that_pods_failed_before_they_were_stopped_call_nobody(tmp_path: Path) -> None:
    """They stay in what is measured over 5 min."""
    rig = await born(tmp_path, use_api=False)
    rig.cluster.scale(Kind.DEPLOYMENT, "rag7", NAME, 0)
    await rig.run(120, alerts=False)
    _requests_fail(rig, 0.4)
    await rig.send(body(alert(rig)))
    await rig.run(10, alerts=False)
    assert (await decision(rig)).code is Code.NOTHING_TO_DO
    await rig.run(600, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()
