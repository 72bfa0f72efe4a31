"""Whose limit a container ran into, and what helps against it: the template's, the pod's, the node's, or one that others set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from app.domain.target import Kind
from remediations.out_of_memory import OutOfMemory
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.world import V1, World, at


def sized(limit: str, request: str = "") -> Callable[[Obj], None]:
    def change(spec: Obj) -> None:
        spec["containers"][0]["resources"] = {
            "limits": {"memory": limit},
            "requests": {"memory": request or limit},
        }

    return change


def killed(world: World, container: str = "app") -> World:
    return world.crash("new-0", code=137, reason="OOMKilled", restarts=3, first=2, container=container)


def settled(world: World) -> World:
    """Its release was two days ago."""
    world.deployed = 3000
    for pod in world.pods.values():
        pod["metadata"]["creationTimestamp"] = at(minutes=3000)
    return world


def resized() -> World:
    """The pod was resized in place."""
    world = settled(World().both(sized("512Mi")))
    world.pods["new-0"]["spec"]["containers"][0]["resources"] = {
        "limits": {"memory": "1Gi"},
        "requests": {"memory": "1Gi"},
    }
    return killed(world)


def lowered(*, all_of_them: bool = False) -> World:
    """The release cut the memory."""
    world = World().rolling(old=2, new=1)
    sized("512Mi")(world.before["spec"])
    world.only_new(sized("64Mi"))
    return world.crash(*([] if all_of_them else ["new-0"]), code=137, reason="OOMKilled", restarts=4)


class Twice(World):
    """Revision 0 was followed an hour ago by revision 1, and that by the present one."""

    def _build(self) -> None:
        super()._build()
        first = copy.deepcopy(self.before)
        sized("1Gi")(first["spec"])
        self.cluster.put(self._replica_set(0, first, 6 * 24 * 60))
        self.cluster.put(self._replica_set(1, self.before, 60))


def cut(deployed: float, first: float, world: World | None = None, old: str = "1Gi") -> World:
    """The release cut the memory, rolled out well, and the first kill came `first` minutes ago."""
    world = world or World()
    world.deployed, world.fired = deployed, min(first, 5.0)
    world.pods.clear()
    for n in range(3):
        world.pod(f"new-{n}", made=deployed)
    sized(old)(world.before["spec"])
    world.only_new(sized("256Mi"))
    return world.crash(
        "new-0", code=137, reason="OOMKilled", restarts=2, ran=deployed - first - 1, first=first
    )


def shrunk(*names: str) -> World:
    """Admission, or a resize, gives these pods less than the template."""
    world = World().both(sized("1Gi"))
    for name in names:
        world.pods[name]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "256Mi"}}
    return world


def injected() -> World:
    world = World().both(sized("512Mi"))
    for pod in world.pods.values():
        pod["spec"]["containers"].append(
            {"name": "istio-proxy", "image": "i:1", "resources": {"limits": {"memory": "128Mi"}}}
        )
    return killed(world, "istio-proxy")


def defaulted() -> World:
    world = World()
    for pod in world.pods.values():
        pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "128Mi"}}
    world.put(
        "LimitRange", "defaults", spec={"limits": [{"type": "Container", "default": {"memory": "128Mi"}}]}
    )
    return killed(world)


def whole_pod() -> World:
    return killed(World().both(lambda s: s.update(resources={"limits": {"memory": "300Mi"}})))


def init_container() -> World:
    def change(spec: Obj) -> None:
        sized("512Mi")(spec)
        spec["initContainers"] = [
            {"name": "load", "image": "l:1", "resources": {"limits": {"memory": "64Mi"}}}
        ]

    return killed(World().both(change), "load")


def native() -> World:
    """A sidecar of the cluster's own kind: listed with the init containers, and it runs on beside the others."""

    def change(spec: Obj) -> None:
        sized("512Mi")(spec)
        proxy = {"name": "proxy", "image": "p:1", "restartPolicy": "Always"}
        spec["initContainers"] = [{**proxy, "resources": {"limits": {"memory": "64Mi"}}}]

    return killed(World().both(change), "proxy")


MIB = 1024**2
ROWS: list[tuple[str, Callable[[], World], dict[str, list[int]], str, bool, str, str]] = [
    ("the template's own limit", lambda: killed(settled(World().both(sized("512Mi")))), {"app": [512, 768]}, "", True, "", "raise the memory limit of app (the remediation"),
    ("a pod that was resized in place", resized, {"app": [512, 1536]}, "pods run with 1 GiB for app, and the template says 512 MiB: somebody else sets it", True, "",
     "raise the memory limit of app"),
    ("a release that lowered the limit", lowered, {"app": [64, 512]}, "the last release lowered the memory limit of app from 512 MiB to 64 MiB (a rollback of that release may fit better)",
     False, "The last release lowered the limit", "raise the memory limit of app"),
    ("a release that lowered the limit while the old pods are killed as well", lambda: lowered(all_of_them=True), {"app": [64, 96]}, "", True, "", "raise the memory limit of app"),
    ("a release that lowered the limit, and the first kill came long after", lambda: cut(30, 12), {"app": [256, 1024]},
     "the last release lowered the memory limit of app from 1 GiB to 256 MiB (a rollback of that release may fit better)", False, "The last release lowered the limit", "raise the memory limit of app"),
    ("a release of hours ago that lowered the limit", lambda: cut(300, 6), {"app": [256, 1024]},
     "the last release lowered the memory limit of app from 1 GiB to 256 MiB (a rollback of that release may fit better)", False, "The last release lowered the limit", "raise the memory limit of app"),
    ("a release that lowered the limit, and another one after it", lambda: cut(30, 12, Twice(), old="256Mi"), {"app": [256, 1024]},
     "the release that followed revision 0, 1 h ago, lowered the memory limit of app from 1 GiB to 256 MiB (a rollback of that release may fit better)", False,
     "The release that followed revision 0, 1 h ago lowered the limit", "raise the memory limit of app"),
    ("pods that admission gives less than the template", lambda: killed(shrunk("new-0", "new-1", "new-2")), {}, "", False, "Pods run with 256 MiB for app, and the template says 1 GiB: somebody else sets it, and each new pod gets the same",
     "see what gives app 256 MiB where the template says 1 GiB"),
    ("one pod with less, and one with all that the template gives is killed as well",
     lambda: settled(shrunk("new-0")).crash("new-0", "new-1", code=137, reason="OOMKilled", restarts=3, first=2), {"app": [1024, 1536]}, "", True, "", "see what gives app 256 MiB"),
    ("a sidecar that admission puts in", injected, {}, "", False, "Container istio-proxy is put in by admission", "where admission takes it from"),
    ("a limit that a LimitRange gives", defaulted, {}, "", False, "The template sets no memory limit for container app", "a LimitRange or admission gives it 128 MiB"),
    ("no limit at all", lambda: killed(World()), {}, "", False, "The template sets no memory limit for container app", "see what else fills node node-1"),
    ("the limit of the whole pod", whole_pod, {}, "", False, "Container app shares the 300 MiB of its pod as a whole", "raise the memory limit of the whole pod beyond 300 MiB"),
    ("a sidecar of its own", native, {"proxy": [64, 96]}, "", True, "", "raise the memory limit of proxy"),
    ("an init container", init_container, {"load": [64, 96]}, "", False, "Init container load does the same work in each new pod", "raise the memory limit of load"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
async def test_memory_is_raised_from_what_the_pod_had_and_replicas_are_made_only_where_they_help(
    row: Any,
) -> None:
    _, happens, raised, asks, scales, why, advice = row
    diagnosis, steps = await happens().look(OutOfMemory())
    limits = {name: [size * MIB for size in sizes] for name, sizes in raised.items()}
    assert [a.params["limits"] for a in steps["raise-memory"].actions] == ([limits] if limits else [])
    assert steps["raise-memory"].asks == asks
    assert steps["scale-out"].applies is scales
    assert steps["scale-out"].why.startswith(why)
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert advice in str(cause.data["advice"])


async def test_a_limit_that_this_service_took_back_is_not_told_as_a_releases() -> None:
    """An undo of ours, or a step, is a new revision as well, and nobody's release: it is named, and no rollback of it is spoken of."""
    world = lowered()
    world.by = FIELD_MANAGER
    diagnosis, steps = await world.look(OutOfMemory())
    step = steps["raise-memory"]
    assert "release lowered" not in step.asks
    assert "rollback of that release" not in step.asks
    assert (
        "this service itself, and no release, lowered the memory limit of app from 512 MiB to 64 MiB"
        in step.asks
    )
    assert "release lowered the limit" not in steps["scale-out"].why
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["rollout"] is False
    assert "is this service's own write, and no release" in str(cause.data["rollout_why"])


async def test_a_release_right_at_a_write_of_ours_stays_a_release() -> None:
    world = lowered()
    world.fields.append(
        {
            "manager": FIELD_MANAGER,
            "time": at(minutes=world.deployed),
            "fieldsV1": {"f:spec": {"f:template": {}}},
        }
    )
    _, steps = await world.look(OutOfMemory())
    assert "the last release lowered the memory limit of app" in steps["raise-memory"].asks


async def test_a_restart_of_ours_after_a_release_does_not_make_it_ours() -> None:
    world = lowered()
    world.fields.append(
        {"manager": FIELD_MANAGER, "time": at(minutes=0.5), "fieldsV1": {"f:spec": {"f:template": {}}}}
    )
    _, steps = await world.look(OutOfMemory())
    assert "the last release lowered the memory limit of app" in steps["raise-memory"].asks


def _sidecar(spec: Obj) -> None:
    spec["containers"].append({"name": "proxy", "image": "p:2", "resources": {}})


def _annotated(world: World) -> World:
    world.template["metadata"]["annotations"] = {"team": "shop"}
    return world


def _innocent(world: World) -> World:
    """The release left the container that is killed alone."""
    world.template["spec"]["containers"][0]["image"] = V1
    world.both(sized("512Mi"))
    return world


def beside(change: Callable[[World], Any], *, all_of_them: bool = False) -> World:
    world = _innocent(World().rolling(old=2, new=1))
    change(world)
    names = [] if all_of_them else ["new-0"]
    return world.crash(*names, code=137, reason="OOMKilled", restarts=4)


def later(deployed: float, first: float) -> World:
    """All pods are the release's; killed since `first` minutes ago."""
    world = _innocent(World())
    world.deployed, world.fired = deployed, min(first, 5.0)
    world.pods.clear()
    for n in range(3):
        world.pod(f"new-{n}", made=deployed)
    world.only_new(_sidecar)
    return world.crash(code=137, reason="OOMKilled", restarts=4, first=first)


def leaking(deployed: float, first: float, *names: str) -> World:
    """The release has a new image; its pods, or these, are full since `first` minutes ago."""
    world = World().both(sized("512Mi"))
    world.deployed, world.fired = deployed, min(first, 5.0)
    world.pods.clear()
    for n in range(3):
        world.pod(f"new-{n}", made=deployed)
    return world.crash(
        *names, code=137, reason="OOMKilled", restarts=2, ran=(deployed - first) / 2, first=first
    )


ONLY, BEGAN = "only pods of revision 2 (", "the kills began with revision 2 ("
BROUGHT_IT = (
    "the last release brought it: only pods of revision 2 show it, which changed containers[app].image"
)
RELEASES: list[tuple[str, Callable[[], World], str]] = [
    ("another container, older pods well", lambda: beside(lambda w: w.only_new(_sidecar)), ONLY),
    ("an annotation, older pods well", lambda: beside(_annotated), ONLY),
    ("another container, older pods killed too", lambda: beside(lambda w: w.only_new(_sidecar), all_of_them=True), ""),
    ("another container, killed from the start", lambda: later(20, 18), BEGAN),
    ("another container, killed after it ran well", lambda: later(60, 10), ""),
    ("a new image, all full after a quarter of an hour", lambda: leaking(20, 5), BROUGHT_IT),
    ("a new image, all full after hours", lambda: leaking(300, 5), BROUGHT_IT),
    ("a new image, two full after a quarter of an hour and the third not yet", lambda: leaking(20, 5, "new-0", "new-1"), BROUGHT_IT),
    ("a new image, the first full after a quarter of an hour", lambda: leaking(20, 5, "new-0"), BROUGHT_IT),
    ("a new image, most full after an hour and a half", lambda: leaking(90, 5, "new-0", "new-1"), BROUGHT_IT),
    ("a new image, one full after a quarter of an hour and the others not for longer", lambda: leaking(35, 20, "new-0"), ""),
    ("a new image, one full after hours and the others not", lambda: leaking(300, 5, "new-0"), ""),
    ("a new image, all full after a day", lambda: leaking(1500, 5), ""),
]  # fmt: skip


@pytest.mark.parametrize(("what", "happens", "asked"), RELEASES, ids=[r[0] for r in RELEASES])
async def test_kills_that_came_with_a_release_are_asked_about_whatever_it_changed(
    what: str, happens: Callable[[], World], asked: str
) -> None:
    _, steps = await happens().look(OutOfMemory())
    step = steps["raise-memory"]
    assert step.applies
    assert step.asks.startswith(asked) if asked else step.asks == ""
    assert ("a rollback of that release may fit better" in step.asks) is bool(asked)


async def test_a_write_of_ours_is_no_release_that_brought_the_kills() -> None:
    world = beside(lambda w: w.only_new(_sidecar))
    world.by = FIELD_MANAGER
    _, steps = await world.look(OutOfMemory())
    assert "only pods of revision" not in steps["raise-memory"].asks


async def test_a_limit_that_a_person_raised_after_the_kills_shows_first_whether_it_is_enough() -> None:
    world = _innocent(World().rolling(old=3, new=1))
    world.only_new(sized("1Gi"))
    world.crash("old-0", "old-1", code=137, reason="OOMKilled", restarts=4)
    _, steps = await world.look(OutOfMemory())
    for step in steps.values():
        assert not step.applies
        assert "the template gives app 1 GiB by now, and no pod with that was killed" in step.why
    assert "see whether the new pods" in steps["raise-memory"].advice.lower()


async def test_what_a_release_fills_in_hours_is_asked_about_and_never_acquitted_for_the_time_it_took() -> (
    None
):
    _, steps = await leaking(55, 5).look(PodRestarting())
    back = steps["roll-back"]
    assert back.applies, back.why
    assert back.asks == "revision 2 (v1 -> v2) ran for 50 min before that began"


def pressed(status: str = "True", since: float = 4) -> World:
    """Its node is short of memory, or was until then; the pod was killed a minute ago."""
    world = World().both(sized("2Gi", "256Mi"))
    conditions = [{"type": "MemoryPressure", "status": status, "lastTransitionTime": at(minutes=since)}]
    world.put("Node", "node-1", namespace="", status={"conditions": conditions})
    return killed(world)


def ran_out(ago: float = 2) -> World:
    """The kubelet told of the kernel's kill, where events of nodes are."""
    world = (
        World()
        .both(sized("2Gi", "256Mi"))
        .event("SystemOOM", "victim process: python", "Node/node-1", ago=ago)
    )
    event = next(m for (kind, _, _), m in world.cluster.objects.items() if kind == "Event")
    event["metadata"]["namespace"] = "default"
    world.put("Node", "node-1", namespace="", status={})
    world.cluster.put(event)
    return killed(world)


@pytest.mark.parametrize(
    ("world", "told"),
    [
        (pressed, "node node-1 is short of memory itself (MemoryPressure for 4 min)"),
        (
            lambda: pressed("False", 0.5),
            "node node-1 was short of memory itself (MemoryPressure until 30 s ago)",
        ),
        (ran_out, "node node-1 ran out of memory itself (SystemOOM 2 min ago)"),
        (lambda: pressed("False", 9000), ""),
        (lambda: ran_out(50), ""),
    ],
    ids=["under pressure", "until a moment ago", "the kubelet's event", "long over", "an event of before"],
)
async def test_what_the_node_had_no_memory_for_is_asked_about_with_the_node(
    world: Callable[[], World], told: str
) -> None:
    diagnosis, steps = await world().look(OutOfMemory())
    asked = [steps["raise-memory"].asks, steps["scale-out"].asks]
    assert all(told in asks for asks in asked) if told else not any("node-1" in asks for asks in asked)
    assert steps["raise-memory"].applies
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert told in cause.text
    assert ("memory request near to its usage" in str(cause.data["advice"])) is bool(told)
    _, others = await world().look(PodRestarting())
    assert told in others["roll-back"].asks or not others["roll-back"].applies


async def test_who_may_not_read_the_nodes_events_takes_the_limit_for_what_ended_it() -> None:
    world = killed(World().both(sized("512Mi")))
    world.cluster.unreadable = {Kind.EVENT}
    _, steps = await world.look(OutOfMemory())
    assert steps["raise-memory"].applies
    assert "node-1" not in steps["raise-memory"].asks
