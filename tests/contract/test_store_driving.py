"""Who drives a run: claimed for one look at a time, found when its workflow is lost, given to another one once."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from sqlalchemy import BigInteger

from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.workflows import TEMPORARY_ENTRY, first_workflow, next_workflow, run_of
from app.store import bulk, driving, escalations, facts, moments, people, runs, schedules, work
from app.store.database import Store
from app.store.driving import Changes
from app.store.runs import Run
from app.store.schema import metadata
from app.store.tx import Tx
from tests.contract.stores import START, TARGET, HandClock, new_run, request_run
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


# What the clock being set back does to what is stored: by the list of `moments`.

NUMBERS = {
    "audit.page",
    "audit.seq",
    "audit_chain.anchor_seq",
    "audit_chain.seq",
    "audit_gaps.first_seq",
    "audit_gaps.last_seq",
    "episodes.page",
    "incidents.last_page",
    "incidents.page",
    "outbox.seq",
    "samples.memory_bytes",
}
"""Columns of big numbers that are no times."""


def test_the_list_says_of_each_stored_time_whether_a_clock_that_is_set_back_moves_it() -> None:
    """A new column is put into it, or is a number."""
    assert people.acknowledgements.metadata is schedules.schedules.metadata is metadata
    columns = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.c
        if isinstance(column.type, BigInteger)
    }
    moved = {str(column) for column, _ in (*moments.DUE, *moments.COUNTED)}
    moved |= {name for name in moments.BESIDE if ":" not in name}
    kept = [name for names in moments.KEPT.values() for name in names if ":" not in name]
    assert len(kept) == len(set(kept))
    assert not moved & {*kept}
    assert moved | {*kept} | NUMBERS == columns


async def test_memory_samples_follow_a_clock_that_is_set_back(store: Store, clock: HandClock) -> None:
    """As a series: none is still to come, none is lost, and what was measured every ten minutes still was."""
    ten = timedelta(minutes=10)
    taken = [("p", START - number * ten, 100 - number) for number in range(7)]
    await store.write(lambda tx: facts.put_samples(tx, "t", taken))
    clock.time -= timedelta(hours=2)
    await store.write(lambda tx: moments.set_back(tx, timedelta(hours=2)))
    found = await store.read(lambda conn: facts.samples_of(conn, "t", clock.now() - timedelta(hours=6)))
    wanted = [(clock.now() - number * ten, 100.0 - number) for number in reversed(range(7))]
    assert [(sample.at, sample.value) for sample in found["p"]] == wanted


async def test_a_sample_that_would_come_onto_another_is_that_one(store: Store, clock: HandClock) -> None:
    await store.write(lambda tx: facts.put_samples(tx, "t", [("p", START, 1)]))
    clock.time -= timedelta(hours=2)
    await store.write(lambda tx: facts.put_samples(tx, "t", [("p", clock.now(), 2)]))
    await store.write(lambda tx: moments.set_back(tx, timedelta(hours=2)))
    found = await store.read(lambda conn: facts.samples_of(conn, "t", clock.now() - timedelta(hours=6)))
    assert [(sample.at, sample.value) for sample in found["p"]] == [(clock.now(), 2.0)]


def _decide(tx: Tx, number: int) -> None:
    work.put_decision(tx, f"inc_1/{9 - number}", "inc_1", None, {"n": number})


async def test_the_newest_decision_is_the_one_that_was_written_last(store: Store, clock: HandClock) -> None:
    """One by one, and of many at once."""
    for number in (1, 2, 3):
        clock.time -= timedelta(hours=number)
        await store.write(partial(_decide, number=number))
    found = await store.read(lambda conn: work.decisions_of(conn, "inc_1"))
    assert [decision.body["n"] for decision in found] == [3, 2, 1]
    assert await store.read(lambda conn: bulk.last_decisions(conn, ["inc_1"])) == {"inc_1": (3, {"n": 3})}


async def test_when_people_were_asked_and_alerts_could_be_heard_follows_the_clock(
    store: Store, clock: HandClock
) -> None:
    """And the spans of time in which alerts could be heard are none of a time to come."""
    hour = timedelta(hours=1)
    await store.write(lambda tx: escalations.begin(tx, "inc_1", "inc_1", {}))
    walk = await store.write(lambda tx: escalations.of_subject(tx, "inc_1"))
    assert walk is not None
    await store.write(lambda tx: escalations.ask(tx, walk, "first", page_key="", due_at=None))
    for minutes in range(0, 180, 5):
        at = START - 2 * hour + timedelta(minutes=minutes)
        await store.write(lambda tx, a=at: facts.note_watched(tx, a, hour))  # type: ignore[misc]
    clock.time -= hour
    await store.write(lambda tx: moments.set_back(tx, hour))
    after = await store.write(lambda tx: escalations.of_subject(tx, "inc_1"))
    assert after is not None
    assert [asked.at for asked in after.asked] == [START - hour]
    assert await store.read(facts.watched) == [(START - 2 * hour, START - hour)]


async def test_of_two_temporary_changes_the_later_is_told_by_the_trail(
    store: Store, clock: HandClock
) -> None:
    """Each goes back to what it found, also where the clock was set back between the two."""
    for run_id in ("run_1_1", "run_2_1"):
        await request_run(store, new_run(run_id))
        await store.write(moving(run_id, RunState.FIXED))
        await store.write(partial(_grant, run_id=run_id))
        clock.time -= timedelta(hours=2)
    found = [
        await store.read(partial(facts.later_temporary, target_key=TARGET, run_id=r, entry=TEMPORARY_ENTRY))
        for r in ("run_1_1", "run_2_1")
    ]
    assert found == ["run_2_1", ""]


def _grant(tx: Tx, run_id: str) -> None:
    work.begin_entry(tx, run_id, TEMPORARY_ENTRY, {"entry": "temporary"})
    tx.audit(EventKind.TEMPORARY_GRANTED, run_id=run_id)
