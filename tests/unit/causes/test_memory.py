"""Whose limit a container ran into, and what helps against it: the template's, the pod's, the node's, or one that others set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from remediations.out_of_memory import OutOfMemory
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


def resized() -> World:
    """The pod was resized in place."""
    world = World().both(sized("512Mi"))
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


MIB = 1024**2
ROWS: list[tuple[str, Callable[[], World], dict[str, list[int]], str, bool, str, str]] = [
    ("the template's own limit", lambda: killed(World().both(sized("512Mi"))), {"app": [512, 768]}, "", True, "", "raise the memory limit of app (the remediation"),
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
     lambda: shrunk("new-0").crash("new-0", "new-1", code=137, reason="OOMKilled", restarts=3, first=2), {"app": [1024, 1536]}, "", True, "", "see what gives app 256 MiB"),
    ("a sidecar that admission puts in", injected, {}, "", False, "Container istio-proxy is put in by admission", "where admission takes it from"),
    ("a limit that a LimitRange gives", defaulted, {}, "", False, "The template sets no memory limit for container app", "a LimitRange or admission gives it 128 MiB"),
    ("no limit at all", lambda: killed(World()), {}, "", False, "The template sets no memory limit for container app", "see what else fills node node-1"),
    ("the limit of the whole pod", whole_pod, {}, "", False, "Container app shares the 300 MiB of its pod as a whole", "raise the memory limit of the whole pod beyond 300 MiB"),
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


ONLY, BEGAN = "only pods of revision 2 (", "the kills began with revision 2 ("
RELEASES: list[tuple[str, Callable[[], World], str]] = [
    ("another container, older pods well", lambda: beside(lambda w: w.only_new(_sidecar)), ONLY),
    ("an annotation, older pods well", lambda: beside(_annotated), ONLY),
    ("another container, older pods killed too", lambda: beside(lambda w: w.only_new(_sidecar), all_of_them=True), ""),
    ("another container, killed from the start", lambda: later(20, 18), BEGAN),
    ("another container, killed after it ran well", lambda: later(60, 10), ""),
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
