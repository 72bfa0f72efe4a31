"""Next step: the next step of the ladder, decided anew like the first one: fresh investigation, all gates, a reservation of its
own.

An investigation that could not read what it needs is no decision: it is repeated a few times before a person is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.domain.decision import Code, Decision, Verdict
from app.domain.errors import BadInput, RemediatorError
from app.domain.events import EventKind
from app.domain.evidence import Diagnosis
from app.domain.json import JsonValue
from app.domain.plan import Step
from app.domain.remediation import History
from app.domain.target import Target
from app.flow.deciding import decide, facts, investigate, settle
from app.flow.deciding.history import history_of, rotating
from app.flow.deciding.marks import off_limits
from app.flow.notifying.record import announce
from app.flow.people import approval_request
from app.flow.running import journal
from app.flow.running.life import Event, Found, Look, last_attempt
from app.flow.services import Services
from app.flow.undoing import holding
from app.kube.owners import Found as Named
from app.kube.read import View
from app.notify.timeline import Topic
from app.policy.facts import NOT_READ
from app.policy.match import ledger_keys
from app.store import incidents, runs, steps, work
from app.store.runs import Run
from app.store.tx import Tx

_AGAIN = 5.0  # seconds


async def look(services: Services, run: Run) -> Found | Look:
    """Decide on the step after the present one. What could not be read is no decision: it is tried again a few times, at the
    last attempt it counts as it is."""
    last = last_attempt(run)
    case = await _investigate(services, run, last=last)
    if isinstance(case, Found):
        return case
    return lambda tx, held: _decide(tx, services, held, case, last=last)


async def _investigate(services: Services, run: Run, *, last: bool) -> decide.Case | Found:
    incident, alerts, history = await services.store.read(
        lambda conn: (
            incidents.get(conn, run.incident_id),
            decide.firing_alerts(conn, run.incident_id),
            history_of(
                conn,
                run.incident_id,
                run.target_key,
                services.clock.now(),
                services.store.vault.key,
                rotating(services.catalogue, run.remediation),
            ),
        )
    )
    policy = services.policy()
    if not alerts and incident.manual is None:
        return Found(Event.ALERT_GONE, "no further step: the alert is gone")
    try:
        subject = investigate.subject_of(services, policy, incident, alerts)
        if isinstance(subject, Decision):
            return Found(Event.NO_STEP, f"no further step: {subject.text}")
        target = Target.parse(run.target_key)
        view = View(services.cluster)
        looking = replace(services, cluster=view)
        if await off_limits(view, policy.scope, target):
            seen = investigate.unread(subject, target)
        else:
            seen = await _seen(looking, subject, target, history)
        if not last:
            seen = investigate.look_again_first(seen, view.transient_errors)
        workload, actions = (
            seen.workload or seen.fault or NOT_READ,
            seen.step.actions if seen.step else (),
        )
        sight = facts.Sight(target, workload, actions, seen.read, incident=incident)
        around = await facts.outside(looking, subject.rule, sight, alerts)
    except (RemediatorError, BadInput) as error:
        return Found(Event.NO_STEP, f"no further step: {error}")
    passing = "" if last else investigate.failed_in_passing(view, seen)
    return decide.Case(policy, incident, alerts, seen, around, passing)


async def _seen(
    services: Services, subject: investigate.Subject, target: Target, history: History
) -> investigate.Seen:
    """The target looked at. A doubt whether it is the one that is meant asks anew: who approved the step before did so for that one."""
    try:
        subject, _ = await investigate.at_one(services.cluster, subject, Named(target))
    except RemediatorError as error:
        fault = f"whether the labels name the target could not be read: {error}"
        return investigate.Seen(subject, target, None, Diagnosis(fault, ()), (), fault)
    return await investigate.look_at(services, subject, target, history)


def _decide(tx: Tx, services: Services, run: Run, case: decide.Case, *, last: bool) -> Found:
    work.lock_ledger(tx)
    rule, seen, index = case.seen.subject.rule, case.seen, steps.next_index(run)
    ground = facts.Ground(case.policy, rule)
    measured = facts.facts_in(tx, services, ground, case.outside, case.incident, facts.Own(run.id))
    # Its own runs before this one, still in the same incident, must not cool it down or count as flapping.
    decision = decide.decide_on(
        case.policy, seen, replace(measured, last_action=None, results=()), case.passing
    )
    if not last and decision.blind:
        return Found(seconds=_AGAIN, failed=True, waits_for=decision.text)
    once = f"{run.id}/{index}"
    body = settle.recorded(tx, decision, seen.step)
    work.put_decision(tx, f"{run.incident_id}/{once}", run.incident_id, run.id, body)
    announce(tx, Topic.DECIDED, incident_id=run.incident_id, once=once, fact=decision)
    if decision.code is Code.BEING_DELETED:
        return Found(Event.TAKEN_OVER, decision.text, keeps=holding.DELETED)
    if decision.code is Code.NOT_FIRING:
        return Found(Event.ALERT_GONE, f"no further step: {decision.text}")
    if seen.step is None or decision.verdict not in (Verdict.ALLOW, Verdict.ASK):
        keeps: Mapping[str, JsonValue] = {
            journal.THEIRS: decision.code is Code.ACKNOWLEDGED,
            journal.SILENCED: decision.code is Code.SILENCED,
        }
        return Found(Event.NO_STEP, f"no further step: {decision.text}", keeps=keeps)
    asks = decision.verdict is Verdict.ASK
    return Found(
        Event.STEP_ASKS if asks else Event.STEP_FOUND,
        decision.text,
        also=lambda tx, run: _take(tx, run, case, seen.step, decision if asks else None),
    )


def _take(tx: Tx, run: Run, case: decide.Case, step: Step | None, asks: Decision | None) -> None:
    """The run stands on this step from now on, with a reservation of its own or, where it is asked, its request."""
    if step is None:
        raise AssertionError("a step that is taken exists")
    rule, index = case.seen.subject.rule, steps.next_index(run)
    expires_at = tx.now + rule.approval.expires if asks else None
    asked = approval_request.asked_by(asks) if asks else {}
    settings = {"rule": rule.to_json(), "policy": case.policy.version, **steps.stood_on(run), **asked}
    runs.set_step(tx, run.id, step, index, expires_at=expires_at, settings=settings)
    if not asks:
        work.reserve(tx, run.id, index, ledger_keys(rule, case.seen.target))
    held = runs.get(tx.conn, run.id)
    data = {"step": held.step.to_json(), "plan_hash": held.plan_hash, "step_index": index}
    tx.audit(EventKind.RUN_REQUESTED, incident_id=run.incident_id, run_id=run.id, data=data)
    if asks:
        approval_request.ask(tx, held, case.seen, asks.text, case.policy)
