"""The contract of the port `Cluster`, Deployments: ReplicaSets, revisions, rollouts, events, replacement of pods."""

from __future__ import annotations

import pytest

from app.domain.cluster import MARKER
from app.domain.errors import ObjectChanged
from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.looks import IMAGE, condition_of, listed, patch_web, pods_of, replace
from tests.contract.cluster.sides import BAD_IMAGE, Side, gone, settled, template, workload

REVISION = "deployment.kubernetes.io/revision"


async def _revisions(side: Side) -> dict[int, Obj]:
    found = await listed(side, Kind.REPLICA_SET, "app=web")
    return {int(r["metadata"]["annotations"][REVISION]): r for r in found}


async def test_a_deployment_owns_a_replica_set_that_owns_the_pods(side: Side) -> None:
    side.create(workload())
    web = await settled(side)
    ((number, replica_set),) = (await _revisions(side)).items()
    assert number == 1
    assert web["metadata"]["annotations"][REVISION] == "1"
    assert web["metadata"]["generation"] == 1
    code = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{code}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": code}
    assert replica_set["spec"]["template"]["metadata"]["labels"] == {"app": "web", "pod-template-hash": code}
    assert replica_set["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] == "2"
    assert replica_set["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] == "3"
    (owner,) = replica_set["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Deployment", "web", web["metadata"]["uid"])
    assert owner["controller"] is owner["blockOwnerDeletion"] is True
    pods = await pods_of(side)
    assert len(pods) == 2
    for pod in pods:
        (owner,) = pod["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("ReplicaSet", replica_set["metadata"]["uid"])
        assert pod["metadata"]["name"].startswith(f"web-{code}-")
        assert pod["metadata"]["generateName"] == f"web-{code}-"
        assert {"app": "web", "pod-template-hash": code}.items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["nodeName"]
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["qosClass"] == "Burstable"
        (container,) = pod["status"]["containerStatuses"]
        assert (container["name"], container["ready"], container["restartCount"]) == ("main", True, 0)
        assert "running" in container["state"]
        ready = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
        assert ready["Ready"] == ready["ContainersReady"] == ready["PodScheduled"] == "True"


async def test_a_complete_rollout_says_so_in_its_status(side: Side) -> None:
    side.create(workload())
    status = (await settled(side))["status"]
    assert {k: v for k, v in status.items() if k not in ("conditions", "terminatingReplicas")} == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }
    assert condition_of({"status": status}, "Available") == ("True", "MinimumReplicasAvailable")
    assert condition_of({"status": status}, "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_a_new_template_rolls_out_as_a_new_revision(side: Side) -> None:
    side.create(workload())
    await settled(side)
    after = await patch_web(side, replace(IMAGE, "registry.test/web:2"))
    web = await settled(side)
    assert web["status"]["observedGeneration"] >= after["metadata"]["generation"]
    revisions = await _revisions(side)
    assert sorted(revisions) == [1, 2]
    assert revisions[1]["spec"]["replicas"] == 0
    assert revisions[2]["spec"]["replicas"] == 2
    assert web["metadata"]["annotations"][REVISION] == "2"
    assert {p["spec"]["containers"][0]["image"] for p in await pods_of(side)} == {"registry.test/web:2"}


async def test_the_old_template_becomes_the_newest_revision_of_its_old_replica_set(side: Side) -> None:
    side.create(workload())
    old = (await settled(side))["spec"]["template"]
    first = (await _revisions(side))[1]
    await patch_web(side, replace(IMAGE, "registry.test/web:2"))
    await settled(side)
    await patch_web(side, replace("/spec/template", old))
    await settled(side)
    revisions = await _revisions(side)
    assert sorted(revisions) == [2, 3]
    assert revisions[3]["metadata"]["uid"] == first["metadata"]["uid"]
    assert revisions[3]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    assert revisions[3]["spec"]["replicas"] == 2


async def test_a_deployments_annotations_are_copied_to_its_replica_set(side: Side) -> None:
    """The trap for whoever reads our marker from a ReplicaSet."""
    side.create(workload())
    await settled(side)
    await patch_web(
        side, {"op": "add", "path": f"/metadata/annotations/{_escaped(MARKER)}", "value": "run_1/0.0"}
    )

    async def copied() -> bool:
        (found,) = (await _revisions(side)).values()
        return bool(found["metadata"]["annotations"].get(MARKER) == "run_1/0.0")

    await side.until(copied, "the annotation on the ReplicaSet")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


async def test_a_paused_deployment_rolls_nothing_out_but_scales(side: Side) -> None:
    side.create(workload())
    await settled(side)
    await patch_web(side, {"op": "add", "path": "/spec/paused", "value": True})
    await patch_web(side, replace(IMAGE, "registry.test/web:2"))
    await patch_web(side, replace("/spec/replicas", 3))

    async def scaled() -> bool:
        return len(await pods_of(side)) == 3

    await side.until(scaled, "three pods")
    assert sorted(await _revisions(side)) == [1]
    assert {p["spec"]["containers"][0]["image"] for p in await pods_of(side)} == {"registry.test/web:1"}


async def test_a_rollout_that_cannot_go_on_exceeds_its_deadline_and_keeps_the_old_pods(side: Side) -> None:
    side.create(workload(progressDeadlineSeconds=4))
    await settled(side)
    after = await patch_web(side, replace("/spec/template", template(BAD_IMAGE)))

    async def failed() -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        seen = web["status"]["observedGeneration"] >= after["metadata"]["generation"]
        return seen and condition_of(web, "Progressing") == ("False", "ProgressDeadlineExceeded")

    await side.until(failed, "the progress deadline")
    pods = await pods_of(side)
    images = sorted(p["spec"]["containers"][0]["image"] for p in pods)
    assert images == ["registry.test/web:1", "registry.test/web:1", BAD_IMAGE]
    (broken,) = (p for p in pods if p["spec"]["containers"][0]["image"] == BAD_IMAGE)
    (container,) = broken["status"]["containerStatuses"]
    assert broken["status"]["phase"] == "Pending"
    assert container["state"]["waiting"]["reason"] in {"ImagePullBackOff", "ErrImagePull"}
    assert container["ready"] is False
    web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
    assert web["status"]["unavailableReplicas"] == 1
    assert web["status"]["updatedReplicas"] == 1
    assert condition_of(web, "Available") == ("True", "MinimumReplicasAvailable")


async def test_old_revisions_are_forgotten_beyond_the_limit(side: Side) -> None:
    side.create(workload(revisionHistoryLimit=1))
    await settled(side)
    for number in (2, 3, 4):
        await patch_web(side, replace(IMAGE, f"registry.test/web:{number}"))
        await settled(side)

    async def pruned() -> bool:
        return sorted(await _revisions(side)) == [3, 4]

    await side.until(pruned, "two ReplicaSets")


async def test_recreate_first_takes_the_old_pods_away(side: Side) -> None:
    side.create(workload(strategy={"type": "Recreate"}))
    await settled(side)
    before = {p["metadata"]["uid"] for p in await pods_of(side)}
    await patch_web(side, replace(IMAGE, "registry.test/web:2"))
    await settled(side)
    assert not before & {p["metadata"]["uid"] for p in await pods_of(side)}


async def test_scaling_tells_its_events(side: Side) -> None:
    side.create(workload())
    await settled(side)
    await patch_web(side, replace("/spec/replicas", 4))
    await settled(side)

    async def told() -> bool:
        events = await listed(side, Kind.EVENT)
        notes = [e["note"] for e in events if e["reason"] == "ScalingReplicaSet"]
        return any("from 2 to 4" in note for note in notes)

    await side.until(told, "the event")
    (event,) = (e for e in await listed(side, Kind.EVENT) if "from 2 to 4" in e.get("note", ""))
    assert event["regarding"]["kind"] == "Deployment"
    assert event["type"] == "Normal"
    assert event["reportingController"] == "deployment-controller"
    assert event["deprecatedCount"] == 1


async def test_deleting_a_deployment_takes_everything_with_it(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.delete(Kind.DEPLOYMENT, "web")

    async def empty() -> bool:
        return not await listed(side, Kind.REPLICA_SET) and not await listed(side, Kind.POD)

    await side.until(empty, "the garbage collector")


async def test_a_deleted_pod_is_replaced_by_another(side: Side) -> None:
    side.create(workload())
    await settled(side)
    pod = (await pods_of(side))[0]["metadata"]
    await side.cluster.delete_pod(side.namespace, pod["name"], pod["uid"], dry_run=True)
    assert (
        "deletionTimestamp" not in (await side.cluster.get(Kind.POD, side.namespace, pod["name"]))["metadata"]
    )
    with pytest.raises(ObjectChanged):
        await side.cluster.delete_pod(side.namespace, pod["name"], "11111111-2222-4333-8444-555555555555")
    await side.cluster.delete_pod(side.namespace, pod["name"], pod["uid"])
    await gone(side, Kind.POD, pod["name"], pod["uid"])
    await settled(side)
    assert pod["uid"] not in {p["metadata"]["uid"] for p in await pods_of(side)}
