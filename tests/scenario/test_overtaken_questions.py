"""A question that another run of ours has overtaken: what people were asked about is no more, so that nobody answers it, and nobody is called for it.

Promise 5 for a question of one alert and the run of another one on the same target."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from app.store.runs import Run
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, trail, writes

NAME = "langgraph-embedder"


async def _asked(path: Path) -> tuple[Rig, Run, dict[str, dict[str, object]]]:
    """High latency is asked about while a pod serves, and nothing else is known."""
    rig = await born(path, "out-of-memory", use_api=False)

    async def serves() -> bool:
        pods = await rig.cluster.list_objects(Kind.POD, "rag7")
        states = [p["status"] for p in pods if p["metadata"]["name"].startswith(NAME)]
        return any(c.get("ready") for state in states for c in state.get("containerStatuses", ()))

    while not await serves():
        await rig.step(1.0, alerts=False)
    alerts = {
        name: alert(rig, alertname=name, deployment=NAME, severity="critical")
        for name in ("HighLatency", "OutOfMemory")
    }
    await rig.send(body(alerts["HighLatency"]))
    await rig.run(15, alerts=False)
    (run,) = await all_runs(rig)
    assert (run.state, run.step.name) == (RunState.WAITING, "scale-out"), run.step
    return rig, run, alerts


async def _of(rig: Rig, alertname: str) -> list[Run]:
    its = {one.id for one in await all_incidents(rig) if one.alertname == alertname}
    return [run for run in await all_runs(rig) if run.incident_id in its]


async def _overtaken(rig: Rig, alerts: dict[str, dict[str, object]]) -> Run:
    """The other alert comes, and its run writes."""
    before = len(writes(rig))
    await rig.send(body(alerts["OutOfMemory"]))
    while len(writes(rig)) == before:
        await rig.step(1.0, alerts=False)
    (mends,) = await _of(rig, "OutOfMemory")
    return mends


async def test_promise_5_a_question_whose_target_another_run_has_changed_is_withdrawn(tmp_path: Path) -> None:
    rig, _, alerts = await _asked(tmp_path)
    mends = await _overtaken(rig, alerts)
    await rig.run(65, alerts=False)
    found = (await _of(rig, "HighLatency"))[0]
    assert found.state is RunState.ABANDONED
    assert found.result == f"another run of this service changed it while the question stood: {mends.id}"
    ended = [{**a, "status": "resolved", "endsAt": rig.clock.now().isoformat()} for a in alerts.values()]
    await rig.send(body(*ended))
    await rig.run(2_400, alerts=False)
    assert await trail(rig, EventKind.ESCALATED) == []
    assert [run.state for run in await _of(rig, "OutOfMemory")] == [RunState.FIXED]
    assert len(writes(rig)) == 1
    await rig.close()


@pytest.mark.parametrize("later", [0, 3, 20, 400])
async def test_promise_5_a_yes_to_an_overtaken_question_writes_nothing(tmp_path: Path, later: float) -> None:
    rig, asked, alerts = await _asked(tmp_path)
    await _overtaken(rig, alerts)
    if later:
        await rig.run(later, alerts=False)
    with pytest.raises(Refused) as refused:
        await rig.operations.approve(asked.id, "kim", asked.plan_hash)
    assert refused.value.code in ("plan_changed", "not_waiting")
    await rig.run(300, alerts=False)
    assert len(writes(rig)) == 1
    await rig.close()


async def test_promise_5_a_yes_that_is_overtaken_before_its_plan_begins_writes_nothing(
    tmp_path: Path,
) -> None:
    """It is given while the other run is at work and has not written yet: that run's write makes it void."""
    rig, asked, alerts = await _asked(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="patch", times=2))
    await rig.send(body(alerts["OutOfMemory"]))
    while not await _of(rig, "OutOfMemory"):
        await rig.step(0.5, alerts=False)
    assert writes(rig) == []
    told = await rig.operations.approve(asked.id, "kim", asked.plan_hash)
    assert "which is at work on the target" in told["text"]
    await rig.run(400, alerts=False)
    found = (await _of(rig, "HighLatency"))[0]
    assert (found.state, found.answer) == (RunState.ABANDONED, "approved")
    assert "another run of this service changed it while the question stood" in found.result
    assert len(writes(rig)) == 1
    await rig.close()


async def test_a_run_that_wrote_nothing_leaves_the_question_standing(tmp_path: Path) -> None:
    """Refused by the cluster, it has changed nothing of what people were asked about."""
    rig, _, alerts = await _asked(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", times=10**6))
    await rig.send(body(alerts["OutOfMemory"]))
    await rig.run(200, alerts=False)
    assert [run.state for run in await _of(rig, "OutOfMemory")] == [RunState.FAILED]
    assert [run.state for run in await _of(rig, "HighLatency")] == [RunState.WAITING]
    await rig.close()
