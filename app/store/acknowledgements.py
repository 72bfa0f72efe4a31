"""Which of PagerDuty's incidents a person has taken, as its messages tell: the newest word on each counts.

Written by `ingest`, read by the facts of the gates inside their transaction. Where PagerDuty's API can be asked, its answer
counts and not this. Never says what follows from it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Index, Table, Text, bindparam, insert, select, update

from app.domain.alert import Acknowledgement, AlertStatus, Source
from app.store.columns import flag_column, text_column, time_column
from app.store.encoding import micros, moment, storable
from app.store.schema import episodes, metadata
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
    found = conn.execute(_OF, episodes_of(conn, incident_id)).all()
    if not found or not all(row.stands for row in found):
        return ""
    newest = max(found, key=lambda row: int(row.at))
    return f"acknowledged in PagerDuty by {newest.given_by} at {moment(newest.at):%Y-%m-%dT%H:%M:%SZ}"
