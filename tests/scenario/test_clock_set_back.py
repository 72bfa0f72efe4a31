"""The wall clock is set back: nothing waits longer, whatever it waits for, and what is stored is moved once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from app.domain.decision import Code, Mode
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.flow.upkeep.loops import Loops
from app.notify.client import Away
from app.policy.model import Day, Window
from app.sim.faults import Fault as ClusterFault
from app.sim.faults import FaultKind
from app.store import driving, incidents, moments, outbox, people
from app.store.schema import run_journal, runs, trust_levels
from app.store.tx import Tx
from tests.doubles.pagerduty import Fault
from tests.scenario import scenes
from tests.scenario.calling import CallingRig, calling_rig
from tests.scenario.rig import Rig
from tests.scenario.scenes import leased
from tests.scenario.slack_rig import slack_rig
from tests.scenario.test_escalation_blind import _blind
from tests.scenario.test_promise_7_undos_that_wait import _held_order
from tests.scenario.test_temporary_changes import _replicas, _run

BACK = timedelta(hours=2)


def set_back(rig: Rig, by: timedelta = BACK) -> None:
    """The clock on the wall, not the one that only runs on."""
    rig.clock._start -= by


async def _waited(rig: CallingRig, what: object, limit: float = 3 * 3600.0) -> float:
    began = rig.clock.monotonic()
    await rig.until(what, limit=limit)  # type: ignore[arg-type]
    return rig.clock.monotonic() - began


async def _page_that_is_retried(rig: CallingRig) -> None:
    rig.pagerduty.fail(*[Fault(status=503)] * 400)
    await rig.handed_over()
    await rig.run(100)

    async def waits() -> bool:
        now = rig.clock.now()
        found = await rig.store.read(lambda conn: outbox.pending(conn, kinds=["page"]))
        return bool(found) and found[0].retry_at is not None and found[0].retry_at > now

    await rig.until(waits)


async def test_a_page_that_waits_for_its_retry_goes_out_as_soon_as_it_would_have(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await _page_that_is_retried(rig)
    set_back(rig)
    rig.pagerduty._faults.clear()
    assert await _waited(rig, lambda: rig.pagerduty.woken) <= 90
    await rig.close()


async def test_a_page_that_is_late_is_told_so_as_soon_as_it_would_have_been(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await _page_that_is_retried(rig)
    set_back(rig)
    told = await _waited(rig, lambda: "not" in rig.notebook.text and "paged" in rig.notebook.text.lower())
    assert told <= 420, rig.notebook.text
    await rig.close()


async def test_all_of_slack_goes_on_when_it_is_back(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    rig.notebook.failing = Away("Slack is away", code="away")
    await rig.send(scenes.body(scenes.alert(rig, alertname="Odd")))
    await rig.run(60)
    set_back(rig)
    rig.notebook.failing = None
    assert await _waited(rig, lambda: rig.notebook.posts) <= 60
    await rig.close()


@pytest.mark.parametrize(("processes", "starts"), [(1, 0), (2, 0), (3, 0), (1, 1), (1, 3)])
async def test_one_jump_moves_what_is_due_once_however_many_see_it(
    tmp_path: Path, processes: int, starts: int
) -> None:
    """Processes on one store, and starts after the jump: the second on-call is asked 15 minutes after the first."""
    rig = await calling_rig(tmp_path)
    others = [Loops(rig.services, rig.loops.deliver, timedelta(days=30)) for _ in range(processes - 1)]
    for loops in others:
        await loops._follow_the_clock()
    await rig.handed_over()
    await rig.run(60)
    began = rig.clock.monotonic()
    set_back(rig, timedelta(minutes=10))
    for loops in others:
        await loops._follow_the_clock()
    for _ in range(starts):
        await rig.die()
        await rig.born()
        await rig.turn()
    for loops in others:
        await loops._follow_the_clock()
    await rig.until(lambda: len(rig.heads) >= 2)
    slack = 60 if starts else 30  # at a start only the last note of the time tells
    assert abs(rig.clock.monotonic() - began + 60 - 900) <= slack
    written = await rig.store.read(driving.seen)
    assert written is not None
    assert written.jumps == 1
    await rig.close()


async def test_a_replica_whose_own_clock_is_behind_moves_nothing(tmp_path: Path) -> None:
    """The latest time is another living replica's: not the store's clock was set back, but this one's."""
    rig = await calling_rig(tmp_path)
    now = rig.clock.now()

    def note(tx: Tx) -> None:
        later = Tx(tx.conn, now + BACK, tx.ids, tx.vault)
        driving.follow_clock(later, "other", timedelta(), None, gone=False)

    await rig.store.write(note)
    _, moved = await rig.store.write(lambda tx: driving.follow_clock(tx, "rig", BACK, 0, gone=False))
    assert moved == timedelta()
    _, moved = await rig.store.write(lambda tx: driving.follow_clock(tx, "rig", BACK, 0, gone=True))
    assert moved == BACK
    _, moved = await rig.store.write(lambda tx: driving.follow_clock(tx, "other", BACK, 0, gone=False))
    assert moved == timedelta()
    await rig.close()


async def test_an_alert_that_fires_again_under_its_start_is_no_straggler_of_a_time_to_come(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path)
    fired = scenes.alert(rig, alertname="Odd", severity="critical")
    await rig.send(scenes.body(fired))
    await rig.run(60)
    ended = {**fired, "status": "resolved", "endsAt": rig.clock.now().isoformat()}
    await rig.send(scenes.body(ended))
    await rig.run(60)
    set_back(rig)
    await rig.run(900)
    await rig.send(scenes.body(fired))
    await rig.run(60)
    states = [incident.state.closed for incident in await scenes.all_incidents(rig)]
    assert sorted(states) == [False, True]
    await rig.close()


async def test_a_temporary_change_ends_when_it_would_have_and_a_pause_when_people_said(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path / "s.sqlite", scenarios=("high-latency",), policy_texts=leased("15m"))
    await rig.born()
    await rig.run(600)
    assert _replicas(rig) == 8
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    until = rig.clock.now() + timedelta(minutes=1)
    await rig.operations.pause("target:rag7/Deployment/elsewhere", "a move", "ana", until)
    set_back(rig)
    await rig.run(960)  # the simulated load is of the clock too: what counts is that it was looked at
    assert _replicas(rig) == 2 or "Still needed" in rig.notebook.text
    now = rig.clock.now()
    (pause,) = await rig.store.read(lambda conn: people.pauses_in_force(conn, now))
    assert pause.until == until
    await rig.close()


async def test_a_question_that_nobody_answers_expires_when_it_would_have(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path)
    await rig.asked()
    set_back(rig)
    await rig.run(31 * 60)
    (run,) = await scenes.all_runs(rig)
    assert run.state is RunState.EXPIRED
    await rig.close()


ALWAYS = Window.model_validate_json(
    json.dumps(
        {
            "name": "release",
            "days": [day.value for day in Day],
            "from": "00:00",
            "to": "24:00",
            "timezone": "UTC",
        }
    )
)
SHORT_AND_LONG = pytest.mark.parametrize("by", [timedelta(minutes=4), BACK, timedelta(days=3)], ids=str)


@SHORT_AND_LONG
async def test_who_is_called_when_nothing_can_be_decided_is_called_when_they_would_have_been(
    tmp_path: Path, by: timedelta
) -> None:
    """Ten minutes after it could not be decided any more, of which five had passed."""
    rig = await _blind(tmp_path)
    await rig.run(300, alerts=False)
    set_back(rig, by)
    began = rig.clock.monotonic()
    while not rig.pagerduty.woken and rig.clock.monotonic() - began < 900:
        await rig.run(30, alerts=False)
    assert rig.clock.monotonic() - began <= 480
    await rig.close()


async def test_the_newest_decision_counts_whatever_the_clock_says(tmp_path: Path) -> None:
    """What is said once is said once, and a person is called for it."""
    rig = await scenes.born(tmp_path, rules=scenes.policy({"freeze": (ALWAYS,)}))
    await rig.send(scenes.body(scenes.alert(rig)))
    await rig.run(20, alerts=False)
    posts = len(rig.notebook.posts)
    set_back(rig)
    await rig.run(30, alerts=False)
    rig.policy = scenes.policy()
    incident = await scenes.the_incident(rig)
    rig.cluster.faults.add(ClusterFault(FaultKind.UNREACHABLE, times=10**6))
    await rig.store.write(lambda tx: incidents.schedule(tx, incident.id, tx.now))
    await rig.run(840, alerts=False)
    told = await scenes.trail(rig, EventKind.DECIDED)
    assert [event.data["code"] for event in told] == [Code.FROZEN, Code.UNKNOWN_FACT]
    assert len(await scenes.trail(rig, EventKind.ESCALATED)) == 1
    assert len(rig.notebook.posts) - posts <= 3
    await rig.close()


@SHORT_AND_LONG
async def test_a_persons_order_that_waits_is_good_as_long_as_it_would_have_been(
    tmp_path: Path, by: timedelta
) -> None:
    rig = await _held_order(tmp_path)
    set_back(rig, by)
    await rig.run(2_000)
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    assert (scenes.writes(rig), (await scenes.the_run(rig)).state) == (["patch langgraph"], RunState.FIXED)
    await rig.close()


async def test_a_temporary_change_whose_undo_was_withdrawn_ends_when_it_would_have(tmp_path: Path) -> None:
    """The row tells until when it lasts, also after an order to undo it; the journal only what was said first."""
    rig = Rig(tmp_path / "s.sqlite", scenarios=("high-latency",), policy_texts=leased("15m"))
    await rig.born()
    await rig.run(600)
    set_back(rig, timedelta(days=3))
    await rig.run(30)
    before = await _run(rig)
    await rig.operations.undo(before.id, "ana")
    await rig.operations.pause("all", "wait", "kim", None)
    await rig.run(30)
    await rig.operations.reject(before.id, "ana")
    await rig.run(30)
    after = await _run(rig)
    assert (after.state, after.due_at) == (before.state, before.due_at)
    assert after.due_at is not None
    assert after.due_at - rig.clock.now() < timedelta(minutes=15)
    await rig.close()


async def test_the_list_says_of_each_time_inside_of_a_text_whether_it_is_moved(tmp_path: Path) -> None:
    """What the rows of runs and their journals keep, after a temporary change whose undo a person ordered and that waits."""
    rig = Rig(tmp_path / "s.sqlite", scenarios=("high-latency",), policy_texts=leased("15m"))
    await rig.born()
    await rig.run(600)
    await rig.operations.undo((await _run(rig)).id, "ana")
    await rig.operations.pause("all", "wait", "kim", None)
    await rig.run(60)
    found = await rig.store.read(_times_inside)
    listed = [*moments.BESIDE, *(name for names in moments.KEPT.values() for name in names)]
    assert {"runs.life: until", "runs.life: ordered_until"} <= found
    assert {name for name in found if not any(fnmatch(name, known) for known in listed)} == set()
    await rig.close()


def _times_inside(conn: Connection) -> set[str]:
    found: set[str] = set()
    for column in (runs.c.life, run_journal.c.intent, run_journal.c.outcome, trust_levels.c.agreed):
        for text in conn.execute(select(column)).scalars():
            found |= {f"{column}: {path}" for path in _times(json.loads(text or "{}"))}
    return found


def _times(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _times(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _times(inner, path)
    elif isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", value):
        yield path


async def test_nothing_that_is_lent_ends_because_the_clock_was_set_ahead(tmp_path: Path) -> None:
    """Its time is counted on: it ends when it would have."""
    rig = Rig(tmp_path / "s.sqlite", scenarios=("high-latency",), policy_texts=leased("30m"))
    await rig.born()
    await rig.run(600)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    assert _replicas(rig) == 8
    set_back(rig, -BACK)
    await rig.run(600)
    assert _replicas(rig) == 8
    await rig.run(1_200)
    assert _replicas(rig) == 2
    await rig.close()


@pytest.mark.parametrize("processes", [1, 3])
async def test_a_question_outlives_a_clock_that_was_set_ahead(tmp_path: Path, processes: int) -> None:
    """Moved once, however many processes see the jump."""
    rig = await scenes.born(tmp_path, rules=scenes.policy(mode=Mode.APPROVE))
    others = [Loops(rig.services, rig.loops.deliver, timedelta(days=30)) for _ in range(processes - 1)]
    for loops in others:
        await loops._follow_the_clock()

    async def asked() -> bool:
        return any(run.state is RunState.WAITING for run in await scenes.all_runs(rig))

    await rig.until(asked, 120)
    before = (await scenes.the_run(rig)).expires_at
    set_back(rig, -BACK)
    for loops in others:
        await loops._follow_the_clock()
    await rig.run(60)
    run = await scenes.the_run(rig)
    assert run.state is RunState.WAITING
    assert before is not None
    assert run.expires_at is not None
    assert abs(run.expires_at - before - BACK) <= timedelta(seconds=1)
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(60)
    assert scenes.writes(rig)
    await rig.close()
