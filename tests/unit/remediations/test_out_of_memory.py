"""Out of Memory: more memory within the cap and the namespace's rules, none for a leak; else more replicas."""

from __future__ import annotations

import copy
import re
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.plan import ActionKind
from app.domain.ports import Sample
from app.domain.remediation import History
from app.domain.target import Kind
from app.sim.behaviour import Behaviour
from remediations.evidence.leaks import heap_of
from tests.births import scenario_of
from tests.unit.kube.manifests import deployment, workload
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


def _told(field: str, value: Any) -> Stage:
    """The stage whose container has had this setting from the beginning."""
    shipped = scenario_of("out-of-memory")
    objects = copy.deepcopy(shipped.objects)
    whole = next(
        o for o in objects if o["metadata"]["name"] == "langgraph-embedder" and o["kind"] == "Deployment"
    )
    whole["spec"]["template"]["spec"]["containers"][0][field] = value
    return Stage("out-of-memory", shipped.model_copy(update={"objects": objects}))


def _env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        (
            "env",
            _env(JAVA_TOOL_OPTIONS="-XX:+UseG1GC -Xmx2g"),
            "2 GiB (-Xmx2g in JAVA_TOOL_OPTIONS)",
        ),
        ("env", _env(JAVA_OPTS="-Xmx400m -Xmx720m"), "720 MiB (-Xmx720m in JAVA_OPTS)"),
        ("args", ["-Xmx2g", "-jar", "app.jar"], "2 GiB (-Xmx2g in its args)"),
        (
            "command",
            ["sh", "-c", "exec java -XX:MaxHeapSize=1g -jar app.jar"],
            "1 GiB (-XX:MaxHeapSize=1g in its command)",
        ),
        (
            "env",
            _env(NODE_OPTIONS="--max-old-space-size=1024"),
            "1 GiB (--max-old-space-size=1024 in NODE_OPTIONS)",
        ),
        ("args", ["--max-old-space-size", "1024", "a.js"], "1 GiB (--max-old-space-size 1024 in its args)"),
        ("env", _env(GOMEMLIMIT="1GiB"), "1 GiB (GOMEMLIMIT=1GiB)"),
        ("env", _env(_JAVA_OPTIONS="-Xmx2g", JAVA_OPTS="-Xmx64m"), "2 GiB (-Xmx2g in _JAVA_OPTIONS)"),
        ("args", ["sh", "-c", 'java "-Xmx2g" -jar a.jar'], "2 GiB (-Xmx2g in its args)"),
        ("command", ["sh", "-c", "JAVA_OPTS=-Xmx2g exec ./run"], "2 GiB (-Xmx2g in its command)"),
        ("args", ["sh", "-c", "GOMEMLIMIT=1GiB exec ./run"], "1 GiB (GOMEMLIMIT=1GiB in its args)"),
        ("env", _env(DOTNET_GCHeapHardLimit="0x40000000"), "1 GiB (DOTNET_GCHeapHardLimit=0x40000000)"),
        ("env", _env(COMPlus_GCHeapHardLimit="40000000"), "1 GiB (COMPlus_GCHeapHardLimit=40000000)"),
    ],
)
async def test_neither_a_little_more_memory_nor_more_pods_hold_a_heap_beyond_the_limit(
    field: str, value: Any, told: str
) -> None:
    _, steps = await _told(field, value).look()

    assert not any(step.applies for step in steps.values())
    raised = f"container embedder may fill a heap of {told}, which 768 MiB does not hold either"
    assert raised in steps["raise-memory"].why
    assert f"embedder may fill a heap of {told}, which 512 MiB does not hold" in steps["scale-out"].why
    flag = told.partition(" (")[2]
    assert steps["raise-memory"].advice == (
        f"Give embedder of rag7/Deployment/langgraph-embedder a heap ({flag} well below its memory limit, or a limit "
        f"well above {told.partition(' (')[0]}"
    )


@pytest.mark.parametrize(
    "env",
    [
        _env(JAVA_TOOL_OPTIONS="-XX:MaxRAMPercentage=95"),
        _env(JAVA_TOOL_OPTIONS="-XX:MaxRAMPercentage=95.0"),
        _env(JAVA_TOOL_OPTIONS="-XX:MaxRAMFraction=1"),
        _env(DOTNET_GCHeapHardLimitPercent="0x64"),
    ],
)
async def test_a_heap_that_grows_with_the_limit_leaves_nothing_beside_it(env: list[dict[str, str]]) -> None:
    _, steps = await _told("env", env).look()

    assert not any(step.applies for step in steps.values())
    assert re.search(r"% of its memory limit \((-XX:MaxRAM|DOTNET_)", steps["raise-memory"].why)
    assert steps["raise-memory"].advice.endswith(") well below its memory limit")


@pytest.mark.parametrize(
    "args",
    [["java", "-Xmx$(HEAP)"], ["sh", "-c", "java -Xmx${HEAP} -jar a.jar"], ["sh", "-c", 'java "-Xmx$HEAP"']],
)
async def test_a_heap_whose_size_is_a_variable_of_the_container_is_read(args: list[str]) -> None:
    play = _told("args", args)
    add = {"op": "add", "path": "/spec/template/spec/containers/0/env", "value": _env(HEAP="2g")}
    play.edit(Kind.DEPLOYMENT, "langgraph-embedder", add)
    play.clock.advance(86400)
    _, steps = await play.look()

    assert not any(step.applies for step in steps.values())
    assert "a heap of 2 GiB (-Xmx2g in its args)" in steps["raise-memory"].why


@pytest.mark.parametrize(
    "env",
    [
        _env(JAVA_OPTS="-Xmx512m"),
        _env(JAVA_OPTS="-Xms2g -Xss2g"),
        _env(JAVA_TOOL_OPTIONS="-XX:MaxRAMPercentage=75.0"),
        _env(JAVA_TOOL_OPTIONS="-XX:MaxRAMPercentage=95 -Xmx256m"),
        _env(JAVA_TOOL_OPTIONS="-Xmx4g", JAVA_OPTS="-Xmx256m"),
        _env(NODE_OPTIONS="--max-old-space-size=384"),
        _env(GOMEMLIMIT="450MiB"),
        _env(GOMEMLIMIT="off"),
        _env(DOTNET_GCHeapHardLimit="0x10000000"),
        _env(DOTNET_GCHeapHardLimitPercent="0x4B"),
        _env(DOTNET_GCHeapHardLimitPercent="0x64", DOTNET_GCHeapHardLimit="10000000"),
        _env(NOTE="see -Xmx2gb"),
    ],
)
async def test_a_heap_that_the_raised_limit_holds_is_no_reason_against_it(env: list[dict[str, str]]) -> None:
    _, steps = await _told("env", env).look()

    assert steps["raise-memory"].applies
    assert "heap" not in steps["raise-memory"].asks


def test_a_long_value_that_is_named_often_does_not_fill_our_own_memory() -> None:
    manifest = copy.deepcopy(deployment())
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["run", "-Xmx$(HEAP)", "$BIG " * 1_000]
    container["env"] = _env(BIG="x" * 100_000, HEAP="2g")
    parsed = workload(manifest)
    tracemalloc.start()
    heap = heap_of(parsed, container["name"])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert heap is not None
    assert heap.text == "-Xmx2g in its args"
    assert most < 5_000_000


async def test_of_a_heap_that_a_release_brought_a_person_is_asked() -> None:
    """A rollback may fit better, and it is for a person to say."""
    play = stage()
    add = {"op": "add", "path": "/spec/template/spec/containers/0/env", "value": _env(JAVA_OPTS="-Xmx2g")}
    play.edit(Kind.DEPLOYMENT, "langgraph-embedder", add)
    play.clock.advance(600)
    _, steps = await play.look()

    asks = steps["raise-memory"].asks
    assert "a rollback of that release may fit better" in asks
    assert "may fill a heap of 2 GiB (-Xmx2g in JAVA_OPTS), which 768 MiB does not hold either" in asks


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
