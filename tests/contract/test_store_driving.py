"""Who drives a run: claimed for one look at a time, found when its workflow is lost, given to another one once."""

from __future__ import annotations

from datetime import timedelta

from app.domain.outcome import RunState
from app.domain.workflows import first_workflow, next_workflow, run_of
from app.store import driving, runs, work
from app.store.database import Store
from app.store.driving import Changes
from app.store.runs import Run
from app.store.tx import Tx
from tests.contract.stores import START, HandClock, new_run, request_run
from tests.contract.test_store_runs import moving

LEASE = timedelta(minutes=3)
WORKFLOW = "run_1_1~1"


async def take(store: Store, workflow: str = WORKFLOW, owner: str = "a") -> Run | str:
    return await store.write(lambda tx: driving.take(tx, workflow, owner, LEASE))


async def keep(store: Store, seconds: float | None = 0.0) -> None:
    def write(tx: Tx) -> None:
        due = None if seconds is None else tx.now + timedelta(seconds=seconds)
        driving.keep(tx, "run_1_1", Changes(due, "something", 2, {"action": 1}))

    await store.write(write)


def test_a_workflow_names_its_run_and_the_next_one_of_it() -> None:
    first = first_workflow("run_a_1")
    assert (run_of(first), run_of(next_workflow(first))) == ("run_a_1", "run_a_1")
    assert next_workflow(next_workflow(first)) == "run_a_1~3"


async def test_a_run_is_claimed_by_one_replica_until_its_claim_ends(store: Store, clock: HandClock) -> None:
    await request_run(store, new_run())
    assert isinstance(await take(store), Run)
    assert await take(store, owner="b") == "held"
    assert isinstance(await take(store), Run)  # the same replica, whose look was cut off
    clock.forward(seconds=181)
    assert isinstance(await take(store, owner="b"), Run)


async def test_what_a_look_left_is_in_the_row_and_ends_its_claim(store: Store) -> None:
    await request_run(store, new_run())
    await take(store)
    await keep(store, 10)
    run = await store.read(lambda conn: runs.get(conn, "run_1_1"))
    assert (run.due_at, run.waits_for, run.attempt) == (START + timedelta(seconds=10), "something", 2)
    assert (run.life, run.claimed_by) == ({"action": 1}, None)


async def test_a_run_that_waits_for_nothing_is_over_for_its_workflow(store: Store) -> None:
    await request_run(store, new_run())
    await keep(store, None)
    assert await take(store) == "over"
    assert await take(store, "run_9_1~1") == "over"


async def test_an_overdue_run_is_found_and_given_to_one_new_workflow(store: Store, clock: HandClock) -> None:
    await request_run(store, new_run())
    assert await store.read(lambda conn: driving.overdue(conn, START - timedelta(seconds=1), 10)) == []
    (run,) = await store.read(lambda conn: driving.overdue(conn, START, 10))
    due = START + timedelta(seconds=30)
    given = [await store.write(lambda tx: driving.hand_over(tx, run, due)) for _ in range(2)]
    assert given == ["run_1_1~2", None]
    assert await take(store) == "over"
    assert isinstance(await take(store, "run_1_1~2"), Run)
    clock.forward(seconds=60)
    assert (
        await store.read(lambda conn: driving.overdue(conn, clock.now(), 10)) == []
    )  # somebody is at work on it


async def test_what_a_dead_replica_held_is_due_at_once(store: Store, clock: HandClock) -> None:
    await request_run(store, new_run())
    await take(store)
    clock.forward(seconds=1)
    assert await store.read(lambda conn: work.claim_holders(conn, "b")) == ("a",)
    await store.write(lambda tx: work.free_claims(tx, "a"))
    (run,) = await store.read(lambda conn: driving.overdue(conn, clock.now(), 10))
    assert (run.due_at, run.claimed_by) == (clock.now(), None)


async def test_waking_makes_a_live_run_due_and_leaves_an_ended_one(store: Store, clock: HandClock) -> None:
    await request_run(store, new_run())
    await keep(store, 1_000)
    clock.forward(seconds=1)
    await store.write(lambda tx: driving.wake(tx, "run_1_1"))
    assert (await store.read(lambda conn: runs.get(conn, "run_1_1"))).due_at == clock.now()
    await store.write(moving("run_1_1", RunState.FIXED))
    await store.write(lambda tx: driving.wake(tx, "run_1_1"))
    assert (await store.read(lambda conn: runs.get(conn, "run_1_1"))).due_at is None


async def test_an_ended_run_may_begin_again_under_a_new_workflow(store: Store) -> None:
    await request_run(store, new_run())
    await store.write(moving("run_1_1", RunState.FIXED))
    run = await store.read(lambda conn: runs.get(conn, "run_1_1"))
    assert await store.write(lambda tx: driving.start_again(tx, run)) == "run_1_1~2"
    assert isinstance(await take(store, "run_1_1~2"), Run)
