"""Orders for an autoscaler that KEDA makes, from the order to their end: KEDA follows, KEDA is away, somebody else declares the ScaledObject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from app.store import incidents, runs
from tests.orders import API, keda_world
from tests.scenario.rig import Rig
from tests.scenario.scenes import decision
from tests.scenario.test_procedures import order, patches

NAME = "langgraph"


async def born(path: Path, note: dict[str, str] | None = None, **labels: str) -> Rig:
    rig = await Rig(path / "rig.sqlite", world=keda_world(), stride=15.0).born()
    for where, what in (("annotations", note), ("labels", labels)):
        if what:
            patch = [{"op": "add", "path": f"/metadata/{where}", "value": what}]
            rig.cluster.edit(Kind.SCALED_OBJECT, "rag7", NAME, patch)
    return rig


def scaler(rig: Rig) -> Any:
    return rig.cluster.peek(Kind.SCALED_OBJECT, "rag7", NAME)


def bounds(rig: Rig) -> tuple[int, int, int]:
    hpa: Any = rig.cluster.peek(Kind.HPA, "rag7", f"keda-hpa-{NAME}")
    (cpu,) = (m["resource"] for m in hpa["spec"]["metrics"] if m["type"] == "Resource")
    return hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"], cpu["target"]["averageUtilization"]


async def test_an_order_is_one_write_to_the_scaled_object_that_keda_carries_over_and_an_undo_takes_back(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    run = await order(rig, "adjust-hpa", API, min=3, max=12, utilization=60)
    assert (run.state, bounds(rig), len(patches(rig))) == (RunState.FIXED, (3, 12, 60), 1)
    assert f"KEDA's autoscaler keda-hpa-{NAME} follows ScaledObject {NAME}" in run.result
    await rig.operations.undo(run.id, "kim")

    async def undone() -> bool:
        return (await rig.store.read(lambda conn: runs.get(conn, run.id))).state is RunState.UNDONE

    await rig.until(undone, 900)
    await rig.run(30)
    assert bounds(rig) == (2, 10, 80)
    await rig.close()


async def test_what_keda_does_not_carry_over_is_not_fixed_with_that_reason_and_taken_back(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, {"simulated/away": "yes"})
    run = await order(rig, "adjust-hpa", API, min=3, max=12)
    assert run.state is RunState.NOT_FIXED
    assert (
        f"keda-hpa-{NAME} does not follow ScaledObject {NAME}: minReplicas is 2, not 3" in rig.notebook.text
    )
    assert "see whether KEDA runs" in rig.notebook.text
    assert (scaler(rig)["spec"]["minReplicaCount"], bounds(rig)) == (2, (2, 10, 80))
    incident = await rig.store.read(lambda conn: incidents.get(conn, run.incident_id))
    assert incident.state is IncidentState.ESCALATED
    await rig.close()


@pytest.mark.parametrize(
    ("note", "labels", "asks"),
    [
        ({"argocd.argoproj.io/tracking-id": "shop:web"}, {}, "ScaledObject is applied again and again by Argo CD"),
        (None, {"kustomize.toolkit.fluxcd.io/name": "shop"}, "ScaledObject is applied again and again by Flux"),
    ],
)  # fmt: skip
async def test_a_scaled_object_that_gitops_declares_is_asked_about(
    tmp_path: Path, note: dict[str, str] | None, labels: dict[str, str], asks: str
) -> None:
    rig = await born(tmp_path, note, **labels)
    await order(rig, "adjust-hpa", API, min=3)
    (gate,) = [g for g in (await decision(rig)).gates if g.gate == "ownership"]
    assert asks in gate.value
    await rig.close()


async def test_a_write_that_is_not_granted_ends_the_order_with_that_reason(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", kind=Kind.SCALED_OBJECT, times=99))
    run = await order(rig, "adjust-hpa", API, min=3)
    assert (run.state is RunState.FIXED, patches(rig)) == (False, [])
    assert "patch" in rig.notebook.text
    assert "scaledobject" in rig.notebook.text.lower()
    await rig.close()
