"""Promise 5: kill switch, alert, object and budget are looked at again after every wait and right before a write; an
approval is for one plan, once, before it expires."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode, Verdict
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Approval
from app.store import work
from tests.scenario.rig import Rig
from tests.scenario.scenes import body, born, decision, policy, the_incident, the_run, trail, writes

WHERE = (Kind.DEPLOYMENT, "rag7", "langgraph")
_IMAGE = {
    "op": "replace",
    "path": "/spec/template/spec/containers/0/image",
    "value": "ghcr.io/stacey77/rag7:v1.6.0",
}
_PAUSE = {"op": "add", "path": "/spec/paused", "value": True}


async def _asked(path: Path, **of_rules: Any) -> Rig:
    """A service whose run waits for an answer."""
    rig = await born(path, rules=policy(mode=Mode.APPROVE, **of_rules))
    await rig.run(30)
    assert (await the_run(rig)).state is RunState.WAITING
    return rig


async def _approve(rig: Rig) -> None:
    run = await the_run(rig)
    await rig.operations.approve(run.id, "kim", run.plan_hash)


async def _owned(rig: Rig) -> Verdict:
    """What ownership says of the newest decision."""
    (gate,) = [g for g in (await decision(rig)).gates if g.gate == "ownership"]
    return gate.verdict


def _edited(rig: Rig) -> None:
    rig.cluster.edit(*WHERE, [_IMAGE])


def _rollout_paused(rig: Rig) -> None:
    rig.cluster.edit(*WHERE, [_PAUSE])


def _recreated(rig: Rig) -> None:
    rig.cluster.recreate(*WHERE)


def _deleted(rig: Rig) -> None:
    rig.cluster.delete(*WHERE)


def _opted_out(rig: Rig) -> None:
    path = "/metadata/labels/alert-remediator.io~1enabled"
    rig.cluster.edit(*WHERE, [{"op": "add", "path": path, "value": "false"}])


def _taken_by_argo_cd(rig: Rig) -> None:
    path = "/metadata/labels/argocd.argoproj.io~1instance"
    rig.cluster.edit(*WHERE, [{"op": "add", "path": path, "value": "shop"}])


def _tracked_by_argo_cd(rig: Rig) -> None:
    """An annotation, which counts as a generation of a Deployment although nothing of its spec changed."""
    path = "/metadata/annotations/argocd.argoproj.io~1tracking-id"
    rig.cluster.edit(*WHERE, [{"op": "add", "path": path, "value": "shop:apps/Deployment:rag7/langgraph"}])


def _noted(rig: Rig) -> None:
    path = "/metadata/annotations/alert-remediator.io~1enabled"
    rig.cluster.edit(*WHERE, [{"op": "add", "path": path, "value": "false"}])


def _taken_by_flux(rig: Rig) -> None:
    path = "/metadata/labels/kustomize.toolkit.fluxcd.io~1name"
    rig.cluster.edit(*WHERE, [{"op": "add", "path": path, "value": "shop"}])


def _taken_by_an_operator(rig: Rig) -> None:
    owner = {"apiVersion": "x/v1", "kind": "Widget", "name": "w", "uid": "u", "controller": True}
    rig.cluster.edit(*WHERE, [{"op": "add", "path": "/metadata/ownerReferences", "value": [owner]}])


OWNERS = [_taken_by_argo_cd, _tracked_by_argo_cd, _taken_by_flux, _taken_by_an_operator]
CHANGES = [_edited, _rollout_paused, _recreated, _deleted, _opted_out]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_somebody_did_while_the_question_stood_stops_the_approved_write(
    tmp_path: Path, change: Callable[[Rig], None]
) -> None:
    """A new uid under the old name is another object; an edited field is another plan."""
    rig = await _asked(tmp_path)
    change(rig)
    await _approve(rig)
    await rig.run(10)
    assert writes(rig) == []
    run = await the_run(rig)
    assert run.state in (RunState.ABANDONED, RunState.FAILED)
    assert run.result
    await rig.close()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", [_edited, _rollout_paused, _recreated, _deleted, *OWNERS])
async def test_what_somebody_did_a_moment_before_the_write_stops_it(
    tmp_path: Path, change: Callable[[Rig], None], moment: str
) -> None:
    """Around the dry run and before the patch: the patch is bound to what was looked at, and to whose it was."""
    rig = await born(tmp_path)
    done: list[bool] = []

    def meddle(request: object, when: str) -> None:
        of_ours = getattr(request, "kind", None) is Kind.DEPLOYMENT  # and not the pod that is tried before
        if getattr(request, "dry_run", False) and of_ours and when == moment and not done:
            done.append(True)
            change(rig)

    rig.cluster.on_request(meddle)
    await rig.run(25)
    assert done
    assert writes(rig) == []
    if change in OWNERS:  # and it is asked or handed over, as if it had been so from the start
        await rig.run(120)
        assert writes(rig) == []
        assert await _owned(rig) != Verdict.ALLOW
    await rig.close()


def _annotated(rig: Rig) -> None:
    rig.cluster.edit(*WHERE, [{"op": "add", "path": "/metadata/annotations/note", "value": "x"}])


async def _done_before_the_patch(path: Path, change: Callable[[Rig], None]) -> Rig:
    rig = await born(path)
    done: list[bool] = []

    def meddle(request: object, when: str) -> None:
        of_ours = getattr(request, "kind", None) is Kind.DEPLOYMENT
        patches = getattr(request, "verb", "") == "patch" and not getattr(request, "dry_run", False)
        if patches and of_ours and when == "before" and not done:
            done.append(True)
            change(rig)

    rig.cluster.on_request(meddle)
    await rig.run(600)
    assert done
    told = rig.notebook.text + str(rig.notebook.parents)
    assert "refused by the cluster" not in told
    assert "kube-controller-manager" not in told
    return rig


async def test_a_note_on_the_object_a_moment_before_the_write_is_nobodys_hand(tmp_path: Path) -> None:
    rig = await _done_before_the_patch(tmp_path, _annotated)
    assert len(writes(rig)) == 1
    assert (await the_run(rig)).state is RunState.FIXED
    await rig.close()


@pytest.mark.parametrize("change", [_opted_out, _noted, _deleted])
async def test_a_mark_or_deletion_a_moment_before_the_write_calls_nobody(
    tmp_path: Path, change: Callable[[Rig], None]
) -> None:
    """As if it had come a moment earlier."""
    rig = await _done_before_the_patch(tmp_path, change)
    assert writes(rig) == []
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


async def test_a_pause_during_the_wait_stops_the_approved_write(tmp_path: Path) -> None:
    """The approval does not lift the pause."""
    rig = await _asked(tmp_path)
    await rig.operations.pause("namespace:rag7", "maintenance", "kim", None)
    await _approve(rig)
    await rig.run(60)
    assert writes(rig) == []
    assert "paused by kim: maintenance" in (await the_run(rig)).result
    await rig.close()


async def test_a_pause_between_decision_and_write_stops_the_write(tmp_path: Path) -> None:
    """Set while the run has begun and not yet written."""
    rig = await born(tmp_path)
    original = rig.services.engine().start

    async def start(run_id: str) -> None:
        await rig.operations.pause("all", "stop", "kim", None)
        await original(run_id)

    rig.engine.start = start  # type: ignore[method-assign]  # the moment between the two is what is tested
    await rig.run(30)
    assert await trail(rig, EventKind.RUN_REQUESTED)
    assert writes(rig) == []
    assert "paused by kim: stop" in (await the_run(rig)).result
    await rig.close()


async def test_an_alert_that_resolves_during_the_wait_ends_the_question(tmp_path: Path) -> None:
    """Nobody is asked about a fault that is over, and a late yes does nothing."""
    rig = await _asked(tmp_path)
    run = await the_run(rig)
    stored = rig.bodies[0]["alerts"][0]
    gone = {**stored, "status": "resolved", "endsAt": rig.clock.now().isoformat()}
    await rig.send(body(gone))
    await rig.run(10, alerts=False)
    assert (await the_run(rig)).state is RunState.ABANDONED
    with pytest.raises(Refused, match="not waiting"):
        await rig.operations.approve(run.id, "kim", run.plan_hash)
    assert writes(rig) == []
    await rig.close()


async def test_an_alert_that_resolves_between_decision_and_write_stops_the_write(tmp_path: Path) -> None:
    """The store's word is enough, whatever Alertmanager's API still says."""
    rig = await born(tmp_path)
    original = rig.services.engine().start

    async def start(run_id: str) -> None:
        stored = rig.bodies[0]["alerts"][0]
        await rig.send(body({**stored, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await original(run_id)

    rig.engine.start = start  # type: ignore[method-assign]  # the moment between the two is what is tested
    await rig.run(15)
    assert writes(rig) == []
    assert (await the_run(rig)).state is RunState.ABANDONED
    await rig.close()


async def test_an_approval_counts_once(tmp_path: Path) -> None:
    """The second yes is refused, and there is one write."""
    rig = await _asked(tmp_path)
    run = await the_run(rig)
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    with pytest.raises(Refused):
        await rig.operations.approve(run.id, "lee", run.plan_hash)
    await rig.run(30)
    with pytest.raises(Refused):
        await rig.operations.approve(run.id, "lee", run.plan_hash)
    assert writes(rig) == ["patch langgraph"]
    assert len(await trail(rig, EventKind.APPROVED)) == 1
    assert len(await trail(rig, EventKind.APPROVAL_REFUSED)) == 2
    await rig.close()


async def test_an_approval_of_another_plan_is_refused(tmp_path: Path) -> None:
    """What was shown is what is approved."""
    rig = await _asked(tmp_path)
    run = await the_run(rig)
    with pytest.raises(Refused, match="plan has changed"):
        await rig.operations.approve(run.id, "kim", "0" * 64)
    await rig.run(30)
    assert writes(rig) == []
    await rig.close()


async def test_an_approval_after_the_question_expired_is_refused(tmp_path: Path) -> None:
    """Also when the run has not noticed its expiry yet."""
    rig = await _asked(tmp_path, approval=Approval(expires=timedelta(minutes=2)))
    run = await the_run(rig)
    rig.clock.advance(121)
    with pytest.raises(Refused, match="expired"):
        await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(10)
    assert (await the_run(rig)).state is RunState.EXPIRED
    assert writes(rig) == []
    await rig.close()


async def test_an_answer_whose_signal_was_lost_is_heard_within_seconds(tmp_path: Path) -> None:
    """The process may die after the answer is stored and before the run is woken; the answer must not lie until the
    question expires."""
    rig = await _asked(tmp_path)
    run = await the_run(rig)

    async def lost(run_id: str, topic: str) -> None:
        return

    heard = rig.engine.signal
    rig.engine.signal = lost  # type: ignore[method-assign]  # what a death in between comes to
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    rig.engine.signal = heard  # type: ignore[method-assign]
    await rig.run(30)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_budget_that_was_given_away_meanwhile_stops_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reservation is looked at in the transaction that records the intent."""
    monkeypatch.setattr(work, "reserve", lambda *_: None)
    rig = await born(tmp_path)
    await rig.run(10)
    assert writes(rig) == []
    assert (await the_run(rig)).result == "the budget reservation is gone"
    await rig.close()


async def test_a_stopped_run_leaves_the_incident_to_be_decided_anew(tmp_path: Path) -> None:
    """The fault is still there: once the pause ends, it is looked at again from the start."""
    rig = await _asked(tmp_path)
    await rig.operations.pause("all", "stop", "kim", rig.clock.now() + timedelta(minutes=2))
    await _approve(rig)
    await rig.run(60)
    assert (await the_incident(rig)).state.value == "refused"
    await rig.run(120)
    assert (await the_incident(rig)).state.value == "waiting"
    assert writes(rig) == []
    await rig.close()
