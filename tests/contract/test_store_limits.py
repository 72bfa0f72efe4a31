"""Ledger, decisions, pauses and samples: what decisions count on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from app.domain.errors import BadInput
from app.domain.outcome import IncidentState, RunState
from app.domain.ports import Sample
from app.store import audit, facts, incidents, people, runs, work
from app.store.database import Store
from app.store.tx import Tx
from tests.contract.stores import (
    START,
    TARGET,
    HandClock,
    Stores,
    audit_kinds,
    new_run,
    open_incident,
    request_run,
)

MINUTE = timedelta(minutes=1)


def reserving(run_id: str, index: int, *scopes: str) -> Callable[[Tx], None]:
    """A function that reserves."""
    return lambda tx: work.reserve(tx, run_id, index, scopes)


async def spent(store: Store, scope: str, minutes: int, clock: HandClock) -> int:
    """Spent in the last minutes."""
    since = clock.now() - minutes * MINUTE
    return await store.read(lambda conn: work.spent_since(conn, scope, since))


async def test_a_repeated_reservation_reserves_nothing_more(store: Store, clock: HandClock) -> None:
    for _ in range(3):
        await store.write(reserving("run_1_1", 0, "cluster", "target:a", "cluster"))
    await store.write(reserving("run_1_1", 1, "cluster"))
    assert await spent(store, "cluster", 5, clock) == 2
    assert await spent(store, "target:a", 5, clock) == 1
    assert await spent(store, "target:b", 5, clock) == 0


async def test_what_was_given_back_does_not_count_and_what_was_released_does(
    store: Store, clock: HandClock
) -> None:
    await store.write(reserving("run_1_1", 0, "cluster"))
    await store.write(reserving("run_1_1", 1, "cluster"))
    await store.write(lambda tx: work.give_back(tx, "run_1_1", 1))
    await store.write(lambda tx: work.release_reservations(tx, "run_1_1"))
    assert await spent(store, "cluster", 5, clock) == 1


async def test_a_window_ends_and_tells_when_one_more_fits(store: Store, clock: HandClock) -> None:
    for n in range(3):
        await store.write(reserving(f"run_{n}_1", 0, "cluster"))
        clock.forward(minutes=10)
    since = clock.now() - timedelta(minutes=25)

    def count(scope: str, run_id: str = "") -> Callable[[Connection], tuple[int, datetime | None]]:
        return lambda conn: facts.spent(conn, scope, since, excluding=(run_id, 0))

    assert await store.read(count("cluster")) == (2, START + 10 * MINUTE)
    assert await store.read(count("cluster", "run_1_1")) == (1, START + 20 * MINUTE)
    assert await store.read(count("rule:x")) == (0, None)
    assert await spent(store, "cluster", 25, clock) == 2


async def test_counting_and_reserving_under_the_lock_never_goes_over_budget(make_store: Stores) -> None:
    stores = [make_store(), make_store()]
    budget = 3

    def take(run_id: str) -> Callable[[Tx], bool]:
        def fn(tx: Tx) -> bool:
            work.lock_ledger(tx)
            if work.spent_since(tx.conn, "cluster", START - MINUTE) >= budget:
                return False
            work.reserve(tx, run_id, 0, ["cluster"])
            return True

        return fn

    taken = await asyncio.gather(
        *(s.write(take(f"run_{i}_{n}")) for n in range(8) for i, s in enumerate(stores))
    )
    assert taken.count(True) == budget


async def test_the_last_action_is_the_end_of_the_last_run_that_spent(store: Store, clock: HandClock) -> None:
    def last(remediation: str = "high-error-rate", excluding: str = "") -> Callable[..., object]:
        return lambda conn: facts.last_action(conn, TARGET, remediation, excluding=excluding)

    assert await store.read(last()) is None
    await request_run(store, new_run())
    await store.write(reserving("run_1_1", 0, "cluster"))
    assert await store.read(last()) == START
    clock.forward(minutes=7)
    await store.write(lambda tx: runs.move(tx, "run_1_1", RunState.FIXED))
    assert await store.read(last()) == START + 7 * MINUTE
    clock.forward(minutes=7)
    await request_run(store, new_run("run_2_1"))
    await store.write(reserving("run_2_1", 0, "cluster"))
    await store.write(lambda tx: work.give_back(tx, "run_2_1", 0))
    assert await store.read(last()) == START + 7 * MINUTE
    assert await store.read(last("other")) is None
    assert await store.read(last(excluding="run_1_1")) is None


async def test_recent_results_are_newest_first_without_dry_runs(store: Store, clock: HandClock) -> None:
    for n, state in enumerate((RunState.FIXED, RunState.NOT_FIXED, RunState.UNDONE)):
        await request_run(store, new_run(f"run_{n}_1", dry_run=state is RunState.NOT_FIXED))
        clock.forward(minutes=1)
        await store.write(lambda tx, n=n, state=state: runs.move(tx, f"run_{n}_1", state))  # type: ignore[misc]

    def last(most: int, excluding: str = "") -> Callable[[Connection], list[tuple[RunState, datetime]]]:
        return lambda conn: facts.results(conn, TARGET, "high-error-rate", most, excluding=excluding)

    undone, fixed = (RunState.UNDONE, START + 3 * MINUTE), (RunState.FIXED, START + MINUTE)
    assert await store.read(last(5)) == [undone, fixed]
    assert await store.read(last(1)) == [undone]
    assert await store.read(last(5, "run_2_1")) == [fixed]


async def test_targets_in_flight_are_those_of_live_runs(store: Store) -> None:
    await request_run(store, new_run("run_1_1", target="rag7/Deployment/a"))
    await request_run(store, new_run("run_2_1", target="rag7/Deployment/b"))

    def others(target: str = "") -> Callable[[Connection], int]:
        return lambda conn: facts.in_flight(conn, excluding=target)

    assert await store.read(others()) == 2
    assert await store.read(others("rag7/Deployment/b")) == 1
    await store.write(lambda tx: runs.move(tx, "run_1_1", RunState.FIXED))
    assert await store.read(others()) == 1


async def test_a_decision_is_kept_once_with_its_whole_trace(store: Store, clock: HandClock) -> None:
    incident_id = await open_incident(store)
    body = {"verdict": "deny", "gates": [{"gate": "window"}]}
    assert await store.write(lambda tx: work.put_decision(tx, "d1", incident_id, None, body))
    assert not await store.write(
        lambda tx: work.put_decision(tx, "d1", incident_id, None, {"verdict": "allow"})
    )
    clock.forward(minutes=1)
    await store.write(lambda tx: work.put_decision(tx, "d2", incident_id, "run_1_1", {"verdict": "allow"}))
    latest = await store.read(lambda conn: work.latest_decision(conn, incident_id))
    assert latest is not None
    assert (latest.id, latest.run_id, latest.at) == ("d2", "run_1_1", clock.now())
    listed = await store.read(lambda conn: work.decisions_of(conn, incident_id))
    assert [(d.id, d.body) for d in listed] == [("d2", {"verdict": "allow"}), ("d1", body)]
    assert (await audit_kinds(store, incident_id)).count("incident.decided") == 2
    assert (await store.read(lambda conn: incidents.get(conn, incident_id))).decided_at == clock.now()
    assert await store.read(lambda conn: work.latest_decision(conn, "inc_none")) is None


async def test_a_pause_stands_until_it_is_lifted_or_over(store: Store, clock: HandClock) -> None:
    await store.write(lambda tx: people.pause(tx, "all", "release", "ann"))
    await store.write(lambda tx: people.pause(tx, "namespace:rag7", "test", "bob", START + MINUTE))

    async def active() -> list[str]:
        return [p.scope for p in await store.read(lambda conn: people.pauses_in_force(conn, clock.now()))]

    assert await active() == ["all", "namespace:rag7"]
    clock.forward(minutes=1)
    assert await active() == ["all"]
    assert not await store.write(lambda tx: people.lift_pause(tx, "namespace:rag7", "ann"))
    assert await store.write(lambda tx: people.lift_pause(tx, "all", "bob"))
    assert not await store.write(lambda tx: people.lift_pause(tx, "all", "bob"))
    assert await active() == []
    events = await store.read(lambda conn: audit.page(conn, 0, 10))
    assert [(e.kind.value, e.actor) for e in events] == [
        ("pause.set", "ann"),
        ("pause.set", "bob"),
        ("pause.lifted", "bob"),
    ]


async def test_a_new_pause_of_a_scope_replaces_the_old_one(store: Store, clock: HandClock) -> None:
    for reason in ("first", "second"):
        await store.write(lambda tx, reason=reason: people.pause(tx, "rule:x", reason, "ann"))  # type: ignore[misc]
    found = await store.read(lambda conn: people.pauses_in_force(conn, clock.now()))
    assert [p.reason for p in found] == ["second"]


async def test_lifting_a_pause_has_refused_incidents_looked_at_again(store: Store, clock: HandClock) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.claim_due(tx, "me", MINUTE, 1))
    await store.write(
        lambda tx: incidents.move(tx, incident_id, IncidentState.REFUSED, due_at=START + 60 * MINUTE)
    )
    await store.write(lambda tx: people.pause(tx, "all", "release", "ann"))
    clock.forward(minutes=1)
    await store.write(lambda tx: people.lift_pause(tx, "all", "ann"))
    assert (await store.read(lambda conn: incidents.get(conn, incident_id))).due_at == clock.now()


async def test_a_pause_lifted_while_an_incident_is_being_decided_has_it_looked_at_once_more(
    store: Store, clock: HandClock
) -> None:
    """It may have been measured under the pause."""
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.REFUSED, due_at=START))
    await store.write(lambda tx: people.pause(tx, "all", "release", "ann"))
    assert len(await store.write(lambda tx: incidents.claim_due(tx, "me", 5 * MINUTE, 1))) == 1
    clock.forward(minutes=1)
    await store.write(lambda tx: people.lift_pause(tx, "all", "ann"))
    await store.write(lambda tx: incidents.schedule(tx, incident_id, START + 60 * MINUTE))
    assert (await store.read(lambda conn: incidents.get(conn, incident_id))).due_at == clock.now()


@pytest.mark.parametrize("scope", ["", "everything", "namespace:", "pod:x"])
async def test_a_pause_of_nothing_known_is_refused(store: Store, scope: str) -> None:
    with pytest.raises(BadInput):
        await store.write(lambda tx: people.pause(tx, scope, "r", "ann"))


async def test_samples_are_kept_once_and_read_back_by_pod(store: Store) -> None:
    taken = [("a", START, 100), ("b", START, 5), ("a", START + MINUTE, 120)]
    assert await store.write(lambda tx: facts.put_samples(tx, TARGET, taken)) == 3
    assert (
        await store.write(lambda tx: facts.put_samples(tx, TARGET, [*taken, ("a", START + 2 * MINUTE, 130)]))
        == 1
    )
    assert await store.write(lambda tx: facts.put_samples(tx, TARGET, [])) == 0
    found = await store.read(lambda conn: facts.samples_of(conn, TARGET, START + MINUTE))
    assert found == {"a": [Sample(START + MINUTE, 120.0), Sample(START + 2 * MINUTE, 130.0)]}
    assert await store.read(lambda conn: facts.samples_of(conn, "rag7/Deployment/none", START)) == {}
