"""A fix that a person took back reads as taken back in the row, the API, the lists and the headline."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.running import ending
from app.store import incidents
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, policy, the_incident, the_run, trail


async def _fixed(path: Path, scenario: str) -> Rig:
    rig = await born(path, scenario, rules=policy(mode=Mode.AUTO))
    await rig.until(lambda: _helped(rig))
    return rig


async def _helped(rig: Rig) -> bool:
    found = await rig.store.read(lambda conn: incidents.page(conn, None, 10))
    return bool(found) and found[0].state in (IncidentState.FIXED, IncidentState.CONTAINED)


async def _undone(rig: Rig) -> bool:
    return (await the_run(rig)).state is RunState.UNDONE


@pytest.mark.parametrize("scenario", ["high-error-rate", "high-latency"])
async def test_an_undo_of_what_helped_is_said_in_the_row_the_trail_and_the_headline(
    tmp_path: Path, scenario: str
) -> None:
    rig = await _fixed(tmp_path, scenario)
    closed = (await the_incident(rig)).closed_at
    await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.until(lambda: _undone(rig))
    await rig.run(30, alerts=False)
    incident = await the_incident(rig)
    assert (incident.state, incident.closed_at) == (IncidentState.RESOLVED, closed)
    last = (await trail(rig, EventKind.INCIDENT_MOVED))[-1]
    assert last.data["to"] == IncidentState.RESOLVED.value
    assert str(last.data["reason"]).startswith("undone: ")
    (head,) = rig.notebook.parents.values()
    assert "UNDONE · " in head
    assert "what was done was taken back" in head
    assert "undone: undone" not in head
    await rig.close()


async def test_what_another_run_fixed_stays_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await _fixed(tmp_path, "high-error-rate")
    monkeypatch.setattr(ending, "_helped_by_another", lambda *_: True)
    await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.until(lambda: _undone(rig))
    assert (await the_incident(rig)).state is IncidentState.FIXED
    await rig.close()
