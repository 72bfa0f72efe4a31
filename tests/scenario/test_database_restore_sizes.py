"""A restore stops the application from whatever size that has by then, and starts it with the same: an autoscaler is no hand against it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from tests.scenario.rig import Died, Rig
from tests.scenario.scenes import the_incident, the_run
from tests.scenario.test_database_restore import (
    ALL,
    RULE,
    approved,
    born,
    databases,
    order,
    replicas,
    rests,
    writes,
)

WHERE = (Kind.DEPLOYMENT, "rag7", "langgraph-threads")
HPA = "kube-controller-manager"


def _autoscaled(rig: Rig) -> None:
    rig.cluster.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "langgraph-threads", "namespace": "rag7"},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": "langgraph-threads",
                },
                "minReplicas": 3,
                "maxReplicas": 10,
                "metrics": [],
            },
        }
    )


async def _at(rig: Rig, what: str) -> None:
    """The moment at which this was written."""
    rig.stride = 1.0

    async def written() -> bool:
        return what in writes(rig)

    await rig.until(written)


def _when(rig: Rig, verb: str, when: str, then: Callable[[], Any]) -> None:
    def hook(request: Any, at: str) -> None:
        if request.verb == verb and at == when and not request.dry_run:
            then()

    rig.cluster.on_request(hook)


async def _ordered(path: Path, *, autoscaled: bool = False, rule: str = RULE, **params: Any) -> Rig:
    rig = await born(path, rule=rule)
    if autoscaled:
        _autoscaled(rig)
    await order(rig, **params)
    await approved(rig)
    return rig


@pytest.mark.parametrize("by", [HPA, "kubectl"])
@pytest.mark.parametrize("phase", ["rehearse", "restore", "safety"])
async def test_a_size_that_moved_while_the_copy_was_made_is_the_one_that_comes_back(
    tmp_path: Path, phase: str, by: str
) -> None:
    rig = await _ordered(tmp_path, autoscaled=by == HPA)
    await _at(rig, phase)
    rig.cluster.scale(*WHERE, 5, by)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 5), run.result
    assert "Scale rag7/Deployment/langgraph-threads from 5 to 0 replicas" in rig.notebook.text
    assert "Start rag7/Deployment/langgraph-threads again with 5 replicas" in rig.notebook.text
    await rig.close()


async def test_approvers_read_that_the_autoscaler_may_move_it_and_what_becomes_of_that(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    _autoscaled(rig)
    await order(rig)
    await rig.run(20)
    told = rig.notebook.text
    assert "may move it until then: it is stopped from the number of replicas that it has by then" in told
    assert "or as many as it had when it was stopped" in told
    await rig.close()


async def test_a_size_that_the_order_gives_is_started_whatever_it_was(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path, replicas=2)
    await _at(rig, "restore")
    rig.cluster.scale(*WHERE, 5, HPA)
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.FIXED, 2)
    await rig.close()


async def test_a_size_that_moves_right_before_the_stop_is_looked_at_again(tmp_path: Path) -> None:
    rig, sizes = await _ordered(tmp_path), iter((4, 5))
    _when(
        rig,
        "patch",
        "before",
        lambda: rig.cluster.scale(*WHERE, next(sizes, 5), HPA) if len(writes(rig)) == 3 else None,
    )
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 5)
    await rig.close()


@pytest.mark.parametrize("fault", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
async def test_promise_2_a_stop_whose_answer_was_lost_still_knows_the_size(
    tmp_path: Path, fault: FaultKind
) -> None:
    rig = await _ordered(tmp_path)
    await _at(rig, "safety")
    rig.cluster.scale(*WHERE, 5, HPA)
    rig.cluster.faults.add(Fault(fault, verb="patch", kind=Kind.DEPLOYMENT, dry_run=False))
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 5)
    await rig.close()


async def test_promise_1_a_death_after_the_stop_still_knows_the_size(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await _at(rig, "safety")
    rig.cluster.scale(*WHERE, 5, HPA)
    first = rig.reaper
    _when(rig, "patch", "after", lambda: setattr(first, "at", first.crossed + 1))
    with pytest.raises(Died):
        await rig.run(600)
    await rig.die()
    rig.cluster.catch_up()
    await rig.born()
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 5)
    await rig.close()


async def test_what_a_person_scaled_to_0_before_is_restored_under_and_not_started(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await _at(rig, "restore")
    rig.cluster.scale(*WHERE, 0, "kubectl")
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, await replicas(rig)) == (RunState.FIXED, 0), run.result
    assert writes(rig) == ["rehearse", "restore", "safety", "rename"]
    told = rig.notebook.text
    assert "stood at 0 already" in told
    assert "is at 0 replicas already (set by kubectl): it is left so until somebody starts it" in told
    assert "kubectl scale deployment/langgraph-threads -n rag7 --replicas=" in told
    await rig.close()


async def test_what_stood_at_0_and_was_started_and_stopped_meanwhile_is_not_exchanged_under(
    tmp_path: Path,
) -> None:
    """What it wrote in between would be lost."""
    rig = await _ordered(tmp_path)
    await _at(rig, "restore")
    rig.cluster.scale(*WHERE, 0, "kubectl")
    seen = []

    async def judged() -> bool:
        seen.append("stood at 0 already" in rig.notebook.text)
        return seen[-1]

    await rig.until(judged)
    if "rename" not in writes(rig):
        for size in (2, 0):
            rig.cluster.scale(*WHERE, size, "kubectl")
        await rig.until(lambda: rests(rig))
        assert "rename" not in writes(rig)
        assert (await the_run(rig)).state is RunState.ABANDONED
    await rig.close()


@pytest.mark.parametrize("size", [2, 3, 5])
async def test_what_somebody_starts_right_after_the_exchange_is_started(tmp_path: Path, size: int) -> None:
    rig = await _ordered(tmp_path)
    _when(rig, "rename", "after", lambda: rig.cluster.scale(*WHERE, size, "kubectl"))
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, await replicas(rig)) == (RunState.FIXED, size), run.result
    assert (await the_incident(rig)).state is IncidentState.FIXED
    assert f"is at {size} replicas already (set by kubectl)" in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize("autoscaled", [True, False])
async def test_an_undo_stops_the_application_from_the_size_it_has_by_then_and_starts_it_with_that(
    tmp_path: Path, *, autoscaled: bool
) -> None:
    rig = await _ordered(tmp_path, autoscaled=autoscaled)
    await rig.until(lambda: rests(rig))
    rig.cluster.scale(*WHERE, 5, HPA if autoscaled else "kubectl")
    await rig.run(30)
    await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, await replicas(rig)) == (RunState.UNDONE, 5), run.result
    assert writes(rig) == [*ALL, "scale", "rename", "scale"]
    assert (await databases(rig))["langgraph_checkpoints"].mark == ""
    await rig.close()


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("when", ["before the order", "right before its stop"])
async def test_an_undo_goes_by_the_size_of_the_moment_and_starts_nothing_that_stood_at_0(
    tmp_path: Path, when: str, size: int
) -> None:
    """0 is a size as any other: whoever set it wants the application down."""
    rig = await _ordered(tmp_path)
    await rig.until(lambda: rests(rig))
    if when == "before the order":
        rig.cluster.scale(*WHERE, size, "kubectl")
        await rig.run(60)
    else:
        moved: list[int] = []

        def moves() -> None:
            if not moved:
                moved.append(size)
                rig.cluster.scale(*WHERE, size, "kubectl")

        _when(rig, "patch", "before", moves)
    await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, await replicas(rig)) == (RunState.UNDONE, size), run.result
    assert writes(rig) == [*ALL, *(["scale", "rename", "scale"] if size else ["rename"])]
    assert (await databases(rig))["langgraph_checkpoints"].mark == ""
    await rig.close()


@pytest.mark.parametrize("undone", [False, True])
@pytest.mark.parametrize("read", range(1, 9))
async def test_no_names_are_exchanged_when_somebody_starts_the_application_right_before(
    tmp_path: Path, read: int, *, undone: bool
) -> None:
    """At whichever read after the stop, also those that come after the last look at its pods: what it writes from then on would be lost."""
    rig, reads, named = await _ordered(tmp_path), list[int](), list[int]()

    def moves(request: Any, at: str) -> None:
        stopped = len(writes(rig)) == (len(ALL) + 1 if undone else len(ALL) - 2)
        if request.verb == "get" and at == "before" and stopped:
            reads.append(len(reads) + 1)
            if reads[-1] == 3 * read:
                rig.cluster.scale(*WHERE, 5, "kubectl")
        if request.verb == "rename" and at == "before":
            manifest = rig.cluster.peek(*WHERE)
            named.append(manifest["spec"]["replicas"] if manifest else -1)

    if undone:
        await rig.until(lambda: rests(rig))
    rig.cluster.on_request(moves)
    if undone:
        await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.until(lambda: rests(rig))
    await rig.run(60)
    assert set(named) <= {0}, "never while it is wanted"
    assert await replicas(rig) > 0
    await rig.close()


@pytest.mark.parametrize("sizes", [(5, 0), (5, 0, 3, 0), (0,)])
async def test_promise_10_what_somebody_stops_once_more_after_the_exchange_is_theirs_to_start(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    """0 replicas do not tell whose they are; how often the spec was changed does. Who sets 0 where 0 stands changes nothing."""
    rig = await _ordered(tmp_path)

    def moves() -> None:
        for size in sizes:
            rig.cluster.scale(*WHERE, size, "kubectl")

    _when(rig, "rename", "after", moves)
    await rig.until(lambda: rests(rig))
    run, theirs = await the_run(rig), len(sizes) > 1
    state = RunState.TAKEN_OVER if theirs else RunState.FIXED
    assert (run.state, await replicas(rig)) == (state, 0 if theirs else 3), run.result
    assert writes(rig) == (ALL[:-1] if theirs else ALL)
    words = "is at 0 replicas already (set by kubectl): it is left so until somebody starts it (kubectl scale"
    assert (words in rig.notebook.text) is theirs
    await rig.close()


async def test_a_template_that_was_changed_after_the_stop_keeps_nothing_from_being_started(
    tmp_path: Path,
) -> None:
    rig = await _ordered(tmp_path)
    label = {"op": "add", "path": "/spec/template/metadata/labels/release", "value": "2"}
    _when(rig, "rename", "after", lambda: rig.cluster.edit(*WHERE, [label]))
    await rig.until(lambda: rests(rig))
    assert await replicas(rig) == 3
    await rig.close()


async def test_a_size_whose_writer_somebody_took_off_is_asked_about_anew(tmp_path: Path) -> None:
    """How often the spec was changed tells that something was; nobody can tell any more what."""
    rig = await _ordered(tmp_path)
    await _at(rig, "scale")
    for size in (5, 0):
        rig.cluster.scale(*WHERE, size, "kubectl")
    rig.cluster._store._objects[WHERE[:2]][WHERE[2]]["metadata"]["managedFields"] = []
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, "rename" in writes(rig)) == (RunState.ABANDONED, False)
    assert "somebody has set the replicas" in run.result
    await rig.close()
