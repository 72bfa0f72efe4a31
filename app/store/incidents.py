"""Incidents: who looks at which, where each stands, which alerts belong to it.

Called by the flow (to claim, move, target, merge) and by the web and command line (to read). Opening incidents is `ingest`'s business. Never decides anything.

A wake-up is never lost: `due_at` is consumed only by a claim (or by `move_all`, which sees and settles in one). A claim puts `due_at` to the end of its lease, so an
incident whose worker died comes due again by itself, and a wake-up that arrives during the claim shows as a `due_at`
before that end and survives the `move` or `schedule` that ends the claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)

from app.domain.alert import Alert, AlertStatus, ManualRequest, Source
from app.domain.errors import Missing, Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store import work
from app.store.audit import EPISODES_OF, all_episodes, current_segment, episodes_of
from app.store.connection import micros_or_none, moment, moment_or_none, to_json
from app.store.schema import OPEN, episodes, incidents
from app.store.tx import Tx

_NOT_DUE: dict[str, Any] = {"due_at": None, **work.FREE}


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. Times are UTC; `thread_channel` and `thread_ts` are empty until its first message was sent."""

    id: str
    key: str
    state: IncidentState
    alertname: str
    namespace: str
    severity: str
    target_key: str | None
    title: str
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    due_at: datetime | None
    claimed_by: str | None
    claimed_until: datetime | None
    merged_into: str | None
    thread_channel: str
    thread_ts: str
    manual: ManualRequest | None
    decided_at: datetime | None

    @property
    def ordered_at(self) -> datetime | None:
        """When a person or the clock ordered it; None for what alerts began."""
        return self.opened_at if self.manual is not None else None


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """One episode of an incident. `seen` counts its messages, `late` those that came after its end."""

    episode: str
    source: Source
    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generator_url: str
    status: AlertStatus
    starts_at: datetime
    ends_at: datetime | None
    first_seen: datetime
    last_seen: datetime
    seen: int
    late: int

    def alert(self) -> Alert:
        """As the domain knows it."""
        return Alert(
            self.source,
            self.fingerprint,
            self.status,
            self.starts_at,
            self.labels,
            self.annotations,
            self.ends_at,
            self.generator_url,
        )


# Built once, because they stand between an alert and its write, and building one costs more than executing it. The
# columns that an update sets are those of its parameters.
_INCIDENT = incidents.c.id == bindparam("incident")
_GET = select(incidents).where(_INCIDENT)
_HOLD = _GET.with_for_update()
_CHANGE = update(incidents).where(_INCIDENT)
_WANTED = bindparam("wanted", type_=BigInteger())
_UNSEEN = and_(
    incidents.c.due_at.is_not(None),
    or_(incidents.c.claimed_until.is_(None), incidents.c.due_at < incidents.c.claimed_until),
)
_FIRST = case((incidents.c.due_at > _WANTED, _WANTED), else_=incidents.c.due_at)
# The claim ends and `due_at` is as wanted, unless a wake-up that nobody has seen comes first.
_RELEASE = _CHANGE.values(
    due_at=case((_UNSEEN, _FIRST), else_=_WANTED), claimed_by=null(), claimed_until=null()
)
_RELEASE_OPEN = _RELEASE.where(OPEN)
_ALERTS = (
    select(episodes)
    .where(EPISODES_OF)
    .order_by(episodes.c.status, episodes.c.key)  # "firing" sorts before "resolved"
    .limit(bindparam("most", type_=Integer()))
)
_FIRING = (
    select(func.count())
    .select_from(episodes)
    .where(EPISODES_OF, episodes.c.status == AlertStatus.FIRING.value)
)
_OPEN_NAMED = (
    select(incidents.c.id)
    .where(OPEN, incidents.c.state.in_([s.value for s in IncidentState if not s.closed]))
    .where(incidents.c.alertname == bindparam("alertname"))
    .limit(20)
)
_OPEN_FOR_TARGET = (
    select(incidents)
    .where(OPEN, incidents.c.target_key == bindparam("target"), incidents.c.target_key.is_not(None))
    .where(
        incidents.c.alertname == bindparam("alertname"),
        incidents.c.id != bindparam("incident"),
        incidents.c.manual.is_(None),
    )
    .order_by(incidents.c.id)
    .limit(1)
)


def get(conn: Connection, incident_id: str) -> Incident:
    """One incident. Raises Missing."""
    row = conn.execute(_GET, {"incident": incident_id}).one_or_none()
    if row is None:
        raise Missing("no such incident; `remediator incidents` lists them", where=incident_id)
    return incident_from(row)


def get_all(conn: Connection, incident_ids: Sequence[str]) -> list[Incident]:
    """The incidents with these ids, in this order; unknown ones are left out."""
    rows = conn.execute(select(incidents).where(incidents.c.id.in_(incident_ids)))
    by_id = {row.id: incident_from(row) for row in rows}
    return [by_id[i] for i in incident_ids if i in by_id]


def without_thread(conn: Connection, incident_ids: Sequence[str]) -> set[str]:
    """Those of the incidents of which nothing was posted yet."""
    query = select(incidents.c.id).where(incidents.c.id.in_(incident_ids), incidents.c.thread_ts == "")
    return set(conn.execute(query).scalars())


def hold(tx: Tx, incident_id: str) -> Incident:
    """`get`, and on Postgres nobody else changes it, or adds an alert to it, until this transaction ends.

    Whoever closes an incident because nothing fires any more holds it first and then counts. Raises Missing.
    """
    row = tx.conn.execute(_HOLD, {"incident": incident_id}).one_or_none()
    if row is None:
        raise Missing("no such incident; `remediator incidents` lists them", where=incident_id)
    return incident_from(row)


def page(
    conn: Connection, cursor: str | None, limit: int, state: IncidentState | None = None
) -> list[Incident]:
    """Up to `limit` incidents, newest first, older than the id `cursor`."""
    query = select(incidents).order_by(incidents.c.id.desc()).limit(limit)
    if cursor:
        query = query.where(incidents.c.id < cursor)
    if state is not None:
        query = query.where(incidents.c.state == state.value)
    return [incident_from(row) for row in conn.execute(query)]


def alerts(conn: Connection, incident_id: str, limit: int) -> list[StoredAlert]:
    """Up to `limit` alerts of the incident, those that fire first."""
    asked = {**episodes_of(conn, incident_id), "most": limit}
    return [stored_alert(row) for row in conn.execute(_ALERTS, asked)]


def firing_count(conn: Connection, incident_id: str) -> int:
    """How many alerts of the incident fire, as far as we were told."""
    return int(conn.execute(_FIRING, episodes_of(conn, incident_id)).scalar() or 0)


def open_named(conn: Connection, alertname: str) -> list[str]:
    """The ids of the open incidents of this alert name, at most 20."""
    return list(conn.execute(_OPEN_NAMED, {"alertname": alertname}).scalars())


def open_for_target(conn: Connection, target_key: str, alertname: str, excluding: str) -> Incident | None:
    """The oldest open incident with this target and alert name, other than `excluding`: the one to merge into."""
    asked = {"target": target_key, "alertname": alertname, "incident": excluding}
    row = conn.execute(_OPEN_FOR_TARGET, asked).one_or_none()
    return None if row is None else incident_from(row)


UNDECIDED_FIRST = (incidents.c.decided_at.is_not(None), incidents.c.due_at, incidents.c.id)


def due(now: int) -> Select[str]:
    """The ids of incidents that are due and held by nobody; `now` in microseconds."""
    free = work.is_free(incidents, now)
    return select(incidents.c.id).where(incidents.c.due_at.is_not(None), incidents.c.due_at <= now, free)


def claim_due(tx: Tx, owner: str, lease: timedelta, limit: int) -> list[Incident]:
    """Take up to `limit` incidents that are due and nobody holds: those nobody has decided yet, then the longest due.

    `owner` holds them for `lease`; `move` or `schedule` ends the claim. Several replicas never get the same one.
    """
    found = tx.conn.execute(
        due(tx.stamp).order_by(*UNDECIDED_FIRST).limit(limit).with_for_update(skip_locked=True)
    )
    ids = list(found.scalars())
    held = work.claim_values(tx, owner, lease)
    claimed = tx.conn.execute(
        update(incidents)
        .where(incidents.c.id.in_(ids))
        .values(**held, due_at=held["claimed_until"])
        .returning(*incidents.c)
    )
    by_id = {row.id: incident_from(row) for row in claimed}
    return [by_id[i] for i in ids]


def move(  # the rule's six parameters
    tx: Tx,
    incident_id: str,
    state: IncidentState,
    *,
    due_at: datetime | None = None,
    reason: str = "",
    reopen: bool = False,
) -> bool:
    """Put the incident into `state`, end its claim, have it looked at again at `due_at`. True when the state changed.

    A closed incident stays as it is unless `reopen`. Already there: no event, but the claim ends and `due_at` counts.
    Raises Missing, and Refused (code `incident_open_elsewhere`) when a newer incident took the place of a closed one.
    """
    before = hold(tx, incident_id)
    if before.state.closed and not reopen:
        return False
    if before.state.closed and not state.closed:
        _require_place(tx.conn, before)
    values: dict[str, Any] = {"state": state.value, "updated_at": tx.stamp}
    if state.closed:
        closed = before.closed_at if before.state.closed else tx.now
        values |= {"closed_at": micros_or_none(closed), "last_page": current_segment(tx.conn), **_NOT_DUE}
        tx.conn.execute(_CHANGE, {"incident": incident_id, **values})
    else:
        values |= {"closed_at": None, "last_page": None, "wanted": micros_or_none(due_at)}
        tx.conn.execute(_RELEASE, {"incident": incident_id, **values})
    if before.state is state:
        return False
    data = {"from": before.state.value, "to": state.value, "reason": reason}
    tx.audit(EventKind.INCIDENT_MOVED, incident_id=incident_id, data=data)
    return True


def restate(tx: Tx, incident_id: str, state: IncidentState, reason: str) -> bool:
    """Give a closed incident, whose place a newer one has or whose fix was taken back, another headline; it stays closed. True when that changed it."""
    before = hold(tx, incident_id)
    if before.state is state:
        return False
    tx.conn.execute(_CHANGE, {"incident": incident_id, "state": state.value, "updated_at": tx.stamp})
    data = {"from": before.state.value, "to": state.value, "reason": reason}
    tx.audit(EventKind.INCIDENT_MOVED, incident_id=incident_id, data=data)
    return True


def move_all(tx: Tx, held: Sequence[Incident], state: IncidentState, due_at: datetime | None) -> None:
    """`move` for many open incidents that this transaction holds since it saw that they are due: no wake-up can have come
    in between, so it is consumed. Without audit records: the caller has the reasons."""
    values: dict[str, Any] = {"state": state.value, "updated_at": tx.stamp}
    if state.closed:
        values |= {"closed_at": tx.stamp, "last_page": current_segment(tx.conn), **_NOT_DUE}
    else:
        values |= {**_NOT_DUE, "due_at": micros_or_none(due_at)}
    ids = [incident.id for incident in held]
    tx.conn.execute(update(incidents).where(incidents.c.id.in_(ids), OPEN).values(values))


def schedule(tx: Tx, incident_id: str, due_at: datetime | None) -> None:
    """End the claim and have the incident looked at again at `due_at` (None: when something happens to it)."""
    tx.conn.execute(_RELEASE_OPEN, {"incident": incident_id, "wanted": micros_or_none(due_at)})


def set_target(tx: Tx, incident_id: str, target_key: str) -> None:
    """Record the resolved target; nothing happens when it is that already. Raises Missing."""
    if hold(tx, incident_id).target_key == target_key:
        return
    tx.conn.execute(_CHANGE, {"incident": incident_id, "target_key": target_key, "updated_at": tx.stamp})
    tx.audit(EventKind.INCIDENT_TARGETED, incident_id=incident_id, data={"target": target_key})


def merge(tx: Tx, incident_id: str, into: str) -> bool:
    """Close the incident as merged: its alerts join `into`, which is looked at again now. False when it is closed.

    Raises Missing, and Refused (code `merge_refused`) when `into` is closed or the same.
    """
    held = {
        i: hold(tx, i) for i in sorted({incident_id, into})
    }  # in one order everywhere, so that two never wait
    if incident_id == into or held[into].state.closed:
        raise Refused("the other incident is closed or the same", code="merge_refused", where=into)
    if held[incident_id].state.closed:
        return False
    pages = tx.conn.execute(select(incidents.c.page).where(incidents.c.id.in_(held))).scalars().all()
    tx.conn.execute(update(episodes).where(all_episodes(tx.conn, incident_id)).values(incident_id=into))
    tx.conn.execute(
        update(incidents)
        .where(incidents.c.id == incident_id)
        .values(
            state=IncidentState.MERGED.value,
            merged_into=into,
            updated_at=tx.stamp,
            closed_at=tx.stamp,
            last_page=current_segment(tx.conn),
            **_NOT_DUE,
        )
    )
    due = case((incidents.c.due_at < tx.stamp, incidents.c.due_at), else_=tx.stamp)
    tx.conn.execute(
        update(incidents)
        .where(incidents.c.id == into)
        .values(updated_at=tx.stamp, due_at=due, page=min(pages))
    )
    tx.audit(EventKind.INCIDENT_MERGED, incident_id=incident_id, data={"into": into})
    return True


def set_thread(tx: Tx, incident_id: str, channel: str, ts: str) -> None:
    """Remember the message that heads the incident's thread."""
    tx.conn.execute(
        update(incidents).where(incidents.c.id == incident_id).values(thread_channel=channel, thread_ts=ts)
    )


def _require_place(conn: Connection, before: Incident) -> None:
    other = conn.execute(select(incidents.c.id).where(OPEN, incidents.c.key == before.key)).scalar()
    if other is not None:
        text = "a newer incident is open for the same alerts"
        raise Refused(text, code="incident_open_elsewhere", where=other)


def incident_from(row: Row[Any]) -> Incident:
    """A row of the table as an incident."""
    data = row._asdict()
    del data["page"], data["last_page"]
    for name in ("opened_at", "updated_at"):
        data[name] = moment(data[name])
    for name in ("closed_at", "due_at", "claimed_until", "decided_at"):
        data[name] = moment_or_none(data[name])
    data["state"] = IncidentState(data["state"])
    data["manual"] = ManualRequest(**to_json(row.manual)) if row.manual else None
    return Incident(**data)


def stored_alert(row: Row[Any]) -> StoredAlert:
    """A row of the episodes as an alert."""
    return StoredAlert(
        row.key,
        Source(row.source),
        row.fingerprint,
        to_json(row.labels),
        to_json(row.annotations),
        row.generator_url,
        AlertStatus(row.status),
        moment(row.starts_at),
        moment_or_none(row.ends_at),
        moment(row.first_seen),
        moment(row.last_seen),
        row.seen,
        row.late,
    )
