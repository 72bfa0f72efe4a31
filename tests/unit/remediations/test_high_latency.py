"""High Latency: scale out under load, restart on a leak or when scaling did not help, never for a slow database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.plan import ActionKind
from app.domain.ports import Sample, SlowQuery
from app.domain.remediation import History
from app.domain.target import Kind
from app.sim.behaviour import Cpu, Memory
from tests.births import scenario_of
from tests.unit.remediations.stage import Metrics, Services, Stage, told

BOTH = ("postgres", "redis")
SLOW = SlowQuery("SELECT * FROM checkpoints WHERE thread = $1", 4021, 1830.25)
MIB = 1024**2


def stage() -> Stage:
    play = Stage("high-latency")
    play.metrics = Metrics({"duration_seconds": 3.4}, {})
    return play


def growing(play: Stage) -> Sequence[Sample]:
    now = play.clock.now()
    return [Sample(now - timedelta(minutes=60 - i), (200.0 + 5 * i) * MIB) for i in range(60)]


def using(memory: str) -> Stage:
    """The shipped story with pods that use so much memory."""
    shipped = scenario_of("high-latency")
    first, *rest = shipped.behaviours
    changed = first.model_copy(update={"memory": Memory.model_validate({"start": memory})})
    play = Stage("high-latency", shipped.model_copy(update={"behaviours": (changed, *rest)}))
    play.metrics = Metrics({"duration_seconds": 3.4}, {"langgraph-api-1": growing(play)})
    return play


async def test_the_shipped_story_is_told_with_all_its_evidence() -> None:
    assert told(*await stage().look(dependencies=BOTH)) == snapshot("""\
2 replicas; 95 % of the requests are answered in 3.40 s; 2 pods measured: CPU 100 % of the limit on average, memory 61 % of the limit at most

metrics.latency: 95 % of the requests are answered in 3.40 s
usage.pods: 2 pods measured: CPU 100 % of the limit on average, memory 61 % of the limit at most
    langgraph-api-POD: CPU 500m of 500m, memory 310 MiB of 512 MiB
    langgraph-api-POD: CPU 500m of 500m, memory 310 MiB of 512 MiB
limits.containers: Requests and limits: api: memory 256 MiB to 512 MiB, CPU 250m to 500m
pods.state: 2 of 2 pods ready
cause.first: Healthy for 6 d: 2 of 2 pods ready
changes.recent: Nothing that the pods use changed in 24 h, as far as it could be read
errors.grouped: 2,000 error lines in 5 min on 2 pods, all of them "UpstreamTimeout: request waited 30 s in a full queue (503)"; the logs were cut: of each 3 min were read on average
    2000 x UpstreamTimeout: request waited 30 s in a full queue (503)
dependency.postgres: postgres: SELECT 1 answered in 2 ms
dependency.redis: redis: PING answered in 2 ms
queries.postgres: No query of postgres takes 1.00 s or more on average
memory.leak (unknown): Whether memory leaks is not known: Prometheus has no memory series of these pods; 10 samples over 15 min of one container's life are needed

[scale-out] 2 replicas; 95 % of the requests are answered in 3.40 s; 2 pods measured: CPU 100 % of the limit on average, memory 61 % of the limit at most
    do: Scale rag7/Deployment/langgraph-api from 2 to 8 replicas

[restart] No leak is shown and scaling out was not tried yet (Whether memory leaks is not known: Prometheus has no memory series of these pods; 10 samples over 15 min of one container's life are needed)
    advice: Find out where the time goes: trace slow requests, look at what they wait for (2 pods measured: CPU 100 % of the limit on average, memory 61 % of the limit at most)
""")


async def test_the_plan_scales_to_eight() -> None:
    _, steps = await stage().look(dependencies=BOTH)
    (action,) = steps["scale-out"].actions

    assert (action.kind, action.params["to"]) == (ActionKind.SCALE, 8)
    assert not steps["restart"].applies


async def test_slow_queries_are_named_instead_of_scaling() -> None:
    play = stage()
    play.services = Services({"postgres": True}, [SLOW])
    assert told(*await play.look(dependencies=["postgres"])) == snapshot("""\
2 replicas; 95 % of the requests are answered in 3.40 s; 2 pods measured: CPU 100 % of the limit on average, memory 61 % of the limit at most; 1 query of postgres takes 1.00 s or more on average, the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1

metrics.latency: 95 % of the requests are answered in 3.40 s
usage.pods: 2 pods measured: CPU 100 % of the limit on average, memory 61 % of the limit at most
    langgraph-api-POD: CPU 500m of 500m, memory 310 MiB of 512 MiB
    langgraph-api-POD: CPU 500m of 500m, memory 310 MiB of 512 MiB
limits.containers: Requests and limits: api: memory 256 MiB to 512 MiB, CPU 250m to 500m
pods.state: 2 of 2 pods ready
cause.first: Healthy for 6 d: 2 of 2 pods ready
changes.recent: Nothing that the pods use changed in 24 h, as far as it could be read
errors.grouped: 2,000 error lines in 5 min on 2 pods, all of them "UpstreamTimeout: request waited 30 s in a full queue (503)"; the logs were cut: of each 3 min were read on average
    2000 x UpstreamTimeout: request waited 30 s in a full queue (503)
dependency.postgres: postgres: answers (2 ms)
queries.postgres: 1 query of postgres takes 1.00 s or more on average, the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1
    1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1
memory.leak (unknown): Whether memory leaks is not known: Prometheus has no memory series of these pods; 10 samples over 15 min of one container's life are needed

[scale-out] Slow queries are the cause: 1 query of postgres takes 1.00 s or more on average, the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1, and more replicas would not change that
    advice: Speed up the query or add an index: 1 query of postgres takes 1.00 s or more on average, the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1

[restart] Slow queries are the cause: 1 query of postgres takes 1.00 s or more on average, the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1, and a restart does not change that
    advice: Speed up the query or add an index: 1 query of postgres takes 1.00 s or more on average, the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1
""")


async def test_a_dependency_that_is_down_is_named_instead_of_scaling() -> None:
    play = stage()
    play.services = Services({"postgres": True, "redis": False})
    _, steps = await play.look(dependencies=BOTH)

    assert not any(r.applies for r in steps.values())
    assert steps["scale-out"].why == (
        "Redis is down: redis: connection refused (2 ms), and more replicas would not change that"
    )
    assert steps["restart"].advice == "Restore redis first (redis: connection refused (2 ms))"


async def test_unreadable_statistics_do_not_stop_the_scaling() -> None:
    play = stage()
    play.services = Services({"postgres": True}, None)
    diagnosis, steps = await play.look(dependencies=["postgres"])

    assert steps["scale-out"].applies
    finding = diagnosis.finding("queries.postgres")
    assert finding is not None
    assert "pg_stat_statements" in finding.text


async def test_a_leak_that_clickes_is_met_by_a_restart_and_not_by_more_replicas() -> None:
    _, steps = await using("480Mi").look(dependencies=BOTH)

    assert steps["scale-out"].why == (
        "Memory of 1 of 1 pod grows steadily: langgraph-api-1 +300 MiB an hour over 59 min "
        "(100 % of the variation on a line), and a container has used 94 % of its limit: "
        "new pods help, more pods do not"
    )
    assert steps["restart"].why.endswith("(100 % of the variation on a line); a restart frees it for a while")
    assert [a.kind for a in steps["restart"].actions] == [ActionKind.ROLLOUT_RESTART]


async def test_a_leak_with_room_left_still_lets_the_workload_scale_first() -> None:
    _, steps = await using("120Mi").look(dependencies=BOTH)
    assert [r.name for r in steps.values() if r.applies] == ["scale-out"]


async def test_after_scaling_did_not_help_it_is_restarted() -> None:
    play = stage()
    play.history = History(tried=("scale-out",))
    _, steps = await play.look(dependencies=BOTH)

    assert steps["scale-out"].why == "It was scaled out in this incident already, and latency stayed high"
    assert steps["restart"].why == "Latency stayed high after scaling out"
    assert steps["restart"].applies


async def test_of_a_scale_out_of_which_nothing_came_up_nothing_is_concluded() -> None:
    play = stage()
    none = "0 of 8 pods are available: quota team has no room"
    play.history = History(tried=("scale-out",), not_taken={"scale-out": none})
    _, steps = await play.look(dependencies=BOTH)
    assert not steps["restart"].applies
    assert steps["restart"].why == (
        f"Scaling out never came about, so that nothing is known of what it does: {none}"
    )


async def test_after_scaling_helped_in_part_nobody_is_told_that_it_did_not() -> None:
    play = stage()
    play.history = History(tried=("scale-out",), helped={"scale-out": "8 of 8 pods are available"})
    _, steps = await play.look(dependencies=BOTH)
    assert steps["scale-out"].why == "It was scaled out in this incident already, which helped in part"
    assert steps["restart"].why == "Latency is still high after scaling out, which helped in part"


async def test_when_enough_replicas_run_already_it_is_restarted() -> None:
    play = stage()
    play.edit(Kind.DEPLOYMENT, "langgraph-api", {"op": "replace", "path": "/spec/replicas", "value": 8})
    _, steps = await play.look(dependencies=BOTH)

    assert steps["scale-out"].why == "rag7/Deployment/langgraph-api already has 8 replicas; 8 were asked for"
    assert steps["restart"].why == "Latency is high although 8 replicas run already"


async def test_an_autoscaler_at_its_maximum_is_told_to_a_person() -> None:
    play = stage()
    autoscaler: dict[str, Any] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "api-hpa", "namespace": "rag7"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph-api"},
            "minReplicas": 2,
            "maxReplicas": 2,
        },
    }
    play.cluster.create(autoscaler)
    _, steps = await play.look(dependencies=BOTH)

    assert not steps["scale-out"].applies
    assert steps["scale-out"].advice == "Raise maxReplicas of api-hpa above 2"


async def test_fast_answers_are_no_reason_for_more_replicas_nor_for_a_restart() -> None:
    play = stage()
    play.metrics = Metrics({"duration_seconds": 0.24}, {})
    _, steps = await play.look(dependencies=BOTH)

    assert [s for s in steps.values() if s.applies] == []
    assert steps["scale-out"].why == (
        "Nothing shows that more replicas are needed: 95 % of the requests are answered in 240 ms, within the 500 ms that count as fast"
    )
    assert "it may be about another workload" in steps["scale-out"].advice
    _, steps = await play.look(dependencies=BOTH, latency_low=0.1)
    assert steps["scale-out"].applies


async def test_idle_pods_whose_latency_is_not_measured_are_not_scaled() -> None:
    shipped = scenario_of("high-latency")
    first, *rest = shipped.behaviours
    idle = first.model_copy(update={"cpu": Cpu.model_validate({"base": "5m", "per_rps": "1m"})})
    play = Stage("high-latency", shipped.model_copy(update={"behaviours": (idle, *rest)}))
    play.metrics = Metrics({"duration_seconds": None}, {})
    _, steps = await play.look(dependencies=BOTH)
    assert (
        "latency is not measured and the pods have nothing to do (2 pods measured: CPU 7 %"
        in steps["scale-out"].why
    )
    assert [s for s in steps.values() if s.applies] == []


@pytest.mark.parametrize("value", [None, 3.4])
async def test_latency_that_cannot_be_measured_does_not_stop_the_scaling(value: float | None) -> None:
    play = stage()
    play.metrics = Metrics({"duration_seconds": value}, {})
    diagnosis, steps = await play.look(dependencies=BOTH)

    assert steps["scale-out"].applies
    assert ("3.40 s" in diagnosis.summary) is (value is not None)
    assert "not measured" not in steps["scale-out"].why


async def test_pods_that_cannot_be_read_are_unknown() -> None:
    play = stage()
    play.cluster.deny("list", Kind.POD)
    diagnosis, steps = await play.look(dependencies=BOTH)

    finding = diagnosis.finding("pods.state")
    assert finding is not None
    assert finding.text == "The pods could not be read: cannot list pods"
    assert steps["scale-out"].applies


@pytest.mark.parametrize(("share", "told"), [(0.6, True), (0.1, False)])
async def test_a_cpu_limit_that_throttles_is_named_with_what_to_do(share: float, told: bool) -> None:
    play = stage()
    play.metrics = Metrics({"duration_seconds": 3.4, "throttled_periods": share}, {})
    diagnosis, steps = await play.look(dependencies=BOTH)
    assert (diagnosis.finding("metrics.throttling") is not None) is told
    assert ("CPU is throttled in 60 % of the periods" in steps["scale-out"].why) is told
    assert ("raise or remove the CPU limit" in steps["scale-out"].open_task) is told


async def test_an_autoscaler_that_brings_no_more_pods_is_told_first() -> None:
    """More replicas help now, and it stays a person's to repair what should have brought them."""
    play = stage()
    condition = {
        "type": "ScalingActive",
        "status": "False",
        "reason": "FailedGetResourceMetric",
        "message": "unable to get metrics for resource cpu",
        "lastTransitionTime": play.clock.now().isoformat(),
    }
    play.cluster.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "langgraph-api", "namespace": "rag7"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph-api"},
                "minReplicas": 2,
                "maxReplicas": 10,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 70},
                        },
                    }
                ],
            },
            "status": {"conditions": [condition]},
        }
    )
    found, steps = await play.look(dependencies=BOTH)
    named = "HorizontalPodAutoscaler langgraph-api does not scale (FailedGetResourceMetric): unable to get metrics for resource cpu"
    assert named in found.summary
    assert steps["scale-out"].applies
    assert steps["scale-out"].open_task.endswith(
        "; HorizontalPodAutoscaler langgraph-api: repair where its metrics come from"
    )
