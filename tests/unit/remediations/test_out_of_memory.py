"""Out of Memory: more memory within the cap and the namespace's rules, none for a leak; else more replicas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.plan import ActionKind
from app.domain.ports import Sample
from app.domain.remediation import History
from app.domain.target import Kind
from app.sim.behaviour import Behaviour
from tests.births import scenario_of
from tests.unit.remediations.stage import Metrics, Stage, told

MIB = 1024**2


def stage() -> Stage:
    return Stage("out-of-memory")


def namespace_rule(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "rag7"},
        "spec": spec,
    }


async def test_the_shipped_story_is_told_with_all_its_evidence() -> None:
    assert told(*await stage().look()) == snapshot("""\
Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB)

memory.killed: Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB)
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
pods.state: 0 of 2 pods ready, 2 containers killed for memory, at most 5 restarts
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
usage.pods (unknown): The metrics API has no values for these pods yet
limits.containers: Requests and limits: embedder: memory 256 MiB to 512 MiB, CPU 500m to 2 cores
events.recent: The cluster recorded no warning about OOM
memory.leak (unknown): Whether memory leaks is not known: no Prometheus is configured; 10 samples over 15 min of one container's life are needed
cause.first: Container embedder of langgraph-embedder-POD was killed for memory (OOMKilled, limit 512 MiB, 5 restarts) (2 pods alike)
changes.recent: Nothing that the pods use changed in 24 h, as far as it could be read

[raise-memory] Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB); whether memory leaks is not known: no Prometheus is configured; 10 samples over 15 min of one container's life are needed
    do: Raise memory limit of rag7/Deployment/langgraph-embedder: embedder 512 MiB -> 768 MiB (2 pods)

[scale-out] Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB); more replicas share the load
    do: Scale rag7/Deployment/langgraph-embedder from 2 to 6 replicas
""")


def _steady() -> Metrics:
    """Memory of one pod that has not grown in 40 minutes, as Prometheus has it."""
    start = stage().clock.now()
    return Metrics(
        series={"langgraph-embedder-0": [Sample(start + timedelta(minutes=n), 200 * MIB) for n in range(40)]}
    )


async def test_a_raise_that_did_not_help_is_not_followed_by_more_pods_that_fill_up_as_well() -> None:
    """Unless memory is known not to grow with time."""
    play = stage()
    play.history = History(tried=("raise-memory",))
    _, unknown = await play.look()
    play.metrics = _steady()
    _, steady = await play.look()

    assert not unknown["scale-out"].applies
    assert "it was killed again" in unknown["scale-out"].why
    assert unknown["scale-out"].advice.startswith("Find out what fills the memory of embedder")
    assert steady["scale-out"].applies


async def test_the_plan_raises_the_limit_by_half() -> None:
    _, steps = await stage().look()
    (action,) = steps["raise-memory"].actions

    assert action.kind is ActionKind.RAISE_MEMORY_LIMIT
    assert action.params["limits"] == {"embedder": [512 * MIB, 768 * MIB]}
    (scale,) = steps["scale-out"].actions
    assert scale.params["to"] == 6


async def test_more_memory_is_relief_until_it_is_known_that_it_does_not_leak() -> None:
    play = stage()
    _, unknown = await play.look()
    play.metrics = _steady()
    _, steady = await play.look()

    task = unknown["raise-memory"].open_task
    assert task.startswith("see whether memory of embedder of rag7/Deployment/langgraph-embedder grows on")
    assert steady["raise-memory"].open_task == ""


async def test_factor_and_cap_come_from_the_rule() -> None:
    _, steps = await stage().look(factor=2, max_memory="640Mi")
    (action,) = steps["raise-memory"].actions
    assert action.params["limits"] == {"embedder": [512 * MIB, 640 * MIB]}


async def test_at_the_cap_only_scaling_out_is_left() -> None:
    _, steps = await stage().look(max_memory="512Mi")

    assert steps["raise-memory"].why == ("Container embedder has 512 MiB; 768 MiB is beyond the cap 512 MiB")
    assert steps["raise-memory"].advice == (
        "Find out why embedder needs more than 512 MiB, or raise the cap 512 MiB"
    )
    assert steps["scale-out"].applies


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        (
            "LimitRange",
            {"limits": [{"type": "Container", "max": {"memory": "512Mi"}}]},
            "Container embedder has 512 MiB; 768 MiB is beyond LimitRange rule's maximum 512 MiB",
        ),
        (
            "ResourceQuota",
            {"hard": {"limits.memory": "3Gi"}},
            "quota rule has",
        ),
    ],
)
async def test_what_the_namespace_would_refuse_is_not_proposed(
    kind: str, spec: dict[str, Any], why: str
) -> None:
    play = stage()
    play.cluster.create(namespace_rule(kind, "rule", spec))
    play.clock.advance(5)
    _, steps = await play.look()

    assert not steps["raise-memory"].applies
    assert why in steps["raise-memory"].why
    assert steps["raise-memory"].advice


@pytest.mark.parametrize("kind", [Kind.LIMIT_RANGE, Kind.RESOURCE_QUOTA])
async def test_rules_that_cannot_be_read_close_the_step(kind: Kind) -> None:
    play = stage()
    play.cluster.deny("list", kind)
    _, steps = await play.look()

    assert not steps["raise-memory"].applies
    assert steps["raise-memory"].why.startswith("What the namespace allows is not known: cannot list ")


async def test_a_proven_leak_gets_no_more_memory() -> None:
    play = stage()
    now = play.clock.now()
    samples = [Sample(now - timedelta(minutes=40 - i), (200.0 + 5 * i) * MIB) for i in range(40)]
    play.metrics = Metrics(series={"langgraph-embedder-1": samples})
    assert told(*await play.look()) == snapshot("""\
Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB); memory of 1 of 1 pod grows steadily: langgraph-embedder-1 +300 MiB an hour over 39 min (100 % of the variation on a line)

memory.killed: Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB)
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
pods.state: 0 of 2 pods ready, 2 containers killed for memory, at most 5 restarts
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
    langgraph-embedder-POD/embedder: CrashLoopBackOff, OOMKilled, 5 restarts
usage.pods (unknown): The metrics API has no values for these pods yet
limits.containers: Requests and limits: embedder: memory 256 MiB to 512 MiB, CPU 500m to 2 cores
events.recent: The cluster recorded no warning about OOM
memory.leak: Memory of 1 of 1 pod grows steadily: langgraph-embedder-1 +300 MiB an hour over 39 min (100 % of the variation on a line)
    langgraph-embedder-1: +300 MiB an hour over 39 min (100 % of the variation on a line)
cause.first: Container embedder of langgraph-embedder-POD was killed for memory (OOMKilled, limit 512 MiB, 5 restarts) (2 pods alike)
changes.recent: Nothing that the pods use changed in 24 h, as far as it could be read

[raise-memory] Memory of 1 of 1 pod grows steadily: langgraph-embedder-1 +300 MiB an hour over 39 min (100 % of the variation on a line): it would fill a higher limit as well
    advice: Find the leak in embedder of rag7/Deployment/langgraph-embedder (Memory of 1 of 1 pod grows steadily: langgraph-embedder-1 +300 MiB an hour over 39 min (100 % of the variation on a line))

[scale-out] Killed for memory (OOMKilled) on 2 pods: embedder (limit 512 MiB); more replicas share the load, which slows the leak and does not stop it
    do: Scale rag7/Deployment/langgraph-embedder from 2 to 6 replicas
""")


async def test_a_container_without_a_limit_says_that_the_node_ran_out() -> None:
    play = stage()
    play.edit(
        Kind.DEPLOYMENT,
        "langgraph-embedder",
        {"op": "remove", "path": "/spec/template/spec/containers/0/resources/limits/memory"},
    )
    _, steps = await play.look()

    assert steps["raise-memory"].why == (
        "Container embedder has no memory limit: it was the node that ran out of memory"
    )


async def test_a_kill_that_is_not_for_memory_is_no_reason_to_act() -> None:
    shipped = scenario_of("out-of-memory")
    killed = Behaviour.model_validate(
        {"name": "killed", "when": {"container": "embedder"}, "crash": {"after": "3s", "exit_code": 137}}
    )
    play = Stage("out-of-memory", shipped.model_copy(update={"behaviours": (killed,), "age": 7200.0}))
    diagnosis, steps = await play.look()

    assert not any(r.applies for r in steps.values())
    assert {r.why for r in steps.values()} == {"No container was killed for memory (OOMKilled) in 1 h"}
    state = diagnosis.finding("pods.state")
    assert state is not None
    assert "exit code 137 (SIGKILL, not for memory)" in state.details[0]


async def test_a_kill_that_is_over_is_said_to_be_over() -> None:
    """The reason of a container's last end stays for days, and an alert on it as well."""
    shipped = scenario_of("out-of-memory")
    play = Stage("out-of-memory", shipped.model_copy(update={"behaviours": ()}))
    diagnosis, steps = await play.look()
    assert diagnosis.rest == diagnosis.summary
    assert "nothing to do: 2 of 2 pods ready" in diagnosis.rest
    assert not any(step.applies for step in steps.values())


@pytest.mark.parametrize(("start", "over"), [("470Mi", False), ("200Mi", True)])
async def test_memory_near_its_limit_is_not_over(start: str, over: bool) -> None:
    fills = Behaviour.model_validate(
        {"name": "fills", "when": {"container": "embedder"}, "memory": {"start": start}}
    )
    play = Stage("out-of-memory", scenario_of("out-of-memory").model_copy(update={"behaviours": (fills,)}))
    play.clock.advance(120)
    diagnosis, _ = await play.look()
    assert bool(diagnosis.rest) is over


async def test_pods_that_cannot_be_read_close_both_steps() -> None:
    play = stage()
    play.cluster.deny("list", Kind.POD)
    _, steps = await play.look()

    assert {r.why for r in steps.values()} == {"The pods could not be read: cannot list pods"}
