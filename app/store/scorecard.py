"""The scorecard's counts over a span of time: what came in, what was done, what it was worth. Reads only, judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, exists, func, or_, select

from app.domain.outcome import HELPED, RunState
from app.store.audit import IN_CHAIN
from app.store.connection import micros, moment_or_none
from app.store.schema import audit, episodes, incidents, run_journal, runs

_WORST = 10  # repeat offenders listed
_FIXED = (RunState.FIXED.value, RunState.REVERTED.value)
_HELPED = tuple(state.value for state in HELPED)


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Counts from `since` up to, but not with, `until`; `runs` by their present state.

    Orders of a dry run, and their runs, are in no count. `acted` runs changed something. `fixed` were verified, also those whose temporary change was taken back; `contained` were
    verified too, by relief that left the cause to a person; `taken_over` ended because somebody else changed the target.
    `undone` were taken back by a person, `rejected` are runs that had changed something before a person said no to what
    they wanted next. `mitigation` are seconds from the incident's opening to the end of the run that fixed or contained it, sorted;
    `offenders` are targets with more than one incident, the worst first.
    """

    since: datetime
    until: datetime
    alerts: int
    incidents: int
    acted: int
    fixed: int = 0
    contained: int = 0
    taken_over: int = 0
    undone: int = 0
    rejected: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    mitigation: tuple[float, ...] = ()
    offenders: tuple[tuple[str, int], ...] = ()

    @property
    def setbacks(self) -> int:
        """Runs that a person undid or stopped after they had changed something, and those that got stuck."""
        return self.undone + self.rejected + self.runs.get(RunState.STUCK, 0)

    def percentile(self, share: float) -> float | None:
        """Time to mitigate in seconds, None without a fix."""
        if not self.mitigation:
            return None
        return self.mitigation[min(len(self.mitigation) - 1, int(share * len(self.mitigation)))]


def scorecard(conn: Connection, since: datetime, until: datetime) -> Scorecard:
    """Count everything that began in the span. Episode keys begin with the start time, but late ones count when first seen."""
    first, last = micros(since), micros(until)
    begun = and_(_within(runs.c.requested_at, first, last), runs.c.dry_run.is_(False))
    states = conn.execute(select(runs.c.state, func.count()).where(begun).group_by(runs.c.state))
    return Scorecard(
        since,
        until,
        alerts=_count(conn, episodes.c.key, _within(episodes.c.first_seen, first, last)),
        incidents=_count(conn, incidents.c.id, _within(incidents.c.opened_at, first, last), _REAL),
        acted=_count(conn, runs.c.id, begun, _ACTED),
        fixed=_count(conn, runs.c.id, begun, runs.c.state.in_(_FIXED)),
        contained=_count(conn, runs.c.id, begun, runs.c.state == RunState.CONTAINED.value),
        taken_over=_count(conn, runs.c.id, begun, runs.c.state == RunState.TAKEN_OVER.value),
        undone=_count(conn, runs.c.id, begun, runs.c.state == RunState.UNDONE.value),
        rejected=_count(conn, runs.c.id, begun, runs.c.state == RunState.REJECTED.value, _ACTED),
        runs=dict(sorted(Counter({row[0]: row[1] for row in states}).items())),
        mitigation=_mitigation(conn, begun),
        offenders=_offenders(conn, first, last),
    )


def first_record(conn: Connection) -> datetime | None:
    """When the trail begins: before it nobody counted. None when there is none."""
    return moment_or_none(
        conn.execute(select(audit.c.at).where(IN_CHAIN).order_by(audit.c.seq).limit(1)).scalar()
    )


def _within(column: Column[int], first: int, last: int) -> ColumnElement[bool]:
    """In the span; its end belongs to the next one, so that two weeks count nothing twice."""
    return and_(column >= first, column < last)


def _has_step(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(run_journal.c.run_id == runs.c.id, *where)


_ACTED = _has_step(
    or_(*(run_journal.c.outcome.like(f'%"result":"{word}"%') for word in ("applied", "partly")))
)


_REAL = or_(incidents.c.manual.is_(None), incidents.c.manual.not_like('%"dry_run":true%'))
"""No trial: an order that may change nothing tells of no trouble, however often somebody tries one."""


def _count(conn: Connection, key: Column[str], *where: ColumnElement[bool]) -> int:
    return int(conn.execute(select(func.count(key)).where(*where)).scalar() or 0)


def _mitigation(conn: Connection, begun: ColumnElement[bool]) -> tuple[float, ...]:
    query = (
        select(runs.c.ended_at - incidents.c.opened_at)
        .join(incidents, incidents.c.id == runs.c.incident_id)
        .where(runs.c.state.in_(_HELPED), begun)
    )
    return tuple(sorted(span / 1_000_000 for span in conn.execute(query).scalars() if span is not None))


def _offenders(conn: Connection, first: int, last: int) -> tuple[tuple[str, int], ...]:
    count = func.count()
    query: Select[Any] = (
        select(incidents.c.target_key, count)
        .where(_within(incidents.c.opened_at, first, last), incidents.c.target_key.is_not(None))
        .where(incidents.c.merged_into.is_(None), _REAL)
        .group_by(incidents.c.target_key)
        .having(count > 1)
        .order_by(count.desc(), incidents.c.target_key)
        .limit(_WORST)
    )
    rows: Sequence[Any] = conn.execute(query).all()
    return tuple((str(target), int(number)) for target, number in rows)
