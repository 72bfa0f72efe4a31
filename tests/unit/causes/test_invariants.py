"""Whatever is the matter: no rollback where the cause does not come from the revision, and no write without a sure cause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes.investigate import Investigation
from remediations.causes.model import CauseCode, Sureness
from remediations.causes.suspects import suspects
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import NOW
from tests.unit.causes.world import World, at

Fault = Callable[[World, str], object]


def _waiting(reason: str, said: str) -> Fault:
    return lambda w, name: w.state(name, {"waiting": {"reason": reason, "message": said}}, since=1)


def _crash(**crash: Any) -> Fault:
    return lambda w, name: w.crash(name, **crash)


def _probe(said: str) -> Fault:
    def fail(world: World, name: str) -> None:
        world.state(name, {"running": {"startedAt": at(minutes=20)}}, since=2)
        world.event("Unhealthy", said, f"Pod/{name}", first=at(minutes=2), container="app")

    return fail


FAULTS: dict[str, Fault] = {
    "denied": _waiting("ErrImagePull", "unauthorized: authentication required"),
    "no such tag": _waiting("ImagePullBackOff", "manifest unknown: not found"),
    "limited": _waiting("ErrImagePull", "toomanyrequests: rate limit"),
    "config": _waiting("CreateContainerConfigError", 'configmap "web-config" not found'),
    "root": _waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
    "crash": _crash(first=1, restarts=3),
    "crash at once": _crash(),
    "one crash": _crash(restarts=1, ran=20, first=1),
    "memory": _crash(code=137, reason="OOMKilled", restarts=2, first=3),
    "readiness": _probe("Readiness probe failed: connection refused"),
    "liveness": _probe("Liveness probe failed: timeout"),
    "no room": lambda w, name: w.unscheduled(name, "0/3 nodes are available: 3 Insufficient cpu."),
    "cordoned": lambda w, name: w.unscheduled(name, "0/3 nodes are available: 3 node(s) were unschedulable."),
    "dark": lambda w, name: w.state(name, {"waiting": {"reason": "ContainerCreating"}}, since=4),
}
CHANGES: dict[str, Callable[[Obj], Any]] = {
    "image": lambda s: s["containers"][0].update(image="registry.test/web:v3"),
    "env": lambda s: s["containers"][0].update(env=[{"name": "A", "value": "1"}]),
    "config": lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]),
    "resources": lambda s: s["containers"][0].update(resources={"requests": {"cpu": "9"}}),
    "selector": lambda s: s.update(nodeSelector={"disk": "fast"}),
    "account": lambda s: s.update(serviceAccountName="runner"),
    "pull secret": lambda s: s.update(imagePullSecrets=[{"name": "regcred"}]),
}
QUOTA = "exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any rollout, any faults on any pods, anything changed at any time, anything unreadable."""
    world = World()
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    if draw(st.booleans()):
        world.rolling(
            draw(st.sampled_from([3.0, 8.0, 45.0])), old=draw(st.integers(0, 3)), new=draw(st.integers(0, 3))
        )
    for name in draw(st.sets(st.sampled_from(sorted(CHANGES)), max_size=2)):
        (world.both if draw(st.booleans()) else world.only_new)(CHANGES[name])
    for name in sorted(world.pods):
        fault = draw(st.sampled_from([None, *sorted(FAULTS)]))
        if fault is not None:
            FAULTS[fault](world, name)
    if draw(st.booleans()):
        world.config(changed=draw(st.sampled_from([0.2, 4.0, 40.0, 9000.0])))
    if draw(st.booleans()):
        world.config("regcred", kind="Secret", changed=draw(st.sampled_from([0.2, 9000.0])))
    if draw(st.booleans()):
        world.refused(QUOTA, revision=draw(st.sampled_from([1, 2])), gone=draw(st.integers(0, 2)))
    if draw(st.booleans()):
        world.put("Service", "web", changed=1, spec={"selector": {"app": "other"}, "ports": [{"port": 80}]})
    world.replicas = draw(st.sampled_from([0, 3, 3, 3]))
    world.fired = draw(st.sampled_from([1.0, 5.0, 60.0]))
    world.cluster.unreadable = draw(
        st.sets(st.sampled_from([Kind.CONFIG_MAP, Kind.SECRET, Kind.EVENT, Kind.POD]), max_size=1)
    )
    return world


OLD = 25.0
"""Minutes since a release that was rolled out well; whatever these situations show began long after it."""


@st.composite
def old_releases(draw: st.DrawFn) -> World:
    """An innocent release, a fault or errors of the last minutes, and evidence that is missing at random: events that nobody kept or
    may read, logs that are rotated away, readiness that came and went."""
    world = World()
    world.deployed = OLD
    for name in list(world.pods):
        world.pod(name, made=OLD)
    faults = sorted(set(FAULTS) - {"crash at once"})  # which began with its pod
    for name in draw(st.sets(st.sampled_from(sorted(world.pods)), max_size=3)):
        FAULTS[draw(st.sampled_from(faults))](world, name)
        if draw(st.booleans()):
            world.pods[name]["status"]["conditions"][0]["lastTransitionTime"] = at(minutes=0.3)
    for key in [k for k in world.cluster.objects if k[0] == "Event"]:
        if draw(st.booleans()):
            del world.cluster.objects[key]
    since, every = draw(st.integers(30, 600)), draw(st.sampled_from([1, 5, 60]))
    reach = draw(st.sampled_from([since, since + 120, int(60 * OLD)]))
    rate = draw(st.sampled_from([1, 10, 30]))
    rows = dict.fromkeys(range(reach, 0, -every), "INFO served")
    error = draw(st.sampled_from(ERRORS))
    rows |= dict.fromkeys(range(since, 0, -rate), f"ERROR {error}")
    written = [(NOW - timedelta(seconds=ago), rows[ago]) for ago in sorted(rows, reverse=True)]
    for name in world.pods:
        world.cluster.timed[name] = written
    world.cluster.unreadable_logs = draw(st.sampled_from([False, False, False, True]))
    world.cluster.unreadable = draw(
        st.sets(st.sampled_from([Kind.EVENT, Kind.SERVICE, Kind.NODE]), max_size=2)
    )
    world.fired = draw(st.sampled_from([1.0, 5.0]))
    return world


ERRORS = (
    "KeyError: 'tenant'",
    "OSError: [Errno 28] No space left on device",
    "payment answered 503 Service Unavailable",
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=old_releases())
async def test_no_rollback_by_itself_where_the_trouble_is_not_known_to_be_as_old_as_the_release(
    world: World,
) -> None:
    for handler in (PodRestarting(), HighErrorRate()):
        _, steps = await world.look(handler)
        step = steps["roll-back"]
        assert not step.applies or step.asks, (handler.name, step.why)


def _suspects(found: Investigation) -> Any:
    """What of the release can have brought the first cause."""
    older = [r for r in found.seen.revisions if not r.current]
    current = found.seen.current
    return suspects(found.causes[0], older[0].template, current.template).all if older and current else ()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
async def test_no_rollback_is_planned_where_the_cause_does_not_come_from_the_revision(world: World) -> None:
    found = await world.investigate()
    _, steps = await world.look()
    planned = [name for name, step in steps.items() if step.applies]

    assert len(planned) <= 1
    if not planned:
        return
    assert found.causes
    assert found.rest == ""
    first, seen = found.causes[0], found.seen
    assert first.sureness is not Sureness.POSSIBLE or steps[planned[0]].asks
    if planned == ["restart"]:
        return
    shown = [p for p in seen.pods if p.name in first.pods]
    assert all(seen.newest(p) for p in shown)
    assert _suspects(found), (first.text, first.fields)
    assert seen.workload.desired > 0
    deployed = next(r.created_at for r in seen.revisions if r.current)
    used = {(ref.kind, ref.name) for c in seen.workload.containers for ref in c.config}
    after = [
        k for k in seen.kept.values() if (k.kind, k.name) in used and k.changed_at and k.changed_at > deployed
    ]
    fits = first.code in (CauseCode.CRASH, CauseCode.READINESS_PROBE, CauseCode.LIVENESS_PROBE)
    guilty = [k for k in after if fits and (first.since is None or (k.changed_at or deployed) <= first.since)]
    assert guilty == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
async def test_an_investigation_tells_everything_and_raises_nothing(world: World) -> None:
    found = await world.investigate()

    assert bool(found.causes) is (found.blame is not None)
    assert [c for c in found.causes if not c.text or not c.object] == []
    unready = [p for p in found.seen.alive if not p.ready]
    if unready and "pods" not in found.seen.unread:
        assert found.causes or found.rest, [p.name for p in unready]
