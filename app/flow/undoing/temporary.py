"""Temporary changes: after a run that helped, scale and memory changes of a rule with `temporary` are taken back when their time is over,
unless somebody keeps them or they are still needed.

The time is a due date in the row of the run. When it comes, the reason for the change is looked at first: as long as it is
there, or cannot be told to be gone, the change stays for another while and the thread says why. Taking it back is an ordinary
undo: held by pauses, ceilings and freezes, field by field, never over somebody's later change. A person can keep the change until
something of it was taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain import plan
from app.domain.errors import Refused, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import HELPED, RunState
from app.domain.plan import Action
from app.flow.calling.attended import at_work
from app.flow.ids import KEEP_ENTRY, OVER_BUT, TEMPORARY_ENTRY, WAKE
from app.flow.notifying.gitops_patch import gitops_patch
from app.flow.notifying.record import announce, taken, waits
from app.flow.running import journal
from app.flow.running.life import Cause, Event, Found, Life, Look, last_attempt
from app.flow.services import Services
from app.flow.undoing import held, holding, undo
from app.flow.verifying import standing
from app.flow.verifying.still_needed import BLIND, needed, sizes
from app.kube.hands import is_undo
from app.notify.timeline import TemporaryChange, Topic, fact_to_json
from app.policy.model import Rule
from app.store import approvals, driving, facts, runs, work
from app.store.approvals import NO_CLICK, Click
from app.store.driving import Changes
from app.store.runs import JournalEntry, Run
from app.store.tx import Tx

WAITS = "the end of its temporary change"
"""What a run with a temporary change waits for, in words."""

_UNKNOWN = timedelta(
    hours=1
)  # until it is looked at again whether the reason is gone, when that could not be told
_HELD = 60.0  # seconds between looks at what holds it
_AGAIN = 15.0  # seconds until it is read again what could not be, longer each time


def grant(tx: Tx, run: Run) -> datetime | None:
    """In the transaction that ends a run that helped: when its changes are taken back. None when the rule or the run has none."""
    rule = Rule.from_json(run.settings["rule"])
    actions = sizes(tx.conn, run.id)
    if rule.temporary is None or not actions:
        return None
    until = tx.now + rule.temporary.revert_after
    entry = {"entry": "temporary", "until": until.isoformat()}
    if runs.begin_entry(tx, run.id, TEMPORARY_ENTRY, entry).resumed:
        return None
    fact = TemporaryChange(run.id, "granted", until, tuple(a.summary for a in actions), gitops_patch(actions))
    _notify(tx, run, EventKind.TEMPORARY_GRANTED, fact)
    return until


async def look(services: Services, run: Run) -> Look:
    """A fixed run whose temporary change may be over. What a person said or set while this looked wins."""
    found = await _look(services, run)

    def unless_settled(tx: Tx, now: Run) -> Found:
        entry = runs.entry(tx.conn, now.id, TEMPORARY_ENTRY)
        if entry is None or entry.outcome is not None:
            return Found(over=True)
        if found.event is not None and (why := _waits(tx.conn, services, now)):
            return _held(now, why)
        if found.event is not None and (why := _left(tx.conn, services, now)):
            return _stays(now, why)
        return found

    return unless_settled


def _unread(conn: Connection, services: Services, run: Run, touched: holding.Touches) -> str:
    """That whose it is cannot be read, in words, where nothing else holds its end; else empty."""
    found = holding.holds_on(conn, services, run, run.life.get("despite", ()), touched)
    return holding.words(found) if holding.unread(found) else ""


def _waits(conn: Connection, services: Services, run: Run, touched: holding.Touches = ()) -> str:
    """What the end of a temporary change waits for once its time is over; empty when it may be taken back."""
    if hold := holding.held(conn, services, run, touched):
        return f"{OVER_BUT} {hold}"
    keys = (run.target_key, *(one.key for one in plan.touched(sizes(conn, run.id))))
    if taken := at_work(conn, run.incident_id, keys, services.clock.now()):
        return f"{OVER_BUT} {taken}"
    if later := facts.later_temporary(conn, run.target_key, run.id, TEMPORARY_ENTRY):
        # Taken back first, so that each goes back to what it found.
        return f"the temporary change of {later}, which came after it"
    if busy := work.busy_with_plan(conn, run.target_key, sizes(conn, run.id), excluding=run.id):
        return f"{busy}, which is at work on the target"
    return ""


async def _look(services: Services, run: Run) -> Found:
    entry, actions = await services.store.read(
        lambda conn: (runs.entry(conn, run.id, TEMPORARY_ENTRY), sizes(conn, run.id))
    )
    if entry is None or entry.outcome is not None:
        return Found(over=True)
    left = (_until(run, entry) - services.clock.now()).total_seconds()
    if left > 0:
        return Found(seconds=left, waits_for=WAITS)
    try:
        touched = await holding.touched_by(services, actions)
    except TryLater as error:
        return _blind(run, str(error))
    if unread := await services.store.read(lambda conn: _unread(conn, services, run, touched)):
        return _blind(run, unread)
    if hold := await services.store.read(lambda conn: _waits(conn, services, run, touched)):
        return _held(run, hold)
    if stays := await services.store.read(lambda conn: _left(conn, services, run)):
        return _stays(run, stays)
    why = await needed(services, run)
    if why is None:
        return Found(Event.REVERT_DUE, "the time of its temporary change is over", also=_over)
    if why.startswith(BLIND) and not last_attempt(run):
        return _blind(run, why)
    return _extended(services, run, actions, why)


def _held(run: Run, why: str) -> Found:
    """It stays as long as that holds it; the parent message says so."""

    def also(tx: Tx, now: Run) -> None:
        if now.waits_for != why:
            announce(tx, Topic.MOVED, incident_id=run.incident_id, once=f"{run.id}/held/{tx.stamp}")

    return Found(seconds=_HELD, waits_for=why, also=also, keeps={"called": False})


def _left(conn: Connection, services: Services, run: Run) -> str:
    """Why the rule in force leaves it in place; empty when it does not."""
    return holding.not_by_itself(conn, services, run, Cause.REVERT)


def _stays(run: Run, why: str) -> Found:
    """The rule in force would not have it taken back: a person is called, once, and says what becomes of it."""
    calls = not run.life.get("called")

    def also(tx: Tx, now: Run) -> None:
        if calls:
            held.call_for_temporary(tx, now, why)

    return Found(seconds=_HELD, waits_for=f"{OVER_BUT} {why}", also=also, keeps={"called": True})


def _blind(run: Run, why: str) -> Found:
    """Something cannot be read that its end depends on: it stays, and is looked at again. After as many looks as anything unread has a
    person is called, once until it could be read again."""
    calls = last_attempt(run) and not run.life.get("called")

    def also(tx: Tx, now: Run) -> None:
        waits(tx, now)
        if calls:
            held.call_for_temporary(tx, now, why)

    keeps: dict[str, JsonValue] = {"called": True} if calls else {}
    return Found(seconds=_AGAIN, failed=True, waits_for=f"{OVER_BUT} {why}", keeps=keeps, also=also)


def _span(run: Run) -> timedelta:
    temporary = Rule.from_json(run.settings["rule"]).temporary
    return temporary.revert_after if temporary else _UNKNOWN


def _extended(services: Services, run: Run, actions: Sequence[Action], why: str) -> Found:
    span = _span(run)
    until = services.clock.now() + span
    number = int(run.life.get("extended", 0)) + 1
    blind = why.startswith(BLIND)
    calls = blind and not run.life.get("called")

    def also(tx: Tx, now: Run) -> None:
        fact = TemporaryChange(run.id, "extended", until, tuple(a.summary for a in actions), why=why)
        # The first, second, fourth, eighth time: a rush of days is not told every hour.
        of = None if number & (number - 1) else str(number)
        _notify(tx, now, EventKind.TEMPORARY_EXTENDED, fact, of=of)
        if calls:
            held.call_for_temporary(tx, now, why)

    keeps: dict[str, JsonValue] = {"until": until.isoformat(), "extended": number, "called": blind}
    return Found(seconds=span.total_seconds(), waits_for=WAITS, keeps=keeps, also=also)


def _over(tx: Tx, run: Run) -> None:
    _notify(tx, run, EventKind.TEMPORARY_ENDED, TemporaryChange(run.id, "ended", tx.now, ()))


def go_on(tx: Tx, run: Run, life: Life) -> dict[str, JsonValue]:
    """The change was to be taken back, was held, and is needed again: it lasts for another while. What the row keeps of it; nothing when
    somebody keeps it for good."""
    entry = runs.entry(tx.conn, run.id, TEMPORARY_ENTRY)
    if entry is None or entry.outcome is not None:
        return {}
    until = tx.now + _span(run)
    actions = sizes(tx.conn, run.id)
    fact = TemporaryChange(run.id, "extended", until, tuple(a.summary for a in actions), why=life.reason)
    _notify(tx, run, EventKind.TEMPORARY_EXTENDED, fact, of=f"undo {life.undos}")
    return {"until": until.isoformat()}


def goes_on(tx: Tx, run: Run) -> datetime | None:
    """A person's undo was not begun, and what it would have taken back stays lent: until when. None when nothing is lent any more."""
    entry = runs.entry(tx.conn, run.id, TEMPORARY_ENTRY)
    if entry is None or entry.outcome is not None:
        return None
    until = _until(run, entry)
    return until if until > tx.now else tx.now + _span(run)


def _until(run: Run, entry: JournalEntry) -> datetime:
    """Until when it lasts: the row tells, since it is extended and follows a clock that is set back. Only a row of an older version does not."""
    return datetime.fromisoformat(str(run.life.get("until") or entry.intent["until"]))


_TOO_LATE = {
    RunState.REVERTED: "it had been taken back already",
    RunState.UNDONE: "its undo was ordered meanwhile",
    RunState.UNDO_CONFLICT: "somebody else had changed it since, and it is as they left it",
    RunState.STUCK: "taking it back failed on the way, and nothing is taken back by itself any more",
}


def close(tx: Tx, run: Run, state: RunState) -> None:
    """The run has ended so that nothing of its temporary change is left to be taken back by itself."""
    entry = runs.entry(tx.conn, run.id, TEMPORARY_ENTRY)
    if entry is not None and entry.outcome is None:
        runs.end_entry(tx, run.id, TEMPORARY_ENTRY, {"result": state.value})
    if (wish := _wish(tx.conn, run.id)) is not None:
        why, by = _TOO_LATE.get(state, f"the run ended as {state.value}"), str(wish.intent["by"])
        runs.end_entry(tx, run.id, KEEP_ENTRY, {"result": state.value})
        late = TemporaryChange(run.id, "not_kept", tx.now, (), by=by, why=why)
        _notify(tx, run, EventKind.TEMPORARY_NOT_KEPT, late)


async def look_back(services: Services, run: Run) -> Found | Look:
    """A run that takes something back. A temporary change that somebody wants kept by now stays, where nothing of it was taken back
    yet: each request that would take it back looks for that first."""
    if not journal.reverts(run):
        return await undo.look(services, run, needed)

    def kept(conn: Connection) -> str:
        wish = _wish(conn, run.id)
        return f"{wish.intent['by']} wants the change kept" if wish is not None else ""

    wish = await services.store.read(lambda conn: _wish(conn, run.id))
    if wish is None:
        return await undo.look(services, run, needed, kept)
    return await _all_there(services, run, wish) or await undo.look(services, run, needed)


def _wish(conn: Connection, run_id: str) -> JournalEntry | None:
    """Who wants the change kept, as long as nothing came of that."""
    wish = runs.entry(conn, run_id, KEEP_ENTRY)
    return wish if wish is not None and wish.outcome is None else None


async def _all_there(services: Services, run: Run, wish: JournalEntry) -> Found | Look | None:
    """Nothing of the change was taken back, as the journal and the objects tell: it is kept. None when something was, or nobody may tell:
    then its end goes on, and says what it found. What cannot be read at any attempt is a person's, and nothing is written."""
    given, there = await services.store.read(lambda conn: _lent(conn, run.id))
    if len(there) < len(given):
        return None
    for entry in there:
        ref = Action.from_json(entry.intent["action"]).object
        try:
            found = await services.cluster.get(ref.kind, ref.namespace, ref.name)
        except TryLater as error:
            text = f"whether its temporary change is still there, to keep it, cannot be told: {error}"
            return undo.again(services, run, TryLater(text)) or Found(Event.UNDO_FAILED, text)
        except RemediatorError:
            return None
        if found["metadata"].get("uid") != ref.uid or is_undo(found, entry.name):
            return None

    def kept(_tx: Tx, now: Run) -> Found:
        if not journal.reverts(now):
            return Found()  # its undo was ordered meanwhile: looked at again at once
        by, why = str(wish.intent["by"]), str(wish.intent["why"])
        return Found(Event.NOT_WANTED, f"kept by {by}", also=lambda tx, held: _keep(tx, held, by, why))

    return kept


def _lent(conn: Connection, run_id: str) -> tuple[list[JournalEntry], list[JournalEntry]]:
    """What the run lent, and what of it the journal does not know to be taken back."""
    return standing.lent(journal.carried_out(conn, run_id)), standing.lent(journal.in_place(conn, run_id))


async def keep(services: Services, run_id: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
    """A person keeps the change; `kept` is False when its end has begun, so that it is looked at first whether all of it is there. Raises
    Refused when there is none to keep, and Repeated for a click that was taken before."""

    def write(tx: Tx) -> str:
        approvals.take(tx, click.key)
        run = runs.hold(tx, run_id)
        if refusal := _against_keep(tx.conn, run):
            raise Refused(refusal, code="no_temporary_change", where=run_id)
        taken(tx, services, run.incident_id, by)
        if run.state is RunState.UNDOING:
            _want_kept(tx, run, by, click.reason)
            return run.workflow
        _keep(tx, run, by, click.reason)
        driving.keep(tx, run_id, Changes(None, life=run.life))
        return ""

    if under_way := await services.store.write(write):
        await services.engine().signal(under_way, WAKE)
    services.deliver_nudge()
    return {"run": run_id, "kept": not under_way, "by": by}


def _against_keep(conn: Connection, run: Run) -> str:
    """Why the change cannot be kept; empty when it can, or may be."""
    entry = runs.entry(conn, run.id, TEMPORARY_ENTRY)
    if entry is None:
        return "the run has no temporary change"
    if entry.outcome is not None:
        result = str(entry.outcome["result"])
        words = {
            "kept": f"it was kept already by {entry.outcome.get('by', '')}",
            "reverted": "it was taken back already",
        }
        return words.get(result, f"the run has no temporary change any more: it ended as {result}")
    if run.state in HELPED:
        return ""
    if not journal.reverts(run):
        return f"its undo was ordered: the run is {run.state.value}"
    given, there = _lent(conn, run.id)
    return "" if len(there) == len(given) else "a part of it is taken back already, and the rest follows"


def _want_kept(tx: Tx, run: Run, by: str, why: str) -> None:
    """Its end is under way: whoever is at it looks first whether something was taken back."""
    if not runs.begin_entry(tx, run.id, KEEP_ENTRY, {"entry": "keep", "by": by, "why": why}).resumed:
        asked = TemporaryChange(run.id, "keep_asked", tx.now, (), by=by, why=why)
        _notify(tx, run, EventKind.TEMPORARY_KEEP_ASKED, asked, actor=by)
    driving.change(tx, run.id, run.life)


def _keep(tx: Tx, run: Run, by: str, why: str) -> None:
    """It stays for good."""
    entry = runs.end_entry(tx, run.id, TEMPORARY_ENTRY, {"result": "kept", "by": by})
    if runs.entry(tx.conn, run.id, KEEP_ENTRY) is not None:
        runs.end_entry(tx, run.id, KEEP_ENTRY, {"result": "kept"})
    kept = TemporaryChange(run.id, "kept", _until(run, entry), (), by=by, why=why)
    _notify(tx, run, EventKind.TEMPORARY_KEPT, kept, actor=by)


def _notify(
    tx: Tx, run: Run, kind: EventKind, fact: TemporaryChange, *, actor: str = "service", of: str | None = ""
) -> None:
    """`of` tells several facts of one kind apart; None: it is recorded, and not worth a message."""
    data = fact_to_json(Topic.TEMPORARY, fact)
    tx.audit(kind, incident_id=run.incident_id, run_id=run.id, actor=actor, data=data)
    if of is not None:
        once = f"{run.id}:{fact.change}" + (f":{of}" if of else "")
        announce(tx, Topic.TEMPORARY, incident_id=run.incident_id, once=once, fact=fact)
