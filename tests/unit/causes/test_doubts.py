"""Why only a person may say that a release brought a cause: every doubt holds for every cause for which it makes sense, as one table.

A doubt that one cause has and its sister lacks rolls an innocent release back as soon as the trouble has the other name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from app.domain.json import Obj
from app.domain.remediation import AnyRemediation
from remediations.causes import Cause, FirstCause, Sureness, blame
from remediations.causes import CauseCode as C
from remediations.causes.investigate import read_snapshot
from remediations.causes.sizes import of_container
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_errors import NPE, told
from tests.unit.causes.test_whose_fault import NOTHING, OTHERS, REFUSED
from tests.unit.causes.world import SPACE, V2, World, at

READY: Obj = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}
NEVER_RAN = {
    C.QUOTA, C.LIMIT_RANGE, C.POD_SECURITY, C.WEBHOOK, C.SERVICE_ACCOUNT, C.PRIORITY_CLASS, C.CREATE_REFUSED, C.UNSCHEDULABLE,
    C.VOLUME, C.CONFIG_MISSING, C.PULL_SECRET, C.IMAGE_DENIED, C.IMAGE_MISSING, C.REGISTRY, C.ARCHITECTURE, C.SANDBOX, C.REJECTED,
    C.IMAGE_PULL,
}  # fmt: skip
AROUND = {
    C.SCALED_TO_ZERO, C.PAUSED, C.TERMINATING, C.NODE, C.READINESS_GATE, C.PREEMPTED, C.EVICTED, C.RESIZE, C.SERVICE_SELECTOR,
    C.SERVICE_PORT, C.SERVICE_ENDPOINTS, C.AUTOSCALER, C.DISRUPTION_BUDGET, C.NETWORK_POLICY,
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


# What leaves no trace: a key that was taken out of the pods' configuration moves no time, and a beginning may be told by nobody.


def crashing(after: float, *, told: bool = True) -> World:
    """All pods of a release of five minutes ago crash again and again since `after` minutes from when they were made. Their ConfigMap is as
    old as they are known to be. Not `told`: the events of that are gone."""
    world = released(5, since=5 - after).both(
        lambda spec: spec["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}])
    )
    world.config().crash(code=1, restarts=3, ended=1, first=5 - after).said("app", "KeyError: 'A'")
    if not told:
        for key in [k for k in world.cluster.objects if k[0] == "Event"]:
            del world.cluster.objects[key]
    return world


async def asked(world: World) -> str:
    """Why a person is asked about the rollback; it is proposed at all."""
    _, steps = await world.look()
    assert steps["roll-back"].actions
    return steps["roll-back"].asks.partition("; revision 1")[0]


async def test_a_key_may_have_been_taken_out_of_the_configuration_of_pods_that_ran() -> None:
    why = await asked(crashing(1.6))
    assert "ran for 96 s before that began" in why
    assert "whether a key was taken out of ConfigMap web-config since is not known" in why


async def test_a_release_whose_pods_never_ran_is_not_asked_about_for_their_configuration() -> None:
    assert await asked(crashing(0.05)) == ""


async def test_nobody_takes_a_key_out_of_an_immutable_configmap() -> None:
    world = crashing(1.8)
    world.put("ConfigMap", "web-config", immutable=True, data={"A": "x"})
    assert "taken out" not in await asked(world)


async def test_a_beginning_that_nobody_tells_is_no_guilt_of_pods_that_may_have_served() -> None:
    """Their events are gone, and their states tell of the last end only."""
    assert "since when pod new-0, made 5 min ago, is in trouble is not known" in await asked(
        crashing(1.8, told=False)
    )


async def test_pods_that_were_never_ready_need_no_events_to_accuse_their_release() -> None:
    world = crashing(0.05, told=False)
    for pod in world.pods.values():
        pod["status"]["conditions"][0]["lastTransitionTime"] = pod["metadata"]["creationTimestamp"]
    assert await asked(world) == ""


async def test_the_last_write_is_told_as_what_the_object_tells() -> None:
    diagnosis, _ = await crashing(1.8).look()
    told = next(f.text for f in diagnosis.findings if f.code == "config.changed")
    assert told.startswith("ConfigMap web-config was last written, as far as it tells, ")


@pytest.mark.parametrize("handler", [PodRestarting(), HighErrorRate()], ids=lambda h: h.name)
async def test_what_no_release_brought_is_told_with_its_own_advice(handler: AnyRemediation) -> None:
    """The first revision of a workload fails since a Secret was deleted: no version to go back to, and none to deploy."""
    world = World().both(
        lambda spec: spec["containers"][0].update(envFrom=[{"secretRef": {"name": "web-env"}}])
    )
    for name in world.pods:
        said = 'secret "web-env" not found'
        world.state(name, {"waiting": {"reason": "CreateContainerConfigError", "message": said}})
    scene = await world.scene()
    del world.cluster.objects["ReplicaSet", SPACE, "web-r1"]
    first = world.cluster.objects["ReplicaSet", SPACE, "web-r2"]["metadata"]
    first["annotations"]["deployment.kubernetes.io/revision"] = "1"
    params = handler.params()
    steps = await handler.ladder(scene, params, await handler.diagnose(scene, params))
    assert steps[0].advice.lower().startswith("create secret web-env")
    assert not any("known good version" in s.advice for s in steps)


async def test_no_rollout_is_accused_where_no_version_is_known_before_the_one_with_the_errors() -> None:
    world = told(NPE, 240, 240, deployed=6 * 24 * 60)
    scene = await world.scene()
    del world.cluster.objects["ReplicaSet", SPACE, "web-r1"]
    diagnosis = await HighErrorRate().diagnose(scene, HighErrorRate.params())
    origin = diagnosis.finding("errors.origin")
    assert origin is not None
    assert origin.text == "No version is known before the one that has the errors, which is 6 d old"


async def test_where_pods_of_an_older_revision_are_broken_of_something_else_only_a_person_accuses_the_release() -> (
    None
):
    """What both have in common may be the cause."""
    world = World().rolling(old=2, new=1).crash("new-0")
    world.state("old-0", {"running": {"startedAt": at(minutes=30)}}, since=4)
    world.event(
        "Unhealthy",
        "Readiness probe failed: statuscode: 503",
        "Pod/old-0",
        first=at(minutes=4),
        container="app",
    )
    diagnosis, steps = await world.look()
    cause = FirstCause(diagnosis)
    assert "only pods of revision" not in cause.rollout_why
    assert "pods of revision 2 show it" in cause.rollout_why
    assert "pod old-0 of an older revision is broken as well" in steps["roll-back"].asks


def beside(said: str, *, place: str = "containers", before: str = "", code: int = 1) -> World:
    """The release of 6 min ago added `agent`, which crashes in its only pod and says this; `before`: who had it, an older template or its pods alone."""
    world = World().rolling(deployed=6, old=3, new=1)
    agent = {"name": "agent", "image": "registry.test/agent:1", "resources": {}}
    world.only_new(lambda spec: spec.setdefault(place, []).append(dict(agent, image="registry.test/agent:2")))
    for name, pod in world.pods.items():
        if before == "pods" and name.startswith("old"):
            pod["spec"].setdefault(place, []).append(agent)
    if before == "template":
        world.before["spec"].setdefault(place, []).append(agent)
    runs = {"name": "app", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": at(minutes=5)}}}  # fmt: skip
    if place == "containers":
        world.pods["new-0"]["status"]["containerStatuses"] = [runs]
    return world.crash("new-0", container="agent", restarts=4, code=code).said("agent", said)


MISSING = "FATAL missing AGENT_TOKEN"
ADDED: dict[str, tuple[Callable[[], World], str]] = {
    "its words name nothing": (lambda: beside(MISSING), ""),
    "it is an init container": (lambda: beside(MISSING, place="initContainers"), ""),
    "it is told to end": (lambda: beside("INFO agent done", code=143), ""),
    "its words speak of others": (lambda: beside(REFUSED), OTHERS),
    "the template before had it": (lambda: beside(MISSING, before="template"), NOTHING),
    "its older pods had it put in": (lambda: beside(MISSING, before="pods"), NOTHING),
}


@pytest.mark.parametrize("name", ADDED)
async def test_a_container_that_the_release_added_is_itself_what_changed(name: str) -> None:
    happens, asks = ADDED[name]
    _, steps = await happens().look(PodRestarting())
    step = steps["roll-back"]
    assert step.applies, step.why
    assert asks in step.asks
    assert bool(step.asks) is bool(asks), step.asks
