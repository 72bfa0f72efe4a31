"""The audit trail: append-only, one hash chain over everything.

Each record's hash covers the hash before it and its own fields, so a changed, removed or reordered record breaks every
later link; the stored head tells a cut-off tail, and a head written down elsewhere tells a trail that was rewritten with its
head. `trail` verifies, exports and cuts. `append` is called by the writer only; everybody else goes through `Tx.audit`.
Never updates or deletes a record (triggers forbid it), and never sees a secret (callers keep them out of `data`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.store.chain import GENESIS, NO_KEYS, AuditKeys, key_of
from app.store.encoding import moment, to_json
from app.store.prepared import Prepared
from app.store.schema import ABOUT_RUN, audit, audit_chain
from app.store.segments import PAGE, events_of
from app.store.trail import AuditReport, export, verify
from app.store.tx import AuditRecord

__all__ = [
    "GENESIS",
    "AuditEvent",
    "AuditReport",
    "append",
    "event_from",
    "export",
    "for_incident",
    "for_run",
    "page",
    "require_key",
    "verify",
]

_HEAD = Prepared(
    select(audit_chain.c.seq, audit_chain.c.hash)
    .where(audit_chain.c.id == bindparam("id"))
    .with_for_update(),
    ("id",),
)
_INSERT = Prepared(insert(audit), tuple(c.name for c in audit.c))
_ADVANCE = Prepared(
    update(audit_chain)
    .where(audit_chain.c.id == bindparam("chain"))
    .values(seq=bindparam("seq"), hash=bindparam("hash")),
    ("seq", "hash", "chain"),
)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One record of the trail as read back. `seq` counts from 1 without gaps."""

    seq: int
    at: datetime
    kind: EventKind
    incident_id: str
    run_id: str
    actor: str
    data: dict[str, Any]
    hash: str


def append(conn: Connection, records: Sequence[AuditRecord], keys: AuditKeys = NO_KEYS) -> None:
    """Append records in order, in the transaction of `conn`. On Postgres the head row is locked until the commit.

    The head is read each time, not remembered: another process (a command line) may have appended in between.
    """
    if not records:
        return
    seq, head = _HEAD.one(conn, 1).one()
    rows = []
    for record in records:
        seq += 1
        head = keys.link(head, seq, record)
        rows.append((seq, *record, head, seq // PAGE))
    _INSERT.many(conn, rows)
    _ADVANCE.one(conn, seq, head, 1)


def for_incident(conn: Connection, incident_id: str) -> list[AuditEvent]:
    """All events of one incident, its runs included, oldest first."""
    query = select(audit).where(events_of(conn, incident_id)).order_by(audit.c.seq)
    return [event_from(row) for row in conn.execute(query)]


def for_run(conn: Connection, run_id: str) -> list[AuditEvent]:
    """All events of one run, oldest first."""
    query = select(audit).where(audit.c.run_id == run_id, ABOUT_RUN).order_by(audit.c.seq)
    return [event_from(row) for row in conn.execute(query)]


def page(conn: Connection, after_seq: int, limit: int) -> list[AuditEvent]:
    """Up to `limit` events after `after_seq` (0 for the beginning), oldest first."""
    query = select(audit).where(audit.c.seq > after_seq).order_by(audit.c.seq).limit(limit)
    return [event_from(row) for row in conn.execute(query)]


def newest_at(conn: Connection) -> datetime | None:
    """When the newest record was written, by the clock of its writer; None without any."""
    head = select(audit_chain.c.seq).where(audit_chain.c.id == 1).scalar_subquery()
    at = conn.execute(select(audit.c.at).where(audit.c.seq == head)).scalar()
    return None if at is None else moment(at)


def require_key(conn: Connection, keys: AuditKeys) -> None:
    """Raise BadInput when the trail goes on with a key that is not given: a plain record would break it for good."""
    key = key_of(_HEAD.one(conn, 1).one()[1])
    if not keys.has(key) or (key and not keys.current):
        raise BadInput(
            "the audit trail was made with a key, and it goes on with one only: give this key, or a new one and this one",
            code="audit_key_missing",
            where="REMEDIATOR_AUDIT_KEY",
        )


def event_from(row: Row[Any]) -> AuditEvent:
    """A row of the table as an event."""
    return AuditEvent(
        row.seq,
        moment(row.at),
        EventKind(row.kind),
        row.incident_id,
        row.run_id,
        row.actor,
        to_json(row.data),
        row.hash,
    )
