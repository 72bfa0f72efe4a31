"""Usage of pods against their limits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.cluster import PodUsage
from app.domain.evidence import Certainty
from app.domain.loads import load_of
from app.domain.workload import ContainerSpec
from app.sim import SimCluster, VirtualClock
from remediations.evidence.usage import usage_finding
from tests.unit.remediations.snapshots import MIB, NOW, pod, state, workload


class Measured(SimCluster):
    """A cluster with these usages."""

    def __init__(self, *usages: PodUsage) -> None:
        super().__init__(VirtualClock())
        self.usages = list(usages)

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        assert (namespace, selector) == ("rag7", "app=app")
        return self.usages


def usage(name: str, memory: int, cpu: int) -> PodUsage:
    return PodUsage(name, NOW, {"app": memory * MIB}, {"app": cpu})


async def test_usage_is_told_against_the_limits_largest_memory_first() -> None:
    cluster = Measured(usage("a", 128, 450), usage("b", 384, 400), usage("stranger", 900, 900))

    finding = await usage_finding(cluster, workload(), [pod("a"), pod("b")], NOW)

    assert (
        finding.text == "2 pods measured: CPU 85 % of the limit on average, memory 75 % of the limit at most"
    )
    assert finding.details == (
        "b: CPU 400m of 500m, memory 384 MiB of 512 MiB",
        "a: CPU 450m of 500m, memory 128 MiB of 512 MiB",
    )
    assert (finding.data["cpu_share"], finding.data["memory_share"]) == (0.85, 0.75)


async def test_without_limits_amounts_are_told_and_no_share() -> None:
    bare = pod("a", specs=(ContainerSpec("app", "i"),))
    finding = await usage_finding(Measured(usage("a", 128, 450)), workload(), [bare], NOW)

    assert (
        finding.text
        == "1 pod measured: CPU 450m on average without a limit, memory 128 MiB at most without a limit"
    )
    assert (finding.data["cpu_share"], finding.data["memory_share"]) == (None, None)


async def test_no_metrics_api_is_unknown() -> None:
    cluster = SimCluster(VirtualClock())
    cluster.metrics_api = False

    finding = await usage_finding(cluster, workload(), [pod("a")], NOW)

    assert finding.certainty is Certainty.UNKNOWN
    assert finding.text == "Usage of the pods is not known: the metrics API is not served"


async def test_what_was_measured_long_ago_is_not_measured() -> None:
    old = PodUsage("a", NOW - timedelta(minutes=6), {"app": 128 * MIB}, {"app": 490})

    finding = await usage_finding(Measured(old), workload(), [pod("a")], NOW)
    assert (finding.certainty, finding.data) == (Certainty.UNKNOWN, {})
    assert finding.text == "The metrics API has only values of 6 min ago for these pods"

    both = await usage_finding(Measured(old, usage("b", 128, 100)), workload(), [pod("a"), pod("b")], NOW)
    assert both.text.startswith("1 pod measured: CPU 20 % of the limit"), both.text


async def test_pods_that_are_not_measured_yet_are_unknown() -> None:
    assert (await usage_finding(Measured(), workload(), [pod("a")], NOW)).certainty is Certainty.UNKNOWN


@pytest.mark.parametrize(
    ("memory", "share", "limit"),
    [({"app": 256, "proxy": 10}, 0.5, "no limit"), ({"app": 64, "cache": 96}, 0.75, "640 MiB")],
)
def test_the_fullest_container_counts(memory: dict[str, int], share: float, limit: str) -> None:
    names = list(memory)
    limits = {"app": 512 * MIB, "cache": 128 * MIB}
    specs = tuple(ContainerSpec(n, "i", memory_limit=limits.get(n)) for n in names)
    measured = PodUsage("a", NOW, {n: m * MIB for n, m in memory.items()}, dict.fromkeys(names, 10))

    load = load_of(measured, pod("a", *(state(n) for n in names), specs=specs))

    assert load.memory_share == share
    assert load.text.endswith(f"of {limit}")
