"""The parts of a sweep that look at many things one after the other: one that raises keeps no other from its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Alert
from app.domain.alert_report import AlertReport
from app.domain.events import EventKind
from app.flow.calling import escalation
from app.flow.undoing import holding
from app.flow.upkeep.loops import Loops
from app.store import driving, escalations, runs
from app.store.runs import Run
from tests.scenario import calling
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, the_run, trail


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
    look = broken_for_the_first(seen, lambda *given: str(given[3].subject))
    monkeypatch.setattr(escalation, "_look", look)
    with pytest.raises(ExceptionGroup):
        await escalation.walk_due(rig.services)
    assert seen == ["inc_a", "inc_b"]
    await rig.close()


@pytest.mark.parametrize("broken", [False, True])
async def test_a_source_that_says_nothing_holds_up_no_call_and_its_questions_not_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    """It does not answer, or what it answers cannot be read: whoever is due is asked, and the defect is told."""
    rig = await calling.calling_rig(tmp_path)
    for name in ("svc-1", "svc-2", "svc-3"):
        sent = await rig.send(body(alert(rig, alertname="Odd", deployment=name, severity="critical")))
        await rig.turn()
        await rig.again(sent.incident_ids[0], "nothing helped")
    at_once = list[int]()

    class Source:
        waiting = 0

        async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
            self.waiting += 1
            at_once.append(self.waiting)
            await (asyncio.sleep(0) if broken else asyncio.Event().wait())
            self.waiting -= 1
            raise BrokenError

    monkeypatch.setattr(escalation, "_ANSWERS", 30.0 if broken else 0.0)
    object.__setattr__(rig.services, "alert_sources", Source())
    rig.clock.advance(15 * 60)
    if broken:
        with pytest.raises(ExceptionGroup) as raised:
            await escalation.walk_due(rig.services)
        assert raised.group_contains(BrokenError)
    else:
        await escalation.walk_due(rig.services)
    asked = [e.data["step"] for e in await trail(rig, EventKind.STEP_ASKED)]
    assert asked == [calling.ON_CALL] * 3 + [calling.SECOND] * 3
    assert max(at_once) == 3
    await rig.close()
