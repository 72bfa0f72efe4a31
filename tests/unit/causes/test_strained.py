"""Pods at their own CPU limit whose probes get no answer in time: the worse the load, the surer this comes, and it is no cause against more pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.cluster import PodUsage
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_more_pods import BUSY, OLD, busy, judged
from tests.unit.causes.world import World, at

LATE = 'Get "http://10.0.0.1:8080/healthz": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
SHAPES = (
    "context deadline exceeded",
    LATE,
    "dial tcp 10.0.0.1:8080: i/o timeout",
    'command "check" timed out',
    'timeout: failed to connect service ":8080" within 1s',
)
OTHERS = (
    "HTTP probe failed with statuscode: 500",
    "dial tcp 10.0.0.1:8080: connect: connection refused",
    "cat: /tmp/ready: No such file or directory",
)
STEPS = ((HighLatency, "scale-out"), (HighErrorRate, "scale-up"))


def unready(world: World, answer: str, *names: str, probe: str = "Readiness") -> World:
    """Pods that run, and of which a probe fails since 4 min ago."""
    for name in names:
        world.event(
            "Unhealthy",
            f"{probe} probe failed: {answer}",
            f"Pod/{name}",
            first=at(minutes=4),
            container="app",
        )
        world.pods[name]["status"]["conditions"][0].update(status="False", lastTransitionTime=at(minutes=3))
        world.pods[name]["status"]["containerStatuses"][0]["ready"] = False
    return world


def ended(world: World, name: str) -> World:
    """A pod that the kubelet ended for its liveness probe, and that runs again."""
    unready(world, LATE, name, probe="Liveness")
    run = {"reason": "Error", "exitCode": 137, "startedAt": at(minutes=9), "finishedAt": at(minutes=1)}
    status = world.pods[name]["status"]["containerStatuses"][0]
    status.update(
        restartCount=4, lastState={"terminated": run}, state={"running": {"startedAt": at(minutes=0.9)}}
    )
    return world


async def _step(world: World, handler: Any, name: str) -> Any:
    _, steps = await world.look(handler())
    return steps[name]


@pytest.mark.parametrize(("handler", "step"), STEPS)
@pytest.mark.parametrize("answer", SHAPES)
async def test_a_probe_that_is_late_at_the_limit_is_the_load(handler: Any, step: str, answer: str) -> None:
    found = await _step(unready(BUSY(), answer, "new-0"), handler, step)
    assert (judged(found), "as pods at their limit answer too late" in found.why) == ("acts", True), (
        found.asks,
        found.why,
    )


@pytest.mark.parametrize(("handler", "step"), STEPS)
async def test_one_that_the_kubelet_ended_for_it_too(handler: Any, step: str) -> None:
    assert judged(await _step(ended(BUSY(), "new-0"), handler, step)) == "acts"


@pytest.mark.parametrize(("handler", "step"), STEPS)
@pytest.mark.parametrize("answer", OTHERS)
async def test_another_answer_is_a_cause_of_its_own_beside_the_load_of_those_that_serve(
    handler: Any, step: str, answer: str
) -> None:
    found = await _step(unready(BUSY(), answer, "new-0"), handler, step)
    assert (judged(found), "those that serve are at their limit" in found.asks) == ("asks", True), found
    found = await _step(unready(BUSY(), answer, "new-0", "new-1"), handler, step)
    assert (judged(found), "more replicas would not change that" in found.why) == ("refuses", True), found


BELOW: tuple[Callable[[], World], ...] = (lambda: busy(OLD(), 300), OLD)


@pytest.mark.parametrize(("handler", "step"), STEPS)
@pytest.mark.parametrize("world", BELOW, ids=["below the limit", "not measured"])
async def test_one_that_is_late_without_load_is_a_cause_of_its_own(
    handler: Any, step: str, world: Callable[[], World]
) -> None:
    assert judged(await _step(unready(world(), LATE, "new-0"), handler, step)) == "refuses"


@pytest.mark.parametrize(("handler", "step"), STEPS)
async def test_where_most_pods_are_not_ready_a_person_is_asked(handler: Any, step: str) -> None:
    """A program that is ended while it starts uses all of its CPU too, and more of its like do not get up either."""
    found = await _step(unready(BUSY(), LATE, "new-0", "new-1"), handler, step)
    assert (judged(found), "only 1 of 3 pods ready" in found.asks) == ("asks", True), found.asks


async def test_where_no_pod_is_ready_yet_more_of_them_are_not_either() -> None:
    world = World()
    for number in range(3):
        world.pod(f"new-{number}", made=2)
        world.state(f"new-{number}", {"waiting": {"reason": "ContainerCreating"}}, since=2)
    found = await _step(world, HighLatency, "scale-out")
    assert (judged(found), "No pod is ready, and none is measured at its limit" in found.why) == (
        "refuses",
        True,
    )


@pytest.mark.parametrize(("handler", "step"), STEPS)
async def test_a_startup_probe_that_is_late_is_that_of_each_new_pod(handler: Any, step: str) -> None:
    found = await _step(unready(BUSY(), LATE, "new-0", probe="Startup"), handler, step)
    assert judged(found) == "refuses"


def crashing(world: World, since: float, *names: str, container: str = "logger") -> World:
    """A container of these pods has crashed again and again for so many minutes; by default a helper, which says of a fault of its own."""
    world.both(lambda s: s["containers"].append({"name": "logger", "image": "fluent:1", "resources": {}}))
    for said in (True, False):
        where = container if container == "logger" else names[0]
        world.said(where, "[error] cannot open /var/log/x: no such file", previous=said)
    return world.crash(*names, container=container, restarts=40, first=since)


def stopped_half_way(world: World) -> World:
    world.pods.clear()
    for number, revision in enumerate((1, 1, 1, 2)):
        world.pod(f"p-{number}", revision=revision, made=9_000)
    world.done, world.spec = False, {"paused": True}
    return world


def surging(world: World) -> World:
    """A pod more than are wanted crashes since a few minutes."""
    world.pod("new-9", made=4)
    return world.crash("new-9", first=4)


def lost(world: World, *names: str) -> World:
    """Their node stopped answering."""
    for name in names or ("new-0",):
        world.pods[name]["spec"]["nodeName"] = "node-3"
        world.pods[name]["status"]["conditions"][0].update(status="False", lastTransitionTime=at(minutes=6))
    said = {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}
    return world.put(
        "Node", "node-3", namespace="", status={"conditions": [said | {"lastTransitionTime": at(minutes=6)}]}
    )


def of_two(world: World) -> World:
    del world.pods["new-2"]
    world.replicas = 2
    return world


def first_of_a_release(world: World) -> World:
    return world.rolling(8, old=2, new=1).crash("new-0", first=7)


BYSTANDERS: dict[str, tuple[Callable[[World], World], str, str]] = {
    "a helper of one pod, for a day": (lambda w: crashing(w, 1440, "new-0"), "asks", "container logger of new-0 crashes"),
    "one pod, for a day": (lambda w: crashing(w, 1440, "new-0", container="app"), "asks", "for 24 h: that makes no other pod slow"),
    "a pod more than are wanted": (surging, "asks", "container app of new-9 crashes"),
    "a rollout that is paused, with all pods ready": (stopped_half_way, "asks", "is paused"),
    "one pod, since the trouble": (lambda w: crashing(w, 6, "new-0"), "asks", "for 6 min: those that serve are at their limit"),
    "one pod that is lost with its node": (lost, "acts", "node node-3 of pod new-0 is not ready"),
    "one pod of two that is lost with its node": (lambda w: lost(of_two(w)), "acts", "and those that serve carry its load"),
    "two of three that are lost with their node": (lambda w: lost(w, "new-0", "new-1"), "refuses", "more replicas would not change that"),
    "one pod that is killed for memory": (lambda w: w.crash("new-0", code=137, reason="OOMKilled", restarts=3, first=6), "acts", "and those that serve carry its load"),
    "one pod of two that crashes": (lambda w: crashing(of_two(w), 6, "new-0", container="app"), "asks", "those that serve are at their limit"),
    "the first pod of a release, beside older ones": (first_of_a_release, "refuses", "more replicas would not change that"),
    "a pod that no node takes": (lambda w: w.unscheduled("new-0", "0/3 nodes are available: 3 Insufficient cpu."), "refuses", "more replicas would not change that"),
    "most pods, for a day": (lambda w: crashing(w, 1440, "new-0", "new-1"), "refuses", "more replicas would not change that"),
}  # fmt: skip


@pytest.mark.parametrize(("handler", "step"), STEPS)
@pytest.mark.parametrize("name", BYSTANDERS)
async def test_what_does_not_make_those_slow_that_serve_is_told_beside_their_load(
    name: str, handler: Any, step: str
) -> None:
    happens, right, words = BYSTANDERS[name]
    found = await _step(happens(BUSY()), handler, step)
    assert (judged(found), words.lower() in f"{found.asks} {found.why}".lower()) == (right, True), found
    assert "rollout resume" not in found.advice
    if handler is HighLatency:
        assert "CPU 96 % of the limit" in found.why, "that the pods are at their limit is told anyway"


def one_hot(*millicores: int) -> World:
    world = busy(OLD())

    async def usage(namespace: str, selector: str) -> list[PodUsage]:
        shares = zip(world.pods, millicores, strict=True)
        return [PodUsage(name, NOW, {"app": 100 * 1024**2}, {"app": cpu}) for name, cpu in shares]

    world.cluster.pod_usage = usage  # type: ignore[method-assign]
    return world


@pytest.mark.parametrize(
    ("millicores", "named"), [((480, 60, 60), True), ((480, 300, 300), False), ((300, 20, 20), False)]
)
async def test_a_pod_that_alone_is_at_its_limit_is_named(millicores: tuple[int, ...], *, named: bool) -> None:
    """A mean hides it, and another pod takes nothing from what stays with it."""
    found = await _step(one_hot(*millicores), HighLatency, "scale-out")
    assert (judged(found), "pod new-0 alone is at its limit (CPU 96 % of it)" in found.asks) == (
        "asks",
        named,
    ), found
    assert ("96 % of pod new-0 alone" in found.why) is named
