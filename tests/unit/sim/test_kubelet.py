"""What pods do: start, crash, back off, run out of memory, miss their configuration or image, log, stop."""

from __future__ import annotations

import pytest

from app.domain.cluster import LogQuery
from app.domain.target import Kind
from tests.unit.sim.worlds import SPACE, World, config_map, memory, workload

CRASHING = """
behaviours:
  - when: {image: "web:bad"}
    ready_after: 30s
    start_lines: ["{time} INFO starting"]
    crash: {after: 3s, exit_code: 3, message: "boom", log: ["{time} ERROR {pod} number {number}"]}
"""


async def test_a_pod_becomes_ready_after_its_start_up_time() -> None:
    world = World('behaviours:\n  - {when: {image: "web:*"}, ready_after: 20s}\n')
    world.create(workload())
    world.wait(15)
    status = await world.container()
    assert status["state"].keys() == {"running"}
    assert (status["ready"], status["started"]) == (False, False)
    world.wait(10)
    status = await world.container()
    assert (status["ready"], status["started"], status["restartCount"]) == (True, True, 0)
    (pod, _) = await world.pods()
    conditions = {c["type"]: c for c in pod["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "True"
    assert conditions["Ready"]["lastTransitionTime"] > conditions["PodScheduled"]["lastTransitionTime"]
    assert pod["metadata"]["generation"] == 1


async def test_a_crash_loop_backs_off_longer_and_longer() -> None:
    world = World(CRASHING)
    world.create(workload(image="web:bad", replicas=1))
    seen: list[tuple[int, str]] = []
    for _ in range(160):
        world.wait(1)
        status = await world.container()
        waiting = status["state"].get("waiting", {})
        if waiting.get("reason") == "CrashLoopBackOff":
            entry = (status["restartCount"], waiting["message"].split()[1])
            if entry not in seen:
                seen.append(entry)
    assert seen == [(1, "10s"), (2, "20s"), (3, "40s"), (4, "1m20s")]
    status = await world.container()
    ended = status["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"], ended["message"]) == ("Error", 3, "boom")
    assert ended["startedAt"] < ended["finishedAt"]
    assert status["ready"] is False
    (note,) = await world.notes("BackOff")
    assert note.startswith("Back-off restarting failed container main in pod web-")


async def test_between_two_crashes_there_is_no_waiting_reason() -> None:
    world = World(CRASHING)
    world.create(workload(image="web:bad", replicas=1))
    world.wait(8)
    status = await world.container()
    assert status["state"].keys() == {"running"}
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    pod = (await world.pods())[0]
    assert pod["status"]["phase"] == "Running"
    assert {c["type"]: c["status"] for c in pod["status"]["conditions"]}["Ready"] == "False"


async def test_the_logs_of_the_last_two_instances_can_be_read() -> None:
    world = World(CRASHING)
    world.create(workload(image="web:bad", replicas=1))
    world.wait(8)
    name = (await world.pods())[0]["metadata"]["name"]
    now = await world.cluster.logs(LogQuery(SPACE, name, "main"))
    before = await world.cluster.logs(LogQuery(SPACE, name, "main", previous=True))
    assert now == "2026-03-04T03:00:06Z INFO starting\n"
    assert before == f"2026-03-04T03:00:02Z INFO starting\n2026-03-04T03:00:05Z ERROR {name} number 2\n"
    world.wait(3)
    in_back_off = await world.cluster.logs(LogQuery(SPACE, name, "main"))
    assert "ERROR" in in_back_off
    assert in_back_off == await world.cluster.logs(LogQuery(SPACE, name, "main", previous=True))


async def test_logs_are_bounded_in_time_lines_and_bytes() -> None:
    world = World(
        'behaviours: [{when: {image: "web:*"}, request_line: "line {number}"}]\ntraffic: [{app: web, rps: 2}]\n'
    )
    world.create(workload(replicas=1))
    world.wait(60)
    name = (await world.pods())[0]["metadata"]["name"]
    whole = (await world.cluster.logs(LogQuery(SPACE, name, "main"))).splitlines()
    assert len(whole) > 90
    assert whole[0] == "line 1"
    tail = await world.cluster.logs(LogQuery(SPACE, name, "main", tail_lines=3))
    assert tail.splitlines() == whole[-3:]
    recent = await world.cluster.logs(LogQuery(SPACE, name, "main", since_seconds=10))
    assert 18 <= len(recent.splitlines()) <= 24
    assert len((await world.cluster.logs(LogQuery(SPACE, name, "main", limit_bytes=10))).encode()) == 10


async def test_memory_beyond_the_limit_kills_the_container() -> None:
    world = World('behaviours: [{when: {image: "web:*"}, memory: {start: 100Mi, growth: 10Mi}}]\n')
    world.create(workload(replicas=1, container=memory("256Mi")))
    world.wait(17)
    (usage,) = await world.cluster.pod_usage(SPACE, "app=web")
    assert 200 * 2**20 < usage.total_memory <= 256 * 2**20
    world.wait(5)
    status = await world.container()
    ended = status["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert status["restartCount"] == 1
    (note,) = await world.notes("OOMKilling", "default")
    assert "limit 268435456 bytes" in note


async def test_memory_that_stays_below_the_limit_kills_nobody() -> None:
    world = World(
        'behaviours: [{when: {image: "web:*"}, memory: {start: 100Mi, growth: 10Mi, plateau: 200Mi}}]\n'
    )
    world.create(workload(replicas=1, container=memory("256Mi")))
    world.wait(3600)
    assert (await world.container())["restartCount"] == 0
    (usage,) = await world.cluster.pod_usage(SPACE, "app=web")
    assert usage.total_memory == 200 * 2**20


async def test_memory_that_requests_cost_can_kill_too() -> None:
    world = World(
        'behaviours: [{when: {image: "web:*"}, memory: {start: 100Mi, per_rps: 20Mi}}]\ntraffic: [{app: web, rps: 10}]\n'
    )
    world.create(workload(replicas=1, container=memory("256Mi")))
    world.wait(30)
    assert (await world.container())["lastState"]["terminated"]["reason"] == "OOMKilled"


REFERENCES = {
    "env key": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "A"}}}]},
        'configmap "cm" not found',
        "couldn't find key A in ConfigMap shop/cm",
    ),
    "env from": ({"envFrom": [{"configMapRef": {"name": "cm"}}]}, 'configmap "cm" not found', ""),
}


@pytest.mark.parametrize("case", REFERENCES)
async def test_a_missing_config_map_or_key_keeps_the_container_waiting(case: str) -> None:
    container, missing, incomplete = REFERENCES[case]
    world = World()
    world.create(workload(replicas=1, container=container))
    world.wait(5)
    waiting = (await world.container())["state"]["waiting"]
    assert waiting == {"reason": "CreateContainerConfigError", "message": missing}
    assert await world.notes("Failed") == [missing]
    world.create(config_map("cm", B="1"))
    world.wait(12)
    state = (await world.container())["state"]
    if incomplete:
        assert state["waiting"]["message"] == incomplete
        await world.patch("/data/A", "1", Kind.CONFIG_MAP, "cm")
        world.wait(12)
        state = (await world.container())["state"]
    assert state.keys() == {"running"}


async def test_a_missing_secret_is_named_and_an_optional_one_is_not_missed() -> None:
    reference = {"name": "keys", "key": "K"}
    world = World()
    needed = {"env": [{"name": "K", "valueFrom": {"secretKeyRef": reference}}]}
    optional = {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {**reference, "optional": True}}}]}
    world.create(workload(replicas=1, container=needed))
    world.create(workload(name="api", replicas=1, container=optional))
    world.wait(5)
    assert (await world.container())["state"]["waiting"]["message"] == 'secret "keys" not found'
    assert (await world.container("api"))["state"].keys() == {"running"}


async def test_a_volume_that_cannot_be_mounted_keeps_the_pod_creating() -> None:
    world = World()
    manifest = workload(replicas=1)
    manifest["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "cm"}}]
    world.create(manifest)
    world.wait(5)
    assert (await world.container())["state"]["waiting"]["reason"] == "ContainerCreating"
    assert await world.notes("FailedMount") == [
        'MountVolume.SetUp failed for volume "v" : configmap "cm" not found'
    ]


async def test_an_image_that_does_not_exist_is_pulled_in_vain() -> None:
    world = World('missing_images: ["web:9*"]\n')
    world.create(workload(replicas=1, image="web:9.1"))
    world.wait(3)
    first = (await world.container())["state"]["waiting"]
    assert first["reason"] == "ErrImagePull"
    assert "web:9.1: not found" in first["message"]
    world.wait(12)
    then = (await world.container())["state"]["waiting"]
    assert then == {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "web:9.1"'}
    assert (await world.pods())[0]["status"]["phase"] == "Pending"
    assert await world.cluster.pod_usage(SPACE, "app=web") == []


async def test_behaviour_follows_environment_labels_and_configuration() -> None:
    world = World(
        "behaviours:\n"
        '  - {name: big, when: {env: {MODEL: "large*"}}, memory: {start: 900Mi}}\n'
        "  - {name: tracked, when: {labels: {app: api}}, memory: {start: 700Mi}}\n"
        "  - {name: bare, when: {config_missing: cm/KEY}, memory: {start: 500Mi}}\n"
        "  - {name: rest, memory: {start: 300Mi}}\n"
    )

    async def used(app: str) -> int:
        (usage,) = await world.cluster.pod_usage(SPACE, f"app={app}")
        return usage.total_memory // 2**20

    env = {"env": [{"name": "MODEL", "value": "large-v2"}]}
    for name, container in (("web", env), ("api", {}), ("job", {})):
        world.create(workload(name=name, replicas=1, container=container))
    world.wait(5)
    assert [await used(app) for app in ("web", "api", "job")] == [900, 700, 500]
    world.create(config_map("cm", KEY="1"))
    world.wait(60)
    assert await used("job") == 500, "a running container does not notice"
    pod = (await world.pods("job"))[0]["metadata"]
    await world.cluster.delete_pod(SPACE, pod["name"], pod["uid"])
    world.wait(10)
    assert await used("job") == 300


async def test_init_containers_run_first_and_one_after_the_other() -> None:
    world = World('behaviours: [{when: {container: "init-*"}, ready_after: 10s}]\n')
    manifest = workload(replicas=1)
    inits = [{"name": f"init-{n}", "image": "init:1"} for n in (1, 2)]
    manifest["spec"]["template"]["spec"]["initContainers"] = inits
    world.create(manifest)
    world.wait(8)
    status = (await world.pods())[0]["status"]
    assert status["phase"] == "Pending"
    first, second = status["initContainerStatuses"]
    assert "running" in first["state"]
    assert second["state"]["waiting"]["reason"] == "ContainerCreating"
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    world.wait(25)
    status = (await world.pods())[0]["status"]
    assert [s["state"]["terminated"]["reason"] for s in status["initContainerStatuses"]] == ["Completed"] * 2
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["ready"] is True


async def test_a_deleted_pod_takes_its_time_to_stop() -> None:
    world = World()
    world.create(workload(replicas=1))
    world.wait(10)
    old = (await world.pods())[0]["metadata"]
    await world.cluster.delete_pod(SPACE, old["name"], old["uid"])
    stopping = world.get(Kind.POD, old["name"])["metadata"]
    assert stopping["deletionTimestamp"] == "2026-03-04T03:00:40Z"
    assert stopping["deletionGracePeriodSeconds"] == 30
    await world.cluster.delete_pod(SPACE, old["name"], old["uid"])
    world.wait(10)
    assert world.cluster.peek(Kind.POD, SPACE, old["name"]) is None
    assert await world.notes("Killing") == ["Stopping container main"]


async def test_without_a_node_a_pod_stays_pending() -> None:
    world = World("nodes: 0\n")
    world.create(workload(replicas=1))
    world.wait(10)
    status = (await world.pods())[0]["status"]
    assert status["phase"] == "Pending"
    assert status["conditions"][0]["reason"] == "Unschedulable"
    world.cluster.add_node("late")
    world.wait(15)
    pod = (await world.pods())[0]
    assert (pod["spec"]["nodeName"], pod["status"]["phase"]) == ("late", "Running")


async def test_pods_spread_over_the_nodes() -> None:
    world = World()
    world.create(workload(replicas=6))
    world.wait(10)
    nodes = [p["spec"]["nodeName"] for p in await world.pods()]
    assert {nodes.count(n) for n in nodes} == {2}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"limits": {"memory": "1Gi"}}, "Burstable"),
        ({"limits": {"memory": "1Gi", "cpu": "1"}}, "Guaranteed"),
        ({"limits": {"memory": "1Gi", "cpu": "1"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
async def test_the_class_of_service_follows_from_requests_and_limits(
    resources: dict[str, dict[str, str]], expected: str
) -> None:
    world = World()
    world.create(workload(replicas=1, container={"resources": resources}))
    world.wait(5)
    assert (await world.pods())[0]["status"]["qosClass"] == expected
