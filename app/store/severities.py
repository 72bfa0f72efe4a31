"""Severities: what the label `severity` says in the alerts of an incident that fire. Called by the flow; never ranks them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select

from app.domain.alert import AlertStatus, Source
from app.store.audit import EPISODES_OF, episodes_of
from app.store.connection import to_json
from app.store.schema import episodes

_MAX_EPISODES = 1_000
_LABELS: Select[str] = (
    select(episodes.c.labels)
    .where(EPISODES_OF, episodes.c.status == AlertStatus.FIRING.value)
    .limit(_MAX_EPISODES)
)


def firing(conn: Connection, incident_id: str, source: Source | None = None) -> frozenset[str]:
    """The severities of its alerts that fire, those of one source alone where it is given, as they are written; of 1,000 alerts at most. Empty when
    none fires or says one."""
    query = _LABELS if source is None else _LABELS.where(episodes.c.source == source.value)
    found = conn.execute(query, episodes_of(conn, incident_id)).scalars()
    return frozenset(said for labels in found if (said := str(to_json(labels).get("severity", ""))))


def last_of(conn: Connection, incident_id: str, source: Source) -> frozenset[str]:
    """Those of its alerts from one source that went last, of an incident that is closed."""
    mine = (EPISODES_OF, episodes.c.source == source.value, episodes.c.ends_at.is_not(None))
    asked: Select[Any] = select(episodes.c.labels, episodes.c.ends_at).where(*mine)
    newest = asked.order_by(episodes.c.ends_at.desc()).limit(_MAX_EPISODES)
    found = conn.execute(newest, episodes_of(conn, incident_id)).all()
    last = [row.labels for row in found if row.ends_at == found[0].ends_at]
    return frozenset(said for labels in last if (said := str(to_json(labels).get("severity", ""))))
