"""Alerts that end, or fire on, under another start than the one they were told with: the firing episodes they mean.

Grafana tells a resolved alert with a new start, one of a pair of Alertmanagers has learned another start than its peer, and
some senders tell none. A source has one alert with a fingerprint at a time, so the fingerprint tells which is meant. Called
by `ingest` before it locks anything, for alerts that resolve and for those without a start; the ordinary firing alert
never comes here. Never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Text, bindparam, select

from app.domain.alert import Alert, AlertStatus, incident_key
from app.domain.subject import LabelNames
from app.store.encoding import storable, to_text
from app.store.prepared import Prepared, among, members
from app.store.schema import OPEN, episodes, incidents
from app.store.segments import current, in_pages

Identity = tuple[str, str]
"""Source and fingerprint, as stored."""
_MOST = 200  # incidents of an alert name that are looked through where the labels lead to none

_BY_KEY = Prepared(
    select(incidents.c.id, incidents.c.key, incidents.c.page).where(OPEN, among(incidents.c.key, "keys")),
    ("keys",),
)
_FIRING = Prepared(
    select(episodes.c.source, episodes.c.fingerprint, episodes.c.starts_at, episodes.c.key)
    .where(
        in_pages(episodes.c.page, bindparam("pages", type_=Text())),
        among(episodes.c.incident_id, "ids"),
        episodes.c.status == bindparam("status"),
        among(episodes.c.fingerprint, "fingerprints"),
    )
    .order_by(episodes.c.key),
    ("pages", "ids", "status", "fingerprints"),
)


def concerned(alert: Alert) -> bool:
    """Whether the alert may mean an episode with another start."""
    return alert.status is AlertStatus.RESOLVED or not alert.start_told


def identity(alert: Alert) -> Identity:
    """What stays the same whatever start is told."""
    return alert.source.value, storable(alert.fingerprint)


def firing_under_any_start(
    conn: Connection, alerts: Sequence[tuple[Alert, LabelNames]]
) -> dict[Identity, list[tuple[int, str]]]:
    """Start (microseconds) and key of the episodes that fire, oldest first, by identity; of open incidents only."""
    if not alerts:
        return {}
    found = _incidents(conn, alerts)
    if not found:
        return {}
    wanted = {identity(alert) for alert, _ in alerts}
    first = min(page for _, page in found)
    pages = to_text(list(range(first, current(conn) + 1)))
    ids = members(sorted(incident for incident, _ in found))
    fingerprints = members(sorted({fingerprint for _, fingerprint in wanted}))
    rows = _FIRING.one(conn, pages, ids, AlertStatus.FIRING.value, fingerprints)
    firing: dict[Identity, list[tuple[int, str]]] = {}
    for source, fingerprint, starts_at, key in rows:
        if (source, fingerprint) in wanted:
            firing.setdefault((source, fingerprint), []).append((starts_at, key))
    return firing


def _incidents(conn: Connection, alerts: Iterable[tuple[Alert, LabelNames]]) -> set[tuple[str, int]]:
    """Open incidents that may hold them, with the page each was opened in: by their labels; one that was merged into another
    only shares the alert's name."""
    keys = {storable(incident_key(alert, names)): alert.name for alert, names in alerts}
    rows = _BY_KEY.one(conn, members(sorted(keys))).all()
    known = {row.key for row in rows}
    lost = {storable(name) for key, name in keys.items() if key not in known}
    found = {(str(row.id), int(row.page)) for row in rows}
    if lost:
        c = incidents.c
        named = select(c.id, c.page).where(OPEN, c.alertname.in_(sorted(lost))).limit(_MOST)
        found |= {(row.id, row.page) for row in conn.execute(named)}
    return found
