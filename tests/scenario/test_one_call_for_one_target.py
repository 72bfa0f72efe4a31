"""Two alerts of one target, each with a step of its own: people are asked about one at a time, and one person is called for both; no call is
lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.sim.faults import Fault, FaultKind
from tests.crash.test_store_faults import FaultyStore
from tests.scenario.rig import Reaper, Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, policy, trail
from tests.scenario.test_several_alerts_for_one_fault import STEP, alerts_of, calls_for, end, safely

CRASHED = ("pod-restarting", "langgraph-worker", ("PodRestarting", "HighErrorRate"))


async def _both(path: Path, mode: Mode, *, denied: bool = False) -> tuple[Rig, list[dict[str, object]]]:
    """Two alerts with a step of their own for one target."""
    scenario, name, names = CRASHED
    rig = await born(path, scenario, rules=policy(mode=mode), use_api=False)
    if denied:
        rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", times=10**6))
    alerts = alerts_of(rig, name, names)
    await rig.send(body(*alerts))
    return rig, alerts


async def _total(rig: Rig) -> int:
    return len(await trail(rig, EventKind.ESCALATED))


async def _fire_on(rig: Rig, alerts: list[dict[str, object]], seconds: float) -> None:
    """As time goes by they are sent again, as Alertmanager does."""
    while seconds > 0:
        await rig.run(min(240, seconds), alerts=False)
        await rig.send(body(*alerts))
        seconds -= 240


async def test_people_are_asked_one_question_about_a_target_at_a_time(tmp_path: Path) -> None:
    """Unanswered it calls once; the other alert's question comes after it, and joins that call."""
    rig, alerts = await _both(tmp_path, Mode.APPROVE)
    await rig.run(60, alerts=False)
    (first,) = await all_runs(rig)
    assert first.state is RunState.WAITING
    assert f"target busy: {first.id} waits for an answer" in rig.notebook.text
    await _fire_on(rig, alerts, 1_830)
    assert await _total(rig) == 1
    first, second = await all_runs(rig)
    assert (first.state, second.state) == (RunState.EXPIRED, RunState.WAITING)
    await _fire_on(rig, alerts, 1_860)
    assert [run.state for run in await all_runs(rig)] == [RunState.EXPIRED] * 2
    assert await _total(rig) == 1
    told = "\n".join(rig.notebook.parents.values())
    assert f"a person is called for {first.incident_id} on it, and nobody else for this" in told
    await end(rig, alerts[:1])
    await rig.run(330, alerts=False)
    assert [await calls_for(rig, name) for name in CRASHED[2]] == [1, 1], "what is left alone calls"
    await rig.close()


async def test_a_question_for_something_more_severe_does_not_wait_for_a_milder_one(tmp_path: Path) -> None:
    scenario, name, names = CRASHED
    rig = await born(tmp_path, scenario, rules=policy(mode=Mode.APPROVE), use_api=False)
    for one, severity in zip(names, ("warning", "critical"), strict=True):
        await rig.send(body(alert(rig, alertname=one, deployment=name, severity=severity)))
        await rig.run(30, alerts=False)
    assert [run.state for run in await all_runs(rig)] == [RunState.WAITING] * 2
    await rig.run(1_900, alerts=False)
    assert await calls_for(rig, names[1]) == 1
    await rig.close()


async def test_a_question_comes_after_the_first_one_mended_the_target_only_once_that_had_its_time(
    tmp_path: Path,
) -> None:
    rig, alerts = await _both(tmp_path, Mode.APPROVE)
    await rig.run(30, alerts=False)
    (first,) = await all_runs(rig)
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.run(60, alerts=False)
    its = next(i for i in await all_incidents(rig) if i.id == first.incident_id)
    await end(rig, [a for a in alerts if a["labels"]["alertname"] == its.alertname])  # type: ignore[index]
    await rig.run(200, alerts=False)
    assert [run.state for run in await all_runs(rig)] == [RunState.FIXED]
    await end(rig, alerts)
    await rig.run(30, alerts=False)
    assert all(i.state.closed for i in await all_incidents(rig))
    assert await _total(rig) == 0
    await rig.close()


async def test_runs_that_the_cluster_refuses_call_once_for_one_target(tmp_path: Path) -> None:
    rig, alerts = await _both(tmp_path, Mode.AUTO, denied=True)
    await _fire_on(rig, alerts, 600)
    assert [run.state for run in await all_runs(rig)] == [RunState.FAILED] * 2
    assert await _total(rig) == 1
    first, _ = await all_runs(rig)
    its = next(i for i in await all_incidents(rig) if i.id == first.incident_id)
    await end(rig, [a for a in alerts if a["labels"]["alertname"] == its.alertname])  # type: ignore[index]
    await rig.run(330, alerts=False)
    assert [await calls_for(rig, name) for name in CRASHED[2]] == [1, 1], "no call is lost"
    await rig.close()


async def _refused_twice(path: Path, reaper: Reaper, faulty: int) -> tuple[Rig, int]:
    """Both alerts have a step that the cluster refuses; then the first one's ends, and the other is left alone."""
    scenario, name, names = CRASHED
    rig = Rig(path / "rig.sqlite", scenarios=(scenario,), use_api=False)
    rig.policy, rig.reaper = policy(), reaper
    await rig.born()
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", times=10**6))
    store = FaultyStore(rig.services.store, faulty, 8)
    if faulty:
        object.__setattr__(rig.services, "store", store)
    alerts = alerts_of(rig, name, names)
    await safely(rig, lambda: rig.send(body(*alerts)))
    for _ in range(12):
        await safely(rig, lambda: rig.run(20, alerts=False))
    first, _ = await all_runs(rig)
    its = next(i for i in await all_incidents(rig) if i.id == first.incident_id)
    gone = [a for a in alerts if a["labels"]["alertname"] == its.alertname]  # type: ignore[index]
    ended = [{**a, "status": "resolved", "endsAt": rig.clock.now().isoformat()} for a in gone]
    assert await _total(rig) == 1, (reaper.crossed, store.calls)
    await safely(rig, lambda: rig.send(body(*ended)))
    for _ in range(12):
        await safely(rig, lambda: rig.run(30, alerts=False))
    return rig, store.calls if faulty else reaper.crossed


@pytest.mark.parametrize("how", ["a death", "faults of the store"])
async def test_wherever_it_is_cut_two_runs_that_fail_call_once_and_no_call_is_lost(
    tmp_path: Path, how: str
) -> None:
    faults = how != "a death"
    n, many = 1, 2
    while n < many:
        path = tmp_path / str(n)
        path.mkdir()
        rig, crossed = await _refused_twice(path, Reaper(None if faults else n), n if faults else 0)
        many = max(many, crossed if faults or n > 1 else 60)
        assert [run.state for run in await all_runs(rig)] == [RunState.FAILED] * 2, n
        assert [await calls_for(rig, name) for name in CRASHED[2]] == [1, 1], n
        await rig.close()
        n += STEP
