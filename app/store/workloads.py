"""What happened to one target: its incidents and runs, by the indexes that begin with it.

Called by the pages. Reads only.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from app.store.encoding import micros
from app.store.incidents import Incident, incident_from
from app.store.runs import Run, run_from
from app.store.schema import incidents, runs


def incidents_on(conn: Connection, target_key: str, since: datetime, limit: int) -> list[Incident]:
    """Incidents on the target that were opened since then, newest first."""
    query = (
        select(incidents)
        .where(incidents.c.target_key == target_key, incidents.c.target_key.is_not(None))
        .where(incidents.c.opened_at >= micros(since))
        .order_by(incidents.c.opened_at.desc(), incidents.c.id.desc())
        .limit(limit)
    )
    return [incident_from(row) for row in conn.execute(query)]


def runs_on(conn: Connection, target_key: str, since: datetime, limit: int) -> list[Run]:
    """Runs on the target that were requested since then, newest first."""
    query = (
        select(runs)
        .where(runs.c.target_key == target_key, runs.c.requested_at >= micros(since))
        .order_by(runs.c.requested_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    return [run_from(row) for row in conn.execute(query)]


def incidents_in(conn: Connection, namespace: str, since: datetime, limit: int) -> list[Incident]:
    """Incidents on targets of the namespace that were opened since then, newest first."""
    query = (
        select(incidents)
        .where(incidents.c.target_key.startswith(f"{namespace}/", autoescape=True))
        .where(incidents.c.opened_at >= micros(since))
        .order_by(incidents.c.opened_at.desc(), incidents.c.id.desc())
        .limit(limit)
    )
    return [incident_from(row) for row in conn.execute(query)]


def runs_in(conn: Connection, namespace: str, since: datetime, limit: int) -> list[Run]:
    """Runs on targets of the namespace that were requested since then, newest first."""
    query = (
        select(runs)
        .where(runs.c.target_key.startswith(f"{namespace}/", autoescape=True))
        .where(runs.c.requested_at >= micros(since))
        .order_by(runs.c.requested_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    return [run_from(row) for row in conn.execute(query)]
