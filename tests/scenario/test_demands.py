"""What users of such services ask for, and what broke elsewhere: each line a case that this one must get right."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Code
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Storm
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    closed,
    decision,
    policy,
    the_incident,
    the_run,
    writes,
)


async def _order(rig: Rig, *, dry_run: bool = False, key: str = "") -> str:
    order = ManualRequest(
        "high-error-rate", "rag7/Deployment/langgraph", {}, "by hand", "kim", dry_run=dry_run
    )
    receipt = await rig.store.ingest(
        Delivery(Source.MANUAL, rig.clock.now(), "kim", dedupe_key=key, body_digest="1", manual=order)
    )
    return receipt.incident_ids[0]


async def test_an_alert_with_a_long_window_that_keeps_firing_after_the_fix_starts_no_second_run(
    tmp_path: Path,
) -> None:
    """`increase(...[10m])` stays high for ten minutes after the cause is gone: one run, however often it is repeated."""
    rig = await born(tmp_path, use_api=False)
    firing = alert(rig)
    for _ in range(40):
        await rig.send(body(firing))
        await rig.run(15, alerts=False)
    assert len(await all_runs(rig)) == 1
    assert [w for w in writes(rig) if "undo" not in w] == ["patch langgraph"]
    await rig.close()


async def test_a_target_that_fails_again_and_again_ends_with_a_person(tmp_path: Path) -> None:
    """Automation must not hide a fault: after the limit it stops, in words that name the limit."""
    rig = await born(tmp_path, rules=policy(cooldown=timedelta(seconds=30)), use_api=False)
    image = "/spec/template/spec/containers/0/image"
    codes: set[Code] = set()
    for build in range(5):
        firing = alert(rig, started=1)
        await rig.send(body(firing))
        await rig.run(60, alerts=False)
        codes |= {c for i in await all_incidents(rig) for c in closed(await decision(rig, i.id)).values()}
        await rig.send(body({**firing, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(360, alerts=False)  # until no rate over five minutes has them
        bad = {"op": "replace", "path": image, "value": "ghcr.io/stacey77/rag7:v1.5.0"}
        fresh = {"op": "add", "path": "/spec/template/metadata/labels/build", "value": str(build)}
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [bad, fresh])
        await rig.run(60, alerts=False)
    forward = [w for w in writes(rig) if "undo" not in w]
    assert len(forward) == 2, "two an hour per target and rule"
    assert Code.RATE_LIMITED in codes
    await rig.close()


async def test_the_same_fingerprint_twice_within_two_seconds_is_one_incident(tmp_path: Path) -> None:
    """Even when the second one comes while the first one is being decided."""
    rig = await born(tmp_path)
    firing = alert(rig)
    await rig.send(body(firing))
    decide = asyncio.ensure_future(rig.loops.decide_due())
    await rig.send(body(firing))
    await decide
    await rig.run(2)
    await rig.send(body(firing))
    await rig.run(20)
    assert len(await all_incidents(rig)) == 1
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_fast_clicks_on_run_start_one_run(tmp_path: Path) -> None:
    """The same order under one key is one order; another order on the busy target waits or is refused."""
    rig = await born(tmp_path)
    first = await _order(rig, key="k1")
    second = await _order(rig, key="k1")
    third = await _order(rig, key="k2")
    assert first == second != third
    await rig.run(60, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_the_lock_is_free_after_success(tmp_path: Path) -> None:
    """The next remediation on the target is not held back by the one before."""
    rig = await born(tmp_path, rules=policy(cooldown=timedelta(0)))
    await rig.run(300)
    assert (await the_run(rig)).state is RunState.FIXED
    incident = await _order(rig)
    await rig.run(20, alerts=False)
    assert Code.TARGET_BUSY not in closed(await decision(rig, incident)).values()
    await rig.close()


async def test_the_lock_of_a_dead_process_is_free_once_its_run_has_ended(tmp_path: Path) -> None:
    """The run goes on after the rebirth; nothing stays locked for ever."""
    rig = await born(tmp_path)
    await rig.run(30)
    assert writes(rig) == ["patch langgraph"]
    await rig.die()
    rig.clock.advance(3_600)
    await rig.born()
    await rig.run(300)
    assert (await the_run(rig)).state.ended
    await rig.close()


async def test_old_events_that_are_replayed_after_a_long_downtime_start_nothing(tmp_path: Path) -> None:
    """Hours in a queue: the fault they tell of is past."""
    rig = await born(tmp_path, use_api=False)
    old = body(alert(rig, started=3_600))
    await rig.send(old)
    await rig.die()
    rig.clock.advance(4 * 3_600)
    await rig.born()
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    assert closed(await decision(rig))["freshness"] is Code.STALE
    await rig.close()


async def test_a_dry_run_changes_nothing_and_still_tells_the_plan(tmp_path: Path) -> None:
    """Per order, not only for the whole service."""
    rig = await born(tmp_path)
    before = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    incident = await _order(rig, dry_run=True)
    await rig.run(60, alerts=False)
    found = await decision(rig, incident)
    assert found.code is Code.DRY_RUN
    assert found.step == "roll-back"
    assert [m for m in rig.cluster.mutations if not m.dry_run] == []
    after = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    assert (before or {})["spec"] == (after or {})["spec"]
    await rig.close()


async def test_one_switch_stops_everything_at_once_and_survives_a_restart(tmp_path: Path) -> None:
    """Set by a person, lifted by a person; what it held back gets its turn."""
    rig = await born(tmp_path, "high-error-rate", "high-latency")
    await rig.operations.pause("all", "incident bridge", "kim", None)
    await rig.die()
    await rig.born()
    await rig.run(60)
    assert writes(rig) == []
    await rig.operations.resume("all", "kim")
    await rig.run(30)
    assert writes(rig)
    await rig.close()


async def test_a_storm_over_many_targets_is_only_observed(tmp_path: Path) -> None:
    """Something bigger is wrong; a fix for each would be the outage."""
    rig = await born(tmp_path, rules=policy({"storm": Storm(targets=3, within=timedelta(minutes=5))}))
    names = ("langgraph", "redis", "ghost", "phantom")
    await rig.send(body(*(alert(rig, deployment=name) for name in names)))
    await rig.run(30, alerts=False)
    assert writes(rig) == []
    incident = next(i for i in await all_incidents(rig) if i.target_key == "rag7/Deployment/langgraph")
    assert Code.STORM in closed(await decision(rig, incident.id)).values()
    await rig.close()


async def test_an_alert_that_resolves_by_itself_before_the_decision_is_left_alone(tmp_path: Path) -> None:
    """The target is healthy again; nobody touches it."""
    rig = await born(tmp_path)
    firing = alert(rig)
    await rig.send(body(firing))
    await rig.send(body({**firing, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(20, alerts=False)
    assert writes(rig) == []
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()
