"""Act: one planned mutation, looked at again right before, sent once, and settled whatever happens to the process.

Owns the order of an action: recorded before? -> already in place? -> object as planned? -> dry run -> policy again ->
intent on disk -> one write -> outcome on disk. Executed inside a durable step, so every path through it may be taken
twice. Never decides what to do next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from app.domain.decision import Decision, Verdict
from app.domain.errors import ClusterRefused, DisruptionBlocked, OutcomeUnclear, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.target import ObjectRef
from app.flow import counting
from app.flow.deciding import facts
from app.flow.deciding.decide import firing_alerts
from app.flow.ids import action_id
from app.flow.notifying.record import tell
from app.flow.services import Services
from app.kube import apply, read
from app.kube.view import View
from app.notify.timeline import ActionDone, Topic
from app.policy import decide as policy_decide
from app.policy.model import Rule
from app.store import facts as counts
from app.store import incidents, ledger, runs
from app.store.database import Tx
from app.store.incidents import Incident, StoredAlert
from app.store.runs import JournalEntry, Run

log = structlog.get_logger(__name__)

APPLIED = "applied"
ABANDONED = "abandoned"
REFUSED = "refused"
UNCLEAR = "unclear"
LATER = "later"

_RETRY = 5.0  # seconds, when the API server does not say


@dataclass(frozen=True, slots=True)
class Planned:
    """One action of a run's step, with the run it belongs to."""

    run: Run
    incident: Incident
    alerts: tuple[StoredAlert, ...]
    rule: Rule
    index: int

    @property
    def action(self) -> Action:
        """The action itself."""
        return self.run.step.actions[self.index]

    @property
    def id(self) -> str:
        """Identity of the mutation."""
        return action_id(self.run.id, self.run.step_index, self.index)


async def act(services: Services, run_id: str, index: int) -> dict[str, Any]:
    """Carry out action `index` of the run's present step; returns `{"word": ..., "text": ..., "at": ...}`.

    `applied`: in place. `abandoned`: the second look says no, nothing was sent. `refused`: the API server said no.
    `later`: nothing was sent, `seconds` says when to try again. `unclear`: sent, and reading back failed too.
    """
    planned, recorded = await services.store.read(lambda conn: _load_with_step(conn, run_id, index))
    if recorded is not None and recorded.outcome is not None:
        settled = dict(recorded.outcome["answer"])
        if settled["word"] == APPLIED:  # the process may have died before it told the object
            await _leave_event(services, planned, "Remediated", settled["text"])
        return settled
    try:
        applied = await apply.in_place(services.cluster, planned.action, planned.id) if recorded else ""
    except (TryLater, ClusterRefused) as error:
        # It may have been sent before, so that "nothing was sent" would be a guess.
        return {"word": UNCLEAR, "text": f"it may be in place: {error}", "seconds": _RETRY}
    if applied:
        return await _settle(services, planned, APPLIED, applied)
    try:
        return await _look_and_write(services, planned)
    except TryLater as error:
        return {"word": LATER, "text": str(error), "seconds": error.retry_after or _RETRY}
    except OutcomeUnclear as error:
        return {"word": UNCLEAR, "text": str(error), "seconds": _RETRY}


def _load(conn: Any, run_id: str, index: int) -> Planned:
    run = runs.get(conn, run_id)
    incident = incidents.get(conn, run.incident_id)
    alerts = firing_alerts(conn, incident.id)
    return Planned(run, incident, alerts, Rule.from_json(run.settings["rule"]), index)


def _load_with_step(conn: Any, run_id: str, index: int) -> tuple[Planned, JournalEntry | None]:
    planned = _load(conn, run_id, index)
    return planned, runs.entry(conn, run_id, planned.id)


async def _look_and_write(services: Services, planned: Planned) -> dict[str, Any]:
    view = View(services.cluster)  # a new one: nothing of the diagnosis counts here
    found, _ = await asyncio.gather(
        apply.check(view, planned.action), read.ahead(view, planned.action.target)
    )
    if found.ref is None:
        return await _settle(services, planned, ABANDONED, found.text)
    # Side by side: the dry run changes nothing, and both are needed before anybody says yes.
    refusal, around = await asyncio.gather(
        _dry_run(services, planned, found), _look_around(replace(services, cluster=view), planned)
    )
    if refusal:
        return await _settle(services, planned, REFUSED, refusal)
    if (
        view.transient_errors
    ):  # a look that failed in passing is no word against it: it is taken again, from the start
        return {"word": LATER, "text": f"a read failed: {view.transient_errors[0]}", "seconds": _RETRY}
    no = await _judge_again(services, planned, around)
    if no:
        return await _settle(services, planned, ABANDONED, no)
    return await _write(services, planned, found.ref, found.seen)


async def _dry_run(services: Services, planned: Planned, found: apply.CheckResult) -> str:
    """The server-side dry run of the very patch; why it was refused, or empty. Raises TryLater."""
    try:
        ref = found.ref or planned.action.object
        await apply.dry_run(services.cluster, planned.action, planned.id, ref, found.seen)
    except ClusterRefused as error:
        return f"the dry run was refused: {error}"
    return ""


async def _look_around(services: Services, planned: Planned) -> facts.Outside:
    """Everything the gates need from outside the store, in the same fresh view as the check of the object."""
    target = planned.action.target
    try:
        workload: Any = await read.read_workload(services.cluster, target)
    except RemediatorError as error:
        workload = f"the target could not be read: {error.message}"
    return await facts.outside(services, planned.rule, target, workload, list(planned.alerts))


async def _judge_again(services: Services, planned: Planned, around: facts.Outside) -> str:
    """All gates once more with fresh facts; the reason against it, or empty. The intent goes to disk with the yes."""
    run, rule, policy = planned.run, planned.rule, services.policy()
    own = facts.Own(run.id, run.step_index, approved_by=run.answered_by if run.answer == "approved" else "")

    def verdict(tx: Tx) -> str:
        ledger.lock(tx)
        measured = facts.facts_in(tx, services, facts.Ground(policy, rule), around, planned.incident, own)
        decision = policy_decide.decide(policy, rule, run.step, measured)
        if not counts.holds(tx.conn, run.id, run.step_index):
            return "the budget reservation is gone"
        yes = decision.verdict is Verdict.ALLOW
        tx.audit(
            EventKind.RECHECKED,
            incident_id=run.incident_id,
            run_id=run.id,
            data={"action": planned.id, "verdict": decision.verdict.value, "text": decision.text},
        )
        if yes:
            _intend(tx, planned)
        return "" if yes else _against(decision)

    return await services.store.write(verdict)


def _against(decision: Decision) -> str:
    return f"looked again before touching: {decision.text}"


def _intend(tx: Tx, planned: Planned) -> None:
    action = planned.action
    intent: Mapping[str, Any] = {
        "entry": "action",
        "step": planned.run.step.name,
        "step_index": planned.run.step_index,
        "kind": action.kind.value,
        "object": str(action.object),
        "left": action.params.get("left", ""),
        "action": action.to_json(),
    }
    step = runs.begin_entry(tx, planned.run.id, planned.id, intent)
    if not step.resumed:
        tx.audit(
            EventKind.ACTION_INTENDED,
            incident_id=planned.run.incident_id,
            run_id=planned.run.id,
            data={"action": planned.id, "summary": action.summary, "plan": action.to_json()},
        )


async def _write(services: Services, planned: Planned, ref: ObjectRef, seen: Obj | None) -> dict[str, Any]:
    sleep = services.clock.sleep
    try:
        done = await apply.apply(services.cluster, planned.action, planned.id, ref, seen, sleep=sleep)
    except ClusterRefused as error:
        return await _settle(services, planned, REFUSED, f"the API server refused it: {error}")
    if done.code == DisruptionBlocked.code:  # the budget may allow it in a while
        return {"word": LATER, "text": done.text, "seconds": done.retry_after or _RETRY}
    if done.result is ActionResult.UNCLEAR:
        return {"word": UNCLEAR, "text": done.text, "seconds": _RETRY}
    return await _settle(
        services, planned, APPLIED if done.result is ActionResult.APPLIED else REFUSED, done.text
    )


async def _settle(services: Services, planned: Planned, word: str, text: str) -> dict[str, Any]:
    """Write the outcome, its audit record and its message; the first outcome stands."""
    run, action = planned.run, planned.action

    def write(tx: Tx) -> dict[str, Any]:
        answer = {"word": word, "text": text, "at": tx.now.isoformat()}
        result = {APPLIED: ActionResult.APPLIED, UNCLEAR: ActionResult.UNCLEAR}.get(
            word, ActionResult.REFUSED
        )
        runs.begin_entry(tx, run.id, planned.id, {"entry": "none", "step": run.step.name})
        runs.end_entry(tx, run.id, planned.id, {"result": result.value, "answer": answer})
        done = ActionDone(
            id=planned.id,
            summary=action.summary,
            result=result,
            text=text,
            undo=action.undo,
            reversible=action.reversible,
            at=tx.now,
        )
        tell(tx, Topic.ACTION, done, incident_id=run.incident_id, once=planned.id, run_id=run.id)
        return answer

    answer = await services.store.write(write)
    services.metrics.actions.labels(action.kind.value, word).inc()
    if word == APPLIED and planned.index == 0:
        counting.wrote(services, run, planned.incident)
    services.deliver_nudge()
    if word == APPLIED:
        await _leave_event(services, planned, "Remediated", text)
    return answer


async def _leave_event(services: Services, planned: Planned, reason: str, text: str) -> None:
    """A Kubernetes Event on the object, for whoever looks there first. It tells; it is no part of the remediation, so
    that not being allowed to write it changes nothing (the audit trail has the same fact)."""
    note = f"{planned.action.summary}. {text} (incident {planned.run.incident_id}, run {planned.run.id})"
    event = apply.event_for(planned.action, planned.id, reason, note, services.clock.now())
    try:
        await services.cluster.create_event(event)
    except RemediatorError as error:
        log.warning("event_not_written", object=str(planned.action.object), code=error.code)
