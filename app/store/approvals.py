"""Answers: what people said to the question of one step, one row each, and which clicks of buttons were taken already.

The rows are the count of a rule that wants several people, so that it survives restarts; the last word stays in the run
itself (`runs.answer`). Called by the flow inside its transactions. Never judges whether an answer may count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, exists, insert, or_, select
from sqlalchemy.exc import IntegrityError

from app.domain.errors import Refused
from app.domain.outcome import RunState
from app.store.connection import micros, moment, storable, to_json
from app.store.lately import MAX_LOOKED_AT, Spell
from app.store.runs import Run, get
from app.store.schema import clicks, incidents, run_approvals, runs
from app.store.tx import Tx

Word = Literal["approved", "rejected", "snoozed"]


@dataclass(frozen=True, slots=True)
class Click:
    """A button that somebody clicked: `key` makes it count once, however often it arrives, and `reason` is why, in their own
    words, cleaned by whoever took it. Both are empty for an order that came without a button."""

    key: str = ""
    reason: str = ""


NO_CLICK = Click()


def because(reason: str) -> dict[str, str]:
    """A reason as part of an audit record; nothing when none was given."""
    return {"reason": reason} if reason else {}


@dataclass(frozen=True, slots=True)
class Given:
    """One answer to the question about one step of a run. `plan_hash` is the plan it was given for."""

    run_id: str
    step_index: int
    number: int
    answer: str
    given_by: str
    plan_hash: str
    at: datetime


def given(conn: Connection, run: Run, word: Word) -> list[Given]:
    """Answers of this kind to the question that stands (same step, same plan), in the order they came."""
    query = (
        select(run_approvals)
        .where(run_approvals.c.run_id == run.id, run_approvals.c.step_index == run.step_index)
        .where(run_approvals.c.plan_hash == run.plan_hash, run_approvals.c.answer == word)
        .order_by(run_approvals.c.number)
    )
    return [Given(**{**row._asdict(), "at": moment(row.at)}) for row in conn.execute(query)]


def give(tx: Tx, run: Run, word: Word, by: str) -> int:
    """Write down one more answer; returns its number among all answers to this step (from 1).

    The caller holds the run's row, so that two answers at the same moment get two numbers.
    """
    query = select(run_approvals.c.number).where(
        run_approvals.c.run_id == run.id, run_approvals.c.step_index == run.step_index
    )
    number = max(tx.conn.execute(query).scalars(), default=0) + 1
    tx.conn.execute(
        insert(run_approvals).values(
            run_id=run.id,
            step_index=run.step_index,
            number=number,
            answer=word,
            given_by=storable(by),
            plan_hash=run.plan_hash,
            at=tx.stamp,
        )
    )
    return number


class Repeated(Refused):
    """This click was taken already: another delivery of it, or a process that died right after it had acted."""

    code = "repeated"


def take(tx: Tx, click: str) -> None:
    """Count this click as taken, in the transaction that does what it asks for: a death in between loses neither. Nothing
    for an empty key, which is no click. Raises Repeated when any replica has taken it before."""
    if not click:
        return
    try:
        with tx.conn.begin_nested():
            tx.conn.execute(insert(clicks).values(id=storable(click), at=tx.stamp))
    except IntegrityError as error:
        raise Repeated("this click was taken already", where=click) from error


def taken(conn: Connection, click: str) -> bool:
    """Whether a click was taken already."""
    return conn.execute(select(clicks.c.id).where(clicks.c.id == storable(click))).scalar() is not None


_SOMEBODY = exists().where(run_approvals.c.run_id == runs.c.id)
"""One of several who have to agree has answered."""


def refused(conn: Connection, target_key: str, since: datetime) -> dict[str, str]:
    """Steps for which somebody rejected a plan of the target, or had it undone, since then, by name and with who. Who agrees to one later, or orders it,
    has the newer word."""
    query = (
        select(runs.c.id, incidents.c.manual)
        .join(incidents, incidents.c.id == runs.c.incident_id)
        .where(runs.c.target_key == target_key, runs.c.ended_at >= micros(since), runs.c.dry_run.is_(False))
        .where(or_(runs.c.answer != "", runs.c.state.in_(_UNDONE), incidents.c.manual.is_not(None)))
        .order_by(runs.c.ended_at, runs.c.id)
    )
    found = dict[str, str]()
    for row in conn.execute(query):
        run, order = get(conn, row.id), row.manual is not None and not to_json(row.manual).get("schedule")
        if run.answer == "rejected" or (run.state.value in _UNDONE and run.life.get("cause") == "person"):
            found[run.step.name] = f"{run.result} ({run.id})"
        elif run.state is not RunState.ABANDONED and (order or run.answer):
            found.pop(run.step.name, None)
    return found


_UNDONE = [RunState.UNDONE.value, RunState.UNDO_CONFLICT.value]


def unanswered(conn: Connection, target_key: str, remediation: str, since: datetime) -> list[Spell]:
    """When first questions about the target for alerts stood, that nobody answered and that ended after `since` and before their time was over,
    newest first: those after the last one that came to anything else. What was ordered is asked about for whoever ordered it."""
    query = (
        select(
            runs.c.requested_at,
            runs.c.ended_at,
            runs.c.state,
            runs.c.answer,
            runs.c.expires_at,
            runs.c.step_index,
            _SOMEBODY.label("somebody"),
        )
        .join(incidents, incidents.c.id == runs.c.incident_id)
        .where(runs.c.target_key == target_key, runs.c.remediation == remediation)
        .where(incidents.c.manual.is_(None))
        .where(runs.c.ended_at >= micros(since), runs.c.dry_run.is_(False))
        .order_by(runs.c.ended_at.desc())
        .limit(MAX_LOOKED_AT)
    )
    found = []
    for row in conn.execute(query):
        asked = row.expires_at is not None and not row.answer and not row.somebody and row.step_index == 0
        if row.state != RunState.ABANDONED.value or not asked:
            break
        found.append(Spell(moment(row.requested_at), moment(row.ended_at)))
    return found
