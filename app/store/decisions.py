"""Decisions: every word on every incident, with its whole trace, kept as it was spoken.

Called by the flow to put, by explain, web and command line to read. Never decides and never changes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from app.domain.events import EventKind
from app.store.encoding import moment, to_json, to_text
from app.store.schema import decisions, incidents
from app.store.tx import Tx


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """One decision. `body` is `Decision.to_json()` and whatever the flow keeps beside it."""

    id: str
    incident_id: str
    run_id: str | None
    at: datetime
    body: Mapping[str, Any]


_KNOWN = select(decisions.c.id).where(decisions.c.id == bindparam("decision"))
_PUT = insert(decisions)
_MARK = update(incidents).where(incidents.c.id == bindparam("incident"))


def put(tx: Tx, decision_id: str, incident_id: str, run_id: str | None, body: Mapping[str, Any]) -> bool:
    """Keep a decision, mark its incident as decided, and append it to the audit trail; False when it is kept already."""
    if tx.conn.execute(_KNOWN, {"decision": decision_id}).scalar() is not None:
        return False
    row = {
        "id": decision_id,
        "incident_id": incident_id,
        "run_id": run_id,
        "at": tx.stamp,
        "body": to_text(dict(body)),
    }
    tx.conn.execute(_PUT, row)
    tx.conn.execute(_MARK, {"incident": incident_id, "decided_at": tx.stamp})
    data = {**body, "decision": decision_id}
    tx.audit(EventKind.DECIDED, incident_id=incident_id, run_id=run_id or "", data=data)
    return True


def latest(conn: Connection, incident_id: str) -> StoredDecision | None:
    """The last decision on the incident."""
    found = _query(conn, incident_id, 1)
    return found[0] if found else None


def for_incident(conn: Connection, incident_id: str, limit: int = 1_000) -> list[StoredDecision]:
    """Decisions on the incident, newest first."""
    return _query(conn, incident_id, limit)


def _query(conn: Connection, incident_id: str, limit: int) -> list[StoredDecision]:
    query = (
        select(decisions)
        .where(decisions.c.incident_id == incident_id)
        .order_by(decisions.c.at.desc(), decisions.c.id.desc())
        .limit(limit)
    )
    return [_decision(row) for row in conn.execute(query)]


def _decision(row: Row[Any]) -> StoredDecision:
    return StoredDecision(row.id, row.incident_id, row.run_id, moment(row.at), to_json(row.body))
