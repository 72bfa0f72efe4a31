"""Escalations in the store: rounds, what they are about, and what has to be looked at: the same on SQLite and Postgres."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from app.domain.outcome import IncidentState
from app.flow.calling import calls
from app.flow.notifying import merging
from app.flow.notifying.record import call
from app.notify.timeline import Escalation
from app.store import escalations, incidents, people, retention
from app.store.database import Store
from app.store.escalations import StoredEscalation
from app.store.tx import Tx
from tests.contract.stores import HandClock, Stores, open_incident


async def called(store: Store, name: str) -> str:
    """An incident for which a person is called, with its first step asked and its page queued."""
    incident_id = await open_incident(store, f"f{name}", name)

    def write(tx: Tx) -> None:
        call(tx, incident_id, Escalation("nothing helped"), once="1")
        walk = escalations.of_subject(tx, incident_id)
        assert walk is not None
        escalations.follow(tx, walk, severity="warning", joined=False)
        escalations.renew(tx, walk.id, "one", [], None)
        escalations.ask(tx, walk, "on-call", page_key=incident_id, due_at=tx.now + timedelta(minutes=15))
        calls.put_page(tx, walk, incident_id, calls.Do.TRIGGER)

    await store.write(write)
    return incident_id


async def rounds(store: Store, incident_id: str) -> list[StoredEscalation]:
    return await store.read(lambda conn: escalations.of_incident(conn, incident_id))


async def waiting(store: Store, clock: HandClock, policy: str = "one") -> list[str]:
    found = await store.read(lambda conn: escalations.waiting(conn, clock.now(), policy, 50))
    return [walk.subject for walk in found]


async def test_what_has_to_be_looked_at(store: Store, clock: HandClock) -> None:
    incident_id = await called(store, "A")
    assert await waiting(store, clock) == []
    assert await waiting(store, clock, "two") == [incident_id], "the policy changed and nobody has answered"
    clock.forward(minutes=15)
    assert await waiting(store, clock) == [incident_id], "its next step is due"
    clock.forward(minutes=-10)
    await store.write(lambda tx: escalations.joined(tx, [incident_id, "inc_other"]))
    assert await waiting(store, clock) == [incident_id], "alerts joined"
    for state in escalations.BUSY:
        await store.write(lambda tx, s=state: incidents.move(tx, incident_id, s))  # type: ignore[misc]
        assert await waiting(store, clock, "two") == []
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.RESOLVED))
    assert await waiting(store, clock) == [incident_id], "it is over"


async def test_a_round_is_held_by_one_at_a_time_with_what_it_is_about(make_store: Stores) -> None:
    """Also where what it is about stands in a row of its own."""
    store, other = make_store(), make_store()
    incident_id = await called(store, "A")
    (walk,) = await rounds(store, incident_id)
    assert (walk.severity, walk.joined, walk.merged) == ("warning", False, ())

    def add(tx: Tx) -> None:
        held = escalations.hold(tx, walk.id)
        assert held is not None
        escalations.follow(tx, held, merged=(*held.merged, f"inc_{len(held.merged)}"))

    await asyncio.gather(*(one.write(add) for one in (store, other) * 5))
    (walk,) = await rounds(store, incident_id)
    assert walk.merged == tuple(f"inc_{n}" for n in range(10))


async def test_two_that_become_one_keep_one_round_and_all_is_removed_with_them(
    store: Store, clock: HandClock
) -> None:
    gone, into = await called(store, "A"), await called(store, "B")
    await store.write(lambda tx: people.give_incident(tx, into, "kim", "API", "critical"))
    (before,) = await rounds(store, gone)
    await store.write(lambda tx: merging.merge(tx, gone, into))
    assert [r.over_at is None for r in await rounds(store, gone)] == [False]
    (walk,) = [r for r in await rounds(store, into) if r.over_at is None]
    assert walk.merged == (gone,)
    assert walk.due_at == before.due_at
    for incident_id in (into, gone):
        await store.write(lambda tx, i=incident_id: incidents.move(tx, i, IncidentState.RESOLVED))  # type: ignore[misc]
    clock.forward(days=400)
    count = escalations.escalation_scopes.select()
    await store.write(lambda tx: [retention.prune(tx, tx.now, 100) for _ in range(3)])
    left = await store.read(lambda conn: conn.execute(count).all())
    known = [r for i in (gone, into) for r in await rounds(store, i)]
    assert len(left) == len(known), "no scope outlives its round"
