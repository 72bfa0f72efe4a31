"""Who has what: which of PagerDuty's incidents a person has taken, as its messages tell, and which of our own incidents.

Of PagerDuty's the newest word on each counts; they are written by `ingest`, and where PagerDuty's API can be asked, its answer counts
and not this. Of our own one person has it, whichever way they said so, until it is given back. Read by the facts of the gates
inside their transaction. Never says what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Index,
    Row,
    Table,
    Text,
    bindparam,
    case,
    delete,
    insert,
    select,
    update,
)

from app.domain.alert import Acknowledgement, AlertStatus, Source
from app.store.columns import flag_column, maybe_text, text_column, time_column
from app.store.encoding import micros, moment, storable
from app.store.schema import OPEN, episodes, incidents, metadata
from app.store.segments import EPISODES_OF, episodes_of
from app.store.tx import Tx

acknowledgements = Table(
    "acknowledgements",
    metadata,
    text_column("fingerprint", primary_key=True),
    text_column("given_by"),
    time_column("at"),
    flag_column("stands"),
)
Index("ix_acknowledgements_at", acknowledgements.c.at)

incident_acknowledgements = Table(
    "incident_acknowledgements",
    metadata,
    text_column("incident_id", primary_key=True),
    text_column("given_by"),
    text_column("through"),
    time_column("at"),
    maybe_text("severity"),
)

_FINGERPRINT, _AT = bindparam("wanted", type_=Text()), bindparam("since", type_=BigInteger())
_KNOWN = select(acknowledgements.c.at).where(acknowledgements.c.fingerprint == _FINGERPRINT)
_CHANGE = update(acknowledgements).where(
    acknowledgements.c.fingerprint == _FINGERPRINT, acknowledgements.c.at <= _AT
)
_OF = (
    select(acknowledgements.c.given_by, acknowledgements.c.at, acknowledgements.c.stands)
    .select_from(
        episodes.outerjoin(acknowledgements, acknowledgements.c.fingerprint == episodes.c.fingerprint)
    )
    .where(
        EPISODES_OF,
        episodes.c.source == Source.PAGERDUTY.value,
        episodes.c.status == AlertStatus.FIRING.value,
    )
)


_HOLDER = select(incident_acknowledgements).where(
    incident_acknowledgements.c.incident_id == bindparam("incident")
)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has an incident, how they said so (`Slack`, `API`, `PagerDuty`), since when, and how severe it was then; None where an older
    version wrote it down."""

    by: str
    through: str
    at: datetime
    severity: str | None = None

    @property
    def text(self) -> str:
        """As one clause."""
        return f"acknowledged through {self.through} by {self.by} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


def put(tx: Tx, given: Acknowledgement) -> None:
    """Keep the word, unless a newer one on the same incident is known. That nobody has it any more is kept only of what
    somebody had."""
    fingerprint, at = storable(given.alert.fingerprint), micros(given.at)
    values = {"given_by": storable(given.by), "at": at, "stands": given.stands}
    known = tx.conn.execute(_KNOWN, {"wanted": fingerprint}).scalar()
    if known is None and given.stands:
        tx.conn.execute(insert(acknowledgements), {"fingerprint": fingerprint, **values})
    elif known is not None:
        tx.conn.execute(_CHANGE.values(values), {"wanted": fingerprint, "since": at})


def of_incident(conn: Connection, incident_id: str) -> str:
    """Who has taken all of the incident's alerts of PagerDuty that fire, as one clause; empty when one of them is nobody's, or
    there is none."""
    newest = _newest(conn, incident_id)
    if newest is None:
        return ""
    return f"acknowledged in PagerDuty by {newest.given_by} at {moment(newest.at):%Y-%m-%dT%H:%M:%SZ}"


def taker(conn: Connection, incident_id: str) -> str:
    """The name alone of who has taken them all, empty for nobody."""
    newest = _newest(conn, incident_id)
    return "" if newest is None else str(newest.given_by)


def _newest(conn: Connection, incident_id: str) -> Row[Any, Any, Any] | None:
    found = conn.execute(_OF, episodes_of(conn, incident_id)).all()
    if not found or not all(row.stands for row in found):
        return None
    return max(found, key=lambda row: int(row.at))


def give(tx: Tx, incident_id: str, by: str, through: str, severity: str) -> None:
    """This person has the incident now, which is so severe; who had it before does not any more. It is decided anew. The caller holds
    the incident."""
    withdraw(tx, incident_id)
    row = {"incident_id": incident_id, "given_by": storable(by), "through": through, "at": tx.stamp}
    tx.conn.execute(insert(incident_acknowledgements).values(**row, severity=storable(severity)))


def given_for(tx: Tx, incident_id: str, severity: str) -> None:
    """Whoever has the incident has it as one that is so severe."""
    mine = incident_acknowledgements.c.incident_id == incident_id
    tx.conn.execute(update(incident_acknowledgements).where(mine).values(severity=storable(severity)))


def withdraw(tx: Tx, incident_id: str) -> None:
    """Nobody has the incident, which is decided anew."""
    mine = incident_acknowledgements.c.incident_id == incident_id
    tx.conn.execute(delete(incident_acknowledgements).where(mine))
    due = case((incidents.c.due_at < tx.stamp, incidents.c.due_at), else_=tx.stamp)
    tx.conn.execute(update(incidents).where(incidents.c.id == incident_id, OPEN).values(due_at=due))


def forget(tx: Tx, incident_id: str) -> None:
    """`withdraw` when somebody has it; nothing otherwise."""
    if holder(tx.conn, incident_id) is not None:
        withdraw(tx, incident_id)


def others_on(conn: Connection, target_key: str, incident_id: str) -> list[str]:
    """The other open incidents with this target, the oldest first."""
    mine = (OPEN, incidents.c.target_key == target_key, incidents.c.id != incident_id)
    return list(conn.execute(select(incidents.c.id).where(*mine).order_by(incidents.c.id)).scalars())


def holder(conn: Connection, incident_id: str) -> Holder | None:
    """Who has the incident by their own word; None for nobody."""
    row = conn.execute(_HOLDER, {"incident": incident_id}).one_or_none()
    return None if row is None else Holder(row.given_by, row.through, moment(row.at), row.severity)
