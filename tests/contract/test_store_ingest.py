"""What a delivery becomes: episodes, incidents, audit events; whoever repeats, mixes or reorders it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.alert import Alert, AlertStatus, RejectedAlert
from app.domain.errors import Refused
from app.domain.json import canonical
from app.domain.outcome import IncidentState
from app.store import audit, incidents, trail
from app.store.database import Store
from app.store.ingest import LATE
from tests.contract.stores import (
    START,
    TARGET,
    HandClock,
    audit_kinds,
    delivery,
    firing,
    open_incident,
    order,
    resolved,
)

LATER = timedelta(microseconds=LATE) + timedelta(minutes=1)


async def test_a_firing_alert_opens_an_incident_that_is_due_at_once(store: Store) -> None:
    receipt = await store.ingest(delivery(firing()))
    (incident_id,) = receipt.incident_ids
    incident = await store.read(lambda conn: incidents.get(conn, incident_id))
    assert (incident.state, incident.due_at, incident.closed_at) == (IncidentState.OPEN, START, None)
    assert (incident.alertname, incident.namespace, incident.severity) == (
        "HighErrorRate",
        "rag7",
        "critical",
    )
    assert incident.title == "Too many errors"
    assert incident.key == "HighErrorRate|rag7|Deployment/langgraph"
    (stored,) = await store.read(lambda conn: incidents.alerts(conn, incident_id, 10))
    assert stored.alert() == firing()
    assert await audit_kinds(store, incident_id) == ["incident.opened", "alert.fired"]


async def test_the_audit_event_of_an_alert_has_all_that_explains_it_in_canonical_form(store: Store) -> None:
    incident_id = await open_incident(store)
    events = await store.read(lambda conn: list(audit.each_of_incident(conn, incident_id)))
    fired = events[1].data
    assert fired["labels"] == firing().labels
    assert fired["annotations"] == {"summary": "Too many errors"}
    assert fired["starts_at"] == START.isoformat()
    assert fired["source"] == "alertmanager"
    assert fired["fingerprint"] == "f1"
    assert fired["generator_url"] == "http://prometheus/graph"
    text = await store.read(
        lambda conn: conn.exec_driver_sql("SELECT data FROM audit WHERE seq = 2").scalar()
    )
    assert text == canonical(fired)


ONCE = [firing("a"), firing("b"), firing("a"), resolved("c"), firing("a")]


@pytest.mark.parametrize("split", [1, 2, 5], ids=["one by one", "in pairs", "in one batch"])
async def test_repeats_twins_and_mixed_batches_make_one_episode_and_one_incident(
    store: Store, split: int
) -> None:
    """Two Alertmanagers, five repeats, the same alert twice in one body: however they are cut into deliveries."""
    for _ in range(5):
        bodies = [delivery(*ONCE[i : i + split]) for i in range(0, len(ONCE), split)]
        await asyncio.gather(*(store.ingest(body) for body in bodies for _ in range(2)))
    page = await store.read(lambda conn: incidents.page(conn, None, 10))
    assert len(page) == 1
    stored = await store.read(lambda conn: incidents.alerts(conn, page[0].id, 10))
    assert [(a.fingerprint, a.seen) for a in stored] == [("a", 30), ("b", 10)]
    assert await audit_kinds(store, page[0].id) == ["incident.opened", "alert.fired", "alert.fired"]


async def test_a_repeat_changes_last_seen_and_nothing_else(store: Store, clock: HandClock) -> None:
    incident_id = await open_incident(store)
    clock.forward(hours=4)
    receipt = await store.ingest(delivery(firing(), at=clock.now()))
    assert receipt.incident_ids == (incident_id,)
    (stored,) = await store.read(lambda conn: incidents.alerts(conn, incident_id, 10))
    assert (stored.seen, stored.first_seen, stored.last_seen) == (2, START, clock.now())
    assert len(await audit_kinds(store, incident_id)) == 2


@pytest.mark.parametrize(
    ("state", "minutes", "looked_at_again"),
    [
        (IncidentState.OBSERVED, None, True),
        (IncidentState.REFUSED, None, True),
        (IncidentState.REFUSED, 4, False),
        (IncidentState.REFUSED, 60, True),
        (IncidentState.ACTING, None, False),
        (IncidentState.ESCALATED, None, False),
    ],
)
async def test_a_repeat_wakes_an_incident_only_when_it_rests_for_minutes(
    store: Store, clock: HandClock, state: IncidentState, minutes: int | None, *, looked_at_again: bool
) -> None:
    incident_id = await open_incident(store)
    later = None if minutes is None else clock.now() + timedelta(minutes=minutes)
    await store.write(lambda tx: incidents.claim_due(tx, "me", timedelta(minutes=1), 1))
    await store.write(lambda tx: incidents.move(tx, incident_id, state, due_at=later))
    await store.ingest(delivery(firing()))
    incident = await store.read(lambda conn: incidents.get(conn, incident_id))
    assert incident.due_at == (clock.now() if looked_at_again else later)


async def test_a_resolved_message_ends_the_episode_and_wakes_the_incident(
    store: Store, clock: HandClock
) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.claim_due(tx, "me", timedelta(minutes=1), 1))
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.ACTING))
    clock.forward(minutes=6)
    await store.ingest(delivery(resolved(), at=clock.now()))
    (stored,) = await store.read(lambda conn: incidents.alerts(conn, incident_id, 10))
    assert (stored.status, stored.ends_at) == (AlertStatus.RESOLVED, START + timedelta(minutes=5))
    assert await store.read(lambda conn: incidents.firing_count(conn, incident_id)) == 0
    incident = await store.read(lambda conn: incidents.get(conn, incident_id))
    assert incident.due_at == clock.now()
    assert (await audit_kinds(store, incident_id))[-1] == "alert.resolved"


async def test_a_second_resolved_message_is_no_second_event(store: Store) -> None:
    incident_id = await open_incident(store)
    await store.ingest(delivery(resolved()))
    await store.ingest(delivery(resolved()))
    assert (await audit_kinds(store, incident_id)).count("alert.resolved") == 1


async def test_fired_and_resolved_in_one_batch_leaves_a_resolved_episode(store: Store) -> None:
    receipt = await store.ingest(delivery(firing(), resolved()))
    (stored,) = await store.read(lambda conn: incidents.alerts(conn, receipt.incident_ids[0], 10))
    assert (stored.status, stored.seen) == (AlertStatus.RESOLVED, 2)


async def test_a_resolved_alert_that_never_fired_for_us_opens_nothing(store: Store) -> None:
    receipt = await store.ingest(delivery(resolved()))
    assert receipt.incident_ids == ()
    assert await store.read(lambda conn: incidents.page(conn, None, 10)) == []
    # Its firing message, overtaken on the way, opens nothing either.
    assert (await store.ingest(delivery(firing()))).incident_ids == ()


async def test_an_old_firing_message_after_the_resolved_one_is_counted_and_ignored(
    store: Store, clock: HandClock
) -> None:
    incident_id = await open_incident(store)
    await store.ingest(delivery(resolved()))
    clock.forward(minutes=3)
    await store.ingest(delivery(firing(), at=clock.now()))
    (stored,) = await store.read(lambda conn: incidents.alerts(conn, incident_id, 10))
    assert (stored.status, stored.late) == (AlertStatus.RESOLVED, 1)


async def test_an_alert_that_fires_again_under_its_old_start_is_not_taken_for_a_straggler(
    store: Store, clock: HandClock
) -> None:
    incident_id = await open_incident(store)
    await store.ingest(delivery(resolved()))
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.RESOLVED))
    clock.forward(seconds=LATER.total_seconds())
    receipt = await store.ingest(delivery(firing(), at=clock.now()))
    (again,) = receipt.incident_ids
    assert again != incident_id
    assert await store.read(lambda conn: incidents.firing_count(conn, again)) == 1
    assert await audit_kinds(store, again) == ["incident.opened", "alert.fired"]


@pytest.mark.parametrize(("late", "opens"), [(timedelta(minutes=3), False), (LATER, True)])
async def test_an_alert_that_fires_on_after_its_incident_closed_gets_a_new_one(
    store: Store, clock: HandClock, late: timedelta, *, opens: bool
) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    clock.forward(seconds=late.total_seconds())
    receipt = await store.ingest(delivery(firing(), at=clock.now()))
    assert (receipt.incident_ids != (incident_id,)) is opens


async def test_a_new_alert_of_a_closed_incident_opens_a_new_one(store: Store) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    receipt = await store.ingest(delivery(firing("f2")))
    assert receipt.incident_ids != (incident_id,)


async def test_the_same_delivery_id_gives_the_same_receipt_and_stores_nothing(store: Store) -> None:
    first = await store.ingest(delivery(firing(), key="k1"))
    again = await store.ingest(delivery(firing(), key="k1"))
    assert again == replace(first, replayed=True)
    assert not first.replayed
    (stored,) = await store.read(lambda conn: incidents.alerts(conn, first.incident_ids[0], 10))
    assert stored.seen == 1


async def test_the_same_delivery_id_with_another_body_is_refused_and_its_neighbours_are_not(
    store: Store,
) -> None:
    await store.ingest(delivery(firing("a"), key="k1"))
    results = await asyncio.gather(
        store.ingest(delivery(firing("b"), key="k1", body="other")),
        store.ingest(delivery(firing("c"), key="k2")),
        store.ingest(delivery(firing("c"), key="k2")),
        return_exceptions=True,
    )
    assert isinstance(results[0], Refused)
    assert results[0].code == "idempotency_conflict"
    assert [getattr(r, "replayed", None) for r in results[1:]] == [False, True]


async def test_what_could_not_be_understood_is_kept_with_its_reason(store: Store) -> None:
    bad = RejectedAlert(3, "bad_time", "alerts[3].startsAt", "not a time", {"startsAt": "soon"})
    body = replace(delivery(firing()), rejected=(bad,), truncated_alerts=7, group_key="g")
    await store.ingest(body)
    events = await store.read(lambda conn: audit.page(conn, 0, 10))
    assert [e.kind.value for e in events][2:] == ["alert.rejected", "delivery.truncated"]
    assert events[2].data["where"] == "alerts[3].startsAt"
    assert events[3].data["truncated"] == 7
    kept = await store.read(lambda conn: conn.exec_driver_sql("SELECT place, raw FROM rejected_alerts").one())
    assert tuple(kept) == ("alerts[3].startsAt", '{"startsAt":"soon"}')


async def test_a_persons_order_is_an_incident_of_its_own(store: Store) -> None:
    receipt = await store.ingest(delivery(manual=order(), key="k"))
    other = await store.ingest(delivery(manual=order(), key="k2"))
    (incident_id,) = receipt.incident_ids
    assert receipt.run_ids == (f"run_{incident_id.removeprefix('inc_')}_1",)
    assert other.incident_ids != receipt.incident_ids
    incident = await store.read(lambda conn: incidents.get(conn, incident_id))
    assert incident.manual == order()
    assert (incident.namespace, incident.due_at) == ("rag7", START)
    events = await store.read(lambda conn: list(audit.each_of_incident(conn, incident_id)))
    assert [(e.kind.value, e.actor) for e in events] == [
        ("incident.opened", "service"),
        ("manual.requested", "ann"),
    ]
    assert events[1].data["target"] == TARGET


NASTY = ["nul \0 byte", "lone \ud800 surrogate", "näme ✓", "quote \" and \\ and '", "%s %(x)s ? :name"]


@pytest.mark.parametrize("text", NASTY)
async def test_no_text_of_a_sender_can_break_its_batch(store: Store, text: str) -> None:
    nasty = Alert(
        firing().source,
        text,
        AlertStatus.FIRING,
        START,
        {"alertname": text, "namespace": text, text: text},
        {"summary": text},
        generator_url=text,
    )
    receipts = await asyncio.gather(
        store.ingest(delivery(firing())), store.ingest(replace(delivery(nasty), sender=text, group_key=text))
    )
    assert all(len(r.incident_ids) == 1 for r in receipts)
    report = await store.read(trail.verify)
    assert report.ok, report
    again = await store.ingest(delivery(nasty))
    assert again.incident_ids == receipts[1].incident_ids
