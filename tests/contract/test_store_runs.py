"""Runs, their steps and their answers: one live run per target, each thing once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Connection

from app.domain.errors import Missing, Refused
from app.domain.outcome import RunState
from app.domain.target import Kind, Target
from app.store import audit, facts, runs, work
from app.store.database import Store
from app.store.runs import NewRun, Run, TargetBusy
from app.store.tx import Tx
from tests.contract.stores import START, TARGET, HandClock, Stores, new_run, request_run, step


def moving(run_id: str, state: RunState, result: str = "") -> Callable[[Tx], bool]:
    """A function that moves it."""
    return lambda tx: runs.move(tx, run_id, state, result=result)


def requesting(run: NewRun) -> Callable[[Tx], Run]:
    """A function that requests it."""
    return lambda tx: runs.request(tx, run)


async def events(store: Store, run_id: str) -> list[str]:
    """Kinds of its audit events."""
    return [e.kind.value for e in await store.read(lambda conn: audit.for_run(conn, run_id))]


def test_run_ids_follow_from_their_incident() -> None:
    assert runs.run_id_for("inc_06f2", 3) == "run_06f2_3"


async def test_a_run_comes_back_as_it_was_requested(store: Store) -> None:
    expires = START + timedelta(hours=1)
    asked = new_run(settings={"rule": {"name": "x"}}, params={"scale_to": 5}, expires_at=expires)
    made = await store.write(requesting(asked))
    run = await store.read(lambda conn: runs.get(conn, asked.id))
    assert run == made
    assert (run.step, run.plan_hash, run.params, run.settings) == (
        step(),
        step().hash,
        asked.params,
        asked.settings,
    )
    assert (run.state, run.requested_at, run.expires_at) == (RunState.REQUESTED, START, expires)
    assert (run.due_at, run.workflow, run.claimed_by, run.life) == (START, f"{run.id}~1", None, {})
    assert (run.answer, run.answered_by, run.result, run.ended_at) == ("", "", "", None)


async def test_requesting_twice_makes_one_run_and_one_event(store: Store) -> None:
    for _ in range(2):
        await request_run(store, new_run())
    assert await events(store, "run_1_1") == ["run.requested"]


async def test_a_target_has_one_live_run(store: Store) -> None:
    await request_run(store, new_run())
    with pytest.raises(TargetBusy) as caught:
        await request_run(store, new_run("run_2_1"))
    assert (caught.value.code, caught.value.where) == ("target_busy", "run_1_1")
    assert await store.read(runs.live_targets) == [TARGET]
    await store.write(moving("run_1_1", RunState.FIXED))
    await request_run(store, new_run("run_2_1"))
    holder = await store.read(lambda conn: runs.live_for_target(conn, TARGET))
    assert holder is not None
    assert holder.id == "run_2_1"


async def test_a_plan_that_waits_for_its_first_answer_holds_no_target(store: Store) -> None:
    for run_id in ("run_1_1", "run_2_1"):
        await request_run(store, new_run(run_id))
        await store.write(moving(run_id, RunState.WAITING))
    waiting = await store.read(lambda conn: facts.plans_waiting(conn, TARGET, excluding="run_1_1"))
    assert waiting == ("run_2_1",)
    assert await store.read(lambda conn: facts.busy_with(conn, TARGET, excluding="")) == ""
    assert await store.read(lambda conn: facts.in_flight(conn, excluding="")) == 0
    assert await store.read(runs.held_targets) == []
    await store.write(lambda tx: work.reserve(tx, "run_1_1", 0, ["cluster"]))

    def acted(conn: Connection) -> datetime | None:
        return facts.last_action(conn, TARGET, "high-error-rate", excluding="run_2_1")

    assert await store.read(acted) is None
    await store.write(moving("run_1_1", RunState.ACTING))
    assert await store.read(acted) == START
    with pytest.raises(TargetBusy) as caught:
        await store.write(moving("run_2_1", RunState.ACTING))
    assert caught.value.where == "run_1_1"
    held = await store.read(lambda conn: runs.live_for_target(conn, TARGET))
    assert held is not None
    assert held.id == "run_1_1"


async def test_a_plan_for_a_later_step_holds_its_target_while_it_waits(store: Store) -> None:
    await request_run(store, new_run())
    await store.write(lambda tx: runs.set_step(tx, "run_1_1", new_run().step, 1))
    await store.write(moving("run_1_1", RunState.WAITING))
    assert await store.read(lambda conn: facts.busy_with(conn, TARGET, excluding="")) == "run_1_1"


@pytest.mark.parametrize(("kind", "busy"), [(Kind.HPA, "run_1_1"), (Kind.STATEFUL_SET, "")])
async def test_runs_that_write_one_object_wait_for_each_other_whatever_their_targets(
    store: Store, kind: Kind, busy: str
) -> None:
    """An autoscaler that two workloads share; a workload that stands behind both is neither's alone."""
    (action,) = step().actions
    writes = replace(action, object=replace(action.object, kind=kind, name="shared"))
    other = replace(writes, target=Target("rag7", Kind.DEPLOYMENT, "other"))
    await request_run(store, new_run(step=replace(step(), actions=(writes,))))
    await store.write(moving("run_1_1", RunState.ACTING))
    for excluded, found in (("", busy), ("run_1_1", "")):
        with_it = partial(
            work.busy_with_plan, target_key=other.target.key, actions=[other], excluding=excluded
        )
        assert await store.read(with_it) == found


async def test_of_many_replicas_one_gets_the_target(make_store: Stores) -> None:
    stores = [make_store(), make_store()]
    jobs = [s.write(requesting(new_run(f"run_{n}_{i}"))) for n in range(5) for i, s in enumerate(stores)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert sum(isinstance(r, Run) for r in results) == 1
    assert all(isinstance(r, Run | TargetBusy) for r in results), results


async def test_the_end_of_a_run_is_final_but_for_an_undo(store: Store) -> None:
    await request_run(store, new_run())
    assert await store.write(moving("run_1_1", RunState.ACTING))
    assert await store.write(moving("run_1_1", RunState.FIXED, "healthy"))
    assert not await store.write(moving("run_1_1", RunState.FIXED))
    run = await store.read(lambda conn: runs.get(conn, "run_1_1"))
    assert (run.ended_at, run.result) == (START, "healthy")
    with pytest.raises(Refused) as caught:
        await store.write(moving("run_1_1", RunState.ACTING))
    assert caught.value.code == "run_ended"
    assert await store.write(moving("run_1_1", RunState.UNDOING))
    assert await store.read(runs.live_targets) == [TARGET]
    assert await store.write(moving("run_1_1", RunState.UNDONE))
    assert await events(store, "run_1_1") == ["run.requested", *["run.moved"] * 4]


async def test_a_run_cannot_be_undone_while_another_holds_its_target(store: Store) -> None:
    await request_run(store, new_run())
    await store.write(moving("run_1_1", RunState.FIXED))
    await request_run(store, new_run("run_2_1"))
    with pytest.raises(TargetBusy):
        await store.write(moving("run_1_1", RunState.UNDOING))


async def test_the_end_of_a_run_releases_what_it_reserved(store: Store) -> None:
    await request_run(store, new_run())
    await store.write(lambda tx: work.reserve(tx, "run_1_1", 0, ["cluster"]))
    await store.write(moving("run_1_1", RunState.NOT_FIXED))
    left = await store.read(
        lambda conn: conn.exec_driver_sql("SELECT count(*) FROM ledger WHERE released_at IS NULL").scalar()
    )
    assert left == 0


@pytest.mark.parametrize("given", ["approved", "rejected"])
async def test_an_answer_counts_once(store: Store, given: runs.Answer) -> None:
    await request_run(store, new_run())
    assert await store.write(lambda tx: runs.answer(tx, "run_1_1", given, "ann"))
    assert not await store.write(lambda tx: runs.answer(tx, "run_1_1", "rejected", "bob"))
    run = await store.read(lambda conn: runs.get(conn, "run_1_1"))
    assert (run.answer, run.answered_by) == (given, "ann")
    told = {"approved": "approval.given", "rejected": "approval.rejected"}[given]
    assert await events(store, "run_1_1") == ["run.requested", told]


async def test_one_of_many_answers_at_the_same_time_counts(make_store: Stores) -> None:
    stores = [make_store(), make_store()]
    await request_run(stores[0], new_run())
    answered = await asyncio.gather(
        *(s.write(lambda tx: runs.answer(tx, "run_1_1", "approved", "ann")) for s in stores for _ in range(5))
    )
    assert answered.count(True) == 1


async def test_an_ended_run_takes_no_answer(store: Store) -> None:
    await request_run(store, new_run())
    await store.write(moving("run_1_1", RunState.EXPIRED))
    assert not await store.write(lambda tx: runs.answer(tx, "run_1_1", "approved", "ann"))


async def test_another_step_is_another_plan_and_needs_its_own_answer(store: Store) -> None:
    await request_run(store, new_run())
    await store.write(lambda tx: runs.answer(tx, "run_1_1", "approved", "ann"))
    until = START + timedelta(hours=2)
    await store.write(lambda tx: runs.set_step(tx, "run_1_1", step("scale", 8), 1, expires_at=until))
    run = await store.read(lambda conn: runs.get(conn, "run_1_1"))
    assert (run.step.name, run.step_index, run.plan_hash) == ("scale", 1, step("scale", 8).hash)
    assert (run.answer, run.answered_by, run.expires_at) == ("", "", until)


async def test_a_run_requested_in_an_end_state_is_a_mere_record(store: Store) -> None:
    await request_run(store, new_run())
    record = await store.write(requesting(new_run("run_2_1", state=RunState.ABANDONED)))
    assert record.ended_at == START
    assert not await store.write(moving("run_2_1", RunState.ABANDONED, "out of scope"))
    assert (await store.read(lambda conn: runs.get(conn, "run_2_1"))).result == "out of scope"


async def test_runs_are_paged_from_new_to_old_and_filtered(store: Store) -> None:
    for n in range(4):
        await request_run(store, new_run(f"run_{n}_1", f"inc_{n % 2}", f"rag7/Deployment/app{n}"))
    await store.write(moving("run_2_1", RunState.FIXED))

    async def ids(*args: object) -> list[str]:
        return [r.id for r in await store.read(lambda conn: runs.page(conn, *args))]  # type: ignore[arg-type]

    assert await ids(None, 2) == ["run_3_1", "run_2_1"]
    assert await ids("run_2_1", 9) == ["run_1_1", "run_0_1"]
    assert await ids(None, 9, "inc_0") == ["run_2_1", "run_0_1"]
    assert await ids(None, 9, None, RunState.FIXED) == ["run_2_1"]


async def test_the_first_intent_and_the_first_outcome_of_a_step_stand(store: Store, clock: HandClock) -> None:
    first = await store.write(lambda tx: runs.begin_entry(tx, "run_1_1", "act", {"n": 1}))
    clock.forward(seconds=5)
    again = await store.write(lambda tx: runs.begin_entry(tx, "run_1_1", "act", {"n": 2}))
    assert (first.resumed, again.resumed) == (False, True)
    assert (again.intent, again.begun_at, again.outcome) == ({"n": 1}, START, None)
    ended = await store.write(lambda tx: runs.end_entry(tx, "run_1_1", "act", {"ok": True}))
    later = await store.write(lambda tx: runs.end_entry(tx, "run_1_1", "act", {"ok": False}))
    assert ended == later
    assert (later.outcome, later.ended_at) == ({"ok": True}, clock.now())
    await store.write(lambda tx: runs.begin_entry(tx, "run_1_1", "b", {}))
    assert [s.name for s in await store.read(lambda conn: runs.entries(conn, "run_1_1"))] == ["act", "b"]


async def test_what_does_not_exist_is_missing(store: Store) -> None:
    with pytest.raises(Missing):
        await store.read(lambda conn: runs.get(conn, "run_none"))
    with pytest.raises(Missing):
        await store.write(moving("run_none", RunState.FIXED))
    with pytest.raises(Missing):
        await store.write(lambda tx: runs.end_entry(tx, "run_none", "act", {}))
