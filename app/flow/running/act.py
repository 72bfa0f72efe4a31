"""Act: one planned mutation, checked again right before, sent once, and settled whatever happens to the process.

Owns the order of an action: recorded before? -> already in place? -> object as planned, and nobody deletes it? -> dry run -> policy again ->
intent on disk -> holds once more -> one write -> outcome on disk. Every path through it may be taken twice. Never says what follows from an outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection

from app.domain.actuator import CheckResult, Partly, Progress
from app.domain.decision import OFF_LIMITS, Code, Verdict
from app.domain.errors import ClusterRefused, Held, OutcomeUnclear, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.outcome import ActionResult
from app.domain.target import Target
from app.domain.units import duration
from app.flow.actuators import partly
from app.flow.deciding import facts
from app.flow.deciding.marks import leaving
from app.flow.notifying import record
from app.flow.notifying.record import announce, tell
from app.flow.people import approve
from app.flow.running.life import MAX_ATTEMPTS, Event, Found
from app.flow.running.planned import (
    Against,
    Planned,
    as_read_back,
    came_since,
    in_force_for,
    load_with_entry,
    or_gone,
    sized_by_others,
    theirs_by_now,
    theirs_or,
    written_by_a_lost_copy,
)
from app.flow.running.progress import TOLD_EVERY, Outcome, SoFar
from app.flow.services import Services
from app.flow.undoing import foreseen, held, holding
from app.kube import read
from app.kube.event import event_for
from app.kube.hands import Hand, left_by
from app.kube.read import View
from app.notify.timeline import ActionDone, Topic
from app.policy import decide as policy_decide
from app.policy.holds import Hold
from app.policy.match import ledger_keys
from app.policy.model import Rule
from app.store import approvals, runs, work
from app.store import facts as counts
from app.store.runs import Run
from app.store.tx import Tx

log = structlog.get_logger(__name__)

_AGAIN = "checked again right before the write"


async def look(services: Services, run: Run) -> Found:
    """Carry out the present action of the run's step, once.

    `applied`: in place. `abandoned`: the check right before says no, nothing was sent. `refused`: the API server said no. What a long
    action had done before one of these two stays, and is told. Without an event nothing was sent, or it is not known whether it was: it is
    tried again, and at the last attempt it is `refused` or `unclear`.
    """
    index = int(run.life.get("action", 0))
    if index >= len(run.step.actions):
        return Found(Event.ABANDONED, "the step has nothing to do")
    vault = services.store.vault
    planned, recorded = await services.store.read(lambda conn: load_with_entry(conn, vault, run, index))
    if recorded is not None and recorded.outcome is not None:
        return await _as_recorded(services, planned, recorded.outcome["answer"])
    if planned.fault and recorded:
        return _unclear(services, planned, planned.fault)
    if planned.fault:
        return await _settle(services, planned, Event.REFUSED, planned.fault)
    try:
        happened = await _happened(services, planned) if recorded else ""
    except RemediatorError as error:
        # It may have been sent before, so that "nothing was sent" would be a guess.
        return _unclear(services, planned, f"it may be in place: {error}")
    if isinstance(happened, Progress):  # told by a look: the state of the last call stands
        return _goes_on(services, planned, replace(happened, state=planned.so_far.state))
    if happened:
        return await _settle(services, planned, Event.APPLIED, happened)
    try:
        return await _check_and_write(services, await as_read_back(services, planned))
    except TryLater as error:
        return await _later(services, planned, str(error), error.retry_after)
    except OutcomeUnclear as error:
        return _unclear(services, planned, str(error))


async def _happened(services: Services, planned: Planned) -> str | Progress:
    return await planned.actuator.in_place(services.clients, planned.action, planned.id)


async def _as_recorded(services: Services, planned: Planned, answer: Mapping[str, Any]) -> Found:
    """The process died between the outcome and the transition; it may not have told the object either."""
    event = Event(answer["event"])
    if event is Event.APPLIED:
        await _leave_event(services, planned, "Remediated", answer["text"])
    return Found(event, answer["text"])


def _goes_on(services: Services, planned: Planned, progress: Progress) -> Found:
    """It takes long: what it has reached stands in the row, and people see it now and then."""
    now, before = services.clock.now(), planned.so_far
    tell = before.told_at is None or now - before.told_at >= TOLD_EVERY
    after = SoFar(progress.text, progress.state, now if tell else before.told_at)
    once = f"progress:{planned.id}:{now.isoformat()}"

    def also(tx: Tx, run: Run) -> None:
        announce(tx, Topic.MOVED, incident_id=run.incident_id, once=once)

    return Found(
        seconds=progress.seconds,
        waits_for="its action",
        keeps=after.to_json(),
        also=also if tell else None,
    )


async def _later(services: Services, planned: Planned, text: str, seconds: float | None = None) -> Found:
    """Nothing was sent."""
    if later := held.again(services, planned.run, text, seconds, stopped=planned.brings_back):
        return later
    tried = duration(held.PATIENCE) if planned.brings_back else f"{MAX_ATTEMPTS} attempts"
    text = f"given up after {tried}: {text}"
    return await _stopped(services, planned, Outcome(Event.REFUSED, text, reached=False))


def _unclear(services: Services, planned: Planned, text: str) -> Found:
    """Sent, or not: it is read back again."""
    later = held.again(services, planned.run, text, stopped=planned.brings_back)
    return later or _ended(services, planned, Outcome(Event.UNCLEAR, text))


async def _check_and_write(services: Services, planned: Planned) -> Found:
    begun = planned.begun
    if never := await foreseen.against_step(services, planned.run, planned.index, begun=begun):
        return await _settle(services, planned, Event.ABANDONED, never)
    view = View(services.cluster)  # a new one: nothing of the diagnosis counts here
    target = planned.action.target
    found, gone, _ = await asyncio.gather(
        planned.actuator.check(replace(services.clients, cluster=view), planned.action),
        leaving(view, target),
        read.ahead(view, target),
    )
    if gone:
        return replace(await _settle(services, planned, Event.TAKEN_OVER, gone), keeps=holding.DELETED)
    if found.ref is None:
        return await _not_as_planned(services, planned, found)
    asked = planned.run.answer == approve.APPROVED and not begun
    if asked and (hand := await sized_by_others(services, planned.run.step)):
        return await _not_as_planned(services, planned, found, hand)
    planned = planned.by(found)
    if stray := await written_by_a_lost_copy(services, planned, found):
        return await _settle(services, planned, Event.ABANDONED, stray)
    # Side by side: the dry run changes nothing, and both are needed before anybody says yes.
    refusal, around = await asyncio.gather(
        _dry_run(services, planned, found), _look_around(replace(services, cluster=view), planned)
    )
    if refusal:
        return await _refused(services, planned, refusal, found)
    if view.transient_errors:  # a read that failed in passing is no word against it: all is read again
        return await _later(services, planned, f"a read failed: {view.transient_errors[0]}")
    judged = await or_gone(services, planned, await _judge_again(services, planned, around))
    if isinstance(judged, Against):
        told = Event.ABANDONED if judged.event is Event.ALERT_GONE else judged.event
        return replace(await _settle(services, planned, told, judged.text), event=judged.event)
    return await _write(services, planned, found, judged)


async def _not_as_planned(
    services: Services, planned: Planned, found: CheckResult, hand: Hand | None = None
) -> Found:
    theirs = await theirs_by_now(services, planned, found, hand)
    if theirs is None:
        return await _settle(services, planned, Event.ABANDONED, hand.text if hand else found.text)
    return replace(await _settle(services, planned, Event.TAKEN_OVER, theirs[0]), keeps=theirs[1])


async def _dry_run(services: Services, planned: Planned, found: CheckResult) -> str:
    """The dry run of the very write; why it was refused, or empty. Raises TryLater."""
    with services.tracer.span("dry run", kind=planned.action.kind.value):
        refusal = await planned.actuator.dry_run(services.clients, planned.action, planned.id, found)
    return f"the dry run was refused: {refusal}" if refusal else ""


async def _refused(services: Services, planned: Planned, text: str, found: CheckResult) -> Found:
    """The cluster said no, so that our rights are in doubt. Where somebody else changed the object since it was looked at, it is theirs: they are not called for it,
    and nobody else is. Raises TryLater when it cannot be told by now: then all is looked at again."""
    if services.rights.current is not None:
        services.rights.current.doubt()
    try:
        hand = await holding.other_hand(services, planned.action, planned.run.requested_at, found.seen)
    except ClusterRefused as error:
        text = f"{text}; whether somebody else changed it is not known: {error.message}"
        return await _settle(services, planned, Event.REFUSED, text)
    if hand is None:
        return await _settle(services, planned, Event.REFUSED, text)
    text = f"{hand.text}, right before our write, which was not sent ({text})"
    return replace(await _settle(services, planned, Event.TAKEN_OVER, text), keeps=hand.kept)


async def _look_around(services: Services, planned: Planned) -> facts.Outside:
    """Everything the gates need from outside the store, in the same fresh view as the check of the object."""
    target = planned.action.target
    try:
        workload: Any = await read.read_workload(services.cluster, target)
    except RemediatorError as error:
        workload = f"the target could not be read: {error.message}"
    # To start what the step stopped concerns what is started alone: what comes after it is judged by itself.
    ahead = (planned.action,) if planned.brings_back else planned.run.step.actions[planned.index :]
    action, incident, begun = (planned.action,), planned.incident, planned.begun
    sight = facts.Sight(target, workload, action, ahead=ahead, incident=incident, begun=begun)
    return await facts.outside(services, planned.rule, sight, planned.alerts)


async def _judge_again(
    services: Services, planned: Planned, around: facts.Outside
) -> Against | frozenset[str]:
    """All gates once more with fresh facts; the reason against it, or the holds that the gates let it pass. The intent goes
    to disk with the yes. All of it goes by one policy, that of the moment at which the store lets it decide."""
    run = planned.run
    own = facts.Own(
        run.id,
        run.step_index,
        approved_by=run.answered_by if run.answer == "approved" else "",
        brings_back=holding.brings_back(run, planned.index),
        begun=planned.begun,
    )

    def verdict(tx: Tx) -> Against | frozenset[str]:
        work.lock_ledger(tx)
        policy = services.policy()
        in_force = in_force_for(tx, services, planned, policy)
        if isinstance(in_force, Against):
            return in_force
        given = [] if planned.begun else approvals.given(tx.conn, run, "approved")
        mine = replace(own, agreed=given)
        held = counts.holds(tx.conn, run.id, run.step_index)
        if not held and (run.answer != approve.APPROVED or planned.begun):
            return Against("the budget reservation is gone")
        # The stricter of the rule in force now and the one that this was decided under, where that is another one.
        for rule in (in_force,) if in_force == planned.rule else (in_force, planned.rule):
            ground = facts.Ground(policy, rule)
            measured = facts.facts_in(tx, services, ground, around, planned.incident, mine)
            decision = policy_decide.decide(policy, rule, run.step, measured)
            yes = decision.verdict is Verdict.ALLOW
            unasked = came_since(policy, rule, planned, measured) if yes else ""
            if not yes or unasked:
                break
        data = {"action": planned.id, "verdict": decision.verdict.value, "text": decision.text}
        tx.audit(EventKind.RECHECKED, incident_id=run.incident_id, run_id=run.id, data=data)
        if unasked or not yes:
            # What its owners keep us off by now is theirs, like what they change.
            kept = not planned.begun and not OFF_LIMITS.isdisjoint(gate.code for gate in decision.gates)
            event = theirs_or(tx, run) if unasked or kept else Event.ABANDONED
            event = Event.ALERT_GONE if decision.code is Code.NOT_FIRING else event
            return Against(f"{_AGAIN}: {unasked or decision.text}", event)
        if not held or in_force.name != planned.rule.name:
            _reserve(tx, planned, in_force)
        _intend(tx, planned)
        return holding.let_pass(tx, services, run, policy, (planned.rule.name, in_force.name))

    return await services.store.write(verdict)


def _reserve(tx: Tx, planned: Planned, in_force: Rule) -> None:
    """An approved plan takes its place in the budgets with the word that lets it act, also under a rule that came meanwhile."""
    target = Target.parse(planned.run.target_key)
    keys = [*ledger_keys(planned.rule, target), *ledger_keys(in_force, target)]
    work.reserve(tx, planned.run.id, planned.run.step_index, keys)


def _intend(tx: Tx, planned: Planned) -> None:
    action = planned.told  # sealed: everybody reads this
    intent: Mapping[str, Any] = {
        "entry": "action",
        "step": planned.run.step.name,
        "step_index": planned.run.step_index,
        "action_index": planned.index,
        "kind": action.kind.value,
        "object": str(action.object),
        "left": action.params.get("left", ""),
        "action": action.to_json(),
    }
    step = runs.begin_entry(tx, planned.run.id, planned.id, intent, anew=planned.as_found)
    if not step.resumed:
        tx.audit(
            EventKind.ACTION_INTENDED,
            incident_id=planned.run.incident_id,
            run_id=planned.run.id,
            data={"action": planned.id, "summary": action.summary, "plan": action.to_json()},
        )


async def _write(services: Services, planned: Planned, found: CheckResult, known: frozenset[str]) -> Found:
    """Send it; `known` are the holds that the gates let it pass. What holds it since the gates said yes stops each request that has not gone out."""
    asked = holding.holds_on_start if holding.brings_back(planned.run, planned.index) else holding.holds_on

    def holds(conn: Connection, touched: holding.Touches) -> tuple[Hold, ...]:
        return asked(conn, services, planned.run, known, touched)

    means = holding.means(services, holds, (planned.action,))
    means = replace(means, so_far=planned.so_far.state)
    try:
        with services.tracer.span("write", kind=planned.action.kind.value):
            done = await planned.actuator.apply(means, planned.action, planned.id, found)
    except Held as hold:
        return await _settle(services, planned, Event.ABANDONED, f"{_AGAIN}: {hold}")
    if isinstance(done, Progress):
        return _goes_on(services, planned, done)
    if done.passing:
        return await _later(services, planned, done.text, done.retry_after)
    if done.result is ActionResult.UNCLEAR:
        return _unclear(services, planned, done.text)
    if done.result is not ActionResult.APPLIED:
        return await _refused(services, planned, done.text, found)
    left = left_by(done.generation, done.left, services.store.vault.key)
    return await _settle(services, planned, Event.APPLIED, done.text, left)


async def _settle(
    services: Services, planned: Planned, event: Event, text: str, left: Mapping[str, Any] | None = None
) -> Found:
    """The outcome, told to the object before anybody else when it was applied. `left` is what is recorded of how our write left it."""
    outcome = Outcome(event, text, how_left=left or {})
    if event is not Event.APPLIED:
        return await _stopped(services, planned, outcome)
    if planned.index == 0:
        record.count_write(services, planned.run, planned.incident)
    await services.store.write(lambda tx: _record(tx, planned, outcome))
    await _leave_event(services, planned, "Remediated", text)
    return _ended(services, planned, outcome)


async def _stopped(services: Services, planned: Planned, outcome: Outcome) -> Found:
    """It is not carried out, or not to its end: what a long action has done by then is measured, as nothing takes it back."""
    so_far, found = planned.so_far, None
    if planned.resumed:
        try:
            found = await partly(services.clients, planned.action, planned.id, so_far.state)
        except RemediatorError:
            found = Partly(so_far.text, "what it came to since is not known") if so_far.text else None
    return _ended(services, planned, replace(outcome, partly=found))


def _ended(services: Services, planned: Planned, outcome: Outcome) -> Found:
    services.metrics.actions.labels(planned.action.kind.value, outcome.event.value).inc()
    return Found(outcome.event, outcome.told, also=lambda tx, _run: _record(tx, planned, outcome))


def _record(tx: Tx, planned: Planned, outcome: Outcome) -> None:
    """Write the outcome, its audit record and its message; the first outcome stands."""
    run, action, event, some = planned.run, planned.action, outcome.event, outcome.partly
    text = outcome.told
    if some is None and event is not Event.APPLIED and planned.so_far.text:
        text = f"{text}; until then: {planned.so_far.text}"
    told = {"event": event.value, "text": text, "at": tx.now.isoformat()}
    parts = {"done": some.done, "left": some.left} if some else {}
    answer = {**told, **parts, "reached": outcome.reached, **outcome.how_left}
    entry = {"step": run.step.name, "step_index": run.step_index, "object": str(action.object)}
    runs.begin_entry(tx, run.id, planned.id, {**entry, "entry": "none", "kind": action.kind.value})
    runs.end_entry(tx, run.id, planned.id, {"result": outcome.result.value, "answer": answer})
    done = ActionDone(
        id=planned.id,
        summary=action.summary,
        result=outcome.result,
        text=text,
        undo=action.undo,
        reversible=action.reversible,
        sent=event not in (Event.ABANDONED, Event.EXPIRED, Event.TAKEN_OVER) or some is not None,
        reached=outcome.reached,
        at=tx.now,
    )
    tell(tx, Topic.ACTION, done, incident_id=run.incident_id, once=planned.id, run_id=run.id)


async def _leave_event(services: Services, planned: Planned, reason: str, text: str) -> None:
    """A Kubernetes Event on the object, for whoever looks there first. It tells; it is no part of the remediation, so
    that not being allowed to write it changes nothing (the audit trail has the same fact)."""
    note = f"{planned.action.summary}. {text} (incident {planned.run.incident_id}, run {planned.run.id})"
    event = event_for(planned.action, planned.id, reason, note, services.clock.now())
    try:
        await services.cluster.create_event(event)
    except RemediatorError as error:
        log.warning("event_not_written", object=str(planned.action.object), code=error.code)
