"""Answers of several people, and clicks that were taken: the same on SQLite and Postgres."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.errors import BadInput
from app.domain.outcome import RunState
from app.store import approvals, runs
from app.store.database import Store
from app.store.runs import Run
from app.store.tx import Tx
from tests.contract.stores import new_run, step


async def waiting(store: Store) -> Run:
    """A run whose question stands."""
    asked = new_run()

    def request(tx: Tx) -> Run:
        runs.request(tx, asked)
        runs.move(tx, asked.id, RunState.WAITING)
        return runs.get(tx.conn, asked.id)

    return await store.write(request)


async def test_answers_are_numbered_in_the_order_they_came(store: Store) -> None:
    run = await waiting(store)
    for by, word in (("ana", "approved"), ("ben", "snoozed"), ("eve", "approved")):
        await store.write(lambda tx, by=by, word=word: approvals.give(tx, runs.hold(tx, run.id), word, by))  # type: ignore[misc]
    found = await store.read(lambda conn: approvals.given(conn, run, "approved"))
    assert [(g.given_by, g.number, g.plan_hash) for g in found] == [
        ("ana", 1, run.plan_hash),
        ("eve", 3, run.plan_hash),
    ]


async def test_answers_at_the_same_moment_get_different_numbers(store: Store) -> None:
    run = await waiting(store)
    numbers = await asyncio.gather(
        *(
            store.write(lambda tx, n=n: approvals.give(tx, runs.hold(tx, run.id), "approved", f"p{n}"))  # type: ignore[misc]
            for n in range(8)
        )
    )
    assert sorted(numbers) == list(range(1, 9))


async def test_an_answer_to_one_step_is_none_to_the_next(store: Store) -> None:
    run = await waiting(store)
    await store.write(lambda tx: approvals.give(tx, run, "approved", "ana"))
    await store.write(lambda tx: runs.set_step(tx, run.id, step(), 1))
    moved = await store.read(lambda conn: runs.get(conn, run.id))
    assert await store.read(lambda conn: approvals.given(conn, moved, "approved")) == []


async def test_several_names_stand_in_the_run_and_the_last_one_in_the_event(store: Store) -> None:
    run = await waiting(store)
    assert await store.write(lambda tx: runs.answer(tx, run.id, "approved", "eve", named="ana and eve"))
    assert (await store.read(lambda conn: runs.get(conn, run.id))).answered_by == "ana and eve"


async def test_a_click_is_taken_once_whoever_delivers_it(store: Store) -> None:
    click = "1.5/U0ANA/C1/1.0/approve"
    taken = await asyncio.gather(
        *(store.write(lambda tx: approvals.take(tx, click)) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(t).__name__ for t in taken) == ["NoneType", *["Repeated"] * 4]
    await store.write(lambda tx: approvals.take(tx, "1.6/U0ANA/C1/1.0/approve"))


async def test_a_click_whose_transaction_is_not_committed_was_not_taken(store: Store) -> None:
    def gone_wrong(tx: Tx) -> None:
        approvals.take(tx, "1.5/U0ANA/C1/1.0/approve")
        raise BadInput("the rest of it could not be done")

    with pytest.raises(BadInput):
        await store.write(gone_wrong)
    await store.write(lambda tx: approvals.take(tx, "1.5/U0ANA/C1/1.0/approve"))


async def test_what_came_without_a_click_is_never_a_repetition(store: Store) -> None:
    for _ in range(2):
        await store.write(lambda tx: approvals.take(tx, ""))
