"""Promise 6: done means a healthy rollout and an alert that is gone, each for the settle time; never measured is never
fixed, and nobody waits for ever for a word that does not come."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Otherwise
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, deafen, policy, the_incident, the_run, trail, writes

BROKEN = "ghcr.io/stacey77/rag7:v1.5.0"


async def _acted(path: Path, **changes: Any) -> Rig:
    """A service whose run has written and begins to watch."""
    rig = await born(path, **changes)
    await rig.until(lambda: bool(writes(rig)), 60)
    return rig


async def _ended(rig: Rig, *, alerts: bool = True) -> RunState:
    """Let the run come to its end."""
    for _ in range(200):
        await rig.run(10, alerts=alerts)
        state = (await the_run(rig)).state
        if state.ended:
            return state
    raise AssertionError(f"still {state}\n{rig.notebook.text[-2000:]}")


async def test_fixed_means_healthy_and_quiet_for_the_settle_time(tmp_path: Path) -> None:
    """The word comes no earlier than the settle time after the alert has gone."""
    rig = await _acted(tmp_path)
    assert await _ended(rig) is RunState.FIXED
    (verified,) = await trail(rig, EventKind.VERIFIED)
    gone = [r for r in await trail(rig, EventKind.MEASURED) if r.data["alert"] == "gone"]
    assert (verified.at - gone[0].at).total_seconds() >= 30
    assert (await the_incident(rig)).state is IncidentState.FIXED
    await rig.close()


async def test_looks_that_are_slower_than_the_poll_are_no_gaps(tmp_path: Path) -> None:
    """A cluster that answers after minutes is watched all the same: the verification ends, and as fixed."""
    rig = await born(tmp_path)
    await rig.until(lambda: bool(writes(rig)), 60)
    whole = rig.cluster.pod_usage

    async def slow(*arguments: Any) -> Any:
        await rig.clock.sleep(100.0)
        return await whole(*arguments)

    vars(rig.cluster)["pod_usage"] = slow

    async def ended() -> bool:
        return (await the_run(rig)).state.ended

    await rig.until(ended, 1_800)
    assert (await the_run(rig)).state is RunState.FIXED
    await rig.close()


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_clock_that_jumps_does_not_hold_up_a_verification(hours: int, tmp_path: Path) -> None:
    """Neither in the process that watches, nor in one that is started afterwards."""
    rig = await born(tmp_path)
    await rig.until(lambda: bool(writes(rig)), 60)
    await rig.run(40)
    for restart in (False, True):
        if restart:
            await rig.die()
        rig.clock._start += timedelta(hours=hours)
        if restart:
            await rig.born()

    async def ended() -> bool:
        return (await the_run(rig)).state.ended

    await rig.until(ended, 900)
    await rig.close()


async def test_of_a_verification_that_is_over_the_process_remembers_nothing(tmp_path: Path) -> None:
    """A service that runs for months grows by nothing for each run."""
    rig = await _acted(tmp_path)
    await rig.until(lambda: bool(rig.services.last_looks), 60)
    assert await _ended(rig) is RunState.FIXED
    assert rig.services.last_looks == {}
    await rig.close()


async def test_an_alert_that_resolves_while_silenced_is_inconclusive_without_a_source_to_ask(
    tmp_path: Path,
) -> None:
    """No resolved message ever comes then; the run ends all the same and a person is told why."""
    rig = await _acted(tmp_path, use_api=False)
    rig.cluster.alertmanager.silence({"alertname": "HighErrorRate"})
    assert await _ended(rig) is RunState.INCONCLUSIVE
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert writes(rig) == ["patch langgraph"], "what is not known to have failed is not undone"
    assert "no resolved message yet" in (await the_run(rig)).result
    await rig.close()


async def test_an_alert_that_resolves_while_silenced_is_fixed_when_alertmanager_can_be_asked(
    tmp_path: Path,
) -> None:
    """Its API no longer lists the alert."""
    rig = await _acted(tmp_path)
    rig.cluster.alertmanager.silence({"alertname": "HighErrorRate"})
    assert await _ended(rig) is RunState.FIXED
    await rig.close()


async def test_a_healthy_rollout_with_a_firing_alert_is_not_fixed(tmp_path: Path) -> None:
    """The target looks well and its users say otherwise."""
    rig = await born(tmp_path, use_api=False)
    await rig.send(body(alert(rig)))
    await rig.run(40, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    started = alert(rig, started=100)
    for _ in range(15):
        await rig.send(body(started))
        await rig.run(30, alerts=False)
    assert (await the_run(rig)).state.ended
    assert RunState.FIXED is not (await the_run(rig)).state
    await rig.close()


async def test_a_gone_alert_with_a_rollout_that_does_not_finish_is_not_fixed(tmp_path: Path) -> None:
    """The alert may be gone because nothing is left that could fail."""
    rig = await _acted(tmp_path)
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    peek, real = rig.cluster, rig.cluster.get

    async def late(kind: Kind, namespace: str, name: str) -> Any:
        found = await real(kind, namespace, name)
        return (
            {**found, "status": {**found["status"], "conditions": [condition]}}
            if name == "langgraph"
            else found
        )

    vars(peek)["get"] = late
    assert await _ended(rig) is not RunState.FIXED
    (verified,) = await trail(rig, EventKind.VERIFIED)
    assert verified.data["result"] == "not_fixed"
    await rig.close()


async def test_a_rollout_that_cannot_be_read_is_a_probe_error(tmp_path: Path) -> None:
    """Never measured is never fixed; and no verdict on the target either."""
    rig = await _acted(tmp_path)
    rig.cluster.deny("get", Kind.DEPLOYMENT)
    assert await _ended(rig) is RunState.PROBE_ERROR
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_an_alertmanager_that_does_not_answer_is_a_probe_error(tmp_path: Path) -> None:
    """Its silence is not taken for the alert's."""
    rig = await _acted(tmp_path)
    deafen(rig)
    assert await _ended(rig, alerts=False) is RunState.PROBE_ERROR
    await rig.close()


async def test_of_a_target_that_opted_out_meanwhile_nothing_is_read_and_nothing_called_fixed(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=policy(otherwise=(Otherwise.NEXT, Otherwise.ESCALATE)))
    await rig.run(25)
    assert (await the_run(rig)).state is RunState.VERIFYING
    mark = {"op": "add", "path": "/metadata/annotations/alert-remediator.io~1enabled", "value": "false"}
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [mark])
    seen: list[Kind | None] = []
    rig.cluster.on_request(lambda request, when: seen.append(request.kind) if when == "before" else None)
    written = writes(rig)
    await rig.run(1_200)
    run = await the_run(rig)
    assert (run.ended_at is not None, run.state is RunState.FIXED, writes(rig)) == (True, False, written)
    assert set(seen) <= {Kind.NAMESPACE, Kind.DEPLOYMENT}
    await rig.close()


async def test_an_alert_that_comes_back_within_the_settle_time_begins_it_anew(tmp_path: Path) -> None:
    """Healthy for a moment is not healthy."""
    rig = await born(tmp_path, use_api=False)
    started = alert(rig)
    await rig.send(body(started))
    await rig.run(25, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    await rig.run(40, alerts=False)
    await rig.send(body({**started, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(20, alerts=False)
    again = alert(rig, started=0)
    await rig.send(body(again))
    await rig.run(60, alerts=False)
    assert (await the_run(rig)).state is RunState.VERIFYING
    await rig.close()
