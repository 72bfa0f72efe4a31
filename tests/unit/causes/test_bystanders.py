"""Errors and slow requests beside Services that serve nobody: only one that fitted the pods before, or was just edited, is a cause; and beside pods
that do not come, or a helper that crashes. And slow requests after a release that took CPU or memory from its pods."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.owners import APPLIED
from remediations.causes import CauseCode as C
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.test_errors import NPE, told
from tests.unit.causes.world import SPACE, V1, World

WEB: Obj = {"app": "web"}
Change = Callable[[World], World]


def released(minutes: float = 8) -> World:
    """All pods are of a release of that time."""
    world = World()
    world.deployed = minutes
    for name in list(world.pods):
        world.pod(name, made=minutes)
    return world


def service(name: str, selector: Obj, port: Any = "http", *, changed: float = 40_000) -> Change:
    spec = {"selector": selector, "ports": [{"port": 80, "targetPort": port}]}
    return lambda world: world.put("Service", name, changed=changed, by="kubectl-edit", spec=spec)


GOOD = service("web", WEB)
BYSTANDERS: dict[str, Change] = {
    "the idle side of a blue/green pair": service("web-green", {**WEB, "slot": "green"}),
    "an idle canary": service("web-canary", {**WEB, "track": "canary"}),
    "a worker that is scaled to 0": service("web-worker", {**WEB, "component": "worker"}),
    "a port that no container names": service("web-jmx", WEB, "jmx"),
    "a number that no container declares": service("web-metrics", WEB, 9102),
}


def unchanged_image(world: World) -> World:
    world.template["spec"]["containers"][0]["image"] = V1
    return world


def labelled(world: World) -> World:
    world.template["metadata"]["labels"]["version"] = "2"
    return unchanged_image(world)


def more_ports(world: World) -> World:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9102}]
    world.template["spec"]["containers"][0]["ports"] = ports
    return unchanged_image(world)


@pytest.mark.parametrize("bystander", BYSTANDERS)
@pytest.mark.parametrize("good", [True, False], ids=["beside a good Service", "alone"])
async def test_a_bystander_hides_no_guilty_release_and_stops_no_runbook(
    bystander: str, *, good: bool
) -> None:
    def around(world: World) -> World:
        return BYSTANDERS[bystander](GOOD(world) if good else world)

    _, steps = await around(told(NPE, 470, 480, deployed=8)).look(HighErrorRate())
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")

    diagnosis, steps = await around(released(9_000)).look(HighLatency())
    assert steps["scale-out"].applies, steps["scale-out"].why
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] is None if good else cause.data["sureness"] == "possible"


@pytest.mark.parametrize("release", [labelled, more_ports])
@pytest.mark.parametrize("bystander", BYSTANDERS)
async def test_a_release_that_touched_labels_or_ports_is_not_taken_back_for_a_bystander(
    bystander: str, release: Change
) -> None:
    for around in (BYSTANDERS[bystander], lambda w: BYSTANDERS[bystander](GOOD(w))):
        _, steps = await around(release(released())).look(HighErrorRate())
        assert not steps["roll-back"].applies, steps["roll-back"].why


def relabelled() -> World:
    """The release took away the label that a Service selects by."""
    world = unchanged_image(released())
    world.before["metadata"]["labels"] = {**WEB, "track": "stable"}
    return world


def renamed() -> World:
    """The release gave its port another name."""
    world = released()
    world.template["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 8080}]
    return unchanged_image(world)


STABLE = {**WEB, "track": "stable"}


@pytest.mark.parametrize(
    ("world", "code", "back"),
    [
        (lambda: service("web", STABLE)(relabelled()), C.SERVICE_SELECTOR, True),
        (lambda: service("web-public", STABLE)(GOOD(relabelled())), C.SERVICE_SELECTOR, True),
        (lambda: GOOD(renamed()), C.SERVICE_PORT, True),
        (lambda: service("web-public", WEB)(service("web", WEB, 8080)(renamed())), C.SERVICE_PORT, True),
        (lambda: service("web", {"app": "webb"}, changed=3)(labelled(released())), C.SERVICE_SELECTOR, False),
        (lambda: service("web", WEB, "grpc", changed=3)(more_ports(released())), C.SERVICE_PORT, False),
    ],
    ids=["the only Service", "one of two Services", "the only Service's port", "one of two Services' port", "a selector edited since", "a port edited since"],
)  # fmt: skip
async def test_a_service_that_fitted_before_or_was_just_edited_is_the_cause(
    world: Callable[[], World], code: C, *, back: bool
) -> None:
    """A release that cut its pods off is taken back; one that touched other labels or ports is not."""
    diagnosis, steps = await world().look(HighErrorRate())
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] == code
    assert cause.data["sureness"] != "possible"
    assert steps["roll-back"].applies is back, steps["roll-back"].why


def noted(world: World, name: str, note: str) -> None:
    """Gives a Service kubectl's note of what was applied, and its writer the selector."""
    whole = world.cluster.of(Kind.SERVICE, name, SPACE)
    whole["metadata"]["annotations"] = {APPLIED: note}
    whole["metadata"]["managedFields"][0]["fieldsV1"] = {"f:spec": {"f:selector": {"f:app": {}}}}


def turned(name: str, selector: Obj, was: Obj, *, changed: float = 3, other: bool | None = None) -> World:
    """A Service whose selector somebody edited by hand, that was applied with another one; `other`: it now selects a pod of somebody
    else, and whether that is ready."""
    world = released(9_000)
    service(name, selector, changed=changed)(world)
    noted(world, name, json.dumps({"spec": {"selector": was}}))
    if other is not None:
        pod = copy.deepcopy(world.pods["new-0"])
        pod["metadata"] |= {"name": "api-0", "uid": "api-0", "labels": selector, "ownerReferences": []}
        for condition in pod["status"]["conditions"]:
            condition["status"] = str(other)
        world.cluster.put(pod)
    return world


API: Obj = {"app": "api"}


@pytest.mark.parametrize(
    ("world", "sureness", "said"),
    [
        (lambda: turned("web", API, WEB, other=False), "certain", "has no ready endpoint: it selects app=api (1 other pod, none ready)"),
        (lambda: turned("web", API, WEB, other=True), "possible", "sends requests to 1 other pod: it selects app=api"),
        (lambda: turned("shop-front", {"app": "webb"}, WEB), "likely", "has no endpoint: it selects app=webb"),
        (lambda: turned("shop-front", API, WEB, other=False), "likely", "has no ready endpoint: it selects app=api"),
        (lambda: turned("shop-front", API, WEB, other=True), "possible", "sends requests to 1 other pod: it selects app=api"),
        (lambda: GOOD(turned("shop-front", {"app": "webb"}, WEB)), "possible", "has no endpoint: it selects app=webb"),
    ],
)  # fmt: skip
async def test_a_service_that_was_edited_away_from_the_pods_is_named(
    world: Callable[[], World], sureness: str, said: str
) -> None:
    diagnosis, steps = await world().look(HighLatency())
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert (cause.data["code"], cause.data["sureness"]) == (C.SERVICE_SELECTOR, sureness)
    assert said in cause.text
    assert "changed 3 min ago by kubectl-edit" in cause.text
    assert steps["scale-out"].applies is (sureness == "possible"), steps["scale-out"].why


@pytest.mark.parametrize(
    "world",
    [
        lambda: turned("web", API, WEB, changed=9_000, other=True),
        lambda: turned("shop-front", {"app": "webb"}, API),
        lambda: turned("shop-front", API, API, other=False),
        lambda: turned("shop-front", API, API, other=True),
    ],
)
async def test_a_service_that_was_never_for_the_pods_or_was_turned_long_ago_is_not_named(
    world: Callable[[], World],
) -> None:
    diagnosis, steps = await world().look(HighLatency())
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] is None
    assert steps["scale-out"].applies


@pytest.mark.parametrize("note", ["{", "[]", '{"spec": 3}', '{"spec": {"selector": ["app"]}}', "x" * 20_000])
async def test_a_note_of_what_was_applied_that_is_none_says_nothing(note: str) -> None:
    world = turned("shop-front", {"app": "webb"}, WEB)
    noted(world, "shop-front", note)
    diagnosis, _ = await world.look(HighLatency())
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] is None


def resized(old: Obj, new: Obj, minutes: float = 8) -> World:
    world = unchanged_image(released(minutes))
    world.before["spec"]["containers"][0]["resources"] = old
    return world.only_new(lambda s: s["containers"][0].update(resources=new))


LARGE, SMALL = (
    {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}},
    {"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}},
)


@pytest.mark.parametrize(
    ("world", "named"),
    [
        (lambda: resized(LARGE, SMALL), "set containers[app].resources.limits.cpu from 2 to 200m; containers[app].resources.requests.cpu from 1 to 100m"),
        (lambda: resized({}, {"limits": {"cpu": "1"}}), "set containers[app].resources.limits.cpu to 1"),
        (lambda: resized({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "256Mi"}}), "resources.limits.memory from 1Gi to 256Mi"),
        (lambda: resized(SMALL, LARGE), ""),
        (lambda: resized(LARGE, SMALL, minutes=180), ""),
        (lambda: resized(LARGE, SMALL, minutes=2), ""),
        (released, ""),
    ],
    ids=["CPU cut", "CPU limited", "memory cut", "CPU raised", "hours before", "after the alert", "another image only"],
)  # fmt: skip
async def test_a_release_that_shrank_its_pods_is_named_and_scaling_out_for_it_is_a_question(
    world: Callable[[], World], named: str
) -> None:
    diagnosis, steps = await world().look(HighLatency())
    step = steps["scale-out"]
    assert step.applies
    assert named in step.asks
    assert ("a rollback of that release may fit better" in step.asks) is bool(named), step.asks
    assert named in diagnosis.summary


def half_way(*, error: str = NPE, old_too: bool = False) -> World:
    """A release of 6 min ago has one ready pod, which writes nothing but this error; those of the version before write it only if `old_too`."""
    world = World().rolling(deployed=6, old=2, new=0)
    world.pod("new-0", made=5.8)
    world.metrics = Requests(340)
    for name in world.pods:
        bad = old_too or name == "new-0"
        rows = [(ago, f"ERROR {error}" if bad else "INFO served") for ago in range(340, 0, -2)]
        world.cluster.timed[name] = [(NOW - timedelta(seconds=ago), said) for ago, said in rows]
    return world


def full(world: World) -> World:
    world.unmade[2] = 1
    return world.refused("exceeded quota: team, requested: pods=1, used: pods=3, limited: pods=3", gone=0)


def unplaced(world: World) -> World:
    world.pod("new-1", made=5)
    return world.unscheduled("new-1", "0/3 nodes are available: 3 Insufficient memory.")


def attached(world: World) -> World:
    world.pod("new-1", made=5)
    world.state("new-1", {"waiting": {"reason": "ContainerCreating"}})
    said = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) old-1'
    return world.event("FailedAttachVolume", said, "Pod/new-1")


def unpulled(world: World) -> World:
    world.pod("new-1", made=5)
    said = "Back-off pulling image: toomanyrequests: You have reached your pull rate limit"
    return world.state("new-1", {"waiting": {"reason": "ImagePullBackOff", "message": said}})


def logging(world: World) -> World:
    """A helper of a pod, which the release did not touch, crashes."""
    world.both(lambda s: s["containers"].append({"name": "logger", "image": "fluent:1", "resources": {}}))
    world.cluster.timed = {f"{name}/app": rows for name, rows in world.cluster.timed.items()}
    world.said("logger", LOGGER).said("logger", LOGGER, previous=False)
    return world.crash("new-0", container="logger", restarts=4)


def paused(world: World) -> World:
    world.spec = {"paused": True}
    world.pod("old-2", revision=1, made=9_000)
    world.cluster.timed["old-2"] = world.cluster.timed["old-1"]
    return world


LOGGER = "[error] cannot open /var/log/x: no such file"
FULL, NODES, LIMIT = "ResourceQuota team is full", "of 3 nodes none takes pod new-1", "limits our pulls"
BESIDE: dict[str, tuple[Change, str]] = {
    "a full quota": (full, FULL), "no node with room": (unplaced, NODES), "a volume on another node": (attached, "still attached to another node"),
    "a registry's limit": (unpulled, LIMIT), "a helper that crashes": (logging, "container logger of new-0 crashes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
async def test_what_keeps_other_pods_from_coming_hides_no_release_whose_pods_alone_have_the_errors(
    name: str,
) -> None:
    around, told_as = BESIDE[name]
    _, steps = await around(half_way()).look(HighErrorRate())
    back, up = steps["roll-back"], steps["scale-up"]
    assert (back.applies, back.asks) == (True, ""), back
    assert told_as in back.why, "what stands beside is told"
    assert "come from the code" in up.why
    assert told_as not in f"{up.why} {up.advice}", "what would complete a bad release is no advice"
    assert all("error line" in trouble.what or "log line" in trouble.what for trouble in back.troubles), (
        "what stands beside is not what the step is for"
    )


@pytest.mark.parametrize(
    ("error", "old_too", "words"),
    [
        (NPE, False, "pods of an older revision run beside and do not have the most frequent one. The rollout of shop/Deployment/web is paused"),
        (NPE, True, "not the newest revision alone has the errors"),
        ("redis.exceptions.ConnectionError: connection to redis:6379 refused", True, "not the newest revision alone has the errors"),
    ],
)  # fmt: skip
async def test_a_pause_is_no_cause_of_errors_and_its_end_no_advice_against_them(
    error: str, *, old_too: bool, words: str
) -> None:
    """Going on with a release that fails would bring it to all pods."""
    _, steps = await paused(half_way(error=error, old_too=old_too)).look(HighErrorRate())
    assert not steps["roll-back"].applies
    assert words in steps["roll-back"].why
    for step in steps.values():
        assert "kubectl rollout resume" not in step.advice or "make its template right first" in step.advice


@pytest.mark.parametrize("around", [full, unplaced], ids=["a full quota", "no node with room"])
async def test_too_few_pods_bring_errors_about_too_much_load_and_no_release_did(around: Change) -> None:
    world = around(half_way(error="ServerBusy: queue is full, answered 503", old_too=True))
    for name in ("old-1",):
        del world.pods[name]
    _, steps = await world.look(HighErrorRate())
    assert not steps["roll-back"].applies
    assert not steps["scale-up"].applies
    assert "more replicas would not change that" in steps["scale-up"].why
