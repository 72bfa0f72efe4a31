"""Records of the audit trail in lists: filtered, newest first; in parts of an export, oldest first; and what was heard of alerts, for a replay.

Called by the pages. Reads only. One question looks at a bounded number of records and says where it ended, as lists of incidents
do (`app.store.listing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from app.domain.events import EventKind
from app.store import trail
from app.store.audit import IN_CHAIN, AuditEvent, event_from, events_of
from app.store.connection import micros, moment, to_json, to_text
from app.store.portions import Portion, portion
from app.store.schema import ABOUT_INCIDENT, ABOUT_RUN, audit, incidents

LOOKED_AT = 20_000
"""Records that one page looks at."""
EXPORTED = 100_000
"""Records that one part of an export covers, and that a replay looks through."""
REPLAYED = 20_000
"""Words about alerts that a replay plays at most: some seconds of work."""
AT_ONCE, MAX_HEARD = 2_000, 8 * 1024 * 1024
"""Records that are looked through in one read for a replay, and bytes of them in an answer; a replay holds four times as many characters."""
_CLOCKS = timedelta(minutes=15)
"""How far the clocks of replicas, or one that was set, may be apart; within it every record is compared by its own time."""
_HEARD = (EventKind.ALERT_FIRED.value, EventKind.ALERT_RESOLVED.value)


@dataclass(frozen=True, slots=True)
class Sought:
    """What to list; an empty field wants all. Ids, names and the target's key are exact; each of `words` stands in the record's data or in who
    did it, whatever its case. `since` is included and `until` is not."""

    kind: EventKind | None = None
    actor: str = ""
    incident: str = ""
    run: str = ""
    target: str = ""
    words: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """One page. `following` is the record to go on from, 0 at the end; `more` says that the look ended before it was full."""

    rows: Sequence[AuditEvent]
    following: int = 0
    more: bool = False


def page(conn: Connection, sought: Sought, before: int, limit: int) -> Records:
    """Up to `limit` records older than `before` (0: from the newest)."""
    where = _conditions(conn, sought)
    first, last = _span(conn, sought)
    top = [IN_CHAIN, audit.c.seq >= first]
    top += [audit.c.seq <= last] if last is not None else []
    top += [audit.c.seq < before] if before else []
    floor = 0
    if not (sought.run or sought.incident):  # these have an index of their own
        seq = select(audit.c.seq).where(*top).order_by(audit.c.seq.desc()).offset(LOOKED_AT).limit(1)
        floor = int(conn.execute(seq).scalar() or 0)
    query = select(audit).where(*where, *top).order_by(audit.c.seq.desc())
    if floor:
        query = query.where(audit.c.seq >= floor)
    return _records(portion(conn, query, limit, event_from), floor)


def onward(conn: Connection, sought: Sought, after: int, limit: int) -> Records:
    """Up to `limit` records behind `after`, oldest first. `following` is the last record that was looked at."""
    where = _conditions(conn, sought)
    first, last = _span(conn, sought)
    top = [IN_CHAIN, audit.c.seq > after, audit.c.seq >= first]
    top += [audit.c.seq <= last] if last is not None else []
    seq = select(audit.c.seq).where(*top).order_by(audit.c.seq).offset(LOOKED_AT).limit(1)
    ceiling = int(conn.execute(seq).scalar() or 0)
    query = select(audit).where(*where, *top).order_by(audit.c.seq)
    if ceiling:
        query = query.where(audit.c.seq <= ceiling)
    return _records(portion(conn, query, limit, event_from), ceiling)


def _records(found: Portion[AuditEvent], end: int) -> Records:
    """A page that is full goes on behind its last record, another where the look ended."""
    if found.more:
        return Records(found.rows, found.rows[-1].seq)
    return Records(found.rows, end, more=end > 0)


def _span(conn: Connection, sought: Sought) -> tuple[int, int | None]:
    """The first and last record that can be of these times: a look at last March begins there, and not at today's records. None: to the end."""
    first = 0 if sought.since is None else _seq_at(conn, sought.since - _CLOCKS)
    return first, None if sought.until is None else _seq_at(conn, sought.until + _CLOCKS)


def _seq_at(conn: Connection, instant: datetime) -> int:
    """The number of the first record at or behind this moment, or the one behind the last; found by halves, as records follow the clock."""
    ends = (
        select(end(audit.c.seq)).scalar_subquery() for end in (func.min, func.max)
    )  # each from the key; both in one would be a scan
    low, high = conn.execute(select(*ends)).one()
    low, high, at = int(low or 0), int(high or 0) + 1, micros(instant)
    while low < high:
        middle = (low + high) // 2
        found = conn.execute(
            select(audit.c.at).where(audit.c.seq >= middle).order_by(audit.c.seq).limit(1)
        ).scalar()
        if found is not None and found < at:
            low = middle + 1
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an export: what is sought from `first` to `last`, both included. `more`: there are records behind it."""

    sought: Sought
    first: int
    last: int
    more: bool


def part(conn: Connection, sought: Sought, first: int) -> Part:
    """The part that begins with the record `first`. Of one incident or run its own records are counted, else all."""
    narrow = _conditions(conn, Sought(run=sought.run, incident=sought.incident))
    query = select(audit.c.seq).where(audit.c.seq >= first, *narrow).order_by(audit.c.seq)
    ends = conn.execute(query.offset(EXPORTED - 1).limit(2)).scalars().all()
    last = int(ends[0]) if ends else int(conn.execute(select(func.max(audit.c.seq))).scalar() or 0)
    return Part(sought, first, last, more=len(ends) > 1)


@dataclass(frozen=True, slots=True)
class Heard:
    """One word about an alert: which, when, and what a replay needs of its data."""

    kind: str
    at: datetime
    data: Mapping[str, Any]
    size: int = 0
    """Characters of the record's data."""


@dataclass(frozen=True, slots=True)
class HeardPart:
    """What was heard among some records, newest first. `oldest` is when the last of these records was written, None without any;
    `following` is the record to go on from, 0 at the end."""

    rows: Sequence[Heard]
    oldest: datetime | None
    following: int


def heard(conn: Connection, before: int) -> HeardPart:
    """What was heard of alerts among the next `AT_ONCE` records older than `before` (0: from the newest)."""
    top = [IN_CHAIN, audit.c.seq < before] if before else [IN_CHAIN]
    last = select(audit.c.seq, audit.c.at).where(*top).order_by(audit.c.seq.desc())
    ends = conn.execute(last.offset(AT_ONCE - 1).limit(1)).one_or_none()
    where = [*top, audit.c.kind.in_(_HEARD), *([audit.c.seq >= ends.seq] if ends else [])]
    query = (
        select(audit.c.seq, audit.c.kind, audit.c.at, audit.c.data).where(*where).order_by(audit.c.seq.desc())
    )
    found = portion(conn, query, AT_ONCE, _heard, MAX_HEARD)
    rows = [one for _, one in found.rows]
    if found.more:
        return HeardPart(rows, rows[-1].at, found.rows[-1][0])
    return HeardPart(rows, moment(ends.at) if ends else None, int(ends.seq) if ends else 0)


def _heard(row: Row[Any]) -> tuple[int, Heard]:
    return row.seq, Heard(row.kind, moment(row.at), _needed(to_json(row.data)), len(row.data))


def _needed(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: data[name] for name in ("labels", "starts_at", "episode") if name in data}


def rows_of(conn: Connection, of: Part, first: int) -> Sequence[dict[str, Any]]:
    """The next records of the part from `first` on, as the whole trail is exported; none at its end."""
    where = [audit.c.seq >= first, audit.c.seq <= of.last, *_conditions(conn, of.sought)]
    return [trail.exported(row) for row in trail.chunk(conn, where)]


def _conditions(conn: Connection, sought: Sought) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if sought.kind is not None:
        found.append(audit.c.kind == sought.kind.value)
    if sought.actor:
        found.append(audit.c.actor == sought.actor)
    if sought.run:
        found += [audit.c.run_id == sought.run, ABOUT_RUN]
    if sought.incident:
        found.append(events_of(conn, sought.incident))
    if sought.target:
        of_it = select(incidents.c.id).where(incidents.c.target_key == sought.target)
        found += [audit.c.incident_id.in_(of_it), ABOUT_INCIDENT]
    for word in sought.words:
        text = to_text(word)[1:-1]  # as it stands in the data's JSON
        found.append(
            or_(audit.c.data.icontains(text, autoescape=True), audit.c.actor.icontains(word, autoescape=True))
        )
    if sought.since is not None:
        found.append(audit.c.at >= micros(sought.since))
    if sought.until is not None:
        found.append(audit.c.at < micros(sought.until))
    return found
