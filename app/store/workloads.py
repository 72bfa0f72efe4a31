"""What happened to one target, or to all of a namespace: incidents and runs, by the indexes that begin with the target.

Called by the pages and the diagnosis. Reads only.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from app.store.connection import micros
from app.store.incidents import Incident, incident_from
from app.store.runs import Run, run_from
from app.store.schema import incidents, runs


def incidents_on(conn: Connection, target_key: str, since: datetime, limit: int) -> list[Incident]:
    """Incidents on the target that were opened since then, newest first."""
    key = incidents.c.target_key
    return _incidents(conn, (key == target_key) & key.is_not(None), since, limit)


def incidents_in(conn: Connection, namespace: str, since: datetime, limit: int) -> list[Incident]:
    """Incidents on targets of the namespace that were opened since then, newest first."""
    return _incidents(conn, incidents.c.target_key.startswith(f"{namespace}/", autoescape=True), since, limit)


def runs_on(conn: Connection, target_key: str, since: datetime, limit: int) -> list[Run]:
    """Runs on the target that were requested since then, newest first."""
    return _runs(conn, runs.c.target_key == target_key, since, limit)


def runs_in(conn: Connection, namespace: str, since: datetime, limit: int) -> list[Run]:
    """Runs on targets of the namespace that were requested since then, newest first."""
    return _runs(conn, runs.c.target_key.startswith(f"{namespace}/", autoescape=True), since, limit)


def _incidents(conn: Connection, which: ColumnElement[bool], since: datetime, limit: int) -> list[Incident]:
    query = (
        select(incidents)
        .where(which, incidents.c.opened_at >= micros(since))
        .order_by(incidents.c.opened_at.desc(), incidents.c.id.desc())
        .limit(limit)
    )
    return [incident_from(row) for row in conn.execute(query)]


def _runs(conn: Connection, which: ColumnElement[bool], since: datetime, limit: int) -> list[Run]:
    query = (
        select(runs)
        .where(which, runs.c.requested_at >= micros(since))
        .order_by(runs.c.requested_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    return [run_from(row) for row in conn.execute(query)]
