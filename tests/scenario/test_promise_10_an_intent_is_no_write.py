"""Promise 10: an intent on disk is no write. As long as nothing of an undo was sent, whoever is at it, a silence and the rule in force count as
before its intent, and a person's order can be taken back; a step whose write did not go out is judged as one that was not begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.notifying.timeline import timeline_of
from app.notify.parent import parent
from app.policy.model import Otherwise
from app.sim.faults import Fault, FaultKind
from tests.crash.worlds import flood
from tests.scenario.moments import after_the_first, during
from tests.scenario.rig import Died, Rig
from tests.scenario.scenes import all_runs, born, policy, the_incident, the_run, trail, writes
from tests.scenario.test_stricter_rule_takes_nothing_back import (
    _lent,
    _no_help,
    _reaches,
    _rules,
    is_removed,
    loses_temporary,
    loses_undo,
    observes,
)

Meanwhile = Callable[[Rig], Awaitable[None]]


async def acknowledged(rig: Rig) -> None:
    await rig.operations.acknowledge((await the_incident(rig)).id, "kim")


async def silenced(rig: Rig) -> None:
    rig.cluster.alertmanager.silence({"namespace": "rag7"})


def _rule(change: Callable[[Rig], None]) -> Meanwhile:
    async def do(rig: Rig) -> None:
        change(rig)

    return do


async def _intended(rig: Rig, do: Callable[[], Awaitable[Any]]) -> None:
    """The moment right after the undo's intent, in which something is done."""
    seen = after_the_first(rig, EventKind.UNDO_INTENDED, do)

    async def there() -> bool:
        return seen.done

    await rig.until(there, 3 * 3_600)


async def _does_not_get_out(rig: Rig, kind: FaultKind) -> None:
    async def do() -> None:
        rig.cluster.faults.add(Fault(kind, verb="patch", times=999))

    await _intended(rig, do)
    await rig.run(12)


async def _dies(rig: Rig) -> None:
    async def do() -> None:
        rig.reaper.at = rig.reaper.crossed + 1

    with suppress(Died):
        await _intended(rig, do)
        await rig.run(5)
    await rig.die()


REFUSALS = [acknowledged, silenced, _rule(loses_undo), _rule(observes)]


@pytest.mark.parametrize("kind", [FaultKind.UNREACHABLE, FaultKind.THROTTLED, FaultKind.LOST_BEFORE])
@pytest.mark.parametrize("meanwhile", REFUSALS, ids=["acknowledged", "silenced", "no undo", "observes"])
async def test_promise_10_an_undo_that_did_not_get_out_asks_anew_who_wants_it(
    tmp_path: Path, meanwhile: Meanwhile, kind: FaultKind
) -> None:
    rig = await _no_help(tmp_path)
    await _does_not_get_out(rig, kind)
    await meanwhile(rig)
    rig.cluster.faults.waiting.clear()
    await rig.run(300)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], RunState.NOT_FIXED)
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert ended.data["result"] == "not_done", "what was announced has an end"
    await rig.close()


@pytest.mark.parametrize(
    "meanwhile", [_rule(observes), _rule(loses_temporary)], ids=["observes", "no temporary"]
)
async def test_promise_10_the_end_of_a_temporary_change_whose_process_died_before_its_write_asks_anew(
    tmp_path: Path, meanwhile: Meanwhile
) -> None:
    rig = await _lent(tmp_path)
    await _dies(rig)
    rig.clock.advance(3_600.0)
    await rig.born()
    await meanwhile(rig)
    await rig.run(300)
    assert (writes(rig), (await the_run(rig)).state) == (["patch langgraph-api"], RunState.CONTAINED)
    await rig.close()


async def test_promise_10_an_undo_that_got_out_is_ended_whoever_is_at_it_by_then(tmp_path: Path) -> None:
    """Its process died right after the write: reading back tells that it happened."""
    rig = await _no_help(tmp_path)

    async def written() -> bool:
        return len(writes(rig)) == 2

    def dies(request: Any, when: str) -> None:
        if when == "after" and request.verb == "patch" and not request.dry_run and len(writes(rig)) == 2:
            rig.reaper.at = rig.reaper.crossed + 1

    rig.cluster.on_request(dies)
    with suppress(Died):
        await rig.until(written, 3_600)
        await rig.run(5)
    await rig.die()
    await rig.born()
    await acknowledged(rig)
    await rig.run(300)
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert (ended.data["result"], len(writes(rig))) == ("undone", 2)
    await rig.close()


async def _ordered_and_held(path: Path) -> Rig:
    """A person ordered an undo, and a pause came between its intent and its write."""
    rig = await _lent(path)
    run = await the_run(rig)

    async def do() -> None:
        await rig.operations.pause("all", "hands off", "kim", None)

    seen = after_the_first(rig, EventKind.UNDO_INTENDED, do)
    await rig.operations.undo(run.id, "ana")
    await rig.run(60)
    assert (seen.done, (await the_run(rig)).state) == (True, RunState.UNDOING)
    return rig


async def test_promise_10_an_order_that_was_held_after_its_intent_can_be_taken_back(tmp_path: Path) -> None:
    rig = await _ordered_and_held(tmp_path)
    run = await the_run(rig)
    (told,) = await trail(rig, EventKind.UNDO_HELD)
    assert told.data["withdraw"] == f"remediator reject {run.id}"
    answer = await rig.operations.reject(run.id, "ana")
    assert answer["answer"] == "withdrawn"
    await rig.run(60)
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.CONTAINED, ["patch langgraph-api"])
    await rig.close()


async def test_promise_10_an_order_that_was_held_after_its_intent_ends_as_not_done(tmp_path: Path) -> None:
    """Nothing is half done, so that nobody is told that it is."""
    rig = await _ordered_and_held(tmp_path)
    await rig.run(2 * 3_600)
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.CONTAINED, ["patch langgraph-api"])
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert ended.data["result"] == "not_done"
    calls = [str(one.data) for one in await trail(rig, EventKind.ESCALATED)]
    assert any("the undo was ordered and is not done" in call for call in calls)
    assert not any("'stuck': True" in call for call in calls)
    await rig.close()


async def test_promise_5_a_plan_whose_write_did_not_get_out_is_not_carried_out_under_a_rule_with_other_numbers(
    tmp_path: Path,
) -> None:
    """The intent alone does not make it begun."""
    rig = await born(tmp_path, world=flood(), rules=policy(steps=("scale-out",)))

    async def away() -> None:
        rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="patch", times=999))

    seen = after_the_first(rig, EventKind.ACTION_INTENDED, away)

    async def there() -> bool:
        return seen.done

    await rig.until(there, 600)
    await rig.run(5)
    _rules(rig, params={"scale_to": 4})
    rig.cluster.faults.waiting.clear()
    await _reaches(rig, RunState.ABANDONED)
    (ended,) = [run for run in await all_runs(rig) if run.state is RunState.ABANDONED]
    assert "params have changed meanwhile" in ended.result
    assert not writes(rig)
    await rig.close()


async def _before_its_write(rig: Rig) -> None:
    await _does_not_get_out(rig, FaultKind.UNREACHABLE)
    await silenced(rig)
    rig.cluster.faults.waiting.clear()


async def _while_it_is_verified(rig: Rig) -> None:
    await _reaches(rig, RunState.VERIFYING)
    await silenced(rig)


@pytest.mark.parametrize(
    ("comes", "state"),
    [(_before_its_write, RunState.NOT_FIXED), (_while_it_is_verified, RunState.INCONCLUSIVE)],
)
async def test_a_silence_that_keeps_what_did_not_help_calls_nobody_before_it_is_over(
    tmp_path: Path, comes: Meanwhile, state: RunState
) -> None:
    rig = await _no_help(tmp_path)
    await comes(rig)
    await rig.run(1_800)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], state)
    assert await trail(rig, EventKind.ESCALATED) == []
    assert run.id in run.result
    rig.cluster.alertmanager.end_silences()
    await rig.run(3_600)
    calls = await trail(rig, EventKind.ESCALATED)
    assert len(calls) == 1, "it fires on, and nobody says that they have it"
    await rig.close()


async def _paused(rig: Rig) -> None:
    await rig.operations.pause("all", "hands off", "kim", None)


@pytest.mark.parametrize(
    "meanwhile", [_rule(observes), _rule(is_removed), _paused], ids=["observes", "no rule", "paused"]
)
async def test_promise_7_the_call_that_a_silence_put_off_is_made_whatever_was_changed_meanwhile(
    tmp_path: Path, meanwhile: Meanwhile
) -> None:
    rig = await _no_help(tmp_path)
    await _while_it_is_verified(rig)
    await rig.run(900)
    assert await trail(rig, EventKind.ESCALATED) == []
    await meanwhile(rig)
    rig.cluster.alertmanager.end_silences()
    await rig.run(3_600)
    (call,) = await trail(rig, EventKind.ESCALATED)
    assert call.run_id == (await the_run(rig)).id
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_promise_10_an_undo_that_met_another_write_asks_anew_who_has_the_incident(
    tmp_path: Path,
) -> None:
    """The object changed right before the undo's request, and whoever did it has said so when it is sent again."""
    rig = await _no_help(tmp_path)

    async def taken() -> None:
        await acknowledged(rig)

    async def conflicts() -> None:
        rig.cluster.faults.add(Fault(FaultKind.CONFLICT, verb="patch", times=1))
        during(rig, "patch", taken)

    await _intended(rig, conflicts)
    await rig.run(600)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], RunState.NOT_FIXED)
    assert await trail(rig, EventKind.ESCALATED) == []
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert ended.data["result"] == "not_done"
    await rig.close()


async def test_a_headline_says_nothing_of_a_hold_that_is_over_to_whoever_has_the_incident(
    tmp_path: Path,
) -> None:
    rig = await _no_help(tmp_path)
    await _reaches(rig, RunState.VERIFYING)
    await rig.operations.pause("all", "hands off", "kim", None)
    await _reaches(rig, RunState.UNDOING)
    await rig.run(60)
    assert "The undo waits" in await _told(rig)
    await acknowledged(rig)
    await rig.operations.resume("all", "kim")
    await rig.run(120)
    told = await _told(rig)
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    assert "Acknowledged by kim" in told
    for old in ("undo waits", "--despite", "A person is needed", "hands off"):
        assert old not in told, told
    assert f"remediator undo {(await the_run(rig)).id}" in told
    await rig.close()


async def test_a_headline_names_nobody_who_had_the_incident_before_people_were_called_anew(
    tmp_path: Path,
) -> None:
    rig = await born(
        tmp_path, world=flood(), rules=policy(otherwise=(Otherwise.ESCALATE,), steps=("scale-out",))
    )
    await _reaches(rig, RunState.VERIFYING)
    await acknowledged(rig)
    assert "Acknowledged by kim" in await _told(rig)
    await rig.run(1_200)
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    told = await _told(rig)
    assert "A person is needed" in told
    assert "Acknowledged by kim" not in told
    await rig.close()


async def _told(rig: Rig) -> str:
    incident = await the_incident(rig)
    return parent(await rig.store.read(lambda conn: timeline_of(conn, incident.id))).readable()
