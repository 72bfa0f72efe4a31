"""Records deliveries: which alert is new, which repeats, which incident it joins.

Called by the writer with all deliveries of one commit. Reads what the batch touches in a few statements, works in
memory, and writes one statement per table. Never opens a transaction and never talks to anything but the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, bindparam, select

from app.domain.alert import (
    IN_TRAIL,
    Acknowledgement,
    Alert,
    AlertStatus,
    Delivery,
    PageNews,
    Receipt,
    Source,
    as_many_as_fit,
    ended_unmeasured,
)
from app.domain.errors import Refused, RemediatorError
from app.domain.events import EventKind
from app.store import escalations, people
from app.store import ingest_rows as rows
from app.store.connection import members, micros, moment, plain_text, storable, to_json, to_text
from app.store.incident_grouping import (
    Identity,
    IncidentGrouping,
    concerned,
    firing_under_any_start,
    identity,
)
from app.store.runs import run_id_for
from app.store.schema import HAS_DEDUPE_KEY, deliveries
from app.store.tx import AuditRecord, Tx

LATE = timedelta(minutes=10) // timedelta(microseconds=1)
"""How long after the end of an episode or incident a firing message of it counts as a straggler, in microseconds.

A flush is retried for at most one group_interval (5 minutes by default) plus the peers' time-outs, so what comes later
is a new statement of Alertmanager: the alert fires again under its old start (a Prometheus that was away does this). So is what comes
so long before it: the clock was set back.
"""

# As plain text once: asking a member for its value costs as much as a look-up in a table.
_FIRING, _RESOLVED = AlertStatus.FIRING.value, AlertStatus.RESOLVED.value
_ALERT_FIRED = EventKind.ALERT_FIRED.value
_SOURCES = {source: source.value for source in Source}

Outcome = Receipt | RemediatorError


def record(tx: Tx, deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Record deliveries in order; one receipt each, or the Refused (code `idempotency_conflict`) for that one."""
    batch = _Batch(tx)
    batch.load(deliveries)
    outcomes = [batch.take(delivery) for delivery in deliveries]
    batch.flush()
    return outcomes


def is_known(conn: Connection, delivery: Delivery) -> bool:
    """A delivery with this source and dedupe key was recorded before."""
    if not delivery.dedupe_key:
        return False
    at = {"source": delivery.source.value, "key": storable(delivery.dedupe_key)}
    return conn.execute(_KNOWN, at).scalar() is not None


_KNOWN = select(deliveries.c.id).where(
    HAS_DEDUPE_KEY, deliveries.c.source == bindparam("source"), deliveries.c.dedupe_key == bindparam("key")
)


@dataclass(slots=True)
class _Episode:
    """An episode as the batch leaves it. `seen` and `late` count this batch's messages."""

    status: str
    incident_id: str | None
    last_seen: int
    ends_at: int | None
    page: int
    seen: int = 0
    late: int = 0
    new: rows.EpisodeRow | None = None
    changed: bool = False


class _Batch:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._incidents = IncidentGrouping(tx)
        self._receipts: dict[tuple[str, str], tuple[str, Receipt]] = {}
        self._keys: dict[int, str] = {}  # by identity: an alert computes its key anew each time it is asked
        self._episodes: dict[str, _Episode] = {}
        self._firing: dict[Identity, list[tuple[int, str]]] = {}
        self._concerned: set[Identity] = set()
        self._new_deliveries: list[rows.DeliveryRow] = []
        self._new_rejected: list[rows.RejectedRow] = []
        self._joined: dict[str, None] = {}
        self._ends: dict[str, str] = {}  # annotations of an end that says why it is none, by episode

    def load(self, deliveries: Sequence[Delivery]) -> None:
        """Read, and on Postgres lock, everything the batch may touch."""
        self._load_receipts(deliveries)
        named = [(alert, delivery.names) for delivery in deliveries for alert in delivery.alerts]
        alerts = [alert for alert, _ in named]
        taken = [d.acknowledgement.alert for d in deliveries if d.acknowledgement is not None]
        self._keys = {id(alert): storable(alert.episode) for alert in (*alerts, *taken)}
        moved = [(alert, names) for alert, names in named if concerned(alert)]
        self._firing = firing_under_any_start(self._tx.conn, moved)
        self._concerned = {identity(alert) for alert, _ in moved}
        keys = sorted({*self._keys.values(), *(key for found in self._firing.values() for _, key in found)})
        if keys:
            for key, *known in rows.FIND_EPISODES.one(self._tx.conn, members(keys)):
                self._episodes[key] = _Episode(*known)
        self._incidents.load(
            (pair for pair in named if pair[0].status is AlertStatus.FIRING),
            (episode.incident_id for episode in self._episodes.values() if episode.incident_id),
        )

    def take(self, delivery: Delivery) -> Outcome:
        """Work one delivery into the batch."""
        dedupe = (delivery.source.value, storable(delivery.dedupe_key))
        if dedupe[1] and (before := self._receipts.get(dedupe)):
            digest, receipt = before
            if digest == delivery.body_digest:
                return Receipt(receipt.delivery_id, receipt.incident_ids, receipt.run_ids, replayed=True)
            return Refused(
                "this delivery id was used for another body", code="idempotency_conflict", where=dedupe[1]
            )
        delivery_id, received = self._tx.ids.new("dlv"), micros(delivery.received_at)
        touched: dict[str, None] = {}
        for alert in delivery.alerts:
            if incident := self._alert(alert, delivery_id, received):
                touched[incident] = None
        run_ids: tuple[str, ...] = ()
        if delivery.manual is not None:
            incident = self._incidents.for_request(delivery.manual, delivery_id)
            touched[incident] = None
            run_ids = (run_id_for(incident, 1),)
        if (given := delivery.acknowledgement) is not None and (incident := self._acknowledged(given)):
            touched[incident] = None
        if (page := delivery.page) is not None and (incident := self._page(page)):
            touched[incident] = None
        self._leftovers(delivery, delivery_id)
        receipt = Receipt(delivery_id, tuple(touched), run_ids)
        if dedupe[1]:
            self._receipts[dedupe] = (delivery.body_digest, receipt)
        self._new_deliveries.append(_delivery_row(delivery, receipt, received))
        return receipt

    def flush(self) -> None:
        """Write what the batch changed: one statement per table and kind of change."""
        conn = self._tx.conn
        rows.INSERT_DELIVERY.many(conn, self._new_deliveries)
        rows.INSERT_REJECTED.many(conn, self._new_rejected)
        self._incidents.flush()
        if old := sorted(self._joined.keys() - self._incidents.opened):
            escalations.joined(self._tx, old)
        new, changed = [], []
        for key, e in self._episodes.items():
            if e.new is not None:
                new.append(e.new if not e.changed else _renewed(e.new, e))
            elif e.changed:
                changed.append(
                    rows.EpisodeChange(
                        e.status, e.ends_at, e.last_seen, e.seen, e.late, e.incident_id, e.page, key
                    )
                )
        rows.INSERT_EPISODE.many(conn, new)
        rows.UPDATE_EPISODE.many(conn, changed)
        rows.ANNOTATE_EPISODE.many(conn, [(text, key) for key, text in self._ends.items()])

    def _load_receipts(self, deliveries: Sequence[Delivery]) -> None:
        by_source: dict[str, list[str]] = {}
        for delivery in deliveries:
            if delivery.dedupe_key:
                by_source.setdefault(delivery.source.value, []).append(storable(delivery.dedupe_key))
        for source, keys in by_source.items():
            for row in rows.FIND_DELIVERIES.one(self._tx.conn, source, members(keys)):
                receipt = Receipt(row.id, tuple(to_json(row.incident_ids)), tuple(to_json(row.run_ids)))
                self._receipts[source, row.dedupe_key] = (row.body_digest, receipt)

    def _alert(self, alert: Alert, delivery_id: str, received: int) -> str | None:
        """The incident the alert belongs to, None when it has none."""
        if not alert.start_told:
            self._find_start(alert)
        key = self._keys[id(alert)]
        episode = self._episodes.get(key)
        if alert.status is AlertStatus.RESOLVED:
            return self._resolved(alert, key, episode, delivery_id, received)
        if episode is None:
            incident = self._incidents.for_alert(alert)
            self._joined[incident] = None
            texts = self._insert(alert, key, received, incident_id=incident)
            self._fired(alert, delivery_id, texts, incident)
            return incident
        return self._repeated(alert, episode, delivery_id, received)

    def _acknowledged(self, given: Acknowledgement) -> str | None:
        """The incident with that alert, which is decided anew; None when there is none."""
        people.put_pagerduty_word(self._tx, given)
        episode = self._episodes.get(self._keys[id(given.alert)])
        if episode is None or episode.status != _FIRING:
            return None
        self._incidents.wake(episode.incident_id)
        if episode.incident_id:
            escalations.heard(self._tx, episode.incident_id)
        return episode.incident_id

    def _page(self, news: PageNews) -> str | None:
        """The incident that a page of ours is about; None when none of this key is open."""
        return escalations.heard_of_page(
            self._tx, storable(news.key), news.word, news.by, min(news.at, self._tx.now)
        )

    def _find_start(self, alert: Alert) -> None:
        """An alert without a start is the newest of its fingerprint that fires."""
        firing = [key for _, key in self._firing.get(identity(alert), ()) if self._fires(key)]
        if firing:
            self._keys[id(alert)] = firing[-1]

    def _fires(self, key: str) -> bool:
        episode = self._episodes.get(key)
        return episode is not None and episode.status == _FIRING

    def _resolved(
        self, alert: Alert, key: str, episode: _Episode | None, delivery_id: str, received: int
    ) -> str | None:
        ends = micros(alert.ends_at) if alert.ends_at else received
        # A source has one alert with a fingerprint at a time: its end is the end of all that began before it.
        earlier = [k for at, k in self._firing.get(identity(alert), ()) if at <= ends and k != key]
        over = [k for k in earlier if self._fires(k)]
        if ended_unmeasured(alert.annotations):
            self._ends |= dict.fromkeys((*over, *([key] if episode is not None else [])), _texts(alert)[1])
        ended = [self._end(self._episodes[k], k, ends, delivery_id, received) for k in over]
        if episode is None:
            # It never fired for us, under this or another start; kept so that a straggling firing message is known.
            if not ended:
                self._insert(alert, key, received, ends_at=ends)
            return next((incident for incident in ended if incident), None)
        episode.seen += 1
        episode.changed = True
        if episode.status == _FIRING:
            self._end(episode, key, ends, delivery_id, received)
        return episode.incident_id

    def _end(self, episode: _Episode, key: str, ends: int, delivery_id: str, received: int) -> str | None:
        episode.status, episode.ends_at, episode.last_seen = _RESOLVED, ends, received
        episode.changed = True
        self._tx.audit(
            EventKind.ALERT_RESOLVED,
            incident_id=episode.incident_id or "",
            data={"delivery": delivery_id, "ends_at": moment(ends).isoformat(), "episode": key},
        )
        self._incidents.wake(episode.incident_id)
        return episode.incident_id

    def _repeated(self, alert: Alert, episode: _Episode, delivery_id: str, received: int) -> str | None:
        episode.seen += 1
        episode.changed = True
        if episode.status == _RESOLVED and abs(received - episode.last_seen) <= LATE:
            episode.late += 1
            return episode.incident_id
        incident = self._incidents.get(episode.incident_id)
        put_aside = incident is None or incident.closed_at is not None
        if episode.status == _FIRING:
            episode.last_seen = max(received, episode.last_seen)
            if incident and (incident.closed_at is None or abs(received - incident.closed_at) <= LATE):
                if incident.rests(self._tx.stamp):
                    self._incidents.wake(incident.id)
                return incident.id
        # It fires on, or again, after it had been put aside: an alert that fires is never left without an open incident.
        if put_aside:
            episode.incident_id, episode.page = self._incidents.for_alert(alert), self._incidents.page
        self._incidents.wake(episode.incident_id)
        episode.status, episode.ends_at, episode.last_seen = _FIRING, None, received
        self._joined[episode.incident_id or ""] = None
        self._fired(alert, delivery_id, _texts(alert), episode.incident_id or "")
        return episode.incident_id

    def _insert(
        self,
        alert: Alert,
        key: str,
        received: int,
        *,
        incident_id: str | None = None,
        ends_at: int | None = None,
    ) -> tuple[str, str]:
        labels, annotations = _texts(alert)
        status = _RESOLVED if alert.status is AlertStatus.RESOLVED else _FIRING
        # By position, in the order of the columns: names cost a third of the row.
        row = rows.EpisodeRow(
            key,
            _SOURCES[alert.source],
            storable(alert.fingerprint),
            labels,
            annotations,
            storable(alert.generator_url),
            status,
            micros(alert.starts_at),
            ends_at,
            received,
            received,
            1,
            0,
            incident_id,
            self._incidents.page,
        )
        self._episodes[key] = _Episode(status, incident_id, received, ends_at, row.page, 1, 0, row)
        if status == _FIRING and (who := identity(alert)) in self._concerned:
            self._firing.setdefault(who, []).append((row.starts_at, key))
        return labels, annotations

    def _fired(self, alert: Alert, delivery_id: str, texts: tuple[str, str], incident: str) -> None:
        # Canonical JSON put together from parts that are canonical already: the labels are encoded once.
        labels, annotations = texts
        data = (
            f'{{{_in_trail(alert, annotations)},"delivery":"{delivery_id}","episode":{to_text(self._keys[id(alert)])},'
            f'"fingerprint":{to_text(alert.fingerprint)},"generator_url":{to_text(alert.generator_url)},'
            f'"labels":{labels},"source":"{alert.source}","starts_at":"{alert.starts_at.isoformat()}"}}'
        )
        self._tx.record(AuditRecord(self._tx.stamp, _ALERT_FIRED, incident, "", "service", data))

    def _leftovers(self, delivery: Delivery, delivery_id: str) -> None:
        for bad in delivery.rejected:
            code, where, reason = storable(bad.code), storable(bad.where), storable(bad.reason)
            self._new_rejected.append(
                rows.RejectedRow(delivery_id, bad.index, code, where, reason, to_text(bad.raw))
            )
            data = {
                "delivery": delivery_id,
                "index": bad.index,
                "code": code,
                "where": where,
                "reason": reason,
            }
            self._tx.audit(EventKind.ALERT_REJECTED, data=data)
        if delivery.truncated_alerts > 0:
            data = {
                "delivery": delivery_id,
                "truncated": delivery.truncated_alerts,
                "group": delivery.group_key,
            }
            self._tx.audit(EventKind.DELIVERY_TRUNCATED, data=data)


def _texts(alert: Alert) -> tuple[str, str]:
    """Labels and annotations as canonical JSON."""
    return plain_text(dict(alert.labels)), plain_text(dict(alert.annotations))


def _in_trail(alert: Alert, annotations: str) -> str:
    """The annotations as members of a record's JSON, whose text is `annotations`; with the number of those that are not whole there."""
    if len(annotations) <= IN_TRAIL:
        return f'"annotations":{annotations}'
    told = as_many_as_fit(alert.annotations)
    cut = sum(told.get(name) != text for name, text in alert.annotations.items())
    return f'"annotations":{plain_text(told)},"annotations_cut":{cut}'


def _renewed(row: rows.EpisodeRow, e: _Episode) -> rows.EpisodeRow:
    """The row of an episode that this batch both brought and changed."""
    return row._replace(
        status=e.status,
        ends_at=e.ends_at,
        last_seen=e.last_seen,
        seen=e.seen,
        late=e.late,
        incident_id=e.incident_id,
        page=e.page,
    )


def _delivery_row(delivery: Delivery, receipt: Receipt, received: int) -> rows.DeliveryRow:
    return rows.DeliveryRow(
        id=receipt.delivery_id,
        source=delivery.source.value,
        received_at=received,
        sender=storable(delivery.sender),
        group_key=storable(delivery.group_key),
        dedupe_key=storable(delivery.dedupe_key),
        body_digest=delivery.body_digest,
        note=storable(delivery.note),
        alerts=len(delivery.alerts),
        rejected=len(delivery.rejected),
        truncated=delivery.truncated_alerts,
        incident_ids=to_text(receipt.incident_ids),
        run_ids=to_text(receipt.run_ids),
    )
