"""Promise 5, looked again before touched: a step that was begun is not gone on with long after anybody was at it, nor over what came since.

A database is restored, which stops its application: what it writes when somebody starts it meanwhile is not in the copy.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident, the_run, trail
from tests.scenario.test_database_restore import (
    ALL,
    TARGET,
    approved,
    born,
    databases,
    order,
    replicas,
    rests,
    writes,
)

MINUTE = 60.0
NAME = TARGET.rpartition("/")[2]


async def _at(path: Path, count: int) -> Rig:
    """The moment at which so many things were written."""
    rig = await born(path)
    rig.stride = 1.0
    await order(rig)
    await approved(rig)

    async def written() -> bool:
        return len(writes(rig)) >= count

    await rig.until(written)
    rig.stride = 15.0
    return rig


def _sleep(rig: Rig, minutes: float) -> None:
    rig.clock.advance(minutes * MINUTE)
    rig.cluster.catch_up()


STOPPED = ALL.index("scale") + 1


@pytest.mark.parametrize(("minutes", "done"), [(20, True), (45, False), (4_320, False)])
@pytest.mark.parametrize("count", [1, STOPPED - 1, STOPPED], ids=["rehearsal", "before the stop", "stopped"])
async def test_an_approved_step_that_slept_longer_than_an_approval_is_good_is_not_gone_on_with(
    tmp_path: Path, count: int, minutes: float, done: bool
) -> None:
    rig = await _at(tmp_path, count)
    await rig.die()
    _sleep(rig, minutes)
    await rig.born()
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert await replicas(rig) == 3, "the application is started as it was"
    if done:
        assert (run.state, writes(rig)) == (RunState.FIXED, ALL), run.result
    else:
        assert (run.state, "rename" in writes(rig)) == (RunState.ABANDONED, False), run.result
        assert "nobody was at it from 2026-03-04" in run.result
        assert "people have to be asked anew" in run.result
        assert (await the_incident(rig)).state is IncidentState.ESCALATED
        assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_what_slept_after_the_point_of_no_return_is_finished(tmp_path: Path) -> None:
    rig = await _at(tmp_path, ALL.index("rename") + 1)
    await rig.die()
    _sleep(rig, 4_320)
    await rig.born()
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 3)
    await rig.close()


async def test_a_database_is_not_replaced_whose_application_was_started_and_stopped_again_meanwhile(
    tmp_path: Path,
) -> None:
    rig = await _at(tmp_path, STOPPED)
    await rig.die()
    for size in (3, 0):
        rig.cluster.scale(Kind.DEPLOYMENT, "rag7", NAME, size)
        _sleep(rig, 5)
    await rig.born()
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, "rename" in writes(rig)) == (RunState.ABANDONED, False), run.result
    assert "has set the replicas of" in run.result
    assert next(iter(await databases(rig))) == "langgraph_checkpoints"
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()
