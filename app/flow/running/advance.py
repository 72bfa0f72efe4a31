"""Advance: looks at one run and takes it as far as it gets now. The engine's workflow of a run calls nothing else.

The row is the truth: a run is claimed, the module of its state finds out what happened, the table (`life`) says what that
makes of it, and row, journal, messages and audit are written in one transaction. Whatever goes wrong costs a retry with growing
waits, never the run: an error of ours or of the store ends this look and not the workflow, and a workflow that is lost is
replaced by the sweep. Never decides what an event means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from app.domain import half_way
from app.domain.errors import RemediatorError, StoreUnavailable
from app.domain.outcome import IncidentState, RunState
from app.domain.workflows import run_of
from app.engine.context import RunContext, Workflow
from app.flow.ids import WAKE
from app.flow.notifying import record
from app.flow.notifying.record import move
from app.flow.running import act, ending, journal, next_step, planned
from app.flow.running.life import MAX_ATTEMPTS, Event, Found, Life, Look, transition
from app.flow.running.progress import attended
from app.flow.services import Services
from app.flow.undoing import sending, temporary
from app.flow.verifying import standing, verify
from app.policy.model import Otherwise
from app.store import driving, incidents, runs, steps, work
from app.store.driving import Changes
from app.store.runs import Run
from app.store.tx import Tx

log = structlog.get_logger(__name__)

_CLAIM = timedelta(minutes=3)
_LIMIT = 120.0
"""Seconds after which a look that does not come back is given up. Shorter than the claim, so that nobody else begins before."""
_RETRY = 2.0  # seconds after an error, doubled each time
_DOUBLINGS = 4
_LONGEST = 3600.0  # seconds; the longest single wait of a workflow

Handler = Callable[[Services, Run], Awaitable[Found | Look]]


async def _begin(_services: Services, run: Run) -> Found:
    del run
    return Found(Event.BEGUN)


async def _nothing(_services: Services, _run: Run) -> Found:
    return Found(over=True)


HANDLERS: Mapping[RunState, Handler] = {
    RunState.REQUESTED: _begin,
    RunState.WAITING: planned.look_asked,
    RunState.ACTING: act.look,
    RunState.VERIFYING: verify.look,
    RunState.CHOOSING: next_step.look,
    RunState.UNDOING: temporary.look_back,
    RunState.FIXED: temporary.look,
    RunState.CONTAINED: temporary.look,
}
"""Who finds out what happened to a run in this state. A run in any other state has nothing to wait for."""


_SPANS = {
    RunState.WAITING: "approval",
    RunState.ACTING: "apply",
    RunState.VERIFYING: "verify",
    RunState.UNDOING: "undo",
}
"""What a look at a run in this state is called in a trace; else by the state."""


def workflow_of(services: Services) -> Workflow:
    """The workflow that the engine runs: advance until the run is over, waiting as told in between."""

    async def drive(ctx: RunContext, workflow: str) -> None:
        number = 0
        while True:
            told = await ctx.step(f"advance:{number}", lambda: advance(services, workflow))
            if told["over"]:
                return
            await ctx.wait_for(WAKE, told["seconds"])
            number += 1

    return drive


async def advance(services: Services, workflow: str) -> dict[str, Any]:
    """Take the run of this workflow as far as it gets. `over`: this workflow has nothing more to do for it; otherwise it is
    to be looked at again in `seconds`. Never raises an error of ours, of the store or of the cluster."""
    run_id = run_of(workflow)
    if run_id in services.advancing:
        return {"over": False, "seconds": _RETRY}
    services.advancing.add(run_id)
    with structlog.contextvars.bound_contextvars(run=run_id):
        try:
            seconds = await _as_far_as_it_gets(services, workflow)
        except Exception as error:  # noqa: BLE001 - the step boundary: logged there, and tried again
            seconds = await _lost(services, workflow, error)
        else:
            services.lost.pop(run_id, None)
        finally:
            services.advancing.discard(run_id)
    return {"over": seconds is None, "seconds": min(seconds or 0.0, _LONGEST)}


async def _as_far_as_it_gets(services: Services, workflow: str) -> float | None:
    """Seconds until the next look; None when this workflow is done with the run."""
    taken = await services.store.write(lambda tx: driving.take(tx, workflow, services.replica, _CLAIM))
    if not isinstance(taken, Run):
        return _RETRY if taken == "held" else None
    run = taken
    while True:
        handler = HANDLERS.get(run.state, _nothing)
        named = _SPANS.get(run.state, run.state.value)
        with services.tracer.span(named, run.incident_id, run=run.id, step=run.step_index):
            async with asyncio.timeout(_LIMIT):
                found = await handler(services, run)
        moved = await services.store.write(lambda tx: _write(tx, services, run, found))  # noqa: B023 - awaited here
        _tell(services, moved)
        if moved.seconds is not None:
            return moved.seconds
        if moved.over or moved.run.state.ended or moved.run.workflow != workflow:
            return None
        run = moved.run


@dataclass(frozen=True, slots=True)
class _Moved:
    """A transition as it was written. `seconds`: nothing more now, look again then. `over`: there is nothing to wait for."""

    run: Run
    seconds: float | None = None
    over: bool = False
    ended: bool = False
    text: str = ""


def _write(tx: Tx, services: Services, seen: Run, found: Found | Look) -> _Moved:
    """The transition in one transaction. A run that moved since it was looked at is looked at again."""
    run = runs.hold(tx, seen.id)
    if (run.workflow, run.state, run.step_index) != (seen.workflow, seen.state, seen.step_index):
        return _Moved(run)
    told = found if isinstance(found, Found) else found(tx, run)
    if told.also is not None:
        told.also(tx, run)
        run = runs.get(tx.conn, run.id)
    run = replace(run, life={**run.life, **told.keeps})
    if told.over:
        driving.keep(tx, run.id, Changes(None, life=run.life))
        return _Moved(run, over=True)
    if told.event is None:
        return _wait(tx, run, told)
    life = life_of(tx, run)
    after = transition(life, told.event, told.text)
    if after is None:
        raise AssertionError(f"{told.event} in {run.state}")
    return _become(tx, services, run, after, told.text)


def life_of(tx: Tx, run: Run) -> Life:
    """The run's life as its row and its journal tell it."""
    otherwise = tuple(Otherwise(word) for word in run.settings["rule"]["otherwise"]) if run.settings else ()
    life = journal.life_of(run, otherwise)
    entries = runs.entries(tx.conn, run.id)
    there = journal.still_in_place(entries)
    kept = any(
        entry.intent["step_index"] == run.step_index and entry.intent["kind"] in half_way.KEPT
        for entry in there
    )
    alone = standing.by_itself(entries, there)
    kept = kept and run.state is RunState.ACTING
    return replace(life, in_place=bool(there), kept=kept, loses=alone.kept, loose=bool(alone.back))


def _wait(tx: Tx, run: Run, found: Found) -> _Moved:
    grown = found.seconds * (1 << min(run.attempt, _DOUBLINGS)) if found.failed else found.seconds
    seconds = min(grown, _LONGEST)
    attempt = run.attempt + 1 if found.failed else 0
    if found.patient:
        attempt = min(attempt, _DOUBLINGS)  # an error of ours has its own attempts after these
    due = tx.now + timedelta(seconds=seconds)
    life = {**run.life, **attended(run, due, tx.now)} if run.state is RunState.ACTING else run.life
    driving.keep(tx, run.id, Changes(due, found.waits_for, attempt, life))
    return _Moved(run, seconds)


def _become(tx: Tx, services: Services, run: Run, life: Life, text: str) -> _Moved:
    """Write the new state. Where it stands the engine comes back for it at once."""
    if life.state.ended:
        ended = ending.end(tx, services, run, life)
        kept = {**journal.looks(run), **journal.row_of(life), **ended.keeps}
        driving.keep(tx, run.id, Changes(ended.due_at, ended.waits_for, 0, kept))
        return _Moved(runs.get(tx.conn, run.id), ended=True, text=text)
    late = life.state is RunState.VERIFYING and not _carried_out(run, life)
    if life.state is not run.state:
        if (run.state is RunState.WAITING and life.state is not RunState.ACTING) or (
            run.state is RunState.ACTING and (late or life.state is not RunState.VERIFYING)
        ):
            ending.leave_step(tx, run, text)
        if late:
            # An earlier step may have helped late: it is judged and told by the last one that was carried out and is still in place.
            done = [e for e in journal.in_place(tx.conn, run.id) if journal.was_applied(e)]
            steps.go_back(tx, run, int(done[-1].intent["step_index"]) if done else run.step_index)
        if run.state is RunState.UNDOING:  # an order that was taken back leaves what it had announced
            sending.leave(tx, services, run, replace(life, reason=text) if late else life)
        runs.move(tx, run.id, life.state)
        _move_incident(tx, run, life.state, text)
    claim = work.claim_values(tx, services.replica, _CLAIM)
    kept = {**journal.looks(run), **journal.loan(run), **journal.row_of(life)}
    if life.state is RunState.ACTING:
        kept |= attended(run, tx.now, tx.now)
    driving.keep(tx, run.id, Changes(tx.now, "", 0, kept), claim)
    return _Moved(runs.get(tx.conn, run.id), text=text)


def _carried_out(run: Run, life: Life) -> bool:
    """The run's present step was, to its last action."""
    return run.state is RunState.ACTING and life.action >= life.actions


_SHOWN = {
    RunState.ACTING: IncidentState.ACTING,
    RunState.WAITING: IncidentState.WAITING,
    RunState.VERIFYING: IncidentState.VERIFYING,
}


def _move_incident(tx: Tx, run: Run, state: RunState, text: str) -> None:
    shown = _SHOWN.get(state)
    if shown is not None:
        incident = incidents.get(tx.conn, run.incident_id)
        move(tx, incident, shown, once=f"{run.id}/{run.step_index}", reason=text)


def _tell(services: Services, moved: _Moved) -> None:
    """What metrics and the other loops hear of a transition, after its commit."""
    services.deliver_nudge()
    if moved.run.state is not RunState.VERIFYING:
        verify.forget(services, moved.run)
    if moved.ended:
        record.count_ended(services, moved.run, moved.run.state)
        services.decide_nudge()


async def _lost(services: Services, workflow: str, error: Exception) -> float:
    """An attempt was lost. The store being away is nobody's fault and costs no attempt; any other error ends the run after
    `MAX_ATTEMPTS`, as stuck: nobody knows what is in place then."""
    run_id = run_of(workflow)
    number = services.lost[run_id][0] + 1 if run_id in services.lost else 0
    seconds = _RETRY * (1 << min(number, _DOUBLINGS))
    services.lost[run_id] = (number, services.clock.monotonic() + seconds)
    if isinstance(error, StoreUnavailable):
        log.warning("run_waits_for_the_store", run=run_id, error=str(error), seconds=seconds)
    elif isinstance(error, RemediatorError | TimeoutError):
        log.warning("run_waits", run=run_id, error=str(error) or type(error).__name__, seconds=seconds)
    else:
        log.error("run_broke", run=run_id, seconds=seconds, exc_info=error)
    try:
        ended = await services.store.write(lambda tx: _note(tx, services, workflow, error, seconds))
    except RemediatorError as again:
        log.warning("run_waits_for_the_store", run=run_id, error=str(again), seconds=seconds)
        return seconds
    if ended is not None:
        _tell(services, ended)
    return seconds


def _note(tx: Tx, services: Services, workflow: str, error: Exception, seconds: float) -> _Moved | None:
    run = runs.hold(tx, run_of(workflow))
    if run.workflow != workflow or run.claimed_by != services.replica:
        return None
    attempt = run.attempt + (not isinstance(error, StoreUnavailable))
    if attempt >= MAX_ATTEMPTS and not run.state.ended:
        text = f"the run broke: {type(error).__name__} at {MAX_ATTEMPTS} attempts"
        after = transition(life_of(tx, run), Event.BROKEN, text)
        if after is not None:
            return _become(tx, services, run, after, text)
    due = tx.now + timedelta(seconds=seconds)
    driving.keep(tx, run.id, Changes(due, f"an error: {type(error).__name__}", attempt))
    return None
