"""An approval says yes to what was so when the question was put: who came since is told in another one (promises 5 and 10)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.outcome import RunState
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_run, writes

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
