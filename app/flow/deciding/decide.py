"""Decide: one due incident in, one decision out, with everything that follows from it in one transaction.

Reads first (look, outside facts), then one transaction: counts re-read under the ledger's lock, gates, decision with its
trace, reservation, requested run, messages, audit. Called by the decide loop and, for the next step, by `next_step`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from app.domain.alert import AlertStatus
from app.domain.decision import Code, Decision, Mode, Verdict
from app.domain.errors import BadInput, TryLater
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Step
from app.flow import counting
from app.flow.deciding import facts, investigate, trust
from app.flow.deciding.enrich import enrich
from app.flow.deciding.history import history_of
from app.flow.ids import WAKE
from app.flow.notifying.record import announce, escalate, move, tell
from app.flow.people import approval_request
from app.flow.services import Services
from app.kube import read
from app.kube.view import View
from app.notify.timeline import Escalation, Topic
from app.policy import decide as policy_decide
from app.policy.budgets import ledger_keys
from app.policy.facts import Facts
from app.policy.model import Policy
from app.store import decisions, driving, incidents, ledger, runs
from app.store import facts as counts
from app.store.database import Tx
from app.store.incidents import Incident, StoredAlert
from app.store.runs import NewRun, run_id_for

_AGAIN = timedelta(seconds=30)  # after something outside could not be read
_LATER = timedelta(
    minutes=5
)  # after a refusal that no clock lifts: opt-out, owner, blocking alert, blast radius
MAX_RUNS = 5
"""Runs of one incident; then a person decides. A fix that has to be begun again and again is none."""
RESOLVED_ALONE = "the alert resolved without our doing"
_ALERTS = 20  # alerts of an incident that are looked at; they share alert name and target


@dataclass(frozen=True, slots=True)
class Case:
    """One incident on the table: policy, its alerts, and what was seen of its target."""

    policy: Policy
    incident: Incident
    alerts: tuple[StoredAlert, ...]
    seen: investigate.Seen
    outside: facts.Outside


async def decide_incident(services: Services, incident_id: str) -> str | None:
    """Decide one claimed incident. Returns the id of the run to start, None when there is none."""
    incident, alerts, live = await services.store.read(lambda conn: _load(conn, incident_id))
    if live is not None:
        await _leave_to(services, incident, live.id, gone=not alerts and incident.manual is None)
        return None
    if not alerts and incident.manual is None:
        await services.store.write(lambda tx: _resolved(tx, incident))
        return None
    if incident.state in (IncidentState.ESCALATED, IncidentState.STUCK) or incident.state.closed:
        await services.store.write(lambda tx: incidents.schedule(tx, incident.id, None))
        return None
    policy = services.policy()
    try:
        if await enrich(services.store, services.incident_bodies, incident_id, alerts):
            incident, alerts, live = await services.store.read(lambda conn: _load(conn, incident_id))
        found = await _find(services, policy, incident, alerts)
    except TryLater as error:
        reason = f"the target could not be looked up: {error.message}"
        found = Decision(Verdict.DENY, Code.UNKNOWN_FACT, reason, "", "", "", (), policy.version)
    except BadInput as error:
        found = Decision(Verdict.DENY, Code.NO_TARGET, str(error), "", "", "", (), policy.version)
    if isinstance(found, Decision):
        verdict = found
        await services.store.write(lambda tx: settle_without(tx, incident, verdict, None))
        counting.decided(services, incident, verdict)
        return None
    settled = await services.store.write(lambda tx: settle(tx, services, found))
    if settled is None:
        return None
    counting.decided(services, incident, settled.decision)
    return settled.run_id


def _load(conn: Connection, incident_id: str) -> tuple[Incident, tuple[StoredAlert, ...], runs.Run | None]:
    incident = incidents.get(conn, incident_id)
    return incident, firing_alerts(conn, incident_id), counts.live_of(conn, incident_id)


def firing_alerts(conn: Connection, incident_id: str) -> tuple[StoredAlert, ...]:
    """Alerts of the incident that fire as far as we were told, a bounded number."""
    stored = incidents.alerts(conn, incident_id, _ALERTS)
    return tuple(a for a in stored if a.status is AlertStatus.FIRING)


async def _leave_to(services: Services, incident: Incident, run_id: str, *, gone: bool) -> None:
    """A live run looks after itself; only one that waits for a person has to hear that the alert is gone."""

    def write(tx: Tx) -> str:
        incidents.schedule(tx, incident.id, None)
        if gone:
            driving.wake(tx, run_id)
        return runs.get(tx.conn, run_id).workflow

    workflow = await services.store.write(write)
    if gone:
        await services.engine().signal(workflow, WAKE)


def _resolved(tx: Tx, incident: Incident) -> None:
    held = incidents.hold(tx, incident.id)
    if not held.state.closed and incidents.firing_count(tx.conn, incident.id) == 0:
        move(tx, held, IncidentState.RESOLVED, once="alert", reason=RESOLVED_ALONE)
    incidents.schedule(tx, incident.id, None)


async def _find(
    services: Services, policy: Policy, incident: Incident, alerts: Sequence[StoredAlert]
) -> Case | Decision:
    subject = investigate.subject_of(services, policy, incident, alerts)
    if isinstance(subject, Decision):
        return subject
    view = View(services.cluster)
    services = replace(services, cluster=view)
    target = await investigate.find_target(services, policy, subject)
    if isinstance(target, Decision):
        return target
    history, _, _ = await asyncio.gather(
        services.store.read(
            lambda conn: history_of(
                conn, incident.id, target.key, services.clock.now(), services.store.vault.key
            )
        ),
        read.ahead(view, target),
        read.pods_ahead(view, target),
    )
    seen = await investigate.look_at(services, subject, target, history)
    seen = investigate.look_again_first(
        seen, view.transient_errors, services.clock.now() - incident.opened_at
    )
    around = await facts.outside(services, subject.rule, target, seen.workload or seen.fault, list(alerts))
    return Case(policy, incident, tuple(alerts), seen, around)


def _claim_target(tx: Tx, incident: Incident, target_key: str) -> bool:
    """Put the target on the incident, or merge it into the open incident that has it already (True)."""
    other = incidents.open_for_target(tx.conn, target_key, incident.alertname, incident.id)
    if other is None or incident.manual is not None:
        incidents.set_target(tx, incident.id, target_key)
        return False
    incidents.merge(tx, incident.id, other.id)
    announce(tx, Topic.MOVED, incident_id=incident.id, once="merged")
    return True


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision and the run it requested, if any."""

    decision: Decision
    run_id: str | None


def settle(tx: Tx, services: Services, case: Case) -> Settled | None:
    """Decide and write down everything that follows; None when a run was requested meanwhile, or when the incident
    was merged into the open one that has its target already."""
    ledger.lock(tx)
    target_key = case.outside.target.key
    if target_key != case.incident.target_key and _claim_target(tx, case.incident, target_key):
        return None
    incident = incidents.get(tx.conn, case.incident.id)
    if counts.live_of(tx.conn, incident.id) is not None:
        return None
    rule, seen = case.seen.subject.rule, case.seen
    ground = facts.Ground(case.policy, rule)
    measured = facts.facts_in(tx, services, ground, case.outside, incident, facts.Own())
    trust.begin(tx, rule, incident, case.outside.target)
    decision = decide_on(case.policy, seen, measured)
    number = counts.count_of(tx.conn, incident.id) + 1
    acts = decision.verdict in (Verdict.ALLOW, Verdict.ASK) and seen.step is not None and not measured.dry_run
    if acts and seen.step is not None and number <= MAX_RUNS:
        return Settled(decision, _request(tx, case, incident, decision, seen.step, number))
    if acts:
        decision = _too_many(decision)
    settle_without(tx, incident, decision, seen)
    return Settled(decision, None)


def decide_on(policy: Policy, seen: investigate.Seen, measured: Facts) -> Decision:
    """The policy's word on what was seen."""
    rule = seen.subject.rule
    if seen.fault:
        return Decision(
            Verdict.DENY, Code.UNKNOWN_FACT, seen.fault, rule.name, rule.remediation, "", (), policy.version
        )
    if seen.step is None:
        return policy_decide.decide_without_step(policy, rule, seen.ladder, measured)
    return policy_decide.decide(policy, rule, seen.step, measured)


def _too_many(decision: Decision) -> Decision:
    text = f"{MAX_RUNS} runs were begun for this incident and it still fires"
    return Decision(
        Verdict.DENY,
        Code.PERSON_NEEDED,
        text,
        decision.rule,
        decision.remediation,
        decision.step,
        decision.gates,
        decision.policy_version,
    )


def _request(tx: Tx, case: Case, incident: Incident, decision: Decision, step: Step, number: int) -> str:
    """Reserve the budget and request the run, with its messages."""
    seen, rule = case.seen, case.seen.subject.rule
    asks = decision.verdict is Verdict.ASK
    run = runs.request(
        tx,
        NewRun(
            id=run_id_for(incident.id, number),
            incident_id=incident.id,
            rule=rule.name,
            remediation=rule.remediation,
            mode=Mode.APPROVE if asks else Mode.AUTO,
            target_key=seen.target.key,
            step=step,
            step_index=0,
            settings={"rule": rule.to_json(), "policy": case.policy.version},
            params=seen.subject.params.model_dump(mode="json"),
            expires_at=tx.now + rule.approval.expires if asks else None,
        ),
    )
    if asks:
        runs.move(tx, run.id, RunState.WAITING)
    ledger.reserve(tx, run.id, 0, ledger_keys(rule, seen.target))
    _tell_decision(tx, incident, decision, seen, once=run.id)
    if asks:
        approval_request.ask(tx, run, seen, decision.text)
    state = IncidentState.WAITING if asks else IncidentState.ACTING
    move(tx, incident, state, once=run.id, reason=decision.text)
    incidents.schedule(tx, incident.id, None)
    return run.id


def settle_without(tx: Tx, incident: Incident, decision: Decision, seen: investigate.Seen | None) -> None:
    """A decision that starts nothing: observed, refused, or handed to a person. Told only when it says something new."""
    last = decisions.latest(tx.conn, incident.id)
    new = last is None or dedup_key(Decision.from_json(last.body)) != dedup_key(decision)
    number = len(decisions.for_incident(tx.conn, incident.id)) + 1 if new else 0
    if new:
        _tell_decision(tx, incident, decision, seen, once=str(number))
    if incident.manual is not None:
        _close_order(tx, incident, decision, seen)
        return
    if decision.code in (Code.PERSON_NEEDED, Code.NO_STEP):
        escalate(tx, incident, _handed_over(decision, seen), once=str(number))
        incidents.schedule(tx, incident.id, None)
        return
    observe = decision.verdict in (Verdict.OBSERVE, Verdict.ALLOW)
    state = IncidentState.OBSERVED if observe else IncidentState.REFUSED
    move(tx, incident, state, once=str(number), reason=decision.text)
    again = decision.retry_at
    if again is None and not observe:
        again = tx.now + (_AGAIN if blind(decision) else _LATER)
    incidents.schedule(tx, incident.id, again)


def _close_order(tx: Tx, incident: Incident, decision: Decision, seen: investigate.Seen | None) -> None:
    """A manual order that starts nothing still gets its run, so that whoever ordered can read why. One that was abandoned
    and may not begin again has its run already, and the message says why not."""
    order = incident.manual
    if order is None:
        return
    move(tx, incident, IncidentState.RESOLVED, once="order", reason=decision.text)
    incidents.schedule(tx, incident.id, None)
    if counts.count_of(tx.conn, incident.id) > 0:
        return
    step = (seen.step if seen else None) or Step("", decision.text)
    run_id = run_id_for(incident.id, 1)
    runs.request(
        tx,
        NewRun(
            id=run_id,
            incident_id=incident.id,
            rule=decision.rule,
            remediation=order.remediation,
            mode=Mode.OBSERVE,
            target_key=f"{incident.target_key or order.target}#{run_id}",
            step=step,
            step_index=0,
            settings={},
            params=dict(order.params),
            dry_run=order.dry_run,
        ),
    )
    runs.move(tx, run_id, RunState.ABANDONED, result=decision.text)


def _tell_decision(
    tx: Tx, incident: Incident, decision: Decision, seen: investigate.Seen | None, *, once: str
) -> None:
    if incident.decided_at is None:
        announce(tx, Topic.FIRED, incident_id=incident.id, once="1")
    if seen is not None and not seen.fault:
        tell(tx, Topic.EVIDENCE, seen.diagnosis, incident_id=incident.id, once=once)
    plan = seen.step.seal(tx.vault.key).to_json() if seen is not None and seen.step is not None else None
    ladder: list[JsonValue] = (
        [{"name": r.name, "why": r.why, "applies": r.applies} for r in seen.ladder] if seen else []
    )
    body: dict[str, JsonValue] = {**decision.to_json(), "plan": plan, "ladder": ladder}
    decisions.put(tx, f"{incident.id}/{once}", incident.id, None, body)
    announce(tx, Topic.DECIDED, incident_id=incident.id, once=once, fact=decision)


def blind(decision: Decision) -> bool:
    """Something that the decision needs could not be read."""
    return decision.code is Code.UNKNOWN_FACT or any(g.code is Code.UNKNOWN_FACT for g in decision.gates)


DEDUP_KEY = ("verdict", "code", "rule", "step")


def dedup_key(decision: Decision) -> tuple[str, str, str, str]:
    """What makes a decision another one, in the order of `GIST`, the keys of its JSON."""
    return decision.verdict.value, decision.code.value, decision.rule, decision.step


def _handed_over(decision: Decision, seen: investigate.Seen | None) -> Escalation:
    ladder = seen.ladder if seen is not None else ()
    return Escalation(
        reason=decision.text,
        tried=tuple(f"{r.name}: {r.why}" for r in ladder),
        look_at=tuple(r.advice for r in ladder if r.advice),
    )
