"""KEDA's ScaledObjects on a simulated and on a real API server: changed once, followed by KEDA's autoscaler, undone, never against another hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.actuator import Clients, Means
from app.domain.errors import ObjectChanged
from app.domain.json import Obj
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.kube.actions import Bounds, Impossible, adjust_scaled_object
from app.kube.actuator import KubeActuator
from app.kube.owners import owners_of
from app.kube.read import read_workload
from app.kube.scaled_objects import of_target
from app.sim import SimCluster, VirtualClock
from tests.contract.cluster.keda import furnish, made, play
from tests.contract.cluster.sides import Side, settled, workload

ACTUATOR = KubeActuator()
ID = "run_1/0.0"


async def planned(side: Side) -> Action:
    side.create(workload())
    await furnish(side)
    await settled(side)
    target = Target(side.namespace, Kind.DEPLOYMENT, "web")
    (manifest,) = await of_target(side.cluster, target)
    found = await read_workload(side.cluster, target)
    built = adjust_scaled_object(found, manifest, Bounds(minimum=3, maximum=9, utilization=60))
    assert not isinstance(built, Impossible)
    return built


def means(side: Side) -> Means:
    async def ask() -> None:
        return

    async def wait(_seconds: float) -> None:
        await side.pause()

    return Means(Clients(side.cluster, SimCluster(VirtualClock()).databases), ask, wait)


async def spec(side: Side) -> Any:
    return (await side.cluster.get(Kind.SCALED_OBJECT, side.namespace, "web"))["spec"]


async def followed(side: Side) -> Obj:
    """KEDA's autoscaler after a look of KEDA's."""
    await play(side)
    return await made(side)


async def test_a_scaled_object_is_changed_once_and_fixed_when_keda_s_autoscaler_follows(side: Side) -> None:
    action, by = await planned(side), means(side)
    found = await ACTUATOR.check(by.clients, action, ID)
    assert found.ref is not None, found.text
    assert await ACTUATOR.dry_run(by.clients, action, ID, found) == ""
    assert (await spec(side))["minReplicaCount"] == 2
    done = await ACTUATOR.apply(by, action, ID, found)
    assert done.result is ActionResult.APPLIED, done.text
    now = await spec(side)
    assert (now["minReplicaCount"], now["maxReplicaCount"]) == (3, 9)
    assert [t["metadata"].get("value") for t in now["triggers"]] == [None, "60"]
    assert "was applied already" in await ACTUATOR.in_place(by.clients, action, ID)
    again = await ACTUATOR.apply(by, action, ID, replace(found, seen=None))
    assert "was applied already" in again.text

    async def good() -> bool:
        await followed(side)
        effect = await ACTUATOR.effect(by.clients, action)
        return effect is not None and effect.good is True

    await side.until(good, "KEDA's autoscaler to follow")
    hpa = await made(side)
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (3, 9)
    for _ in range(2):
        undone = await ACTUATOR.undo(by, action, ID)
        assert undone.result is UndoResult.UNDONE, undone.text
    now = await spec(side)
    assert (now["minReplicaCount"], now["maxReplicaCount"], now["triggers"][1]["metadata"]["value"]) == (
        2,
        6,
        "80",
    )


@pytest.mark.parametrize("when", ["before", "after the look"])
async def test_a_trigger_that_somebody_put_in_between_is_never_overwritten(side: Side, when: str) -> None:
    action, by = await planned(side), means(side)
    found = await ACTUATOR.check(by.clients, action, ID)
    other = {"type": "memory", "metricType": "Utilization", "metadata": {"value": "80"}}
    side.edit(Kind.SCALED_OBJECT, "web", [{"op": "add", "path": "/spec/triggers/1", "value": other}])
    if when == "before":
        found = await ACTUATOR.check(by.clients, action, ID)
        assert (found.ref, found.code) == (None, ObjectChanged.code)
        assert "/spec/triggers/1/type is memory, not cpu" in found.text
        return
    done = await ACTUATOR.apply(by, action, ID, found)
    assert (done.result, done.code) == (ActionResult.REFUSED, ObjectChanged.code)
    assert [t["metadata"].get("value") for t in (await spec(side))["triggers"]] == [None, "80", "80"]


async def test_a_value_that_keda_s_kind_does_not_take_is_refused_by_the_dry_run(side: Side) -> None:
    action, by = await planned(side), means(side)
    bad = replace(action, changes=(replace(action.changes[0], after=-1), *action.changes[1:]))
    if (
        type(side).__name__ == "RealSide"
    ):  # KEDA's own admission refuses numbers; the API server only other types
        bad = replace(action, changes=(replace(action.changes[0], after="three"), *action.changes[1:]))
    found = await ACTUATOR.check(by.clients, bad, ID)
    assert "minReplicaCount" in await ACTUATOR.dry_run(by.clients, bad, ID, found)


async def test_who_declares_a_scaled_object_is_told_and_it_is_no_owner_of_itself(side: Side) -> None:
    await planned(side)
    mark = {"app.kubernetes.io/managed-by": "Helm"}
    side.edit(Kind.SCALED_OBJECT, "web", [{"op": "add", "path": "/metadata/labels", "value": mark}])
    found = await read_workload(side.cluster, Target(side.namespace, Kind.DEPLOYMENT, "web"))
    owners = (await owners_of(side.cluster, found)).found
    assert [(o.of, str(o), o.relation.value) for o in owners] == [
        (Kind.HPA, "ScaledObject web (KEDA)", "controls"),
        (Kind.SCALED_OBJECT, "Helm", "deploys"),
    ]
