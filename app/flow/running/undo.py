"""Undo: take our changes back, newest first, only where they are still in place.

Two ways in: a run whose step did not help undoes that step; a person undoes a finished run later, as a story of its own.
A failed undo is stuck and pages a person. Never overwrites what somebody else changed since.
"""

from __future__ import annotations

from typing import Any

from app.domain.errors import OutcomeUnclear, Refused, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState, UndoResult
from app.domain.plan import Action
from app.engine.context import RunContext
from app.flow import counting
from app.flow.deciding import trust
from app.flow.ids import undo_story
from app.flow.notifying.record import announce, end_run, move
from app.flow.notifying.record import tell as record
from app.flow.running import ending
from app.flow.running.retry import until_final
from app.flow.services import Services
from app.kube import apply
from app.notify.timeline import Topic, UndoDone
from app.policy.trust import Evidence
from app.store import approvals, incidents, runs
from app.store.database import Tx
from app.store.runs import JournalEntry, Run

MAX_TRIES = 6
_LATER = "later"


async def undo_run(ctx: RunContext, services: Services, run_id: str, index: int) -> bool:
    """Undo what the run changed up to step `index`, newest first, earlier steps too: none of it helped. False when one of
    them failed: then the run is stuck."""
    listed = await ctx.step(f"undo:{index}", lambda: _list(services, run_id))
    return await _undo_all(ctx, services, run_id, listed["actions"][::-1])


async def tell(ctx: RunContext, services: Services, run_id: str) -> None:
    """The story that undoes a finished run."""
    listed = await ctx.step("list", lambda: _list(services, run_id))
    good = await _undo_all(ctx, services, run_id, listed["actions"][::-1])
    await ctx.step("end", lambda: _end(services, run_id, good))


async def _undo_all(ctx: RunContext, services: Services, run_id: str, ids: list[str]) -> bool:
    for action_id in ids:
        done = await until_final(
            ctx,
            MAX_TRIES,
            lambda attempt: f"undo:{action_id}:{attempt}",  # noqa: B023 - awaited here
            lambda _last: undo_one(services, run_id, action_id),  # noqa: B023 - awaited here
        )
        if done["result"] == _LATER:
            done = await ctx.step(
                f"undo:{action_id}:failed",
                lambda: _give_up(services, run_id, action_id, done["text"]),  # noqa: B023 - awaited here
            )
        if done["result"] == UndoResult.FAILED:
            return False
    return True


async def _list(services: Services, run_id: str) -> dict[str, Any]:
    steps = await services.store.read(lambda conn: runs.entries(conn, run_id))
    return {"actions": [s.name for s in steps if was_applied(s)]}


def was_applied(step: JournalEntry) -> bool:
    """The step is an action that is, or was, in place."""
    return step.intent.get("entry") == "action" and (step.outcome or {}).get("result") == "applied"


async def undo_one(services: Services, run_id: str, action_id: str) -> dict[str, Any]:
    """Undo one action; the first outcome stands. `later` when the cluster did not answer."""
    name = f"{action_id}/undo"
    run, step, action = await services.store.read(lambda conn: _load(conn, run_id, action_id, name))
    if step is not None and step.outcome is not None:
        return dict(step.outcome)
    if step is None:
        await services.store.write(lambda tx: _intend(tx, run, action, name))
    if not action.reversible:
        return await _settle(services, run, action, action_id, (UndoResult.NOTHING, action.undo))
    try:
        done = await apply.undo(services.cluster, action, name, sleep=services.clock.sleep)
    except (TryLater, OutcomeUnclear) as error:
        return {"result": _LATER, "text": str(error), "seconds": getattr(error, "retry_after", None) or 5.0}
    except RemediatorError as error:
        return await _settle(services, run, action, action_id, (UndoResult.FAILED, str(error)))
    return await _settle(services, run, action, action_id, (done.result, done.text))


async def _give_up(services: Services, run_id: str, action_id: str, text: str) -> dict[str, Any]:
    run, _, action = await services.store.read(
        lambda conn: _load(conn, run_id, action_id, f"{action_id}/undo")
    )
    why = f"the cluster did not answer {MAX_TRIES} times: {text}"
    return await _settle(services, run, action, action_id, (UndoResult.FAILED, why))


def _load(conn: Any, run_id: str, action_id: str, name: str) -> tuple[Run, JournalEntry | None, Action]:
    run = runs.get(conn, run_id)
    acted = runs.entry(conn, run_id, action_id)
    if acted is None:
        raise Refused("there is no such action to undo", code="nothing_to_undo", where=action_id)
    return run, runs.entry(conn, run_id, name), Action.from_json(acted.intent["action"])


def _intend(tx: Tx, run: Run, action: Action, name: str) -> None:
    runs.begin_entry(tx, run.id, name, {"entry": "undo"})
    if run.state is not RunState.UNDOING:
        runs.move(tx, run.id, RunState.UNDOING)
    tx.audit(
        EventKind.UNDO_INTENDED,
        incident_id=run.incident_id,
        run_id=run.id,
        data={"action": name, "summary": f"undo: {action.summary}"},
    )


async def _settle(
    services: Services, run: Run, action: Action, action_id: str, end: tuple[UndoResult, str]
) -> dict[str, Any]:
    result, text = end

    def write(tx: Tx) -> dict[str, Any]:
        outcome = {"result": result.value, "text": text}
        runs.end_entry(tx, run.id, f"{action_id}/undo", outcome)
        fact = UndoDone(action_id, action.summary, result, text)
        record(tx, Topic.UNDO, fact, incident_id=run.incident_id, once=f"{action_id}/undo", run_id=run.id)
        return outcome

    outcome = await services.store.write(write)
    services.metrics.undos.labels(action.kind.value, result.value).inc()
    services.deliver_nudge()
    return outcome


async def _end(services: Services, run_id: str, good: bool) -> dict[str, Any]:
    if not good:
        return await ending.end(services, run_id, RunState.STUCK, "an undo failed")

    def write(tx: Tx) -> Run:
        run = runs.get(tx.conn, run_id)
        incident = incidents.get(tx.conn, run.incident_id)
        steps = [s for s in runs.entries(tx.conn, run_id) if s.intent.get("entry") == "undo"]
        results = [(s.outcome or {}).get("result") for s in steps]
        text = (
            ", ".join(f"{results.count(r)} {r}" for r in sorted({str(r) for r in results}))
            or "nothing was in place"
        )
        ended = end_run(tx, run_id, RunState.UNDONE, text)
        if not incident.state.closed:
            move(tx, incident, IncidentState.ESCALATED, once=f"{run_id}/undone", reason=f"undone: {text}")
        return ended

    counting.ended(services, await services.store.write(write), RunState.UNDONE)
    services.deliver_nudge()
    return {"state": RunState.UNDONE.value}


async def request(services: Services, run_id: str, by: str, click: str = "") -> dict[str, Any]:
    """A person asks to undo a finished run. Raises Refused when it still runs, did nothing, or its target is busy, and
    Repeated when it came by a button click that was taken before."""

    def write(tx: Tx) -> Refused | None:
        # A refusal is returned, not raised: the click counts as taken, so that a late delivery of it undoes nothing.
        approvals.take(tx, click)
        run = runs.hold(tx, run_id)
        if run.state is RunState.UNDOING:
            return None
        if refusal := _against(tx, run):
            return refusal
        try:
            order(tx, run, by)
        except Refused as busy:
            return busy
        trust.count(tx, services, run, Evidence.UNDONE)
        return None

    refusal = await services.store.write(write)
    if refusal is not None:
        raise refusal
    await services.engine().start(undo_story(run_id))
    return {"run": run_id, "undo": "requested", "by": by}


def _against(tx: Tx, run: Run) -> Refused | None:
    if not run.state.ended:
        text = f"the run is {run.state.value}; wait for its end or pause it"
        return Refused(text, code="run_live", where=run.id)
    if run.state is RunState.UNDONE:
        return Refused("the run was undone already", code="already_undone", where=run.id)
    if not any(was_applied(s) for s in runs.entries(tx.conn, run.id)):
        return Refused("the run changed nothing", code="nothing_to_undo", where=run.id)
    return None


def order(tx: Tx, run: Run, by: str) -> None:
    """Order the undo of an ended run in this transaction. Raises TargetBusy when another run holds the target."""
    runs.move(tx, run.id, RunState.UNDOING)
    runs.begin_entry(tx, run.id, "undo ordered", {"entry": "order", "by": by})
    tx.audit(EventKind.UNDO_REQUESTED, incident_id=run.incident_id, run_id=run.id, actor=by, data={"by": by})
    announce(tx, Topic.MOVED, incident_id=run.incident_id, once=f"{run.id}/undo ordered")
