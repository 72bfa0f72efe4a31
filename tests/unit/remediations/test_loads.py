"""Load and CPU limits container by container: what serves decides, a helper beside it is named and asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.domain.cluster import PodUsage
from app.domain.evidence import Diagnosis
from app.domain.loads import beside_at_limit, serving
from app.domain.plan import Step
from app.domain.workload import ContainerSpec
from app.sim import SimCluster, VirtualClock
from remediations.evidence.pods import at_their_limit
from remediations.evidence.usage import usage_finding
from tests.unit.remediations.snapshots import NOW, pod, workload
from tests.unit.remediations.stage import Metrics, Stage

PORT = [{"containerPort": 8080}]


@pytest.mark.parametrize(
    ("containers", "serve"),
    [
        ([{"name": "app"}], {"app"}),
        ([{"name": "envoy"}], {"envoy"}),
        ([{"name": "app"}, {"name": "worker"}], {"app"}),
        ([{"name": "worker"}, {"name": "app", "ports": PORT}], {"app"}),
        ([{"name": "nginx", "ports": PORT}, {"name": "app", "ports": PORT}], {"nginx", "app"}),
        ([{"name": "istio-proxy", "ports": PORT}, {"name": "app"}], {"app"}),
        ([{"name": "log-shipper"}, {"name": "app"}], {"app"}),
        (
            [{"name": "app"}, {"name": "stats", "ports": [{"name": "metrics", "containerPort": 9100}]}],
            {"app"},
        ),
        ([], set()),
    ],
)
def test_what_serves_is_known_by_its_port_or_its_place(containers: list[Any], serve: set[str]) -> None:
    made = workload(manifest=templated(containers))
    assert serving(made) == serve


def templated(containers: Sequence[Any]) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"replicas": 2, "template": {"spec": {"containers": list(containers)}}}}


class Measured(SimCluster):
    """A cluster in which two pods use so much CPU, by container."""

    def __init__(self, **cpu: int) -> None:
        super().__init__(VirtualClock())
        self.cpu = cpu

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        return [PodUsage(name, NOW, {}, dict(self.cpu)) for name in ("a", "b")]


async def measured(limits: dict[str, int | None], **cpu: int) -> Diagnosis:
    """Of pods with these CPU limits; container `app` alone is in the template, `helper` was injected, `native` starts before them."""
    specs = tuple(
        ContainerSpec(n, "i", init=n == "native", cpu_limit=limit, cpu_request=20)
        for n, limit in limits.items()
    )
    pods = [pod(name, specs=specs) for name in ("a", "b")]
    made = workload(manifest=templated([{"name": "app"}]))
    found = await usage_finding(Measured(**cpu), made, pods, NOW)
    return Diagnosis(found.text, (found,))


@pytest.mark.parametrize("helper", ["helper", "native"])
async def test_a_helper_at_its_own_limit_is_named_and_is_no_sign_of_the_workloads_size(helper: str) -> None:
    diagnosis = await measured({"app": 1000, helper: 100}, **{"app": 100, helper: 99})

    assert at_their_limit(diagnosis, 0.85, 0.25)[0] == []
    beside = beside_at_limit([], diagnosis, 0.85, 0.25)
    assert beside.names == (helper,)
    assert f"container {helper} is held back by its own CPU limit: CPU 99 % of its limit" in beside.text
    assert f"raise the CPU limit of container {helper}" in beside.doubt
    assert f"container {helper} CPU 99 % of its limit" in diagnosis.summary
    assert "CPU 99 % of the limit on average" not in diagnosis.summary


async def test_a_helper_without_a_limit_above_its_request_is_no_sign_of_the_workloads_size() -> None:
    diagnosis = await measured({"app": 1000, "helper": None}, app=100, helper=90)
    assert at_their_limit(diagnosis, 0.85, 0.25)[0] == []


@pytest.mark.parametrize(
    ("app", "helper", "limit"),
    [(900, 5, 100), (900, 100, 100), (700, 980, 1000)],
    ids=["app", "both", "whole pod"],
)
async def test_what_serves_or_the_whole_pod_at_its_limit_is_a_sign(app: int, helper: int, limit: int) -> None:
    diagnosis = await measured({"app": 1000 if app == 900 else 900, "helper": limit}, app=app, helper=helper)
    assert at_their_limit(diagnosis, 0.85, 0.25)[0]


class Throttled(Metrics):
    """A Prometheus that tells throttling by container."""

    def __init__(self, **shares: float) -> None:
        super().__init__({"duration_seconds": 3.4})
        self.shares = shares

    async def instant(self, query: str) -> Sequence[tuple[dict[str, str], float]]:
        if "throttled" in query:
            assert query.count("sum by (container)") == 2
            return [({"container": n}, share) for n, share in self.shares.items()]
        return [(dict(labels), value) for labels, value in await super().instant(query)]


async def throttled(**shares: float) -> Step:
    """The scale-out of slow answers whose one container `api` has little to do by its usage."""
    play = Stage("high-latency")
    play.metrics = Throttled(**shares)
    real = play.cluster.pod_usage

    async def usage(namespace: str, selector: str) -> list[PodUsage]:
        return [replace(u, cpu={"api": 200}) for u in await real(namespace, selector)]

    play.cluster.pod_usage = usage  # type: ignore[method-assign]
    _, steps = await play.look()
    return steps["scale-out"]


async def test_a_throttled_helper_makes_a_scale_out_ask_with_its_name() -> None:
    step = await throttled(api=0.0, shipper=0.8)
    assert "raise the CPU limit of container shipper" in step.asks
    assert "CPU of container shipper is throttled in 80 % of the periods" in step.why
    assert "container shipper" in step.open_task


async def test_a_throttled_container_that_serves_scales_out_by_itself() -> None:
    step = await throttled(api=0.8, shipper=0.0)
    assert step.actions
    assert not step.asks
