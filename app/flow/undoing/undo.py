"""Undo: take our changes back, newest first, only where they are still in place.

Three ways in: the rule says so after a step that did not help, a person orders it, or a temporary change ends. Every single
request asks first whether anything holds it (`app.policy.holds`), and what was held, or could not be sent, asks afterwards whether it is
still wanted, and who is at it, as long as nothing of it was sent (`sending`). A
failed undo is stuck, pages a person, and can be ordered again: each order has journal entries of its own. Never overwrites what
somebody else changed since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from app.domain import half_way, plan
from app.domain.actuator import Means, Undone
from app.domain.decision import Code
from app.domain.errors import Held, OutcomeUnclear, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import RunState, UndoResult
from app.domain.plan import Action
from app.flow.actuators import ACTUATORS
from app.flow.calling.attended import at_it, at_work
from app.flow.deciding.marks import leaving
from app.flow.notifying.record import tell as record
from app.flow.running import journal
from app.flow.running.life import Cause, Event, Found, Look
from app.flow.services import Services
from app.flow.undoing import foreseen, held, holding, sending, startable
from app.flow.verifying import standing, still_needed
from app.kube.hands import Hand, Ours, hand_after_ours, is_undo, left_by, set_again
from app.notify.timeline import Topic, UndoDone
from app.policy.holds import Hold
from app.store import driving, runs
from app.store.runs import JournalEntry, Run
from app.store.tx import PreImageUnreadable, Tx


@dataclass(frozen=True, slots=True)
class _Kept:
    """Who wants it to stay by the time of a request, and whether anything of the order was sent, or may have been."""

    by: Kept
    begun: bool


_OLD = timedelta(seconds=30)
_TAKEN = "taken"
"""The code of Held where somebody has taken the incident, or the rule takes nothing back by now."""
Needed = Callable[[Services, Run], Awaitable[str | None]]
Kept = Callable[[Connection], str]
"""Why a temporary change is needed by now, or that nobody can tell; None when it is not."""


def _left(conn: Connection, run: Run) -> list[JournalEntry]:
    """What this order has still to take back: each action once. A person's order means all of it, the rule's word only what nothing speaks for
    (`standing.by_itself`), and the end of a temporary change what was lent."""
    entries = runs.entries(conn, run.id)
    tried = {entry.intent.get("of") for entry in journal.of_this_order(entries, run) if entry.outcome}
    there = journal.still_in_place(entries)
    match journal.life_of(run).cause:
        case Cause.REVERT:
            wanted = standing.lent(there)
        case Cause.OTHERWISE:
            wanted = list(standing.by_itself(entries, there).back)
        case _:
            wanted = there
    return [entry for entry in wanted if entry.name not in tried]


def _nobody(_conn: Connection) -> str:
    return ""


async def look(services: Services, run: Run, needed: Needed, kept: Kept = _nobody) -> Found | Look:
    """Take back the newest action that is still in place, unless something holds it, or it was held and is not wanted any
    more: `needed` tells that of a temporary change. `kept` is asked right before each request: who wants it to stay by then, in words."""
    entries, journalled = await services.store.read(
        lambda conn: (_left(conn, run), runs.entries(conn, run.id))
    )
    try:
        begun = await sending.begun(services, run, journalled)
    except TryLater as error:
        return again(services, run, error) or Found(Event.UNDO_FAILED, held.given_up(error))
    if not begun and (over := held.over(services, run)):
        return over
    if not entries:
        return await services.store.read(lambda conn: _all_done(conn, run))
    if not begun and (taken := await _taken(services, run, entries[-1])):
        return taken
    try:
        if gone := await leaving(services.cluster, journal.actions(entries[-1:])[0].target):
            return _deleted(run, gone)
        holds = await _held(services, run, entries)
    except TryLater as error:
        return again(services, run, error) or Found(Event.UNDO_FAILED, held.given_up(error))
    hold = holding.words(holds)
    never = "" if begun else await _foreseen(services, run, entries)
    if never and not isinstance(never, Found):
        return held.conflict(run, never, [never])
    if isinstance(never, Found) and not hold:
        return never
    if hold:
        return held.waits(services, run, hold, unread=holding.unread(holds))
    waited = run.life.get("held") or (
        not begun and (journal.open_undos(journalled, run) or _late(services, run, journalled))
    )
    if waited and (unwanted := await _not_wanted(services, run, needed, entries[-1], begun=begun)):
        return unwanted
    return await _undo_one(services, run, entries, _Kept(kept, begun))


def _late(services: Services, run: Run, entries: Sequence[JournalEntry]) -> bool:
    """What was measured before it was decided is old by now: an answer was waited for, nothing could be read, or nobody was at it."""
    looked = [e.ended_at for e in entries if e.intent.get("entry") == "verified" and e.ended_at]
    return run.attempt > 0 or services.clock.now() - max(looked, default=run.updated_at) > _OLD


def _deleted(run: Run, why: str) -> Found:
    """Somebody is deleting it with all that was done to it."""
    if journal.life_of(run).cause is Cause.OTHERWISE:
        return Found(Event.TAKEN_OVER, f"left as it is: {why}", keeps=holding.DELETED)
    return Found(Event.UNDO_CONFLICT, f"left as it is: {why}")


async def _foreseen(services: Services, run: Run, entries: Sequence[JournalEntry]) -> str | Found:
    """Why it is in vain; empty when it is not. What cannot be looked at is looked at again: nothing is stopped before."""
    try:
        return await foreseen.against_undo(services, entries)
    except TryLater as error:
        return again(services, run, error) or Found(Event.UNDO_FAILED, held.given_up(error))


async def _held(services: Services, run: Run, entries: Sequence[JournalEntry]) -> tuple[Hold, ...]:
    """What holds the undo of the newest action; empty for nothing. Raises TryLater when the marks of its owners cannot be read."""
    touched = await holding.touched_by(services, _ahead(entries))
    return await services.store.read(
        lambda conn: holding.holds_on_undo(conn, services, run, entries[-1], touched)
    )


def _ahead(entries: Sequence[JournalEntry]) -> list[Action]:
    """What has still to be written: nothing is stopped for what is held. To start again what was stopped concerns what is started alone."""
    left = [action for action in journal.actions(entries) if action.reversible]
    newest = journal.actions(entries[-1:])
    if half_way.stops(newest[0]):
        return [action for action in newest if action.reversible]
    return left if newest[0].reversible else []


def _calls(services: Services) -> Callable[[Tx, Run], None]:
    """A person is called for a temporary change that the rule in force leaves in place; for what did not help, the end of the run calls them."""

    def also(tx: Tx, run: Run) -> None:
        reverts = journal.life_of(run).cause is Cause.REVERT
        if reverts and (why := holding.not_by_itself(tx.conn, services, run, Cause.REVERT)):
            held.call_for_temporary(tx, run, why)

    return also


def again(services: Services, run: Run, error: TryLater | OutcomeUnclear) -> Found | None:
    """It is tried again; None when this was the last attempt."""
    return held.again(services, run, str(error), getattr(error, "retry_after", None))


async def _not_wanted(
    services: Services, run: Run, needed: Needed, acted: JournalEntry, *, begun: bool
) -> Found | None:
    """What waited and is not to be done by itself any more; None when it is. What was measured before is measured again, as it may have helped late:
    where the alert has gone it is verified once more, unless it was already or some of it is taken back. A person's order stands."""
    waited, life = "was held" if run.life.get("held") else "waited", journal.life_of(run)
    stays = f"stays in place until somebody says otherwise (remediator undo {run.id})"
    match life.cause:
        case Cause.REVERT if why := await needed(services, run):
            return Found(Event.NOT_WANTED, why)
        case Cause.OTHERWISE if await still_needed.gone(services, run, acted):
            once = begun or life.late
            then = f"it {stays}" if once else "it is verified once more"
            text = (
                f"the alert resolved while the undo {waited}, so that what was done may have helped: {then}"
            )
            return Found(Event.NOT_WANTED if once else Event.ALERT_GONE, text)
        case Cause.OTHERWISE if why := await still_needed.not_known_to_be_no_better(services, run, acted):
            text = f"measured again after the undo {waited}: {why}. What was done {stays}"
            return Found(Event.NOT_WANTED, text)
        case _:
            return None


async def _taken(services: Services, run: Run, acted: JournalEntry) -> Found | None:
    """Who has the incident or its target, that its alert was silenced by now, or that the rule in force is stricter: then nothing that stands whole is taken back by itself, and nothing has begun
    that would be left half done. None for nobody, and where a person ordered it."""
    by, theirs = await services.store.read(
        lambda conn: (_taken_by(conn, services, run, acted), at_it(conn, run.incident_id))
    )
    silenced = "" if by else await still_needed.silenced(services, run, acted)
    if not by and not silenced:
        return None
    text = f"{by or silenced}: what was done stays in place until somebody says otherwise (remediator undo {run.id})"
    keeps: Mapping[str, JsonValue] = {journal.THEIRS: bool(theirs), journal.SILENCED: bool(silenced)}
    return Found(Event.NOT_WANTED, text, keeps=keeps, also=_calls(services))


def _taken_by(conn: Connection, services: Services, run: Run, acted: JournalEntry) -> str:
    """Who has the incident, or anything else of its target, by our own store, or why the rule in force takes nothing back."""
    cause = journal.life_of(run).cause
    if cause is Cause.PERSON or not journal.is_whole(runs.entries(conn, run.id), acted):
        return ""
    keys = (run.target_key, *(one.key for one in plan.touched(journal.actions([acted]))))
    theirs = at_work(conn, run.incident_id, keys, services.clock.now())
    return theirs or holding.not_by_itself(conn, services, run, cause)


def _all_done(conn: Connection, run: Run) -> Found:
    mine = journal.of_this_order(runs.entries(conn, run.id), run)
    results = [str((entry.outcome or {}).get("result")) for entry in mine]
    text = ", ".join(f"{results.count(r)} {r.replace('_', ' ')}" for r in sorted(set(results)))
    text = "; ".join([text or "nothing was in place", *(n for e in mine if (n := _needs(e)))])
    if not {UndoResult.CONFLICT.value, UndoResult.NOT_DONE.value}.intersection(results):
        return Found(Event.ALL_UNDONE, text)
    told = {e.intent["of"]: str((e.outcome or {}).get("text")) for e in mine}
    there = [
        e for e in journal.in_place(conn, run.id) if e.name in told and e.intent["kind"] in half_way.KEPT
    ]
    return held.conflict(run, text, [told[entry.name] for entry in there])


def _needs(entry: JournalEntry) -> str:
    return str((entry.outcome or {}).get("needs", ""))


async def _undo_one(
    services: Services, run: Run, entries: Sequence[JournalEntry], kept: _Kept
) -> Found | Look:
    """Undo the newest of these actions; the first outcome of this order stands. Where an application stands at 0 by them, what is only in
    passing is tried for longer."""
    acted = entries[-1]
    try:
        before = await _before(services, run, acted)
    except RemediatorError as error:
        failed = held.failed(services, run, entries, error)
        if isinstance(failed, Found):
            return failed
        before = failed
    if isinstance(before, str):
        return held.waits(services, run, before)
    size = await holding.size_before(services, before)
    hold = await services.store.write(lambda tx: _intend(tx, services, run, acted, size, begun=kept.begun))
    if hold is None:
        return Found()  # withdrawn or taken a moment ago: looked at again at once
    if hold:
        return held.waits(services, run, hold)
    if isinstance(before, Undone):
        return _settled(services, run, acted, before, await _size_now(services, acted, before))
    counted = sending.Counted(_means(services, run, acted, kept))
    try:
        done = await ACTUATORS[before.kind].undo(counted.means, before, acted.name)
    except RemediatorError as error:
        if not kept.begun and counted.nothing_sent(error):
            name = journal.entry_name(acted.name, journal.life_of(run).undos)
            await services.store.write(lambda tx: sending.not_sent(tx, run.id, name))
        if isinstance(error, Held):
            if error.code == _TAKEN:
                return Found()  # a moment ago: looked at again at once
            deleted = error.code == holding.BEING_DELETED
            return _deleted(run, str(error)) if deleted else held.waits(services, run, str(error))
        failed = held.failed(services, run, entries, error)
        return failed if isinstance(failed, Found) else _settled(services, run, acted, failed)
    return _settled(services, run, acted, done, await _size_now(services, acted, done))


async def _size_now(services: Services, acted: JournalEntry, done: Undone) -> int | None:
    """How many pods an object is set to that we stopped and that is not ours to start: people have to know when it stands at 0. None where that
    is no question, or nobody can tell."""
    (action,) = journal.actions([acted])
    if not half_way.stops(action) or done.result not in (UndoResult.NOTHING, UndoResult.CONFLICT):
        return None
    try:
        manifest = await holding.changed_object(services, action)
    except RemediatorError:
        return None
    replicas = ((manifest or {}).get("spec") or {}).get("replicas")
    return replicas if isinstance(replicas, int) else None


async def _before(services: Services, run: Run, acted: JournalEntry) -> Action | Undone | str:
    """The action to undo with its real values, or how its undo ends without a write, or, in words, what it waits for. Raises the
    port's errors."""
    action = Action.from_json(acted.intent["action"])
    if not action.reversible:
        return Undone(UndoResult.NOTHING, action.undo)
    try:
        whole = await services.store.read(lambda conn: sending.whole(conn, services, acted, action))
    except PreImageUnreadable as error:
        return Undone(UndoResult.FAILED, str(error))
    actuator = ACTUATORS[action.kind]
    if not journal.was_applied(acted) and not await actuator.in_place(services.clients, whole, acted.name):
        return Undone(UndoResult.NOTHING, "reading back shows that it never happened")
    if hand := await _other_hand(services, run, whole, acted.name):
        return Undone(UndoResult.CONFLICT, f"left as it is: {hand.text}")
    return await startable.against_undo(services, run, whole) or whole


def _means(services: Services, run: Run, acted: JournalEntry, kept: _Kept) -> Means:
    """What its requests are sent with: what holds it by then stops each, and whoever wants it kept. Whoever takes the incident stops the repeats of
    one change of one object; what takes several requests is not left half done."""
    (action,) = journal.actions([acted])
    one_request = bool(action.changes) and not half_way.stops(action)

    def holds(conn: Connection, touched: holding.Touches) -> tuple[Hold, ...]:
        if one_request and not kept.begun and (taken := _taken_by(conn, services, run, acted)):
            raise Held(taken, code=_TAKEN)
        found = holding.holds_on_undo(conn, services, run, acted, touched)
        why = kept.by(conn)
        return (*found, Hold(Code.CHANGED_SINCE, why, "kept")) if why else found

    return holding.means(services, holds, [action])


async def _other_hand(services: Services, run: Run, action: Action, name: str) -> Hand | None:
    """Somebody else's change of the object since our last write to it, or our own value set by them as well: then nothing is taken back by
    itself. The end of a temporary change comes days later and goes by who owns its fields alone, an order by their values. Raises the port's read errors: what cannot be read may bear anybody's hand."""
    cause, ref = journal.life_of(run).cause, action.object
    manifest = None if cause is Cause.PERSON else await holding.changed_object(services, action)
    if manifest is None:
        return None
    if manifest["metadata"].get("uid") != ref.uid or is_undo(manifest, name):
        return None  # it is another object, or this very undo was written before a crash
    theirs = set_again(manifest, action.changes)
    if cause is Cause.REVERT:
        return theirs
    entries = await services.store.read(lambda conn: runs.entries(conn, run.id))
    ours = [e for e in entries if e.ended_at is not None and journal.wrote_to(e, entries, str(ref))]
    if not ours:
        return theirs
    last = max(ours, key=lambda e: e.ended_at or services.clock.now())
    at = last.ended_at or services.clock.now()
    # The object counts its own changes, also where our clock was set back between two of them. The count that a write came to is not
    # known when the process died before it had the answer.
    newest = max(ours, key=lambda e: e.generation) if last.generation else last
    left = Ours(at, newest.generation if last.generation else 0, newest.left)
    return hand_after_ours(manifest, (), left, key=services.store.vault.key) or theirs


def _intend(
    tx: Tx, services: Services, run: Run, acted: JournalEntry, size: int | None, *, begun: bool
) -> str | None:
    """Write down that one action is to be undone, with the `size` that its object has before, or say what holds it by now: the last look at
    holds before the write. None when the order was withdrawn meanwhile, or somebody has taken the incident."""
    now = runs.hold(tx, run.id)
    if now.state is not RunState.UNDOING or now.life.get("withdrawn"):
        return None
    if not begun and _taken_by(tx.conn, services, now, acted):
        return None
    named = [holding.by_name([action]) for action in journal.actions([acted])]
    if hold := holding.words(holding.holds_on_undo(tx.conn, services, run, acted, named)):
        return hold
    action, number = Action.from_json(acted.intent["action"]), journal.life_of(run).undos
    name = journal.entry_name(acted.name, number)
    entry = {"entry": "undo", "of": acted.name, "number": number, "size": size}
    unsent = now.life.get(journal.UNSENT) == name  # so that what it says of the object may be old
    driving.begin(tx, run.id)
    sending.not_sent(tx, run.id, "")
    if not runs.begin_entry(tx, run.id, name, entry, anew=unsent).resumed:
        data = {"action": name, "summary": f"undo: {action.summary}"}
        tx.audit(EventKind.UNDO_INTENDED, incident_id=run.incident_id, run_id=run.id, data=data)
    return ""


def _settled(
    services: Services, run: Run, acted: JournalEntry, done: Undone, replicas: int | None = None
) -> Found:
    """What became of the undo of one action; `replicas` of what it leaves to others."""
    action, name = (
        Action.from_json(acted.intent["action"]),
        journal.entry_name(acted.name, journal.life_of(run).undos),
    )
    result, text = done.result, done.text
    services.metrics.undos.labels(action.kind.value, result.value).inc()

    left = left_by(done.generation, done.left, services.store.vault.key)
    outcome = {"result": result.value, "text": text, **left, **({"needs": done.needs} if done.needs else {})}
    if replicas is not None:
        outcome["replicas"] = replicas

    def also(tx: Tx, _run: Run) -> None:
        runs.end_entry(tx, run.id, name, outcome)
        fact = UndoDone(acted.name, action.summary, result, text)
        record(tx, Topic.UNDO, fact, incident_id=run.incident_id, once=name, run_id=run.id)

    failed = result is UndoResult.FAILED
    return Found(Event.UNDO_FAILED if failed else Event.ONE_UNDONE, text if failed else "", also=also)


__all__ = ["again", "look"]
