"""Alerts that end, or fire on, under another start: the episode they mean is closed, or goes on, and no other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.alert import Alert, AlertStatus
from app.store import audit, incidents
from app.store.database import Store
from tests.contract.stores import START, audit_kinds, delivery, firing, resolved

MINUTE = timedelta(minutes=1)


def ended(fingerprint: str = "f1", *, starts_at: datetime, ends_at: datetime, told: bool = True) -> Alert:
    return replace(resolved(fingerprint, starts_at=starts_at), ends_at=ends_at, start_told=told)


async def firing_of(store: Store, incident_id: str) -> list[str]:
    stored = await store.read(lambda conn: incidents.alerts(conn, incident_id, 100))
    return [a.fingerprint for a in stored if a.status is AlertStatus.FIRING]


ENDS = [
    ("Grafana: the start is the end", START + 5 * MINUTE, START + 5 * MINUTE, True),
    ("a peer that learned an earlier start", START - MINUTE, START + 5 * MINUTE, True),
    ("a peer that learned a later start", START + MINUTE, START + 5 * MINUTE, True),
    ("no start at all", START + 5 * MINUTE, START + 5 * MINUTE, False),
]


@pytest.mark.parametrize("together", [False, True], ids=["in two deliveries", "in one delivery"])
@pytest.mark.parametrize(("starts", "ends", "told"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
async def test_an_alert_that_resolves_under_another_start_is_over(
    store: Store, starts: datetime, ends: datetime, told: bool, together: bool
) -> None:
    over = ended(starts_at=starts, ends_at=ends, told=told)
    alerts: Sequence[Sequence[Alert]] = [[firing(), over]] if together else [[firing()], [over]]
    receipts = [await store.ingest(delivery(*some, at=START + n * MINUTE)) for n, some in enumerate(alerts)]
    (incident_id,) = receipts[0].incident_ids
    assert receipts[-1].incident_ids == (incident_id,)
    assert await firing_of(store, incident_id) == []
    assert (await audit_kinds(store, incident_id)).count("alert.resolved") == 1
    due = (await store.read(lambda conn: incidents.get(conn, incident_id))).due_at
    assert due is not None


async def test_the_late_end_of_an_earlier_episode_does_not_end_the_one_that_fires(store: Store) -> None:
    later = firing(starts_at=START + 10 * MINUTE)
    (incident_id,) = (await store.ingest(delivery(later, at=START + 11 * MINUTE))).incident_ids
    late = ended(starts_at=START, ends_at=START + 5 * MINUTE)
    receipt = await store.ingest(delivery(late, at=START + 12 * MINUTE))
    assert receipt.incident_ids == ()
    assert await firing_of(store, incident_id) == ["f1"]


async def test_an_end_ends_what_an_earlier_end_that_never_came_left_behind(store: Store) -> None:
    """Resolved while it was silenced: no message came. Its next episode ends both."""
    (incident_id,) = (await store.ingest(delivery(firing()))).incident_ids
    again = firing(starts_at=START + 10 * MINUTE)
    await store.ingest(delivery(again, at=START + 10 * MINUTE))
    assert await firing_of(store, incident_id) == ["f1", "f1"]
    over = ended(starts_at=START + 10 * MINUTE, ends_at=START + 20 * MINUTE)
    await store.ingest(delivery(over, at=START + 20 * MINUTE))
    assert await firing_of(store, incident_id) == []


async def test_the_end_of_one_alert_is_not_the_end_of_its_neighbours(store: Store) -> None:
    (incident_id,) = (await store.ingest(delivery(firing("a"), firing("b")))).incident_ids
    await store.ingest(delivery(ended("a", starts_at=START + MINUTE, ends_at=START + MINUTE)))
    assert await firing_of(store, incident_id) == ["b"]


async def test_an_alert_without_a_start_is_one_episode_however_often_it_is_told(store: Store) -> None:
    def told(minute: int) -> Alert:
        return replace(firing(starts_at=START + minute * MINUTE), start_told=False)

    receipts = [await store.ingest(delivery(told(n), at=START + n * MINUTE)) for n in range(4)]
    (incident_id,) = {i for receipt in receipts for i in receipt.incident_ids}
    stored = await store.read(lambda conn: incidents.alerts(conn, incident_id, 100))
    assert [(a.starts_at, a.seen) for a in stored] == [(START, 4)]
    await store.ingest(delivery(ended(starts_at=START, ends_at=START + 9 * MINUTE, told=False)))
    assert await firing_of(store, incident_id) == []
    again = await store.ingest(delivery(told(30), at=START + 30 * MINUTE))
    assert again.incident_ids == (incident_id,)
    assert await firing_of(store, incident_id) == ["f1"]


async def test_an_alert_of_a_merged_incident_ends_under_another_start_too(store: Store) -> None:
    (kept,) = (await store.ingest(delivery(firing("a")))).incident_ids
    pod = replace(
        firing("b"), labels={"alertname": "HighErrorRate", "namespace": "rag7", "pod": "langgraph-0"}
    )
    (merged,) = (await store.ingest(delivery(pod))).incident_ids
    await store.write(lambda tx: incidents.merge(tx, merged, kept))
    over = replace(pod, status=AlertStatus.RESOLVED, starts_at=START + MINUTE, ends_at=START + MINUTE)
    await store.ingest(delivery(over, at=START + MINUTE))
    assert await firing_of(store, kept) == ["a"]


async def test_an_end_that_nobody_heard_begin_opens_nothing(store: Store) -> None:
    receipt = await store.ingest(delivery(ended(starts_at=START, ends_at=START)))
    assert receipt.incident_ids == ()
    assert await store.read(lambda conn: incidents.page(conn, None, 10)) == []
    assert await store.read(lambda conn: audit.page(conn, 0, 10)) == []
