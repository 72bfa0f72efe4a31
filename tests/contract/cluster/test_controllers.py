"""The contract of the port `Cluster`, what controllers make of a change: rollouts, pods, budgets, quotas, autoscalers."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.cluster import MARKER
from app.domain.errors import DisruptionBlocked, ObjectChanged
from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.sides import BAD_IMAGE, Side, gone, settled, template, workload

IMAGE = "/spec/template/spec/containers/0/image"
REVISION = "deployment.kubernetes.io/revision"


def _replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


async def _patch(side: Side, *patch: dict[str, Any], kind: Kind = Kind.DEPLOYMENT) -> Obj:
    return await side.cluster.patch(kind, side.namespace, "web", patch)


async def _list(side: Side, kind: Kind, selector: str = "") -> list[Obj]:
    return await side.cluster.list_objects(kind, side.namespace, selector)


async def _pods(side: Side) -> list[Obj]:
    """The pods of web that are not being deleted."""
    return [p for p in await _list(side, Kind.POD, "app=web") if "deletionTimestamp" not in p["metadata"]]


async def _revisions(side: Side) -> dict[int, Obj]:
    found = await _list(side, Kind.REPLICA_SET, "app=web")
    return {int(r["metadata"]["annotations"][REVISION]): r for r in found}


def _condition(obj: Obj, kind: str) -> tuple[str, str]:
    found = {c["type"]: (c["status"], c["reason"]) for c in obj["status"].get("conditions", [])}
    return found.get(kind, ("", ""))


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
    pods = await _pods(side)
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
    assert _condition({"status": status}, "Available") == ("True", "MinimumReplicasAvailable")
    assert _condition({"status": status}, "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_a_new_template_rolls_out_as_a_new_revision(side: Side) -> None:
    side.create(workload())
    await settled(side)
    after = await _patch(side, _replace(IMAGE, "registry.test/web:2"))
    web = await settled(side)
    assert web["status"]["observedGeneration"] >= after["metadata"]["generation"]
    revisions = await _revisions(side)
    assert sorted(revisions) == [1, 2]
    assert revisions[1]["spec"]["replicas"] == 0
    assert revisions[2]["spec"]["replicas"] == 2
    assert web["metadata"]["annotations"][REVISION] == "2"
    assert {p["spec"]["containers"][0]["image"] for p in await _pods(side)} == {"registry.test/web:2"}


async def test_the_old_template_becomes_the_newest_revision_of_its_old_replica_set(side: Side) -> None:
    side.create(workload())
    old = (await settled(side))["spec"]["template"]
    first = (await _revisions(side))[1]
    await _patch(side, _replace(IMAGE, "registry.test/web:2"))
    await settled(side)
    await _patch(side, _replace("/spec/template", old))
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
    await _patch(
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
    await _patch(side, {"op": "add", "path": "/spec/paused", "value": True})
    await _patch(side, _replace(IMAGE, "registry.test/web:2"))
    await _patch(side, _replace("/spec/replicas", 3))

    async def scaled() -> bool:
        return len(await _pods(side)) == 3

    await side.until(scaled, "three pods")
    assert sorted(await _revisions(side)) == [1]
    assert {p["spec"]["containers"][0]["image"] for p in await _pods(side)} == {"registry.test/web:1"}


async def test_a_rollout_that_cannot_go_on_exceeds_its_deadline_and_keeps_the_old_pods(side: Side) -> None:
    side.create(workload(progressDeadlineSeconds=4))
    await settled(side)
    after = await _patch(side, _replace("/spec/template", template(BAD_IMAGE)))

    async def failed() -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        seen = web["status"]["observedGeneration"] >= after["metadata"]["generation"]
        return seen and _condition(web, "Progressing") == ("False", "ProgressDeadlineExceeded")

    await side.until(failed, "the progress deadline")
    pods = await _pods(side)
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
    assert _condition(web, "Available") == ("True", "MinimumReplicasAvailable")


async def test_old_revisions_are_forgotten_beyond_the_limit(side: Side) -> None:
    side.create(workload(revisionHistoryLimit=1))
    await settled(side)
    for number in (2, 3, 4):
        await _patch(side, _replace(IMAGE, f"registry.test/web:{number}"))
        await settled(side)

    async def pruned() -> bool:
        return sorted(await _revisions(side)) == [3, 4]

    await side.until(pruned, "two ReplicaSets")


async def test_recreate_first_takes_the_old_pods_away(side: Side) -> None:
    side.create(workload(strategy={"type": "Recreate"}))
    await settled(side)
    before = {p["metadata"]["uid"] for p in await _pods(side)}
    await _patch(side, _replace(IMAGE, "registry.test/web:2"))
    await settled(side)
    assert not before & {p["metadata"]["uid"] for p in await _pods(side)}


async def test_scaling_tells_its_events(side: Side) -> None:
    side.create(workload())
    await settled(side)
    await _patch(side, _replace("/spec/replicas", 4))
    await settled(side)

    async def told() -> bool:
        events = await _list(side, Kind.EVENT)
        notes = [e["note"] for e in events if e["reason"] == "ScalingReplicaSet"]
        return any("from 2 to 4" in note for note in notes)

    await side.until(told, "the event")
    (event,) = (e for e in await _list(side, Kind.EVENT) if "from 2 to 4" in e.get("note", ""))
    assert event["regarding"]["kind"] == "Deployment"
    assert event["type"] == "Normal"
    assert event["reportingController"] == "deployment-controller"
    assert event["deprecatedCount"] == 1


async def test_deleting_a_deployment_takes_everything_with_it(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.delete(Kind.DEPLOYMENT, "web")

    async def empty() -> bool:
        return not await _list(side, Kind.REPLICA_SET) and not await _list(side, Kind.POD)

    await side.until(empty, "the garbage collector")


async def test_a_deleted_pod_is_replaced_by_another(side: Side) -> None:
    side.create(workload())
    await settled(side)
    pod = (await _pods(side))[0]["metadata"]
    await side.cluster.delete_pod(side.namespace, pod["name"], pod["uid"], dry_run=True)
    assert (
        "deletionTimestamp" not in (await side.cluster.get(Kind.POD, side.namespace, pod["name"]))["metadata"]
    )
    with pytest.raises(ObjectChanged):
        await side.cluster.delete_pod(side.namespace, pod["name"], "11111111-2222-4333-8444-555555555555")
    await side.cluster.delete_pod(side.namespace, pod["name"], pod["uid"])
    await gone(side, Kind.POD, pod["name"], pod["uid"])
    await settled(side)
    assert pod["uid"] not in {p["metadata"]["uid"] for p in await _pods(side)}


def _budget(name: str = "web", **spec: Any) -> Obj:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


async def _counted(side: Side, name: str, allowed: int) -> Obj:
    found: Obj = {}

    async def done() -> bool:
        nonlocal found
        found = await side.cluster.get(Kind.PDB, side.namespace, name)
        status = found.get("status", {})
        return (status.get("disruptionsAllowed"), status.get("currentHealthy")) == (allowed, 2)

    await side.until(done, f"{allowed} allowed disruptions")
    return found


async def test_a_disruption_budget_stops_evictions_but_not_deletions(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(_budget(minAvailable=2))
    budget = await _counted(side, "web", 0)
    assert (budget["status"]["desiredHealthy"], budget["status"]["expectedPods"]) == (2, 2)
    pod = (await _pods(side))[0]["metadata"]
    for dry_run in (True, False):
        with pytest.raises(DisruptionBlocked):
            await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"], dry_run=dry_run)
    await side.cluster.delete_pod(side.namespace, pod["name"], pod["uid"])


async def test_an_eviction_within_the_budget_removes_the_pod(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(_budget(maxUnavailable="50%"))
    await _counted(side, "web", 1)
    pod = (await _pods(side))[0]["metadata"]
    await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"], dry_run=True)
    await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"])
    await gone(side, Kind.POD, pod["name"], pod["uid"])


async def test_an_eviction_for_another_uid_is_refused_and_still_costs_the_budget(side: Side) -> None:
    """The trap: the API server charges the budget before it compares the uid."""
    side.create(workload())
    await settled(side)
    side.create(_budget(maxUnavailable=1))
    await _counted(side, "web", 1)
    pod = (await _pods(side))[0]["metadata"]
    with pytest.raises(ObjectChanged):
        await side.cluster.evict_pod(side.namespace, pod["name"], "11111111-2222-4333-8444-555555555555")
    with pytest.raises(DisruptionBlocked):
        await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"])


async def test_a_pod_under_two_budgets_cannot_be_evicted(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(_budget("one", maxUnavailable=1))
    side.create(_budget("two", maxUnavailable=1))
    await _counted(side, "one", 1)
    await _counted(side, "two", 1)
    pod = (await _pods(side))[0]["metadata"]
    with pytest.raises(DisruptionBlocked):
        await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"])


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "ResourceQuota", "spec": {"hard": {"limits.memory": "1Gi", "pods": "3"}}},
        {"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": {"memory": "600Mi"}}]}},
    ],
    ids=lambda rule: rule["kind"],
)
async def test_quotas_and_limit_ranges_refuse_pods_and_not_the_template(side: Side, rule: Obj) -> None:
    side.create({"apiVersion": "v1", "metadata": {"name": "rule"}, **rule})
    side.create(workload())
    await settled(side)
    limit = "/spec/template/spec/containers/0/resources/limits/memory"
    await _patch(side, _replace(limit, "1Gi"))

    async def refused() -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        return _condition(web, "ReplicaFailure") == ("True", "FailedCreate")

    await side.until(refused, "the refusal of the pod")

    async def told() -> bool:
        events = [e for e in await _list(side, Kind.EVENT) if e["reason"] == "FailedCreate"]
        return bool(events) and all("forbidden" in e["note"] for e in events)

    await side.until(told, "the event")
    assert len(await _pods(side)) == 2


async def test_a_quota_counts_what_is_used(side: Side) -> None:
    rule = {"hard": {"limits.memory": "2Gi", "requests.cpu": "1", "pods": "5"}}
    side.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "rule"}, "spec": rule})
    side.create(workload())
    await settled(side)

    async def counted() -> bool:
        quota = await side.cluster.get(Kind.RESOURCE_QUOTA, side.namespace, "rule")
        used = quota.get("status", {}).get("used", {})
        return bool(used == {"limits.memory": "1Gi", "requests.cpu": "200m", "pods": "2"})

    await side.until(counted, "the quota's numbers")


async def test_a_stateful_set_numbers_its_pods_and_keeps_controller_revisions(side: Side) -> None:
    side.create(workload("StatefulSet"))
    web = await settled(side, Kind.STATEFUL_SET)
    assert web["status"]["currentRevision"] == web["status"]["updateRevision"]
    pods = await _pods(side)
    assert [p["metadata"]["name"] for p in pods] == ["web-0", "web-1"]
    labels = pods[1]["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "web-1"
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert labels["controller-revision-hash"] == web["status"]["updateRevision"]
    await _patch(side, _replace(IMAGE, "registry.test/web:2"), kind=Kind.STATEFUL_SET)
    web = await settled(side, Kind.STATEFUL_SET)
    revisions = {r["revision"]: r for r in await _list(side, Kind.CONTROLLER_REVISION)}
    assert sorted(revisions) == [1, 2]
    assert revisions[2]["metadata"]["name"] == web["status"]["updateRevision"]
    held = revisions[1]["data"]["spec"]["template"]
    assert held["$patch"] == "replace"
    assert held["spec"]["containers"][0]["image"] == "registry.test/web:1"
    (owner,) = revisions[1]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("StatefulSet", web["metadata"]["uid"])


async def test_an_ordered_stateful_set_stays_stuck_until_its_bad_pod_is_deleted(side: Side) -> None:
    side.create(workload("StatefulSet"))
    old = (await settled(side, Kind.STATEFUL_SET))["spec"]["template"]
    await _patch(side, _replace("/spec/template", template(BAD_IMAGE)), kind=Kind.STATEFUL_SET)

    async def bad() -> bool:
        pods = {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in await _pods(side)}
        return pods.get("web-1") == BAD_IMAGE

    await side.until(bad, "the bad pod")
    await _patch(side, _replace("/spec/template", old), kind=Kind.STATEFUL_SET)
    for _ in range(20):
        await side.pause()
    assert await bad()
    pod = (await side.cluster.get(Kind.POD, side.namespace, "web-1"))["metadata"]
    await side.cluster.delete_pod(side.namespace, "web-1", pod["uid"])
    await gone(side, Kind.POD, "web-1", pod["uid"])
    await settled(side, Kind.STATEFUL_SET)
    assert not await bad()


async def test_a_daemon_set_has_a_pod_on_each_node_and_controller_revisions(side: Side) -> None:
    side.create(workload("DaemonSet"))
    web = await settled(side, Kind.DAEMON_SET)
    nodes = {n["metadata"]["name"] for n in await _list(side, Kind.NODE)}
    pods = await _pods(side)
    assert {p["spec"]["nodeName"] for p in pods} == nodes
    assert web["status"]["desiredNumberScheduled"] == web["status"]["numberReady"] == len(nodes)
    await _patch(side, _replace(IMAGE, "registry.test/web:2"), kind=Kind.DAEMON_SET)
    await settled(side, Kind.DAEMON_SET)
    revisions = {r["revision"]: r for r in await _list(side, Kind.CONTROLLER_REVISION)}
    assert sorted(revisions) == [1, 2]
    code = revisions[2]["metadata"]["labels"]["controller-revision-hash"]
    assert revisions[2]["metadata"]["name"] == f"web-{code}"
    assert {p["metadata"]["labels"]["controller-revision-hash"] for p in await _pods(side)} == {code}


async def test_an_autoscaler_reverts_a_scale_outside_its_limits(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 3,
                "maxReplicas": 5,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
            },
        }
    )

    async def size(wanted: int) -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        return bool(web["spec"]["replicas"] == wanted)

    await side.until(lambda: size(3), "the minimum")
    await _patch(side, _replace("/spec/replicas", 8))
    await side.until(lambda: size(5), "the maximum")
    autoscaler = await side.cluster.get(Kind.HPA, side.namespace, "web")
    assert autoscaler["status"]["desiredReplicas"] == 5
    assert autoscaler["status"]["currentReplicas"] == 8
