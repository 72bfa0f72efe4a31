"""Why only a person may say that a release brought a cause: every doubt holds for every cause for which it makes sense, as one table.

A doubt that one cause has and its sister lacks rolls an innocent release back as soon as the trouble has the other name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from app.domain.json import Obj
from remediations.causes import Cause, Sureness, blame
from remediations.causes import CauseCode as C
from remediations.causes.investigate import read_snapshot
from remediations.causes.sizes import of_container
from tests.unit.causes.cluster import NOW
from tests.unit.causes.world import V2, World, at

READY: Obj = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}
NEVER_RAN = {
    C.QUOTA, C.LIMIT_RANGE, C.POD_SECURITY, C.WEBHOOK, C.SERVICE_ACCOUNT, C.PRIORITY_CLASS, C.CREATE_REFUSED, C.UNSCHEDULABLE,
    C.VOLUME, C.CONFIG_MISSING, C.PULL_SECRET, C.IMAGE_DENIED, C.IMAGE_MISSING, C.REGISTRY, C.ARCHITECTURE, C.SANDBOX, C.REJECTED,
    C.IMAGE_PULL,
}  # fmt: skip
AROUND = {
    C.SCALED_TO_ZERO, C.PAUSED, C.TERMINATING, C.NODE, C.READINESS_GATE, C.PREEMPTED, C.EVICTED, C.RESIZE, C.SERVICE_SELECTOR,
    C.SERVICE_PORT, C.AUTOSCALER, C.DISRUPTION_BUDGET, C.NETWORK_POLICY,
}  # fmt: skip
BY_PLACE = {
    C.UNSCHEDULABLE,
    C.QUOTA,
    C.VOLUME,
    C.ARCHITECTURE,
    C.SANDBOX,
    C.REJECTED,
    C.PREEMPTED,
    C.EVICTED,
    C.RESIZE,
    C.NODE,
}


def released(ago: float, *, since: float) -> World:
    """All pods are of the release and not ready since then; its rollout has not come to an end."""
    world = World()
    world.deployed, world.done = ago, False
    for name in list(world.pods):
        world.pod(name, made=ago)
    world.both(lambda spec: spec["containers"][0].update(READY))
    for name in world.pods:
        unready(world, name, since)
    return world


def unready(world: World, name: str, since: float) -> World:
    running = {"running": {"startedAt": world.pods[name]["metadata"]["creationTimestamp"]}}
    return world.state(name, running, since=since)


def served() -> World:
    return released(6, since=2)


def one_of_three() -> World:
    world = released(8, since=8)
    for name in ("new-1", "new-2"):
        world.pod(name, made=8)
    return world


def restarted() -> World:
    world = released(11, since=2)
    for pod in world.pods.values():
        pod["status"]["containerStatuses"][0]["restartCount"] = 5
    return world


def ailing_before() -> World:
    world = released(8, since=8)
    return world.event(
        "BackOff",
        "Back-off restarting failed container",
        "Pod/web-r1-abcde",
        first=at(minutes=20),
        container="app",
    )


def configured() -> World:
    world = released(8, since=8).both(
        lambda spec: spec["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}])
    )
    return world.config(changed=10)


def saying(*lines: str) -> Callable[[], World]:
    return lambda: released(8, since=8).said("app", *lines, previous=False)


def log_level() -> World:
    world = released(8, since=8)
    world.before["spec"]["containers"][0]["image"] = V2
    return world.only_new(
        lambda spec: spec["containers"][0].update(env=[{"name": "LOG_LEVEL", "value": "x"}])
    )


NOT_FOR: Mapping[str, tuple[Callable[[], World], set[C], float | None, str]] = {
    "its pods served first": (served, NEVER_RAN, 2, "before that began"),
    "others of it are well": (one_of_three, BY_PLACE, 8, "2 other pods of revision 2 (v1 -> v2) run without it"),
    "nobody knows since when": (restarted, set(), None, "is in trouble is not known"),
    "an older pod had it before": (ailing_before, NEVER_RAN | AROUND, 8, "of an older revision was restarted again"),
    "configuration changed beside it": (
        configured, NEVER_RAN | AROUND | {C.SECURITY_CONTEXT}, 8, "ConfigMap web-config was changed",
    ),
    "its words speak of something else": (
        saying("ERROR connect ECONNREFUSED 10.0.0.3:5432"), NEVER_RAN | AROUND | {C.SECURITY_CONTEXT}, 8, "speaks of something else",
    ),
    "a changed log level": (log_level, NEVER_RAN | AROUND, 8, "which hardly makes a program fail"),
}  # fmt: skip
"""What holds, for which causes it makes no sense, since how many minutes the trouble is there, and what is told."""


def cause(code: C, pods: tuple[str, ...], since: float | None) -> Cause:
    """Any change of the template can bring it."""
    moment = None if since is None else NOW.fromisoformat(at(minutes=since))
    return Cause(
        code, "Pod new-0", Sureness.CERTAIN, "x", pods=pods, fields=("*",), since=moment, container="app"
    )


@pytest.mark.parametrize("doubt", NOT_FOR)
async def test_each_doubt_holds_for_every_cause_for_which_it_makes_sense(doubt: str) -> None:
    build, not_for, since, told = NOT_FOR[doubt]
    seen = await read_snapshot(await build().scene())
    pods = tuple(p.name for p in seen.alive if not p.ready)
    found = {code: blame(seen, c, [c]) for code in C for c in (cause(code, pods, since),)}
    assert {code for code, word in found.items() if word.rollout and told not in word.asks} == not_for


async def test_every_cause_of_a_pod_that_never_served_and_says_nothing_accuses_the_release() -> None:
    seen = await read_snapshot(await released(8, since=8).scene())
    for code in C:
        word = blame(seen, c := cause(code, tuple(p.name for p in seen.alive), 8), [c])
        assert (word.rollout, word.asks) == (True, ""), code


@pytest.mark.parametrize("code", [C.OUT_OF_MEMORY, C.EVICTED])
async def test_what_fills_up_takes_its_time_where_the_release_gave_less(code: C) -> None:
    """A container with half of its memory runs for a while."""

    def size(much: str) -> Obj:
        return {"limits": {"memory": much}, "requests": {"memory": much}}

    world = served()
    world.before["spec"]["containers"][0]["resources"] = size("2Gi")
    world.only_new(lambda spec: spec["containers"][0].update(resources=size("64Mi")))
    seen = await read_snapshot(await world.crash(code=137, reason="OOMKilled", ran=2, first=2).scene())
    own = cause(code, ("new-0", "new-1", "new-2"), 2)
    demands = of_container(C.OUT_OF_MEMORY, "containers[app]", killed=True)
    word = blame(seen, replace(own, demands=demands), [])
    assert (word.rollout, word.asks) == (True, "")


async def test_a_probe_that_asks_late_for_the_first_time_shows_no_good_time_before() -> None:
    """Its pods never answered; that the first question came after two minutes is no good time."""
    world = released(8, since=8)
    late: Obj = {"livenessProbe": {"httpGet": {"port": 8080}, "initialDelaySeconds": 150}}
    world.both(lambda spec: spec["containers"][0].update(late))
    for pod in world.pods.values():
        pod["status"]["conditions"][0] |= {"lastTransitionTime": at(minutes=1)}
        pod["status"]["containerStatuses"][0]["restartCount"] = 1
    seen = await read_snapshot(await world.scene())
    word = blame(seen, c := cause(C.LIVENESS_PROBE, tuple(world.pods), 5.4), [c])
    assert (word.rollout, word.asks) == (True, "")
