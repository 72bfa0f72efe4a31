"""What waits for an answer, or is about to be written, obeys the stricter of the rule at the time and the rule in force."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.outcome import RunState
from app.policy.model import Approval, Policy
from app.sim.faults import Request
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_run, writes

ASKED = Approval(by=("alice",))


def _narrowed() -> Policy:
    return policy(mode=Mode.APPROVE, approval=Approval(by=("carol",)))


def _two_needed() -> Policy:
    return policy(mode=Mode.APPROVE, approval=Approval(by=("alice", "carol"), approvals=2))


def _observing() -> Policy:
    return policy(mode=Mode.OBSERVE)


def _deleted() -> Policy:
    found = policy(mode=Mode.APPROVE)
    return found.model_copy(update={"rules": ()})


def _out_of_scope() -> Policy:
    found = policy(mode=Mode.APPROVE, approval=ASKED)
    return found.model_copy(update={"scope": found.scope.model_copy(update={"namespaces": ("elsewhere",)})})


def _with(**values: Any) -> Policy:
    found = policy(mode=Mode.APPROVE, approval=ASKED)
    rules = tuple(rule.model_copy(update=values) for rule in found.rules)
    return found.model_copy(update={"rules": rules})


def _other_steps() -> Policy:
    return _with(steps=("scale-up",))


def _other_numbers() -> Policy:
    return _with(params={"recent_deployment": "50m"})


def _other_target() -> Policy:
    (spec, *_) = {rule.target for rule in policy().rules}
    return _with(target=spec.model_copy(update={"name": spec.name.model_copy(update={"default": "gateway"})}))


CHANGES = [
    *(_narrowed, _two_needed, _observing, _deleted, _out_of_scope),
    *(_other_steps, _other_numbers, _other_target),
]


async def _asked(path: Path) -> Rig:
    rig = await born(path, rules=policy(mode=Mode.APPROVE, approval=ASKED))
    await rig.run(30)
    assert (await the_run(rig)).state is RunState.WAITING
    return rig


@pytest.mark.parametrize("change", CHANGES)
async def test_a_yes_after_the_policy_became_stricter_does_nothing(
    tmp_path: Path, change: Callable[[], Policy]
) -> None:
    rig = await _asked(tmp_path)
    rig.policy = change()
    run = await the_run(rig)
    with suppress(Refused):  # or the look before the write finds it
        await rig.operations.approve(run.id, "alice", run.plan_hash)
    await rig.run(60)
    assert writes(rig) == []
    await rig.close()


@pytest.mark.parametrize("change", CHANGES)
async def test_a_policy_that_becomes_stricter_between_the_yes_and_the_write_stops_it(
    tmp_path: Path, change: Callable[[], Policy]
) -> None:
    rig = await _asked(tmp_path)
    dry: list[Request] = []

    def at(request: Request, when: Literal["before", "after"]) -> None:
        if request.verb == "patch" and request.dry_run and when == "after":
            dry.append(request)
            rig.policy = change()

    rig.cluster.on_request(at)
    run = await the_run(rig)
    await rig.operations.approve(run.id, "alice", run.plan_hash)
    await rig.run(60)
    assert dry, "the change came after the yes"
    assert writes(rig) == []
    await rig.close()


async def test_a_question_gets_no_more_time_than_the_rule_in_force_gives(tmp_path: Path) -> None:
    rig = await _asked(tmp_path)
    rig.policy = policy(
        mode=Mode.APPROVE, approval=ASKED.model_copy(update={"expires": timedelta(seconds=20)})
    )
    run = await the_run(rig)
    with pytest.raises(Refused) as refused:
        await rig.operations.approve(run.id, "alice", run.plan_hash)
    assert refused.value.code == "expired"
    await rig.run(60)
    assert (await the_run(rig)).state is RunState.EXPIRED
    assert writes(rig) == []
    await rig.close()


async def test_a_rule_that_is_set_to_auto_takes_no_question_away(tmp_path: Path) -> None:
    """Both whom it was put to have to agree; until then nothing is done, and with both it is."""
    terms = Approval(by=("alice", "carol"), approvals=2)
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=terms))
    await rig.run(30)
    run = await the_run(rig)
    rig.policy = policy(mode=Mode.AUTO)
    await rig.run(120)
    await rig.operations.approve(run.id, "alice", run.plan_hash)
    with pytest.raises(Refused):
        await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(60)
    assert writes(rig) == []
    assert (await the_run(rig)).state is RunState.WAITING
    await rig.operations.approve(run.id, "carol", run.plan_hash)
    await rig.run(60)
    assert len(writes(rig)) == 1
    await rig.close()


async def test_what_the_rule_lets_orders_do_is_nothing_to_the_plan_of_an_alert(tmp_path: Path) -> None:
    rig = await _asked(tmp_path)
    run = await the_run(rig)
    rig.policy = _with(order_params={"scale_to": 7})
    await rig.run(120)
    assert [(one.id, one.state) for one in await all_runs(rig)] == [(run.id, RunState.WAITING)]
    await rig.operations.approve(run.id, "alice", run.plan_hash)
    await rig.run(60)
    assert len(writes(rig)) == 1
    await rig.close()


def _auto(found: Policy) -> Policy:
    """The same rules, set to act by themselves and asking nobody."""
    free = {"mode": Mode.AUTO, "approval": Approval()}
    return found.model_copy(update={"rules": tuple(rule.model_copy(update=free) for rule in found.rules)})


async def test_a_rule_that_is_set_to_auto_with_other_numbers_puts_its_plan_to_the_same_people(
    tmp_path: Path,
) -> None:
    rig = await _asked(tmp_path)
    first = await the_run(rig)
    rig.policy = _auto(_other_numbers())
    await rig.run(300)
    assert writes(rig) == []
    anew = (await all_runs(rig))[-1]
    assert (anew.id != first.id, anew.state) == (True, RunState.WAITING)
    with pytest.raises(Refused):
        await rig.operations.approve(anew.id, "kim", anew.plan_hash)
    await rig.operations.approve(anew.id, "alice", anew.plan_hash)
    await rig.run(60)
    assert len(writes(rig)) == 1
    await rig.close()
