"""Moments: what becomes of every stored time when the wall clock was set back, or ahead.

One list says of each column that holds a time whether it is moved with the clock, or why not, and a test refuses a column that is in
neither. What has an order is not ordered by a time where the clock may be set back in between, but by what only grows: a
number, or the place in the audit trail. Called by `driving`, which knows when the clock was set back. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, and_, delete, exists, or_, select, update

from app.domain.outcome import HELPED, RunState
from app.domain.workflows import TEMPORARY_ENTRY
from app.store import audit
from app.store import runs as run_store
from app.store.connection import micros, to_json, to_text
from app.store.escalations import LIVE as ASKED
from app.store.escalations import escalations
from app.store.people import incident_acknowledgements
from app.store.schema import (
    CLOSED,
    LIVE,
    OPEN,
    RUN_DUE,
    UNSENT,
    decisions,
    digests,
    episodes,
    incidents,
    installation,
    ledger,
    outbox,
    runs,
    samples,
    trust_levels,
)
from app.store.tx import Tx

_MICROSECOND: Final = timedelta(microseconds=1)
_JUST: Final = (
    timedelta(seconds=30) // _MICROSECOND
)  # what is as young as this may have been written after the jump
_REACH: Final = timedelta(days=31) // _MICROSECOND  # nothing counts from what was before
_GROUP = 5_000  # incidents whose alerts are moved in one statement
WATCHED = "watched"
"""Name of the row of `installation` with the spans of time in which alerts could be heard."""

Rows = tuple[ColumnElement[bool], ...]

DUE: Final[tuple[tuple[Column[int], Rows], ...]] = (
    (incidents.c.due_at, ()),
    (incidents.c.claimed_until, ()),
    (incidents.c.opened_at, (CLOSED,)),  # how many came within a storm's time
    (runs.c.due_at, ()),
    (runs.c.claimed_until, ()),
    (runs.c.expires_at, (LIVE,)),
    (outbox.c.retry_at, (UNSENT,)),
    (outbox.c.claimed_until, (UNSENT,)),
    (escalations.c.due_at, ()),
)
"""What something waits for, and of which rows: moved when it is still to come."""

COUNTED: Final[tuple[tuple[Column[int], Rows], ...]] = (
    (incidents.c.opened_at, (OPEN,)),  # how long it is undecided, or its order stands
    (
        decisions.c.at,
        (decisions.c.incident_id.in_(select(incidents.c.id).where(OPEN)),),
    ),  # how long a word stands
    (runs.c.requested_at, (LIVE,)),
    (runs.c.ended_at, ()),  # cooldowns and the circuit breaker count from it
    (ledger.c.at, ()),
    (ledger.c.released_at, ()),
    (outbox.c.created_at, (UNSENT,)),  # how long a message waits
    (escalations.c.begun_at, ()),  # an alert that comes and goes calls so often within an hour
    (incident_acknowledgements.c.at, ()),  # and whoever took it has it for a while
    (incident_acknowledgements.c.outgrown_at, ()),
    (digests.c.opened_at, ()),
    (digests.c.joined_at, ()),
    (digests.c.told_at, ()),
)
"""What something is counted from, and of which rows: moved whether it is still to come by the new time or not."""

BESIDE: Final = (
    "episodes.first_seen",
    "episodes.last_seen",
    "incidents.closed_at",
    "samples.at",
    "escalations.asked: at",
    "installation.value: watched",
    "runs.life: attended",
    "runs.life: ordered_until",
    "runs.life: progress.told_at",
    "runs.life: trying",
    "runs.life: until",
    "trust_levels.agreed: *",
)
"""What is moved by a function of its own: it takes more than one column, stands in a key, or inside of a text."""

KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "people set it by the clock's own time": (
        "pauses.until",
        "schedules.due_at",
        "schedule_fires.due_at",
        "run_journal.intent: action.*",  # what a plan says, as people read and approved it
    ),
    "it is told by another clock than ours": (
        "acknowledgements.at",
        "episodes.ends_at",
        "episodes.starts_at",
        "escalations.page_at",
    ),
    "it tells when something was; no order, no wait and no count goes by it, but for the age at which it is removed": (
        "audit.at",
        "clicks.at",
        "deliveries.received_at",
        "digests.closed_at",
        "escalations.answered_at",
        "escalations.over_at",
        "incidents.decided_at",
        "incidents.updated_at",
        "pauses.lifted_at",
        "pauses.set_at",
        "run_approvals.at",
        "run_journal.begun_at",  # of runs at work it only makes some order, the same for all of them
        "run_journal.ended_at",
        "run_journal.outcome: answer.at",
        "runs.life: readings.at",
        "runs.updated_at",
        "schedule_fires.at",
        "trust_levels.asked_at",  # the question's own name
        "trust_levels.since",
        "trust_levels.updated_at",
    ),
    "the row of the run has the one that holds": ("run_journal.intent: until",),
    "it is compared with what came before it in the same look": ("runs.life: watch.last.at",),
    "it is what the clock is held against": ("installation.value: at",),
}
"""What stays, and why."""


def set_back(tx: Tx, by: timedelta) -> None:
    """The clock was set back by so much: every stored moment that is due, waited for, held until or counted from comes on the new time."""
    step, now = by // _MICROSECOND, tx.stamp
    for column, where in DUE:
        _earlier(tx, column, step, column > now, *where)
    for column, where in COUNTED:
        _earlier(tx, column, step, _before_the_jump(column, now), *where)
    _set_alerts_back(tx, step)
    _set_samples_back(tx, step)
    _set_lives_back(tx, by)
    _set_people_back(tx, by)
    _set_watched_back(tx)


def set_ahead(tx: Tx, by: timedelta) -> None:
    """The clock was set ahead by so much while a process ran: nobody had that time, so that nothing ends or is forgotten by it. What is certain to
    be of before the jump is moved; what is only looked at early by that stays, and so does when alerts were heard of: they are as old as they look."""
    step, now = by // _MICROSECOND, tx.stamp
    jump = now - step
    for column, where in DUE:
        if column.name not in ("opened_at", "expires_at"):
            _earlier(tx, column, -step, column > jump, column <= now, *where)
    _earlier(tx, runs.c.expires_at, -step, runs.c.expires_at > jump, runs.c.requested_at <= jump, LIVE)
    for column, where in COUNTED:
        _earlier(tx, column, -step, column <= jump, column > jump - _REACH, *where)
    _set_lives_back(tx, -by)


def _earlier(tx: Tx, column: Column[int], step: int, *where: ColumnElement[bool]) -> None:
    tx.conn.execute(update(column.table).where(*where).values({column.name: column - step}))


def _before_the_jump(column: Column[int], now: int) -> ColumnElement[bool]:
    """It was written before the clock was set back, and so lately that it may count; what came after has the new time already. What stands in
    the half minute before the new time may be either, and stays."""
    return or_(column > now, and_(column < now - _JUST, column > now - _REACH))


def _is_before(at: int, tx: Tx) -> bool:
    """The same of a moment inside of a text."""
    return not tx.stamp - _JUST <= at <= tx.stamp


def _set_alerts_back(tx: Tx, step: int) -> None:
    """When the alerts were heard of incidents that are open, or were closed so lately that a straggler of theirs may come."""
    closed = (CLOSED, incidents.c.closed_at > tx.stamp)
    lately = list(tx.conn.execute(select(incidents.c.id).where(*closed)).scalars())
    concerned = [*tx.conn.execute(select(incidents.c.id).where(OPEN)).scalars(), *lately]
    for first in range(0, len(concerned), _GROUP):
        theirs = audit.episodes_of_all(tx.conn, concerned[first : first + _GROUP])
        for heard in (episodes.c.first_seen, episodes.c.last_seen):
            _earlier(tx, heard, step, theirs, heard > tx.stamp)
    _earlier(tx, incidents.c.closed_at, step, *closed)


def _set_samples_back(tx: Tx, step: int) -> None:
    """When memory was measured. It stands in the key of its row, so that all go out of the way first."""
    at, other = samples.c.at, samples.alias()
    taken = _before_the_jump(samples.c.at, tx.stamp)
    tx.conn.execute(update(samples).where(taken).values(at=step - at))
    same = (other.c.target_key == samples.c.target_key, other.c.pod == samples.c.pod, other.c.at == -at)
    tx.conn.execute(delete(samples).where(at < 0, exists(select(other.c.at).where(*same))))
    tx.conn.execute(update(samples).where(at < 0).values(at=-at))


_LIVES: Final = ("until", "ordered_until", "attended", "trying")


def _set_lives_back(tx: Tx, by: timedelta) -> None:
    """Until when a temporary change lasts and a person's order to undo is good, until when somebody was at a step, since when something is tried, and when a long action was told
    last, as the rows of runs keep it."""
    concerned = or_(LIVE, and_(RUN_DUE, runs.c.state.in_([state.value for state in HELPED])))
    for row in tx.conn.execute(select(runs).where(concerned).with_for_update()).all():
        run = run_store.run_from(row)
        life: dict[str, Any] = dict(run.life)
        if "until" not in life and (run.state in HELPED or run.state is RunState.UNDOING):
            entry = run_store.entry(tx.conn, run.id, TEMPORARY_ENTRY)  # the row of an older version has none
            life |= {"until": entry.intent["until"]} if entry is not None and entry.outcome is None else {}
        life |= {name: _before(life[name], by) for name in _LIVES if life.get(name)}
        if by > timedelta() and (progress := life.get("progress")) and progress.get("told_at"):
            life["progress"] = {**progress, "told_at": _before(progress["told_at"], by)}
        if life != run.life:
            tx.conn.execute(update(runs).where(runs.c.id == run.id).values(life=to_text(life)))


def _set_people_back(tx: Tx, by: timedelta) -> None:
    """When people were asked whom nobody has answered for, and when they agreed to a promotion that others have to agree to as well."""
    step = by // _MICROSECOND
    for row in tx.conn.execute(select(escalations.c.id, escalations.c.asked).where(ASKED)).all():
        before = to_json(row.asked)
        asked = [{**one, "at": one["at"] - step} if _is_before(one["at"], tx) else one for one in before]
        if asked != before:
            tx.conn.execute(
                update(escalations).where(escalations.c.id == row.id).values(asked=to_text(asked))
            )
    waits = trust_levels.c.asked_at.is_not(None)
    for row in tx.conn.execute(select(trust_levels.c.key, trust_levels.c.agreed).where(waits)).all():
        given = to_json(row.agreed)
        agreed = {
            who: _before(at, by) if _is_before(micros(datetime.fromisoformat(at)), tx) else at
            for who, at in given.items()
        }
        if agreed != given:
            mine = trust_levels.c.key == row.key
            tx.conn.execute(update(trust_levels).where(mine).values(agreed=to_text(agreed)))


def _set_watched_back(tx: Tx) -> None:
    """No span of time in which alerts could be heard is still to come: the time is heard once more, and noted then."""
    mine = installation.c.name == WATCHED
    text = tx.conn.execute(select(installation.c.value).where(mine)).scalar()
    if text is None:
        return
    spans = [[begun, min(ended, tx.stamp)] for begun, ended in to_json(text) if begun <= tx.stamp]
    changed = update(installation).values(value=to_text(spans)) if spans else delete(installation)
    tx.conn.execute(changed.where(mine))


def _before(at: str, by: timedelta) -> str:
    return (datetime.fromisoformat(at) - by).isoformat()


__all__ = ["BESIDE", "COUNTED", "DUE", "KEPT", "WATCHED", "set_ahead", "set_back"]
