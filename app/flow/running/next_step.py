"""Climb: the next step of the ladder, decided anew like the first one: fresh look, all gates, a reservation of its own.

A look that could not see what it needs is no decision: it is taken again a few times before a person is asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.domain.decision import Decision, Verdict
from app.domain.errors import BadInput, RemediatorError
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Target
from app.flow.deciding import decide, facts, investigate
from app.flow.deciding.history import history_of
from app.flow.notifying.record import announce, move
from app.flow.people import approval_request
from app.flow.services import Services
from app.kube.view import View
from app.notify.timeline import Topic
from app.policy.budgets import ledger_keys
from app.store import decisions, incidents, ledger, runs
from app.store.database import Tx
from app.store.runs import Run

NEXT = "next"
ASK = "ask"
NONE = "none"
LATER = "later"

_AGAIN = 5.0  # seconds


async def climb(services: Services, run_id: str, index: int, *, last: bool) -> dict[str, Any]:
    """Decide on the step after `index`: `next` or `ask` with its index and number of actions, or `none` and why.

    `later`, never at the `last` try: something could not be read, nothing was written, `seconds` says when to try again.
    """
    run = await services.store.read(lambda conn: runs.get(conn, run_id))
    if run.step_index > index:
        return _trust_level(run)
    case = await _look(services, run, last=last)
    if isinstance(case, str):
        return {"word": NONE, "text": case}
    found = case
    answer = await services.store.write(lambda tx: _settle(tx, services, run, found, last=last))
    services.deliver_nudge()
    return answer


def _trust_level(run: Run) -> dict[str, Any]:
    word = ASK if run.state is RunState.WAITING else NEXT
    return {"word": word, "index": run.step_index, "actions": len(run.step.actions)}


async def _look(services: Services, run: Run, *, last: bool) -> decide.Case | str:
    incident, alerts, history = await services.store.read(
        lambda conn: (
            incidents.get(conn, run.incident_id),
            decide.firing_alerts(conn, run.incident_id),
            history_of(conn, run.incident_id, run.target_key, services.clock.now()),
        )
    )
    policy = services.policy()
    if not alerts and incident.manual is None:
        return "the alert is gone"
    try:
        subject = investigate.subject_of(services, policy, incident, alerts)
        if isinstance(subject, Decision):
            return subject.text
        target = Target.parse(run.target_key)
        view = View(services.cluster)
        looking = replace(services, cluster=view)
        seen = await investigate.look_at(looking, subject, target, history)
        if not last:
            seen = investigate.look_again_first(seen, view.transient_errors)
        around = await facts.outside(looking, subject.rule, target, seen.workload or seen.fault, list(alerts))
    except (RemediatorError, BadInput) as error:
        return str(error)
    return decide.Case(policy, incident, alerts, seen, around)


def _settle(tx: Tx, services: Services, run: Run, case: decide.Case, *, last: bool) -> dict[str, Any]:
    ledger.lock(tx)
    rule, seen, index = case.seen.subject.rule, case.seen, run.step_index + 1
    ground = facts.Ground(case.policy, rule)
    measured = facts.facts_in(tx, services, ground, case.outside, case.incident, facts.Own(run.id))
    # Its own runs before this one, still in the same incident, must not cool it down or count as flapping.
    decision = decide.decide_on(case.policy, seen, replace(measured, last_action=None, results=()))
    if not last and decide.blind(decision):
        return {"word": LATER, "text": decision.text, "seconds": _AGAIN}
    once = f"{run.id}/{index}"
    body = {**decision.to_json(), "plan": seen.step.to_json() if seen.step else None}
    decisions.put(tx, f"{run.incident_id}/{once}", run.incident_id, run.id, body)
    announce(tx, Topic.DECIDED, incident_id=run.incident_id, once=once, fact=decision)
    if seen.step is None or decision.verdict not in (Verdict.ALLOW, Verdict.ASK):
        return {"word": NONE, "text": decision.text}
    asks = decision.verdict is Verdict.ASK
    expires_at = tx.now + rule.approval.expires if asks else None
    runs.set_step(tx, run.id, seen.step, index, expires_at=expires_at)
    ledger.reserve(tx, run.id, index, ledger_keys(rule, seen.target))
    tx.audit(
        EventKind.RUN_REQUESTED,
        incident_id=run.incident_id,
        run_id=run.id,
        data={"step": seen.step.to_json(), "plan_hash": seen.step.hash, "step_index": index},
    )
    runs.move(tx, run.id, RunState.WAITING if asks else RunState.ACTING)
    if asks:
        approval_request.ask(tx, runs.get(tx.conn, run.id), seen, decision.text)
    state = IncidentState.WAITING if asks else IncidentState.ACTING
    move(tx, case.incident, state, once=once, reason=decision.text)
    return {"word": ASK if asks else NEXT, "index": index, "actions": len(seen.step.actions)}
