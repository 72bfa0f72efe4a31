"""Runs: the row of a run is the truth about it: its state, what it waits for, when it is due and who has it.

Called by the flow and, for reading, by the web and command line. The unique index on targets that are worked on is the last line
of "one run at work on a target", whatever the gates and the engine do. Never carries anything out and never says what follows from what:
that is the flow's table.

Who drives a run, and when it is due, is `app.store.driving`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Executable, Row, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.domain.decision import Mode
from app.domain.errors import Missing, Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.plan import Step
from app.domain.workflows import first_workflow
from app.store import work
from app.store.connection import micros_or_none, moment, moment_or_none, storable, to_json, to_text
from app.store.schema import AT_WORK, LIVE, runs
from app.store.tx import Tx
from app.store.work import JournalEntry, begin_entry, end_entry, entries, entries_in, entries_on, entry

__all__ = [
    "Answer",
    "JournalEntry",
    "NewRun",
    "Run",
    "TargetBusy",
    "answer",
    "begin_entry",
    "end_entry",
    "entries",
    "entries_in",
    "entries_on",
    "entry",
    "get",
    "held_targets",
    "hold",
    "known",
    "live_for_target",
    "live_targets",
    "move",
    "newest_of",
    "not_over",
    "page",
    "plan_values",
    "request",
    "run_id_for",
    "set_step",
]


class TargetBusy(Refused):
    """Another run is at work on the target; `where` is its id."""

    code = "target_busy"


Answer = Literal["approved", "rejected"]


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is requested with. `step` has its real values; the row gets it sealed. `settings` is the rule it is decided under; an ended `state` makes a mere record."""

    id: str
    incident_id: str
    rule: str
    remediation: str
    mode: Mode
    target_key: str
    step: Step
    step_index: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    expires_at: datetime | None = None
    state: RunState = RunState.REQUESTED


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `step` is sealed: its real values are the vault's. `plan_hash` is what an approval is for; `answer` and `answered_by` are empty until somebody answered.

    `attempt` counts the failed attempts of its present transition, `waits_for` says in words what it waits for, `due_at` is
    when it is looked at next (None: never by itself), `workflow` is the engine's workflow that drives it, and `life` is what
    the flow's table keeps of it.
    """

    id: str
    incident_id: str
    rule: str
    remediation: str
    mode: Mode
    target_key: str
    state: RunState
    step: Step
    step_index: int
    plan_hash: str
    settings: Mapping[str, Any]
    params: Mapping[str, Any]
    dry_run: bool
    requested_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None
    answered_by: str
    answer: str
    result: str
    attempt: int
    waits_for: str
    due_at: datetime | None
    claimed_by: str | None
    claimed_until: datetime | None
    workflow: str
    life: Mapping[str, Any]


# Built once, because they stand between an alert and its write, and building one costs more than executing it. The
# columns that an update sets are those of its parameters.
_RUN = runs.c.id == bindparam("run")
_GET = select(runs).where(_RUN)
_HOLD = _GET.with_for_update()
_CHANGE = update(runs).where(_RUN)
_INSERT = insert(runs)


def run_id_for(incident_id: str, n: int) -> str:
    """The id of the n-th run of an incident (from 1): deterministic, so that a repeat makes no second run."""
    return f"run_{incident_id.split('_', 1)[-1]}_{n}"


def request(tx: Tx, new: NewRun) -> Run:
    """Insert the run; a run of this id that exists already is returned as it is.

    Raises TargetBusy when another run is at work on the target.
    """
    if (row := _find(tx.conn, new.id)) is not None:
        return run_from(row)
    step = tx.vault.keep(tx.conn, new.id, new.step_index, new.step)
    _occupying(tx, new.target_key, _INSERT, _values(tx, replace(new, step=step)))
    run = get(tx.conn, new.id)
    data = {
        "rule": run.rule,
        "remediation": run.remediation,
        "mode": run.mode.value,
        "target": run.target_key,
        "step": run.step.to_json(),
        "step_index": run.step_index,
        "plan_hash": run.plan_hash,
        "params": run.params,
        "settings": run.settings,
        "dry_run": run.dry_run,
    }
    tx.audit(EventKind.RUN_REQUESTED, incident_id=run.incident_id, run_id=run.id, data=data)
    return run


def _values(tx: Tx, new: NewRun) -> dict[str, Any]:
    return {
        "id": new.id,
        "incident_id": new.incident_id,
        "rule": new.rule,
        "remediation": new.remediation,
        "mode": new.mode.value,
        "target_key": new.target_key,
        "state": new.state.value,
        **plan_values(new.step, new.step_index),
        "settings": to_text(dict(new.settings)),
        "params": to_text(dict(new.params)),
        "dry_run": new.dry_run,
        "requested_at": tx.stamp,
        "updated_at": tx.stamp,
        "ended_at": tx.stamp if new.state.ended else None,
        "expires_at": micros_or_none(new.expires_at),
        "answered_by": "",
        "answer": "",
        "result": "",
        "attempt": 0,
        "waits_for": "",
        "due_at": None if new.state.ended else tx.stamp,
        "workflow": first_workflow(new.id),
        "life": "{}",
    }


def get(conn: Connection, run_id: str) -> Run:
    """One run. Raises Missing."""
    if (row := _find(conn, run_id)) is None:
        raise Missing("no such run; `remediator runs` lists them", where=run_id)
    return run_from(row)


def known(conn: Connection, run_id: str) -> bool:
    """There is, or was until it was pruned, such a run here."""
    return _find(conn, run_id) is not None


def page(
    conn: Connection,
    cursor: str | None,
    limit: int,
    incident_id: str | None = None,
    state: RunState | None = None,
) -> list[Run]:
    """Up to `limit` runs, newest first, with ids before `cursor`."""
    query = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if cursor:
        query = query.where(runs.c.id < cursor)
    if incident_id is not None:
        query = query.where(runs.c.incident_id == incident_id)
    if state is not None:
        query = query.where(runs.c.state == state.value)
    return [run_from(row) for row in conn.execute(query)]


def newest_of(conn: Connection, incident_id: str) -> Run | None:
    """The newest run of an incident; its id ends with its number."""
    query = select(runs).where(runs.c.incident_id == incident_id)
    row = conn.execute(query.order_by(func.length(runs.c.id).desc(), runs.c.id.desc()).limit(1)).first()
    return None if row is None else run_from(row)


def not_over(conn: Connection) -> list[tuple[str, str, str]]:
    """Rule, remediation and target key of each run that may still write: it is live, or the end of its temporary change is to come."""
    columns = (runs.c.rule, runs.c.remediation, runs.c.target_key)
    query = select(*columns).where(or_(LIVE, runs.c.due_at.is_not(None))).order_by(runs.c.requested_at)
    return [(row.rule, row.remediation, row.target_key) for row in conn.execute(query)]


def live_targets(conn: Connection) -> list[str]:
    """Targets of live runs, also of plans that only wait for an answer, sorted."""
    query = select(runs.c.target_key).distinct().where(LIVE).order_by(runs.c.target_key)
    return list(conn.execute(query).scalars())


def held_targets(conn: Connection) -> list[str]:
    """Targets that a run is at work on, sorted."""
    return list(conn.execute(select(runs.c.target_key).where(AT_WORK).order_by(runs.c.target_key)).scalars())


def live_for_target(conn: Connection, target_key: str) -> Run | None:
    """The run that is at work on the target, or else the oldest plan for it that waits for an answer."""
    query = select(runs).where(LIVE, runs.c.target_key == target_key)
    found = [run_from(row) for row in conn.execute(query.order_by(runs.c.requested_at, runs.c.id))]
    holding = [run for run in found if run.state is not RunState.WAITING or run.step_index > 0]
    return next(iter([*holding, *found]), None)


def move(tx: Tx, run_id: str, state: RunState, *, result: str = "") -> bool:
    """Put the run into `state`; True when that changed it. Ending it releases its reservations.

    An ended run moves only to `undoing` (somebody asked to undo it, or its temporary change ends). Raises Missing, Refused (code `run_ended`) for any
    other move of an ended run, TargetBusy when another run is at work on the target by then.
    """
    run = _hold(tx, run_id)
    if run.state is state:
        if result and not run.result:
            tx.conn.execute(update(runs).where(runs.c.id == run_id).values(result=storable(result)))
        return False
    if run.state.ended and state is not RunState.UNDOING:
        raise Refused(f"the run has ended as {run.state}", code="run_ended", where=run_id)
    values: dict[str, Any] = {
        "state": state.value,
        "updated_at": tx.stamp,
        "ended_at": tx.stamp if state.ended else None,
    }
    if state.ended:
        values["due_at"] = None
    if result:
        values["result"] = storable(result)
    _occupying(tx, run.target_key, _CHANGE, {"run": run_id, **values})
    if state.ended:
        work.release_reservations(tx, run_id)
    data = {"from": run.state.value, "to": state.value, "result": result}
    tx.audit(EventKind.RUN_MOVED, incident_id=run.incident_id, run_id=run_id, data=data)
    return True


def set_step(  # the rule's six parameters
    tx: Tx,
    run_id: str,
    step: Step,
    index: int,
    *,
    expires_at: datetime | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """The run goes on with another step: its plan hash changes, and an earlier answer was not for this one.

    `expires_at` is when an approval of this step expires, None when it needs none. `settings` is the rule that this step was
    decided under; None: as before.
    """
    changed = {"settings": to_text(dict(settings))} if settings is not None else {}
    tx.conn.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            **plan_values(tx.vault.keep(tx.conn, run_id, index, step), index),
            answer="",
            answered_by="",
            expires_at=micros_or_none(expires_at),
            updated_at=tx.stamp,
            **changed,
        )
    )


def answer(  # the rule's six parameters
    tx: Tx, run_id: str, given: Answer, by: str, *, named: str = "", reason: str = ""
) -> bool:
    """Record the answer to the question that stands; False when there is one already or the run has ended. A no takes back a yes, as long as
    the run waits: nothing of its plan is begun then.

    `by` gave the last word; `named` are all who agreed, when the rule wanted several; `reason` is why, where one was asked for.

    Whether the answer may count (plan, expiry, person) is the caller's to check, in this transaction. Raises Missing.
    """
    run = _hold(tx, run_id)
    takes_back = given == "rejected" and run.answer == "approved" and run.state is RunState.WAITING
    if (run.answer and not takes_back) or run.state.ended:
        return False
    tx.conn.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(answer=given, answered_by=storable(named or by), updated_at=tx.stamp)
    )
    kind = EventKind.APPROVED if given == "approved" else EventKind.REJECTED
    data = {"answer": given, "plan_hash": run.plan_hash, "step": run.step.name}
    if reason:
        data["reason"] = reason
    tx.audit(kind, incident_id=run.incident_id, run_id=run_id, actor=by, data=data)
    return True


def hold(tx: Tx, run_id: str) -> Run:
    """One run, locked until the transaction ends, so that two answers come one after the other. Raises Missing."""
    return _hold(tx, run_id)


def _hold(tx: Tx, run_id: str) -> Run:
    row = tx.conn.execute(_HOLD, {"run": run_id}).one_or_none()
    if row is None:
        raise Missing("no such run; `remediator runs` lists them", where=run_id)
    return run_from(row)


def _occupying(tx: Tx, target_key: str, statement: Executable, values: dict[str, Any]) -> None:
    """Execute what may put a run to work; the unique index decides."""
    try:
        with tx.conn.begin_nested():
            tx.conn.execute(statement, values)
    except IntegrityError as error:
        at_work = select(runs.c.id).where(AT_WORK, runs.c.target_key == target_key)
        holder = tx.conn.execute(at_work).scalar()
        if holder is None:
            raise  # some other key: a defect, or on Postgres a race that a second try settles
        raise TargetBusy("another run is at work on the target", where=holder) from error


def plan_values(step: Step, index: int) -> dict[str, Any]:
    """The columns of the step that a run stands on, which is sealed."""
    return {"step": to_text(step.to_json()), "step_index": index, "plan_hash": step.hash}


def _find(conn: Connection, run_id: str) -> Row[Any] | None:
    return conn.execute(_GET, {"run": run_id}).one_or_none()


def run_from(row: Row[Any]) -> Run:
    """A row of the table as a run."""
    data = row._asdict()
    for name in ("requested_at", "updated_at"):
        data[name] = moment(data[name])
    for name in ("ended_at", "expires_at", "due_at", "claimed_until"):
        data[name] = moment_or_none(data[name])
    data |= {
        "mode": Mode(row.mode),
        "state": RunState(row.state),
        "step": Step.from_json(to_json(row.step)),
        "settings": to_json(row.settings),
        "params": to_json(row.params),
        "life": to_json(row.life),
    }
    return Run(**data)
