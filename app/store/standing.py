"""How things stand at this moment: what is open, what waits for a person, who was heard last.

Called by the pages. Reads only, by indexes over open rows or over a bounded number of the newest rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.domain.alert import Source
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store.audit import IN_CHAIN, events_since
from app.store.connection import moment
from app.store.incidents import Incident, incident_from
from app.store.schema import OPEN, audit, deliveries, incidents

NEEDING = (IncidentState.WAITING, IncidentState.STUCK, IncidentState.ESCALATED)
"""States in which a person is needed, the most pressing first."""
_CHANGES = (
    EventKind.INCIDENT_OPENED,
    EventKind.INCIDENT_MOVED,
    EventKind.PAUSED,
    EventKind.RESUMED,
    EventKind.POLICY_LOADED,
    EventKind.POLICY_REFUSED,
)
_MAX_CHANGES = 1_000
_HEARD_AMONG = 2_000
"""Newest deliveries that are looked at for who was heard."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One sender: when it was last heard, and how many of the newest deliveries are its."""

    source: Source
    sender: str
    at: datetime
    deliveries: int


def open_counts(conn: Connection) -> dict[IncidentState, int]:
    """How many incidents are open, by state."""
    query = select(incidents.c.state, func.count()).where(OPEN).group_by(incidents.c.state)
    return {IncidentState(state): number for state, number in conn.execute(query)}


def open_in(conn: Connection, state: IncidentState, limit: int) -> list[Incident]:
    """The newest open incidents in a state."""
    query = select(incidents).where(OPEN, incidents.c.state == state.value)
    rows = conn.execute(query.order_by(incidents.c.id.desc()).limit(limit))
    return [incident_from(row) for row in rows]


def newest(conn: Connection) -> str | None:
    """The id of the newest incident; None before the first one."""
    return conn.execute(select(func.max(incidents.c.id))).scalar()


def heard(conn: Connection) -> Sequence[Heard]:
    """Who sent the newest deliveries, the last heard first."""
    recent = (
        select(deliveries.c.source, deliveries.c.sender, deliveries.c.received_at)
        .order_by(deliveries.c.id.desc())
        .limit(_HEARD_AMONG)
        .subquery()
    )
    last = func.max(recent.c.received_at)
    query = select(recent.c.source, recent.c.sender, last, func.count()).group_by(
        recent.c.source, recent.c.sender
    )
    return [
        Heard(Source(s), name, moment(at), n) for s, name, at, n in conn.execute(query.order_by(last.desc()))
    ]


def changes(conn: Connection, since: int, incident_id: str = "") -> int:
    """How many things worth a look happened after the audit record `since`, a thousand at most: to one incident, or to all.
    Messages and measurements are none."""
    if incident_id:
        told = (EventKind.NOTIFIED.value, EventKind.MEASURED.value)
        where = [events_since(conn, incident_id, since), audit.c.kind.not_in(told)]
    else:
        where = [audit.c.seq > since, audit.c.kind.in_([k.value for k in _CHANGES])]
    found = select(audit.c.seq).where(*where, IN_CHAIN).limit(_MAX_CHANGES)
    return int(conn.execute(select(func.count()).select_from(found.subquery())).scalar() or 0)
