"""Incidents in lists: filtered, counted by what they have in common, and newer than a page that somebody looks at.

Called by the pages. Reads only. Every question looks at a bounded number of rows, newest first, so that it costs the same at
a hundred thousand incidents as at a hundred million; whoever asks is told where the look ended and can go on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, func, select

from app.domain.outcome import IncidentState
from app.store.connection import micros
from app.store.incidents import Incident, incident_from
from app.store.schema import incidents

S = TypeVar("S", bound=Select[Any])
LOOKED_AT = 20_000
"""Rows that one page looks at."""
COUNTED = 10_000
"""Newest rows that facets are counted over."""
_MOST_NEWS = 1_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to list; an empty field wants all. `alertname` and `namespace` are exact, `target` is a part of the target's key,
    `since` is included and `until` is not."""

    states: tuple[IncidentState, ...] = ()
    alertname: str = ""
    namespace: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One page, newest first. `following` is the id to go on from, None at the end; `more` says that the page is not full
    because the look ended there, and not because there is nothing older."""

    rows: Sequence[Incident]
    following: str | None = None
    more: bool = False


Facets = dict[str, list[tuple[str, int]]]
"""By field (`state`, `alertname`, `namespace`): values with how many incidents have them, the most frequent first."""


def page(conn: Connection, wanted: Wanted, before: str | None, limit: int) -> Listed:
    """Up to `limit` incidents older than the id `before`."""
    floor = _floor(conn, wanted, before, LOOKED_AT)
    query = select(incidents).where(*_conditions(wanted)).order_by(incidents.c.id.desc()).limit(limit + 1)
    rows = [incident_from(row) for row in conn.execute(_between(query, before, floor))]
    if len(rows) > limit:
        return Listed(rows[:limit], rows[limit - 1].id)
    return Listed(rows, floor, more=floor is not None)


def facets(conn: Connection, wanted: Wanted) -> Facets:
    """Values among the newest incidents within `wanted`'s times and target; each field is counted over what the other
    fields choose, so that one sees what another choice would give."""
    floor = _floor(conn, Wanted(), None, COUNTED)
    fields = (incidents.c.state, incidents.c.alertname, incidents.c.namespace)
    around = Wanted(target=wanted.target, since=wanted.since, until=wanted.until)
    query = _between(select(*fields, func.count()).where(*_conditions(around)).group_by(*fields), None, floor)
    chosen = ({s.value for s in wanted.states}, _one(wanted.alertname), _one(wanted.namespace))
    found: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
    for row in conn.execute(query):
        values, number = row[:3], int(row[3])
        fits = [not only or value in only for only, value in zip(chosen, values, strict=True)]
        for at, value in enumerate(values):
            if all(fit for other, fit in enumerate(fits) if other != at):
                found[at][value] += number
    names = ("state", "alertname", "namespace")
    return {
        name: sorted(c.items(), key=lambda pair: (-pair[1], pair[0]))
        for name, c in zip(names, found, strict=True)
    }


def newer(conn: Connection, wanted: Wanted, than: str) -> int:
    """How many incidents came after the one with this id, a thousand at most."""
    ids = select(incidents.c.id).where(incidents.c.id > than, *_conditions(wanted)).limit(_MOST_NEWS)
    return int(conn.execute(select(func.count()).select_from(ids.subquery())).scalar() or 0)


def _one(value: str) -> set[str]:
    return {value} if value else set()


def _floor(conn: Connection, wanted: Wanted, before: str | None, rows: int) -> str | None:
    """The id at which a look of so many rows ends; None when there are not as many. A single state has an index of its own."""
    query = select(incidents.c.id).order_by(incidents.c.id.desc()).offset(rows).limit(1)
    if len(wanted.states) == 1:
        query = query.where(incidents.c.state == wanted.states[0].value)
    return conn.execute(_between(query, before, None)).scalar()


def _between(query: S, before: str | None, floor: str | None) -> S:
    if before is not None:
        query = query.where(incidents.c.id < before)
    return query if floor is None else query.where(incidents.c.id >= floor)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if len(wanted.states) == 1:
        found.append(incidents.c.state == wanted.states[0].value)
    elif wanted.states:
        found.append(incidents.c.state.in_([s.value for s in wanted.states]))
    if wanted.alertname:
        found.append(incidents.c.alertname == wanted.alertname)
    if wanted.namespace:
        found.append(incidents.c.namespace == wanted.namespace)
    if wanted.target:
        found.append(incidents.c.target_key.icontains(wanted.target, autoescape=True))
    # A sum is no column: the rows are walked by id, newest first, and not sorted out of the index of times.
    if wanted.since is not None:
        found.append(incidents.c.opened_at + 0 >= micros(wanted.since))
    if wanted.until is not None:
        found.append(incidents.c.opened_at + 0 < micros(wanted.until))
    return found
