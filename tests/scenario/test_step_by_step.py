"""How a verification ends where a step helped, came up in part, or is slow: nothing is taken back by itself but what is measured to be no better."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert_report import AlertReport, Reported
from app.domain.errors import ClusterRefused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Otherwise
from app.sim import load_scenario
from app.sim.behaviour import Cpu, ErrorLine
from app.sim.scenario import Scenario
from tests.crash.worlds import eased, flood
from tests.scenario.rig import Rig, shipped_policy
from tests.scenario.scenes import (
    all_runs,
    born,
    policy,
    says_yes,
    the_incident,
    the_run,
    trail,
    writes,
)

UNDO = (Otherwise.UNDO, Otherwise.ESCALATE)
NEXT = (Otherwise.NEXT, *UNDO)
QUEUE = "{time} ERROR langgraph.server [{request}] TimeoutError: request queue is full, waited 30 s"
BROKEN = (
    "{time} ERROR langgraph.checkpoint [{request}] TypeError: connect() got an unexpected keyword argument"
)


def says(rig: Rig, state: Reported | None = None) -> list[Reported | None]:
    """Alertmanager's word from now on; None leaves it to the simulated one. The list may be changed."""
    word, natural = [state], rig.cluster.alertmanager.states

    async def states(alerts: list[Any]) -> list[AlertReport]:
        if word[0] is None:
            return list(await natural(alerts))
        return [AlertReport(word[0], word[0].value, "")] * len(alerts)

    vars(rig.cluster.alertmanager)["states"] = states
    return word


def behaves(world: Scenario, index: int, **changes: Any) -> Scenario:
    """The world with one behaviour changed."""
    known = list(world.behaviours)
    known[index] = known[index].model_copy(update=changes)
    return world.model_copy(update={"behaviours": tuple(known)})


def with_capacity(capacity: float) -> Scenario:
    """Too much load for two replicas, each of which carries so many requests a second."""
    base = flood()
    known = (b.model_copy(update={"capacity": capacity}) if b.capacity else b for b in base.behaviours)
    return base.model_copy(update={"behaviours": tuple(known)})


def rolling(replicas: int, ready_after: float) -> Scenario:
    """A bad release of so many pods, one at a time."""
    world = load_scenario("high-error-rate")
    objects = copy.deepcopy(list(world.objects))
    for found in objects:
        if found["kind"] == "Deployment" and found["metadata"]["name"] == "langgraph":
            one = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
            found["spec"] |= {"replicas": replicas, "strategy": one}
    story = tuple(s.model_copy(update={"at": -3_000.0}) for s in world.story)
    world = world.model_copy(
        update={"objects": tuple(objects), "story": story if ready_after else world.story}
    )
    return (
        behaves(behaves(world, 1, ready_after=ready_after), 0, ready_after=ready_after)
        if ready_after
        else world
    )


def never_ready(rig: Rig, container: str, place: int) -> None:
    """Of the pods that are made after our write, the one at this place stays unready, and so do those that replace it."""
    behaviours = rig.cluster._simulation.kubelet._behaviours
    real, seen = behaviours.of, list[str]()

    def of(pod: dict[str, Any], spec: dict[str, Any]) -> Any:
        found = real(pod, spec)
        if spec["name"] == container and writes(rig):
            name = pod["metadata"]["name"]
            seen.extend([name] if name not in seen else [])
            if seen.index(name) == place:
                return found.model_copy(update={"ready_after": 1e9})
        return found

    vars(behaviours)["of"] = of


def before_the_write(rig: Rig, then: Callable[[], None]) -> None:
    """Right before the first write."""
    done: list[bool] = []

    def hook(request: Any, when: str) -> None:
        write = request.verb == "patch" and not request.dry_run and request.kind is not Kind.EVENT
        if write and when == "before" and not done:
            done.append(True)
            then()

    rig.cluster.on_request(hook)


def swap(rig: Rig, index: int, **changes: Any) -> None:
    """Another behaviour from now on."""
    behaviours = rig.cluster._simulation.kubelet._behaviours
    known = list(behaviours._known)
    known[index] = known[index].model_copy(update=changes)
    vars(behaviours)["_known"] = tuple(known)


async def ended(rig: Rig, *, alerts: bool = True, fires: list[Reported | None] | None = None) -> Any:
    """Let the run come to its end, people saying yes; with `fires` the alert fires on from the write on."""
    for _ in range(500):
        await says_yes(rig)
        await rig.run(10, alerts=alerts or not writes(rig))
        if fires is not None and writes(rig) and fires[0] is None:
            fires[0] = Reported.FIRING
        found = await all_runs(rig)
        if found and found[-1].state.ended:
            await rig.run(60, alerts=False)
            return (await all_runs(rig))[-1]
    raise AssertionError(rig.notebook.text[-2000:])


def deployment(rig: Rig, name: str) -> Any:
    return rig.cluster.peek(Kind.DEPLOYMENT, "rag7", name)


def image(rig: Rig) -> str:
    template = deployment(rig, "langgraph")["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"]).rpartition(":")[2]


async def test_a_rollback_of_which_nine_of_ten_pods_serve_stays_and_a_person_reads_why(
    tmp_path: Path,
) -> None:
    """The alert is gone: to take it back would bring the bad release to all ten."""
    rig = await born(tmp_path, rules=shipped_policy(), world=rolling(10, 0))
    never_ready(rig, "langgraph", 9)
    run = await ended(rig)
    assert (run.state, image(rig)) == (RunState.INCONCLUSIVE, "v1.4.2")
    assert writes(rig) == ["patch langgraph"]
    assert "9 of 10 new pods serve, 1 of those before does, and langgraph-" in run.result
    assert "does not: it is not ready" in run.result
    assert "5xx: 0.34 before the step, 0.0" in run.result, "the numbers are told"
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_a_slow_rollback_is_waited_for_while_the_alert_fires_on_its_old_pods(tmp_path: Path) -> None:
    """Twelve pods, a minute each: longer than the timeout, and within the rollout's own deadline."""
    rig = await born(tmp_path, rules=shipped_policy(), world=rolling(12, 60))
    run = await ended(rig)
    assert (run.state, image(rig)) == (RunState.FIXED, "v1.4.2")
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


@pytest.mark.parametrize("capacity", [4.0, 20.0], ids=["in part", "gone"])
async def test_a_scale_out_that_helps_stays_although_one_of_its_pods_does_not_come_up(
    capacity: float, tmp_path: Path
) -> None:
    rules = policy(otherwise=UNDO, steps=("scale-out",))
    rig = await born(tmp_path, rules=rules, world=with_capacity(capacity))
    never_ready(rig, "api", 5)
    run = await ended(rig, alerts=False, fires=says(rig))
    assert run.state is RunState.STILL_FIRING
    assert writes(rig) == ["patch langgraph-api"]
    assert "5 new pods serve" in run.result
    await rig.close()


async def test_after_a_step_that_came_up_in_part_nobody_is_told_that_it_never_came_about(
    tmp_path: Path,
) -> None:
    """Nor that the alert may be about another workload: it fires on after what the step did."""
    rig = await born(tmp_path, rules=policy(otherwise=NEXT), world=with_capacity(4.0))
    never_ready(rig, "api", 5)
    await ended(rig, alerts=False, fires=says(rig))
    assert "never came about" not in rig.notebook.text
    assert "another workload" not in rig.notebook.text
    await rig.close()


async def test_what_helped_in_part_stays_when_the_next_step_is_refused(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(otherwise=NEXT), world=eased())
    patch = rig.cluster.patch

    async def refusing(*args: Any, **options: Any) -> Any:
        if "restartedAt" in f"{args}{options}":
            raise ClusterRefused("admission webhook denied the request", where="patch")
        return await patch(*args, **options)

    vars(rig.cluster)["patch"] = refusing
    run = await ended(rig, alerts=False, fires=says(rig))
    assert run.state is RunState.STILL_FIRING
    assert writes(rig) == ["patch langgraph-api"]
    assert deployment(rig, "langgraph-api")["spec"]["replicas"] == 8
    assert "not undone by itself: scale-out helped" in run.result
    assert "scaled out in this incident already, which helped in part" in run.result
    await rig.close()


async def test_a_run_is_told_by_the_step_that_helped_although_the_first_did_not(tmp_path: Path) -> None:
    """Neither of its steps says that nothing helped, and it is no setback for its trust."""
    rig = await born(tmp_path, rules=policy(otherwise=NEXT), world=flood())

    def hook(_request: Any, when: str) -> None:
        if when == "after" and len(writes(rig)) == 2:
            rig.cluster.traffic.set_rps("langgraph-api", 10.0)

    rig.cluster.on_request(hook)
    fires = says(rig)
    run = await ended(rig, alerts=False, fires=fires)
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api"]
    assert "it did not help: Latency" in run.result
    assert "it helped in part" in run.result
    assert run.state is RunState.STILL_FIRING
    await rig.close()


async def test_what_helped_in_part_stays_when_the_next_step_does_not_help(tmp_path: Path) -> None:
    """The run is told by what it leaves in place, and its trust is not that of the later step alone."""
    rig = await born(tmp_path, rules=policy(otherwise=NEXT), world=eased())
    run = await ended(rig, alerts=False, fires=says(rig))
    assert run.state is RunState.STILL_FIRING
    assert "it did not help" in run.result
    assert "not undone by itself: scale-out helped" in run.result
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api"]
    assert deployment(rig, "langgraph-api")["spec"]["replicas"] == 8
    assert (
        "Done: Scale rag7/Deployment/langgraph-api from 2 to 8 replicas"
        in rig.notebook.text.split("Escalated")[-1]
    )
    await rig.close()


async def test_the_first_steps_open_task_is_told_when_a_later_step_ends_it(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(otherwise=NEXT), world=with_capacity(4.0))
    word = says(rig)

    async def calm() -> None:
        if len(writes(rig)) == 2:
            swap(
                rig, next(n for n, b in enumerate(with_capacity(4.0).behaviours) if b.capacity), capacity=40.0
            )
            word[0] = Reported.GONE

    for _ in range(200):
        await says_yes(rig)
        await rig.run(10, alerts=not writes(rig))
        if writes(rig) and word[0] is None:
            word[0] = Reported.FIRING
        await calm()
        if (await all_runs(rig)) and (await all_runs(rig))[-1].state.ended:
            break
    run = await the_run(rig)
    assert run.state is RunState.CONTAINED
    assert "Still to do after scale-out: " in run.result
    await rig.close()


def two_steps(rig: Rig, share: float) -> None:
    """From the rollback on the older version fails as well, of its load."""
    old = {"error_ratio": share, "error_lines": (ErrorLine(line=QUEUE),), "cpu": Cpu(base=990, per_rps=40)}
    before_the_write(rig, lambda: swap(rig, 1, **old))


@pytest.mark.parametrize(
    ("share", "stays", "ends"),
    [
        (0.34, "would bring back", RunState.NOT_FIXED),
        (0.12, "roll-back helped", RunState.STILL_FIRING),
    ],
    ids=["no help", "in part"],
)
@pytest.mark.parametrize("dies", [False, True], ids=["", "the process dies on the way"])
async def test_after_a_rollback_that_stays_a_step_that_did_not_help_is_taken_back_alone(
    share: float, stays: str, ends: RunState, dies: bool, tmp_path: Path
) -> None:
    """Once, announced and told, also when the process dies before and after the undo's write; a person's undo takes back what is left."""
    world = behaves(load_scenario("high-error-rate"), 0, cpu=Cpu(base=900, per_rps=40))
    rig = await born(tmp_path, rules=policy(otherwise=NEXT, cooldown=timedelta(seconds=1)), world=world)
    two_steps(rig, share)
    word = says(rig)
    deaths: list[str] = []
    for _ in range(300):
        await says_yes(rig)
        await rig.run(5, alerts=not writes(rig))
        if writes(rig) and word[0] is None:
            word[0] = Reported.FIRING
        run = (await all_runs(rig))[-1] if await all_runs(rig) else None
        where = f"{run.state} {len(writes(rig))}" if run else ""
        if dies and where and where not in deaths:
            deaths.append(where)
            await rig.die()
            await rig.born()
            two_steps_word = word[0]
            word = says(rig, two_steps_word)
        if run and run.state.ended:
            break
    run = await the_run(rig)
    assert run.state is ends
    assert writes(rig) == ["patch langgraph", "patch langgraph", "patch langgraph (undo)"]
    assert (image(rig), deployment(rig, "langgraph")["spec"]["replicas"]) == ("v1.4.2", 3)
    assert "not undone by itself: " in run.result
    assert stays in run.result
    assert len(await trail(rig, EventKind.UNDO_INTENDED)) == len(await trail(rig, EventKind.UNDO_ENDED)) == 1
    assert rig.notebook.text.count("Undone: Scale rag7/Deployment/langgraph from 3 to 5 replicas") == 1
    explained = await rig.operations.explain(run.id)
    assert "not undone by itself" in str(explained)
    await rig.operations.undo(run.id, "ann")
    await rig.run(60)
    assert image(rig) == "v1.5.0", "a person's undo takes back what is left"
    assert (await the_run(rig)).state is RunState.UNDONE
    await rig.close()


async def _without_metrics(rig: Rig) -> None:
    rig.cluster.metrics.available = False


@pytest.mark.parametrize("share", [0.34, 0.0], ids=["they go on", "they are gone"])
async def test_an_alert_that_is_gone_is_no_fix_while_the_errors_of_before_are_counted(
    share: float, tmp_path: Path
) -> None:
    """An Alertmanager that has forgotten, and no Prometheus to ask."""
    rig = await born(tmp_path, rules=shipped_policy())
    word = says(rig)
    await _without_metrics(rig)
    errors = {"error_ratio": share, "error_lines": (ErrorLine(line=BROKEN),)} if share else {}
    before_the_write(rig, lambda: swap(rig, 1, **errors))
    for _ in range(200):
        await says_yes(rig)
        await rig.run(10, alerts=not writes(rig))
        if writes(rig):
            word[0] = Reported.GONE
        if (await all_runs(rig)) and (await all_runs(rig))[-1].state.ended:
            break
    run = await the_run(rig)
    assert writes(rig) == ["patch langgraph"]
    if share:
        assert run.state is RunState.INCONCLUSIVE
        assert (
            "the alert is gone, and what it told of goes on: error lines a minute: 184 before" in run.result
        )
    else:
        assert run.state is RunState.FIXED
    await rig.close()
