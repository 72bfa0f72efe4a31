"""Schedules: for each rule with one when it is due next, and a row for each time that has come, which makes it come once.

Called by the task that fires, in one transaction with the order that follows. The row of a rule is held while it is looked at, so two
replicas look one after the other; the row of a time is unique, so that a clock that jumps back brings none a second time. Never decides
what becomes of a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, Row, Table, delete, insert, select, update

from app.domain.outcome import IncidentState, RunState
from app.store.columns import maybe_time, text_column, time_column
from app.store.connection import micros, micros_or_none, moment, moment_or_none, storable
from app.store.schema import incidents, metadata, runs
from app.store.tx import Tx

schedules = Table(
    "schedules",
    metadata,
    text_column("rule", primary_key=True),
    text_column("terms"),
    maybe_time("due_at"),
)

schedule_fires = Table(
    "schedule_fires",
    metadata,
    text_column("rule", primary_key=True),
    Column("due_at", BigInteger, primary_key=True, autoincrement=False),
    text_column("fate"),
    text_column("incident_id"),
    time_column("at"),
)
Index("ix_schedule_fires_at", schedule_fires.c.at)

_UNDER_WAY = [
    s.value
    for s in (IncidentState.OPEN, IncidentState.WAITING, IncidentState.ACTING, IncidentState.VERIFYING)
]
_LIVE_RUNS = [s.value for s in RunState if not s.ended]


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A rule's schedule. `terms` tells whether the rule still means the same; `due_at` is its next time, None for none."""

    rule: str
    terms: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fire:
    """A time that has come: what became of it, and the incident of its order, empty for none."""

    rule: str
    due: datetime
    fate: str
    incident_id: str
    at: datetime


def every(conn: Connection) -> dict[str, StoredSchedule]:
    """All, by rule."""
    return {row.rule: _stored(row) for row in conn.execute(select(schedules))}


def hold(tx: Tx, rule: str) -> StoredSchedule | None:
    """This rule's, held until the transaction ends; None when it was never looked at."""
    row = tx.conn.execute(select(schedules).where(schedules.c.rule == storable(rule)).with_for_update())
    found = row.one_or_none()
    return None if found is None else _stored(found)


def put(tx: Tx, rule: str, terms: str, due_at: datetime | None) -> None:
    """It is due next then."""
    values = {"terms": terms, "due_at": micros_or_none(due_at)}
    mine = update(schedules).where(schedules.c.rule == storable(rule))
    if tx.conn.execute(mine.values(**values)).rowcount == 0:
        tx.conn.execute(insert(schedules).values(rule=storable(rule), **values))


def forget(tx: Tx, rules: Collection[str]) -> None:
    """These rules have no schedule any more; what has come stays known."""
    tx.conn.execute(delete(schedules).where(schedules.c.rule.in_([storable(rule) for rule in rules])))


def has_come(conn: Connection, rule: str, due: datetime) -> bool:
    """This time of the rule has come before."""
    f = schedule_fires.c
    wanted = (f.rule == storable(rule), f.due_at == micros(due))
    return conn.execute(select(f.rule).where(*wanted)).scalar() is not None


def came(tx: Tx, fire: Fire) -> None:
    """Write down that a time has come; it can only once."""
    row = {
        "rule": storable(fire.rule),
        "due_at": micros(fire.due),
        "fate": fire.fate,
        "incident_id": fire.incident_id,
        "at": tx.stamp,
    }
    tx.conn.execute(insert(schedule_fires).values(**row))


def due_of(conn: Connection, incident_id: str) -> datetime | None:
    """The time for which this order was given; None for other orders."""
    query = select(schedule_fires.c.due_at).where(schedule_fires.c.incident_id == incident_id)
    return moment_or_none(conn.execute(query).scalar())


def newest(conn: Connection, rule: str, number: int = 1) -> Sequence[Fire]:
    """The newest times of this rule that have come, the newest first."""
    f = schedule_fires.c
    query = select(schedule_fires).where(f.rule == storable(rule)).order_by(f.due_at.desc()).limit(number)
    return [
        Fire(row.rule, moment(row.due_at), row.fate, row.incident_id, moment(row.at))
        for row in conn.execute(query)
    ]


def under_way(conn: Connection, rule: str) -> str:
    """What of this rule has not ended, whoever began it: a run, or the incident of an order that its schedule gave and nobody has decided
    yet; its id, empty for none."""
    live = select(runs.c.id).where(runs.c.rule == storable(rule), runs.c.state.in_(_LIVE_RUNS)).limit(1)
    if (found := conn.execute(live).scalar()) is not None:
        return str(found)
    f = schedule_fires.c
    waits = (
        select(incidents.c.id)
        .where(incidents.c.id == f.incident_id, f.rule == storable(rule), incidents.c.state.in_(_UNDER_WAY))
        .limit(1)
    )
    return str(conn.execute(waits).scalar() or "")


def _stored(row: Row[Any]) -> StoredSchedule:
    return StoredSchedule(row.rule, row.terms, moment_or_none(row.due_at))
