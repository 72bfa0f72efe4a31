"""Help that comes late: an alert that resolves while a run cannot read is not taken back, and nobody is called for it (runs between two steps, before an
undo, before a temporary change ends, and before the first write)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Approval, Otherwise, Temporary
from app.sim.alertmanager import alertmanager_body
from tests.crash.worlds import flood
from tests.scenario.moments import Blind, after_the_first, blind_from
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, says_yes, the_incident, the_run, trail, writes
from tests.scenario.test_promise_7_at_odd_moments import _replicas

NEXT, UNDO, ESCALATE = Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE
SOON = timedelta(seconds=1)
KEYS = (Kind.SECRET, "rag7", "langgraph-api-keys")


async def _reaches(rig: Rig, state: RunState) -> None:
    """Until the first run has this state."""

    async def there() -> bool:
        found = await all_runs(rig)
        return bool(found) and found[0].state is state

    await rig.until(there)


async def _resolves_unread(rig: Rig, blind: Blind, seconds: float = 150) -> None:
    """The load goes away while nothing can be read, and the alert with it."""
    assert blind.on
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await rig.run(seconds)
    assert not rig.cluster.alertmanager.alerts()
    blind.on = False


@pytest.mark.parametrize(
    ("state", "ladder"),
    [
        (RunState.CHOOSING, (NEXT, UNDO, ESCALATE)),
        (RunState.CHOOSING, (NEXT, ESCALATE)),
        (RunState.UNDOING, (UNDO, ESCALATE)),
        (RunState.UNDOING, (UNDO, NEXT, ESCALATE)),
    ],
    ids=["next-undo", "next", "undo", "undo-next"],
)
async def test_what_helped_while_nothing_could_be_read_stays(
    tmp_path: Path, state: RunState, ladder: tuple[Otherwise, ...]
) -> None:
    rig = await born(tmp_path, world=flood(), rules=policy(otherwise=ladder, cooldown=SOON))
    blind = blind_from(rig, state)
    await _reaches(rig, state)
    await _resolves_unread(rig, blind)
    await rig.run(900)
    run = await the_run(rig)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    assert run.state in (RunState.FIXED, RunState.CONTAINED), run.result
    assert await trail(rig, EventKind.ESCALATED) == []
    assert "person is asked" not in rig.notebook.text
    await rig.close()


async def test_what_helped_before_an_approved_second_step_was_begun_stays(tmp_path: Path) -> None:
    rig = await born(tmp_path, world=flood(), rules=policy(otherwise=(NEXT, UNDO, ESCALATE), cooldown=SOON))
    await _reaches(rig, RunState.WAITING)
    blind = blind_from(rig, RunState.ACTING)
    await says_yes(rig)
    await rig.run(1)
    await _resolves_unread(rig, blind)
    await rig.run(900)
    run = await the_run(rig)
    assert run.state in (RunState.FIXED, RunState.CONTAINED)
    assert (run.step.name, run.step_index, writes(rig), _replicas(rig)) == (
        "scale-out",
        0,
        ["patch langgraph-api"],
        8,
    )
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


@pytest.mark.parametrize("answer", ["yes", "no", "none"])
async def test_what_helped_before_the_question_about_a_second_step_ended_stays(
    tmp_path: Path, answer: str
) -> None:
    """The alert's source has it no more, and its message comes minutes later: whatever the answer was, nothing is taken back."""
    rules = policy(
        otherwise=(NEXT, UNDO, ESCALATE), cooldown=SOON, approval=Approval(expires=timedelta(minutes=5))
    )
    rig = await born(tmp_path, world=flood(), rules=rules)
    await _reaches(rig, RunState.WAITING)
    asked = await the_run(rig)
    if answer == "none":
        await rig.run(150)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    while rig.cluster.alertmanager.alerts():
        await rig.run(5, alerts=False)
    await rig.run(20, alerts=False)
    if answer == "yes":
        await says_yes(rig)
    if answer == "no":
        await rig.operations.reject(asked.id, "kim", asked.plan_hash)
    await rig.run(200, alerts=False)
    await rig.run(900)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    await rig.close()


async def test_a_temporary_change_is_not_taken_back_into_a_load_that_came_back_unread(tmp_path: Path) -> None:
    rules = policy(temporary=Temporary(revert_after=timedelta(minutes=10)), cooldown=timedelta(minutes=15))
    rig = await born(tmp_path, "high-latency", rules=rules)
    await _reaches(rig, RunState.CONTAINED)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    blind = blind_from(rig, RunState.UNDOING)
    await _reaches(rig, RunState.UNDOING)
    size = _replicas(rig)
    assert blind.on
    rig.cluster.traffic.set_rps("langgraph-api", 300.0)
    await rig.run(150)
    assert rig.cluster.alertmanager.alerts()
    blind.on = False
    await rig.run(120)
    assert [m.marker for m in rig.cluster.mutations if m.marker.endswith("/undo")] == []
    assert _replicas(rig) >= size
    assert (await all_runs(rig))[0].state in (RunState.FIXED, RunState.CONTAINED)
    await rig.close()


@pytest.mark.parametrize("ladder", [(ESCALATE,), (NEXT, UNDO, ESCALATE)], ids=["escalate", "next-undo"])
async def test_nobody_is_called_for_an_alert_that_went_before_anything_could_be_done(
    tmp_path: Path, ladder: tuple[Otherwise, ...]
) -> None:
    """The run gives up, and nothing of it is there."""
    rig = await born(tmp_path, "high-latency", rules=policy(otherwise=ladder, cooldown=SOON))
    blind = blind_from(rig, RunState.ACTING)
    await _reaches(rig, RunState.ACTING)
    await _resolves_unread(rig, blind, 900)
    await rig.run(60)
    assert (await the_run(rig)).state.ended
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert (writes(rig), await trail(rig, EventKind.ESCALATED)) == ([], [])
    await rig.close()


async def test_a_person_is_called_for_a_run_that_failed_while_its_alert_fires(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-latency", rules=policy(otherwise=(ESCALATE,), cooldown=SOON))
    blind_from(rig, RunState.ACTING)
    await _reaches(rig, RunState.FAILED)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


def _keys(rig: Rig) -> Any:
    secret: Any = rig.cluster.peek(*KEYS)
    return secret["data"]


async def test_what_was_left_half_done_is_undone_also_where_its_alert_went_unread(tmp_path: Path) -> None:
    """The key of the Secret is switched, and the alert resolves before the restart: it can have helped nobody."""
    rig = await born(
        tmp_path, "api-rate-limits", rules=policy(otherwise=(NEXT, UNDO, ESCALATE), cooldown=SOON)
    )
    blind, before = blind_from(rig, RunState.UNDOING), _keys(rig)
    gone = list[bool]()

    async def resolve() -> None:
        fired = rig.cluster.alertmanager.alerts()
        vars(rig.cluster.alertmanager)["alerts"] = list
        for one in fired:
            told = alertmanager_body([one])
            told["status"] = "resolved"
            for each in told["alerts"]:
                each |= {"status": "resolved", "endsAt": rig.clock.now().isoformat()}
            await rig.send(told)
        gone.append(True)

    after_the_first(rig, EventKind.ACTION_ENDED, resolve)
    await _reaches(rig, RunState.WAITING)
    await says_yes(rig)
    await rig.until(lambda: blind.on)
    await rig.run(20, alerts=False)
    blind.on = False
    await rig.run(600, alerts=False)
    assert gone
    assert (await all_runs(rig))[0].state.ended
    assert _keys(rig) == before
    await rig.close()
