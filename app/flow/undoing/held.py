"""Held: an undo that waits for something to let it be written, who is told of it, and how the wait ends. And what could not be done in passing
and is tried again, longer where an application stands at 0 until it is done.

A pause, a ceiling, a freeze, what is off limits, or pods that could not start hold it. The undo that the rule wants waits as long as that
stands, and a person is called. One that a person ordered waits as long as an approval would be good: until then they may withdraw it
while nothing of it is begun, and after that nothing is written by it any more. Called by `undo` and `act`. Writes to the store only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from app.domain import half_way
from app.domain.actuator import Undone
from app.domain.copies import SEEN
from app.domain.errors import OutcomeUnclear, ProbeUnavailable, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState, UndoResult
from app.domain.plan import Action
from app.flow.deciding.settle import watched
from app.flow.notifying.record import announce, escalate
from app.flow.notifying.record import tell as record
from app.flow.notifying.record import waits as waits_again
from app.flow.running import journal
from app.flow.running.life import MAX_ATTEMPTS, Cause, Event, Found, Life, Look, last_attempt
from app.flow.services import Services
from app.notify.timeline import Escalation, Topic, UndoHeld, fact_to_json
from app.store import incidents, runs
from app.store.driving import WAITS_HELD
from app.store.runs import JournalEntry, Run
from app.store.tx import Tx

_AGAIN = 15.0  # seconds between looks at what holds a write
_RETRY = 5.0  # seconds, when the cluster does not say
PATIENCE = timedelta(hours=1)
"""How long that is tried without which an application stands at 0."""
_WHILE = timedelta(minutes=10)
"""How long that is tried which can be left as well, so that the application is started again with what it ran with before."""
UNCLEAR = "unclear"
"""What the row keeps while nobody knows whether what was sent has happened."""


def again(
    services: Services, run: Run, why: str, seconds: float | None = None, *, stopped: bool = False
) -> Found | None:
    """What could not be done in passing is tried again; None when it is given up. Where an application stands at 0 by our doing until it is
    started (`stopped`), that is tried for an hour: somebody is called where anything else is given up, and it goes on."""
    if not stopped:
        found = Found(seconds=seconds or _RETRY, failed=True, waits_for=why, also=waits_again)
        return None if last_attempt(run) else found
    return _patiently(services, run, (why, seconds), "starting it", PATIENCE)


def again_back(
    services: Services, run: Run, action: Action, error: TryLater | OutcomeUnclear
) -> Found | None:
    """The same of what an undo takes back while an application stands at 0. What is no start can be left: for that nobody keeps it at 0 longer
    than a while, unless it is not known whether it has happened."""
    keeps = half_way.stops(action) or is_unclear(run, error)
    what = "starting it" if half_way.stops(action) else f"the undo that it was stopped for ({action.summary})"
    later = _patiently(services, run, _of(error), what, PATIENCE if keeps else _WHILE)
    return later and replace(later, keeps={**later.keeps, UNCLEAR: is_unclear(run, error)})


def _of(error: RemediatorError) -> tuple[str, float | None]:
    """Why it failed, and after how many seconds it may be tried again where that is known."""
    return str(error), getattr(error, "retry_after", None)


def is_unclear(run: Run, error: RemediatorError) -> bool:
    """It was sent without an answer, and could not be looked at since."""
    unread = not isinstance(error, ProbeUnavailable) or error.code not in SEEN
    return isinstance(error, OutcomeUnclear) or (bool(run.life.get(UNCLEAR)) and unread)


def _patiently(
    services: Services, run: Run, failed: tuple[str, float | None], what: str, patience: timedelta
) -> Found | None:
    """Once more, until the patience is over."""
    (why, seconds), now, tries = failed, services.clock.now(), int(run.life.get("tries", 0)) + 1
    since = datetime.fromisoformat(run.life["trying"]) if tries > 1 else now
    if now - since >= patience and tries > MAX_ATTEMPTS:
        return None

    def also(tx: Tx, held: Run) -> None:
        waits_again(tx, held)
        if tries == MAX_ATTEMPTS:
            reason = f"an application stands at 0, and {what} is tried again and again: {why}"
            once = f"{run.id}/trying/{held.life.get('undos', 0)}/{since.isoformat()}"
            call(tx, held, reason, stuck=True, reopen=True, once=once)

    keeps: dict[str, JsonValue] = {"trying": since.isoformat(), "tries": tries}
    return Found(seconds=seconds or _RETRY, failed=True, patient=True, waits_for=why, also=also, keeps=keeps)


def failed(
    services: Services, run: Run, entries: Sequence[JournalEntry], error: RemediatorError
) -> Found | Undone:
    """It is tried again, or what became of it. Where an application was stopped for what cannot be taken back, it is not kept at 0: that stays,
    and what comes next starts it again with what it ran with before."""
    (action,) = journal.actions(entries[-1:])
    stopped = any(size.stopped for size in half_way.sizes(journal.actions(entries)))
    if isinstance(error, (TryLater, OutcomeUnclear)):
        later = again_back(services, run, action, error) if stopped else again(services, run, *_of(error))
        if later:
            return later
    text = given_up(error) if isinstance(error, (TryLater, OutcomeUnclear)) else str(error)
    if stopped and action.kind in half_way.KEPT and not is_unclear(run, error):
        text = f"{text}. It stays as it is, and what was stopped for it is started again"
        return Undone(UndoResult.NOT_DONE, text)
    return Undone(UndoResult.FAILED, text)


def given_up(error: RemediatorError) -> str:
    """Why it is not tried any more."""
    return f"tried again and again: {error}"


def waits(services: Services, run: Run, hold: str, *, unread: bool = False) -> Found | Look:
    """It waits as long as the hold stands, and who waits for it is told; a person's order ends with its time. When an application stands
    still by our doing, somebody is called whoever ordered it; when the hold is only that something cannot be read (`unread`), after as
    many looks as anything unread has."""
    if _too_late(services, run):
        return _expired(run, f"it waited for {hold}")
    told = int(run.life.get("told", 0)) + (run.life.get("held") != hold)
    looks = int(run.life.get("unread", 0)) + 1 if unread else 0

    def also(tx: Tx, now: Run) -> None:
        if now.life.get("held") != hold:
            _tell(tx, now, hold, told)
        if looks == MAX_ATTEMPTS:
            _call_for_unread(tx, now, hold)

    keeps: dict[str, JsonValue] = {"held": hold, "told": told, "unread": looks}
    return Found(seconds=_AGAIN, waits_for=f"{WAITS_HELD}{hold}", also=also, keeps=keeps)


def _tell(tx: Tx, run: Run, hold: str, number: int) -> None:
    """The trail and the parent message have every hold; the thread has the first, the second, the fourth: some change by the minute."""
    life, stands = journal.life_of(run), journal.standing_of(tx.conn, run, held=True)
    ordered = life.cause is Cause.PERSON
    begun = journal.begun(runs.entries(tx.conn, run.id), run)
    fact = UndoHeld(
        hold,
        f"remediator undo {run.id} --despite",
        withdraw=f"remediator reject {run.id}" if ordered and not begun else "",
        until=_good_until(life),
    )
    once = f"{run.id}/held/{life.undos}/{tx.stamp}"
    if number & (number - 1):
        data = fact_to_json(Topic.UNDO_HELD, fact)
        tx.audit(EventKind.UNDO_HELD, incident_id=run.incident_id, run_id=run.id, data=data)
        announce(tx, Topic.MOVED, incident_id=run.incident_id, once=once)
    else:
        record(tx, Topic.UNDO_HELD, fact, incident_id=run.incident_id, once=once, run_id=run.id)
    if life.cause is Cause.OTHERWISE or stands.stopped:  # it stays in place: somebody has to know
        reason = "; ".join(part for part in (life.reason, f"its undo waits: {hold}") if part)
        once = f"{run.id}/held/{life.undos}"
        call(tx, run, reason, stuck=stands.stopped, reopen=stands.stopped, once=once)


def _call_for_unread(tx: Tx, run: Run, hold: str) -> None:
    """Nobody holds it, and it cannot go on: a person has to look why something cannot be read. Who was called for the hold is not called
    once more."""
    life = journal.life_of(run)
    if life.cause is Cause.OTHERWISE or journal.standing_of(tx.conn, run, held=True).stopped:
        return
    reason = f"what was done cannot be taken back: {hold}"
    call(tx, run, reason, stuck=False, reopen=True, once=f"{run.id}/unread/{life.undos}")


def call(tx: Tx, run: Run, reason: str, *, stuck: bool, reopen: bool, once: str) -> None:
    """Call a person for what stays in place. What is left of a run that got stuck is that whatever else they are called for."""
    incident = incidents.get(tx.conn, run.incident_id)
    stuck = stuck or incident.state is IncidentState.STUCK
    stands = journal.standing_of(tx.conn, run, held=True)
    why = Escalation(
        reason,
        look_at=(f"remediator explain {run.id}",),
        stuck=stuck,
        in_place=stands.in_place,
        done=stands.done,
        not_done=stands.not_done,
        commands=stands.starts if run.state is RunState.ACTING else stands.commands,
    )
    escalate(tx, incident, why, once=once, run_id=run.id, reopen=reopen)
    if reopen and incident.state.closed and incident.manual is None:
        incidents.schedule(
            tx, incident.id, watched(tx.now, incident.id)
        )  # its alert is gone: it closes again


def _too_late(services: Services, run: Run) -> bool:
    """The time of a person's order is over."""
    ends = _good_until(journal.life_of(run))
    return ends is not None and services.clock.now() >= ends


def _good_until(life: Life) -> datetime | None:
    """Until when a person's order to undo is good; None when it has no end, or nobody's order is carried out."""
    return datetime.fromisoformat(life.until) if life.cause is Cause.PERSON and life.until else None


def over(services: Services, run: Run) -> Found | Look | None:
    """Why an order that nothing of is begun is not carried out any more: whoever gave it took it back, or its time is over. None as long
    as it is."""
    if by := run.life.get("withdrawn"):
        return Found(Event.ORDER_OVER, f"withdrawn by {by}", also=partial(_spare, by=by))
    if not _too_late(services, run):
        return None
    held = run.life.get("held")
    return _expired(run, f"it waited for {held}" if held else "nobody was at it")


def _spare(tx: Tx, run: Run, by: str) -> None:
    """Who took the order back wants what is in place to stay: no later word of the rule takes it back."""
    stays: list[JsonValue] = [entry.name for entry in journal.in_place(tx.conn, run.id)]
    name = f"spared/{journal.life_of(run).undos}"
    runs.begin_entry(tx, run.id, name, {"entry": "spared", "of": stays, "by": by})
    runs.end_entry(tx, run.id, name, {"result": "spared"})


def _expired(run: Run, why: str) -> Look:
    """What was not begun is not done, what was is left half done; a person is called for either."""
    reason = f"the undo was ordered and is not done: {why}, until the order expired"

    def end(tx: Tx, now: Run) -> Found:
        if journal.begun(runs.entries(tx.conn, now.id), now):
            return Found(Event.UNDO_FAILED, reason)
        once = f"{run.id}/expired/{journal.life_of(now).undos}"
        call(tx, now, reason, stuck=False, reopen=True, once=once)
        return Found(Event.ORDER_OVER, reason)

    return end


def conflict(run: Run, text: str, stays: Sequence[str]) -> Found:
    """Not all of it is taken back. Where what the run was for stays against a person's order (`stays`: why), somebody is called."""
    reason = f"the undo was ordered and is not done: {'; '.join(stays)}"
    once = f"{run.id}/stays/{journal.life_of(run).undos}"

    def also(tx: Tx, now: Run) -> None:
        if stays and journal.life_of(now).cause is Cause.PERSON:
            call(tx, now, reason, stuck=False, reopen=True, once=once)

    return Found(Event.UNDO_CONFLICT, text, also=also)


def call_for_temporary(tx: Tx, run: Run, why: str) -> None:
    """A temporary change is over and stays in place: a person is called."""
    reason = f"its temporary change is over and stays in place: {why}"
    call(tx, run, reason, stuck=False, reopen=True, once=f"{run.id}/temporary/{tx.stamp}")
