"""Lately: the times in which an alert was there before, and the calls that were made for it, over its incidents and questions.

An alert that comes and goes opens an incident each time. What a person is called for, asked about or spared may not begin anew with each of
them: whoever bounds that adds up these times. Called by the flow inside its transactions. Reads only, and never says what follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, exists, or_, select

from app.store import asked as steps_asked
from app.store import people
from app.store.asked import Asked
from app.store.connection import micros, moment, moment_or_none, storable
from app.store.escalations import escalation_scopes, escalations
from app.store.incidents import Incident
from app.store.people import Holder, incident_acknowledgements
from app.store.schema import OPEN, digest_incidents, incidents, runs

ROW: Final = timedelta(hours=12)
"""How long it is remembered what came one after another: a night."""
_LONGEST: Final = timedelta(
    days=7
)  # for which one that went lately may have been open, so that few rows are read
APART: Final = timedelta(hours=1)
"""What comes again within this is one row."""
MAX_LOOKED_AT: Final = 2_000
"""Incidents or questions: those of an alert that comes and goes each minute for a day."""
_C = incidents.c
_ANSWER: Final = ("answered_by", "answered_at")
_HAS_RUN = exists().where(runs.c.incident_id == _C.id)
_JOINED = (
    select(
        _C.id,
        _C.opened_at,
        _C.closed_at,
        _C.severity,
        _HAS_RUN.label("ran"),
        escalations.c.begun_at,
        escalations.c.answered_at,
        escalations.c.asked,
        escalation_scopes.c.severity.label("called_for"),
        incident_acknowledgements.c.given_by,
        incident_acknowledgements.c.through,
        incident_acknowledgements.c.at.label("taken_at"),
        incident_acknowledgements.c.severity.label("taken_for"),
    )
    .outerjoin(escalations, and_(escalations.c.incident_id == _C.id, escalations.c.subject == _C.id))
    .outerjoin(escalation_scopes, escalation_scopes.c.escalation_id == escalations.c.id)
    .outerjoin(
        incident_acknowledgements,
        and_(
            incident_acknowledgements.c.incident_id == _C.id,
            incident_acknowledgements.c.outgrown_at.is_(None),
        ),
    )
    .where(_C.closed_at.is_not(None), _C.merged_into.is_(None), _C.manual.is_(None))
    .order_by(_C.opened_at.desc(), _C.id.desc(), escalations.c.round.desc())
    .limit(MAX_LOOKED_AT)
)


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which something was there."""

    since: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """The last call for an incident: when, for what severity (None where it was not looked at yet), whether somebody answered, and the steps
    that were asked."""

    at: datetime
    severity: str | None
    answered: bool
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier incident of an alert, which is closed. `ran`: a run was requested for it. `holder` had it to the end,
    by their own word or by PagerDuty's."""

    incident_id: str
    spell: Spell
    severity: str
    ran: bool
    call: Call | None
    holder: Holder | None


def added_up(spells: Iterable[Spell], until: datetime, apart: timedelta) -> timedelta:
    """How long they were in all, given newest first, of those that follow each other up to `until`, none more than `apart` from the next."""
    total = timedelta()
    for spell in spells:
        if until - spell.ended > apart:
            break
        total += max(min(spell.ended, until) - spell.since, timedelta())
        until = min(spell.since, until)
    return total


def earlier(conn: Connection, incident: Incident) -> list[Earlier]:
    """The incidents of the same alert about the same target that were open within a night before this one, newest first; where no target was
    found, those of the same key."""
    since = and_(
        _C.closed_at >= micros(incident.opened_at - ROW),
        _C.opened_at >= micros(incident.opened_at - _LONGEST),
    )
    same = (
        and_(_C.target_key == storable(incident.target_key), _C.alertname == storable(incident.alertname))
        if incident.target_key
        else _C.key == incident.key
    )
    found: dict[str, Earlier] = {}
    for row in conn.execute(_JOINED.where(since, same, _C.id != incident.id)):
        found.setdefault(row.id, _earlier(row))  # its last round comes first
    taken = people.had_in_pagerduty(conn, [one.incident_id for one in found.values() if one.holder is None])
    return [replace(one, holder=one.holder or taken.get(one.incident_id)) for one in found.values()]


def closed_on(conn: Connection, target_key: str, since: datetime) -> list[tuple[str, datetime]]:
    """The incidents of whichever alert about this target that were closed since then, newest first, and when each was."""
    mine = (_C.target_key == storable(target_key), _C.closed_at > micros(since), _C.merged_into.is_(None))
    asked = select(_C.id, _C.closed_at).where(*mine).order_by(_C.opened_at.desc(), _C.id.desc())
    return [(row.id, moment(row.closed_at)) for row in conn.execute(asked.limit(MAX_LOOKED_AT))]


@dataclass(frozen=True, slots=True)
class OfStorm:
    """An incident that the digest of a storm tells: when it was closed, None while it is open, and who answered for the storm at last, when."""

    storm: str
    incident_id: str
    closed_at: datetime | None
    by: str
    at: datetime


def of_storms_on(conn: Connection, target_key: str, since: datetime) -> list[OfStorm]:
    """The incidents about this target that are open, or were closed since then, of storms that somebody has, newest first."""
    c, of = incidents.c, digest_incidents
    there = (c.target_key == storable(target_key), or_(OPEN, c.closed_at > micros(since)))
    columns = (c.id, c.closed_at, escalations.c.subject, *(escalations.c[n] for n in _ANSWER))
    asked = (
        select(*columns)
        .join(of, of.c.incident_id == c.id)
        .join(escalations, escalations.c.subject == of.c.digest_id)
        .where(*there)
        .order_by(c.opened_at.desc(), c.id.desc(), escalations.c.round.desc())
        .limit(MAX_LOOKED_AT)
    )
    last: dict[str, Row[Any]] = {}
    for row in conn.execute(asked):
        last.setdefault(
            row.id, row
        )  # its storm's last round comes first: an answer that was given back is none
    return [
        OfStorm(row.subject, row.id, moment_or_none(row.closed_at), row.answered_by, at)
        for row in last.values()
        if (at := moment_or_none(row.answered_at)) is not None
    ]


def _earlier(row: Row[Any]) -> Earlier:
    taken = moment_or_none(row.taken_at)
    return Earlier(
        row.id,
        Spell(moment(row.opened_at), moment(row.closed_at)),
        row.severity,
        bool(row.ran),
        None if row.begun_at is None else _call(row),
        None if taken is None else Holder(row.given_by, row.through, taken, row.taken_for),
    )


def _call(row: Row[Any]) -> Call:
    asked = steps_asked.from_text(row.asked)
    return Call(moment(row.begun_at), row.called_for, row.answered_at is not None, asked)
