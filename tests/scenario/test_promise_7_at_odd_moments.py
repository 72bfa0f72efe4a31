"""Promise 7 at odd moments: undos that wait, meet, fail and come twice, and people who come in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Approval, Otherwise, Temporary
from app.sim.faults import Fault, FaultKind
from app.store import work
from tests.crash.worlds import flood
from tests.scenario.moments import after_the_first, during
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, policy, says_yes, the_incident, the_run, trail, writes

API = (Kind.DEPLOYMENT, "rag7", "langgraph-api")
IMAGE = "/spec/template/spec/containers/0/image"


def _replicas(rig: Rig) -> int:
    found: Any = rig.cluster.peek(*API)
    return int(found["spec"]["replicas"])


def _is(rig: Rig, state: RunState) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return (await the_run(rig)).state is state

    return there


def _headline(rig: Rig) -> str:
    """The parent message of the only incident as it stands."""
    (text,) = rig.notebook.parents.values()
    return text


async def _acted(path: Path) -> Rig:
    """A run that has scaled out what no number of replicas can carry, and will undo it."""
    rules = policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(path, rules=rules, world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    return rig


async def _held(path: Path) -> Rig:
    """The same, and the undo that the rule wants waits behind a pause."""
    rig = await _acted(path)
    await rig.operations.pause("all", "cluster upgrade", "kim", None)
    await rig.until(_is(rig, RunState.UNDOING))
    await rig.run(30)
    return rig


async def _fixed(path: Path) -> Rig:
    rig = await born(path, rules=policy(cooldown=timedelta(0)))
    await rig.until(lambda: bool(writes(rig)), 60)
    await rig.until(_is(rig, RunState.FIXED))
    await rig.run(5)
    return rig


async def _intents_have_ends(rig: Rig) -> None:
    """Each undo that was announced has exactly one end."""
    intended = [r.data["action"] for r in await trail(rig, EventKind.UNDO_INTENDED)]
    ended = [r.data["action_id"] for r in await trail(rig, EventKind.UNDO_ENDED)]
    assert sorted(name.partition("/undo")[0] for name in intended) == sorted(ended)


async def test_an_undo_that_was_held_is_not_done_later_when_the_alert_has_resolved(tmp_path: Path) -> None:
    """What was done may have helped late: it is verified once more, and nobody is asked where it did."""
    rig = await _held(tmp_path)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await rig.run(900)
    await rig.operations.resume("all", "kim")
    await rig.run(300)
    run = await the_run(rig)
    assert (writes(rig), _replicas(rig), run.state) == (["patch langgraph-api"], 8, RunState.CONTAINED)
    (first,) = await trail(rig, EventKind.ESCALATED)
    assert "its undo waits" in first.data["reason"]
    assert (await the_incident(rig)).state is IncidentState.CONTAINED
    await rig.operations.undo(run.id, "ana")
    await rig.run(60)
    assert ((await the_run(rig)).state, _replicas(rig)) == (RunState.UNDONE, 2)
    await _intents_have_ends(rig)
    await rig.close()


async def test_an_undo_that_a_person_ordered_is_done_after_a_hold_whatever_the_alert_does(
    tmp_path: Path,
) -> None:
    """They said so; a hold that came after it puts it off."""
    rig = await _fixed(tmp_path)
    await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.operations.pause("all", "wait", "kim", None)
    await rig.run(600)
    assert writes(rig) == ["patch langgraph"]
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    assert (await the_run(rig)).state is RunState.UNDONE
    await rig.close()


async def test_an_undo_that_is_ordered_while_one_is_written_makes_no_second(tmp_path: Path) -> None:
    """It is theirs from then on: no intent without an end, and one write."""
    rig = await _acted(tmp_path)
    run = await the_run(rig)
    ordered = during(rig, "patch", lambda: rig.operations.undo(run.id, "ana"))
    await rig.run(900)
    assert ordered
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert (await the_run(rig)).state is RunState.UNDONE
    await _intents_have_ends(rig)
    await rig.close()


async def test_a_held_undo_becomes_the_one_that_a_person_orders_in_spite_of_the_hold(tmp_path: Path) -> None:
    rig = await _held(tmp_path)
    run = await the_run(rig)
    with pytest.raises(Refused, match="--despite"):
        await rig.operations.undo(run.id, "ana")
    await rig.operations.undo(run.id, "ana", despite=True)
    await rig.run(10)
    assert ((await the_run(rig)).state, _replicas(rig)) == (RunState.UNDONE, 2)
    await _intents_have_ends(rig)
    await rig.close()


async def test_the_headline_of_a_held_undo_says_what_holds_it(tmp_path: Path) -> None:
    """And the incident is a person's."""
    rig = await _held(tmp_path)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert "cluster upgrade" in _headline(rig)
    assert "its undo waits" in _headline(rig)
    await rig.close()


@pytest.mark.parametrize("effect", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
async def test_a_stuck_run_whose_write_is_unclear_can_be_undone(tmp_path: Path, effect: FaultKind) -> None:
    """It may be in place: reading back tells, and what is there is taken back."""
    rig = await born(tmp_path, rules=policy(steps=("scale-out",)), world=flood())

    def cut(request: Any, _when: str) -> None:
        if request.verb == "patch" and not request.dry_run:
            deaf = Fault(FaultKind.UNREACHABLE, verb="get", kind=Kind.DEPLOYMENT, times=100_000)
            rig.cluster.faults.add(deaf)

    rig.cluster.faults.add(Fault(effect, verb="patch", dry_run=False))
    leave_be = rig.cluster.on_request(cut)

    async def there_is_a_run() -> bool:
        return bool(await trail(rig, EventKind.ACTION_INTENDED))

    await rig.until(there_is_a_run, 60)
    await rig.until(_is(rig, RunState.STUCK))
    leave_be()
    rig.cluster.faults.clear()
    happened = effect is FaultKind.LOST_AFTER
    assert _replicas(rig) == (8 if happened else 2)
    await rig.operations.undo((await the_run(rig)).id, "ana")
    await rig.run(60)
    assert ((await the_run(rig)).state, _replicas(rig)) == (RunState.UNDONE, 2)
    (undone,) = await trail(rig, EventKind.UNDO_ENDED)
    assert undone.data["result"] == ("undone" if happened else "nothing_to_undo")
    await rig.close()


async def test_an_undo_that_met_a_conflict_can_be_ordered_again(tmp_path: Path) -> None:
    """What somebody had changed may be ours again by then."""
    rig = await _fixed(tmp_path)
    run = await the_run(rig)
    found: Any = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    ours = found["spec"]["template"]["spec"]["containers"][0]["image"]
    for value in ("r/x:hotfix", ours):
        edit = [{"op": "replace", "path": IMAGE, "value": value}]
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", edit)
        await rig.operations.undo(run.id, "ana")
        await rig.run(60)
    assert [r.data["result"] for r in await trail(rig, EventKind.UNDO_ENDED)] == ["conflict", "undone"]
    assert (await the_run(rig)).state is RunState.UNDONE
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    await rig.close()


async def test_after_a_second_undo_the_headline_says_nothing_of_the_first_ones_failure(
    tmp_path: Path,
) -> None:
    rig = await _fixed(tmp_path)
    run = await the_run(rig)
    rig.cluster.deny("patch", Kind.DEPLOYMENT)
    await rig.operations.undo(run.id, "ana")
    await rig.run(120)
    failed = _headline(rig)
    assert "STUCK" in failed
    rig.cluster.allow("patch", Kind.DEPLOYMENT)
    await rig.operations.undo(run.id, "ana")
    await rig.run(120)
    assert (await the_run(rig)).state is RunState.UNDONE
    now = next(
        iter(rig.notebook.parents.values())
    )  # the alert may have come back since, to an incident of its own
    assert "STUCK" not in now
    assert "The undo failed" in failed
    assert "The undo failed" not in now
    assert "cannot patch" in failed
    assert "cannot patch" not in now
    assert (await rig.operations.explain(run.id))["escalation"] is None
    await rig.close()


async def test_the_newest_step_is_undone_first_also_when_the_clock_was_set_back_between_two(
    tmp_path: Path,
) -> None:
    """Told by the steps, not by the clock; and verifications and claims go on as if nothing had happened to it."""
    rig = await born(tmp_path, rules=policy(cooldown=timedelta(0)), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    rig.clock._start -= timedelta(hours=2)
    await rig.until(_is(rig, RunState.WAITING), 1_800)
    await says_yes(rig)  # whether a restart helps
    await rig.until(_is(rig, RunState.NOT_FIXED), 1_800)
    undone = [r.data["action_id"].rpartition("/")[2] for r in await trail(rig, EventKind.UNDO_ENDED)]
    assert undone == ["1.0", "0.0"]
    assert _replicas(rig) == 2
    await rig.close()


async def _asked_about_a_second_step(path: Path) -> Rig:
    """The first step did not help, and the second one needs an approval: the rule was lowered to it meanwhile."""
    rig = await born(path, rules=policy(approval=Approval(by=("alice",))), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    rig.policy = policy(mode=Mode.APPROVE, approval=Approval(by=("bob",)))
    await rig.until(_is(rig, RunState.WAITING))
    return rig


async def test_a_second_step_is_asked_under_the_rule_in_force_and_not_the_first_steps(tmp_path: Path) -> None:
    """Who may approve has changed in between: the new ones may, the old ones may not."""
    rig = await _asked_about_a_second_step(tmp_path)
    await rig.run(120)
    run = await the_run(rig)
    assert run.state is RunState.WAITING
    with pytest.raises(Refused, match="alice is not among those"):
        await rig.operations.approve(run.id, "alice")
    await rig.operations.approve(run.id, "bob")
    await rig.until(lambda: len(writes(rig)) > 1, 60)
    await rig.close()


async def test_a_step_that_was_never_taken_takes_no_place_in_a_budget_and_closes_its_request(
    tmp_path: Path,
) -> None:
    """The alert went away while people were asked about it."""
    rig = await _asked_about_a_second_step(tmp_path)
    day = rig.clock.now() - timedelta(days=1)

    async def spent() -> int:
        return await rig.store.read(lambda conn: work.spent_since(conn, "cluster", day))

    assert await spent() == 1
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await rig.until(_is(rig, RunState.VERIFYING))
    await rig.run(5)
    assert await spent() == 1
    assert "the alert resolved while the approval request stood" in rig.notebook.text
    with pytest.raises(Refused) as refused:
        await rig.operations.approve((await the_run(rig)).id, "bob")
    assert refused.value.code == "not_waiting"
    await rig.close()


async def test_a_temporary_change_that_was_held_asks_again_whether_it_is_needed(tmp_path: Path) -> None:
    """A pause comes between the end of its time and the write; when it is lifted the rush is back: the change goes on."""
    rules = policy(temporary=Temporary(revert_after=timedelta(minutes=20)))
    rig = await born(tmp_path, "high-latency", rules=rules)
    await rig.until(lambda: bool(writes(rig)))
    await rig.until(_is(rig, RunState.CONTAINED))
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)

    async def stop() -> None:
        await rig.operations.pause("all", "hands off", "kim", None)

    paused = after_the_first(rig, EventKind.TEMPORARY_ENDED, stop)
    await rig.run(1_300)
    assert paused.done
    assert ((await the_run(rig)).state, _replicas(rig)) == (RunState.UNDOING, 8)
    rig.cluster.traffic.set_rps("langgraph-api", 60.0)
    await rig.run(300)
    await rig.operations.resume("all", "kim")
    await rig.run(600)
    assert ((await the_run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
    assert "Still needed" in rig.notebook.text
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await rig.until(_is(rig, RunState.REVERTED), 7_200)
    assert (writes(rig)[1:], _replicas(rig)) == (["patch langgraph-api (undo)"], 2)
    await _intents_have_ends(rig)
    await rig.close()
