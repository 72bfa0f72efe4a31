"""The incidents a batch of deliveries touches: found, opened, or woken; also where an alert goes by another start than it was told with.

Called by `ingest` only, which hands it one transaction's worth of alerts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Text, bindparam, select

from app.domain.alert import Alert, AlertStatus, ManualRequest, incident_key, short, target_hint
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.domain.subject import NAMES, NAMESPACE, LabelNames
from app.store import audit
from app.store import ingest_rows as rows
from app.store.audit import current_segment, in_pages
from app.store.connection import Prepared, among, members, storable, to_text
from app.store.schema import OPEN, episodes, incidents
from app.store.tx import Tx

# Alerts that end, or fire on, under another start than the one they were told with: the firing episodes they mean.
#
# Grafana tells a resolved alert with a new start, one of a pair of Alertmanagers has learned another start than its
# peer, and some senders tell none. A source has one alert with a fingerprint at a time, so the fingerprint tells
# which is meant. Called by `ingest` before it locks anything, for alerts that resolve and for those without a start;
# the ordinary firing alert never comes here. Never writes.

Identity = tuple[str, str]
"""Source and fingerprint, as stored."""
_MAX_INCIDENTS = 200  # incidents of an alert name that are looked through where the labels lead to none

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
    pages = to_text(list(range(first, current_segment(conn) + 1)))
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
        named = select(c.id, c.page).where(OPEN, c.alertname.in_(sorted(lost))).limit(_MAX_INCIDENTS)
        found |= {(row.id, row.page) for row in conn.execute(named)}
    return found


# The incidents a batch of deliveries touches: found, opened, or woken.
#
# Called by `ingest` only, which hands it one transaction's worth of alerts. Never looks at episodes.

_SOON = timedelta(minutes=5) // timedelta(microseconds=1)
_RESTING = (IncidentState.OBSERVED.value, IncidentState.REFUSED.value)
_TITLE_LENGTH = 200


@dataclass(slots=True)
class OpenIncident:
    """What the batch needs to know of an incident; times in microseconds."""

    id: str
    key: str
    state: str
    due_at: int | None
    closed_at: int | None

    def rests(self, now: int) -> bool:
        """Decided not to act, and nobody will look again by himself for minutes: a message of an alert is the reason to."""
        return self.state in _RESTING and (self.due_at is None or self.due_at > now + _SOON)


class IncidentGrouping:
    """The incidents of one batch."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._keys: dict[int, str] = {}  # by identity: the alerts live as long as the batch
        self._names: dict[int, LabelNames] = {}
        self._by_id: dict[str, OpenIncident] = {}
        self._by_key: dict[str, OpenIncident] = {}
        self.page = 0
        """The page of the audit trail that this batch is written in."""
        self._new: list[rows.IncidentRow] = []
        self._step: dict[str, None] = {}

    def load(self, alerts: Iterable[tuple[Alert, LabelNames]], ids: Iterable[str]) -> None:
        """Read, and on Postgres lock, the open incidents of these alerts and all with these ids; then the page."""
        conn = self._tx.conn
        for alert, names in alerts:
            self._keys[id(alert)] = storable(incident_key(alert, names))
            self._names[id(alert)] = names
        if wanted := sorted(set(self._keys.values())):
            self._keep(OpenIncident(*row) for row in rows.FIND_OPEN.one(conn, members(wanted)))
        if linked := sorted(set(ids) - self._by_id.keys()):
            self._keep(OpenIncident(*row) for row in rows.FIND_INCIDENTS.one(conn, members(linked)))
        self.page = audit.current_segment(conn)

    @property
    def opened(self) -> frozenset[str]:
        """The incidents that this batch opened."""
        return frozenset(row.id for row in self._new)

    def get(self, incident_id: str | None) -> OpenIncident | None:
        """A loaded or opened incident."""
        return self._by_id.get(incident_id or "")

    def for_alert(self, alert: Alert) -> str:
        """The open incident the loaded alert belongs to, opened if there is none."""
        key = self._keys[id(alert)]
        if incident := self._by_key.get(key):
            if incident.state in _RESTING:  # one alert more may be a more severe one, which waits for nothing
                self.wake(incident.id)
            return incident.id
        subject = self._names.get(id(alert), NAMES).subject(alert.labels)
        namespace = short(subject.get(NAMESPACE, ""))
        words = (alert.name, namespace, target_hint(subject))
        title = alert.annotations.get("summary") or " ".join(filter(None, words))
        severity = short(alert.labels.get("severity", ""))
        row = self._row(key, title, namespace)
        return self._open(row._replace(alertname=storable(alert.name), severity=storable(severity)))

    def for_request(self, request: ManualRequest, delivery_id: str) -> str:
        """A new incident of its own for a person's order."""
        order = {
            "remediation": request.remediation,
            "target": request.target,
            "params": dict(request.params),
            "reason": request.reason,
            "requested_by": request.requested_by,
            "dry_run": request.dry_run,
            "may_approve": request.may_approve,
            **({"schedule": request.schedule} if request.schedule else {}),
        }
        key = storable(f"manual|{request.target}|{delivery_id}")
        namespace = request.target.split("/", 1)[0]
        row = self._row(key, f"{request.remediation} on {request.target}", namespace)
        self._open(row._replace(manual=to_text(order)))
        data = {**order, "delivery": delivery_id}
        self._tx.audit(EventKind.MANUAL_REQUESTED, incident_id=row.id, actor=request.requested_by, data=data)
        return row.id

    def wake(self, incident_id: str | None) -> None:
        """Have the incident looked at now, unless it is closed or due already."""
        incident, now = self.get(incident_id), self._tx.stamp
        if incident is None or incident.closed_at is not None:
            return
        if incident.due_at is None or incident.due_at > now:
            incident.due_at = now
            self._step[incident.id] = None

    def flush(self) -> None:
        """Write what was opened and woken."""
        now = self._tx.stamp
        rows.INSERT_INCIDENT.many(self._tx.conn, self._new)
        rows.WAKE.many(self._tx.conn, [(now, now, incident) for incident in sorted(self._step)])

    def _keep(self, found: Iterable[OpenIncident]) -> None:
        for incident in found:
            self._by_id[incident.id] = incident
            if incident.closed_at is None:
                self._by_key[incident.key] = incident

    def _open(self, row: rows.IncidentRow) -> str:
        self._new.append(row)
        self._keep([OpenIncident(row.id, row.key, row.state, row.due_at, None)])
        data = {
            "alertname": row.alertname,
            "key": row.key,
            "namespace": row.namespace,
            "severity": row.severity,
            "title": row.title,
        }
        self._tx.audit(EventKind.INCIDENT_OPENED, incident_id=row.id, data=data)
        return row.id

    def _row(self, key: str, title: str, namespace: str) -> rows.IncidentRow:
        now = self._tx.stamp
        return rows.IncidentRow(
            id=self._tx.ids.new("inc"),
            key=key,
            state=IncidentState.OPEN.value,
            alertname="",
            namespace=storable(namespace),
            severity="",
            target_key=None,
            title=storable(title)[:_TITLE_LENGTH],
            opened_at=now,
            updated_at=now,
            closed_at=None,
            due_at=now,
            claimed_by=None,
            claimed_until=None,
            merged_into=None,
            thread_channel="",
            thread_ts="",
            manual=None,
            decided_at=None,
            page=self.page,
            last_page=None,
        )
