"""Undo: take our changes back, newest first, only where they are still in place.

Three ways in: the rule says so after a step that did not help, a person orders it, or a temporary change ends. Every single
request asks first whether anything holds it (`app.policy.holds`), and what was held asks afterwards whether it is still wanted. A
failed undo is stuck, pages a person, and can be ordered again: each order has journal entries of its own. Never overwrites what
somebody else changed since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from app.domain.alert_report import Reported
from app.domain.errors import Held, OutcomeUnclear, Refused, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.outcome import RunState, UndoResult
from app.domain.plan import Action
from app.flow.actuators import ACTUATORS
from app.flow.deciding import facts, trust
from app.flow.deciding.decide import firing_alerts
from app.flow.ids import WAKE
from app.flow.notifying.record import announce, escalate, taken
from app.flow.notifying.record import tell as record
from app.flow.running import holding, standing, startable
from app.flow.running.life import MAX_ATTEMPTS, Cause, Event, Found, Life, last_attempt, transition
from app.flow.services import Services
from app.notify.timeline import Escalation, Topic, UndoDone
from app.policy.trust import Evidence
from app.store import approvals, driving, incidents, runs
from app.store.approvals import NO_PRESS, Press, because
from app.store.database import Tx
from app.store.driving import Changes
from app.store.pre_images import PreImageUnreadable
from app.store.runs import JournalEntry, Run

_RETRY = 5.0  # seconds, when the cluster does not say
_HELD = 15.0  # seconds between looks at what holds a write
_DONE = frozenset({UndoResult.UNDONE.value, UndoResult.NOTHING.value})

Needed = Callable[[Services, Run], Awaitable[str | None]]
"""Why a temporary change is needed by now, or that nobody can tell; None when it is not."""


def carried_out(conn: Connection, run_id: str) -> list[JournalEntry]:
    """The actions of a run that were applied, oldest first."""
    return [entry for entry in _by_place(runs.entries(conn, run_id)) if was_applied(entry)]


def _by_place(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """In the order of steps and actions: the clock may have been set back in between."""
    places = ("step_index", "action_index")
    return sorted(entries, key=lambda entry: tuple(int(entry.intent.get(name, 0)) for name in places))


def was_applied(entry: JournalEntry) -> bool:
    """The entry is an action that is, or was, in place."""
    return entry.intent.get("entry") == "action" and (entry.outcome or {}).get("result") == "applied"


def in_place(conn: Connection, run_id: str) -> list[JournalEntry]:
    """The actions of a run that are, or may be, in place, oldest first: applied, or sent without a clear outcome, and not taken
    back. What somebody else had changed when it was to be taken back may be ours again by now."""
    return _in_place(runs.entries(conn, run_id))


def _in_place(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    back = {
        entry.intent.get("of")
        for entry in entries
        if entry.intent.get("entry") == "undo" and (entry.outcome or {}).get("result") in _DONE
    }
    return [entry for entry in _by_place(entries) if _may_be_there(entry) and entry.name not in back]


def _may_be_there(entry: JournalEntry) -> bool:
    result = (entry.outcome or {}).get("result", "unclear")
    return entry.intent.get("entry") == "action" and result in ("applied", "unclear")


def _left(conn: Connection, run: Run) -> list[JournalEntry]:
    """What this order has still to take back: each action once."""
    entries = runs.entries(conn, run.id)
    tried = {entry.intent.get("of") for entry in _of_this_order(entries, run) if entry.outcome}
    return [entry for entry in _in_place(entries) if entry.name not in tried]


def _of_this_order(entries: Sequence[JournalEntry], run: Run) -> list[JournalEntry]:
    """What the undo that stands has written so far."""
    number = _life(run).undos
    return [
        entry
        for entry in entries
        if entry.intent.get("entry") == "undo" and entry.intent.get("number", 1) == number
    ]


def _life(run: Run) -> Life:
    """The run's life as far as an undo needs it: why it undoes, and how often it began to."""
    return Life.from_json(run.life, run.state, len(run.step.actions), ())


async def look(services: Services, run: Run, needed: Needed) -> Found:
    """Take back the newest action that is still in place, unless something holds it, or it was held and is not wanted any
    more: `needed` tells that of a temporary change."""
    entries = await services.store.read(lambda conn: _left(conn, run))
    if not entries:
        return await services.store.read(lambda conn: _all_done(conn, run))
    hold = holding.words(
        await services.store.read(lambda conn: holding.holds_on_undo(conn, services, run, entries[-1]))
    )
    if hold:
        return _hold(run, hold)
    if run.life.get("held") and (unwanted := await _not_wanted(services, run, needed)):
        return Found(Event.NOT_WANTED, unwanted)
    return await _undo_one(services, run, entries[-1])


async def _not_wanted(services: Services, run: Run, needed: Needed) -> str:
    """Why what waited for a hold to end is not to be done by itself any more; empty when it is. A person's order stands."""
    match _life(run).cause:
        case Cause.REVERT:
            return await needed(services, run) or ""
        case Cause.OTHERWISE if await _gone(services, run):
            return (
                "the alert resolved while the undo was held, so that what was done may have helped: it stays in place until"
                f" somebody says otherwise (remediator undo {run.id})"
            )
        case _:
            return ""


async def _gone(services: Services, run: Run) -> bool:
    """The alerts of the run's incident are known to be gone."""
    incident, alerts = await services.store.read(
        lambda conn: (incidents.get(conn, run.incident_id), firing_alerts(conn, run.incident_id))
    )
    if incident.manual is not None:
        return False
    return all(report.state is Reported.GONE for report in await facts.reports(services, alerts))


def _hold(run: Run, hold: str) -> Found:
    """It waits as long as the hold stands; who waits for it is told once, with what is in place meanwhile. Whoever ordered it knows; but
    when an application stands still by our doing, somebody is called whoever ordered it."""

    def also(tx: Tx, now: Run) -> None:
        if now.waits_for == f"held: {hold}":
            return
        life, stands = _life(now), standing_of(tx.conn, now, held=True)
        data = {"held": hold, "despite": f"remediator undo {run.id} --despite"}
        tx.audit(EventKind.UNDO_HELD, incident_id=run.incident_id, run_id=run.id, data=data)
        announce(tx, Topic.MOVED, incident_id=run.incident_id, once=f"{run.id}/held/{tx.stamp}")
        if life.cause is Cause.OTHERWISE or stands.stopped:  # it stays in place: somebody has to know
            reason = "; ".join(part for part in (life.reason, f"its undo waits: {hold}") if part)
            why = Escalation(
                reason,
                look_at=(f"remediator explain {run.id}",),
                stuck=stands.stopped,
                in_place=stands.in_place,
                done=stands.done,
                not_done=stands.not_done,
                commands=stands.commands,
            )
            once = f"{run.id}/held/{life.undos}"
            incident = incidents.get(tx.conn, run.incident_id)
            escalate(tx, incident, why, once=once, run_id=run.id, reopen=stands.stopped)

    return Found(seconds=_HELD, waits_for=f"held: {hold}", also=also, keeps={"held": True})


def standing_of(conn: Connection, run: Run, *, held: bool = False) -> standing.Standing:
    """What the run has left in place, for people."""
    return standing.of(run, runs.entries(conn, run.id), in_place(conn, run.id), held=held)


def _all_done(conn: Connection, run: Run) -> Found:
    mine = _of_this_order(runs.entries(conn, run.id), run)
    results = [str((entry.outcome or {}).get("result")) for entry in mine]
    text = ", ".join(f"{results.count(r)} {r.replace('_', ' ')}" for r in sorted(set(results)))
    conflict = UndoResult.CONFLICT.value in results
    return Found(Event.UNDO_CONFLICT if conflict else Event.ALL_UNDONE, text or "nothing was in place")


async def _undo_one(services: Services, run: Run, acted: JournalEntry) -> Found:
    """Undo one action; the first outcome of this order stands."""
    action = Action.from_json(acted.intent["action"])
    number = _life(run).undos
    name = entry_name(acted.name, number)
    hold = await services.store.write(lambda tx: _intend(tx, services, run, (action, name, acted, number)))
    if hold:
        return _hold(run, hold)
    if not action.reversible:
        return _settled(services, run, (action, acted.name, name), UndoResult.NOTHING, action.undo)
    try:
        whole = await services.store.read(lambda conn: _whole(conn, services, acted, action))
    except PreImageUnreadable as error:
        return _settled(services, run, (action, acted.name, name), UndoResult.FAILED, str(error))
    try:
        actuator = ACTUATORS[action.kind]
        if not was_applied(acted) and not await actuator.in_place(services.doors, whole, acted.name):
            text = "reading back shows that it never happened"
            return _settled(services, run, (action, acted.name, name), UndoResult.NOTHING, text)
        if obstacle := await startable.against_undo(services, run, whole):
            return _hold(run, obstacle)
        by_then = holding.means(
            services,
            run,
            run.life.get("despite", ()),
            lambda conn, s, r, _d: holding.holds_on_undo(conn, s, r, acted),
        )
        done = await actuator.undo(by_then, whole, acted.name)
    except Held as by:
        return _hold(run, str(by))
    except (TryLater, OutcomeUnclear) as error:
        if last_attempt(run):
            why = f"the cluster did not answer {MAX_ATTEMPTS} times: {error}"
            return _settled(services, run, (action, acted.name, name), UndoResult.FAILED, why)
        seconds = getattr(error, "retry_after", None) or _RETRY
        return Found(seconds=seconds, failed=True, waits_for=str(error))
    except RemediatorError as error:
        return _settled(services, run, (action, acted.name, name), UndoResult.FAILED, str(error))
    return _settled(services, run, (action, acted.name, name), done.result, done.text)


def _whole(conn: Connection, services: Services, acted: JournalEntry, action: Action) -> Action:
    """The action with the values it had when it was carried out. Raises PreImageUnreadable."""
    place = (int(acted.intent["step_index"]), int(acted.intent.get("action_index", 0)))
    return services.store.vault.whole(conn, acted.run_id, place, action)


def entry_name(action_id: str, number: int) -> str:
    """The journal entry of the `number`-th undo of an action."""
    return f"{action_id}/undo" if number <= 1 else f"{action_id}/undo.{number}"


def _intend(tx: Tx, services: Services, run: Run, what: tuple[Action, str, JournalEntry, int]) -> str:
    """Write down that one action is to be undone, or say what holds it by now: the last look at holds before the write."""
    action, name, acted, number = what
    if hold := holding.words(holding.holds_on_undo(tx.conn, services, run, acted)):
        return hold
    entry = {"entry": "undo", "of": acted.name, "number": number}
    if not runs.begin_entry(tx, run.id, name, entry).resumed:
        data = {"action": name, "summary": f"undo: {action.summary}"}
        tx.audit(EventKind.UNDO_INTENDED, incident_id=run.incident_id, run_id=run.id, data=data)
    return ""


def _settled(
    services: Services, run: Run, what: tuple[Action, str, str], result: UndoResult, text: str
) -> Found:
    """What became of the undo of one action: the action, its id, and the journal entry of this undo."""
    action, of, name = what
    services.metrics.undos.labels(action.kind.value, result.value).inc()

    def also(tx: Tx, _run: Run) -> None:
        runs.end_entry(tx, run.id, name, {"result": result.value, "text": text})
        fact = UndoDone(of, action.summary, result, text)
        record(tx, Topic.UNDO, fact, incident_id=run.incident_id, once=name, run_id=run.id)

    failed = result is UndoResult.FAILED
    return Found(Event.UNDO_FAILED if failed else Event.ONE_UNDONE, text if failed else "", also=also)


async def request(
    services: Services, run_id: str, by: str, press: Press = NO_PRESS, *, despite: bool = False
) -> dict[str, Any]:
    """A person asks to undo a run. `despite`: they know what holds it, and want it all the same.

    Raises Refused when it still runs, did nothing, its target is busy, or something holds it (code `held`), and Repeated when
    it came by a click that was taken before.
    """

    def write(tx: Tx) -> Refused | str:
        # A refusal is returned, not raised: the click counts as taken, so that a late delivery of it undoes nothing.
        approvals.take(tx, press.key)
        run = runs.hold(tx, run_id)
        if refusal := _against(tx, services, run, despite=despite):
            return refusal
        try:
            return _order(tx, services, run, by, press.reason, despite=despite)
        except Refused as busy:
            return busy

    lost = standing.loss(await services.store.read(lambda conn: in_place(conn, run_id)))
    ordered = await services.store.write(write)
    if isinstance(ordered, Refused):
        raise ordered
    if ordered:
        await services.engine().start(ordered)  # one that runs already is woken
        await services.engine().signal(ordered, WAKE)
    return {"run": run_id, "undo": "requested", "by": by, **({"loses": lost} if lost else {})}


def _order(tx: Tx, services: Services, run: Run, by: str, reason: str, *, despite: bool) -> str:
    """The workflow to start or to wake; empty when this very order stands already. An undo that is under way becomes theirs:
    whoever is at it goes on."""
    life, under_way = _life(run), run.state is RunState.UNDOING
    if under_way and life.cause is Cause.PERSON and not despite:
        return ""
    after = transition(life, Event.UNDO_ORDERED)
    if after is None:
        raise AssertionError(f"an undo of a {run.state} run")
    runs.move(tx, run.id, RunState.UNDOING)
    standing = (hold.key for hold in holding.holds_on(tx.conn, services, run, ()))
    known = (startable.NEW_PODS, *standing) if despite else ()
    after = replace(after, despite=known)
    data = {"by": by, "despite": despite, **because(reason)}
    tx.audit(EventKind.UNDO_REQUESTED, incident_id=run.incident_id, run_id=run.id, actor=by, data=data)
    taken(tx, run.incident_id, by)
    once = f"{run.id}/undo ordered {after.undos}" + ("/despite" if despite else "")
    announce(tx, Topic.MOVED, incident_id=run.incident_id, once=once)
    trust.count(tx, services, run, Evidence.UNDONE)
    if under_way:
        driving.change(tx, run.id, after.to_json())
        return run.workflow
    driving.keep(tx, run.id, Changes(tx.now, life=after.to_json()))
    return driving.start_again(tx, run)


def _against(tx: Tx, services: Services, run: Run, *, despite: bool) -> Refused | None:
    """Why it cannot be undone now; None when it can."""
    if not run.state.ended and run.state is not RunState.UNDOING:
        text = f"the run is {run.state.value}; wait for its end or pause it"
        return Refused(text, code="run_live", where=run.id)
    if run.state in (RunState.UNDONE, RunState.REVERTED):
        return Refused("the run was undone already", code="already_undone", where=run.id)
    if not in_place(tx.conn, run.id):
        return Refused("nothing of the run is in place", code="nothing_to_undo", where=run.id)
    if despite:
        return None
    hold, lost = holding.held(tx.conn, services, run), standing.loss(in_place(tx.conn, run.id))
    if hold or lost:
        people = _agreed(run) if lost else ""
        known = ". ".join(part for part in (hold, lost and f"It loses rows: {lost}{people}") if part)
        text = f"{known}. Who knows that and wants it all the same: remediator undo {run.id} --despite"
        return Refused(text, code="held" if hold else "loses_rows", where=run.id)
    return None


def _agreed(run: Run) -> str:
    """Who had agreed to what is to be taken back, where that was more than one person."""
    wanted = int(((run.settings.get("rule") or {}).get("approval") or {}).get("approvals", 1))
    return (
        f". {wanted} people had to agree to the plan ({run.answered_by}): ask them first"
        if wanted > 1
        else ""
    )


__all__: list[str] = [
    "carried_out",
    "entry_name",
    "in_place",
    "look",
    "request",
    "standing_of",
    "was_applied",
]
