"""Driving: which workflow of the engine has a run, when it is due, and who is at work on it.

A run is driven by one workflow at a time, named in its row. One that is overdue and claimed by nobody has lost its workflow:
`overdue` lists it and `hand_over` gives it to a new one, after which the old one finds itself replaced. Called by the flow.
Never moves a run from one state to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import BigInteger, Connection, bindparam, select, update

from app.domain.workflows import next_workflow, run_of
from app.store import claims
from app.store import runs as run_store
from app.store.encoding import micros, micros_or_none, storable, to_text
from app.store.runs import Run
from app.store.schema import LIVE, RUN_DUE, runs
from app.store.tx import Tx

_RUN = runs.c.id == bindparam("run")
_HOLD = select(runs).where(_RUN).with_for_update()
_CHANGE = update(runs).where(_RUN)
_BEFORE = bindparam("before", type_=BigInteger)
_LATE = (  # built once: every sweep asks it
    select(runs)
    .where(RUN_DUE, runs.c.due_at <= _BEFORE, claims.is_free(runs, _BEFORE))
    .order_by(runs.c.due_at)
    .limit(bindparam("most", type_=BigInteger))
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a transition leaves in the row besides the state. `life` None: as it was."""

    due_at: datetime | None
    waits_for: str = ""
    attempt: int = 0
    life: Mapping[str, Any] | None = None


def overdue(conn: Connection, before: datetime, limit: int) -> list[Run]:
    """Runs that were due before then and that nobody claims, the longest due first."""
    rows = conn.execute(_LATE, {"before": micros(before), "most": limit})
    return [run_store.run_from(row) for row in rows]


def hand_over(tx: Tx, run: Run, due_at: datetime) -> str | None:
    """Give an overdue run to a new workflow, which has until `due_at` to begin: its id. None when it moved meanwhile."""
    workflow = next_workflow(run.workflow)
    changed = tx.conn.execute(
        update(runs)
        .where(
            runs.c.id == run.id, runs.c.workflow == run.workflow, runs.c.due_at == micros_or_none(run.due_at)
        )
        .where(claims.is_free(runs, tx.stamp))
        .values(workflow=workflow, due_at=micros(due_at))
    )
    return workflow if changed.rowcount else None


def take(tx: Tx, workflow: str, owner: str, lease: timedelta) -> Run | Literal["over", "held"]:
    """Claim the run for one look. `over`: this workflow has nothing more to do (another one drives the run, or it waits for
    nothing). `held`: somebody else is at work on it."""
    run_id = run_of(workflow)
    row = tx.conn.execute(_HOLD, {"run": run_id}).one_or_none()
    if row is None or row.workflow != workflow or row.due_at is None:
        return "over"
    if claims.held(row, owner, tx.stamp):
        return "held"
    tx.conn.execute(_CHANGE, {"run": run_id, **claims.taken(tx, owner, lease)})
    return run_store.get(tx.conn, run_id)


def start_again(tx: Tx, run: Run) -> str:
    """Give the run to a new workflow that begins now, whatever became of the one before: its id."""
    workflow = next_workflow(run.workflow)
    tx.conn.execute(_CHANGE, {"run": run.id, "workflow": workflow, "due_at": tx.stamp, **claims.FREE})
    return workflow


def keep(tx: Tx, run_id: str, changes: Changes, claim: Mapping[str, Any] = claims.FREE) -> None:
    """Write what became of a transition and end its claim, or go on with another `claim`."""
    values: dict[str, Any] = {
        "attempt": changes.attempt,
        "waits_for": storable(changes.waits_for),
        "due_at": micros_or_none(changes.due_at),
        **claim,
    }
    if changes.life is not None:
        values["life"] = to_text(dict(changes.life))
    tx.conn.execute(_CHANGE, {"run": run_id, **values})


def change(tx: Tx, run_id: str, life: Mapping[str, Any]) -> None:
    """Another life for a run that somebody may be looking at: their claim stands, and it is due now."""
    tx.conn.execute(_CHANGE, {"run": run_id, "life": to_text(dict(life)), "due_at": tx.stamp})


def wake(tx: Tx, run_id: str) -> None:
    """The run is due now: something that it waits for has happened. An ended run that waits for nothing stays as it is."""
    tx.conn.execute(_CHANGE.where(LIVE), {"run": run_id, "due_at": tx.stamp})
