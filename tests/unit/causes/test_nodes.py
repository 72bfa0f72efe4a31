"""Pods that fail on one node alone, while pods of the same version run well on others: the node is named, and no release is taken back for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode, FirstCause
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.test_errors import told
from tests.unit.causes.world import World, at

LOOKUP = "socket.gaierror: [Errno -3] Temporary failure in name resolution"
OWN = "TypeError: connect() got an unexpected keyword argument 'pool_size'"
NO_NETWORK: Obj = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"}
NAMED = "node node-2 of pod new-0 has no network (NetworkUnavailable: NoRouteCreated)"


def node(world: World, *conditions: Obj, since: float = 9) -> World:
    """A node that answers and says this of itself, since so many minutes."""
    told_of = [{**c, "lastTransitionTime": at(minutes=since)} for c in conditions]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": at(days=3)}
    return world.put("Node", "node-2", namespace="", spec={}, status={"conditions": [ready, *told_of]})


def crashing(
    *names: str, there: tuple[str, ...] = ("new-0", "new-1"), said: str = LOOKUP, deployed: float = 600
) -> World:
    """Of four pods of one version those named crash since 8 min ago, and these are on another node than the rest."""
    world = World(4)
    world.deployed = deployed
    for name in list(world.pods):
        world.pod(name, made=deployed)["spec"]["nodeName"] = "node-2" if name in there else "node-1"
    return world.crash(*(names or there), restarts=4, first=min(8, deployed - 1)).said("app", said)


CRASHES: dict[str, tuple[Callable[[], World], CauseCode, str]] = {
    "no network": (lambda: node(crashing(), NO_NETWORK), CauseCode.NODE, NAMED),
    "one pod alone there": (lambda: node(crashing(there=("new-0",)), NO_NETWORK), CauseCode.NODE, NAMED),
    "no disk": (lambda: node(crashing(), {"type": "DiskPressure", "status": "True"}), CauseCode.NODE, "is short of disk (DiskPressure)"),
    "a release of 12 min ago": (lambda: node(crashing(deployed=12), NO_NETWORK), CauseCode.NODE, NAMED),
    "nothing that it says": (lambda: node(crashing()), CauseCode.CRASH, "all of them are on node node-2, and pods of the same version on other nodes run well"),
    "nodes may not be read": (lambda: unread(crashing()), CauseCode.CRASH, "all of them are on node node-2"),
    "since long before": (lambda: node(crashing(), NO_NETWORK, since=300), CauseCode.CRASH, "all of them are on node node-2"),
    "another does well there": (lambda: node(crashing("new-0"), NO_NETWORK), CauseCode.CRASH, ""),
    "one crashes elsewhere": (lambda: node(crashing("new-0", "new-1", "new-2"), NO_NETWORK), CauseCode.CRASH, ""),
    "a fault of the program": (lambda: node(crashing(said=OWN), NO_NETWORK), CauseCode.CRASH, "all of them are on node node-2"),
    "one pod, and nothing it says": (lambda: node(crashing(there=("new-0",))), CauseCode.CRASH, ""),
}  # fmt: skip


def unread(world: World) -> World:
    world.cluster.unreadable.add(Kind.NODE)
    return world


@pytest.mark.parametrize("name", CRASHES)
async def test_the_node_that_failing_pods_share_is_named(name: str) -> None:
    happens, code, words = CRASHES[name]
    diagnosis, steps = await happens().look(PodRestarting())
    cause = FirstCause(diagnosis)
    assert (cause.code, words.lower() in cause.text.lower()) == (code, True), cause.text
    assert ("node node-2" in cause.text.lower()) is bool(words), "what they do not share is not named"
    assert not words or "node node-2" in steps["fix-by-hand"].advice
    assert code is not CauseCode.NODE or not steps["roll-back"].applies


def failing(*names: str, error: str = LOOKUP, deployed: float = 600) -> World:
    """Of three pods these write this error and are on another node than the rest."""
    world = told(error, 290, 360, deployed=deployed)
    for name in world.pods:
        if name in names:
            world.pods[name]["spec"]["nodeName"] = "node-2"
        else:
            rows = range(360, 0, -5)
            world.cluster.timed[name] = [(NOW - timedelta(seconds=ago), "INFO served") for ago in rows]
    return world


ILL = "that node has no network (NetworkUnavailable: NoRouteCreated)"
ALONE = "only pod new-0 (on node node-2) has the most frequent error, and 2 other pods do not"
BOTH = "only pods new-0 (on node node-2), new-1 (on node node-3) have the most frequent error, and 1 other pod does not"


def zoned(*names: str, also: str = "") -> World:
    """Each pod is on a node of its own; those with the errors, and this one, are in zone b."""
    world = failing(*names)
    for number, name in enumerate(sorted(world.pods), start=2):
        world.pods[name]["spec"]["nodeName"] = f"node-{number}"
        world.put("Node", f"node-{number}", namespace="", spec={}, status={"conditions": []})
        meta = world.cluster.of(Kind.NODE, f"node-{number}", "")["metadata"]
        meta["labels"] = {"topology.kubernetes.io/zone": "b" if name in (*names, also) else "a"}
    return world


def once(world: World) -> World:
    world.cluster.timed["new-0"] = world.cluster.timed["new-0"][-3:]
    return world


ERRORS: dict[str, tuple[Callable[[], World], str]] = {
    "one pod, no network": (lambda: node(failing("new-0"), NO_NETWORK), f"only 1 pod on node node-2 has the most frequent error, and 2 pods of the same version on other nodes do not: {ILL}"),
    "a release of 6 min ago": (lambda: node(failing("new-0", deployed=6), NO_NETWORK), ILL),
    "two pods, nothing it says": (lambda: node(failing("new-0", "new-1")), "only 2 pods on node node-2 have the most frequent error, and 1 pod of the same version on other nodes does not"),
    "one pod, nothing it says": (lambda: node(failing("new-0")), ALONE),
    "all pods": (lambda: node(failing("new-0", "new-1", "new-2"), NO_NETWORK), ""),
    "a fault of the program": (lambda: node(failing("new-0", error=OWN), NO_NETWORK), ALONE),
    "since long before": (lambda: node(failing("new-0"), NO_NETWORK, since=300), ALONE),
    "a zone": (lambda: zoned("new-0", "new-1"), "only pods new-0, new-1 have the most frequent error, all in zone b, and 1 other pod in other zones does not"),
    "a zone, and another pod is in it as well": (lambda: zoned("new-0", "new-1", also="new-2"), BOTH),
    "several nodes of zones that nobody may read": (lambda: unread(zoned("new-0", "new-1")), BOTH),
    "one pod by chance": (lambda: once(failing("new-0")), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_the_node_whose_pods_alone_have_the_errors_is_named(name: str) -> None:
    happens, words = ERRORS[name]
    for handler in (HighErrorRate(), HighLatency()):
        diagnosis, steps = await happens().look(handler)
        assert words in diagnosis.summary, diagnosis.summary
        assert ("node-2" in diagnosis.summary or "zone b" in diagnosis.summary) is bool(words)
        for step in steps.values() if words else ():
            if name == "a fault of the program":
                continue  # which pods they are is no word against a step
            assert not step.applies
            recent = step.name != "roll-back" or "6 min" in name
            assert not recent or "node node-2" in step.advice or "zone b" in step.advice, step


# During a rollout new pods and new nodes are often the same ones: what the template changed and where its pods are explain the same.


def released(
    *, said: str = LOOKUP, news: int = 2, nodes: tuple[str, ...] = ("node-2",), writes: bool = True
) -> World:
    """Two pods of v1 on node-1 do well, and those of v2, deployed 6 min ago, are on these nodes: they write such errors from their start, or crash."""
    world = World().rolling(deployed=6, old=2, new=0)
    world.fired = 4
    for n in range(news):
        world.pod(f"new-{n}", revision=2, made=5.8)["spec"]["nodeName"] = nodes[n % len(nodes)]
    if not writes:
        return world.crash(*(f"new-{n}" for n in range(news)), restarts=4).said("app", said)
    for name in world.pods:
        word = f"ERROR {said}" if name.startswith("new") else "INFO served"
        world.cluster.timed[name] = [(NOW - timedelta(seconds=ago), word) for ago in range(340, 0, -2)]
    world.metrics = Requests(340)
    return world


def made(world: World, minutes: float, *names: str) -> World:
    """These nodes joined so many minutes ago, and say nothing of themselves."""
    for name in names or ("node-2",):
        world.put("Node", name, namespace="", spec={}, status={"conditions": []})
        world.cluster.objects[Kind.NODE, "", name]["metadata"]["creationTimestamp"] = at(minutes=minutes)
    return world


def set_host(world: World) -> World:
    return world.only_new(lambda spec: spec["containers"][0].update(env=[{"name": "DB", "value": "db.new.test"}]))  # fmt: skip


AWAY = "Error: getaddrinfo ENOTFOUND db.new.test"
DENIED = "psycopg2.OperationalError: connection to server at 10.0.0.9, port 5432 failed: Connection refused"
DISK: Obj = {"type": "DiskPressure", "status": "True"}
ACTS, ASKS, REFUSES = "acts", "asks", "refuses"
ROLLOUTS: dict[str, tuple[Callable[..., World], str, str]] = {
    "two share a node": (lambda **k: node(released(**k)), ASKS, "node node-2"),
    "a node made 8 min ago": (lambda **k: made(released(said="ConnectTimeout: api.test timed out", news=1, **k), 8), ASKS, "node node-2 (made 8 min ago)"),
    "one pod, and no answer from DNS": (lambda **k: released(news=1, **k), ASKS, "node node-2"),
    "two nodes made 8 min ago": (lambda **k: made(released(nodes=("node-2", "node-3"), **k), 8, "node-2", "node-3"), ASKS, "nodes node-2 (made 8 min ago) and node-3 (made 8 min ago)"),
    "two nodes of long ago": (lambda **k: made(released(nodes=("node-2", "node-3"), **k), 9_000, "node-2", "node-3"), ACTS, ""),
    "no network before": (lambda **k: node(released(**k), NO_NETWORK), REFUSES, "node node-2"),
    "no network since it failed": (lambda **k: node(released(**k), NO_NETWORK, since=5), ASKS, "since 5 min"),
    "no network since long before": (lambda **k: node(released(**k), NO_NETWORK, since=57_600), ASKS, "since 40 d"),
    "DNS that answers": (lambda **k: node(released(said=AWAY, **k), NO_NETWORK), ASKS, "node node-2"),
    "a condition that does not fit": (lambda **k: node(released(**k), DISK), ASKS, "node node-2"),
    "no room on its disk": (lambda **k: node(released(said="OSError: [Errno 28] No space left on device", **k), DISK), REFUSES, "node node-2"),
    "a clock that is behind": (lambda **k: released(said="x509: certificate is not yet valid: current time 2021-01-01T00:00:00Z is before 2025-01-01T00:00:00Z", **k), ASKS, "node node-2"),
    "the same node as the others": (lambda **k: released(nodes=("node-1",), **k), ACTS, ""),
    "a fault of the program": (lambda **k: node(released(said=OWN, **k), NO_NETWORK), ACTS, ""),
    "somebody who answered": (lambda **k: made(released(said=DENIED, **k), 8), ACTS, ""),
    "a host that the release set": (lambda **k: set_host(made(released(said=AWAY, **k), 8)), ACTS, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ROLLOUTS)
async def test_a_node_that_only_pods_of_the_release_are_on_explains_their_errors_as_well(name: str) -> None:
    happens, does, words = ROLLOUTS[name]
    diagnosis, steps = await happens().look(HighErrorRate())
    step = steps["roll-back"]
    assert (REFUSES if not step.applies else ASKS if step.asks else ACTS) == does, (step.why, step.asks)
    assert words in diagnosis.summary
    assert ("node-2" in f"{diagnosis.summary} {step.asks}") is bool(words)
    assert does != ASKS or f"{words} " in step.asks or f"{words})" in step.asks


@pytest.mark.parametrize("name", ROLLOUTS)
async def test_so_it_does_for_pods_of_the_release_that_crash(name: str) -> None:
    happens, does, words = ROLLOUTS[name]
    diagnosis, steps = await happens(writes=False).look(PodRestarting())
    step = steps["roll-back"]
    assert step.applies is (does != REFUSES), step.why
    assert words in diagnosis.summary.lower()
    assert ("explain" in step.asks) is (does == ASKS), step.asks
