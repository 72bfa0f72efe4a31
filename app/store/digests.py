"""Digests: one message for the many incidents of a storm; which incidents it tells, and what it said last.

Called by the flow: incidents join while a storm lasts, the message is posted once and edited as they move. Never sends
and never decides which incident belongs into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from app.domain.errors import Missing
from app.domain.outcome import IncidentState
from app.store.connection import micros, moment
from app.store.schema import GROWING, digest_incidents, digests, incidents
from app.store.tx import Tx

LULL = timedelta(minutes=5)
"""As long as incidents join within this time, it is one storm."""
LONGEST = timedelta(hours=6)
"""Then a new message begins, further down in the channel where people look."""
_OFTEN = timedelta(seconds=15)
"""A digest is looked at no more often than this at first, and less often as it grows old."""
_NOW: Any = bindparam("now", type_=BigInteger)
_UNSEEN_FOR = _NOW - digests.c.told_at
_POSTED = (  # built once: every sweep asks it
    select(digests)
    .where(GROWING, digests.c.ts != "")
    .where(_OFTEN // timedelta(microseconds=1) <= _UNSEEN_FOR, _NOW - digests.c.opened_at <= _UNSEEN_FOR * 20)
    .order_by(digests.c.told_at, digests.c.id)
    .limit(bindparam("most", type_=BigInteger))
)
_OF_INCIDENTS = digest_incidents.join(incidents, incidents.c.id == digest_incidents.c.incident_id)
_URGENT = (
    IncidentState.STUCK,
    IncidentState.ESCALATED,
    IncidentState.WAITING,
    IncidentState.ACTING,
    IncidentState.VERIFYING,
)


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest. `ts` is empty until it was posted, `told` is what it said last, `told_at` when that was last found to be so or
    changed, `edits` how often it was changed."""

    id: str
    opened_at: datetime
    joined_at: datetime
    channel: str
    ts: str
    told: str
    told_at: datetime
    edits: int


@dataclass(frozen=True, slots=True)
class Counts:
    """The incidents of a digest, counted by state, alert name and namespace, the most frequent first; `ids` are some of
    them, those that need a person first."""

    states: tuple[tuple[IncidentState, int], ...]
    alertnames: tuple[tuple[str, int], ...]
    namespaces: tuple[tuple[str, int], ...]
    ids: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing of it is open any more."""
        return all(state.closed for state, _ in self.states)

    @property
    def text(self) -> str:
        """The counts as one text, to tell whether anything has moved."""
        return " ".join(f"{state.value}={number}" for state, number in sorted(self.states))


def join(tx: Tx, incident_ids: Sequence[str]) -> tuple[str, bool]:
    """Let the incidents join the storm's digest, opened when none is growing; its id, and whether it is new.

    Call under the ledger's lock: two replicas must not open two. An incident that is told by one already stays there, and
    opens no other.
    """
    have = told_by_one(tx.conn, incident_ids)
    wanted = [i for i in dict.fromkeys(incident_ids) if i not in have]
    if not wanted:
        of = select(digest_incidents.c.digest_id).where(digest_incidents.c.incident_id == incident_ids[0])
        return str(tx.conn.execute(of).scalar_one()), False
    growing = (
        select(digests.c.id)
        .where(GROWING, digests.c.joined_at >= micros(tx.now - LULL))
        .where(digests.c.opened_at >= micros(tx.now - LONGEST))
        .order_by(digests.c.opened_at.desc(), digests.c.id.desc())
        .limit(1)
    )
    found = tx.conn.execute(growing).scalar()
    digest_id = found or tx.ids.new("dig")
    if found is None:
        values = {"opened_at": tx.stamp, "joined_at": tx.stamp, "told_at": tx.stamp, "edits": 0}
        tx.conn.execute(insert(digests).values(id=digest_id, channel="", ts="", told="", **values))
    tx.conn.execute(insert(digest_incidents), [{"incident_id": i, "digest_id": digest_id} for i in wanted])
    tx.conn.execute(update(digests).where(digests.c.id == digest_id).values(joined_at=tx.stamp))
    return str(digest_id), found is None


def told_by_one(conn: Connection, incident_ids: Sequence[str]) -> set[str]:
    """Those of the incidents that a digest tells."""
    told = digest_incidents.c.incident_id
    query = select(told).where(told.in_(incident_ids))
    return set(conn.execute(query).scalars())


def get(conn: Connection, digest_id: str) -> Digest:
    """One digest. Raises Missing."""
    row = conn.execute(select(digests).where(digests.c.id == digest_id)).one_or_none()
    if row is None:
        raise Missing("no such digest", where=digest_id)
    return _digest(row)


def growing(conn: Connection, now: datetime, limit: int) -> list[Digest]:
    """Digests that are posted and are to be looked at now whether they have to be edited, the one that was looked at longest ago first."""
    return [_digest(row) for row in conn.execute(_POSTED, {"most": limit, "now": micros(now)})]


def open_within(subject: ColumnElement[str]) -> ColumnElement[bool]:
    """SQL: an incident of the digest with this id is open."""
    mine = digest_incidents.c.digest_id == subject
    is_open = incidents.c.state.not_in([s.value for s in IncidentState if s.closed])
    return exists(select(incidents.c.id).select_from(_OF_INCIDENTS).where(mine, is_open))


def joined_since(subject: ColumnElement[str], since: ColumnElement[int]) -> ColumnElement[bool]:
    """SQL: an incident joined the digest with this id after `since`, in microseconds."""
    return exists(select(digests.c.id).where(digests.c.id == subject, digests.c.joined_at >= since))


def is_over(conn: Connection, digest_id: str, now: datetime) -> bool:
    """Nothing of it is open, and nothing joined lately."""
    subject, lull = literal(digest_id), literal(micros(now - LULL), BigInteger)
    return not conn.execute(select(or_(open_within(subject), joined_since(subject, lull)))).scalar_one()


def count(conn: Connection, digest_id: str, some: int = 0) -> Counts:
    """How its incidents stand now, and the ids of `some` of them."""
    mine = digest_incidents.c.digest_id == digest_id
    i = incidents.c
    rows = conn.execute(
        select(i.state, i.alertname, i.namespace, func.count())
        .select_from(_OF_INCIDENTS)
        .where(mine)
        .group_by(i.state, i.alertname, i.namespace)
    ).all()
    urgent = case((i.state.in_([s.value for s in _URGENT]), 0), else_=1)
    first = select(i.id).select_from(_OF_INCIDENTS).where(mine).order_by(urgent, i.id).limit(some)
    ids = tuple(conn.execute(first).scalars()) if some else ()
    states, names, spaces = (_most([(row[at], row[3]) for row in rows]) for at in range(3))
    return Counts(tuple((IncidentState(s), n) for s, n in states), names, spaces, ids)


def _most(found: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    summed: dict[str, int] = {}
    for word, number in found:
        summed[word] = summed.get(word, 0) + number
    return tuple(sorted(summed.items(), key=lambda pair: (-pair[1], pair[0])))


def posted(tx: Tx, digest_id: str, channel: str, ts: str) -> None:
    """It stands there as this message."""
    tx.conn.execute(update(digests).where(digests.c.id == digest_id).values(channel=channel, ts=ts))


def changed(tx: Tx, digest_id: str, counts: Counts) -> int | None:
    """Note that it is to say this from now on, and close it when nothing can move any more; the number of the edit, None
    when it says this already."""
    row = tx.conn.execute(
        select(digests.c.told, digests.c.edits).where(digests.c.id == digest_id, GROWING).with_for_update()
    ).one_or_none()
    if row is None or row.told == counts.text:
        return None
    values: dict[str, Any] = {"told": counts.text, "told_at": tx.stamp, "edits": row.edits + 1}
    tx.conn.execute(update(digests).where(digests.c.id == digest_id).values(**values))
    return int(row.edits) + 1


def looked(tx: Tx, digest_id: str) -> None:
    """It was looked at, and says what is so."""
    tx.conn.execute(update(digests).where(digests.c.id == digest_id).values(told_at=tx.stamp))


def close(tx: Tx, digest_id: str) -> None:
    """Nothing of it moves any more."""
    tx.conn.execute(update(digests).where(digests.c.id == digest_id).values(closed_at=tx.stamp))


def _digest(row: Row[Any]) -> Digest:
    times = {name: moment(getattr(row, name)) for name in ("opened_at", "joined_at", "told_at")}
    return Digest(id=row.id, channel=row.channel, ts=row.ts, told=row.told, edits=row.edits, **times)
