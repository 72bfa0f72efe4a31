"""Memory that grows for as long as the pods of the last release run, told by all who look at it; and what was done about the kills before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.cluster import FIELD_MANAGER, PodUsage
from app.domain.json import Obj
from app.domain.ports import Sample
from remediations.high_latency import HighLatency
from remediations.out_of_memory import OutOfMemory
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_memory import sized
from tests.unit.causes.world import V1, V2, World, at

MIB = 1024**2
SINCE = "grown since the pods of revision 2 (v1 -> v2), deployed 40 min ago, began, and the version before it was there for longer"


class Growing:
    """A Prometheus in which each of these pods has grown to 490 MiB in so many minutes, with as many requests all along."""

    def __init__(self, pods: Sequence[str], minutes: float) -> None:
        self.pods, self.minutes = pods, minutes

    async def instant(self, query: str) -> list[tuple[dict[str, str], float]]:
        del query
        return []

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> list[tuple[dict[str, str], list[Sample]]]:
        number = int((end - start).total_seconds() // step) + 1
        moments = [start + timedelta(seconds=n * step) for n in range(number)]
        since = NOW - timedelta(minutes=self.minutes)
        grown = {m: (m - since) / timedelta(minutes=self.minutes) for m in moments if m >= since}
        of = "memory" in query
        return [
            (
                {"pod": pod},
                [Sample(m, (100 + 390 * part) * MIB if of else 20.0) for m, part in grown.items()],
            )
            for pod in self.pods
        ]


class Full(World):
    """Its pods have used so much of 512 MiB."""

    def fills(self, deployed: float, minutes: float) -> World:
        self.both(sized("512Mi"))
        self.deployed, self.fired = deployed, 3
        for name in list(self.pods):
            self.pod(name, made=deployed)
        self.metrics = Growing(list(self.pods), minutes)

        async def usage(namespace: str, selector: str) -> list[PodUsage]:
            del namespace, selector
            return [PodUsage(name, NOW, {"app": 490 * MIB}, {"app": 200}) for name in self.pods]

        self.cluster.pod_usage = usage  # type: ignore[method-assign]
        return self


ROWS = [
    ("since a release of 40 min ago began", 40, 40, True),
    ("in a release of a day ago", 1500, 60, False),
    ("for 40 min in a release of five hours ago", 300, 40, False),
]


@pytest.mark.parametrize(("deployed", "minutes", "new"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
async def test_a_leak_that_a_release_brought_names_it_and_only_an_old_one_is_restarted_unasked(
    deployed: float, minutes: float, new: bool
) -> None:
    _, steps = await Full().fills(deployed, minutes).look(HighLatency())
    restart = steps["restart"]
    assert restart.applies
    assert (SINCE in restart.asks) is new
    assert bool(restart.asks) is new
    assert ("roll the last release back" in restart.open_task) is new

    world = Full().fills(deployed, minutes)
    world.crash("new-0", code=137, reason="OOMKilled", restarts=1, first=3, ran=deployed - 4)
    _, steps = await world.look(OutOfMemory())
    assert (SINCE in steps["raise-memory"].why) is new
    assert ("Roll the last release of shop/Deployment/web back" in steps["raise-memory"].advice) is new
    assert ("revision 2" in steps["scale-out"].asks) is new


async def test_memory_that_an_older_pod_was_killed_for_as_well_grows_since_no_release() -> None:
    world = Full().fills(40, 40)
    end = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at(minutes=90), "startedAt": at(minutes=300)}
    world.pod("old-0", revision=1, made=3000)["status"]["containerStatuses"][0]["lastState"] = {
        "terminated": end
    }
    _, steps = await world.look(HighLatency())
    assert "grown since the pods of revision 2" not in steps["restart"].asks


def released(
    change: Callable[[World], Any], *, deployed: float = 12, fired: float = 25, first: float = 4
) -> World:
    """A release of kubectl-edit, whose pods are killed for memory since `first` minutes ago."""
    world = World()
    world.template["spec"]["containers"][0]["image"] = V1
    world.both(sized("512Mi"))
    world.deployed, world.fired, world.by = deployed, fired, "kubectl-edit"
    for name in list(world.pods):
        world.pod(name, made=deployed)
    change(world)
    return world.crash(code=137, reason="OOMKilled", restarts=2, ran=3, ended=0.5, first=first)


def ours(change: Callable[[World], Any], deployed: float = 12) -> World:
    """The same, written by this service."""
    world = released(change, deployed=deployed)
    world.by = FIELD_MANAGER
    return world


def raised(world: World) -> None:
    world.only_new(sized("1Gi"))


def another(world: World) -> None:
    world.template["spec"]["containers"][0]["image"] = V2


def both(world: World) -> None:
    raised(world)
    another(world)


BACK = "a rollback of that release may fit better"
RAISED = "the memory limit of app was raised from 512 MiB to 1 GiB 12 min ago by kubectl-edit"
OF_OURS = "by this service itself, after the alert fired, and that is not enough either"
RELEASES: list[tuple[str, Callable[[], World], str, bool]] = [
    ("raised by this service", lambda: ours(raised), f"the memory limit of app was raised from 512 MiB to 1 GiB 12 min ago {OF_OURS}", False),
    ("raised by this service hours before", lambda: ours(raised, 300), "raised from 512 MiB to 1 GiB 5 h ago by this service itself, and that is not enough either", False),
    ("raised by this service days before", lambda: ours(raised, 3000), "", False),
    ("another write of this service", lambda: ours(another), "", False),
    ("raised after the alert", lambda: released(raised), f"{RAISED}, after the alert fired, and that is not enough either", False),
    ("raised a while before the alert", lambda: released(raised, fired=3), f"{RAISED}, and that is not enough either", False),
    ("raised with another image after the alert", lambda: released(both), f"{RAISED}, after the alert fired, and that is not enough either", False),
    ("raised with another image before the alert", lambda: released(both, fired=3), "only pods of revision 2 show it, which changed containers[app].image", True),
    ("another image after the alert", lambda: released(another), "deployed 12 min ago by kubectl-edit, after the alert fired, so it did not bring the kills", False),
    ("raised hours before", lambda: released(raised, deployed=300, fired=3), "", False),
]  # fmt: skip


@pytest.mark.parametrize(("happens", "told", "back"), [r[1:] for r in RELEASES], ids=[r[0] for r in RELEASES])
async def test_who_gave_more_memory_that_was_not_enough_is_told_so_and_not_to_take_it_back(
    happens: Callable[[], World], told: str, back: bool
) -> None:
    _, steps = await happens().look(OutOfMemory())
    for step in steps.values():
        assert told in step.asks
        assert (BACK in step.asks) is back
    assert bool(steps["raise-memory"].asks) is bool(told)
    assert ("roll it back" in steps["raise-memory"].open_task) is back


def scaled(ago: float, *made: float) -> World:
    """Somebody set the replicas, after days without a kill; these pods were made so many minutes ago."""
    world = World(2).both(sized("512Mi"))
    world.deployed, world.fired = 6000, 5
    for name, age in zip(list(world.pods), (*made, 6000, 6000), strict=False):
        world.pod(name, made=age)
    fields: Obj = {"f:spec": {"f:replicas": {}}}
    world.fields.append({"manager": "kubectl", "subresource": "scale", "operation": "Update", "time": at(minutes=ago), "fieldsV1": fields})  # fmt: skip
    return world.crash("new-1", code=137, reason="OOMKilled", restarts=2, ran=5, first=min(8, ago))


@pytest.mark.parametrize(
    ("happens", "named"),
    [(lambda: scaled(12), True), (lambda: scaled(12, 11.5), False), (lambda: scaled(300), False)],
    ids=["to fewer", "to more", "hours before"],
)
async def test_who_scaled_down_right_before_the_kills_is_named(
    happens: Callable[[], World], named: bool
) -> None:
    _, steps = await happens().look(OutOfMemory())
    told = "12 min ago: replicas of web set to 2 by kubectl may have brought it: fewer pods share the load"
    assert all((told in step.asks) is named for step in steps.values())
    assert steps["raise-memory"].applies
    assert bool(steps["raise-memory"].asks) is named


def older(ended: float, ran: float = 300, *, of_new: float = 26, going: bool = False) -> World:
    """The release of half an hour ago runs beside a pod of before that was killed for memory so many minutes ago; one of its own was after `of_new`."""
    world = World().rolling(deployed=30, old=1, new=0).both(sized("512Mi"))
    for n in range(2):
        world.pod(f"new-{n}", made=30)
    pod = world.pods["old-0"]
    end = {
        "reason": "OOMKilled",
        "exitCode": 137,
        "finishedAt": at(minutes=ended),
        "startedAt": at(minutes=ended + ran),
    }
    began = {"running": {"startedAt": at(minutes=ended - 1)}}
    pod["status"]["containerStatuses"][0] |= {
        "restartCount": 1,
        "state": began,
        "lastState": {"terminated": end},
    }
    if going:
        pod["metadata"]["deletionTimestamp"] = at(minutes=1)
    return world.crash("new-0", code=137, reason="OOMKilled", restarts=1, ran=of_new, ended=2, first=2)


def cut_since(ended: float) -> World:
    """The pod of before had twice as much when it was killed."""
    world = older(ended)
    sized("1Gi")(world.before["spec"])
    world.only_new(sized("512Mi"))
    return world


KILLED: list[tuple[str, Callable[[], World], str, bool]] = [
    ("a pod of before was full hours ago", lambda: older(200), "", True),
    ("a pod of before was full hours ago and is going", lambda: older(200, going=True), "", True),
    ("a pod of before was full a day ago", lambda: older(1500), "the last release brought it: only pods of revision 2 show it", False),
    ("it needs too much to begin with, and a pod of before was full hours ago", lambda: older(200, of_new=1), "the last release brought it: only pods of revision 2", False),
    ("less memory, and a pod of before was full of more hours ago", lambda: cut_since(200), "the last release lowered the memory limit of app", False),
]  # fmt: skip


@pytest.mark.parametrize(("happens", "asked", "alike"), [r[1:] for r in KILLED], ids=[r[0] for r in KILLED])
async def test_a_release_beside_pods_that_were_killed_themselves_is_acquitted_by_both_who_look(
    happens: Callable[[], World], asked: str, alike: bool
) -> None:
    step = (await happens().look(OutOfMemory()))[1]["raise-memory"]
    assert step.applies
    assert step.asks.startswith(asked) if asked else step.asks == ""
    assert "well beside" not in step.asks
    back = (await happens().look(PodRestarting()))[1]["roll-back"]
    assert ("an older one shows the same" in back.why) is alike
