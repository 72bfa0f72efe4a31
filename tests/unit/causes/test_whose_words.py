"""Whose last words are heard: those of the containers that show the trouble, whatever the names of the pods. One that is well, that was restarted long ago
or that only starts hides nothing, and what it said is not told as theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from app.domain.json import Obj
from remediations.causes import CauseCode as C
from remediations.causes.model import Snapshot
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_more_pods import down
from tests.unit.causes.world import World, at

OWN = "TypeError: connect() got an unexpected keyword argument 'pool_size'"
REDIS = "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused."
FOREIGN = "speaks of something else"


def two(crashing: str, said: str, other: str, others: str) -> World:
    """Of two pods of the release the one crashes, and the other has been running without being ready."""
    world = World().rolling(6, old=2, new=2)
    world.state(other, {"running": {"startedAt": at(minutes=5.9)}}, since=6)
    world.cluster.log |= {(crashing, True): said, (other, False): others, (other, True): ""}
    return world.crash(crashing, restarts=4)


def beside(name: str, said: str, theirs: str, **last: Any) -> World:
    """The release's pod crashes beside one of the older revision that is ready and was restarted once, three days ago unless it is told otherwise."""
    world = World().rolling(6, old=1, new=1)
    world.fired = 3
    status = world.pod(name, revision=1, made=9000)["status"]["containerStatuses"][0]
    ended: Obj = {"reason": "Error", "exitCode": 1, "finishedAt": at(days=3), "startedAt": at(days=5), **last}
    status.update(
        restartCount=1, state={"running": {"startedAt": at(days=3)}}, lastState={"terminated": ended}
    )
    world.pods = dict(sorted(world.pods.items()))
    world.cluster.log |= {("new-0", True): said, (name, True): theirs}
    return world.crash("new-0", restarts=4)


def with_helper(first: bool, restarts: int = 1, said: str = OWN) -> World:
    """The release's pod crashes, and a helper in it that was restarted as it began has been ready since."""
    world = World().both(
        lambda s: s["containers"].append({"name": "proxy", "image": "registry.test/proxy:1"})
    )
    world.rolling(6, old=2, new=1)
    world.state("new-0", {"running": {"startedAt": at(minutes=5.4)}}, container="proxy", restarts=restarts,
        last={"reason": "Error", "exitCode": 1, "finishedAt": at(minutes=5.5), "startedAt": at(minutes=5.9)})  # fmt: skip
    statuses = world.crash("new-0", restarts=4).pods["new-0"]["status"]["containerStatuses"]
    next(c for c in statuses if c["name"] == "proxy")["ready"] = True
    statuses.sort(key=lambda c: (c["name"] == "proxy") is not first)
    return world.said("app", said).said("proxy", "INFO proxy stopped")


def both_crash(name: str, theirs: str, said: str = OWN) -> World:
    """A pod of the older revision has been crashing for two days, and that of the release since it began."""
    world = World().rolling(6, old=1, new=1)
    world.pod(name, revision=1, made=9000)
    world.pods = dict(sorted(world.pods.items()))
    world.cluster.log |= {("new-0", True): said, (name, True): theirs}
    return world.crash("new-0", restarts=4).crash(name, restarts=90, first=2 * 24 * 60)


def recovered(name: str, crashing: str) -> World:
    """Of two pods of the release the one crashed with redis and has been ready for 4 min, and the other crashes by its own fault."""
    world = two(crashing, OWN, name, "INFO served")
    status = world.pods[name]["status"]
    ended = {"reason": "Error", "exitCode": 1, "finishedAt": at(minutes=5.6), "startedAt": at(minutes=5.8)}
    status["containerStatuses"][0].update(ready=True, restartCount=3, lastState={"terminated": ended})
    status["conditions"][0].update(status="True", lastTransitionTime=at(minutes=5))
    world.cluster.log[name, True] = REDIS
    return world


def served_for_days() -> World:
    """One of three pods was restarted five days ago, and stopped being ready a while ago: its old end is not why."""
    world = World()
    world.deployed = 9000
    for name in list(world.pods):
        world.pod(name, made=9000)
    ended = {"reason": "Error", "exitCode": 1, "finishedAt": at(days=5), "startedAt": at(days=6)}
    world.state("new-0", {"running": {"startedAt": at(days=5)}}, last=ended, restarts=1, since=7)
    world.cluster.log |= {("new-0", True): OWN, ("new-0", False): "INFO waiting for the leader"}
    return world


def _pairs(here: str, there: str) -> list[Row]:
    pod, case = f"Pod {here}", f"{there} beside {here} that"
    return [
        Row(f"{case} misses redis", partial(two, here, REDIS, there, "INFO loading"), C.CRASH, pod, "roll-back", ("redis:6379",), FOREIGN),
        Row(f"{case} misses redis, with an error", partial(two, here, REDIS, there, f"ERROR {OWN}"), C.CRASH, pod, "roll-back", ("redis:6379",), FOREIGN),
        Row(f"{case} fails by itself", partial(two, here, OWN, there, "INFO loading"), C.CRASH, pod, "roll-back", ("TypeError",)),
        Row(f"{case} fails by itself, ready again", partial(recovered, there, here), C.CRASH, pod, "roll-back", ("TypeError",)),
    ]  # fmt: skip


def _olders(name: str) -> list[Row]:
    new, apart = "Pod new-0", f"pod {name} of an older revision is broken as well, of something else"
    return [
        Row(f"{name} ended three days ago, redis is down", lambda: down(beside(name, REDIS, "INFO shutting down"), "redis", 6379), C.DEPENDENCY, "Service redis", "", ("redis has no ready pod",)),
        Row(f"{name} ended with its node, redis is missed", partial(beside, name, REDIS, "", reason="Unknown", exitCode=255), C.CRASH, new, "roll-back", ("redis:6379",), FOREIGN),
        Row(f"{name} missed redis three days ago, the release fails", partial(beside, name, OWN, REDIS), C.CRASH, new, "roll-back", ("TypeError",)),
        Row(f"{name} of before crashes with redis, the release by itself", partial(both_crash, name, REDIS), C.CRASH, new, "roll-back", ("TypeError",), apart),
        Row(f"{name} of before crashes alike", partial(both_crash, name, OWN), C.CRASH, new, "", (f"pod {name} of an older one shows the same",)),
    ]  # fmt: skip


def _helpers(*, first: bool) -> list[Row]:
    words = ("Container app of new-0 crashes", "TypeError")
    return [
        Row(f"a helper that is ready again, first {first}", partial(with_helper, first), C.CRASH, "Pod new-0", "roll-back", words),
        Row(f"a helper that was restarted often, first {first}", partial(with_helper, first, 4), C.CRASH, "Pod new-0", "roll-back", words),
    ]  # fmt: skip


ROWS = [
    *_pairs("new-0", "new-1"),
    *_pairs("new-1", "new-0"),
    *_olders("aaa-0"),
    *_olders("zzz-0"),
    *_helpers(first=True),
    *_helpers(first=False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_words_of_those_that_fail_are_heard_whatever_the_pods_are_called(row: Row) -> None:
    await holds(row)


async def test_an_end_of_days_ago_is_neither_the_cause_nor_its_last_words() -> None:
    diagnosis, _ = await served_for_days().look()
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] == C.NOT_READY.value
    assert "waiting for the leader" in cause.text
    assert "TypeError" not in cause.text


def many(*said: str) -> World:
    """So many pods of the release crash, each with its words."""
    world = World().rolling(6, old=1, new=len(said))
    world.replicas = len(said)
    for number, words in enumerate(said):
        world.cluster.log[f"new-{number}", True] = words
    return world.crash(*(f"new-{number}" for number in range(len(said))), restarts=4)


async def test_several_are_heard_of_each_kind_and_no_more() -> None:
    """One of three that says something else makes it a question, and of many that are alike some stand for all."""
    _, steps = await many(OWN, REDIS, OWN).look()
    assert FOREIGN in steps["roll-back"].asks
    found = await many(*[OWN] * 9).investigate()
    assert len(found.seen.words) == 3
    assert "TypeError" in found.causes[0].text
    assert len(found.causes[0].pods) == 9


@pytest.mark.parametrize("wrong", ["exec format error", "bash: cannot execute binary file"])
async def test_what_some_say_classifies_all_that_are_alike(wrong: str) -> None:
    found = await many(*[f"exec /app: {wrong}"] * 9).investigate()
    first = found.causes[0]
    assert (first.code, len(first.pods), wrong in first.text) == (C.ARCHITECTURE, 9, True)


async def test_a_kind_that_was_not_heard_is_a_question() -> None:
    """More kinds of containers fail than are heard: of the others nobody knows what they said."""
    world = World().both(lambda s: s["containers"].extend({"name": f"c{n}", "image": "x"} for n in range(14)))
    world.rolling(6, old=1, new=1)
    for number in range(14):
        world.crash("new-0", container=f"c{number}", restarts=4)
        world.said(f"c{number}", OWN)
    seen: Snapshot = (await world.investigate()).seen
    assert len(seen.words) == 12
    assert sum(why == "only 12 logs are read" for why in seen.unread.values()) == 2


def zone(*lost: int, of: int = 6) -> World:
    """Each pod is on a node of its own, and these nodes do not answer."""
    world = World(of)
    for number in range(of):
        node = f"node-{number}"
        told = "Unknown" if number in lost else "True"
        world.put("Node", node, namespace="", spec={}, status={"conditions": [{"type": "Ready", "status": told, "message": "Kubelet stopped posting node status."}]})  # fmt: skip
        world.pods[f"new-{number}"]["spec"]["nodeName"] = node
        if number in lost:
            world.state(f"new-{number}", {"running": {"startedAt": at(minutes=29)}}, since=6)
    return world


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (lambda: zone(5), ()),
        (lambda: zone(2, 3, 4, 5), ("3 other nodes alike: node-3, node-4, node-5; 4 pods on them",)),
        (lambda: zone(*range(10), of=10), ("9 other nodes alike", "and 4 more; 10 pods on them")),
    ],
)
async def test_nodes_that_are_lost_together_are_told_together(
    world: Callable[[], World], words: tuple[str, ...]
) -> None:
    diagnosis, _ = await world().look()
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] == C.NODE.value
    assert "nothing says why" not in "".join(cause.details)
    assert [w for w in words if w not in cause.text] == [], cause.text
    assert ("alike" in cause.text) is bool(words)
