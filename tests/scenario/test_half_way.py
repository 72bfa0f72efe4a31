"""A step of several actions that stops half way: what is started again, what waits, what people are told, and who decides the rest.

The database of an application is restored, which stops the application meanwhile: the worst place to stop in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.load import load_policy
from app.sim.faults import Fault, FaultKind
from remediations import CATALOGUE
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident, the_run, trail
from tests.scenario.test_database_restore import (
    ALL,
    RULE,
    approved,
    born,
    databases,
    order,
    replicas,
    rests,
    writes,
)

ESCALATES = RULE + "    otherwise: [escalate]\n"
TAKES_BACK = RULE + "    otherwise: [undo, escalate]\n"
OBSERVES = "\nmode: observe\n"
FREEZE = "\nfreeze: [{name: release, timezone: UTC}]\n"
START = "To start it again as it is: kubectl scale deployment/langgraph-threads -n rag7 --replicas=3"
AT_ZERO = "Now: Deployment rag7/langgraph-threads stands at 0 replicas, was 3"
Holds = Callable[[Rig], Awaitable[None]]


def _use(rig: Rig, policy: str) -> None:
    rig.policy = load_policy({"rag7.yaml": policy}, CATALOGUE)


async def _pause(rig: Rig) -> None:
    await rig.operations.pause("all", "hands off", "kim", None)


async def _observe(rig: Rig) -> None:
    _use(rig, ESCALATES + OBSERVES)


async def _freeze(rig: Rig) -> None:
    _use(rig, ESCALATES + FREEZE)


async def _until(rig: Rig, verb: str) -> None:
    """The moment at which this was written."""
    rig.stride = 1.0

    async def written() -> bool:
        return verb in writes(rig)

    await rig.until(written)


async def _at_work(path: Path, rule: str = ESCALATES) -> Rig:
    rig = await born(path, rule=rule)
    await order(rig)
    await approved(rig)
    return rig


def _told(rig: Rig) -> str:
    """What the thread and its head say of the need for a person."""
    text = rig.notebook.text
    return text[text.index("a person must look" if "a person must look" in text else "a person is needed") :]


@pytest.mark.parametrize("hold", [_pause, _observe])
async def test_promise_10_a_hold_that_comes_half_way_is_kept_and_people_are_told_at_once_what_stands_still(
    tmp_path: Path, hold: Holds
) -> None:
    rig = await _at_work(tmp_path)
    await _until(rig, "scale")
    await hold(rig)
    await rig.run(120)
    run = await the_run(rig)
    assert (run.state, writes(rig), await replicas(rig)) == (RunState.UNDOING, ALL[:4], 0)
    assert (await the_incident(rig)).state is IncidentState.STUCK, "somebody is called as for what is stuck"
    told = _told(rig)
    for words in (
        AT_ZERO,
        "Now: no name of langgraph_checkpoints is exchanged by this run",
        "is not looked at",
        'To remove the copy beside, once nobody needs it: DROP DATABASE "langgraph_checkpoints_restored_',
        "Done: Scale rag7/Deployment/langgraph-threads from 3 to 0 replicas",
        "Not done: Point of no return",
        START,
        f"To take back what is in place: remediator undo {run.id} --despite",
    ):
        assert words in told, words
    assert "Nothing was changed" not in told
    assert any(AT_ZERO in head and START in head for head in rig.notebook.parents.values())
    await rig.operations.undo(run.id, "kim", despite=True)
    await rig.until(lambda: rests(rig))
    assert (await replicas(rig), (await the_run(rig)).state) == (3, RunState.UNDONE)
    await rig.close()


async def test_promise_10_what_the_approved_plan_stopped_is_started_again_in_a_freeze_that_came_later(
    tmp_path: Path,
) -> None:
    rig = await _at_work(tmp_path)
    assert "is started again whatever becomes of this, also in a freeze" in rig.notebook.text
    await _until(rig, "scale")
    await _freeze(rig)
    await rig.until(lambda: rests(rig))
    assert (writes(rig), await replicas(rig)) == ([*ALL[:4], "scale"], 3), "and nothing else is written"
    assert "before" not in await databases(rig)
    await rig.close()


async def test_promise_10_a_freeze_after_the_exchange_lets_the_approved_start_through(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path)
    _when_exchanged(rig, lambda: _use(rig, ESCALATES + FREEZE))
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 3), run.result
    await rig.close()


def _when_exchanged(rig: Rig, then: Callable[[], object]) -> None:
    def hook(request: object, when: str) -> None:
        if getattr(request, "verb", "") == "rename" and when == "after":
            then()

    rig.cluster.on_request(hook)


def _start_fails(rig: Rig, kind: FaultKind) -> None:
    fault = Fault(kind, verb="patch", kind=Kind.DEPLOYMENT, times=10_000)
    _when_exchanged(rig, lambda: rig.cluster.faults.add(fault))


@pytest.mark.parametrize("kind", [FaultKind.DENIED, FaultKind.UNREACHABLE])
async def test_a_start_that_fails_leaves_the_exchange_to_a_person_where_the_rule_says_so(
    tmp_path: Path, kind: FaultKind
) -> None:
    rig = await _at_work(tmp_path)
    _start_fails(rig, kind)
    await rig.until(lambda: rests(rig), 6_000)
    run = await the_run(rig)
    assert (run.state, writes(rig), await replicas(rig)) == (RunState.FAILED, ALL[:5], 0)
    told = _told(rig)
    for words in (
        AT_ZERO,
        "Now: langgraph_checkpoints is the restored copy; the former one is",
        "UTC, not looked at since)",
        'To remove the former database, once nobody needs it: DROP DATABASE "langgraph_checkpoints_before_',
        START,
        "--despite",
    ):
        assert words in told, words
    assert "Not done: Start rag7/Deployment/langgraph-threads again" in told
    assert ("Refused by the cluster" in rig.notebook.text) is (kind is FaultKind.DENIED)
    assert ("could not be reached" in told) is (kind is FaultKind.UNREACHABLE)
    await rig.close()


@pytest.mark.parametrize("rule", [ESCALATES, TAKES_BACK], ids=["escalate", "undo"])
@pytest.mark.parametrize("kind", [FaultKind.UNREACHABLE, FaultKind.CONFLICT, FaultKind.LOST_BEFORE])
async def test_the_start_of_what_the_plan_stopped_is_tried_for_an_hour_and_a_person_knows(
    tmp_path: Path, kind: FaultKind, rule: str
) -> None:
    rig = await _at_work(tmp_path, rule)
    fault = Fault(kind, verb="patch", kind=Kind.DEPLOYMENT, times=10_000)
    _when_exchanged(rig, lambda: rig.cluster.faults.add(fault))
    await rig.run(1_500)
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.ACTING, ALL[:5])
    assert (await the_incident(rig)).state is IncidentState.STUCK
    told = _told(rig)
    for words in ("starting it is tried again and again", AT_ZERO, START):
        assert words in told, words
    assert "remediator undo" not in told[told.index(AT_ZERO) :].partition("Look at")[0], "it is not over"
    rig.cluster.faults.waiting.clear()
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, writes(rig), await replicas(rig)) == (RunState.FIXED, ALL, 3), run.result
    assert (await the_incident(rig)).state is IncidentState.FIXED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


@pytest.mark.parametrize("kind", [FaultKind.UNREACHABLE, FaultKind.CONFLICT])
async def test_promise_7_an_application_that_stands_at_0_is_started_by_its_undo_after_an_outage(
    tmp_path: Path, kind: FaultKind
) -> None:
    rig = await _at_work(tmp_path, TAKES_BACK)
    await _until(rig, "scale")
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="rename", times=10_000))
    rig.cluster.faults.add(Fault(kind, verb="patch", kind=Kind.DEPLOYMENT, times=10_000))
    await rig.run(2_400)
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.UNDOING, 0)
    assert AT_ZERO in _told(rig)
    rig.cluster.faults.waiting.clear()
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, await replicas(rig)) == (RunState.FAILED, 3)
    await rig.close()


async def test_a_start_that_fails_takes_the_exchange_back_where_the_rule_says_so(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path, TAKES_BACK)
    _start_fails(rig, FaultKind.DENIED)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, writes(rig)) == (RunState.STUCK, [*ALL[:5], "rename"])
    told = _told(rig)
    for words in (
        AT_ZERO,
        "Now: langgraph_checkpoints is the database that it was before: names were exchanged, and exchanged back",
        START,
    ):
        assert words in told, words
    await rig.close()


async def test_a_ceiling_after_the_exchange_leaves_it_to_a_person(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path)
    _when_exchanged(rig, lambda: _use(rig, ESCALATES + OBSERVES))
    await rig.until(lambda: rests(rig))
    assert (writes(rig), await replicas(rig)) == (ALL[:5], 0)
    told = _told(rig)
    for words in (AT_ZERO, "Now: langgraph_checkpoints is the restored copy", START):
        assert words in told, words
    await rig.close()


async def test_an_undo_that_loses_rows_is_taken_only_from_who_says_that_they_know(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    with pytest.raises(Refused) as refused:
        await rig.operations.undo(run.id, "kim")
    assert refused.value.code == "loses_rows"
    for words in (
        "what was written to langgraph_checkpoints since 2026-03-04",
        "stays in langgraph_checkpoints_restored_",
        "2 people had to agree to the plan (ann and ben): ask them first",
        f"remediator undo {run.id} --despite",
    ):
        assert words in str(refused.value), words
    assert writes(rig) == ALL
    answer = await rig.operations.undo(run.id, "kim", despite=True)
    assert "what was written to langgraph_checkpoints since" in answer["loses"]
    await rig.close()


async def test_promise_10_a_pause_half_way_of_an_ordered_undo_tells_that_the_application_stands_still(
    tmp_path: Path,
) -> None:
    rig = await _at_work(tmp_path)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    _when_exchanged(rig, lambda: _use(rig, ESCALATES + OBSERVES))
    await rig.operations.undo(run.id, "kim", despite=True)
    await rig.run(120)
    assert (writes(rig), await replicas(rig)) == ([*ALL, "scale", "rename"], 0)
    assert (await the_incident(rig)).state is IncidentState.STUCK
    told = _told(rig)
    for words in (AT_ZERO, "Now: langgraph_checkpoints is the database that it was before", START):
        assert words in told, words
    await rig.close()


async def test_a_size_that_somebody_else_has_changed_since_is_not_told_as_ours(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path)
    await _until(rig, "scale")
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 2}]
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph-threads", patch)
    await rig.until(lambda: rests(rig))
    told = _told(rig)
    assert "Now: Deployment rag7/langgraph-threads: somebody else has changed it since" in told
    assert ("stands at 0" in told, "kubectl scale" in told, await replicas(rig)) == (False, False, 2)
    await rig.close()


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("rule", [ESCALATES, TAKES_BACK], ids=["escalate", "undo"])
async def test_an_application_that_was_created_anew_at_0_is_told_to_stand_there_with_the_command(
    tmp_path: Path, rule: str, exchanged: bool
) -> None:
    rig = await _at_work(tmp_path, rule)
    where = (Kind.DEPLOYMENT, "rag7", "langgraph-threads")
    if exchanged:
        _when_exchanged(rig, lambda: rig.cluster.recreate(*where))
    else:
        await _until(rig, "scale")
        rig.cluster.recreate(*where)
    await rig.until(lambda: rests(rig))
    assert await replicas(rig) == 0
    told = _told(rig)
    assert AT_ZERO in told
    assert START in told
    await rig.close()


async def test_an_application_that_somebody_else_stopped_again_is_told_to_stand_at_0(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path)
    await _until(rig, "scale")
    for size in (3, 0):
        rig.cluster.scale(Kind.DEPLOYMENT, "rag7", "langgraph-threads", size)
    await rig.until(lambda: rests(rig))
    assert ("rename" in writes(rig), await replicas(rig)) == (False, 0)
    told = _told(rig)
    assert f"{AT_ZERO}: somebody else has changed it since, so it is not started by itself" in told
    assert START in told
    await rig.close()


async def test_whether_names_were_exchanged_is_not_guessed(tmp_path: Path) -> None:
    rig = await _at_work(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="rename", dry_run=False))
    _when_exchanged(
        rig, lambda: rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="sql", times=10_000))
    )
    await rig.until(lambda: rests(rig))
    assert (await the_run(rig)).state is RunState.STUCK
    told = _told(rig)
    for words in (
        AT_ZERO,
        "Now: whether langgraph_checkpoints is the restored copy or the former database is not known",
        "(nobody knows whether it was)",
        START,
        "what was written to langgraph_checkpoints since then is not in it afterwards",
    ):
        assert words in told, words
    await rig.close()


async def test_a_freeze_that_begins_before_the_end_is_told_to_the_dry_run_and_the_approvers(
    tmp_path: Path,
) -> None:
    soon = "\nfreeze: [{name: release, from: '03:40', to: '05:00', timezone: UTC}]\n"
    rig = await born(tmp_path, rule=ESCALATES + soon)
    await order(rig)
    await rig.run(20)
    text = rig.notebook.text
    assert "no freeze stands; a freeze begins at 2026-03-04 03:40:00 UTC, and this may take until" in text
    assert "To know: answered at the last moment, a freeze begins at 2026-03-04 03:40:00 UTC" in text
    assert any("a freeze begins" in head for head in rig.notebook.parents.values()), "where the buttons are"
    await rig.close()


async def test_approvers_read_how_many_pods_stop_and_that_who_ordered_it_may_be_one_of_them(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await rig.run(20)
    assert "Pods affected at worst: 3" in rig.notebook.text
    assert "who ordered it" not in rig.notebook.text
    run = await the_run(rig)
    assert (await rig.operations.approve(run.id, "kim", run.plan_hash))["answer"] == "counted"
    await rig.close()
