"""Whose limit a container ran into, and what helps against it: the template's, the pod's, the node's, or one that others set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from remediations.out_of_memory import OutOfMemory
from tests.unit.causes.world import World, at


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
