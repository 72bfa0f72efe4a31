"""How the orders of schedules ended: what became of the run of each, and when one of a rule's ended well last.

Read from runs and decisions by the API, the page and the gauges, so that it is the same after a restart. Only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.domain.decision import Code
from app.domain.outcome import HELPED, RunState
from app.store import runs, schedules, work
from app.store.connection import micros, moment, moment_or_none, storable
from app.store.schedules import Fire, schedule_fires
from app.store.schema import runs as run_rows

UNDECIDED = "undecided"
"""Ordered, and nobody has looked at it yet."""
REFUSED = "refused"
"""A gate, or the order itself, stood against it: nothing was done."""
NOT_NEEDED = Code.NOTHING_TO_DO.value
"""All that it asks for stands already, which is as good as done."""
NO_STEP = Code.NO_STEP.value
"""The procedure found no step: something that it names is in the way. No good end."""
_GOOD = frozenset({*(state.value for state in HELPED), NOT_NEEDED})
_LOOKED_AT = 50  # newest times that are looked through for one that was not needed


@dataclass(frozen=True, slots=True)
class Health:
    """One rule: how its newest order stands (empty without one), when one ended well or, where none did, the first of its times came (None before
    any), and how many times have come since one ended well."""

    outcome: str
    since: datetime | None
    missed: int


def outcome_of(conn: Connection, fire: Fire) -> str:
    """A run's state (`fixed`, `expired`, `waiting`, say), or one of the words above; empty where nothing was ordered."""
    if not fire.incident_id:
        return ""
    run = next(iter(runs.page(conn, None, 1, fire.incident_id)), None)
    if run is None:
        return UNDECIDED
    if run.state is not RunState.ABANDONED:
        return run.state.value
    last = work.latest_decision(conn, fire.incident_id)
    code = str(last.body.get("code", "")) if last is not None else ""
    return code if code in (NOT_NEEDED, NO_STEP) else REFUSED


def health(conn: Connection, rule: str) -> Health:
    """How the orders of this rule go."""
    newest = schedules.newest(conn, rule, _LOOKED_AT)
    ordered = next((fire for fire in newest if fire.incident_id), None)
    good = last_good(conn, rule)
    f = schedule_fires.c
    mine = [f.rule == storable(rule), *([f.due_at > micros(good)] if good is not None else [])]
    first, number = conn.execute(select(func.min(f.due_at), func.count()).where(*mine)).one()
    return Health(outcome_of(conn, ordered) if ordered else "", good or moment_or_none(first), int(number))


def last_good(conn: Connection, rule: str) -> datetime | None:
    """The newest time of this rule whose order ended well; None when none did."""
    newest = schedules.newest(conn, rule, _LOOKED_AT)
    return max(filter(None, (_helped(conn, rule), _not_needed(conn, newest))), default=None)


def _helped(conn: Connection, rule: str) -> datetime | None:
    """When the time came of the newest order that helped."""
    f = schedule_fires.c
    states = [state.value for state in HELPED]
    query = (
        select(func.max(f.due_at))
        .select_from(schedule_fires.join(run_rows, run_rows.c.incident_id == f.incident_id))
        .where(f.rule == storable(rule), run_rows.c.state.in_(states))
    )
    found = conn.execute(query).scalar()
    return None if found is None else moment(found)


def _not_needed(conn: Connection, newest: Sequence[Fire]) -> datetime | None:
    return next((fire.due for fire in newest if outcome_of(conn, fire) in _GOOD), None)
