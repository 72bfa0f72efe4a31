"""Rows and statements of the way in: what `ingest` reads and writes, compiled once.

Each row class has exactly the columns of its table, in order (a test compares them). Called by `ingest` only.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, insert, select, update

from app.store.connection import Prepared, among
from app.store.schema import HAS_DEDUPE_KEY, OPEN, deliveries, episodes, incidents, rejected_alerts


class DeliveryRow(NamedTuple):
    """A row of `deliveries`."""

    id: str
    source: str
    received_at: int
    sender: str
    group_key: str
    dedupe_key: str
    body_digest: str
    note: str
    alerts: int
    rejected: int
    truncated: int
    incident_ids: str
    run_ids: str


class RejectedRow(NamedTuple):
    """A row of `rejected_alerts`."""

    delivery_id: str
    position: int
    code: str
    place: str
    reason: str
    raw: str


class EpisodeRow(NamedTuple):
    """A row of `episodes`."""

    key: str
    source: str
    fingerprint: str
    labels: str
    annotations: str
    generator_url: str
    status: str
    starts_at: int
    ends_at: int | None
    first_seen: int
    last_seen: int
    seen: int
    late: int
    incident_id: str | None
    page: int


class IncidentRow(NamedTuple):
    """A row of `incidents`."""

    id: str
    key: str
    state: str
    alertname: str
    namespace: str
    severity: str
    target_key: str | None
    title: str
    opened_at: int
    updated_at: int
    closed_at: int | None
    due_at: int | None
    claimed_by: str | None
    claimed_until: int | None
    merged_into: str | None
    thread_channel: str
    thread_ts: str
    manual: str | None
    decided_at: int | None
    page: int
    last_page: int | None


FIND_DELIVERIES = Prepared(
    select(
        deliveries.c.source,
        deliveries.c.dedupe_key,
        deliveries.c.id,
        deliveries.c.body_digest,
        deliveries.c.incident_ids,
        deliveries.c.run_ids,
    ).where(
        HAS_DEDUPE_KEY, deliveries.c.source == bindparam("source"), among(deliveries.c.dedupe_key, "keys")
    ),
    ("source", "keys"),
)
FIND_EPISODES = Prepared(
    select(
        episodes.c.key,
        episodes.c.status,
        episodes.c.incident_id,
        episodes.c.last_seen,
        episodes.c.ends_at,
        episodes.c.page,
    )
    .where(among(episodes.c.key, "keys"))
    .order_by(episodes.c.key)
    .with_for_update(),
    ("keys",),
)
_INCIDENT = (incidents.c.id, incidents.c.key, incidents.c.state, incidents.c.due_at, incidents.c.closed_at)
# Locked on Postgres: nobody may close an incident between our look and the episode that joins it.
FIND_OPEN = Prepared(
    select(*_INCIDENT).where(OPEN, among(incidents.c.key, "keys")).order_by(incidents.c.id).with_for_update(),
    ("keys",),
)
FIND_INCIDENTS = Prepared(
    select(*_INCIDENT).where(among(incidents.c.id, "ids")).order_by(incidents.c.id).with_for_update(),
    ("ids",),
)
INSERT_DELIVERY = Prepared(insert(deliveries), DeliveryRow._fields)
INSERT_REJECTED = Prepared(insert(rejected_alerts), RejectedRow._fields)
INSERT_EPISODE = Prepared(insert(episodes), EpisodeRow._fields)
INSERT_INCIDENT = Prepared(insert(incidents), IncidentRow._fields)


class EpisodeChange(NamedTuple):
    """What a batch changes in a known episode; `seen` and `late` are added."""

    status: str
    ends_at: int | None
    last_seen: int
    seen: int
    late: int
    incident_id: str | None
    page: int
    episode: str


UPDATE_EPISODE = Prepared(
    update(episodes)
    .where(episodes.c.key == bindparam("episode"))
    .values(
        {
            "status": bindparam("status"),
            "ends_at": bindparam("ends_at"),
            "last_seen": bindparam("last_seen"),
            "seen": episodes.c.seen + bindparam("more"),
            "late": episodes.c.late + bindparam("more_late"),
            "incident_id": bindparam("incident_id"),
            "page": bindparam("page"),
        }
    ),
    ("status", "ends_at", "last_seen", "more", "more_late", "incident_id", "page", "episode"),
)
ANNOTATE_EPISODE = Prepared(
    update(episodes)
    .where(episodes.c.key == bindparam("episode"))
    .values({"annotations": bindparam("annotations")}),
    ("annotations", "episode"),
)
WAKE = Prepared(
    update(incidents)
    .where(incidents.c.id == bindparam("incident"), OPEN)
    .values({"updated_at": bindparam("now"), "due_at": bindparam("due")}),
    ("now", "due", "incident"),
)
