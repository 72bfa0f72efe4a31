"""Answers: what people said to the question of one step, one row each, and which clicks of buttons were taken already.

The rows are the count of a rule that wants several people, so that it survives restarts; the last word stays in the run
itself (`runs.answer`). Called by the flow inside its transactions. Never judges whether an answer may count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from app.domain.errors import Refused
from app.store.connection import moment, storable
from app.store.runs import Run
from app.store.schema import clicks, run_approvals
from app.store.tx import Tx

Word = Literal["approved", "rejected", "snoozed"]


@dataclass(frozen=True, slots=True)
class Press:
    """A button that somebody pressed: `key` makes it count once, however often it arrives, and `reason` is why, in their own
    words, cleaned by whoever took it. Both are empty for an order that came without a button."""

    key: str = ""
    reason: str = ""


NO_PRESS = Press()


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
