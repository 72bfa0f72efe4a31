"""The contract of the port `Cluster`, other people's hands: what the server keeps of a change, and what it does not.

Whose hand is on an object is told from this alone, so both sides are held to what a real API server does.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.looks import IMAGE, condition_of, listed, replace
from tests.contract.cluster.sides import Side, settled, workload

ENV = "/spec/template/spec/containers/0/env"


async def _web(side: Side, kind: Kind = Kind.DEPLOYMENT) -> Obj:
    return await side.cluster.get(kind, side.namespace, "web")


def _entries(manifest: Obj, manager: str) -> list[tuple[str, str | None, list[str]]]:
    """Subresource, time and top fields of the spec of each entry of this manager."""
    return [
        (e.get("subresource", ""), e.get("time"), sorted(e["fieldsV1"].get("f:spec", {})))
        for e in manifest["metadata"]["managedFields"]
        if e["manager"] == manager
    ]


def _time(manifest: Obj, manager: str, subresource: str = "") -> str:
    (time,) = (at for sub, at, _ in _entries(manifest, manager) if sub == subresource)
    assert time
    return time


async def _seconds(side: Side, number: int = 2) -> None:
    """Let so many whole seconds of the server pass."""
    for _ in range(number * 10 if side.namespace != "contract" else number):
        await side.pause()


async def test_an_entry_of_the_subresource_scale_has_no_time(side: Side) -> None:
    """The command kubectl scale, an autoscaler, KEDA: who scaled last is known, and when is not."""
    side.create(workload())
    await settled(side)
    side.scale(Kind.DEPLOYMENT, "web", 3)
    web = await settled(side)
    assert web["metadata"]["generation"] == 2
    assert _entries(web, "kubectl") == [("scale", None, ["f:replicas"])]
    side.scale(Kind.DEPLOYMENT, "web", 4, "kube-controller-manager")
    web = await settled(side)
    assert _entries(web, "kubectl") == []
    assert ("scale", None, ["f:replicas"]) in _entries(web, "kube-controller-manager")


async def test_a_change_that_only_removes_gets_no_new_time(side: Side) -> None:
    """As of kubectl set env NAME-, kubectl rollout resume: the spec is another one and no entry says so."""
    side.create(workload())
    await settled(side)
    side.edit(
        Kind.DEPLOYMENT,
        "web",
        [{"op": "add", "path": ENV, "value": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}],
        "kubectl-set",
    )
    before = await settled(side)
    await _seconds(side)
    side.edit(Kind.DEPLOYMENT, "web", [{"op": "remove", "path": f"{ENV}/0"}], "kubectl-set")
    after = await settled(side)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert _time(after, "kubectl-set") == _time(before, "kubectl-set")
    newest = max(s["metadata"]["creationTimestamp"] for s in await listed(side, Kind.REPLICA_SET))
    assert newest > _time(after, "kubectl-set"), "its ReplicaSet tells when"


async def test_who_only_removed_is_no_writer_at_all(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.edit(
        Kind.DEPLOYMENT,
        "web",
        [{"op": "remove", "path": "/spec/template/spec/containers/0/ports"}],
        "kubectl-patch",
    )
    assert _entries(await settled(side), "kubectl-patch") == []


@pytest.mark.parametrize(("field", "more"), [("labels", 0), ("annotations", 1)])
async def test_an_annotation_counts_as_a_generation_of_a_deployment_and_a_label_does_not(
    side: Side, field: str, more: int
) -> None:
    side.create(workload())
    before = await settled(side)
    side.edit(
        Kind.DEPLOYMENT,
        "web",
        [{"op": "add", "path": f"/metadata/{field}/note", "value": "seen"}],
        "kubectl-note",
    )
    after = await settled(side)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + more
    assert after["spec"] == before["spec"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_an_annotation_of_another_workload_is_no_generation(side: Side, kind: str) -> None:
    side.create(workload(kind))
    await settled(side, Kind(kind))
    side.edit(Kind(kind), "web", [{"op": "add", "path": "/metadata/annotations", "value": {"note": "seen"}}])
    assert (await _web(side, Kind(kind)))["metadata"]["generation"] == 1


async def test_an_entrys_time_says_that_the_manager_wrote_and_not_what(side: Side) -> None:
    """A label alone moves the time of the entry that has the template."""
    side.create(workload())
    await settled(side)
    side.edit(Kind.DEPLOYMENT, "web", [replace(IMAGE, "registry.test/web:2")], "helm")
    before = await settled(side)
    await _seconds(side)
    side.edit(Kind.DEPLOYMENT, "web", [{"op": "add", "path": "/metadata/labels/team", "value": "b"}], "helm")
    after = await settled(side)
    assert _time(after, "helm") > _time(before, "helm")
    newest = max(s["metadata"]["creationTimestamp"] for s in await listed(side, Kind.REPLICA_SET))
    assert newest < _time(after, "helm")


async def test_a_replica_set_is_written_when_its_deployment_is_scaled(side: Side) -> None:
    """Where nobody else tells when, its entry does."""
    side.create(workload())
    await settled(side)
    (before,) = await listed(side, Kind.REPLICA_SET)
    await _seconds(side)
    side.edit(Kind.DEPLOYMENT, "web", [{"op": "add", "path": "/metadata/labels/team", "value": "b"}])
    await settled(side)
    (same,) = await listed(side, Kind.REPLICA_SET)
    assert _written(same) == _written(before), "a label is none of its business"
    side.scale(Kind.DEPLOYMENT, "web", 4)
    await settled(side)
    (after,) = await listed(side, Kind.REPLICA_SET)
    assert _written(after) > _written(before)


def _written(manifest: Obj) -> str:
    entries = manifest["metadata"]["managedFields"]
    return str(max(e["time"] for e in entries if e.get("subresource") != "status"))


@pytest.mark.parametrize("patch", [None, "annotations"])
async def test_the_status_is_not_written_again_while_nothing_of_the_object_changes(
    side: Side, patch: str | None
) -> None:
    """What the controller has seen and not written since has no later generation."""
    side.create(workload())
    before = await settled(side)
    await _seconds(side)
    if patch:
        side.edit(Kind.DEPLOYMENT, "web", [{"op": "add", "path": f"/metadata/{patch}/note", "value": "x"}])
    after = await settled(side)
    moved = _status_time(after) > _status_time(before)
    assert moved is (patch is not None)


def _status_time(manifest: Obj) -> str:
    entries = manifest["metadata"]["managedFields"]
    return str(max(e["time"] for e in entries if e.get("subresource") == "status"))


async def test_a_rollout_that_is_resumed_says_so_in_its_condition(side: Side) -> None:
    """And nothing else does: its ReplicaSet stays as it was."""
    side.create(workload())
    first = await settled(side)
    side.edit(
        Kind.DEPLOYMENT, "web", [{"op": "add", "path": "/spec/paused", "value": True}], "kubectl-rollout"
    )

    async def paused() -> bool:
        return condition_of(await _web(side), "Progressing") == ("Unknown", "DeploymentPaused")

    await side.until(paused, "the pause in the status")
    await _seconds(side)
    side.edit(Kind.DEPLOYMENT, "web", [{"op": "remove", "path": "/spec/paused"}], "kubectl-rollout")

    async def resumed() -> bool:
        return condition_of(await _web(side), "Progressing") == ("True", "NewReplicaSetAvailable")

    await side.until(resumed, "the end of the pause in the status")
    web = await _web(side)
    assert _entries(web, "kubectl-rollout") == []
    assert _updated(web) > _updated(first)
    (only,) = await listed(side, Kind.REPLICA_SET)
    assert max(e["time"] for e in only["metadata"]["managedFields"]) < _updated(web)


def _updated(manifest: Obj) -> str:
    conditions: list[dict[str, Any]] = manifest["status"]["conditions"]
    return next(str(c["lastUpdateTime"]) for c in conditions if c["type"] == "Progressing")
