"""Controllers beyond the contract: surge and unavailability, autoscaling by use, budgets, quotas, daemon sets."""

from __future__ import annotations

import pytest

from app.domain.errors import DisruptionBlocked, ObjectChanged
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.intstr import absolute
from app.sim.controllers.pods import is_ready
from tests.unit.sim.worlds import IMAGE, SPACE, World, memory, workload


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [(3, 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("0%", 10, True, 0), ("3", 10, False, 3)],
)
def test_percentages_are_rounded_as_told(value: int | str, total: int, up: bool, expected: int) -> None:
    assert absolute(value, total, up=up) == expected


@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "fewest"),
    [("25%", "25%", 5, 3), (1, 0, 5, 4), (0, 1, 4, 3), (0, 0, 4, 3), ("100%", "50%", 6, 2)],
)
async def test_a_rolling_update_keeps_within_surge_and_unavailability(
    surge: int | str, unavailable: int | str, most: int, fewest: int
) -> None:
    world = World()
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    world.create(workload(replicas=4, strategy=strategy))
    world.wait(15)
    await world.patch(IMAGE, "web:2")
    sizes, ready = set(), set()
    for _ in range(60):
        world.wait(1)
        pods = await world.pods()
        sizes.add(len(pods))
        ready.add(sum(map(is_ready, pods)))
    assert (max(sizes), min(ready)) == (most, fewest)
    assert {p["spec"]["containers"][0]["image"] for p in await world.pods()} == {"web:2"}


async def test_a_broken_rollout_stops_at_what_it_may_break() -> None:
    world = World('missing_images: ["web:broken"]\n')
    world.create(workload(replicas=4))
    world.wait(15)
    await world.patch(IMAGE, "web:broken")
    world.wait(900)
    pods = await world.pods()
    assert sum(map(is_ready, pods)) == 3
    assert len(pods) == 5
    conditions = {c["type"]: c for c in world.get(Kind.DEPLOYMENT)["status"]["conditions"]}
    assert conditions["Progressing"]["reason"] == "ProgressDeadlineExceeded"
    await world.patch(IMAGE, "web:1")
    world.wait(30)
    assert sum(map(is_ready, await world.pods())) == 4
    conditions = {c["type"]: c for c in world.get(Kind.DEPLOYMENT)["status"]["conditions"]}
    assert (conditions["Progressing"]["status"], conditions["Progressing"]["reason"]) == (
        "True",
        "NewReplicaSetAvailable",
    )


async def test_a_replicaset_that_is_made_begins_a_rollout_of_its_own() -> None:
    """Also where all pods are replaced at once: what was said of the one before is no word on this one."""
    world = World('missing_images: ["web:broken"]\n')
    made = workload(replicas=1)
    made["spec"]["strategy"] = {"type": "Recreate"}
    world.create(made)
    world.wait(30)
    await world.patch(IMAGE, "web:broken")
    for wait in (1, 120):
        world.wait(wait)
        conditions = {c["type"]: c for c in world.get(Kind.DEPLOYMENT)["status"]["conditions"]}
        assert conditions["Progressing"]["reason"] in ("NewReplicaSetCreated", "ReplicaSetUpdated")
        newest = max(await _sets(world), key=lambda s: s["metadata"]["creationTimestamp"])
        assert newest["metadata"]["name"] in conditions["Progressing"]["message"]


async def test_scaling_down_takes_the_pods_that_do_no_work() -> None:
    world = World('behaviours: [{when: {env: {SLOW: "1"}}, ready_after: 1h}]\n')
    world.create(workload(replicas=3))
    world.wait(10)
    working = {p["metadata"]["uid"] for p in await world.pods()}
    await world.patch("/spec/replicas", 5)
    world.wait(2)
    await world.patch("/spec/replicas", 3)
    world.wait(10)
    assert {p["metadata"]["uid"] for p in await world.pods()} == working


async def test_a_pod_that_loses_its_deployment_goes_too() -> None:
    world = World()
    world.create(workload())
    world.wait(10)
    fresh = world.cluster.recreate(Kind.DEPLOYMENT, SPACE, "web")
    world.wait(20)
    owners = {r["metadata"]["ownerReferences"][0]["uid"] for r in await _sets(world)}
    assert owners == {fresh["metadata"]["uid"]}
    assert len(await world.pods()) == 2


async def _sets(world: World) -> list[Obj]:
    return await world.cluster.list_objects(Kind.REPLICA_SET, SPACE)


def _autoscaler(low: int = 2, high: int = 6) -> Obj:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": SPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": low,
            "maxReplicas": high,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


LOADED = """
behaviours: [{when: {image: "web:*"}, cpu: {base: 0, per_rps: 10m}}]
traffic: [{app: web, rps: 20}]
"""


async def test_an_autoscaler_follows_the_use_of_cpu() -> None:
    world = World(LOADED)
    world.create(workload(replicas=2, container=memory("1Gi")))
    world.create(_autoscaler())
    world.wait(120)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 4, "200m over requests of 100m at 50 %"
    status = world.get(Kind.HPA)["status"]
    assert status["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 50
    world.cluster.traffic.set_rps("web", 200)
    world.wait(60)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 6, "never beyond the maximum"
    limited = {c["type"]: c["status"] for c in world.get(Kind.HPA)["status"]["conditions"]}
    assert limited == {"AbleToScale": "True", "ScalingActive": "True", "ScalingLimited": "True"}


async def test_an_autoscaler_takes_a_manual_scale_back_after_its_window() -> None:
    world = World(LOADED)
    world.create(workload(replicas=4, container=memory("1Gi")))
    world.create(_autoscaler())
    world.wait(60)
    await world.patch("/spec/replicas", 6)
    world.wait(200)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 6
    world.wait(300)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 4
    await world.patch("/spec/minReplicas", 6, Kind.HPA)
    world.wait(400)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 6, "the minimum is how to stay up"
    assert any("Spec.MinReplicas" in n for n in await world.notes("SuccessfulRescale"))


async def test_an_autoscaler_leaves_a_deployment_of_none_alone() -> None:
    world = World()
    world.create(workload(replicas=0))
    world.create(_autoscaler())
    world.wait(60)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 0
    active = {c["type"]: c for c in world.get(Kind.HPA)["status"]["conditions"]}["ScalingActive"]
    assert (active["status"], active["reason"]) == ("False", "ScalingDisabled")


async def test_an_autoscaler_without_metrics_only_clamps() -> None:
    world = World()
    world.create(workload(replicas=3))
    world.create(_autoscaler())
    world.wait(60)
    assert world.get(Kind.DEPLOYMENT)["spec"]["replicas"] == 3
    active = {c["type"]: c for c in world.get(Kind.HPA)["status"]["conditions"]}["ScalingActive"]
    assert active["reason"] == "FailedGetResourceMetric"


def _budget(**spec: object) -> Obj:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({"minAvailable": 2}, 2),
        ({"minAvailable": "50%"}, 2),
        ({"minAvailable": "51%"}, 1),
        ({"maxUnavailable": 1}, 1),
        ({"maxUnavailable": 0}, 0),
    ],
    ids=str,
)
async def test_a_budget_allows_what_its_rule_says(rule: dict[str, object], allowed: int) -> None:
    world = World()
    world.create(workload(replicas=4))
    world.create(_budget(**rule))
    world.wait(10)
    assert world.get(Kind.PDB)["status"]["disruptionsAllowed"] == allowed
    pods = await world.pods()
    for number, pod in enumerate(pods):
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if number < allowed:
            await world.cluster.evict_pod(SPACE, name, uid)
        else:
            with pytest.raises(DisruptionBlocked, match="disruption budget web"):
                await world.cluster.evict_pod(SPACE, name, uid)


async def test_a_charged_eviction_that_did_not_happen_is_forgotten_after_two_minutes() -> None:
    world = World()
    world.create(workload())
    world.create(_budget(minAvailable=1))
    world.wait(10)
    pod = (await world.pods())[0]["metadata"]
    with pytest.raises(ObjectChanged):
        await world.cluster.evict_pod(SPACE, pod["name"], "another-uid")
    with pytest.raises(DisruptionBlocked):
        await world.cluster.evict_pod(SPACE, pod["name"], pod["uid"])
    world.wait(121)
    await world.cluster.evict_pod(SPACE, pod["name"], pod["uid"])


async def test_a_pod_that_serves_nobody_may_always_be_evicted() -> None:
    world = World('missing_images: ["web:broken"]\n')
    world.create(workload(image="web:broken"))
    world.create(_budget(minAvailable=2))
    world.wait(10)
    pod = (await world.pods())[0]["metadata"]
    await world.cluster.evict_pod(SPACE, pod["name"], pod["uid"])
    assert "deletionTimestamp" in world.get(Kind.POD, pod["name"])["metadata"]


def _namespaced(kind: str, spec: Obj) -> Obj:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "rule", "namespace": SPACE}, "spec": spec}


@pytest.mark.parametrize(
    ("hard", "why"),
    [
        ({"pods": "1"}, "exceeded quota: rule, requested: pods=1, used: pods=1, limited: pods=1"),
        ({"limits.memory": "300Mi"}, "requested: limits.memory=256Mi, used: limits.memory=256Mi"),
        ({"requests.cpu": "150m"}, "requested: requests.cpu=100m, used: requests.cpu=100m"),
        ({"memory": "100Mi"}, "requested: memory=64Mi, used: memory=64Mi, limited: memory=100Mi"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
async def test_a_quota_refuses_the_pod_too_many(hard: dict[str, str], why: str) -> None:
    world = World()
    world.create(_namespaced("ResourceQuota", {"hard": hard}))
    world.create(workload(replicas=2, container=memory("256Mi")))
    world.wait(10)
    assert len(await world.pods()) == 1
    (note,) = await world.notes("FailedCreate")
    assert why in note.replace("memory=67108864", "memory=64Mi")
    (replica_set,) = await _sets(world)
    assert replica_set["status"]["conditions"][0]["type"] == "ReplicaFailure"


async def test_a_pod_is_created_when_the_quota_has_room_again() -> None:
    world = World()
    world.create(_namespaced("ResourceQuota", {"hard": {"pods": "1"}}))
    world.create(workload(replicas=2))
    world.wait(10)
    await world.patch("/spec/hard/pods", "2", Kind.RESOURCE_QUOTA, "rule")
    world.wait(20)
    assert len(await world.pods()) == 2
    types = [c["type"] for c in world.get(Kind.DEPLOYMENT)["status"]["conditions"]]
    assert types == ["Available", "Progressing"]


async def test_a_limit_range_fills_in_defaults_and_wants_limits_where_it_has_a_maximum() -> None:
    world = World()
    item = {"type": "Container", "default": {"memory": "128Mi"}, "max": {"memory": "1Gi", "cpu": "1"}}
    world.create(_namespaced("LimitRange", {"limits": [item]}))
    world.create(workload(replicas=1))
    world.wait(5)
    assert await world.pods() == []
    (note,) = await world.notes("FailedCreate")
    assert "maximum cpu usage per Container is 1. No limit is specified" in note
    await world.patch("/spec/limits/0/max", {"memory": "1Gi"}, Kind.LIMIT_RANGE, "rule")
    world.wait(15)
    (pod,) = await world.pods()
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"memory": "128Mi"}


async def test_a_daemon_set_follows_the_nodes_and_replaces_one_pod_at_a_time() -> None:
    world = World('behaviours: [{when: {image: "web:*"}, ready_after: 5s}]\n')
    world.create(workload("DaemonSet"))
    world.cluster.add_node("sim-node-4")
    world.wait(20)
    assert world.get(Kind.DAEMON_SET)["status"]["numberReady"] == 4
    await world.patch(IMAGE, "web:2", Kind.DAEMON_SET)
    lowest = 4
    for _ in range(60):
        world.wait(1)
        lowest = min(lowest, world.get(Kind.DAEMON_SET)["status"]["numberReady"])
    assert lowest == 3
    status = world.get(Kind.DAEMON_SET)["status"]
    assert (status["updatedNumberScheduled"], status["numberAvailable"]) == (4, 4)
    world.cluster.delete(Kind.NODE, "", "sim-node-4")
    world.wait(10)
    assert world.get(Kind.DAEMON_SET)["status"]["desiredNumberScheduled"] == 3
    assert len(await world.pods()) == 3


async def test_a_stateful_set_in_parallel_does_not_wait() -> None:
    world = World('behaviours: [{when: {image: "web:*"}, ready_after: 1h}]\n')
    world.create(workload("StatefulSet", replicas=3, podManagementPolicy="Parallel"))
    world.create(workload("StatefulSet", name="slow", image="web:1", replicas=3))
    world.wait(20)
    assert len(await world.pods()) == 3
    assert len(await world.pods("slow")) == 1


async def test_a_stateful_set_scales_down_from_its_highest_number() -> None:
    world = World()
    world.create(workload("StatefulSet", replicas=3))
    world.wait(30)
    await world.patch("/spec/replicas", 1, Kind.STATEFUL_SET)
    world.wait(30)
    assert [p["metadata"]["name"] for p in await world.pods()] == ["web-0"]


async def test_a_partition_holds_the_lower_pods_back() -> None:
    world = World()
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    world.create(workload("StatefulSet", replicas=2, updateStrategy=strategy))
    world.wait(20)
    await world.patch(IMAGE, "web:2", Kind.STATEFUL_SET)
    world.wait(30)
    images = {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in await world.pods()}
    assert images == {"web-0": "web:1", "web-1": "web:2"}
    status = world.get(Kind.STATEFUL_SET)["status"]
    assert status["currentRevision"] != status["updateRevision"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_a_template_that_comes_back_moves_its_revision_to_the_front(kind: str) -> None:
    world = World()
    world.create(workload(kind, revisionHistoryLimit=1))
    world.wait(30)
    for image in ("web:2", "web:1", "web:3", "web:4"):
        await world.patch(IMAGE, image, Kind(kind))
        world.wait(60)
    found = await world.cluster.list_objects(Kind.CONTROLLER_REVISION, SPACE)
    held = {
        r["revision"]: r["data"]["spec"]["template"]["spec"]["containers"][0]["image"]
        for r in sorted(found, key=lambda r: int(r["revision"]))
    }
    assert held == {4: "web:3", 5: "web:4"}


async def test_an_update_on_delete_waits_for_the_deletion() -> None:
    world = World()
    world.create(workload("StatefulSet", replicas=1, updateStrategy={"type": "OnDelete"}))
    world.wait(20)
    await world.patch(IMAGE, "web:2", Kind.STATEFUL_SET)
    world.wait(60)
    pod = world.get(Kind.POD, "web-0")
    assert pod["spec"]["containers"][0]["image"] == "web:1"
    await world.cluster.delete_pod(SPACE, "web-0", pod["metadata"]["uid"])
    world.wait(20)
    assert world.get(Kind.POD, "web-0")["spec"]["containers"][0]["image"] == "web:2"


async def test_the_same_event_is_counted_and_old_ones_are_forgotten() -> None:
    world = World('missing_images: ["web:broken"]\n')
    world.create(workload(replicas=1, image="web:broken"))
    world.wait(120)
    events = await world.cluster.list_objects(Kind.EVENT, SPACE, fields="reason=BackOff")
    assert len(events) == 1
    assert events[0]["deprecatedCount"] > 3
    assert events[0]["type"] == "Warning"
    assert events[0]["deprecatedSource"]["component"] == "kubelet"
    world.cluster.delete(Kind.DEPLOYMENT, SPACE, "web")
    world.wait(3700)
    assert await world.cluster.list_objects(Kind.EVENT, SPACE) == []


async def test_a_flood_of_events_about_one_object_is_cut_off() -> None:
    world = World()
    world.create(workload(replicas=60))
    world.wait(20)
    assert len(await world.notes("SuccessfulCreate")) == 25
