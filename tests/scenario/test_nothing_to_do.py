"""An alert about pods that are healthy (again): it is said, nothing is done, nobody is called, and it is looked at again."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Code, Mode, Verdict
from app.domain.outcome import IncidentState
from tests.scenario.scenes import alert, body, born, decision, policy, the_incident, writes


@pytest.mark.parametrize(
    ("alertname", "mode"),
    [("PodRestarting", Mode.AUTO), ("PodRestarting", Mode.OBSERVE), ("OOMKilled", Mode.AUTO)],
)
async def test_nobody_is_called_for_pods_that_are_healthy(tmp_path: Path, alertname: str, mode: Mode) -> None:
    rig = await born(tmp_path, rules=policy(mode=mode), use_api=False)
    await rig.send(body(alert(rig, alertname=alertname, deployment="redis")))
    await rig.run(10, alerts=False)
    found, incident = await decision(rig), await the_incident(rig)

    assert (found.verdict, found.code) == (Verdict.OBSERVE, Code.NOTHING_TO_DO), found.text
    assert "nothing to do: 1 of 1 pod ready" in found.text
    assert incident.state is IncidentState.OBSERVED
    assert incident.due_at is not None
    assert "A person is needed" not in rig.notebook.text
    assert writes(rig) == []
    await rig.close()
