"""An escalation that is cut at each durable boundary, walked by two replicas, or whose store is away: each step is told once all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.outcome import IncidentState
from app.flow.calling.calls import PAGE, Do
from app.flow.calling.escalation import walk_due
from app.flow.calling.fence import repair
from app.store import incidents, outbox, trail
from app.store.outbox import Message as Row
from tests.crash.conftest import ALL
from tests.crash.test_store_faults import FaultyStore
from tests.scenario.calling import ON_CALL, SECOND, CallingRig, calling_rig, policy, steps
from tests.scenario.rig import Died, Reaper
from tests.scenario.scenes import alert, body, the_incident

BRISK = policy(
    steps(
        {"name": ON_CALL, "who": ["slack:U0ANA"], "page": True, "answer_within": "1m"},
        {"name": SECOND, "who": ["slack:U0BEN"], "answer_within": "1m"},
        status_page={"fields": {"id": "id", "state": "status"}},
    )
)
TOLD = [f"Asked {ON_CALL}", f"Asked {SECOND}", "Nobody answered: 2 steps"]


async def _through(rig: CallingRig, act: Callable[[], Awaitable[object]]) -> None:
    """Do it, again after a death."""
    while True:
        try:
            await act()
        except Died:
            assert rig.reaper.dead
        if not rig.reaper.dead:
            return
        await rig.die()
        await rig.born()


async def _over(rig: CallingRig) -> None:
    incident = await the_incident(rig)
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    await rig.later(1)


async def _live(path: Path, dies_at: int | None) -> tuple[CallingRig, int]:
    rig = await calling_rig(path, BRISK)
    rig.reaper = Reaper(dies_at)
    counted = rig.reaper
    await _through(rig, rig.handed_over)
    for _ in range(3):
        await _through(rig, lambda: rig.later(1))
    await _through(rig, lambda: _over(rig))
    await rig.later(2)  # what a death left behind is looked for and sent
    return rig, counted.crossed


async def test_a_death_at_any_boundary_tells_no_step_twice_and_none_less(tmp_path: Path) -> None:
    calm, crossed = await _live(tmp_path, None)
    await calm.close()
    assert crossed > 40
    for dies_at in range(1, crossed + 1, 1 if ALL else 9):
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        rig, _ = await _live(folder, dies_at)
        heads = [next(t for t in TOLD if head.startswith(t)) for head in rig.heads]
        assert heads == TOLD, f"a death at boundary {dies_at}"
        assert len(rig.pagerduty.woken) == 1, f"a death at boundary {dies_at}"
        assert rig.pagerduty.pages == {}, f"a death at boundary {dies_at}"
        states = [post["state"] for post in rig.status.posts]
        assert states in (["investigating", "resolved"], ["resolved"], ["investigating"]), states
        assert (await rig.store.read(trail.verify)).ok
        await rig.close()


async def test_two_replicas_ask_a_step_once(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    other = replace(rig.services, replica="other")
    rig.clock.advance(15 * 60.0)
    await asyncio.gather(walk_due(rig.services), walk_due(other), walk_due(rig.services))
    await rig.turn()
    (row,) = await rig.rounds()
    assert [a.step for a in row.asked] == [ON_CALL, SECOND]
    assert len(rig.heads) == 2
    await rig.close()


@pytest.mark.parametrize("kept", [False, True])
async def test_a_store_that_is_away_at_any_call_of_the_walk_costs_a_sweep(tmp_path: Path, kept: bool) -> None:
    rig = await calling_rig(tmp_path, BRISK)
    await rig.handed_over()
    store = rig.services.store
    for n in range(1, 4):
        object.__setattr__(rig.services, "store", FaultyStore(store, n, 1, kept=kept))
        await rig.later(1)
        object.__setattr__(rig.services, "store", store)
        await rig.later(0.2)
    heads = [next(t for t in TOLD if head.startswith(t)) for head in rig.heads]
    assert heads == TOLD
    assert len(rig.pagerduty.woken) == 1
    await rig.close()


@pytest.mark.parametrize(("answered", "then"), [(True, Do.ACKNOWLEDGE), (False, Do.RESOLVE)])
async def test_a_page_that_a_frozen_replica_made_late_is_left_to_who_has_it(
    tmp_path: Path, *, answered: bool, then: Do
) -> None:
    rig = CallingRig(tmp_path / "rig.sqlite")
    rig.policy = policy()
    await rig.born()
    incident = await rig.handed_over()
    await rig.later(1)
    [key] = rig.pagerduty.pages
    if answered:
        await rig.operations.acknowledge(incident.id, "kim")
    else:
        fires = alert(rig, "resolved", alertname="Odd", severity="critical")
        await rig.send(body(fires))
    await rig.later(1)
    state = (await the_incident(rig)).state
    assert state is (IncidentState.ESCALATED if answered else IncidentState.RESOLVED)
    late = await rig.store.read(lambda conn: outbox.get(conn, outbox.page_row(key)))
    assert isinstance(late, Row)
    assert late.kind == PAGE
    await rig.store.write(lambda tx: repair(tx, late))
    sent = len(rig.pagerduty.events)
    await rig.later(1)
    assert [event["event_action"] for event in rig.pagerduty.events[sent:]] == [then.value]
    await rig.close()
