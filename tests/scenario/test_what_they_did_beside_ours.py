"""Somebody changes something else of the target while our change is verified: it has its time to help, and then one person is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.store import incidents as stored
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, the_incident, trail, writes
from tests.scenario.test_a_persons_hand_wins import API, acted, ended, rules


async def _edited_beside(path: Path) -> Rig:
    """We have scaled out; a person changes something else while it is verified, and the alert fires on."""
    rig = await acted(path)
    rig.cluster.edit(
        *API, [{"op": "add", "path": "/spec/template/metadata/annotations", "value": {"team": "pay"}}]
    )
    assert await ended(rig) is RunState.TAKEN_OVER
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert await trail(rig, EventKind.ESCALATED) == []
    return rig


async def test_promise_7_what_somebody_did_beside_our_change_has_its_time_and_then_one_person_is_called(
    tmp_path: Path,
) -> None:
    rig = await _edited_beside(tmp_path)
    (run,) = await all_runs(rig)
    assert run.ended_at is not None
    time = rules().rules[0].verify.timeout
    await rig.run((run.ended_at + time - rig.clock.now()).total_seconds() - 30)
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.run(3600)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "changed template" in called.data["reason"]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


@pytest.mark.parametrize("how", ["resolved", "acknowledged", "restarted"])
async def test_promise_7_nobody_is_called_beside_whoever_has_it_or_where_it_helped(
    tmp_path: Path, how: str
) -> None:
    rig = await _edited_beside(tmp_path)
    incident = await the_incident(rig)
    if how == "acknowledged":
        await rig.operations.acknowledge(incident.id, "kim")
    if how == "restarted":
        await rig.die()
        await rig.born()
    if how == "resolved":
        gone = alert(rig, "resolved", alertname="HighLatency", deployment="langgraph-api")
        (told,) = await rig.store.read(lambda conn: stored.alerts(conn, incident.id, 2))
        await rig.send(body({**gone, "labels": dict(told.labels), "fingerprint": told.fingerprint}))
    await rig.run(3600, alerts=how != "resolved")
    assert len(await trail(rig, EventKind.ESCALATED)) == (how == "restarted")
    state = IncidentState.RESOLVED if how == "resolved" else IncidentState.ESCALATED
    assert (await all_incidents(rig))[0].state is state
    await rig.close()
