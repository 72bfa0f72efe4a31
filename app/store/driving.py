"""Driving: which workflow of the engine has a run, when it is due, and who is at work on it.

A run is driven by one workflow at a time, named in its row. One that is overdue and claimed by nobody has lost its workflow:
`overdue` lists it and `hand_over` gives it to a new one, after which the old one finds itself replaced. Called by the flow.
Never moves a run from one state to another. Owns too how it is noticed that the wall clock was set; what is moved then says `moments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Connection, bindparam, insert, select, update

from app.domain.outcome import RunState
from app.domain.workflows import next_workflow, run_of
from app.store import audit, moments, work
from app.store import runs as run_store
from app.store.connection import micros, micros_or_none, moment, storable, to_json, to_text
from app.store.runs import Run
from app.store.schema import LIVE, RUN_DUE, installation, runs
from app.store.tx import Tx

_RUN = runs.c.id == bindparam("run")
_HOLD = select(runs).where(_RUN).with_for_update()
_CHANGE = update(runs).where(_RUN)
_BEFORE = bindparam("before", type_=BigInteger)
_LATE = (  # built once: every sweep asks it
    select(runs)
    .where(RUN_DUE, runs.c.due_at <= _BEFORE, work.is_free(runs, _BEFORE))
    .order_by(runs.c.due_at)
    .limit(bindparam("most", type_=BigInteger))
)

WAITS_HELD = "held: "
"""How `waits_for` begins when something holds the undo of a run."""


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


def with_despite(conn: Connection) -> list[Run]:
    """Runs that take something back by the order of somebody who knew of what held it."""
    query = select(runs).where(LIVE, runs.c.state == RunState.UNDOING.value)
    found = [run_store.run_from(row) for row in conn.execute(query)]
    return [run for run in found if run.life.get("despite")]


def hand_over(tx: Tx, run: Run, due_at: datetime) -> str | None:
    """Give an overdue run to a new workflow, which has until `due_at` to begin: its id. None when it moved meanwhile."""
    workflow = next_workflow(run.workflow)
    changed = tx.conn.execute(
        update(runs)
        .where(
            runs.c.id == run.id, runs.c.workflow == run.workflow, runs.c.due_at == micros_or_none(run.due_at)
        )
        .where(work.is_free(runs, tx.stamp))
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
    if work.held_by_other(row, owner, tx.stamp):
        return "held"
    tx.conn.execute(_CHANGE, {"run": run_id, **work.claim_values(tx, owner, lease)})
    return run_store.get(tx.conn, run_id)


def start_again(tx: Tx, run: Run) -> str:
    """Give the run to a new workflow that begins now, whatever became of the one before: its id."""
    workflow = next_workflow(run.workflow)
    tx.conn.execute(_CHANGE, {"run": run.id, "workflow": workflow, "due_at": tx.stamp, **work.FREE})
    return workflow


def keep(tx: Tx, run_id: str, changes: Changes, claim: Mapping[str, Any] = work.FREE) -> None:
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


def begin(tx: Tx, run_id: str) -> None:
    """The run waits for nothing any more: it writes."""
    tx.conn.execute(_CHANGE, {"run": run_id, "waits_for": ""})


def wake(tx: Tx, run_id: str) -> None:
    """The run is due now: something that it waits for has happened. An ended run that waits for nothing stays as it is."""
    tx.conn.execute(_CHANGE.where(LIVE), {"run": run_id, "due_at": tx.stamp})


# The wall clock: what follows when it was set back, or ahead.
#
# The store keeps the latest wall time that any process has seen, and who saw it. A time that lies well before it shows that the clock was
# set back; whoever sees it first moves every stored moment in the transaction that writes the new time down, so that it is done once
# however many processes see it, and however often they start. A replica whose own clock is behind that of a living one moves nothing. That it
# was set ahead only a process knows that ran meanwhile: after a start nobody can tell that from time in which nothing ran.

_CLOCK: Final = "clock"
SET_BACK: Final = timedelta(seconds=5)  # a clock that is corrected by less is no news


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest wall time that a process has seen, which replica that was, and how often the clock was found set back so far."""

    at: datetime
    by: str
    jumps: int = 0


def seen(conn: Connection) -> Seen | None:
    """What is written down; None before the first time."""
    row = conn.execute(select(installation.c.value).where(installation.c.name == _CLOCK)).scalar()
    return None if row is None else _seen(row)


def _seen(value: str) -> Seen:
    known = to_json(value)
    return Seen(moment(known["at"]), known["by"], known["jumps"])


def follow_clock(
    tx: Tx, replica: str, back: timedelta, known: int | None, gone: bool
) -> tuple[Seen, timedelta]:
    """Write down that it is now; when the clock was set back, move what is stored. Returns what stands then, and by how much was moved.

    `back` is by how much this process saw its clock set back (ahead: less than nothing) since it knew of `known` jumps (None: it has just
    started), by its monotonic clock. `gone`: the replica that saw the latest time is not there any more.
    """
    row = tx.conn.execute(
        select(installation.c.value).where(installation.c.name == _CLOCK).with_for_update()
    ).scalar()
    before = _seen(row) if row is not None else Seen(audit.newest_at(tx.conn) or tx.now, replica)
    own = back if before.jumps == known else timedelta()
    by = own if own < -SET_BACK else max(before.at - tx.now, own)
    moved = by if abs(by) > SET_BACK and (gone or before.by == replica) else timedelta()
    if not moved and row is not None and tx.now <= before.at:
        return before, moved
    now = Seen(tx.now, replica, before.jumps + bool(moved))
    value = to_text({"at": micros(now.at), "by": now.by, "jumps": now.jumps})
    if row is None:
        tx.conn.execute(insert(installation).values(name=_CLOCK, value=value))
    else:
        tx.conn.execute(update(installation).where(installation.c.name == _CLOCK).values(value=value))
    if moved > timedelta():
        moments.set_back(tx, moved)
    elif moved:
        moments.set_ahead(tx, -moved)
    return now, moved
