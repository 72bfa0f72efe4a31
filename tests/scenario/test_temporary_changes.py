"""Changes on loan: taken back at the end of the lease, kept by a person, in conflict with a person, across a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.ids import OVER_BUT
from app.policy.load import read_dir
from app.sim import Fault, FaultKind
from app.store import audit, retention, runs
from tests.scenario.moments import after_the_first, during
from tests.scenario.played import played
from tests.scenario.rig import POLICIES, Rig
from tests.scenario.scenes import alert, all_incidents, body, leased, the_incident, trail

API = ("rag7", "langgraph-api")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A service whose scale-outs are on loan for a quarter of an hour, already fixed once."""
    made = partial(Rig, scenarios=("high-latency",), policy_texts=leased("15m"))

    async def scaled_out(first: Rig) -> None:
        await first.run(600)
        assert (await _run(first)).state is RunState.CONTAINED
        assert _replicas(first) == 8
        first.cluster.traffic.set_rps("langgraph-api", 1.0)  # the rush is over: two replicas are enough again

    found = await played("temporary changes", tmp_path / "store.sqlite", made, scaled_out)
    yield found
    await found.close()


async def _run(rig: Rig) -> runs.Run:
    return (await rig.store.read(lambda conn: runs.page(conn, None, 1)))[0]


def _replicas(rig: Rig) -> int:
    found = rig.cluster.peek(Kind.DEPLOYMENT, *API)
    assert found is not None
    return int(found["spec"]["replicas"])


async def test_a_lease_shows_its_end_and_the_patch_that_makes_it_permanent(rig: Rig) -> None:
    """Whoever wants to keep it for good finds the command in the thread."""
    assert "Temporary until" in rig.notebook.text
    assert (
        """kubectl patch deployment langgraph-api -n rag7 -p '{"spec":{"replicas":8}}'""" in rig.notebook.text
    )


async def test_at_its_end_the_change_is_taken_back(rig: Rig) -> None:
    """Field by field, as an undo of the run."""
    await rig.run(960)
    assert _replicas(rig) == 2
    assert (await _run(rig)).state is RunState.REVERTED
    assert "Temporary change over" in rig.notebook.text


async def test_while_somebody_has_another_incident_of_its_target_the_change_stays(rig: Rig) -> None:
    """And half an hour after. Its own is over, or there would be no change to take back."""
    await rig.operations.pause("all", "a look", "ops", None)
    other = alert(rig, started=1, deployment="langgraph-api")
    await rig.send(body(other))
    await rig.run(30)
    await rig.operations.acknowledge((await all_incidents(rig))[-1].id, "ann")
    await rig.operations.resume("all", "ops")
    for verb in ("is", "was"):
        await rig.run(960)
        waits = (await _run(rig)).waits_for.removeprefix(OVER_BUT)
        assert f"on this target {verb} acknowledged through API by ann" in waits
        assert _replicas(rig) == 8
        await rig.send(body({**other, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(1_000)
    assert _replicas(rig) == 2


async def test_a_kept_change_stays(rig: Rig) -> None:
    """And it is told who kept it."""
    run = await _run(rig)
    await rig.operations.keep(run.id, "alice")
    await rig.run(1_000)
    assert _replicas(rig) == 8
    assert "by alice: the change stays" in rig.notebook.text
    with pytest.raises(Refused) as refused:
        await rig.operations.keep(run.id, "bob")
    assert refused.value.code == "no_temporary_change"


@pytest.mark.parametrize("values", [(6,), (6, 8)], ids=["another value", "ours again"])
async def test_what_a_person_changed_meanwhile_is_left_alone(rig: Rig, values: tuple[int, ...]) -> None:
    """The end of a lease never overwrites a person, also one who wants the very value that we had set."""
    for value in values:
        patch = [{"op": "replace", "path": "/spec/replicas", "value": value}]
        rig.cluster.edit(Kind.DEPLOYMENT, *API, patch, manager="kubectl-scale")
    await rig.run(960)
    assert _replicas(rig) == values[-1]
    assert "kubectl-scale" in rig.notebook.text
    assert (await _run(rig)).state is RunState.UNDO_CONFLICT  # nothing was reverted


async def test_a_change_that_is_kept_while_its_end_is_looked_at_stays(rig: Rig) -> None:
    """What a person said in the middle of the look wins."""
    run = await _run(rig)
    kept = during(rig, "pod_usage", lambda: rig.operations.keep(run.id, "alice"))
    await rig.run(1_200)
    assert kept
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
    await rig.close()


async def _being_reverted(rig: Rig, fault: FaultKind, times: int) -> runs.Run:
    """The time is over, and the API server loses the write that takes the change back."""
    rig.cluster.faults.add(Fault(fault, verb="patch", kind=Kind.DEPLOYMENT, times=times))

    async def begun() -> bool:
        return (await _run(rig)).state is RunState.UNDOING

    await rig.until(begun, limit=1_200)
    await rig.run(10)
    return await _run(rig)


async def test_a_change_whose_end_is_retried_is_kept_as_long_as_nothing_was_taken_back(rig: Rig) -> None:
    run = await _being_reverted(rig, FaultKind.LOST_BEFORE, 400)
    assert (await rig.operations.keep(run.id, "alice"))["kept"] is False
    assert (await rig.operations.keep(run.id, "alice"))["kept"] is False  # pressed twice: one wish
    await rig.run(60)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
    assert (await _run(rig)).due_at is None
    rig.cluster.faults.waiting.clear()
    await rig.run(3_600)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
    assert rig.notebook.text.count("To be kept: alice wants it kept") == 1
    assert rig.notebook.text.count("Kept by alice: the change stays") == 1
    assert [e.actor for e in await trail(rig, EventKind.TEMPORARY_KEPT)] == ["alice"]
    with pytest.raises(Refused, match="kept already by alice"):
        await rig.operations.keep(run.id, "bob")


@pytest.mark.parametrize("sent", [True, False], ids=["the write is out", "right before the write"])
async def test_a_wish_that_comes_while_the_change_is_taken_back_is_kept_or_told_to_be_too_late(
    rig: Rig, sent: bool
) -> None:
    run, patch = await _run(rig), rig.cluster.patch
    pressed: list[dict[str, Any]] = []

    async def at_the_write(*what: Any, dry_run: bool = False) -> Any:
        if not pressed and (sent and not dry_run):
            pressed.append(await rig.operations.keep(run.id, "alice"))
        return await patch(*what, dry_run=dry_run)

    vars(rig.cluster)["patch"] = at_the_write
    if not sent:
        after_the_first(
            rig, EventKind.UNDO_INTENDED, lambda: _press(pressed, rig.operations.keep(run.id, "alice"))
        )
    await rig.run(1_200)
    assert [done["kept"] for done in pressed] == [False]
    if sent:
        assert ((await _run(rig)).state, _replicas(rig)) == (RunState.REVERTED, 2)
        assert "Not kept, as alice wanted: it had been taken back already" in rig.notebook.text
        with pytest.raises(Refused, match="it was taken back already"):
            await rig.operations.keep(run.id, "bob")
    else:
        assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
        assert "Kept by alice: the change stays" in rig.notebook.text


async def _press(pressed: list[dict[str, Any]], order: Awaitable[dict[str, Any]]) -> None:
    pressed.append(await order)


async def test_a_change_whose_end_is_held_is_kept_too(rig: Rig) -> None:
    """And not by a word that comes after a person's order to undo it."""
    rig.policy = rig.policy.model_copy(update={"freeze": ()})
    run = await _being_reverted(rig, FaultKind.LOST_BEFORE, 400)
    await rig.operations.pause("namespace:rag7", "release", "ana", None)
    rig.cluster.faults.waiting.clear()
    await rig.run(60)
    assert (await _run(rig)).waits_for.startswith("held")
    assert (await rig.operations.keep(run.id, "alice"))["kept"] is False
    await rig.run(60)
    await rig.operations.resume("namespace:rag7", "ana")
    await rig.run(3_600)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)


async def test_a_change_whose_undo_a_person_ordered_is_not_kept(rig: Rig) -> None:
    run = await _being_reverted(rig, FaultKind.LOST_BEFORE, 400)
    await rig.operations.keep(run.id, "alice")
    await rig.operations.undo(run.id, "bob")
    with pytest.raises(Refused, match="its undo was ordered"):
        await rig.operations.keep(run.id, "alice")
    rig.cluster.faults.waiting.clear()
    await rig.run(120)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.UNDONE, 2)
    assert "Not kept, as alice wanted: its undo was ordered meanwhile" in rig.notebook.text


async def _two_of_them(rig: Rig) -> tuple[runs.Run, runs.Run]:
    """Somebody orders more on top of the temporary change, under the same rule: first and second run."""
    order = ManualRequest(
        "high-latency", "rag7/Deployment/langgraph-api", {"scale_to": 9}, "more", "ana", may_approve=True
    )
    rig.policy = rig.policy.model_copy(
        update={
            "rules": tuple(
                r.model_copy(update={"cooldown": timedelta(0), "order_params": {"scale_to": 9}})
                for r in rig.policy.rules
            )
        }
    )
    rig.cluster.traffic.set_rps("langgraph-api", 60.0)
    await rig.run(120)
    delivery = Delivery(Source.MANUAL, rig.clock.now(), "ana", manual=order, dedupe_key="k", body_digest="k")
    await rig.store.ingest(delivery)
    await rig.run(300)
    found = await rig.store.read(lambda conn: runs.page(conn, None, 5))
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    second, first = found
    assert (first.state, second.state, _replicas(rig)) == (RunState.CONTAINED, RunState.CONTAINED, 9)
    return first, second


async def test_temporary_changes_of_one_target_are_taken_back_newest_first(rig: Rig) -> None:
    """Each goes back to what it found: none is in the way of another."""
    first, second = await _two_of_them(rig)
    await rig.run(3_600)
    ended = [run.state for run in await rig.store.read(lambda conn: runs.page(conn, None, 5))]
    assert (ended, _replicas(rig)) == ([RunState.REVERTED] * 2, 2)
    undos = [m.marker.partition("/")[0] for m in rig.cluster.mutations if m.marker.endswith("/undo")]
    assert undos == [second.id, first.id]


async def test_a_temporary_change_that_a_person_has_undone_is_in_nobodys_way(rig: Rig) -> None:
    first, second = await _two_of_them(rig)
    await rig.operations.undo(second.id, "ana")
    await rig.run(1_800)
    ended = (await rig.store.read(lambda conn: runs.get(conn, first.id))).state
    assert (ended, _replicas(rig)) == (RunState.REVERTED, 2)


async def test_a_lease_survives_a_restart(rig: Rig) -> None:
    """Its end is on disk; the next process keeps it."""
    await rig.run(300)
    await rig.die()
    await rig.born()
    await rig.run(660)
    assert _replicas(rig) == 2
    kinds = [e.kind for e in await rig.store.read(lambda conn: audit.page(conn, 0, 1_000))]
    assert kinds.count(EventKind.TEMPORARY_GRANTED) == kinds.count(EventKind.TEMPORARY_ENDED) == 1


async def test_a_rollback_is_no_loan(tmp_path: Path) -> None:
    """Only sizes are lent."""
    texts = read_dir(POLICIES)
    marker = "    remediation: high-error-rate\n"
    texts["rag7.yaml"] = texts["rag7.yaml"].replace(marker, f"{marker}    temporary: {{revert_after: 1h}}\n")
    rig = await Rig(tmp_path / "store.sqlite", policy_texts=texts).born()
    await rig.run(600)
    assert (await _run(rig)).state is RunState.FIXED
    assert "On loan" not in rig.notebook.text
    await rig.close()


async def test_a_temporary_change_is_taken_back_however_short_the_retention_is(rig: Rig) -> None:
    """Its incident was closed long ago, and its end is still due."""
    run = await _run(rig)
    for _ in range(4):
        await rig.run(120)
        await rig.store.write(lambda tx: retention.prune(tx, tx.now - timedelta(minutes=5), 100))
    assert [one.id for one in await rig.store.read(lambda conn: runs.page(conn, None, 5))] == [run.id]
    await rig.run(960)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.REVERTED, 2)


async def _due(rig: Rig) -> None:
    """Right before the end of the temporary change."""

    async def nearly() -> bool:
        due = (await _run(rig)).due_at
        return due is not None and (due - rig.clock.now()).total_seconds() < 20

    await rig.until(nearly, limit=1_200)


@pytest.mark.parametrize("kind", [FaultKind.UNREACHABLE, FaultKind.DENIED])
async def test_promise_7_an_end_that_cannot_be_looked_at_is_told_and_calls_a_person_once(
    rig: Rig, kind: FaultKind
) -> None:
    """The marks of its owners cannot be read: nothing is written, and it goes on by itself once they can."""
    await _due(rig)
    rig.cluster.faults.add(Fault(kind, verb="get", kind=Kind.NAMESPACE, times=10**6))
    await rig.run(40 * 60)
    run = await _run(rig)
    assert (run.state, _replicas(rig)) == (RunState.CONTAINED, 8)
    assert run.waits_for.startswith(OVER_BUT)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "its temporary change is over and stays in place" in called.data["reason"]
    assert called.data["reason"] in rig.notebook.text
    rig.cluster.faults.clear()
    await rig.run(600)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.REVERTED, 2)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED, "nobody is needed any more"
    assert len(await trail(rig, EventKind.ESCALATED)) == 1


async def test_promise_7_nobody_can_tell_whether_it_is_needed_which_is_told_and_calls_a_person_once(
    rig: Rig,
) -> None:
    await _due(rig)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="usage", times=10**6))
    await rig.run(90 * 60)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "whether it is still needed cannot be told" in called.data["reason"]
    assert await trail(rig, EventKind.TEMPORARY_EXTENDED)
    rig.cluster.faults.clear()
    await rig.run(1_200)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.REVERTED, 2)


async def test_promise_7_an_end_that_has_begun_and_cannot_be_looked_at_any_more_calls_a_person_once(
    rig: Rig,
) -> None:
    await _being_reverted(rig, FaultKind.LOST_BEFORE, 2)
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="get", kind=Kind.NAMESPACE, times=10**6))
    await rig.run(30 * 60)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.UNDOING, 8)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "what was done cannot be taken back" in called.data["reason"]
    rig.cluster.faults.clear()
    await rig.run(120)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.REVERTED, 2)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED


async def test_what_its_owners_keep_away_is_told_and_calls_nobody(rig: Rig) -> None:
    """They said so themselves."""
    mark = "/metadata/annotations/alert-remediator.io~1enabled"
    await _being_reverted(rig, FaultKind.LOST_BEFORE, 2)
    rig.cluster.edit(Kind.DEPLOYMENT, *API, [{"op": "add", "path": mark, "value": "false"}])
    await rig.run(60 * 60)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.UNDOING, 8)
    assert "The undo waits: off limits" in rig.notebook.text
    assert await trail(rig, EventKind.ESCALATED) == []
    rig.cluster.edit(Kind.DEPLOYMENT, *API, [{"op": "remove", "path": mark}])
    await rig.run(120)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.REVERTED, 2)


async def test_a_wish_to_keep_what_cannot_be_read_is_a_persons_and_nothing_is_written(rig: Rig) -> None:
    run = await _being_reverted(rig, FaultKind.LOST_BEFORE, 400)
    await rig.operations.pause("namespace:rag7", "release", "ana", None)
    rig.cluster.faults.clear()
    await rig.run(60)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, times=10**6))
    await rig.operations.keep(run.id, "alice")
    await rig.run(20 * 60)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.STUCK, 8)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "to keep it, cannot be told" in called.data["reason"]
    await _each_undo_has_one_end(rig, run)


async def _each_undo_has_one_end(rig: Rig, run: runs.Run) -> None:
    begun = [event.data["action"] for event in await trail(rig, EventKind.UNDO_INTENDED)]
    ended = [event.data["action_id"] for event in await trail(rig, EventKind.UNDO_ENDED)]
    assert [action.partition("/undo")[0] for action in begun] == ended
    entries = await rig.store.read(lambda conn: runs.entries(conn, run.id))
    assert [entry.name for entry in entries if entry.outcome is None] == []


async def test_promise_7_an_undo_that_was_announced_and_is_not_wanted_any_more_ends_once(rig: Rig) -> None:
    """In trail and journal, and what a person orders later is another one."""
    run = await _being_reverted(rig, FaultKind.LOST_BEFORE, 400)
    await rig.operations.keep(run.id, "alice")
    await rig.run(60)
    rig.cluster.faults.clear()
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.CONTAINED, 8)
    await _each_undo_has_one_end(rig, run)
    (ended,) = await trail(rig, EventKind.UNDO_ENDED)
    assert (ended.data["result"], "alice" in ended.data["text"]) == ("not_done", True)
    await rig.operations.undo(run.id, "bob")
    await rig.run(60)
    assert ((await _run(rig)).state, _replicas(rig)) == (RunState.UNDONE, 2)
    await _each_undo_has_one_end(rig, run)
