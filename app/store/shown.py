"""What answers show of stored things, in portions: incidents, their alerts, decisions and runs.

Called by the API. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from app.domain.outcome import IncidentState, RunState
from app.store import incidents as one
from app.store.audit import all_episodes
from app.store.incidents import Incident, StoredAlert, incident_from, stored_alert
from app.store.portions import Portion, each, portion
from app.store.runs import Run, run_from
from app.store.schema import decisions, episodes, incidents, runs
from app.store.work import NEWEST_FIRST, StoredDecision, decision_from


def incidents_listed(
    conn: Connection, before: str | None, limit: int, state: IncidentState | None = None
) -> Portion[Incident]:
    """Up to `limit` incidents, newest first, older than the id `before`."""
    query = select(incidents).order_by(incidents.c.id.desc())
    if before:
        query = query.where(incidents.c.id < before)
    if state is not None:
        query = query.where(incidents.c.state == state.value)
    return portion(conn, query, limit, incident_from)


def runs_listed(
    conn: Connection,
    before: str | None,
    limit: int,
    incident_id: str | None = None,
    state: RunState | None = None,
) -> Portion[Run]:
    """Up to `limit` runs, newest first, older than the id `before`."""
    query = select(runs).order_by(runs.c.id.desc())
    if before:
        query = query.where(runs.c.id < before)
    if incident_id is not None:
        query = query.where(runs.c.incident_id == incident_id)
    if state is not None:
        query = query.where(runs.c.state == state.value)
    return portion(conn, query, limit, run_from, by=runs.c.id)


def decisions_listed(conn: Connection, incident_id: str, limit: int) -> Portion[StoredDecision]:
    """The newest decisions on the incident."""
    query = select(decisions).where(decisions.c.incident_id == incident_id).order_by(*NEWEST_FIRST)
    return portion(conn, query, limit, decision_from, by=decisions.c.id)


def alerts_listed(conn: Connection, incident_id: str, after: str | None, limit: int) -> Portion[StoredAlert]:
    """Up to `limit` alerts of the incident behind the episode `after`, oldest first. Raises Missing."""
    one.get(conn, incident_id)
    query = select(episodes).where(all_episodes(conn, incident_id)).order_by(episodes.c.key)
    if after:
        query = query.where(episodes.c.key > after)
    return portion(conn, query, limit, stored_alert, by=episodes.c.key)


def each_alert(conn: Connection, incident_id: str) -> Iterator[StoredAlert]:
    """The alerts of the incident, those that fire first, one by one."""
    of_it = all_episodes(conn, incident_id)
    query = select(episodes).where(of_it).order_by(episodes.c.status, episodes.c.key)
    return (stored_alert(row) for row in each(conn, query, episodes.c.key))


def alert_count(conn: Connection, incident_id: str) -> int:
    """How many alerts the incident has."""
    query = select(func.count()).select_from(episodes).where(all_episodes(conn, incident_id))
    return int(conn.execute(query).scalar() or 0)
