"""Two alerts about one target: what the run for one of them mended is told in the incident of the other one too."""

from __future__ import annotations

from pathlib import Path

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, trail


async def test_an_alert_that_ends_after_another_run_mended_its_target_did_not_go_by_itself(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    await rig.run(20)
    beside = alert(rig, alertname="HighLatency", deployment="langgraph", severity="critical")
    await rig.send(body(beside))
    await rig.until(lambda: "FIXED" in "".join(rig.notebook.parents.values()), 900)
    await rig.send(body({**beside, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(60)
    fixed, other = sorted(await all_incidents(rig), key=lambda i: i.alertname)
    assert (fixed.state, other.state) == (IncidentState.FIXED, IncidentState.RESOLVED)
    assert [run.state for run in await all_runs(rig)] == [RunState.FIXED]
    assert await trail(rig, EventKind.ESCALATED) == []
    told = "\n".join(rig.notebook.parents.values())
    (run,) = await all_runs(rig)
    assert f"The alert resolved after {run.id} of this service had mended its target" in told
    assert "without our doing" not in told
    await rig.close()
