"""Promise 7: undos that wait. Whose hand is on the object is looked for until it can be told, and a person's order is told, can be withdrawn,
and ends with its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident, the_run, trail, writes
from tests.scenario.test_promise_7_at_odd_moments import (
    API,
    _asked_about_a_second_step,
    _fixed,
    _headline,
    _held,
    _is,
    _replicas,
)


@pytest.mark.parametrize("kind", [FaultKind.UNREACHABLE, FaultKind.THROTTLED])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_hand_that_could_not_be_looked_for_is_looked_for_again(
    tmp_path: Path, kind: FaultKind, times: int
) -> None:
    """Whoever edits the object while the rule's undo waits keeps what they wrote, also where reads of it fail in between."""
    rig = await _held(tmp_path)
    env = "/spec/template/spec/containers/0/env"
    rig.cluster.edit(*API, [{"op": "add", "path": env, "value": [{"name": "POOL", "value": "50"}]}])
    await rig.run(30)
    rig.cluster.faults.add(Fault(kind, verb="get", kind=Kind.DEPLOYMENT, times=times))
    await rig.operations.resume("all", "kim")
    await rig.until(_is(rig, RunState.NOT_FIXED), 300)
    assert not rig.cluster.faults.waiting
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert (ended.data["result"], "kubectl-edit" in ended.data["text"]) == ("conflict", True)
    await rig.close()


async def test_an_undo_that_was_held_is_measured_again_before_it_is_written(tmp_path: Path) -> None:
    """What helped late stays, although its alert fires on: the measure is of before the hold."""
    rig = await _held(tmp_path)

    async def instant(query: str) -> Any:
        return [({}, 0.3)]

    vars(rig.cluster.metrics)["instant"] = instant
    await rig.operations.resume("all", "kim")
    await rig.until(_is(rig, RunState.NOT_FIXED), 300)
    run = await the_run(rig)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    assert "measured again after the undo was held: " in run.result
    assert "0.3 now" in run.result
    assert f"remediator undo {run.id}" in run.result
    await rig.close()


async def test_an_undo_that_was_held_is_not_written_once_nothing_can_be_measured(tmp_path: Path) -> None:
    rig = await _held(tmp_path)
    rig.cluster.metrics.available = rig.cluster.metrics_api = False
    await rig.operations.resume("all", "kim")
    await rig.until(_is(rig, RunState.NOT_FIXED), 300)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    assert "not measured" in (await the_run(rig)).result
    await rig.close()


async def test_an_undo_that_was_held_is_written_where_it_is_no_better_as_before(tmp_path: Path) -> None:
    rig = await _held(tmp_path)
    await rig.operations.resume("all", "kim")
    await rig.until(_is(rig, RunState.NOT_FIXED), 300)
    assert (len(writes(rig)), _replicas(rig)) == (2, 2)
    await rig.close()


@pytest.mark.parametrize("manager", ["kubectl", "argocd-controller"])
async def test_a_value_that_somebody_set_anew_is_theirs_although_it_is_ours(
    tmp_path: Path, manager: str
) -> None:
    """They scaled to 7, and to 8 again: the size has their hand by then, and the undo leaves it."""
    rig = await _held(tmp_path)
    for size in (7, 8):
        rig.cluster.scale(*API, size, manager)
    await rig.operations.resume("all", "kim")
    await rig.until(_is(rig, RunState.NOT_FIXED), 300)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert ended.data["result"] == "conflict"
    assert f"{manager} changed /spec/replicas to the value that it has" in ended.data["text"]
    await rig.close()


async def test_an_undo_whose_object_cannot_be_read_at_all_is_stuck_and_writes_nothing(tmp_path: Path) -> None:
    """Nobody can tell whose hand is on it."""
    rig = await _held(tmp_path)
    rig.cluster.deny("get", Kind.DEPLOYMENT)
    await rig.operations.resume("all", "kim")
    await rig.run(900)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], RunState.UNDOING)
    assert "unknown" in run.waits_for
    await rig.close()


async def _held_order(path: Path) -> Rig:
    """A person ordered an undo, and a pause came before it began."""
    rig = await _fixed(path)
    await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.operations.pause("all", "wait", "kim", None)
    await rig.run(60)
    return rig


async def test_a_persons_undo_that_waits_is_told_with_what_it_waits_for_and_what_to_do(
    tmp_path: Path,
) -> None:
    rig = await _held_order(tmp_path)
    run = await the_run(rig)
    for text in (_headline(rig), rig.notebook.text):
        assert "The undo waits: all is paused by kim: wait" in text
        assert f"Go on despite it: remediator undo {run.id} --despite" in text
        assert f"Withdraw it until it begins: remediator reject {run.id}" in text
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    assert "waits" not in _headline(rig)
    await rig.close()


async def test_a_persons_undo_that_waits_can_be_withdrawn(tmp_path: Path) -> None:
    """The run is again as it had ended, and the next order is as good as the first."""
    rig = await _held_order(tmp_path)
    before = (await the_run(rig)).result
    taken_back = await rig.operations.reject((await the_run(rig)).id, "ana")
    assert taken_back["answer"] == "withdrawn"
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    run = await the_run(rig)
    assert (writes(rig), run.state, run.result) == (["patch langgraph"], RunState.FIXED, before)
    assert "Withdrawn by ana" in rig.notebook.text
    assert not await trail(rig, EventKind.ESCALATED)
    assert "Undoing" not in _headline(rig)
    (told,) = await trail(rig, EventKind.UNDO_WITHDRAWN)
    assert told.actor == "ana"
    with pytest.raises(Refused) as refused:
        await rig.operations.reject(run.id, "ana")
    assert refused.value.code == "not_waiting"
    await rig.operations.undo(run.id, "ana")
    await rig.run(60)
    assert (writes(rig)[1:], (await the_run(rig)).state) == (["patch langgraph (undo)"], RunState.UNDONE)
    await rig.close()


def _folder(path: Path) -> Path:
    (path / "begun").mkdir()
    return path / "begun"


async def test_an_undo_that_has_begun_or_that_nobody_ordered_cannot_be_withdrawn(tmp_path: Path) -> None:
    rig = await _held(tmp_path)
    with pytest.raises(Refused) as refused:
        await rig.operations.reject((await the_run(rig)).id, "ana")
    assert refused.value.code == "not_ordered"
    await rig.close()
    rig = await _fixed(_folder(tmp_path))
    run = await the_run(rig)
    codes = list[str]()

    async def while_it_may_be_sent() -> None:
        with pytest.raises(Refused) as late:
            await rig.operations.reject(run.id, "ana")
        codes.append(late.value.code)

    after_the_first(rig, EventKind.UNDO_INTENDED, while_it_may_be_sent)
    await rig.operations.undo(run.id, "ana")
    await rig.run(30)
    assert (codes, (await the_run(rig)).state) == (["undo_begun"], RunState.UNDONE)
    await rig.close()


@pytest.mark.parametrize("away", [False, True], ids=["", "and nobody was at it meanwhile"])
async def test_a_persons_undo_that_waits_ends_with_its_time(tmp_path: Path, away: bool) -> None:
    """An order is a word as long as an approval would be: what comes free later writes nothing, and a person is called."""
    rig = await _held_order(tmp_path)
    if away:
        rig.clock.advance(3 * 86_400)
        await rig.operations.resume("all", "kim")
    await rig.run(1_900)
    if not away:
        await rig.operations.resume("all", "kim")
        await rig.run(60)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph"], RunState.FIXED)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "the undo was ordered and is not done: it waited for all is paused by kim" in called.data["reason"]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_help_that_comes_late_is_told_by_the_step_that_was_taken(tmp_path: Path) -> None:
    """A second step was only asked about: neither its task nor its question is left when the first one helped."""
    rig = await _asked_about_a_second_step(tmp_path)
    asked = await the_run(rig)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await rig.until(_is(rig, RunState.CONTAINED))
    await rig.run(5)
    run = await the_run(rig)
    assert (asked.step.name, run.step.name, run.step_index) == ("restart", "scale-out", 0)
    assert (run.step.open_task in run.result, asked.step.open_task in run.result) == (True, False)
    told = _headline(rig)
    assert (run.step.why in told, asked.step.why in told, "Needs an approval" in told) == (True, False, False)
    assert run.step.open_task in told
    assert asked.step.open_task not in told
    assert (await rig.operations.explain(run.id))["plan"]["name"] == "scale-out"
    await rig.close()
