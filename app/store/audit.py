"""The audit trail: append-only, one hash chain over everything, verifiable and exportable.

Each record's hash covers the hash before it and its own fields, so a changed, removed or reordered record breaks every
later link; the stored head tells a cut-off tail. `retention` may remove the oldest part and leaves an anchor, the
sequence number and hash to start from. `append` is called by the writer only; everybody else goes through `Tx.audit`.
Never updates or deletes a record, and never sees a secret (callers keep them out of `data`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from app.domain.events import EventKind
from app.store.encoding import moment, plain_text, to_json
from app.store.prepared import Prepared
from app.store.schema import ABOUT_RUN, audit, audit_chain
from app.store.segments import PAGE, events_of
from app.store.tx import AuditRecord

GENESIS = "0" * 64
"""The hash before the first record."""

_CHUNK = 1_000  # records read at a time by verify and export

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


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify` found. `at_seq` is the first record that does not fit, None when all do."""

    ok: bool
    checked: int
    first_seq: int
    last_seq: int
    at_seq: int | None = None
    problem: str = ""


def link(before: str, seq: int, record: AuditRecord) -> str:
    """The hash of a record: SHA-256 over the hash before it and the canonical JSON array of its fields, hex.

    `data` goes in as its canonical text, so that anyone can recompute it from an export.
    """
    return hashlib.sha256((before + plain_text([seq, *record])).encode()).hexdigest()


def append(conn: Connection, records: Sequence[AuditRecord]) -> None:
    """Append records in order, in the transaction of `conn`. On Postgres the head row is locked until the commit.

    The head is read each time, not remembered: another process (a command line) may have appended in between.
    """
    if not records:
        return
    seq, head = _HEAD.one(conn, 1).one()
    rows = []
    for record in records:
        seq += 1
        head = link(head, seq, record)
        rows.append((seq, *record, head, seq // PAGE))
    _INSERT.many(conn, rows)
    _ADVANCE.one(conn, seq, head, 1)


def for_incident(conn: Connection, incident_id: str) -> list[AuditEvent]:
    """All events of one incident, its runs included, oldest first."""
    query = select(audit).where(events_of(conn, incident_id)).order_by(audit.c.seq)
    return [_event(row) for row in conn.execute(query)]


def for_run(conn: Connection, run_id: str) -> list[AuditEvent]:
    """All events of one run, oldest first."""
    query = select(audit).where(audit.c.run_id == run_id, ABOUT_RUN).order_by(audit.c.seq)
    return [_event(row) for row in conn.execute(query)]


def page(conn: Connection, after_seq: int, limit: int) -> list[AuditEvent]:
    """Up to `limit` events after `after_seq` (0 for the beginning), oldest first."""
    query = select(audit).where(audit.c.seq > after_seq).order_by(audit.c.seq).limit(limit)
    return [_event(row) for row in conn.execute(query)]


def export(conn: Connection) -> Iterator[dict[str, Any]]:
    """The whole trail as JSON objects, oldest first, read in chunks. `at` is in microseconds, as it was hashed."""
    for row in _rows(conn):
        yield {
            "seq": row.seq,
            "at": row.at,
            "kind": row.kind,
            "incident_id": row.incident_id,
            "run_id": row.run_id,
            "actor": row.actor,
            "data": to_json(row.data),
            "hash": row.hash,
        }


def verify(conn: Connection) -> AuditReport:
    """Recompute the chain from the anchor to the stored head; stop at the first record that does not fit."""
    chain = conn.execute(select(audit_chain).where(audit_chain.c.id == 1)).one()
    expected, head = chain.anchor_seq, chain.anchor_hash
    checked = 0

    def report(at_seq: int | None = None, problem: str = "") -> AuditReport:
        return AuditReport(at_seq is None, checked, chain.anchor_seq + 1, chain.seq, at_seq, problem)

    for row in _rows(conn):
        expected += 1
        if row.seq != expected:
            # A record older than the anchor was put back, or the expected one is gone.
            odd = min(row.seq, expected)
            return report(
                odd, f"record {expected} is missing" if row.seq > expected else "record is out of place"
            )
        head = link(
            head, row.seq, AuditRecord(row.at, row.kind, row.incident_id, row.run_id, row.actor, row.data)
        )
        if head != row.hash:
            return report(row.seq, f"record {row.seq} was changed, moved or follows a changed record")
        checked += 1
    if (expected, head) != (chain.seq, chain.hash):
        return report(
            expected + 1, f"the trail ends at record {expected}, the stored head is record {chain.seq}"
        )
    return report()


def _rows(conn: Connection) -> Iterator[Row[Any]]:
    after = -1
    while rows := conn.execute(
        select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(_CHUNK)
    ).all():
        yield from rows
        after = rows[-1].seq


def _event(row: Row[Any]) -> AuditEvent:
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
