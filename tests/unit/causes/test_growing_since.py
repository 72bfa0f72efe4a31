"""Memory that grows for as long as the pods of the last release run, told by all who look at it; and what was done about the kills before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from app.domain.cluster import PodUsage
from app.domain.ports import Sample
from remediations.high_latency import HighLatency
from remediations.out_of_memory import OutOfMemory
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_memory import sized
from tests.unit.causes.world import World

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
        grown = {at: (at - since) / timedelta(minutes=self.minutes) for at in moments if at >= since}
        of = "memory" in query
        return [
            (
                {"pod": pod},
                [Sample(at, (100 + 390 * part) * MIB if of else 20.0) for at, part in grown.items()],
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
    assert (SINCE in steps["scale-out"].asks) is new
