"""Severity: which severity an escalation follows: that of the most severe alert of its incident that fires.

Called by the walk of the steps, by merges and by statuses. A round's own never falls: what was asked for stays asked for. Only reads.
"""

from __future__ import annotations

from sqlalchemy import Connection

from app.domain.errors import Missing
from app.policy.match import rank_of
from app.store import incidents, severities
from app.store.escalations import StoredEscalation

OF_STORM = "critical"
"""Of a storm as a whole, whatever its first alert says."""


def of_incident(conn: Connection, incident_id: str) -> str:
    """That of the most severe alert that fires, what is not known last; of its first alert when none says one. Empty without any."""
    try:
        first = incidents.get(conn, incident_id).severity
    except Missing:
        return ""
    found = severities.firing(conn, incident_id)
    return min(found, key=lambda s: (rank_of(s), s != first, s), default=first)


def followed(conn: Connection, walk: StoredEscalation) -> str:
    """That whose steps the round asks when it is looked at now; empty for a storm."""
    if walk.storm:
        return ""
    if walk.severity is None or (walk.joined and has_risen(conn, walk)):
        return of_incident(conn, walk.subject)
    return walk.severity


def has_risen(conn: Connection, walk: StoredEscalation) -> bool:
    """An alert that is more severe than what the round asks people about has joined."""
    return (
        walk.joined
        and walk.severity is not None
        and not walk.storm
        and rank_of(of_incident(conn, walk.subject)) < rank_of(walk.severity)
    )
