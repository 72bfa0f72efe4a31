"""A plan that waits for an answer has written nothing: it keeps no alert from being handled, and is checked again before it acts.

Promise 5 for plans that wait side by side with other runs on their target.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.cluster import OPT
from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.quantities import parse_limits
from app.domain.target import Kind
from app.domain.units import utc
from app.flow.people.approve import Said, answer
from app.flow.people.approvers import Approver
from app.policy.model import Approval, Budget, Per, Rule
from app.sim.faults import Fault, FaultKind
from app.store import facts, incidents, runs
from app.store.runs import Run
from tests.orders import LANGGRAPH, Order
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, trail, writes
from tests.scenario.test_being_deleted import delete_slowly

API = (Kind.DEPLOYMENT, "rag7", "langgraph")


async def ordered(rig: Rig, name: str, key: str, **params: JsonValue) -> Run:
    """Order it; the run once it waits or has ended. No alert is delivered meanwhile."""
    await rig.store.ingest(Order(LANGGRAPH, params).delivery(name, rig.clock, key=key))
    for _ in range(30):
        await rig.step(1.0, alerts=False)
        newest = (await rig.store.read(lambda conn: runs.page(conn, None, 1)))[:1]
        if newest and newest[0].remediation == name and newest[0].state is RunState.WAITING:
            return newest[0]
    raise AssertionError(rig.notebook.text[-2000:])


async def state_of(rig: Rig, run_id: str) -> RunState:
    return (await rig.store.read(lambda conn: runs.get(conn, run_id))).state


def image(rig: Rig) -> str:
    manifest: Any = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    return str(manifest["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


async def test_promise_5_a_waiting_plan_holds_up_no_alert_and_goes_stale_with_the_reason(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    await rig.run(600)
    states = {i.alertname: i.state for i in await rig.store.read(lambda conn: incidents.page(conn, None, 9))}
    assert states["HighErrorRate"] is IncidentState.FIXED, rig.notebook.text[-3000:]
    assert (image(rig), len(writes(rig))) == ("v1.4.2", 1)
    assert f"waiting for an answer, with nothing written: {waiting.id}" in rig.notebook.text
    stale = await rig.store.read(lambda conn: runs.get(conn, waiting.id))
    assert (stale.state, len(writes(rig))) == (RunState.ABANDONED, 1)
    assert stale.result.startswith("another run of this service changed it while the question stood: ")
    assert "v1.4.2" in stale.result, stale.result
    with pytest.raises(Refused):
        await rig.operations.approve(waiting.id, "kim", waiting.plan_hash)
    await rig.run(120)
    (again,) = [r for r in await all_runs(rig) if r.state is RunState.WAITING]
    assert again.incident_id == waiting.incident_id, "it is asked anew, about what there is now"
    await rig.close()


@pytest.mark.parametrize("what", ["the image", "a label"])
async def test_a_question_is_withdrawn_when_somebody_else_has_changed_what_it_is_about(
    tmp_path: Path, what: str
) -> None:
    """A yes would be refused: who reads the question is told so before they give one. What the plan does not touch leaves it standing."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    changed: list[dict[str, Any]] = [{"op": "add", "path": "/metadata/labels/team", "value": "b"}]
    if what == "the image":
        path = "/spec/template/spec/containers/0/image"
        changed = [{"op": "replace", "path": path, "value": "registry.test/langgraph:v1.4.9"}]
    rig.cluster.edit(*API, changed, manager="kubectl-rollout")
    for _ in range(75):
        await rig.step(1.0, alerts=False)
    found = await rig.store.read(lambda conn: runs.get(conn, waiting.id))
    assert writes(rig) == []
    if what == "a label":
        assert found.state is RunState.WAITING
    else:
        assert found.state is RunState.ABANDONED
        assert "kubectl-rollout changed" in found.result
        assert "while the question stood" in found.result
    await rig.close()


@pytest.mark.parametrize(("name", "params"), [("scale", {"replicas": 8}), ("hotfix", {"image": ":v1.4.3"})])
@pytest.mark.parametrize("by", ["kubectl", "kube-controller-manager"])
async def test_a_question_is_withdrawn_when_somebody_else_has_scaled_what_it_is_about(
    tmp_path: Path, name: str, params: dict[str, JsonValue], by: str
) -> None:
    """`kubectl scale` writes a subresource, without a time. People were asked about so many pods; an autoscaler is no hand."""
    rules = policy(mode=Mode.APPROVE, approval=Approval(order_counts=False))
    rig = await born(tmp_path, rules=rules)
    waiting = await ordered(rig, name, "1", **params)
    await rig.run(90, alerts=False)
    assert await state_of(rig, waiting.id) is RunState.WAITING
    rig.cluster.scale(*API, 6, manager=by)
    for _ in range(75):
        await rig.step(1.0, alerts=False)
    found = await rig.store.read(lambda conn: runs.get(conn, waiting.id))
    assert writes(rig) == []
    if by == "kubectl":
        assert found.state is RunState.ABANDONED
        assert "kubectl changed replicas from 3 to 6 while the question stood" in found.result
    else:
        assert found.state is RunState.WAITING
    await rig.close()


async def test_a_question_about_all_pods_is_asked_anew_with_the_pods_that_there_are_after_a_scale(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.until(lambda: "remediator approve" in "".join(rig.notebook.parents.values()), 600)
    (asked,) = await all_runs(rig)
    pods = asked.step.pods_affected
    rig.cluster.scale(*API, pods + 4)
    await rig.run(180)
    first, *others = await all_runs(rig)
    assert first.state is RunState.ABANDONED, first.result
    assert f"kubectl changed replicas from {pods} to {pods + 4}" in first.result
    assert [(run.state, run.step.pods_affected) for run in others] == [(RunState.WAITING, pods + 4)]
    await rig.close()


@pytest.mark.parametrize("what", ["is gone", "is being deleted", "its namespace is"])
async def test_a_question_is_withdrawn_when_what_it_is_about_is_deleted(tmp_path: Path, what: str) -> None:
    """Nobody is asked for a yes that can change nothing any more."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    if what == "is gone":
        rig.cluster.delete(*API)
    else:
        delete_slowly(rig, API if what == "is being deleted" else (Kind.NAMESPACE, "", API[1]))
    for _ in range(75):
        await rig.step(1.0, alerts=False)
    found = await rig.store.read(lambda conn: runs.get(conn, waiting.id))
    assert (found.state, writes(rig)) == (RunState.ABANDONED, [])
    assert "while the question stood" in found.result
    assert ("is gone" if what == "is gone" else "being deleted") in found.result
    await rig.close()


async def test_promise_5_of_two_waiting_plans_the_second_waits_for_the_first_and_is_checked_again(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    second = await ordered(rig, "hotfix", "2", image=":v1.4.3")
    assert first.plan_hash != second.plan_hash
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.step(1.0, alerts=False)
    assert await state_of(rig, first.id) is RunState.VERIFYING
    told = await rig.operations.approve(second.id, "kim", second.plan_hash)
    assert (
        told["text"] == f"it waits for {first.id}, which is at work on the target, and is then checked again"
    )
    await rig.step(1.0, alerts=False)
    held = await rig.store.read(lambda conn: runs.get(conn, second.id))
    assert (held.state, held.waits_for) == (RunState.WAITING, f"{first.id}, which is at work on the target")
    await rig.run(200, alerts=False)
    assert (await state_of(rig, first.id), await state_of(rig, second.id)) == (
        RunState.FIXED,
        RunState.ABANDONED,
    )
    assert (image(rig), len(writes(rig))) == ("v1.4.2", 1)
    await rig.close()


async def test_promise_3_waiting_plans_take_no_place_in_a_budget_and_what_is_approved_does(
    tmp_path: Path,
) -> None:
    """Whoever may only order could otherwise use up what the alerts' remediations need."""
    one = (Budget(per=Per.TARGET, limit=parse_limits("1 per 1h")),)
    rig = await born(
        tmp_path, rules=policy({"budgets": one}, mode=Mode.APPROVE, approval=Approval(order_counts=False))
    )
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    second = await ordered(rig, "scale", "2", replicas=5)
    third = await ordered(rig, "scale", "3", replicas=6)
    for plan in (first, second):
        await rig.operations.approve(plan.id, "kim", plan.plan_hash)
    await rig.run(200, alerts=False)
    states = [await state_of(rig, plan.id) for plan in (first, second, third)]
    assert states == [RunState.FIXED, RunState.ABANDONED, RunState.WAITING]
    refused = await rig.store.read(lambda conn: runs.get(conn, second.id))
    assert "1 of 1 per 1h" in refused.result, refused.result
    assert (image(rig), len(writes(rig))) == ("v1.4.2", 1)
    await rig.close()


async def test_promise_3_what_is_approved_counts_under_the_rule_in_force_too(tmp_path: Path) -> None:
    """The rule may have another name by then: its budget is not a new one for that."""
    asks: dict[str, Any] = {"mode": Mode.APPROVE, "approval": Approval(order_counts=False)}
    shipped = policy({"budgets": (Budget(per=Per.RULE, limit=parse_limits("1 per 1h")),)}, **asks)
    rig = await born(tmp_path, rules=shipped)
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    renamed = tuple(rule.model_copy(update={"name": f"{rule.name} anew"}) for rule in shipped.rules)
    rig.policy = shipped.model_copy(update={"rules": renamed})
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.run(200, alerts=False)
    spent = await rig.store.read(
        lambda conn: conn.exec_driver_sql("SELECT scope FROM ledger").scalars().all()
    )
    assert {scope for scope in spent if scope.startswith("rule:")} >= {
        f"rule:{name}" for name in {first.rule, f"{first.rule} anew"}
    }
    await rig.close()


async def test_an_approved_plan_whose_target_stays_busy_expires_and_says_so(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    second = await ordered(rig, "hotfix", "2", image=":v1.4.3")
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.step(1.0, alerts=False)
    await rig.operations.approve(second.id, "kim", second.plan_hash)

    await rig.store.write(lambda tx: facts.renew(tx, second.id, tx.now))
    await rig.run(10, alerts=False)
    ended = await rig.store.read(lambda conn: runs.get(conn, second.id))
    assert ended.state is RunState.EXPIRED
    assert (
        ended.result
        == f"approved by kim, but it waited for {first.id}, which is at work on the target, until that expired; it has to be asked anew"
    )
    await rig.close()


async def _one_at_work_and_one_approved(path: Path) -> tuple[Rig, Run]:
    """The second plan is approved while the first is at work on its target."""
    rig = await born(path, rules=policy(mode=Mode.APPROVE, approval=Approval(order_counts=False)))
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    second = await ordered(rig, "scale", "2", replicas=5)
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.step(1.0, alerts=False)
    await rig.operations.approve(second.id, "ann", second.plan_hash)
    await rig.step(1.0, alerts=False)
    assert await state_of(rig, second.id) is RunState.WAITING
    return rig, second


@pytest.mark.parametrize("by", ["ann", "ben"])
async def test_promise_5_a_yes_is_taken_back_by_a_no_as_long_as_nothing_is_begun(
    tmp_path: Path, by: str
) -> None:
    rig, second = await _one_at_work_and_one_approved(tmp_path)
    assert f"can be taken back: remediator reject {second.id}" in "".join(rig.notebook.parents.values())
    told = await rig.operations.reject(second.id, by, second.plan_hash)
    assert told["text"] == "takes back the approval by ann; nothing was begun"
    with pytest.raises(Refused, match=f"already rejected by {by}"):
        await rig.operations.approve(second.id, "ann", second.plan_hash)
    await rig.run(200, alerts=False)
    run = await rig.store.read(lambda conn: runs.get(conn, second.id))
    assert (run.state, run.result, len(writes(rig))) == (RunState.REJECTED, f"rejected by {by}", 1)
    assert f"Rejected by {by}" in rig.notebook.text
    assert "takes back the approval by ann" in rig.notebook.text
    await rig.close()


async def test_a_yes_is_taken_back_only_by_who_may_answer_and_not_once_it_is_begun(tmp_path: Path) -> None:
    rig, second = await _one_at_work_and_one_approved(tmp_path)
    with pytest.raises(Refused) as other:
        await rig.operations.reject(second.id, "ann", "0" * 64)
    assert other.value.code == "plan_changed"
    ben = Approver("slack:U0BEN", frozenset({"slack:U0BEN"}), operator=False)
    with pytest.raises(Refused) as foreign:
        await answer(rig.services, second.id, Said("rejected", ben, second.plan_hash))
    assert foreign.value.code == "already_answered"
    for _ in range(200):
        await rig.step(1.0, alerts=False)
        if await state_of(rig, second.id) is not RunState.WAITING:
            break
    with pytest.raises(Refused) as late:
        await rig.operations.reject(second.id, "ann", second.plan_hash)
    assert late.value.code == "not_waiting"
    await rig.close()


async def test_less_time_to_answer_is_told_where_people_read_until_when(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(60)
    asked = (await all_runs(rig))[0]
    shorter = policy(mode=Mode.APPROVE, approval=Approval(expires=timedelta(minutes=12)))
    assert asked.expires_at == asked.requested_at + timedelta(minutes=30)
    rig.policy = shorter
    await rig.run(90)
    held = (await all_runs(rig))[0]
    assert held.expires_at == asked.requested_at + timedelta(minutes=12)
    assert f"Good until {utc(held.expires_at)}" in next(iter(rig.notebook.parents.values()))
    assert Rule.from_json(held.settings["rule"]).approval.expires == timedelta(minutes=12)
    await rig.run(600)
    assert (await all_runs(rig))[0].state is RunState.EXPIRED
    assert "Expired by service: nobody answered" in rig.notebook.text
    assert "Refused by service" not in rig.notebook.text
    assert len(await trail(rig, EventKind.APPROVAL_SHORTENED)) == 1
    await rig.close()


async def test_a_question_that_ends_at_once_because_the_rule_gives_less_time_has_expired(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(600)
    rig.policy = policy(mode=Mode.APPROVE, approval=Approval(expires=timedelta(minutes=5)))
    await rig.run(90)
    assert (await all_runs(rig))[0].state is RunState.EXPIRED
    assert "Expired by service: nobody answered" in rig.notebook.text
    await rig.close()


async def test_another_default_target_of_the_rule_is_nothing_to_an_order(tmp_path: Path) -> None:
    """An order names its target itself."""
    rules = policy(mode=Mode.APPROVE, approval=Approval(order_counts=False))
    rig = await born(tmp_path, rules=rules)
    plan = await ordered(rig, "scale", "1", replicas=5)
    other = tuple(
        r.model_copy(
            update={
                "target": r.target.model_copy(
                    update={"name": r.target.name.model_copy(update={"default": "other"})}
                )
            }
        )
        for r in rules.rules
    )
    rig.policy = rules.model_copy(update={"rules": other})
    await rig.run(90, alerts=False)
    await rig.operations.approve(plan.id, "kim", plan.plan_hash)
    await rig.run(200, alerts=False)
    run = await rig.store.read(lambda conn: runs.get(conn, plan.id))
    assert (run.state, len(writes(rig))) == (RunState.FIXED, 1), run.result
    await rig.close()


@pytest.mark.parametrize("read", [True, False], ids=["read", "the API server is away"])
async def test_who_approves_what_its_owners_keep_away_is_told_so(tmp_path: Path, read: bool) -> None:
    """What cannot be read while somebody waits for an answer says nothing: it is read again before anything is written."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    mark: dict[str, Any] = {"op": "add", "path": "/metadata/annotations", "value": {OPT: "false"}}
    rig.cluster.edit(*API, [mark], manager="kubectl-annotate")
    if not read:
        rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, times=100))
    told = await rig.operations.approve(waiting.id, "kim", waiting.plan_hash)
    assert told["answer"] == "approved"
    assert (f"its owners keep it away ({OPT}=false on the object)" in told["text"]) is read
    rig.cluster.faults.clear()
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    await rig.close()


async def test_who_approves_a_plan_whose_alert_is_silenced_is_told_so(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.until(lambda: "remediator approve" in "".join(rig.notebook.parents.values()), 60)
    (waiting,) = await all_runs(rig)
    rig.cluster.alertmanager.silence({"namespace": "rag7"})
    told = await rig.operations.approve(waiting.id, "kim", waiting.plan_hash)
    assert "people are asked anew after it: the alert is silenced by a person" in told["text"]
    await rig.run(60)
    assert writes(rig) == []
    await rig.close()


async def test_a_question_is_withdrawn_once_the_owners_keep_the_service_away(tmp_path: Path) -> None:
    """No yes can do anything any more, and nobody is called for an answer that did not come."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(40)
    (asked,) = await all_runs(rig)
    assert asked.state is RunState.WAITING
    path = "/metadata/labels/" + OPT.replace("/", "~1")
    rig.cluster.edit(*API, [{"op": "add", "path": path, "value": "false"}])
    await rig.run(75)
    found = (await all_runs(rig))[0]
    assert found.state is RunState.ABANDONED
    assert found.result.startswith("its owners keep it away (alert-remediator.io/enabled=false on the ")
    await rig.run(4000)
    assert (writes(rig), await trail(rig, EventKind.ESCALATED)) == ([], [])
    await rig.close()
