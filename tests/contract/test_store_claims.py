"""Claims of a replica that is gone are given back at once: the same on SQLite and Postgres."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from app.store import incidents, outbox, work
from app.store.database import Store
from app.store.tx import MessageState, Tx
from tests.contract.stores import HandClock, open_incident

LEASE = timedelta(minutes=5)


async def _claimed(store: Store, clock: HandClock, replica: str) -> str:
    """This replica decides an incident and sends a message when it dies."""
    incident = await open_incident(store, replica, f"AlertOf{replica}")

    def claim(tx: Tx) -> None:
        tx.put(f"message of {replica}", incident, "fired", {})
        outbox.claim(tx, clock.now(), 10, f"{replica}/boot_1", LEASE)
        incidents.claim_due(tx, replica, LEASE, 10)

    await store.write(claim)
    return incident


async def test_holders_are_the_other_replicas_that_hold_something(store: Store, clock: HandClock) -> None:
    def ask(conn: Connection) -> tuple[str, ...]:
        return work.claim_holders(conn, "replica-2")

    assert await store.read(ask) == ()
    for replica in ("replica-1", "replica-0", "replica-2"):
        await _claimed(store, clock, replica)
    assert await store.read(ask) == ("replica-0", "replica-1")


async def test_what_a_replica_held_is_due_at_once_and_nobody_elses(store: Store, clock: HandClock) -> None:
    gone = await _claimed(store, clock, "replica_1")
    kept = await _claimed(store, clock, "replicas1")  # like the other name to whoever takes _ for any letter
    await store.write(lambda tx: work.free_claims(tx, "replica_1"))
    now = clock.now()
    unsure = await store.read(lambda conn: outbox.unsure(conn, now))
    assert [(m.id, m.state) for m in unsure] == [("message of replica_1", MessageState.SENDING)]
    taken = await store.write(lambda tx: incidents.claim_due(tx, "replica-2", LEASE, 10))
    assert [i.id for i in taken] == [gone]
    assert kept != gone
