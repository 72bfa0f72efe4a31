"""A rollout of somebody else that is under way: it is waited for as long as its controller says that it progresses; and a start that takes the time it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.target import Kind
from remediations.causes import CauseCode, FirstCause
from tests.unit.causes.sets import SetWorld
from tests.unit.causes.test_more_pods import judged
from tests.unit.causes.world import World, at

RUNS: Callable[[float], dict[str, Any]] = lambda minutes: {"running": {"startedAt": at(minutes=minutes)}}  # noqa: E731
WORD = "a rollout is under way, nothing to do: "


def progress(world: World, minutes: float = 3.0, status: str = "True", **spec: Any) -> World:
    """Its controller has seen progress so many minutes ago."""
    reason = "ReplicaSetUpdated" if status == "True" else "ProgressDeadlineExceeded"
    world.conditions = [
        {"type": "Progressing", "status": status, "reason": reason, "lastUpdateTime": at(minutes=minutes)}
    ]
    world.spec |= spec
    return world


def slow(deployed: float = 3.0, *, fired: float = 5.0) -> World:
    """Three old pods serve; the first new one has run for a while and is not ready."""
    world = World().rolling(deployed)
    world.state("new-0", RUNS(deployed - 0.1))
    world.fired = fired
    return progress(world, deployed)


def repair() -> World:
    """Old pods crash, and somebody rolls out what mends it: its first pod is ready."""
    world = World().rolling(3, old=2, new=1)
    world.pod("new-0", made=3)
    world.crash("old-0", "old-1", restarts=9, first=60)
    world.said("app", "KeyError: 'x'")
    return progress(world)


def probe(world: World) -> World:
    world.both(lambda s: s["containers"][0].update(readinessProbe={"httpGet": {"path": "/", "port": 8080}}))
    return world.event("Unhealthy", "Readiness probe failed: connection refused", "Pod/new-0")


def crashes() -> World:
    world = slow()
    return world.crash("new-0", restarts=3, first=2)


WAITS: dict[str, Callable[[], World]] = {
    "one that began after the alert": slow,
    "one that began before it, while all that is wanted is ready": lambda: slow(4, fired=3),
    "one whose new pod is not ready yet, by its probe": lambda: probe(slow()),
    "the repair of what crashes": repair,
    "one of which a pod became ready lately": lambda: progress(slow(12, fired=15), 3),
}
DOES_NOT: dict[str, Callable[[], World]] = {
    "no progress within the deadline": lambda: progress(slow(12, fired=15), 12),
    "no progress within a deadline of its own": lambda: progress(slow(), 3, progressDeadlineSeconds=120),
    "its controller says that it stands": lambda: progress(slow(), 3, "False"),
    "nothing says that the rollout runs": lambda: progress(World().state("new-0", RUNS(29))),
    "new pods that crash": crashes,
    "one from before the alert whose new pod fails its probe": lambda: probe(slow(4, fired=3)),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_rollout_of_somebody_else_is_waited_for(name: str) -> None:
    diagnosis, steps = await WAITS[name]().look()
    assert diagnosis.rest.startswith(WORD), (diagnosis.rest, diagnosis.summary)
    assert "deployed by kubectl-set" in diagnosis.rest
    assert not any(step.applies for step in steps.values())


@pytest.mark.parametrize("name", DOES_NOT)
async def test_one_that_does_not_go_on_or_fails_is_judged(name: str) -> None:
    diagnosis, _ = await DOES_NOT[name]().look()
    assert not diagnosis.rest


PROBE = {"httpGet": {"path": "/", "port": 8080}, "failureThreshold": 180, "periodSeconds": 10}
REFUSES = "dial tcp 10.0.0.1:8080: connect: connection refused"


def starts(
    minutes: float = 18.0, world: World | None = None, *, asked: str = "Startup", **probe: Any
) -> World:
    """A pod has run for so long, its startup probe (30 minutes by default) gets no answer, and those that were there before serve."""
    world = world or World().rolling(minutes, old=2, new=1)
    world.both(lambda s: s["containers"][0].update(startupProbe=PROBE | probe, livenessProbe=PROBE))
    world.fired = 3
    world.state("new-0", RUNS(minutes))
    world.event("Unhealthy", f"{asked} probe failed: {REFUSES}", "Pod/new-0", container="app")
    return world.said("app", "INFO loading model shard 7 of 30", previous=False)


def of_a_set() -> World:
    world = SetWorld(Kind.STATEFUL_SET)
    world.deployed, world.done = 18, False
    world.pods.clear()
    for number in range(2):
        world.pod(f"old-{number}", revision=1, made=8640)
    world.pod("new-0", made=18)
    return starts(18, world)


def drained() -> World:
    """A node was drained, and the pod that takes the place of its pod starts."""
    world = World()
    world.deployed = 600
    for name in list(world.pods):
        world.pod(name, made=600)
    world.pod("new-0", made=18)
    return starts(18, world)


def anew() -> World:
    """Its node was restarted, and the container starts once more."""
    last = {"reason": "Unknown", "exitCode": 255, "finishedAt": at(minutes=19)}
    return drained().state("new-0", RUNS(18), last=last, restarts=1)


def mends() -> World:
    """Old pods crash, and what somebody rolls out against it takes longer than the rollout's deadline to start."""
    world = starts(18)
    world.fired = 60
    return progress(world.crash("old-0", "old-1", restarts=9, first=70), 18, "False")


def killed() -> World:
    last = {"reason": "Error", "exitCode": 137, "startedAt": at(minutes=50), "finishedAt": at(minutes=18)}
    return starts(18, World().rolling(50, old=2, new=1)).state("new-0", RUNS(18), last=last, restarts=1)


def has_started() -> World:
    world = starts()
    world.pods["new-0"]["status"]["containerStatuses"][0]["started"] = True
    return world


STARTS: dict[str, Callable[[], World]] = {
    "the first pod of a release": starts,
    "after the deadline of its rollout": lambda: progress(starts(), 18, "False"),
    "the first pod of a StatefulSet's release": of_a_set,
    "a pod that a drain has moved": drained,
    "begun anew with its node": anew,
    "a probe that begins late": lambda: starts(failureThreshold=3, initialDelaySeconds=1100),
}
DOES_NOT_START: dict[str, tuple[Callable[[], World], CauseCode]] = {
    "its time is over": (lambda: starts(failureThreshold=90), CauseCode.STARTUP_PROBE),
    "the kubelet ended it for that": (killed, CauseCode.STARTUP_PROBE),
    "it has started, and does not become ready": (has_started, CauseCode.STARTUP_PROBE),
    "a later probe asks already": (lambda: starts(asked="Liveness"), CauseCode.LIVENESS_PROBE),
}


@pytest.mark.parametrize("name", STARTS)
async def test_who_is_within_the_time_that_its_startup_probe_gives_is_no_fault(name: str) -> None:
    diagnosis, steps = await STARTS[name]().look()
    assert diagnosis.rest.startswith(
        "still starting, nothing to do: 2 of 3 pods ready, container app of new-0 for 18 min of "
    ), diagnosis.summary
    assert 'that its startupProbe allows, said last "INFO loading model shard 7 of 30"' in diagnosis.rest
    assert not any(step.applies for step in steps.values())


async def test_a_repair_that_starts_is_waited_for_beyond_the_deadline_of_its_rollout() -> None:
    diagnosis, _ = await mends().look()
    assert diagnosis.rest.startswith(WORD), diagnosis.summary


@pytest.mark.parametrize("name", DOES_NOT_START)
async def test_a_start_that_failed_is_judged(name: str) -> None:
    happens, code = DOES_NOT_START[name]
    diagnosis, steps = await happens().look()
    assert (diagnosis.rest, FirstCause(diagnosis).code, judged(steps["roll-back"])) == ("", code, "acts")


def none_serves(
    ready: int = 0, *, deployed: float = 18.0, last: str = "INFO loading model shard 7 of 30"
) -> World:
    """All pods start, but for so many: a release that replaces all at once, or an old one whose nodes were restarted."""
    world = World()
    world.deployed = deployed
    for number, name in enumerate(list(world.pods)):
        world.pod(name, made=deployed)
        if number >= ready:
            again = (
                {"reason": "Unknown", "exitCode": 255, "finishedAt": at(minutes=19)}
                if deployed > 60
                else None
            )
            world.state(name, RUNS(17.8), last=again, restarts=int(deployed > 60))
    world.both(lambda s: s["containers"][0].update(startupProbe=PROBE))
    world.fired = 3
    return world.said("app", last, previous=False)


def added(ready: int, by: str = "kubectl-scale") -> World:
    """Somebody set more replicas, and the new pods start."""
    world = none_serves(ready, deployed=18)
    world.fields = [{"manager": by, "time": at(minutes=18.1), "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    return world


TYPE_ERROR = "TypeError: connect() got an unexpected keyword argument"


@pytest.mark.parametrize(
    ("happens", "back"),
    [
        (none_serves, "asks"),
        (lambda: none_serves(last=TYPE_ERROR), "asks"),
        (lambda: none_serves(1), "asks"),
        (lambda: none_serves(deployed=8000), "refuses"),
        (lambda: added(0), "asks"),
    ],
    ids=["a release that replaces all at once", "its program accuses itself", "one of three is left", "nodes were restarted", "none of them serves"],
)  # fmt: skip
async def test_where_too_few_serve_a_start_is_not_waited_for_in_silence(
    happens: Callable[[], World], back: str
) -> None:
    """What its startup probe allows is a reason to take nothing back by itself, and none to let nobody know of an outage."""
    world = happens()
    diagnosis, steps = await world.look()
    assert (diagnosis.rest, judged(steps["roll-back"])) == ("", back), steps["roll-back"]
    ready = sum(p["status"]["conditions"][0]["status"] == "True" for p in world.pods.values())
    told = steps["roll-back"].asks if back == "asks" else steps["fix-by-hand"].why
    assert f"only {ready} of 3 pods ready" in told
    assert "for 18 min of the 30 min that its startupProbe allows, said last" in told
    assert world.cluster.log["app", False].split(" ", 1)[1] in told
    assert "find out whether app will start yet" in FirstCause(diagnosis).advice


async def test_pods_that_were_only_added_are_none_that_are_lost() -> None:
    diagnosis, _ = await added(1).look()
    assert diagnosis.rest.startswith("still starting, nothing to do: 1 of 3 pods ready"), diagnosis.summary


async def test_a_repair_that_accuses_itself_is_not_waited_for_while_nothing_serves() -> None:
    diagnosis, _ = await mends().said("app", TYPE_ERROR, previous=False).look()
    assert not diagnosis.rest
