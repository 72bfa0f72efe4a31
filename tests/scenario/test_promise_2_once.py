"""Promise 2: however often an alert is delivered, whoever delivers it, each planned mutation reaches the API once. Deaths
at every boundary are in tests/crash."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import cast

import pytest

from app.domain.decision import Code, Decision, Verdict
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.deciding import decide
from app.policy.model import Otherwise
from app.sim.faults import Fault, FaultKind
from tests.crash.worlds import flood
from tests.scenario.rig import Died, Reaper, Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    policy,
    says_yes,
    the_incident,
    the_run,
    trail,
    writes,
)


async def test_a_storm_of_repeats_is_one_write(tmp_path: Path) -> None:
    """The same body every virtual second, before, while and after it is acted upon."""
    rig = await born(tmp_path)
    firing = alert(rig)
    for _ in range(60):
        await rig.send(body(firing))
        await rig.run(1)
    assert writes(rig) == ["patch langgraph"]
    assert len(await all_incidents(rig)) == 1
    await rig.close()


async def test_both_members_of_a_pair_deliver_at_once(tmp_path: Path) -> None:
    """Two bodies in one commit, then the late copy of a third member."""
    rig = await born(tmp_path)
    firing = alert(rig)
    first, second = await asyncio.gather(rig.send(body(firing)), rig.send(body(firing)))
    assert first.incident_ids == second.incident_ids
    await rig.run(20)
    await rig.send(body(firing))
    await rig.run(20)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_delivery_that_was_not_answered_comes_again_and_is_one_write(tmp_path: Path) -> None:
    """The commit was made and the 202 was lost: the pair's other member and the retry find the same incident."""
    rig = await born(tmp_path)
    rig.reaper.at = 2  # after the commit of the delivery, before its answer
    firing = body(alert(rig))
    with pytest.raises(Died):
        await rig.send(firing)
    await rig.die()
    await rig.born()
    await rig.send(firing)
    await rig.send(firing)
    await rig.run(30)
    assert writes(rig) == ["patch langgraph"]
    assert len(await all_incidents(rig)) == 1
    await rig.close()


async def test_a_resolved_message_that_overtakes_the_firing_one_opens_nothing_again(tmp_path: Path) -> None:
    """Members of a pair give no order: the late word about an episode that has ended is not a new fault."""
    rig = await born(tmp_path)
    firing = alert(rig)
    await rig.send(body(firing))
    await rig.send(body({**firing, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.send(body(firing))
    await rig.run(5, alerts=False)
    assert writes(rig) == []
    assert (await the_incident(rig)).state.value == "resolved"
    await rig.close()


@pytest.mark.parametrize("effect", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
async def test_a_write_without_an_answer_is_read_back_and_not_sent_again_blindly(
    tmp_path: Path, effect: FaultKind
) -> None:
    """It is in place once in either case."""
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(effect, verb="patch", dry_run=False))
    await rig.run(60)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_two_replicas_on_one_store_act_once(tmp_path: Path) -> None:
    """Both look at the same due incident at the same moment."""
    one = await born(tmp_path)
    other = await _replica(one)
    await one.send(body(alert(one)))
    await asyncio.gather(one.loops.decide_due(), other.loops.decide_due())
    for _ in range(30):
        await one.run(5)
        await other.turn()
    assert writes(one) == ["patch langgraph"]
    assert len(await all_runs(one)) == 1
    await other.close()
    await one.close()


@pytest.mark.parametrize("ends", ["with a step", "with a word", "with a call"])
async def test_a_look_that_was_overtaken_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """A worker stood still for longer than its claim, another one looked, acted and mended meanwhile: what the first one saw is old."""
    rig = await born(tmp_path)
    await rig.send(body(alert(rig)))
    opened = await the_incident(rig)
    goes_on, stands = asyncio.Event(), [True]

    async def stand_still(way: decide.Way) -> decide.Way:
        if stands:
            stands.clear()
            await goes_on.wait()
            if ends != "with a step":
                code = Code.UNKNOWN_FACT if ends == "with a word" else Code.TARGET_NOT_FOUND
                word = Decision(Verdict.DENY, code, "nothing was found", "errors", "", "", (), "")
                return cast("decide.Way", word)
        return way

    first, *later = decide.STAGES
    stages = (first, *later, stand_still) if ends == "with a step" else (first, stand_still, *later)
    monkeypatch.setattr(decide, "STAGES", stages)
    late = asyncio.ensure_future(decide.decide_incident(rig.services, opened.id))
    await rig.quiet()
    await rig.until(lambda: not stands and bool(writes(rig)))
    await rig.run(300)
    assert (await the_incident(rig)).state is IncidentState.FIXED
    before = await trail(rig)
    goes_on.set()
    assert await late is None
    await rig.run(60, alerts=False)
    assert await trail(rig) == before
    assert writes(rig) == ["patch langgraph"]
    assert len(await all_runs(rig)) == 1
    await rig.close()


@pytest.mark.parametrize("then", ["decided anew", "over"])
async def test_a_look_at_what_another_one_decided_or_what_is_over_calls_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """The state is the same, or nobody has closed it yet: what was found is old all the same."""
    rig = await born(tmp_path)
    await rig.operations.pause("all", "one", "ops", None)
    firing = alert(rig)
    await rig.send(body(firing))
    await rig.run(20, alerts=False)
    goes_on, stands = asyncio.Event(), [True]

    async def stand_still(way: decide.Way) -> decide.Way:
        if stands:
            stands.clear()
            await goes_on.wait()
            word = Decision(Verdict.DENY, Code.PERSON_NEEDED, "a person", "errors", "", "", (), "")
            return cast("decide.Way", word)
        return way

    monkeypatch.setattr(decide, "STAGES", (stand_still, *decide.STAGES))
    refused = await the_incident(rig)
    assert refused.state is IncidentState.REFUSED
    late = asyncio.ensure_future(decide.decide_incident(rig.services, refused.id))
    await rig.quiet()
    if then == "over":
        await rig.send(body({**firing, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    else:
        await rig.operations.pause("namespace:rag7", "two", "ops", None)
        await rig.operations.resume("all", "ops")
        await rig.run(20, alerts=False)
        assert (await the_incident(rig)).decided_at != refused.decided_at
    goes_on.set()
    assert await late is None
    await rig.run(20, alerts=False)
    assert (await the_incident(rig)).state is (
        IncidentState.RESOLVED if then == "over" else IncidentState.REFUSED
    )
    assert not await trail(rig, EventKind.ESCALATED)
    await rig.close()


async def test_a_repeat_after_the_fix_is_a_new_episode_and_waits_for_the_cooldown(tmp_path: Path) -> None:
    """The lock is free after success; only the cooldown holds the next action."""
    rig = await born(tmp_path)
    await rig.run(300)
    assert (await the_run(rig)).state is RunState.FIXED
    await rig.send(body(alert(rig, started=1)))
    await rig.run(20, alerts=False)
    assert [i.state.value for i in await all_incidents(rig)] == ["fixed", "refused"]
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def _replica(rig: Rig) -> Rig:
    """A second process on the same store, cluster and time."""
    other = Rig(rig.path, scenarios=rig.scenarios, clock=rig.clock, reaper=Reaper())
    other.cluster, other.policy, other.journal, other.notebook = (
        rig.cluster,
        rig.policy,
        rig.journal,
        rig.notebook,
    )
    other._births = 50
    return await other.born()


async def test_a_store_that_was_put_back_does_not_act_again_on_what_carries_our_marker(
    tmp_path: Path,
) -> None:
    """A restored copy has forgotten its action, its cooldown and its budget; the object has not."""
    rig = await born(tmp_path, rules=policy(otherwise=(Otherwise.ESCALATE,)), world=flood())
    copy = tmp_path / "copy.sqlite"
    shutil.copy(rig.path, copy)
    await rig.until(lambda: bool(writes(rig)))
    await rig.run(60)
    await rig.die()
    for leftover in rig.path.parent.glob("rig.sqlite*"):
        leftover.unlink()
    shutil.copy(copy, rig.path)
    rig.journal.started.clear()
    await rig.born()
    fired = alert(rig, alertname="HighLatency", deployment="langgraph-api", severity="warning", started=30)
    await rig.send(body(fired))
    await rig.run(30, alerts=False)
    await says_yes(rig)
    await rig.run(240, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    assert any("restored copy" in run.result for run in await all_runs(rig))
    await rig.close()
