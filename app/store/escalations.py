"""Escalations: for each incident that needs a person, and each storm, which step was asked, when the next one is due, who answered.

Called by the flow: begun where a person is called for, walked by the sweep, answered and ended there too; `ingest` writes down what
PagerDuty tells of our own pages. A row is claimed by nobody: a step is asked in the one transaction that holds the row and finds it as
it was read, so that two replicas ask once and a death holds nothing up. Never decides who is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Index,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    insert,
    not_,
    or_,
    select,
    update,
)

from app.domain.alert import PageWord
from app.domain.outcome import IncidentState
from app.store import asked as steps_asked
from app.store import digests
from app.store.asked import Asked
from app.store.columns import (
    count_column,
    flag_column,
    maybe_text,
    maybe_time,
    partial_index,
    text_column,
    time_column,
)
from app.store.connection import micros, micros_or_none, moment, moment_or_none, storable, to_json, to_text
from app.store.schema import digest_incidents, incidents, metadata
from app.store.tx import Tx

escalations = Table(
    "escalations",
    metadata,
    text_column("id", primary_key=True),
    text_column("subject"),
    text_column("incident_id"),
    count_column("round"),
    text_column("why"),
    text_column("steps"),
    text_column("asked"),
    text_column("policy"),
    text_column("page_key"),
    time_column("begun_at"),
    maybe_time("due_at"),
    flag_column("news"),
    text_column("page_word"),
    text_column("page_by"),
    maybe_time("page_at"),
    text_column("answered_by"),
    text_column("through"),
    maybe_time("answered_at"),
    maybe_time("over_at"),
)
escalation_scopes = Table(
    "escalation_scopes",
    metadata,
    text_column("escalation_id", primary_key=True),
    text_column("incident_id"),
    maybe_text("severity"),
    flag_column("joined"),
    text_column("merged"),
)
Index("ix_escalation_scopes_incident", escalation_scopes.c.incident_id)
_ALL: Select[Any] = select(
    escalations, escalation_scopes.c.severity, escalation_scopes.c.joined, escalation_scopes.c.merged
).outerjoin_from(escalations, escalation_scopes, escalation_scopes.c.escalation_id == escalations.c.id)
LIVE = escalations.c.over_at.is_(None)
partial_index("uq_escalations_live", escalations.c.subject, where=LIVE, unique=True)
Index("ix_escalations_incident", escalations.c.incident_id)
partial_index("ix_escalations_page", escalations.c.page_key, where=LIVE)
_CLOSED = [state.value for state in IncidentState if state.closed]
BUSY = (IncidentState.ACTING, IncidentState.VERIFYING, IncidentState.WAITING)
"""The service is at it, or a question of its own stands: what becomes of that calls again when it has to."""
_IDLE = and_(
    or_(incidents.c.id.is_(None), incidents.c.state.not_in([state.value for state in BUSY])),
    or_(
        escalations.c.due_at <= bindparam("now", type_=BigInteger),
        and_(
            escalations.c.policy != bindparam("policy"),
            escalations.c.policy != "",
            escalations.c.answered_at.is_(None),
        ),
        escalation_scopes.c.joined.is_(True),
    ),
)
_STORM = escalations.c.subject != escalations.c.incident_id
_STORM_OVER = and_(
    _STORM,
    not_(digests.open_within(escalations.c.subject)),
    not_(digests.joined_since(escalations.c.subject, bindparam("lull", type_=BigInteger))),
)
_OVER = or_(incidents.c.state.in_(_CLOSED), _STORM_OVER)
# Nothing is in it that a look leaves as it was: what one look has no room for has its turn at the next one.
_WAITING = (  # built once: every sweep asks it
    _ALL.outerjoin(incidents, incidents.c.id == escalations.c.subject)
    .where(LIVE, or_(_IDLE, escalations.c.news.is_(True), _OVER))
    .order_by(escalations.c.due_at.is_(None), escalations.c.due_at, escalations.c.id)
    .limit(bindparam("most", type_=BigInteger))
)
ROUND, _CLOCKS = "~", 5 * 60 * 1_000_000  # PagerDuty's clock is not ours, microseconds


@dataclass(frozen=True, slots=True)
class StoredEscalation:
    """One round of one subject (an incident or a storm's digest). `incident_id` is the subject or, of a storm, its first incident.

    `why` is the fact that began it, as JSON; `steps` the policy's steps when it began, as JSON, None until they were looked at.
    `page_key` is the key of its page, empty while nobody was paged. `page_word` is the last word of PagerDuty on that page. Due at None:
    nobody is left to ask, somebody answered, or it is over.

    `severity` is the one whose steps it asks, or, once somebody answered, the one they answered for; None until it was looked at. `joined`:
    alerts joined the incident since. `merged` are incidents that were merged into this one while people were asked for them.
    """

    id: str
    subject: str
    incident_id: str
    round: int
    why: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]] | None
    asked: tuple[Asked, ...]
    policy: str
    page_key: str
    begun_at: datetime
    due_at: datetime | None
    news: bool
    page_word: PageWord | None
    page_by: str
    answered_by: str
    through: str
    answered_at: datetime | None
    over_at: datetime | None
    severity: str | None = None
    joined: bool = False
    merged: tuple[str, ...] = ()

    @property
    def storm(self) -> bool:
        """It is about a storm."""
        return self.subject != self.incident_id


@dataclass(frozen=True, slots=True)
class Begun:
    """A round that began, and the one before it that is over by it, if there was one."""

    now: StoredEscalation
    before: StoredEscalation | None = None


def begin(tx: Tx, subject: str, incident_id: str, why: Mapping[str, Any]) -> Begun | None:
    """A person is needed for the subject: a round begins. None when one that nobody has answered goes on, for the newer reason."""
    live = of_subject(tx, subject)
    if live is not None and live.answered_at is None:
        change(tx, live.id, why=to_text(dict(why)))
        return None
    if live is not None:
        return Begun(anew(tx, live, why), live)
    return Begun(_insert(tx, subject, incident_id, why, _rounds(tx.conn, subject, incident_id) + 1))


def anew(tx: Tx, before: StoredEscalation, why: Mapping[str, Any]) -> StoredEscalation:
    """End this round, which is live, and begin the steps anew, with no page. Returns the new round."""
    change(tx, before.id, over_at=tx.stamp, due_at=None)
    now = _insert(tx, before.subject, before.incident_id, why, before.round + 1)
    follow(tx, now, merged=before.merged)
    return replace(now, merged=before.merged)


def again(tx: Tx, before: StoredEscalation, *, page: bool) -> StoredEscalation:
    """Begin the steps anew after an answer was taken back. With `page` its page stays the one that is open, and what PagerDuty said before
    stays before. Returns the new round."""
    now = anew(tx, before, before.why)
    heard = tx.conn.execute(select(escalations.c.page_at).where(escalations.c.id == before.id)).scalar()
    if page:
        change(tx, now.id, page_key=before.page_key, page_at=heard)
    return replace(now, page_key=before.page_key if page else "")


def carry(tx: Tx, gone: StoredEscalation, into: str, *, page: bool) -> StoredEscalation:
    """This round goes on as one of the incident `into`, which has no live one: what was asked, when the next step is due, who answered; with
    `page` its page too. Returns it as it is there."""
    change(tx, gone.id, over_at=tx.stamp, due_at=None)
    now = _insert(tx, into, into, gone.why, _rounds(tx.conn, into, into) + 1)
    row = tx.conn.execute(select(escalations).where(escalations.c.id == gone.id)).one()
    kept = ("steps", "asked", "policy", "begun_at", "answered_by", "through", "answered_at")
    heard = ("page_key", "page_word", "page_by", "page_at", "news") if page else ()
    values = {name: getattr(row, name) for name in (*kept, *heard)}
    change(tx, now.id, due_at=micros_or_none(gone.due_at), **values)
    follow(tx, now, severity=gone.severity, joined=True)
    return _known(tx.conn, now.id)


def _insert(tx: Tx, subject: str, incident_id: str, why: Mapping[str, Any], number: int) -> StoredEscalation:
    row = {
        "id": f"{subject}{ROUND}{number}",
        "subject": subject,
        "incident_id": incident_id,
        "round": number,
        "why": to_text(dict(why)),
        "asked": "[]",
        "begun_at": tx.stamp,
        "due_at": tx.stamp,
        "news": False,
        **dict.fromkeys(
            ("steps", "policy", "page_key", "page_word", "page_by", "answered_by", "through"), ""
        ),
    }
    tx.conn.execute(insert(escalations).values(**row))
    scope = {"escalation_id": row["id"], "incident_id": incident_id, "joined": False, "merged": "[]"}
    tx.conn.execute(insert(escalation_scopes).values(**scope))
    return _known(tx.conn, f"{subject}{ROUND}{number}")


def _rounds(conn: Connection, subject: str, incident_id: str) -> int:
    mine = escalations.c.incident_id == incident_id
    found = conn.execute(select(escalations.c.round).where(mine, escalations.c.subject == subject)).scalars()
    return max(found, default=0)


def of_subject(tx: Tx, subject: str) -> StoredEscalation | None:
    """The round of this subject that is not over, held until the transaction ends; None when there is none."""
    return _held(tx, escalations.c.subject == subject)


def hold(tx: Tx, escalation_id: str) -> StoredEscalation | None:
    """This round, held until the transaction ends; None when it is over or gone."""
    return _held(tx, escalations.c.id == escalation_id)


def _held(tx: Tx, which: ColumnElement[bool]) -> StoredEscalation | None:
    """Lock first and read then: Postgres would give what is joined as it was before it waited for the lock."""
    held = select(escalations.c.id).where(LIVE, which).with_for_update()
    found = tx.conn.execute(held).scalar_one_or_none()
    return None if found is None else get(tx.conn, found)


def get(conn: Connection, escalation_id: str) -> StoredEscalation | None:
    """This round, over or not; None when it is not known any more."""
    row = conn.execute(_ALL.where(escalations.c.id == escalation_id)).one_or_none()
    return None if row is None else _stored(row)


def _known(conn: Connection, escalation_id: str) -> StoredEscalation:
    found = get(conn, escalation_id)
    if found is None:
        raise AssertionError("its row is held")
    return found


def of_page(conn: Connection, page_key: str) -> StoredEscalation | None:
    """The live round whose page has this key; None: nobody has to have it any more. One that nobody has answered calls somebody."""
    row = conn.execute(_ALL.where(LIVE, escalations.c.page_key == page_key)).first()
    return None if row is None else _stored(row)


def storm_of(conn: Connection, incident_id: str) -> str | None:
    """Who answered the live round of the storm whose digest tells this incident; empty when nobody did yet, None for no storm."""
    told = select(escalations).join(digest_incidents, digest_incidents.c.digest_id == escalations.c.subject)
    row = conn.execute(told.where(LIVE, digest_incidents.c.incident_id == incident_id)).first()
    if row is None:
        return None
    return str(row.answered_by) if row.answered_at is not None else ""


def live_for(conn: Connection, why: Mapping[str, Any]) -> bool:
    """Whether a round that is not over began for exactly this."""
    return conn.execute(select(1).where(LIVE, escalations.c.why == to_text(why))).first() is not None


def of_incident(conn: Connection, incident_id: str) -> list[StoredEscalation]:
    """All rounds of this incident, the oldest first; a storm's are not among them."""
    mine = escalations.c.incident_id == incident_id
    query = _ALL.where(mine, escalations.c.subject == incident_id).order_by(escalations.c.round)
    return [_stored(row) for row in conn.execute(query)]


def waiting(conn: Connection, now: datetime, policy: str, limit: int) -> list[StoredEscalation]:
    """What has to be looked at now: a step is due or alerts joined and the service is not at it itself, PagerDuty said something, the
    incident or storm is over, or the policy changed and nobody has answered. What is due is first, the longest due before all."""
    asked = {"now": micros(now), "policy": policy, "most": limit, "lull": micros(now - digests.LULL)}
    rows = conn.execute(_WAITING, asked)
    return [_stored(row) for row in rows]


def change(tx: Tx, escalation_id: str, **values: Any) -> None:
    """Set these columns."""
    tx.conn.execute(update(escalations).where(escalations.c.id == escalation_id).values(**values))


def ask(  # the round's parts
    tx: Tx,
    before: StoredEscalation,
    step: str,
    *,
    page_key: str,
    due_at: datetime | None,
    waited: timedelta = timedelta(),
) -> None:
    """Write down that the step was asked now. `page_key` when it paged, when the next one is due, and how long it was waited for before."""
    asked = steps_asked.as_text((*before.asked, Asked(step, tx.now, bool(page_key), waited)))
    paged = {"page_key": page_key} if page_key else {}
    change(tx, before.id, due_at=micros_or_none(due_at), asked=asked, **paged)


def renew(
    tx: Tx, escalation_id: str, policy: str, steps: Sequence[Mapping[str, Any]], due_at: datetime | None
) -> StoredEscalation:
    """It was looked at under this version of the policy; its steps, and when the next one is due. Returns it as it is now."""
    written = to_text([dict(step) for step in steps])
    change(tx, escalation_id, policy=policy, steps=written, due_at=micros_or_none(due_at))
    return _known(tx.conn, escalation_id)


def follow(tx: Tx, walk: StoredEscalation, **values: Any) -> None:
    """Set these of `severity`, `joined` and `merged`."""
    if "merged" in values:
        values["merged"] = to_text(list(values["merged"]))
    mine = update(escalation_scopes).where(escalation_scopes.c.escalation_id == walk.id)
    tx.conn.execute(mine.values(**values))


def joined(tx: Tx, incident_ids: Sequence[str]) -> None:
    """Alerts joined these incidents: have it looked at whether they are more severe."""
    live = select(escalations.c.id).where(LIVE, escalations.c.subject.in_(incident_ids))
    mine = update(escalation_scopes).where(escalation_scopes.c.escalation_id.in_(live))
    tx.conn.execute(mine.values(joined=True))


def answer(tx: Tx, walk: StoredEscalation, by: str, through: str, severity: str | None) -> None:
    """Somebody answered for what is so severe (None for a storm): nobody else is asked in this round."""
    values = {"answered_by": storable(by), "through": through, "answered_at": tx.stamp, "due_at": None}
    change(tx, walk.id, news=False, **values)
    follow(tx, walk, severity=severity)


def heard(tx: Tx, incident_id: str) -> None:
    """Something was said of who has this incident: have it looked at."""
    of_it = update(escalations).where(LIVE, escalations.c.subject == incident_id)
    tx.conn.execute(of_it.values(news=True))


def heard_of_page(tx: Tx, page_key: str, word: PageWord, by: str, at: datetime) -> str | None:
    """Keep PagerDuty's word on the open page of this key, unless a newer one is known, or it is older than the page; the incident it is about,
    None when no open page has this key. That nobody has it any more is kept only of what somebody had."""
    query = select(escalations).where(LIVE, escalations.c.page_key == page_key).with_for_update()
    row = tx.conn.execute(query).one_or_none()
    if row is None:
        return None
    known = PageWord(row.page_word) if row.page_word else None
    nothing_new = known in (None, PageWord.RELEASED) and word is PageWord.RELEASED
    if not nothing_new and (row.page_at or row.begun_at - _CLOCKS) <= micros(at):
        change(tx, row.id, page_word=word.value, page_by=storable(by), page_at=micros(at), news=True)
    return str(row.incident_id)


def _stored(row: Row[Any]) -> StoredEscalation:
    return StoredEscalation(
        id=row.id,
        subject=row.subject,
        incident_id=row.incident_id,
        round=row.round,
        why=to_json(row.why),
        steps=to_json(row.steps) if row.steps else None,
        asked=steps_asked.from_text(row.asked),
        policy=row.policy,
        page_key=row.page_key,
        begun_at=moment(row.begun_at),
        due_at=moment_or_none(row.due_at),
        news=row.news,
        page_word=PageWord(row.page_word) if row.page_word else None,
        page_by=row.page_by,
        answered_by=row.answered_by,
        through=row.through,
        answered_at=moment_or_none(row.answered_at),
        over_at=moment_or_none(row.over_at),
        severity=row.severity,
        joined=bool(row.joined),
        merged=tuple(to_json(row.merged)) if row.merged else (),
    )
