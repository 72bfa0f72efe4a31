"""A person's order to undo a run: whether it can be, what they have to know, and what follows in one transaction.

Called by the API, the web page and buttons; the page's look at an undo asks what the order would ask (`against`). Carries nothing out:
`undo` does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from app.domain.copies import databases_of
from app.domain.errors import Refused, TryLater
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.flow.ids import WAKE
from app.flow.notifying.record import announce, taken
from app.flow.running import journal
from app.flow.running.life import Cause, Event, transition
from app.flow.services import Services
from app.flow.undoing import foreseen, holding, startable
from app.flow.verifying import standing, symptoms
from app.notify.timeline import ApprovalAnswer, Topic
from app.policy.holds import Hold
from app.policy.model import Approval, Rule
from app.store import approvals, driving, runs, work
from app.store.approvals import NO_CLICK, Click, because
from app.store.driving import Changes
from app.store.runs import JournalEntry, Run, TargetBusy
from app.store.tx import Tx

_STAYS = "the undo is not done, and what it would have taken back stays"


class KnowFirst(Refused):
    """Something holds it, or rows would be lost: who knows that may order it all the same. `known` is what they have to know, without the
    command that says so."""

    def __init__(self, known: str, run_id: str, code: str) -> None:
        text = f"{known}. Who knows that and wants it all the same: remediator undo {run_id} --despite"
        super().__init__(text, code=code, where=run_id)
        self.known = known


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was looked at before an order: what is in place, the marks on what it changes, and why it could never be taken back."""

    there: Sequence[JournalEntry]
    touched: holding.Touches = ()
    never: str = ""


async def _seen(services: Services, run_id: str) -> _Seen:
    """Who orders it is not sent away by what cannot be looked at: the run looks itself, and begins nothing before it could."""
    there, never = await services.store.read(lambda conn: journal.in_place(conn, run_id)), ""
    with suppress(TryLater):
        never = await foreseen.against_undo(services, there)
    if there and not never:
        run = await services.store.read(lambda conn: runs.get(conn, run_id))
        never = await symptoms.gone_with_it(services, run)
    touched: holding.Touches = ()
    if not never:
        with suppress(TryLater):
            touched = await holding.touched_by(services, journal.actions(there))
    return _Seen(there, touched, never)


async def against(services: Services, run_id: str) -> Refused | None:
    """Why an order to undo it would be refused now; None when it would be taken. Raises StoreUnavailable."""
    seen = await _seen(services, run_id)
    return await services.store.read(
        lambda conn: _against(conn, services, runs.get(conn, run_id), seen, knowing=False)
    )


async def request(
    services: Services, run_id: str, by: str, click: Click = NO_CLICK, *, despite: bool = False
) -> dict[str, Any]:
    """A person asks to undo a run. `despite`: they know what holds it, and want it all the same.

    Raises Refused when it still runs, did nothing, its target is busy, or something holds it (code `held`), and Repeated when
    it came by a click that was taken before.
    """

    def write(tx: Tx) -> Refused | str:
        # A refusal is returned, not raised: the click counts as taken, so that a late delivery of it undoes nothing.
        approvals.take(tx, click.key)
        run = runs.hold(tx, run_id)
        if databases_of(journal.actions(seen.there)):
            work.lock_ledger(tx)  # of two orders on one database one is taken
        if refusal := _against(tx.conn, services, run, seen, knowing=despite):
            return refusal
        try:
            standing = holding.holds_on(tx.conn, services, run, (), seen.touched) if despite else None
            return _order(tx, services, run, by, click.reason, standing)
        except Refused as busy:
            return busy

    seen = await _seen(services, run_id)
    if seen.never:  # before the click is taken
        raise _never(seen, run_id)
    lost = standing.loss(seen.there)
    ordered = await services.store.write(write)
    if isinstance(ordered, Refused):
        raise ordered
    if ordered:
        await services.engine().start(ordered)  # one that runs already is woken
        await services.engine().signal(ordered, WAKE)
    return {"run": run_id, "undo": "requested", "by": by, **({"loses": lost} if lost else {})}


def _order(tx: Tx, services: Services, run: Run, by: str, reason: str, known: Collection[Hold] | None) -> str:
    """The workflow to start or to wake; empty when this very order stands already. An undo that is under way becomes theirs:
    whoever is at it goes on. `known` are the holds in spite of which they want it; None when they do not say so."""
    life, under_way, despite = journal.life_of(run), run.state is RunState.UNDOING, known is not None
    if under_way and life.cause is Cause.PERSON and not despite and not run.life.get("withdrawn"):
        return ""
    after = transition(life, Event.UNDO_ORDERED)
    if after is None:
        raise AssertionError(f"an undo of a {run.state} run")
    runs.move(tx, run.id, RunState.UNDOING)
    keys = () if known is None else (startable.NEW_PODS, *(hold.key for hold in known))
    rule = run.settings.get("rule")
    good_for = (Rule.from_json(rule).approval if rule else Approval()).expires
    after = replace(after, despite=keys, until=(tx.now + good_for).isoformat())
    data = {"by": by, "despite": despite, **because(reason)}
    tx.audit(EventKind.UNDO_REQUESTED, incident_id=run.incident_id, run_id=run.id, actor=by, data=data)
    taken(tx, services, run.incident_id, by)
    once = f"{run.id}/undo ordered {after.undos}" + ("/despite" if despite else "")
    announce(tx, Topic.MOVED, incident_id=run.incident_id, once=once)
    kept = {**journal.looks(run), **journal.loan(run), **journal.row_of(after)}
    if under_way:
        if unsent := run.life.get(journal.UNSENT):
            kept[journal.UNSENT] = unsent
        driving.change(tx, run.id, kept)
        return run.workflow
    driving.keep(tx, run.id, Changes(tx.now, life=kept))
    return driving.start_again(tx, run)


def _never(seen: _Seen, run_id: str) -> Refused:
    return Refused(seen.never, code="nothing_to_undo", where=run_id)


def _against(conn: Connection, services: Services, run: Run, seen: _Seen, *, knowing: bool) -> Refused | None:
    """Why it cannot be undone now; None when it can. `knowing`: they want it in spite of whatever holds it."""
    if seen.never:
        return _never(seen, run.id)
    if not run.state.ended and run.state is not RunState.UNDOING:
        text = f"the run is {run.state.value}; wait for its end or pause it"
        return Refused(text, code="run_live", where=run.id)
    there = journal.in_place(conn, run.id)
    if run.state in (RunState.UNDONE, RunState.REVERTED) and not there:
        return Refused("the run was undone already", code="already_undone", where=run.id)
    if not there:
        return Refused("nothing of the run is in place", code="nothing_to_undo", where=run.id)
    if run.state.ended and (busy := _busy(conn, run, there)):
        return busy
    if knowing:
        return None
    hold, lost = holding.held(conn, services, run, seen.touched), standing.loss(there)
    if hold or lost:
        people = _agreed(run) if lost else ""
        known = ". ".join(part for part in (hold, lost and f"It loses rows: {lost}{people}") if part)
        return KnowFirst(known, run.id, "held" if hold else "loses_rows")
    return None


async def withdraw(
    services: Services, run_id: str, by: str, click: Click = NO_CLICK
) -> dict[str, Any] | None:
    """A person takes back the undo that a person ordered, as long as nothing of it is begun: it ends as not undone. None when the run
    undoes nothing. Raises Refused (code `undo_begun`, or `not_ordered` for one that nobody ordered), and Repeated for a click that was taken
    before."""

    def write(tx: Tx) -> str | Refused:
        run = runs.hold(tx, run_id)
        if run.state is not RunState.UNDOING:
            return ""
        approvals.take(tx, click.key)
        if journal.life_of(run).cause is not Cause.PERSON:
            text = f"nobody ordered this undo: pause {run.target_key}, or order it and take that back"
            return Refused(text, code="not_ordered", where=run_id)
        if journal.begun(runs.entries(tx.conn, run_id), run):
            return Refused("the undo has begun: it goes on", code="undo_begun", where=run_id)
        driving.change(tx, run_id, {**run.life, "withdrawn": by})
        data = {"by": by, **because(click.reason)}
        tx.audit(EventKind.UNDO_WITHDRAWN, incident_id=run.incident_id, run_id=run_id, actor=by, data=data)
        fact = ApprovalAnswer(
            run_id, "withdrawn", by, f"{_STAYS}; {click.reason}" if click.reason else _STAYS
        )
        once = f"{run_id}/undo {journal.life_of(run).undos} withdrawn/{tx.stamp}"
        announce(tx, Topic.APPROVAL_ANSWERED, incident_id=run.incident_id, once=once, fact=fact)
        return run.workflow

    workflow = await services.store.write(write)
    if isinstance(workflow, Refused):
        raise workflow
    if not workflow:
        return None
    await services.engine().signal(workflow, WAKE)
    services.deliver_nudge()
    return {"run": run_id, "answer": "withdrawn", "by": by, "text": _STAYS}


def _busy(conn: Connection, run: Run, there: Sequence[JournalEntry]) -> Refused | None:
    """Another run is at work on what the undo would write, or on a database that it would work on, through whatever target."""
    other = work.busy_with_plan(conn, run.target_key, journal.actions(there), excluding=run.id)
    text = f"{other} is at work on the same object or database: wait for its end, then order it again"
    return TargetBusy(text, where=other) if other else None


def _agreed(run: Run) -> str:
    """Who had agreed to what is to be taken back, where that was more than one person."""
    wanted = int(((run.settings.get("rule") or {}).get("approval") or {}).get("approvals", 1))
    return (
        f". {wanted} people had to agree to the plan ({run.answered_by}): ask them first"
        if wanted > 1
        else ""
    )
