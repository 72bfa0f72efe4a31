"""An approval says yes to what was so when the question was put: who came since is told in another one (promises 5 and 10)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import pytest

from app.domain.decision import Code, Decision, GateResult, Mode, Verdict
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.flow.people import approval_request
from app.policy.model import Approval, OwnedMode, Ownership
from app.sim.faults import Request
from app.store.runs import Run
from tests.orders import LANGGRAPH, Order
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_run, writes
from tests.scenario.test_waiting_plans import ordered

WHERE = (Kind.DEPLOYMENT, "rag7", "langgraph")


def _tracked(rig: Rig) -> None:
    path = "/metadata/annotations/argocd.argoproj.io~1tracking-id"
    mark = {"op": "add", "path": path, "value": "shop:apps/Deployment:rag7/langgraph"}
    rig.cluster.edit(*WHERE, [mark], manager="argocd-controller")


def _by_flux(rig: Rig) -> None:
    path = "/metadata/labels/kustomize.toolkit.fluxcd.io~1name"
    rig.cluster.edit(*WHERE, [{"op": "add", "path": path, "value": "shop"}], manager="kustomize-controller")


def _scaled(rig: Rig) -> None:
    rig.cluster.edit(
        *WHERE, [{"op": "replace", "path": "/spec/replicas", "value": 5}], manager="kubectl-scale"
    )


async def _waits(rig: Rig, run_id: str) -> bool:
    newest = (await all_runs(rig))[-1]
    return newest.id == run_id and newest.state is RunState.WAITING


async def _approve(rig: Rig) -> None:
    run = (await all_runs(rig))[-1]
    await rig.operations.approve(run.id, "kim", run.plan_hash)


@pytest.mark.parametrize("later", [5, 40, 300])
@pytest.mark.parametrize(
    ("came", "named"), [(_tracked, "Argo CD"), (_by_flux, "Flux"), (_scaled, "kubectl-scale")]
)
async def test_promise_10_who_came_while_the_question_stood_is_asked_about_before_a_write(
    tmp_path: Path, came: Callable[[Rig], None], named: str, later: float
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(30)
    first = await the_run(rig)
    assert first.state is RunState.WAITING
    came(rig)
    await rig.run(later)
    if await _waits(rig, first.id):
        await _approve(rig)
    await rig.run(120)
    assert writes(rig) == []
    runs = await all_runs(rig)
    assert (runs[0].state, runs[-1].state) in [
        (RunState.ABANDONED, RunState.WAITING),
        (RunState.WAITING, RunState.WAITING),
    ], [(r.state, r.result) for r in runs]
    told = rig.notebook.text + str(rig.notebook.parents)
    assert named in told
    await _approve(rig)
    await rig.run(30)
    assert len(writes(rig)) == 1, "who approves knows of it now"
    await rig.close()


async def test_an_approval_of_what_is_as_it_was_needs_no_second_word(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(30)
    await _approve(rig)
    await rig.run(30)
    assert len(writes(rig)) == 1
    await rig.close()


async def _ordered(rig: Rig) -> str:
    """A question about a hotfix of three pods, that an order put."""
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    return waiting.id


@pytest.mark.parametrize(
    ("when", "owned"),
    [
        ("before it is decided", False),
        ("before it is decided", True),
        ("while it is checked", False),
        ("while it is asked about", True),
    ],
)
@pytest.mark.parametrize("mode", [Mode.APPROVE, Mode.AUTO])
async def test_promise_10_an_approvers_own_order_is_no_word_for_what_others_changed_after_it(
    tmp_path: Path, when: str, mode: Mode, *, owned: bool
) -> None:
    """One question, which tells of their change and stands until somebody answers it."""
    rig = await born(tmp_path, rules=policy(mode=mode, approval=Approval()))
    if owned:
        _tracked(rig)
    await rig.run(20, alerts=False)
    await rig.store.ingest(Order(LANGGRAPH, {"image": ":v1.4.3"}).delivery("hotfix", rig.clock))

    def once(request: Request, moment: Literal["before", "after"]) -> None:
        if request.dry_run and moment == "before" and not changed:
            changed.append(request.verb)
            rig.cluster.scale(*WHERE, 5, manager="kubectl")

    changed: list[str] = []
    match when:
        case "before it is decided":
            rig.cluster.scale(*WHERE, 5, manager="kubectl")
        case "while it is checked":
            rig.cluster.on_request(once)
        case _:
            await rig.run(20, alerts=False)
            rig.cluster.scale(*WHERE, 5, manager="kubectl")
    await rig.run(600, alerts=False)
    last = (await all_runs(rig))[-1]
    assert (writes(rig), last.state) == ([], RunState.WAITING), (rig.notebook.text[-2000:], last.result)
    assert len(await all_runs(rig)) <= 2, "the question before it was about another size"
    assert "kubectl changed replicas" in rig.notebook.text
    await _approve(rig)
    await rig.run(60, alerts=False)
    assert len(writes(rig)) == 1
    await rig.close()


@pytest.mark.parametrize("later", [3, 40])
async def test_promise_10_an_order_is_not_carried_out_on_more_pods_than_people_were_asked_about(
    tmp_path: Path, later: float
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=Approval(order_counts=False)))
    run_id = await _ordered(rig)
    rig.cluster.scale(*WHERE, 30, manager="kubectl")
    await rig.run(later, alerts=False)
    run = next(r for r in await all_runs(rig) if r.id == run_id)
    if run.state is RunState.WAITING:
        await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    run = next(r for r in await all_runs(rig) if r.id == run_id)
    assert (run.state, "kubectl changed replicas from 3 to 30" in run.result) == (RunState.ABANDONED, True)
    await rig.close()


async def test_promise_10_a_question_that_names_one_hand_is_not_blind_to_the_next(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(30)
    rig.cluster.scale(*WHERE, 4, manager="kubectl")
    await rig.run(150)
    asked = (await all_runs(rig))[-1]
    assert (asked.state, len(await all_runs(rig))) == (RunState.WAITING, 2)
    rig.cluster.scale(*WHERE, 30, manager="terraform")
    await rig.run(3)
    await _approve(rig)
    await rig.run(60)
    assert writes(rig) == []
    await rig.close()


async def test_promise_10_what_a_stricter_policy_asks_was_not_asked(tmp_path: Path) -> None:
    """Whoever owns the target is told before a yes counts, also where the rule allowed it when the question was put."""
    lax = policy(mode=Mode.APPROVE, ownership=Ownership(gitops=OwnedMode.ALLOW))
    rig = await born(tmp_path, rules=lax)
    _tracked(rig)
    await rig.run(30)
    assert (await the_run(rig)).state is RunState.WAITING
    rig.policy = policy(mode=Mode.APPROVE, ownership=Ownership(gitops=OwnedMode.ASK))
    await rig.run(3)
    await _approve(rig)
    await rig.run(60)
    assert writes(rig) == []
    assert "Argo CD" in (await all_runs(rig))[0].result
    await rig.close()


def test_numbers_and_notes_of_an_owner_are_no_news() -> None:
    """A VPA's recommendation moves every minute: a yes that ends with each of them is never one."""

    def asked(value: str) -> Decision:
        gate = GateResult("ownership", Verdict.ASK, Code.OWNED, value, "", "")
        return cast("Decision", SimpleNamespace(gates=(gate,)))

    def run(value: str) -> Run:
        return cast("Run", SimpleNamespace(settings=approval_request.asked_by(asked(value))))

    first = "VerticalPodAutoscaler e sets memory (recommends e 1000 MiB)"
    assert approval_request.came_since(run(first), asked(first.replace("1000", "1014"))) == ""
    other = f"{first}; Argo CD owns the fields"
    assert approval_request.came_since(run(first), asked(other)) == f"ownership: {other}"
