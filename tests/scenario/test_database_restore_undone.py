"""The undo of a restore: what can be seen is seen before the application is stopped, and what cannot be done then does not keep it at 0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.copies import Found, prepared
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.sim.faults import Fault, FaultKind
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_incident, the_run, trail
from tests.scenario.test_database_restore import (
    ALL,
    approved,
    born,
    databases,
    order,
    replicas,
    rests,
    writes,
)

LIVE = "langgraph_checkpoints"
WAY = (prepared("x"),)


async def _restored(path: Path) -> Rig:
    rig = await born(path)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    assert (await the_run(rig)).state is RunState.FIXED
    return rig


def _set(rig: Rig, name: str, **changes: object) -> None:
    """Somebody changes what there is of the database."""
    (state,) = rig.cluster.databases.copies._states.values()
    state.databases[name] = replace(state.databases[name], **changes)  # type: ignore[arg-type]


def _drop(rig: Rig, name: str) -> None:
    rig.cluster.databases.copies.drop(name)


async def _kept(rig: Rig) -> Found:
    return (await databases(rig))["before"]


@pytest.mark.parametrize("where", ["live", "kept"])
async def test_an_undo_that_something_in_a_database_keeps_from_being_done_stops_nothing(
    tmp_path: Path, where: str
) -> None:
    rig = await _restored(tmp_path)
    _set(rig, LIVE if where == "live" else (await _kept(rig)).name, in_the_way=WAY)
    with pytest.raises(Refused, match=r"prepared transaction 'x'.*nothing was stopped for it"):
        await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.run(120)
    assert (writes(rig), await replicas(rig)) == (ALL, 3)
    await rig.close()


async def test_an_undo_of_an_older_restore_stops_nothing_once_a_newer_one_has_its_place(
    tmp_path: Path,
) -> None:
    rig = await _restored(tmp_path)
    first = (await the_run(rig)).id
    await order(rig)
    await rig.run(30)
    newer = (await all_runs(rig))[-1]
    for person in ("ann", "ben"):
        await rig.operations.approve(newer.id, person, newer.plan_hash)
    await rig.until(lambda: rests(rig))
    with pytest.raises(Refused, match="is not the restored copy any more"):
        await rig.operations.undo(first, "kim", despite=True)
    assert writes(rig) == [*ALL, *ALL]
    await rig.close()


async def test_sessions_that_may_not_be_ended_hold_an_undo_before_the_application_is_stopped(
    tmp_path: Path,
) -> None:
    rig = await _restored(tmp_path)
    _set(rig, LIVE, foreign={"exporter": 1})
    await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.run(30)
    assert (writes(rig), await replicas(rig)) == (ALL, 3)
    _set(rig, LIVE, foreign={})
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.UNDONE, 3)
    await rig.close()


async def _stopped_by_its_undo(rig: Rig) -> None:
    rig.stride = 1.0
    await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)

    async def stopped() -> bool:
        return len(writes(rig)) > len(ALL)

    await rig.until(stopped)


async def test_what_cannot_be_renamed_once_the_application_is_stopped_does_not_keep_it_at_0(
    tmp_path: Path,
) -> None:
    rig = await _restored(tmp_path)
    await _stopped_by_its_undo(rig)
    _set(rig, LIVE, in_the_way=WAY)
    await rig.run(500)
    told = rig.notebook.text
    assert "an application stands at 0, and the undo that it was stopped for (Point of no return" in told
    assert "starting it is tried" not in told
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, await replicas(rig)) == (RunState.UNDO_CONFLICT, 3), run.result
    assert writes(rig) == [*ALL, "scale", "scale"]
    assert (await databases(rig))[LIVE].mark, "on what it ran with before"
    assert (await the_incident(rig)).state is IncidentState.ESCALATED, "who ordered it is told, and called"
    told = rig.notebook.text
    for words in (
        "the undo was ordered and is not done",
        "prepared transaction 'x'",
        "It stays as it is, and what was stopped for it is started again",
        f"Now: {LIVE} is the restored copy",
    ):
        assert words in told, words
    await rig.close()


async def test_an_order_that_nothing_stops_the_application_for_any_more_says_what_to_do(
    tmp_path: Path,
) -> None:
    rig = await _restored(tmp_path)
    await _stopped_by_its_undo(rig)
    _set(rig, LIVE, in_the_way=WAY)
    await rig.until(lambda: rests(rig))
    _set(rig, LIVE, in_the_way=())
    run = await the_run(rig)
    with pytest.raises(Refused, match="is at 3 replicas, not at 0: scale it to 0 first"):
        await rig.operations.undo(run.id, "kim", despite=True)
    await rig.close()


async def test_what_comes_free_in_a_while_is_taken_back_after_all(tmp_path: Path) -> None:
    rig = await _restored(tmp_path)
    await _stopped_by_its_undo(rig)
    _set(rig, LIVE, in_the_way=WAY)
    await rig.run(120)
    _set(rig, LIVE, in_the_way=())
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.UNDONE, 3)
    await rig.close()


@pytest.mark.parametrize("fault", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
async def test_an_answer_lost_by_the_renaming_back_is_read_back(tmp_path: Path, fault: FaultKind) -> None:
    rig = await _restored(tmp_path)
    rig.cluster.faults.add(Fault(fault, verb="rename", dry_run=False))
    await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.UNDONE, 3)
    assert (await databases(rig))[LIVE].mark == ""
    await rig.close()


async def test_what_may_have_been_renamed_and_cannot_be_looked_at_starts_nothing_by_itself(
    tmp_path: Path,
) -> None:
    """A renaming that still goes on would take the database from under the application."""
    rig = await _restored(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="rename", dry_run=False))

    def hook(request: object, when: str) -> None:
        if getattr(request, "verb", "") == "rename" and when == "after":
            rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="sql", times=10_000))

    rig.cluster.on_request(hook)
    await rig.operations.undo((await the_run(rig)).id, "kim", despite=True)
    await rig.run(1_800)
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.UNDOING, 0)
    rig.cluster.faults.waiting.clear()
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.UNDONE, 3)
    await rig.close()


async def test_a_kept_database_that_was_dropped_after_the_order_stops_nothing_and_calls_somebody(
    tmp_path: Path,
) -> None:
    rig = await _restored(tmp_path)
    run, kept = await the_run(rig), (await _kept(rig)).name
    await rig.operations.undo(run.id, "kim", despite=True)
    _drop(rig, kept)
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig), await replicas(rig)) == (RunState.UNDO_CONFLICT, ALL, 3)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


@pytest.mark.parametrize("how", ["dropped", "replaced"])
async def test_what_somebody_did_to_the_database_meanwhile_is_not_told_to_be_as_before(
    tmp_path: Path, how: str
) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    rig.stride = 1.0

    async def stopped() -> bool:
        return "scale" in writes(rig)

    await rig.until(stopped)
    if how == "dropped":
        _drop(rig, LIVE)
    else:
        _set(rig, LIVE, id=77)
    await rig.until(lambda: rests(rig))
    told = rig.notebook.text
    assert "is the database that it was before" not in told
    assert f"Now: no name of {LIVE} is exchanged by this run" in told
    assert "DROP DATABASE" in told
    assert ("is gone since the decision" if how == "dropped" else "is another database") in told
    await rig.close()
