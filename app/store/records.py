"""Records of the audit trail in lists: filtered, newest first.

Called by the pages. Reads only. One question looks at a bounded number of records and says where it ended, as lists of incidents
do (`app.store.listing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from app.domain.events import EventKind
from app.store.audit import IN_CHAIN, AuditEvent, event_from, events_of
from app.store.schema import ABOUT_RUN, audit

LOOKED_AT = 20_000
"""Records that one page looks at."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What to list; an empty field wants all. Ids and names are exact."""

    kind: EventKind | None = None
    actor: str = ""
    incident: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Records:
    """One page. `following` is the record to go on from, 0 at the end; `more` says that the look ended before it was full."""

    rows: Sequence[AuditEvent]
    following: int = 0
    more: bool = False


def page(conn: Connection, sought: Sought, before: int, limit: int) -> Records:
    """Up to `limit` records older than `before` (0: from the newest)."""
    where = _conditions(conn, sought)
    top = [IN_CHAIN, audit.c.seq < before] if before else [IN_CHAIN]
    floor = 0
    if not (sought.run or sought.incident):  # these have an index of their own
        seq = select(audit.c.seq).where(*top).order_by(audit.c.seq.desc()).offset(LOOKED_AT).limit(1)
        floor = int(conn.execute(seq).scalar() or 0)
    query = select(audit).where(*where, *top).order_by(audit.c.seq.desc()).limit(limit + 1)
    if floor:
        query = query.where(audit.c.seq >= floor)
    rows = [event_from(row) for row in conn.execute(query)]
    if len(rows) > limit:
        return Records(rows[:limit], rows[limit - 1].seq)
    return Records(rows, floor, more=floor > 0)


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
    return found
