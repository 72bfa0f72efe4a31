"""Promise 10: an undo by itself and the end of a temporary change go by the stricter of the rule at the time and the rule in force, under
whatever name it has by now; what is left in place calls a person with the command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Approval, Otherwise, Rule, Temporary
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_run, trail, writes

Change = Callable[[Rig], None]


def _rules(rig: Rig, **update: Any) -> None:
    rules = tuple(rule.model_copy(update=update) for rule in rig.policy.rules)
    rig.policy = rig.policy.model_copy(update={"rules": rules})


def loses_undo(rig: Rig) -> None:
    _rules(rig, otherwise=(Otherwise.ESCALATE,))


def loses_temporary(rig: Rig) -> None:
    _rules(rig, temporary=None)


def observes(rig: Rig) -> None:
    _rules(rig, mode=Mode.OBSERVE)


def asks_others(rig: Rig) -> None:
    _rules(rig, mode=Mode.APPROVE, approval=Approval(by=("bob",)))


def is_removed(rig: Rig) -> None:
    rig.policy = rig.policy.model_copy(update={"rules": ()})


def is_renamed(rig: Rig) -> None:
    def again(rule: Rule) -> Rule:
        return rule.model_copy(update={"name": f"{rule.name} v2"})

    rig.policy = rig.policy.model_copy(update={"rules": tuple(map(again, rig.policy.rules))})


async def _reaches(rig: Rig, state: RunState) -> None:
    async def there() -> bool:
        return any(run.state is state for run in await all_runs(rig))

    await rig.until(there, 1_800)


async def _no_help(path: Path) -> Rig:
    """A step that does not help, and whose rule undoes it."""
    rules = policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE), steps=("scale-out",))
    return await born(path, world=flood(), rules=rules)


async def _lent(path: Path) -> Rig:
    """A temporary change that helped, and whose reason goes away."""
    rules = policy(temporary=Temporary(revert_after=timedelta(minutes=20)))
    rig = await born(path, "high-latency", rules=rules)
    await _reaches(rig, RunState.CONTAINED)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    return rig


async def _called(rig: Rig) -> list[str]:
    return [str(record.data) for record in await trail(rig) if record.kind is EventKind.ESCALATED]


STRICTER = [loses_undo, observes, asks_others, is_removed]


@pytest.mark.parametrize("change", STRICTER)
async def test_promise_10_a_step_that_did_not_help_stays_when_its_rule_undoes_nothing_by_then(
    tmp_path: Path, change: Change
) -> None:
    rig = await _no_help(tmp_path)
    await _reaches(rig, RunState.VERIFYING)
    change(rig)
    await rig.run(1_200)
    run = await the_run(rig)
    assert run.state is RunState.NOT_FIXED
    assert writes(rig) == ["patch langgraph-api"]
    (call,) = await _called(rig)
    assert f"remediator undo {run.id}" in call
    await rig.close()


@pytest.mark.parametrize("change", STRICTER)
async def test_promise_10_an_undo_that_waited_for_a_pause_goes_by_the_rule_in_force(
    tmp_path: Path, change: Change
) -> None:
    rig = await _no_help(tmp_path)
    await _reaches(rig, RunState.VERIFYING)
    await rig.operations.pause("all", "hands off", "kim", None)
    await _reaches(rig, RunState.UNDOING)
    change(rig)
    await rig.operations.resume("all", "kim")
    await rig.run(300)
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


@pytest.mark.parametrize("change", [loses_temporary, observes, asks_others, is_removed])
async def test_promise_10_a_temporary_change_stays_when_its_rule_takes_nothing_back_by_then(
    tmp_path: Path, change: Change
) -> None:
    rig = await _lent(tmp_path)
    change(rig)
    await rig.run(2 * 3_600)
    run = await the_run(rig)
    assert run.state is RunState.CONTAINED
    assert run.waits_for.startswith("its temporary change is over, but the rule")
    assert writes(rig) == ["patch langgraph-api"]
    calls = [text for text in await _called(rig) if "its temporary change is over" in text]
    assert len(calls) == 1, "once"
    assert f"remediator undo {run.id}" in calls[0]
    await rig.operations.undo(run.id, "ana")
    await rig.run(120)
    assert (await the_run(rig)).state is RunState.UNDONE
    await rig.close()


async def test_promise_10_a_temporary_change_ends_once_its_rule_is_back(tmp_path: Path) -> None:
    rig = await _lent(tmp_path)
    before = rig.policy
    is_removed(rig)
    await rig.run(3_600)
    rig.policy = before
    await rig.run(300)
    assert (await the_run(rig)).state is RunState.REVERTED
    await rig.close()


async def test_promise_10_a_pause_of_the_rules_new_name_holds_its_undo(tmp_path: Path) -> None:
    rig = await _no_help(tmp_path)
    await _reaches(rig, RunState.VERIFYING)
    run = await the_run(rig)
    is_renamed(rig)
    await rig.operations.pause(f"rule:{run.rule} v2", "nothing of this rule", "kim", None)
    await rig.run(1_200)
    assert (await the_run(rig)).state is RunState.UNDOING
    assert writes(rig) == ["patch langgraph-api"]
    await rig.operations.resume(f"rule:{run.rule} v2", "kim")
    await rig.run(300)
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"], (
        "a new name alone is no stricter rule"
    )
    await rig.close()


async def test_promise_10_a_pause_of_the_rules_new_name_holds_the_end_of_its_temporary_change(
    tmp_path: Path,
) -> None:
    rig = await _lent(tmp_path)
    run = await the_run(rig)
    is_renamed(rig)
    await rig.operations.pause(f"rule:{run.rule} v2", "nothing of this rule", "kim", None)
    await rig.run(3_600)
    assert (await the_run(rig)).state is RunState.CONTAINED
    assert writes(rig) == ["patch langgraph-api"]
    await rig.operations.resume(f"rule:{run.rule} v2", "kim")
    await rig.run(300)
    assert (await the_run(rig)).state is RunState.REVERTED
    await rig.close()


async def test_what_was_done_to_a_target_that_is_gone_is_said_to_be_gone_with_it(tmp_path: Path) -> None:
    """Nothing is offered to be taken back of what is not there."""
    rig = await _no_help(tmp_path)
    await _reaches(rig, RunState.VERIFYING)
    rig.cluster.delete(Kind.DEPLOYMENT, "rag7", "langgraph-api")
    await _reaches(rig, RunState.TAKEN_OVER)
    run = await the_run(rig)
    assert "rag7/Deployment/langgraph-api is gone, and what was done with it" in run.result
    assert "stays in place" not in run.result
    assert f"remediator undo {run.id}" not in run.result
    await rig.close()
