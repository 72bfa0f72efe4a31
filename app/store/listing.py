"""Incidents in lists: filtered, counted by what they have in common, and newer than a page that somebody looks at.

Called by the pages. Reads only. Every question looks at a bounded number of rows, newest first, so that it costs the same at
a hundred thousand incidents as at a hundred million; whoever asks is told where the look ended and can go on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from app.domain.decision import Verdict
from app.domain.outcome import IncidentState, RunState
from app.store.bulk import last_decisions
from app.store.connection import micros
from app.store.incidents import Incident, incident_from
from app.store.schema import incidents, runs

S = TypeVar("S", bound=Select[Any])
LOOKED_AT = 20_000
"""Rows that one page looks at."""
COUNTED = 10_000
"""Newest rows that facets are counted over."""
LOOKED_INTO = 500
"""Incidents whose last decision one page reads: by which rule it was, and which gate stopped it, only the decision says."""
_MAX_NEWS = 1_000
_MAX_NEWS_READ = (
    100  # where each needs its decision read; all who keep such a list open ask again with every change
)
_AT_ONCE = 100
STOPPED = 100
"""Newest incidents that gates are counted over."""
_STOPPING = frozenset({Verdict.DENY.value, Verdict.OBSERVE.value})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to list; an empty field wants all. `alertname` and `namespace` are exact, `target` is a part of the target's key,
    `since` is included and `until` is not. `run` wants a run that stands so; `rule` and `gate` are what the last decision was
    made by and stopped by."""

    states: tuple[IncidentState, ...] = ()
    alertname: str = ""
    namespace: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None
    run: RunState | None = None
    rule: str = ""
    gate: str = ""

    @property
    def reads_decisions(self) -> bool:
        """No column tells whether an incident fits."""
        return bool(self.rule or self.gate)


@dataclass(frozen=True, slots=True)
class Listed:
    """One page, newest first. `following` is the id to go on from, None at the end; `more` says that the page is not full
    because the look ended there, and not because there is nothing older."""

    rows: Sequence[Incident]
    following: str | None = None
    more: bool = False


Facets = dict[str, list[tuple[str, int]]]
"""By field (`state`, `alertname`, `namespace`): values with how many incidents have them, the most frequent first."""


Known = dict[str, tuple[str, str]]
"""By incident the rule of its last decision and the gate that stopped it, as far as one look has read them."""


def page(
    conn: Connection, wanted: Wanted, before: str | None, limit: int, known: Known | None = None
) -> Listed:
    """Up to `limit` incidents older than the id `before`. What is read of decisions is added to `known`, so that counts need not read it
    again."""
    floor = _floor(conn, wanted, before, LOOKED_AT)
    query = select(incidents).where(*_conditions(wanted)).order_by(incidents.c.id.desc()).limit(limit + 1)
    if wanted.reads_decisions:
        return _read(conn, wanted, (before, floor), limit, {} if known is None else known)
    rows = [incident_from(row) for row in conn.execute(_between(query, before, floor))]
    if len(rows) > limit:
        return Listed(rows[:limit], rows[limit - 1].id)
    return Listed(rows, floor, more=floor is not None)


def stopping(conn: Connection) -> list[tuple[str, int]]:
    """Gates with how many of the newest incidents that are refused or only observed each of them stopped, the most frequent
    first."""
    newest: list[str] = []
    for state in (
        IncidentState.REFUSED,
        IncidentState.OBSERVED,
    ):  # one by one: each is a stretch of its index
        query = select(incidents.c.id).where(incidents.c.state == state.value)
        newest += conn.execute(query.order_by(incidents.c.id.desc()).limit(STOPPED)).scalars()
    found = last_decisions(conn, sorted(newest, reverse=True)[:STOPPED])
    counts = Counter(gate for _, body in found.values() if (gate := stopped_by(body)))
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def stopped_by(body: Mapping[str, Any]) -> str:
    """The gate that stopped it, from the stored decision; empty where none did: it went on, waits for a person, no rule or target was
    found, or what is stored does not say so."""
    said = body.get("verdict")
    if said not in _STOPPING:
        return ""
    return next((str(g.get("gate", "")) for g in body.get("gates", ()) if g.get("verdict") == said), "")


def _read(
    conn: Connection, wanted: Wanted, between: tuple[str | None, str | None], limit: int, known: Known
) -> Listed:
    """A page of those whose last decision fits, as far as decisions are read for one look."""
    before, floor = between
    fits: list[Incident] = []
    for _ in range(LOOKED_INTO // _AT_ONCE):
        query = select(incidents).where(*_conditions(wanted)).order_by(incidents.c.id.desc()).limit(_AT_ONCE)
        found = [incident_from(row) for row in conn.execute(_between(query, before, floor))]
        decided = _decided(conn, wanted, [one.id for one in found], known)
        fits += [one for one in found if one.id in decided]
        if len(fits) > limit:
            return Listed(fits[:limit], fits[limit - 1].id)
        if len(found) < _AT_ONCE:
            return Listed(fits, floor, more=floor is not None)
        before = found[-1].id
    return Listed(fits, before, more=True)


def _decided(conn: Connection, wanted: Wanted, ids: Sequence[str], known: Known) -> set[str]:
    """Those of the incidents whose last decision is by the rule and was stopped by the gate that are wanted."""
    unread = [one for one in ids if one not in known]
    if unread:
        read = last_decisions(conn, unread)
        for one in unread:
            body = read[one][1] if one in read else None
            known[one] = ("", "") if body is None else (str(body.get("rule") or ""), stopped_by(body))
    fits = ((one, *known[one]) for one in ids)
    return {one for one, rule, gate in fits if wanted.rule in ("", rule) and wanted.gate in ("", gate)}


def facets(conn: Connection, wanted: Wanted, known: Known | None = None) -> Facets:
    """Values among the newest incidents within `wanted`'s times, target, runs, rule and gate; each field is counted over what the other
    fields choose, so that one sees what another choice would give. With a rule or gate fewer are looked at, as for a page, which may have read them before (`known`)."""
    chosen = ({s.value for s in wanted.states}, _one(wanted.alertname), _one(wanted.namespace))
    found: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
    around = replace(wanted, states=(), alertname="", namespace="")
    read = {} if known is None else known
    some = _decided_values(conn, around, read) if around.reads_decisions else _values(conn, around)
    for values, number in some:
        fits = [not only or value in only for only, value in zip(chosen, values, strict=True)]
        for at, value in enumerate(values):
            if all(fit for other, fit in enumerate(fits) if other != at):
                found[at][value] += number
    names = ("state", "alertname", "namespace")
    return {
        name: sorted(c.items(), key=lambda pair: (-pair[1], pair[0]))
        for name, c in zip(names, found, strict=True)
    }


_FACETS = (incidents.c.state, incidents.c.alertname, incidents.c.namespace)


def _values(conn: Connection, around: Wanted) -> Iterator[tuple[Sequence[str], int]]:
    """State, alert and namespace with how many have them, of the newest."""
    floor = _floor(conn, Wanted(), None, COUNTED)
    query = select(*_FACETS, func.count()).where(*_conditions(around)).group_by(*_FACETS)
    for row in conn.execute(_between(query, None, floor)):
        yield row[:3], int(row[3])


def _decided_values(conn: Connection, around: Wanted, known: Known) -> Iterator[tuple[Sequence[str], int]]:
    """The same of those whose last decision fits, as far as decisions are read for one look."""
    floor = _floor(conn, Wanted(), None, LOOKED_AT)
    query = select(incidents.c.id, *_FACETS).where(*_conditions(around)).order_by(incidents.c.id.desc())
    rows = conn.execute(_between(query.limit(LOOKED_INTO), None, floor)).all()
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        decided = _decided(conn, around, [row[0] for row in some], known)
        yield from ((row[1:], 1) for row in some if row[0] in decided)


def newer(conn: Connection, wanted: Wanted, than: str) -> int:
    """How many incidents came after the one with this id, a thousand at most; a hundred where their decisions are read."""
    ids = select(incidents.c.id).where(incidents.c.id > than, *_conditions(wanted)).limit(_MAX_NEWS)
    if wanted.reads_decisions:
        found = conn.execute(ids.order_by(incidents.c.id).limit(_MAX_NEWS_READ)).scalars().all()
        return len(_decided(conn, wanted, found, {}))
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
    if wanted.run is not None:
        found.append(exists().where(runs.c.incident_id == incidents.c.id, runs.c.state == wanted.run.value))
    # A sum is no column: the rows are walked by id, newest first, and not sorted out of the index of times.
    if wanted.since is not None:
        found.append(incidents.c.opened_at + 0 >= micros(wanted.since))
    if wanted.until is not None:
        found.append(incidents.c.opened_at + 0 < micros(wanted.until))
    return found
