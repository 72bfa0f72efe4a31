"""Trust is lowered by what was taken back, not by the order to do so."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import TrustTerms
from tests.scenario import scenes
from tests.scenario.test_trust import earned, ended, newest, raised, trust_level


@pytest.mark.parametrize("how", ["withdrawn", "expired", "somebody else changed it"])
async def test_an_undo_that_did_not_happen_costs_no_level(tmp_path: Path, how: str) -> None:
    """An order says nothing yet: what it would have taken back stays, and it may have been given by mistake."""
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms()))
    await rig.run(60)
    await raised(rig, 2)
    run = await newest(rig, 0)
    assert await ended(rig, run.id) is RunState.FIXED
    before = await trust_level(rig)
    if how == "somebody else changed it":
        image = "/spec/template/spec/containers/0/image"
        change = [{"op": "replace", "path": image, "value": "langgraph:theirs"}]
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", change)
        await rig.operations.undo(run.id, "ana")
        await rig.run(60)
        assert (await newest(rig, 0)).state is RunState.UNDO_CONFLICT
    else:
        await rig.operations.undo(run.id, "ana")
        await rig.operations.pause("all", "wait", "kim", None)
        await rig.run(30)
        if how == "withdrawn":
            await rig.operations.reject(run.id, "ana")
        await rig.run(1_900 if how == "expired" else 30)
        assert (await newest(rig, 0)).state is RunState.FIXED
    assert await trust_level(rig) == before
    await rig.close()
