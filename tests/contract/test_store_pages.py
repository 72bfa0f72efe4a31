"""Everything of an incident is found however many pages of the audit trail its life spans."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store import audit, incidents, retention, trail
from app.store.audit import PAGE
from app.store.database import Store
from app.store.tx import Tx
from tests.contract.stores import HandClock, audit_kinds, delivery, firing, open_incident, resolved


def turn(tx: Tx) -> None:
    """Fill the present page and the next with what is about nobody."""
    for _ in range(PAGE + 1):
        tx.audit(EventKind.MEASURED)


async def firing_count(store: Store, incident_id: str) -> int:
    """How many fire."""
    return await store.read(lambda conn: incidents.firing_count(conn, incident_id))


async def test_an_old_incident_has_its_alerts_and_events_of_all_pages(store: Store) -> None:
    incident_id = await open_incident(store, "f0")
    for n in range(1, 4):
        await store.write(turn)
        receipt = await store.ingest(delivery(firing(f"f{n}")))
        assert receipt.incident_ids == (incident_id,)
    await store.ingest(delivery(resolved("f0")))
    assert await store.read(audit.current_segment) == 3
    assert await firing_count(store, incident_id) == 3
    stored = await store.read(lambda conn: incidents.alerts(conn, incident_id, 10))
    assert [a.fingerprint for a in stored] == ["f1", "f2", "f3", "f0"]
    assert await audit_kinds(store, incident_id) == [
        "incident.opened",
        *["alert.fired"] * 4,
        "alert.resolved",
    ]
    assert (await store.read(trail.verify)).ok


@pytest.mark.parametrize("older_first", [True, False], ids=["into the older", "into the younger"])
async def test_a_merge_brings_the_alerts_of_any_page(store: Store, *, older_first: bool) -> None:
    older = await open_incident(store, "f1")
    await store.write(turn)
    younger = await open_incident(store, "f2", "Other")
    into, merged = (older, younger) if older_first else (younger, older)
    await store.write(lambda tx: incidents.merge(tx, merged, into))
    assert await firing_count(store, into) == 2
    assert await firing_count(store, merged) == 0


async def test_a_closed_incident_is_looked_for_only_where_it_lived(store: Store, clock: HandClock) -> None:
    incident_id = await open_incident(store)
    await store.write(turn)
    await store.ingest(delivery(firing("f2")))
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    await store.write(turn)
    assert await firing_count(store, incident_id) == 2
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.STUCK, reopen=True))
    await store.ingest(delivery(firing("f3")))
    assert await firing_count(store, incident_id) == 3
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    clock.forward(days=31)
    pruned = await store.write(lambda tx: retention.prune(tx, tx.now - timedelta(days=30), 100))
    assert (pruned.incidents, pruned.episodes) == (1, 3)


async def test_an_alert_that_fires_again_is_found_in_its_new_incident(store: Store, clock: HandClock) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    await store.write(turn)
    clock.forward(hours=1)
    (again,) = (await store.ingest(delivery(firing(), at=clock.now()))).incident_ids
    assert again != incident_id
    assert await firing_count(store, again) == 1


async def test_the_trail_still_tells_an_incident_that_was_pruned(store: Store, clock: HandClock) -> None:
    """An older open incident keeps the trail; the pruned one is explained from it alone."""
    await open_incident(store, "f1", "StaysOpen")
    await store.write(turn)
    gone = await open_incident(store, "f2", "Goes")
    await store.write(lambda tx: incidents.move(tx, gone, IncidentState.FIXED))
    clock.forward(days=31)
    await store.write(lambda tx: retention.prune(tx, tx.now - timedelta(days=30), 100))
    assert await audit_kinds(store, gone) == ["incident.opened", "alert.fired", "incident.moved"]
