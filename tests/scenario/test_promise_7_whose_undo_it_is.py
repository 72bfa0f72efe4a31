"""Promise 7, undone or escalated: an undo of the rule's that somebody makes their own and takes back ends as the rule's own would, and who keeps what
was done has it by that word."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.sim.faults import FaultKind
from app.store import people
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident, the_run, trail, writes
from tests.scenario.test_being_deleted import delete_slowly
from tests.scenario.test_promise_10_an_intent_is_no_write import _does_not_get_out, acknowledged
from tests.scenario.test_stricter_rule_takes_nothing_back import _no_help, _reaches


async def _calls(rig: Rig) -> int:
    return len(await trail(rig, EventKind.ESCALATED))


async def _taken_over(path: Path, kind: FaultKind) -> Rig:
    """The rule's undo cannot get out, and ana has ordered it."""
    rig = await _no_help(path)
    await _does_not_get_out(rig, kind)
    assert await _calls(rig) == 0
    await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.run(2)
    return rig


@pytest.mark.parametrize("kind", [FaultKind.UNREACHABLE, FaultKind.THROTTLED])
@pytest.mark.parametrize("withdrawn", [True, False])
async def test_promise_7_an_order_over_the_rules_undo_that_comes_to_nothing_calls_a_person(
    tmp_path: Path, kind: FaultKind, *, withdrawn: bool
) -> None:
    """The run had never ended: why the step did not help is told, counted for its trust, and somebody is called."""
    rig = await _taken_over(tmp_path, kind)
    if withdrawn:
        assert (await rig.operations.reject((await the_run(rig)).id, "ana"))["answer"] == "withdrawn"
        rig.cluster.faults.waiting.clear()
        await rig.run(60)
    else:
        await rig.operations.pause("all", "hands off", "kim", None)
        rig.cluster.faults.waiting.clear()
        await rig.run(3 * 3_600)
    run = await the_run(rig)
    assert (run.state, writes(rig)) == (RunState.NOT_FIXED, ["patch langgraph-api"])
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert await _calls(rig) == (1 if withdrawn else 2), "that the order is not done is told before"
    assert ("withdrawn by ana" in run.result) is withdrawn
    assert run.result.split(";")[0] not in ("", "withdrawn by ana"), "why the step did not help"
    await rig.close()


async def test_promise_7_an_order_over_the_rules_undo_that_is_carried_out_is_theirs(tmp_path: Path) -> None:
    rig = await _taken_over(tmp_path, FaultKind.UNREACHABLE)
    rig.cluster.faults.waiting.clear()
    await _reaches(rig, RunState.UNDONE)
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert await _calls(rig) == 0, "a person is at it"
    await rig.close()


async def test_promise_7_who_keeps_what_was_done_has_the_incident_and_nobody_is_called_for_their_word(
    tmp_path: Path,
) -> None:
    rig = await _no_help(tmp_path)
    await _does_not_get_out(rig, FaultKind.UNREACHABLE)
    await acknowledged(rig)
    rig.cluster.faults.waiting.clear()
    await rig.run(300)
    run, incident = await the_run(rig), await the_incident(rig)
    assert (run.state, incident.state) == (RunState.NOT_FIXED, IncidentState.ESCALATED)
    assert await _calls(rig) == 0
    holder = await rig.store.read(lambda conn: people.holder_of(conn, incident.id))
    assert holder is not None
    assert holder.by == "kim"
    (parent,) = rig.notebook.parents.values()
    assert "Acknowledged by kim" in parent
    assert "A person is needed" not in parent
    assert f"remediator undo {run.id}" in rig.notebook.text
    await rig.close()


async def test_promise_7_a_deletion_seen_right_before_the_undos_request_calls_nobody(tmp_path: Path) -> None:
    """Whoever deletes it has it, and no command helps: there is nothing to wait for, as there would be under a hold."""
    rig = await _no_help(tmp_path)

    async def deletes() -> None:
        delete_slowly(rig, (Kind.NAMESPACE, "", "rag7"))

    seen = after_the_first(rig, EventKind.UNDO_INTENDED, deletes)
    await rig.run(1_500)
    assert seen.done
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.TAKEN_OVER, ["patch langgraph-api"])
    assert await _calls(rig) == 0
    assert not await trail(rig, EventKind.UNDO_HELD)
    assert "--despite" not in rig.notebook.text
    await rig.close()
