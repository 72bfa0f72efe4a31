"""The scorecard's counts over a span of time: what came in, what was done, what it was worth. Reads only, judges nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Select, func, select

from app.domain.outcome import RunState
from app.store.encoding import micros
from app.store.schema import episodes, incidents, run_steps, runs

_WORST = 10  # repeat offenders listed


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Counts from `since` to `until`. `acted` runs changed something; `mitigation` are seconds from the incident's opening
    to the end of the run that fixed it, sorted; `offenders` are targets with more than one incident, the worst first."""

    since: datetime
    until: datetime
    alerts: int
    incidents: int
    acted: int
    runs: dict[str, int] = field(default_factory=dict)
    mitigation: tuple[float, ...] = ()
    offenders: tuple[tuple[str, int], ...] = ()

    @property
    def fixed(self) -> int:
        """Runs verified as fixed and still in place."""
        return self.runs.get(RunState.FIXED, 0)

    @property
    def harmful(self) -> int:
        """Runs that somebody undid afterwards, or that got stuck."""
        return self.runs.get(RunState.UNDONE, 0) + self.runs.get(RunState.STUCK, 0)

    def percentile(self, share: float) -> float | None:
        """Time to mitigate in seconds, None without a fix."""
        if not self.mitigation:
            return None
        return self.mitigation[min(len(self.mitigation) - 1, int(share * len(self.mitigation)))]


def scorecard(conn: Connection, since: datetime, until: datetime) -> Scorecard:
    """Count everything that began in the span. Episode keys begin with the start time, but late ones count when first seen."""
    first, last = micros(since), micros(until)
    alerts = conn.execute(
        select(func.count()).select_from(episodes).where(episodes.c.first_seen.between(first, last))
    ).scalar()
    opened = incidents.c.opened_at.between(first, last)
    incident_count = conn.execute(select(func.count()).select_from(incidents).where(opened)).scalar()
    begun = runs.c.requested_at.between(first, last)
    states = Counter({row[0]: row[1] for row in conn.execute(_by_state().where(begun))})
    applied = select(run_steps.c.run_id).where(run_steps.c.outcome.like('%"result":"applied"%'))
    acted = conn.execute(select(func.count()).select_from(runs).where(begun, runs.c.id.in_(applied))).scalar()
    return Scorecard(
        since,
        until,
        int(alerts or 0),
        int(incident_count or 0),
        int(acted or 0),
        dict(sorted(states.items())),
        _mitigation(conn, first, last),
        _offenders(conn, first, last),
    )


def _by_state() -> Select[str, int]:
    return select(runs.c.state, func.count()).where(runs.c.dry_run.is_(False)).group_by(runs.c.state)


def _mitigation(conn: Connection, first: int, last: int) -> tuple[float, ...]:
    query = (
        select(runs.c.ended_at - incidents.c.opened_at)
        .join(incidents, incidents.c.id == runs.c.incident_id)
        .where(runs.c.state == RunState.FIXED.value, runs.c.requested_at.between(first, last))
    )
    return tuple(sorted(span / 1_000_000 for span in conn.execute(query).scalars() if span is not None))


def _offenders(conn: Connection, first: int, last: int) -> tuple[tuple[str, int], ...]:
    count = func.count()
    query = (
        select(incidents.c.target_key, count)
        .where(incidents.c.opened_at.between(first, last), incidents.c.target_key.is_not(None))
        .where(incidents.c.merged_into.is_(None))
        .group_by(incidents.c.target_key)
        .having(count > 1)
        .order_by(count.desc(), incidents.c.target_key)
        .limit(_WORST)
    )
    return tuple((str(target), int(number)) for target, number in conn.execute(query))
