"""What is asked about a later step, or by an order, counts for what was so when it was asked: it is asked anew, and nobody is called for it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.flow.deciding import settle
from app.policy.model import Approval, Otherwise
from app.sim.faults import Fault, FaultKind, Request, Verb
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_run, trail, writes
from tests.scenario.test_their_change_gets_its_time import second_question
from tests.scenario.test_waiting_plans import ordered

BOTH = (Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE)


async def _yes(rig: Rig, *people: str) -> None:
    for who in people:
        run = (await all_runs(rig))[-1]
        with suppress(Refused):
            await rig.operations.approve(run.id, who, run.plan_hash)


@pytest.mark.parametrize("answered", ["no", "after", "before", "while it is written"])
async def test_promise_10_a_second_question_is_asked_anew_when_more_people_have_to_agree(
    tmp_path: Path, answered: str
) -> None:
    rig = await second_question(tmp_path)
    first = await the_run(rig)
    before = len(writes(rig))
    stricter = policy(mode=Mode.APPROVE, otherwise=BOTH, approval=Approval(approvals=2))

    def at(request: Request, when: Literal["before", "after"]) -> None:
        if request.verb == "patch" and request.dry_run and when == "after":
            rig.policy = stricter

    match answered:
        case "before":
            await _yes(rig, "kim")
            rig.policy = stricter
        case "while it is written":
            rig.cluster.on_request(at)
            await _yes(rig, "kim")
        case _:
            rig.policy = stricter
            await _yes(rig, *(["kim"] if answered == "after" else []))
    await rig.run(120)
    run = await the_run(rig)
    assert (run.state, run.step_index > first.step_index, run.step.name) == (
        RunState.WAITING,
        True,
        first.step.name,
    ), run.result
    assert "who may approve has changed" in rig.notebook.text
    assert (await trail(rig, EventKind.ESCALATED), len(writes(rig))) == ([], before)
    await _yes(rig, "kim")
    await rig.run(60)
    assert len(writes(rig)) == before, "one is not enough by now"
    await _yes(rig, "ana")
    await rig.run(60)
    assert len(writes(rig)) == before + 1
    await rig.close()


@pytest.mark.parametrize("gone", ["observes", "no rule"])
async def test_a_second_question_ends_where_the_rule_lets_nothing_more_be_done(
    tmp_path: Path, gone: str
) -> None:
    rig = await second_question(tmp_path)
    found = policy(mode=Mode.OBSERVE if gone == "observes" else Mode.APPROVE, otherwise=BOTH)
    rig.policy = found if gone == "observes" else found.model_copy(update={"rules": ()})
    await rig.run(200)
    assert (await the_run(rig)).state is not RunState.WAITING
    await rig.close()


@pytest.mark.parametrize("later", [3, 90])
async def test_promise_10_an_order_is_not_carried_out_over_a_change_that_came_after_it(
    tmp_path: Path, later: float
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=Approval(order_counts=False)))
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    value = [{"name": "A", "value": "1"}]
    path = "/spec/template/spec/containers/0/env"
    where = (Kind.DEPLOYMENT, "rag7", "langgraph")
    rig.cluster.edit(*where, [{"op": "add", "path": path, "value": value}], manager="kubectl-set")
    await rig.run(later, alerts=False)
    run = next(r for r in await all_runs(rig) if r.id == waiting.id)
    if run.state is RunState.WAITING:
        await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    assert "kubectl-set changed template" in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize("kind", [FaultKind.THROTTLED, FaultKind.LOST_BEFORE])
@pytest.mark.parametrize("verb", ["create", "can_i"])
async def test_promise_4_a_question_to_the_cluster_without_an_answer_is_put_again_before_a_person_is_asked(
    tmp_path: Path, kind: FaultKind, verb: Verb
) -> None:
    rig = await born(tmp_path, "high-latency")
    rig.cluster.faults.add(Fault(kind, verb=verb, times=1))
    await rig.run(90)
    assert writes(rig), rig.notebook.text
    assert (await the_run(rig)).mode is Mode.AUTO
    await rig.close()


@pytest.mark.parametrize("verb", ["create", "can_i"])
async def test_promise_4_it_is_put_again_for_an_incident_that_waited_long_too(
    tmp_path: Path, verb: Verb
) -> None:
    rig = await born(tmp_path, "high-latency")
    await rig.operations.pause("all", "hands off", "kim", None)
    await rig.run(300)
    await rig.operations.resume("all", "kim")
    rig.cluster.faults.add(Fault(FaultKind.LOST_BEFORE, verb=verb, times=1))
    await rig.run(90)
    assert writes(rig), rig.notebook.text[-3000:]
    assert (await the_run(rig)).mode is Mode.AUTO
    await rig.close()


@pytest.mark.parametrize("field", ["progressDeadlineSeconds", "revisionHistoryLimit"])
async def test_an_annotation_by_a_tool_that_owns_a_field_withdraws_no_question_again_and_again(
    tmp_path: Path, field: str
) -> None:
    """The time of its entry is that of the annotation as well: nobody can tell that it changed the field."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    where = (Kind.DEPLOYMENT, "rag7", "langgraph")
    rig.cluster.edit(*where, [{"op": "add", "path": f"/spec/{field}", "value": 400}], manager="toolx")
    await rig.run(60)
    for number in range(6):
        note = {"op": "add", "path": "/metadata/annotations/note", "value": str(number)}
        rig.cluster.edit(*where, [note], manager="toolx")
        await rig.run(60)
    every = await all_runs(rig)
    assert len(every) == 1, [(run.state, run.result) for run in every]
    await _yes(rig, "kim")
    await rig.run(60)
    assert len(writes(rig)) == 1
    await rig.close()


@pytest.mark.parametrize("mode", [Mode.APPROVE, Mode.AUTO])
@pytest.mark.parametrize("stricter", [Approval(approvals=2), Approval(by=("ann",))])
async def test_promise_10_what_a_gate_asks_in_any_mode_it_asks_the_people_of_the_rule_in_force(
    tmp_path: Path, stricter: Approval, mode: Mode
) -> None:
    """Also where the same edit sets the rule to auto: the doubt stays, and with it the question, which is put anew once."""
    rig = await born(tmp_path, rules=policy(mode=mode))
    where = (Kind.DEPLOYMENT, "rag7", "langgraph")
    rig.cluster.scale(*where, 4, manager="kubectl")
    await rig.run(200)
    run, before = (await all_runs(rig))[-1], len(await all_runs(rig))
    assert (run.state, "hands/changed_since" in str(run.settings["asked"])) == (RunState.WAITING, True)
    rig.policy = policy(mode=Mode.AUTO, approval=stricter)
    await _yes(rig, "kim")
    await rig.run(240)
    assert writes(rig) == []
    waiting = await all_runs(rig)
    assert ([r.state for r in waiting].count(RunState.WAITING), len(waiting)) == (1, before + 1), "once"
    await _yes(rig, "kim")
    await rig.run(30)
    assert writes(rig) == [], "one is not enough, or not the one"
    await _yes(rig, "ann")
    await rig.run(60)
    assert len(writes(rig)) == 1
    await rig.close()


async def test_an_order_waits_for_a_controller_that_has_not_seen_the_newest_change_yet(
    tmp_path: Path,
) -> None:
    """Whose it is, an autoscaler's perhaps, is told in a moment."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    before = rig.cluster.get
    late = rig.clock.now() + timedelta(seconds=20)

    async def behind(kind: Kind, namespace: str, name: str) -> Obj:
        found: Obj = await before(kind, namespace, name)
        if kind is Kind.DEPLOYMENT and rig.clock.now() < late:
            meta = {**found["metadata"], "generation": 9}
            return {**found, "metadata": meta, "status": {**found["status"], "observedGeneration": 8}}
        return found

    rig.cluster.get = behind  # type: ignore[method-assign]
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    assert waiting.state is RunState.WAITING
    await rig.close()


async def _rescaled(rig: Rig, sizes: range) -> None:
    """Somebody scales the target while its question stands, again and again: each question is about so many pods."""
    for size in sizes:
        rig.cluster.scale(Kind.DEPLOYMENT, "rag7", "langgraph", size, manager="kubectl")
        await rig.run(130)


async def test_a_question_that_is_withdrawn_without_a_write_is_no_run_of_its_incident(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=Approval(expires=timedelta(hours=1))))
    await rig.run(30)
    await _rescaled(rig, range(4, 4 + settle.MAX_RUNS))
    every = await all_runs(rig)
    assert [run.state for run in every] == [RunState.ABANDONED] * settle.MAX_RUNS + [RunState.WAITING]
    assert await trail(rig, EventKind.ESCALATED) == []
    await _yes(rig, "kim")
    await rig.run(30)
    assert len(writes(rig)) == 1
    await rig.close()


async def test_a_person_is_called_once_where_one_question_after_another_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "MAX_WITHDRAWN", 2)
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=Approval(expires=timedelta(hours=1))))
    await rig.run(30)
    await _rescaled(rig, range(4, 7))
    assert [run.state for run in await all_runs(rig)] == [RunState.ABANDONED] * 2
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "2 questions about it were put and withdrawn before anybody answered" in called.data["reason"]
    await rig.close()


async def test_a_question_says_what_came_over_it_and_that_it_is_over(tmp_path: Path) -> None:
    """Under a pause nothing is done, whatever the answer: whoever reads the question sees that, and who set it."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(30)
    told = "an answer, under which nothing is done as long as this lasts: "
    assert told not in "".join(rig.notebook.parents.values())
    await rig.operations.pause("all", "cluster upgrade", "kim", None)
    await rig.run(90)
    (parent,) = rig.notebook.parents.values()
    assert f"Waits: {told}all is paused by kim: cluster upgrade" in parent, parent
    await rig.operations.resume("all", "kim")
    await rig.run(90)
    (parent,) = rig.notebook.parents.values()
    assert (told not in parent, (await the_run(rig)).state) == (True, RunState.WAITING)
    await rig.close()
