"""A process that was stopped between its last look and its write sends nothing: it looks again from the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.outcome import RunState
from app.flow.undoing import holding
from app.kube import guarded
from tests.crash.worlds import flood
from tests.scenario.scenes import all_runs, born, the_run, writes
from tests.scenario.test_a_persons_hand_wins import acted, rules

_MINUTE = 60.0


class Stopped:
    """Stops the process for a minute after each last look, as one of the two clocks tells, while it is `on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: int) -> None:
        self.on, self._gone, self._clock = True, [0.0, 0.0], clock
        self._look, self._now = guarded.looked, guarded._now
        monkeypatch.setattr(guarded, "_now", self.now)
        monkeypatch.setattr(holding, "looked", self.look)

    def now(self) -> guarded.Moment:
        loop, wall = self._now()
        return loop + self._gone[0], wall + self._gone[1]

    def look(self) -> guarded.Moment:
        since = self._look()
        self._gone[self._clock] += _MINUTE if self.on else 0.0
        return since


LOOP, WALL = 0, 1  # a process that is stopped; a machine that is suspended


@pytest.mark.parametrize("clock", [LOOP, WALL])
async def test_promise_10_a_pause_that_came_while_the_process_was_stopped_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: int
) -> None:
    stopped = Stopped(monkeypatch, clock)
    rig = await born(tmp_path, rules=rules(), world=flood())
    await rig.run(60)
    assert (await the_run(rig)).state is RunState.ACTING
    assert writes(rig) == []
    await rig.operations.pause("all", "a release", "kim", None)
    stopped.on = False
    await rig.run(120)
    assert (await all_runs(rig))[0].state is RunState.ABANDONED
    assert writes(rig) == []
    await rig.close()


async def test_promise_10_a_process_that_goes_on_looks_again_and_writes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch, LOOP)
    rig = await born(tmp_path, rules=rules(), world=flood())
    await rig.run(60)
    assert writes(rig) == []
    stopped.on = False
    await rig.until(lambda: bool(writes(rig)), 120)
    await rig.run(60)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


async def test_promise_10_an_undo_is_looked_at_again_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await acted(tmp_path)
    stopped = Stopped(monkeypatch, LOOP)
    for _ in range(100):
        await rig.run(10)
        if (await the_run(rig)).state is RunState.UNDOING:
            break
    await rig.run(60)
    assert (await the_run(rig)).state is RunState.UNDOING
    assert writes(rig) == ["patch langgraph-api"]
    stopped.on = False
    await rig.run(120)
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    await rig.close()
