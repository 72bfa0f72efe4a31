"""Promise 6: health counts as long as somebody watched it, by a clock that nobody sets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Otherwise
from app.sim.faults import Fault, FaultKind
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import BRISK, born, policy, the_run, trail, writes

SETTLE = BRISK.settle.total_seconds()
TIMEOUT = BRISK.timeout.total_seconds()


async def _healthy(rig: Rig) -> float:
    """Let time pass until a look finds the target healthy and the alert gone; when that was, on the monotonic clock."""

    async def seen() -> bool:
        measured = await trail(rig, EventKind.MEASURED)
        return bool(measured) and (measured[-1].data["rollout"], measured[-1].data["alert"]) == (
            "complete",
            "gone",
        )

    await rig.until(seen, 300)
    assert (await the_run(rig)).state is RunState.VERIFYING
    return rig.clock.monotonic()


async def _ended(rig: Rig, limit: float) -> RunState:
    async def over() -> bool:
        return (await the_run(rig)).state.ended

    await rig.until(over, limit)
    return (await the_run(rig)).state


@pytest.mark.parametrize("away", [40.0, 600.0])
async def test_health_that_nobody_watched_is_no_part_of_the_settle_time(away: float, tmp_path: Path) -> None:
    """Healthy, then a dead process, then healthy again: what was in between nobody knows, and the settle time begins anew."""
    rig = await born(tmp_path)
    await _healthy(rig)
    await rig.die()
    rig.clock.advance(away)
    await rig.born()
    began = rig.clock.monotonic()
    assert await _ended(rig, 300) is RunState.FIXED
    assert rig.clock.monotonic() - began >= SETTLE
    await rig.close()


async def test_health_that_could_not_be_read_is_no_part_of_the_settle_time(tmp_path: Path) -> None:
    """The same process, and an API server that answers nothing for longer than the settle time."""
    rig = await born(tmp_path)
    await _healthy(rig)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="get", kind=Kind.DEPLOYMENT, times=100_000))
    await rig.run(4 * SETTLE)
    assert (await the_run(rig)).state is RunState.VERIFYING
    rig.cluster.faults.waiting.clear()
    began = rig.clock.monotonic()
    assert await _ended(rig, 300) is RunState.FIXED
    assert rig.clock.monotonic() - began >= SETTLE
    await rig.close()


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_clock_that_jumps_calls_no_run_fixed_and_undoes_none(hours: int, tmp_path: Path) -> None:
    """Two hours forth are neither the rest of the settle time nor the rest of the timeout, and two back hold nothing up."""
    rig = await born(tmp_path)
    began = await _healthy(rig)
    rig.clock._start += timedelta(hours=hours)
    assert await _ended(rig, 300) is RunState.FIXED
    assert rig.clock.monotonic() - began >= SETTLE
    await rig.close()

    (tmp_path / "flood").mkdir()
    rules = policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(tmp_path / "flood", rules=rules, world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    began = rig.clock.monotonic()
    await rig.run(60)
    rig.clock._start += timedelta(hours=hours)
    await rig.run(TIMEOUT / 2)
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.VERIFYING, ["patch langgraph-api"])
    assert await _ended(rig, 900) is RunState.NOT_FIXED
    assert rig.clock.monotonic() - began >= TIMEOUT
    await rig.close()
