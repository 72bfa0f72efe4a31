"""Alerts whose only word of their target is an address: whose pod has it decides whether the rule's default is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Code, Decision
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, decision, policy


async def _address(rig: Rig, app: str) -> str:
    pods = await rig.cluster.list_objects(Kind.POD, "rag7")
    return next(f"{p['status']['podIP']}:8080" for p in pods if p["metadata"]["labels"].get("app") == app)


async def _decided(path: Path, app: str, instance: str = "", job: str = "") -> Decision:
    """What was decided for errors measured at this address, or that of a pod of the app, beside which no label names a workload."""
    rig = await born(path, "high-error-rate", "high-latency", rules=policy(), use_api=False)
    address = instance or await _address(rig, app)
    await rig.send(body(alert(rig, deployment="", instance=address, job=job)))
    await rig.run(30, alerts=False)
    found = await decision(rig)
    await rig.close()
    return found


@pytest.mark.parametrize("job", ["", "kubernetes-pods"])
async def test_the_address_of_another_workloads_pod_never_means_the_default(tmp_path: Path, job: str) -> None:
    found = await _decided(tmp_path, "langgraph-api", job=job)
    assert found.code is Code.NO_TARGET
    assert "which is of Deployment langgraph-api, so the rule's default langgraph is not meant" in found.text


@pytest.mark.parametrize("instance", ["", "10.99.99.99:8080"], ids=["its own pod", "nobody's"])
async def test_the_address_of_the_defaults_own_pod_or_of_none_means_it(tmp_path: Path, instance: str) -> None:
    found = await _decided(tmp_path, "langgraph", instance)
    assert (found.code, found.step) == (Code.ALLOWED, "roll-back"), found.text
