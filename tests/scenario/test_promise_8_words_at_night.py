"""Promise 8 at 3 a.m.: what was tried was tried, "refused by the cluster" means that it was, and an escalation says what and why."""

from __future__ import annotations

from pathlib import Path

from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Otherwise
from tests.crash.worlds import flood
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, policy, the_run, trail, writes


async def _ended(rig: Rig, seconds: float = 3_600) -> RunState:
    async def over() -> bool:
        return (await the_run(rig)).state.ended

    async def begun() -> bool:
        return bool(await trail(rig, EventKind.RUN_REQUESTED))

    await rig.until(begun, 120)
    await rig.until(over, seconds)
    await rig.run(5)
    return (await the_run(rig)).state


async def test_an_action_that_our_own_check_stopped_was_not_refused_by_the_cluster(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    after_the_first(rig, EventKind.ACTION_INTENDED, lambda: rig.operations.pause("all", "wait", "kim", None))
    assert await _ended(rig, 300) is RunState.ABANDONED
    assert writes(rig) == []
    assert "all is paused by kim: wait" in rig.notebook.text
    assert "refused by the cluster" not in rig.notebook.text.lower()
    await rig.close()


async def test_an_action_that_the_cluster_refused_is_told_as_refused(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    rig.cluster.deny("patch", Kind.DEPLOYMENT)
    assert await _ended(rig) is RunState.FAILED
    assert "refused by the cluster" in rig.notebook.text.lower()
    await rig.close()


async def test_what_was_tried_is_what_was_carried_out_and_what_the_cluster_refused(tmp_path: Path) -> None:
    """A step that did not apply was not tried; it stands among the steps, with the reason."""
    rules = policy(otherwise=(Otherwise.NEXT, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(tmp_path, rules=rules, world=flood())
    assert await _ended(rig) is RunState.NOT_FIXED
    (escalated,) = await trail(rig, EventKind.ESCALATED)
    assert escalated.data["tried"] == ["scale-out: scale rag7/Deployment/langgraph-api"]
    await rig.close()

    (tmp_path / "refused").mkdir()
    rig = await born(tmp_path / "refused", rules=rules, world=flood())
    rig.cluster.deny("patch", Kind.DEPLOYMENT)
    assert await _ended(rig) is RunState.FAILED
    (escalated,) = await trail(rig, EventKind.ESCALATED)
    assert escalated.data["tried"] == ["scale-out: scale rag7/Deployment/langgraph-api (refused)"]
    await rig.close()


async def test_the_explanation_of_an_escalated_incident_names_its_steps_and_the_reason(
    tmp_path: Path,
) -> None:
    rules = policy(otherwise=(Otherwise.NEXT, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(tmp_path, rules=rules, world=flood())
    await _ended(rig)
    told = await rig.operations.explain((await the_run(rig)).incident_id)
    assert told["state"] == "escalated"
    assert "it did not help" in told["reason"]
    assert "it did not help" in told["escalation"]["reason"]
    assert [line.partition(":")[0] for line in told["ladder"]] == ["scale-out", "restart"]
    await rig.close()
