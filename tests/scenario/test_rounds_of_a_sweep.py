"""The parts of a sweep that look at many things one after the other: one that raises keeps no other from its turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.flow.calling import escalation
from app.flow.undoing import holding
from app.flow.upkeep.loops import Loops
from app.store import driving, escalations, runs
from app.store.runs import Run
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, the_run


class BrokenError(Exception):
    """A defect of ours."""


def broken_for_the_first(seen: list[str], id_at: Callable[..., str]) -> Callable[..., None]:
    """Writes down whom it is called for, and raises the first time."""

    def called(*args: Any) -> None:
        seen.append(id_at(*args))
        if len(seen) == 1:
            raise BrokenError

    return called


async def _two_runs(path: Path) -> tuple[Rig, list[Run]]:
    rig = await born(path)
    await rig.run(60)
    run = await the_run(rig)
    return rig, [replace(run, id=name, life={"despite": ["pause:1"]}) for name in ("run_a_1", "run_b_1")]


async def test_a_run_that_cannot_be_driven_anew_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, found = await _two_runs(tmp_path)
    seen: list[str] = []
    monkeypatch.setattr(driving, "overdue", lambda *_: found)
    monkeypatch.setattr(driving, "hand_over", broken_for_the_first(seen, lambda _tx, run, _due: str(run.id)))
    loops = Loops(rig.services, rig.loops.deliver, timedelta(days=30))
    with pytest.raises(ExceptionGroup) as raised:
        await loops.drive_overdue()
    assert seen == ["run_a_1", "run_b_1"]
    assert raised.group_contains(BrokenError)
    await rig.close()


async def test_an_undo_whose_lifted_holds_cannot_be_forgotten_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, found = await _two_runs(tmp_path)
    seen: list[str] = []
    monkeypatch.setattr(driving, "with_despite", lambda _conn: found)
    monkeypatch.setattr(runs, "hold", broken_for_the_first(seen, lambda _tx, run_id: str(run_id)))
    with pytest.raises(ExceptionGroup):
        await holding.forget_lifted(rig.services)
    assert seen == ["run_a_1", "run_b_1"]
    await rig.close()


async def test_an_escalation_that_cannot_be_walked_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await born(tmp_path)
    for name in ("inc_a", "inc_b"):
        await rig.store.write(lambda tx, n=name: escalations.begin(tx, n, n, {}))  # type: ignore[misc]
    seen: list[str] = []
    look = broken_for_the_first(seen, lambda _tx, _services, _policy, walk, _on_call: str(walk.subject))
    monkeypatch.setattr(escalation, "_look", look)
    with pytest.raises(ExceptionGroup):
        await escalation.walk_due(rig.services)
    assert seen == ["inc_a", "inc_b"]
    await rig.close()
