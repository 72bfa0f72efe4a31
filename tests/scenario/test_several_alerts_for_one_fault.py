"""Several alerts for one fault: the first one's run mends the target, and nobody is called for the others meanwhile."""

from __future__ import annotations

from pathlib import Path

from app.domain.outcome import IncidentState
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born


async def test_another_alert_for_the_same_fault_waits_for_the_run_that_mends_it(tmp_path: Path) -> None:
    """No step of its own applies: nobody is called for it while our run is at work, nor before it had time to resolve."""
    rig = await born(tmp_path, use_api=False)
    await rig.send(body(alert(rig)))
    await rig.run(5, alerts=False)
    (run,) = await all_runs(rig)
    other = alert(rig, alertname="APIRateLimiting", started=10)
    await rig.send(body(other))
    await rig.run(20, alerts=False)
    waits = next(i for i in await all_incidents(rig) if i.alertname == "APIRateLimiting")
    assert waits.state is IncidentState.REFUSED
    assert f"target busy: {run.id} is at work" in rig.notebook.text
    await rig.send(body(alert(rig, "resolved")))
    await rig.run(200, alerts=False)
    first, waits = await all_incidents(rig)
    assert (first.state, waits.state) == (IncidentState.FIXED, IncidentState.REFUSED)
    await rig.send(body({**other, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(30, alerts=False)
    assert (await all_incidents(rig))[1].state is IncidentState.RESOLVED
    assert "ESCALATED" not in rig.notebook.text
    await rig.close()
