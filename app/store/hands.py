"""Hands: who may be at work on incidents, whether or not their word keeps others from being called for all of it: who has taken one, or one of its alerts in PagerDuty, and
who had taken it when it was let go.

Asked before anything is written over without a question; whose word stands, so that nobody is called, is what `people` tells. Only what its giver took
back counts for neither. Reads only, and never says what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, literal, or_, select

from app.domain.alert import AlertStatus, Source
from app.domain.free_text import OF_PAGERDUTY
from app.store.audit import episodes_of_all
from app.store.connection import micros, moment
from app.store.people import Holder, acknowledgements, incident_acknowledgements
from app.store.schema import episodes

_OWN = select(incident_acknowledgements)
_OF_PAGERDUTY: Select[Any] = (
    select(episodes.c.incident_id, episodes.c.status, acknowledgements.c.given_by, acknowledgements.c.at)
    .join(acknowledgements, acknowledgements.c.fingerprint == episodes.c.fingerprint)
    .where(acknowledgements.c.stands, episodes.c.source == Source.PAGERDUTY.value)
    .order_by(acknowledgements.c.at)
)


@dataclass(frozen=True, slots=True)
class AtWork:
    """Who may be at it, by which word. `now`: they have it, or that part of it; else it was let go, or is gone."""

    holder: Holder
    now: bool


def on(
    conn: Connection, incident_ids: Sequence[str], since: datetime, *, as_told: bool = True
) -> dict[str, AtWork]:
    """Who may be at work on which of these incidents: by their own word, as long as the incident is kept; and by what PagerDuty's messages told, while that
    alert fires (where that counts `as_told`), and when it went later than `since`."""
    if not incident_ids:
        return {}
    found = dict[str, AtWork]()
    fires = and_(episodes.c.status == AlertStatus.FIRING.value, literal(as_told))
    there = (episodes_of_all(conn, incident_ids), or_(fires, episodes.c.ends_at > micros(since)))
    for row in conn.execute(_OF_PAGERDUTY.where(*there)):
        name = str(row.given_by).removeprefix(OF_PAGERDUTY)
        holder = Holder(name, "PagerDuty", moment(row.at))
        found[row.incident_id] = AtWork(holder, row.status == AlertStatus.FIRING.value)
    for row in conn.execute(_OWN.where(incident_acknowledgements.c.incident_id.in_(incident_ids))):
        holder = Holder(row.given_by, row.through, moment(row.at), row.severity)
        found[row.incident_id] = AtWork(holder, row.outgrown_at is None)
    return found
