"""Steps of a run: the intent before, the outcome after, each written once.

Re-exported by `runs`. A step that has an intent and no outcome was interrupted: its caller reads the cluster before doing
anything. Never writes audit events: what a step means is its caller's to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, insert, select, update

from app.domain.errors import Missing
from app.store.encoding import moment, moment_or_none, object_or_none, to_json, to_text
from app.store.schema import run_journal, runs
from app.store.tx import Tx


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One step. `resumed`: it had been begun before this call, so whatever it does may have happened."""

    run_id: str
    name: str
    intent: Mapping[str, Any]
    outcome: Mapping[str, Any] | None
    begun_at: datetime
    ended_at: datetime | None
    resumed: bool = True


# Built once: building one costs more than executing it.
_STEP = (run_journal.c.run_id == bindparam("run")) & (run_journal.c.name == bindparam("step"))
_FIND = select(run_journal).where(_STEP)
_BEGIN = insert(run_journal)
_END = update(run_journal).where(_STEP, run_journal.c.outcome.is_(None))


def begin_entry(tx: Tx, run_id: str, name: str, intent: Mapping[str, Any]) -> JournalEntry:
    """Record the intent, or return the step as it was begun before (the first intent stands)."""
    if (found := _find(tx.conn, run_id, name)) is not None:
        return _entry(found)
    row = {"run_id": run_id, "name": name, "intent": to_text(dict(intent)), "begun_at": tx.stamp}
    tx.conn.execute(_BEGIN, row)
    return JournalEntry(run_id, name, dict(intent), None, tx.now, None, resumed=False)


def end_entry(tx: Tx, run_id: str, name: str, outcome: Mapping[str, Any]) -> JournalEntry:
    """Record the outcome and return the step; the first outcome stands. Raises Missing when it was never begun."""
    ended = {"outcome": object_or_none(dict(outcome)), "ended_at": tx.stamp}
    tx.conn.execute(_END, {"run": run_id, "step": name, **ended})
    if (row := _find(tx.conn, run_id, name)) is None:
        raise Missing("no such step", where=f"{run_id}/{name}")
    return _entry(row)


def entry(conn: Connection, run_id: str, name: str) -> JournalEntry | None:
    """One step of a run."""
    row = _find(conn, run_id, name)
    return None if row is None else _entry(row)


def entries(conn: Connection, run_id: str) -> list[JournalEntry]:
    """All steps of a run in the order they were begun."""
    query = (
        select(run_journal)
        .where(run_journal.c.run_id == run_id)
        .order_by(run_journal.c.begun_at, run_journal.c.name)
    )
    return [_entry(row) for row in conn.execute(query)]


def entries_on(conn: Connection, target_key: str, kind: str) -> list[JournalEntry]:
    """Steps of all remembered runs on a target that meant an action of this kind, oldest first."""
    return _meant(conn, runs.c.target_key == target_key, kind)


def entries_in(
    conn: Connection, namespace: str, remediations: Collection[str], kind: str
) -> list[JournalEntry]:
    """Steps of all remembered runs of these remediations on targets of a namespace that meant an action of this kind, oldest
    first."""
    inside = runs.c.target_key.startswith(f"{namespace}/", autoescape=True)
    return _meant(conn, runs.c.remediation.in_(remediations) & inside, kind)


def _meant(conn: Connection, which: ColumnElement[bool], kind: str) -> list[JournalEntry]:
    query = (
        select(run_journal)
        .join(runs, runs.c.id == run_journal.c.run_id)
        .where(which, run_journal.c.intent.contains(kind, autoescape=True))
        .order_by(run_journal.c.begun_at, run_journal.c.name)
    )
    found = [_entry(row) for row in conn.execute(query)]
    return [one for one in found if one.intent.get("kind") == kind]


def _find(conn: Connection, run_id: str, name: str) -> Row[Any] | None:
    return conn.execute(_FIND, {"run": run_id, "step": name}).one_or_none()


def _entry(row: Row[Any]) -> JournalEntry:
    outcome = None if row.outcome is None else to_json(row.outcome)
    return JournalEntry(
        row.run_id, row.name, to_json(row.intent), outcome, moment(row.begun_at), moment_or_none(row.ended_at)
    )
