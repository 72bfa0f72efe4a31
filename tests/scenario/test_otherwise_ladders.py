"""Promise 7, undone or escalated: whatever a rule says otherwise, and whatever happens meanwhile, a run ends. What it did is taken back or told as
kept, nobody is called under a silence or for what somebody has or deletes, and everybody else once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.deciding import history
from app.flow.notifying.timeline import timeline_of
from app.notify.buttons import buttons
from app.notify.parent import parent
from app.policy.model import Otherwise, Rule
from app.sim.faults import FaultKind
from app.store import runs, work
from app.store.runs import JournalEntry, Run
from tests.crash.worlds import flood
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, policy, the_incident, the_run, trail, writes
from tests.scenario.test_being_deleted import API, SPACE, delete_slowly
from tests.scenario.test_promise_10_an_intent_is_no_write import (
    _does_not_get_out,
    acknowledged,
    silenced,
)
from tests.scenario.test_stricter_rule_takes_nothing_back import _reaches, observes
from tests.scenario.test_trust import earned, raised, trust_level

Ladder = tuple[Otherwise, ...]
Meanwhile = Callable[[Rig], Awaitable[None]]
E, N, U = Otherwise.ESCALATE, Otherwise.NEXT, Otherwise.UNDO
LADDERS: tuple[Ladder, ...] = ((E,), (N, E), (U, E), (N, U, E), (U, N, E))
WRITE, BACK = "patch langgraph-api", "patch langgraph-api (undo)"


async def _scene(path: Path, ladder: Ladder) -> Rig:
    """A first step that does not help, and a second one that asks."""
    rules = policy(otherwise=ladder, cooldown=timedelta(seconds=1))
    return await born(path, world=flood(), rules=rules)


async def _told(rig: Rig) -> str:
    incident = await the_incident(rig)
    return parent(await rig.store.read(lambda conn: timeline_of(conn, incident.id))).readable()


async def _calls(rig: Rig) -> int:
    return len(await trail(rig, EventKind.ESCALATED))


async def _asks(rig: Rig) -> None:
    def asking(rule: Rule) -> Rule:
        return rule.model_copy(update={"mode": Mode.APPROVE})

    rig.policy = rig.policy.model_copy(update={"rules": tuple(map(asking, rig.policy.rules))})


async def _rejects(rig: Rig) -> None:
    async def waits() -> bool:
        run = await the_run(rig)
        return run.state is RunState.WAITING or run.state.ended

    await rig.until(waits, 3_600)
    if (run := await the_run(rig)).state is RunState.WAITING:
        await rig.operations.reject(run.id, "ana")


async def _paused(rig: Rig) -> None:
    """Something holds it for a while."""
    await rig.operations.pause("all", "hands off", "ana", None)
    await rig.run(1_200)
    await rig.operations.resume("all", "ana")


async def _lowered(rig: Rig) -> None:
    observes(rig)


async def _deleted(rig: Rig) -> None:
    delete_slowly(rig, SPACE)


async def _nothing(_rig: Rig) -> None:
    """Nobody answers the question of the next step."""


STAYS = {_lowered, silenced, acknowledged, _deleted}
"""What keeps the service from taking anything back."""
CALLS_NOBODY = {silenced, _deleted}


@pytest.mark.parametrize("ladder", LADDERS, ids="+".join)
@pytest.mark.parametrize(
    "meanwhile", [_nothing, _rejects, _paused, silenced, acknowledged, _deleted, _lowered]
)
async def test_promise_7_every_ladder_ends_with_what_was_done_undone_or_told_as_kept(
    tmp_path: Path, meanwhile: Meanwhile, ladder: Ladder
) -> None:
    rig = await _scene(tmp_path, ladder)
    await _reaches(rig, RunState.VERIFYING)
    await meanwhile(rig)
    await rig.run(3_600)
    run, told, calls = await the_run(rig), await _told(rig), await _calls(rig)
    assert run.state.ended
    assert not await rig.store.read(lambda conn: work.busy_with_plan(conn, run.target_key, (), excluding=""))
    undone = U in ladder and meanwhile not in STAYS
    assert writes(rig) == ([WRITE, BACK] if undone else [WRITE])
    assert (f"remediator undo {run.id}" in told) is (not undone and meanwhile is not _deleted), told
    held = meanwhile is acknowledged and ladder != (E,)
    called_before = (
        meanwhile is _paused and U in ladder
    )  # for the undo that waits; that it is over and did not help is news to them
    assert calls == (0 if held or meanwhile in CALLS_NOBODY else 1 + called_before)
    assert ("A person is needed" in told) is (calls > 0)
    if meanwhile is acknowledged:
        assert ("Acknowledged by kim" in told) is held
    await rig.close()


@pytest.mark.parametrize(
    ("meanwhile", "then"),
    [
        (_nothing, "An approval was asked for"),
        (_rejects, "Rejected by ana"),
        (_paused, "Stopped by: kill switch"),
    ],
)
async def test_a_message_keeps_the_step_that_was_done_and_the_one_that_was_not_apart(
    tmp_path: Path, meanwhile: Meanwhile, then: str
) -> None:
    rig = await _scene(tmp_path, (N, E))
    await _reaches(rig, RunState.VERIFYING)
    await meanwhile(rig)
    await rig.run(3_600)
    told = (await _told(rig)).splitlines()
    assert sum("95 % of the requests are answered in 30 s" in line for line in told) == 1
    assert not any("Latency stayed high after scaling out" in line for line in told)
    assert [line for line in told if line.startswith("Allowed by: ")], told
    assert any(line.startswith(f"Then restart: {then}") for line in told), told
    (needed,) = (line for line in told if line.startswith("A person is needed: "))
    assert needed.startswith("A person is needed: it did not help; ")
    assert sum("Latency: 30 before the step, 30 now" in line for line in told) == 1
    await rig.close()


async def _order_taken_back(rig: Rig) -> Run:
    """The rule's undo cannot get out; ana makes it hers, and takes that back."""
    await _does_not_get_out(rig, FaultKind.UNREACHABLE)
    run = await the_run(rig)
    await rig.operations.undo(run.id, "ana")
    await rig.run(2)
    assert (await rig.operations.reject(run.id, "ana"))["answer"] == "withdrawn"
    rig.cluster.faults.waiting.clear()
    return run


@pytest.mark.parametrize("ladder", [(U, E), (N, U, E), (U, N, E)], ids="+".join)
async def test_promise_7_what_a_rule_says_after_its_undo_follows_an_order_over_it_that_is_taken_back(
    tmp_path: Path, ladder: Ladder
) -> None:
    """The undo is left out, and nothing else: the next step is asked for."""
    rig = await _scene(tmp_path, ladder)
    await _order_taken_back(rig)
    await rig.run(60)
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert ended.data["result"] == "not_done"
    if ladder == (U, N, E):
        assert (await the_run(rig)).state is RunState.WAITING
        assert await _calls(rig) == 0
    await rig.run(3_600)
    run = await the_run(rig)
    assert (run.state, writes(rig)) == (RunState.NOT_FIXED, [WRITE])
    assert await _calls(rig) == 1
    assert "withdrawn by ana" in run.result
    await rig.close()


async def test_promise_7_an_order_over_the_rules_undo_that_is_taken_back_counts_that_the_step_did_not_help(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, world=flood(), rules=earned(otherwise=(U, E), steps=("scale-out",)))
    await rig.run(60)
    await raised(rig, 2)
    before = (await trust_level(rig)).level
    run = await _order_taken_back(rig)
    await _reaches(rig, RunState.NOT_FIXED)
    after = await trust_level(rig)
    (counted,) = [e for e in await _journal(rig, run.id) if e.intent.get("entry") == "counted"]
    assert counted.intent["as"] == "not_fixed"
    assert (before, after.level) == ("auto", "approve")
    await rig.close()


async def _journal(rig: Rig, run_id: str) -> list[JournalEntry]:
    return await rig.store.read(lambda conn: runs.entries(conn, run_id))


async def test_promise_7_what_the_rules_undo_took_back_is_nobodys_hand_in_the_next_step(
    tmp_path: Path,
) -> None:
    rig = await _scene(tmp_path, (U, N, E))
    await _reaches(rig, RunState.WAITING)
    run = await the_run(rig)
    await rig.operations.approve(run.id, "ana", run.plan_hash)
    await _reaches(rig, RunState.VERIFYING)
    await rig.run(3_600)
    run = await the_run(rig)
    assert writes(rig) == [WRITE, BACK, WRITE]
    assert run.state is RunState.NOT_FIXED
    assert "somebody" not in run.result
    await rig.close()


async def test_promise_7_what_a_person_left_in_place_no_later_step_takes_back(tmp_path: Path) -> None:
    """The next step did not help either, and is taken back alone."""
    rig = await _scene(tmp_path, (U, N, E))
    run = await _order_taken_back(rig)
    await _reaches(rig, RunState.WAITING)
    await rig.operations.approve(run.id, "ana")
    await rig.run(3_600)
    run = await the_run(rig)
    assert run.state.ended
    assert BACK not in writes(rig)
    assert "ana took back the order to undo scale-out" in run.result
    await rig.close()


@pytest.mark.parametrize(
    ("ladder", "moment"),
    [((N, E), EventKind.VERIFIED), ((U, N, E), EventKind.UNDO_ENDED)],
    ids=["next", "undo+next"],
)
async def test_promise_7_a_silence_that_lets_no_next_step_be_calls_nobody_before_it_is_over(
    tmp_path: Path, ladder: Ladder, moment: EventKind
) -> None:
    rig = await _scene(tmp_path, ladder)
    seen = after_the_first(rig, moment, partial(silenced, rig))
    await rig.run(1_800)
    assert seen.done
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    assert await _calls(rig) == 0
    rig.cluster.alertmanager.end_silences()
    await rig.run(7_200)
    assert await _calls(rig) == 1
    await rig.close()


@pytest.mark.parametrize("gone", [False, True], ids=["being deleted", "deleted"])
async def test_an_undo_of_what_is_deleted_is_neither_offered_nor_taken(tmp_path: Path, *, gone: bool) -> None:
    rig = await _scene(tmp_path, (U, E))
    await _reaches(rig, RunState.VERIFYING)
    if gone:
        rig.cluster.delete(*API)
    else:
        delete_slowly(rig, SPACE)
    await _reaches(rig, RunState.TAKEN_OVER)
    run, incident = await the_run(rig), await the_incident(rig)
    assert "remediator undo" not in run.result
    assert "there is nothing to take back" in run.result
    assert "remediator undo" not in await _told(rig)
    shown = buttons(await rig.store.read(lambda conn: timeline_of(conn, incident.id)))
    assert "Undo" not in [button.label for button in shown]
    for despite in (False, True):
        with pytest.raises(Refused, match="there is nothing to take back"):
            await rig.operations.undo(run.id, "ana", despite=despite)
    await rig.close()


async def test_an_undo_is_refused_for_what_somebody_deletes_long_after_its_run(tmp_path: Path) -> None:
    rig = await _scene(tmp_path, (E,))
    await _reaches(rig, RunState.NOT_FIXED)
    delete_slowly(rig, SPACE)
    with pytest.raises(Refused, match="namespace rag7 is being deleted since"):
        await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.run(60)
    assert writes(rig) == [WRITE]
    await rig.close()


async def _owing(path: Path) -> Rig:
    """The run has ended under a silence, and its call is owed."""
    rig = await _scene(path, (N, E))
    after_the_first(rig, EventKind.VERIFIED, partial(silenced, rig))
    await rig.run(1_800)
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    assert await _calls(rig) == 0
    return rig


async def test_promise_7_a_call_that_is_owed_is_not_made_over_somebody_who_took_the_incident_meanwhile(
    tmp_path: Path,
) -> None:
    rig = await _owing(tmp_path)
    await acknowledged(rig)
    rig.cluster.alertmanager.end_silences()
    await rig.run(7_200)
    assert await _calls(rig) == 0
    assert "Acknowledged by kim" in await _told(rig)
    await rig.close()


@pytest.mark.parametrize("taken", [False, True], ids=["resolved", "taken"])
async def test_promise_7_what_becomes_of_the_incident_while_the_silence_is_looked_at_is_seen_before_the_call(
    tmp_path: Path, *, taken: bool
) -> None:
    rig = await _owing(tmp_path)
    incident = await the_incident(rig)
    call = await rig.store.read(lambda conn: history.owed(conn, incident.id))
    assert call is not None
    if taken:
        await acknowledged(rig)
    else:
        await rig.send(body(alert(rig, "resolved", alertname="HighLatency", deployment="langgraph-api")))
    again = rig.clock.now() + timedelta(minutes=5)
    await rig.store.write(lambda tx: history.pay(tx, rig.policy, incident, call, again))
    assert await _calls(rig) == 0
    await rig.run(600)
    state = (await the_incident(rig)).state
    assert state is (IncidentState.ESCALATED if taken else IncidentState.RESOLVED)
    await rig.close()
