"""An alert that no workload of the cluster stands for: it is told, and a person is called where its rule would act and ends with one. Of
what a label names and is gone nobody is called, nor for another cluster's alert."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code, Mode
from app.domain.errors import ObjectMissing
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.domain.target import Kind
from app.policy.model import Otherwise, Policy
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, decision, policy, the_incident, trail, writes

CONNECTIONS = "PostgresqlTooManyConnections"
MANAGED: dict[str, tuple[dict[str, str], Code]] = {
    "no label": ({}, Code.TARGET_NOT_FOUND),
    "RDS by its address": ({"instance": "prod.abc.rds.amazonaws.com:5432"}, Code.NO_TARGET),
    "RDS by its identifier": ({"dbinstance_identifier": "prod", "job": "rds"}, Code.NO_TARGET),
    "Cloud SQL": ({"database_id": "shop:prod", "project_id": "shop"}, Code.NO_TARGET),
    "postgres_exporter": ({"server": "prod.rds:5432", "datname": "threads"}, Code.NO_TARGET),
    "its exporter's pod that is gone": (
        {"namespace": "rag7", "pod": "postgres-exporter-6d4f8c7b9-x8q2p", "server": "prod.rds:5432"},
        Code.TARGET_NOT_FOUND,
    ),
    "a StatefulSet that is gone": ({"statefulset": "postgres"}, Code.TARGET_NOT_FOUND),
}


async def _heard(path: Path, rules: Policy, alertname: str, **labels: Any) -> Rig:
    """The alert came to a service whose cluster has no database."""
    rig = await born(path, rules=rules, use_api=False)
    for kind in (Kind.STATEFUL_SET, Kind.SERVICE):
        with suppress(ObjectMissing):
            rig.cluster.delete(kind, "rag7", "postgres")
    named = {"deployment": "", "team": "", "namespace": "", **labels}
    await rig.send(body(alert(rig, alertname=alertname, **named)))
    await rig.run(7_200, alerts=False)
    return rig


@pytest.mark.parametrize("which", MANAGED)
async def test_a_person_is_called_once_for_a_database_outside_of_the_cluster(
    tmp_path: Path, which: str
) -> None:
    labels, code = MANAGED[which]
    rig = await _heard(tmp_path, policy(), CONNECTIONS, **labels)
    found, calls = await decision(rig), await trail(rig, EventKind.ESCALATED)
    assert found.code is code
    assert len(calls) == 1, rig.notebook.text
    assert "no workload of the cluster stands for it" in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert writes(rig) == []
    await rig.close()


_EXPORTER = "postgres-exporter"
ELSEWHERE: dict[str, dict[str, str]] = {
    "its exporter's pod": {
        "pod": f"{_EXPORTER}-6d4f8c7b9-x8q2p",
        "service": _EXPORTER,
        "server": "prod.rds:5432",
    },
    "its exporter's job": {"job": _EXPORTER, "instance": "10.0.0.1:9187"},
    "its exporter's Deployment": {"deployment": _EXPORTER},
    "a namespace alone": {},
}


@pytest.mark.parametrize("which", ELSEWHERE)
async def test_a_person_is_called_for_a_database_that_is_measured_outside_of_the_scope(
    tmp_path: Path, which: str
) -> None:
    """The words say what the policy can name."""
    rig = await _heard(tmp_path, policy(), CONNECTIONS, namespace="monitoring", **ELSEWHERE[which])
    found = await decision(rig)
    assert found.code is Code.NO_TARGET
    assert "labels.exporters" in found.text
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert writes(rig) == []
    await rig.close()


async def test_nobody_is_called_for_a_workload_outside_of_the_scope(tmp_path: Path) -> None:
    """Whoever left its namespace out said so: an exporter of something else is a workload like any."""
    rig = await _heard(tmp_path, policy(), "HighErrorRate", namespace="monitoring", deployment=_EXPORTER)
    assert (await decision(rig)).code is Code.OUT_OF_SCOPE
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize(
    "rules",
    [policy(mode=Mode.OBSERVE), policy(otherwise=(Otherwise.NEXT, Otherwise.UNDO))],
    ids=["it only observes", "it ends with nobody"],
)
async def test_nobody_is_called_where_the_rule_would_call_nobody(tmp_path: Path, rules: Policy) -> None:
    rig = await _heard(tmp_path, rules, CONNECTIONS)
    assert (await decision(rig)).code is Code.TARGET_NOT_FOUND
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


async def test_nobody_is_called_for_another_clusters_database(tmp_path: Path) -> None:
    rules = policy()
    ours = rules.labels.model_copy(update={"our_cluster": "here"})
    named = tuple(rule.model_copy(update={"labels": ours}) for rule in rules.rules)
    rig = await _heard(tmp_path, rules.model_copy(update={"rules": named}), CONNECTIONS, cluster="there")
    assert (await decision(rig)).code is Code.NO_TARGET
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize(("labels", "calls"), [({}, 1), ({"deployment": "langgraph"}, 0)])
async def test_a_default_that_does_not_exist_calls_a_person_and_a_named_workload_that_is_gone_does_not(
    tmp_path: Path, labels: dict[str, str], calls: int
) -> None:
    rig = await born(tmp_path, use_api=False)
    rig.cluster.delete(Kind.DEPLOYMENT, "rag7", "langgraph")
    named: dict[str, Any] = {"deployment": "", "team": "", **labels}
    await rig.send(body(alert(rig, **named)))
    await rig.run(600, alerts=False)
    assert (await decision(rig)).code is Code.TARGET_NOT_FOUND
    assert len(await trail(rig, EventKind.ESCALATED)) == calls
    await rig.close()
