"""Somebody acknowledges the incident while its question stands, and nobody answers: whoever took it has it, and nobody is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from tests.scenario.scenes import born, policy, the_incident, the_run, trail, writes
from tests.scenario.test_alerts_that_fire_on import fires_on


@pytest.mark.parametrize("taken", [True, False])
async def test_a_question_that_expires_calls_only_where_nobody_has_the_incident(
    tmp_path: Path, *, taken: bool
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.until(lambda: "WAITING FOR APPROVAL" in rig.notebook.text, 600)
    fires_on(rig)
    if taken:
        await rig.operations.acknowledge((await the_incident(rig)).id, "kim")
    await rig.run(2_100, alerts=False)
    assert (await the_run(rig)).state is RunState.EXPIRED
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == (not taken)
    assert ("person is needed: nobody answered" in rig.notebook.text) == (not taken)
    reasons = [str(moved.data.get("reason")) for moved in await trail(rig, EventKind.INCIDENT_MOVED)]
    assert any("nobody else is called, as it is " in why and "kim" in why for why in reasons) == taken, (
        reasons
    )
    assert writes(rig) == []
    await rig.close()
