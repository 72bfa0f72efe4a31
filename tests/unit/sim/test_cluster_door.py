"""The cluster's door: faults, hooks, the record of mutations, other people's hands, other clocks, many objects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.domain.cluster import MARKER, LogQuery
from app.domain.errors import (
    AccessDenied,
    ClusterThrottled,
    ClusterUnavailable,
    ObjectChanged,
    ObjectInvalid,
    OutcomeUnclear,
    ProbeUnavailable,
)
from app.domain.target import Kind
from app.sim import Fault, FaultKind, Request, SimCluster, VirtualClock
from tests.unit.sim.worlds import IMAGE, SPACE, World, config_map, workload
from tests.unit.work import measured

REPLACE = [{"op": "replace", "path": IMAGE, "value": "web:2"}]


@pytest.fixture
def world() -> World:
    made = World()
    made.create(workload())
    made.wait(15)
    return made


def _image(world: World) -> str:
    spec = world.get(Kind.DEPLOYMENT)["spec"]["template"]["spec"]
    return str(spec["containers"][0]["image"])


async def _patch(world: World, *, dry_run: bool = False) -> None:
    await world.cluster.patch(Kind.DEPLOYMENT, SPACE, "web", REPLACE, dry_run=dry_run)


@pytest.mark.parametrize(
    ("effect", "error", "image"),
    [
        (FaultKind.CONFLICT, ObjectChanged, "web:1"),
        (FaultKind.THROTTLED, ClusterThrottled, "web:1"),
        (FaultKind.DENIED, AccessDenied, "web:1"),
        (FaultKind.UNREACHABLE, ClusterUnavailable, "web:1"),
        (FaultKind.LOST_BEFORE, OutcomeUnclear, "web:1"),
        (FaultKind.LOST_AFTER, OutcomeUnclear, "web:2"),
    ],
)
async def test_a_fault_hits_one_write_and_leaves_what_it_says(
    world: World, effect: FaultKind, error: type[Exception], image: str
) -> None:
    world.cluster.faults.add(Fault(effect, verb="patch", kind=Kind.DEPLOYMENT, name="web"))
    with pytest.raises(error):
        await _patch(world)
    assert _image(world) == image
    assert len(world.cluster.mutations) == (image == "web:2")
    await _patch(world)
    assert _image(world) == "web:2"


@pytest.mark.parametrize("effect", [FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER])
async def test_a_lost_answer_to_a_read_or_a_dry_run_is_only_unavailable(
    world: World, effect: FaultKind
) -> None:
    world.cluster.faults.add(Fault(effect, times=2))
    with pytest.raises(ClusterUnavailable):
        await world.cluster.get(Kind.DEPLOYMENT, SPACE, "web")
    with pytest.raises(ClusterUnavailable):
        await _patch(world, dry_run=True)
    assert _image(world) == "web:1"


async def test_throttling_says_when_to_come_back(world: World) -> None:
    world.cluster.faults.add(Fault(FaultKind.THROTTLED, retry_after=7))
    with pytest.raises(ClusterThrottled) as caught:
        await world.cluster.list_objects(Kind.POD, SPACE)
    assert caught.value.retry_after == 7


async def test_a_fault_waits_for_its_request_and_counts_down(world: World) -> None:
    faults = world.cluster.faults
    faults.add(Fault(FaultKind.UNREACHABLE, verb="patch", dry_run=False, times=2))
    await world.cluster.get(Kind.DEPLOYMENT, SPACE, "web")
    await _patch(world, dry_run=True)
    for _ in range(2):
        with pytest.raises(ClusterUnavailable):
            await _patch(world)
    await _patch(world)
    faults.add(Fault(FaultKind.UNREACHABLE, name="other"))
    await _patch(world)
    faults.clear()
    assert faults.waiting == []


async def test_a_slow_request_takes_virtual_time_and_then_works(world: World) -> None:
    world.cluster.faults.add(Fault(FaultKind.SLOW, seconds=12))
    before = world.clock.monotonic()
    await world.clock.run_until(_patch(world))
    assert world.clock.monotonic() == before + 12
    assert _image(world) == "web:2"


class Death(BaseException):
    """What a crash harness raises."""


@pytest.mark.parametrize(("when", "image"), [("before", "web:1"), ("after", "web:2")])
async def test_a_hook_can_kill_before_and_after_the_effect(world: World, when: str, image: str) -> None:
    seen: list[tuple[str, str]] = []

    def hook(request: Request, moment: str) -> None:
        seen.append((str(request), moment))
        if request.writes and moment == when:
            raise Death

    remove = world.cluster.on_request(hook)
    await _patch(world, dry_run=True)
    with pytest.raises(Death):
        await _patch(world)
    assert _image(world) == image
    remove()
    await _patch(world)
    assert set(seen) == {("patch shop/Deployment/web", "before"), ("patch shop/Deployment/web", "after")}


async def test_each_accepted_write_is_recorded_once(world: World) -> None:
    marked = [
        *REPLACE,
        {"op": "add", "path": "/metadata/annotations/" + MARKER.replace("/", "~1"), "value": "run_1/0.0"},
    ]
    answer = await world.cluster.patch(Kind.DEPLOYMENT, SPACE, "web", marked)
    await _patch(world, dry_run=True)
    with pytest.raises(ObjectInvalid):
        await world.patch("/spec/replicas", -1)
    pods = await world.pods()
    await world.cluster.delete_pod(SPACE, pods[0]["metadata"]["name"], pods[0]["metadata"]["uid"])
    await world.cluster.evict_pod(SPACE, pods[1]["metadata"]["name"], pods[1]["metadata"]["uid"])
    world.cluster.edit(
        Kind.DEPLOYMENT, SPACE, "web", [{"op": "replace", "path": "/spec/replicas", "value": 4}]
    )
    found = [(m.verb, m.kind.value, m.dry_run, m.marker) for m in world.cluster.mutations]
    assert found == [
        ("patch", "Deployment", False, "run_1/0.0"),
        ("patch", "Deployment", True, "run_1/0.0"),
        ("delete", "Pod", False, ""),
        ("evict", "Pod", False, ""),
    ]
    first = world.cluster.mutations[0]
    assert (first.patch, first.manager) == (marked, "alert-remediator")
    assert first.resource_version == answer["metadata"]["resourceVersion"]
    assert first.at == world.clock.now()


async def test_an_event_that_exists_is_not_recorded_again(world: World) -> None:
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": SPACE},
        "eventTime": "2026-03-04T03:00:00.000000Z",
        "reportingController": "x",
        "reportingInstance": "x-0",
        "action": "Act",
        "reason": "Acted",
        "type": "Normal",
        "regarding": {"kind": "Deployment", "name": "web"},
    }
    for _ in range(2):
        await world.cluster.create_event(event)
    assert [m.verb for m in world.cluster.mutations] == ["create"]


async def test_other_peoples_edits_carry_their_name(world: World) -> None:
    world.cluster.edit(Kind.DEPLOYMENT, SPACE, "web", REPLACE, manager="helm")
    entries = world.get(Kind.DEPLOYMENT)["metadata"]["managedFields"]
    (entry,) = (e for e in entries if e["manager"] == "helm")
    assert "f:image" in str(entry["fieldsV1"])


async def test_a_recreated_object_is_a_namesake(world: World) -> None:
    old = world.get(Kind.DEPLOYMENT)
    new = world.cluster.recreate(Kind.DEPLOYMENT, SPACE, "web")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["spec"] == old["spec"]
    assert new["metadata"]["generation"] == 1
    assert "status" not in new


async def test_what_is_denied_is_refused_and_told(world: World) -> None:
    world.cluster.deny("patch", Kind.DEPLOYMENT)
    assert not await world.cluster.can_i("patch", Kind.DEPLOYMENT, SPACE)
    assert await world.cluster.can_i("get", Kind.DEPLOYMENT, SPACE)
    with pytest.raises(AccessDenied, match="cannot patch deployments"):
        await _patch(world)


async def test_usage_needs_the_metrics_api(world: World) -> None:
    usage = await world.cluster.pod_usage(SPACE, "app=web")
    assert [u.at for u in usage] == [world.clock.now()] * 2
    assert all(u.memory.keys() == u.cpu.keys() == {"main"} for u in usage)
    world.cluster.metrics_api = False
    with pytest.raises(ProbeUnavailable):
        await world.cluster.pod_usage(SPACE, "app=web")


async def test_a_fresh_pod_has_an_empty_log() -> None:
    world = World()
    world.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": SPACE},
            "spec": {"containers": [{"name": "main", "image": "a:1"}]},
        }
    )
    assert await world.cluster.logs(LogQuery(SPACE, "p", "main")) == ""
    world.wait(10)
    assert world.get(Kind.POD, "p")["status"]["phase"] == "Running"


async def test_the_world_does_not_move_without_its_clock(world: World) -> None:
    await _patch(world)
    for _ in range(5):
        assert world.get(Kind.DEPLOYMENT)["status"]["observedGeneration"] == 1
    world.wait(1)
    assert world.get(Kind.DEPLOYMENT)["status"]["observedGeneration"] == 2


async def test_the_same_story_gives_the_same_names() -> None:
    async def story() -> list[str]:
        world = World()
        world.create(workload(replicas=5))
        world.wait(20)
        return [p["metadata"]["name"] + p["metadata"]["uid"] for p in await world.pods()]

    assert await story() == await story()


async def test_requests_from_several_threads_do_not_meet(world: World) -> None:
    def many(name: str) -> None:
        async def work() -> None:
            for number in range(40):
                await world.patch(f"/data/{name}-{number}", "x", Kind.CONFIG_MAP, "shared")

        asyncio.run(work())

    world.create(config_map("shared"))
    await asyncio.gather(*(asyncio.to_thread(many, f"t{n}") for n in range(4)))
    assert len(world.get(Kind.CONFIG_MAP, "shared")["data"]) == 160
    assert len(world.cluster.mutations) == 160


async def test_ten_thousand_objects_stay_workable() -> None:
    clock = VirtualClock()
    cluster = SimCluster(clock)
    for number in range(10_000):
        space = f"space-{number % 100}"
        manifest = {**config_map(f"cm-{number}"), "metadata": {"name": f"cm-{number}", "namespace": space}}
        cluster.create(manifest)
    cluster.create(workload())
    clock.advance(30)

    async def timed(call: Callable[[], Awaitable[object]]) -> float:
        with measured() as work:
            await call()
        return work.units

    # Bounds far above what is needed (milliseconds; a unit is some five), far below what a scan of everything each tick would cost.
    clock.advance(6 * 3600)
    assert await timed(lambda: cluster.get(Kind.DEPLOYMENT, SPACE, "web")) < 100
    assert await timed(lambda: cluster.list_objects(Kind.CONFIG_MAP, "space-7")) < 20
    assert len(await cluster.list_objects(Kind.CONFIG_MAP, "space-7")) == 100
    assert len(await cluster.list_objects(Kind.CONFIG_MAP, "")) == 10_000
