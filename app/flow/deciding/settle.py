"""Settle: everything that follows from a decision, in one transaction: counts re-read under the ledger's lock, gates, decision
with its trace, reservation, requested run, messages, audit.

Called by `decide` at the end of an incident's way and, for the words it shares with the next step, by the runs. Reads nothing
outside of the store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zlib import crc32

from app.domain.decision import FOLLOWS, OFF_LIMITS, Calls, Code, Decision, Mode, Verdict, calling
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Step
from app.flow.calling import attended, handing, severity
from app.flow.deciding import beside, facts, history, investigate
from app.flow.notifying import merging, record
from app.flow.notifying.record import announce, call, escalate, move, tell
from app.flow.people import approval_request
from app.flow.services import Services
from app.notify.timeline import Escalation, Topic, fact_to_json
from app.notify.wording import RESOLVED_AFTER, RESOLVED_ALONE
from app.policy import decide as policy_decide
from app.policy.facts import Beside, Facts, may_act
from app.policy.match import ledger_keys
from app.policy.model import Policy, Rule
from app.store import escalations, incidents, people, runs, work
from app.store import facts as counts
from app.store.incidents import Incident, StoredAlert
from app.store.runs import NewRun, run_id_for
from app.store.tx import Tx

_SOON, _PATIENCE = timedelta(seconds=5), timedelta(seconds=60)  # of an order that nobody could look at
_BLIND = (timedelta(seconds=30), timedelta(minutes=5))
_BLIND_FOR = timedelta(minutes=10)  # then a person hears of it
_RESTS = (timedelta(minutes=5), timedelta(hours=1))
"""How soon and how late an incident is looked at again when a fact was unknown, and after a refusal that no clock lifts (opt-out,
owner, blocking alert, blast radius). In between, after as long as the same answer has stood: twice as late each time."""
WATCHED = timedelta(hours=6)
"""How often it is looked whether the alert of an incident is still there that waits for nothing else: one that is only observed,
or a person's."""
_UNASKED = timedelta(seconds=45)
"""So long what failed in passing is looked at again before people are asked."""
_SPREAD = 7_200  # seconds over which such looks are spread
MAX_RUNS = 5
"""Runs of one incident; then a person decides. A fix that has to be begun again and again is none."""
MAX_WITHDRAWN = 20
"""Questions about one incident that were withdrawn before anybody answered; then a person decides as well. What changes all the time is theirs."""


@dataclass(frozen=True, slots=True)
class Case:
    """One incident on the table: policy, its alerts, and what was seen of its target. `passing`: a read of this look that failed in passing."""

    policy: Policy
    incident: Incident
    alerts: tuple[StoredAlert, ...]
    seen: investigate.Seen
    outside: facts.Outside
    passing: str = ""


def _claim_target(tx: Tx, incident: Incident, target_key: str) -> bool:
    """Put the target on the incident, or merge it into the open incident that has it already (True)."""
    other = incidents.open_for_target(tx.conn, target_key, incident.alertname, incident.id)
    if other is None or incident.manual is not None:
        incidents.set_target(tx, incident.id, target_key)
        return False
    merging.merge(tx, incident.id, other.id)
    announce(tx, Topic.MOVED, incident_id=incident.id, once="merged")
    return True


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision and the run it requested, if any."""

    decision: Decision
    run_id: str | None


def settle(tx: Tx, services: Services, case: Case) -> Settled | None:
    """Decide and write down everything that follows; None when the incident was overtaken meanwhile, or merged into the open one that has
    its target already."""
    work.lock_ledger(tx)
    if record.overtaken(tx, case.incident):
        return None
    target_key = case.outside.target.key
    if target_key != case.incident.target_key and _claim_target(tx, case.incident, target_key):
        return None
    incident = incidents.get(tx.conn, case.incident.id)
    case = _asking(tx, case, incident)
    rule, seen = case.seen.subject.rule, case.seen
    ground = facts.Ground(case.policy, rule)
    measured = facts.facts_in(tx, services, ground, case.outside, incident, facts.Own())
    began = incident.opened_at
    if seen.step is None:
        began = beside.began(tx.conn, incident)
        measured = beside.without_step(tx.conn, ground, incident, measured, case.outside.changed_at, began)
    last = work.latest_decision(tx.conn, incident.id)
    stands = last is not None and last.body.get("code") == Code.UNKNOWN_FACT.value
    passing = case.passing if last is None or not stands or tx.now - last.at < _UNASKED else ""
    decision = decide_on(case.policy, seen, measured, passing)
    if seen.step is None:
        decision = handing.not_yet(decision, incident, seen, tx.now, began)
    if found := _first(tx, ground, incident, measured, decision):
        measured = replace(measured, beside=found)
        decision = decide_on(case.policy, seen, measured, passing)
    if decision.code not in OFF_LIMITS and not any(gate.code in OFF_LIMITS for gate in decision.gates):
        history.begin_trust(tx, rule, incident, case.outside.target)
    number = counts.count_of(tx.conn, incident.id) + 1
    acts = decision.verdict in (Verdict.ALLOW, Verdict.ASK) and seen.step is not None and not measured.dry_run
    too_many = _too_many(tx, incident, number - 1) if acts else ""
    if acts and seen.step is not None and not too_many:
        return Settled(decision, _request(tx, case, incident, decision, seen.step, number))
    if too_many:
        decision = replace(decision, verdict=Verdict.DENY, code=Code.PERSON_NEEDED, text=too_many)
    if joins := bool(joined := severity.called_beside(tx.conn, case.policy, incident, rule, target_key)):
        work.wake_one(tx, joined)  # its alert may have gone without a word, and nobody would look for hours
    acts = may_act(rule, case.policy, services.ceiling)
    meantime = acts and seen.step is not None and not joins
    why = _in_the_meantime(tx, incident, rule, decision, measured) if meantime else None
    joins = joins or bool(measured.theirs)
    calls = not joins and (why is not None or handing.calls_a_person(decision, seen))
    if calls and (lately := beside.called_lately(tx.conn, incident, tx.now)):
        decision, why, joins = handing.put_off(decision, lately), None, True
    settle_without(tx, incident, decision, seen, passing=case.passing, joins=joins)
    call_when_blind(tx, incident, decision, acts and not measured.theirs)
    if why is not None:
        call(tx, incident.id, why, once="after a failure")
    return Settled(decision, None)


def _asking(tx: Tx, case: Case, it: Incident) -> Case:
    """The case, whose rule asks where people were asked about its alert before."""
    new = not (counts.count_of(tx.conn, it.id) or people.another_on(tx.conn, it.target_key, it.id))
    return case if new else replace(case, seen=approval_request.still_asked(tx, it, case.seen))


def _first(
    tx: Tx, ground: facts.Ground, incident: Incident, measured: Facts, decision: Decision
) -> Beside | None:
    """What is under way beside it that is waited for before people are asked, or one is called."""
    if decision.verdict is Verdict.ASK:
        return beside.before_asking(tx.conn, ground, incident, measured)
    if decision.verdict is Verdict.DENY and FOLLOWS[decision.code][1] is Calls.A_PERSON:
        return beside.before_calling(tx.conn, incident, measured)
    return None


def decide_on(policy: Policy, seen: investigate.Seen, measured: Facts, passing: str = "") -> Decision:
    """The policy's word on what was seen. Nobody is asked for want of what failed in `passing`: that is looked at again first."""
    rule = seen.subject.rule
    unknown = Decision(
        Verdict.DENY, Code.UNKNOWN_FACT, seen.fault, rule.name, rule.remediation, "", (), policy.version
    )
    if seen.fault:
        return unknown
    if seen.step is None:
        word = policy_decide.decide_without_step(policy, rule, seen.ladder, measured, seen.diagnosis.rest)
        return seen.without_workload(word)
    word = policy_decide.decide(policy, rule, seen.step, measured)
    asks = word.verdict is Verdict.ASK and bool(passing)
    return replace(unknown, text=f"{investigate.AGAIN}: {passing}") if asks else word


def _too_many(tx: Tx, incident: Incident, number: int) -> str:
    """Why no further run is begun for the incident after so many; empty where one may be. A question that was withdrawn is none."""
    asked = counts.only_asked(tx.conn, incident.id)
    if number - asked >= MAX_RUNS:
        return f"{MAX_RUNS} runs were begun for this incident and it still fires"
    if asked >= MAX_WITHDRAWN:
        return f"{MAX_WITHDRAWN} questions about it were put and withdrawn before anybody answered, and it still fires"
    return ""


def _request(tx: Tx, case: Case, incident: Incident, decision: Decision, step: Step, number: int) -> str:
    """Request the run, with its messages. What acts reserves its budget here; what is asked about does when it is approved."""
    seen, rule = case.seen, case.seen.subject.rule
    asks = decision.verdict is Verdict.ASK
    asked = approval_request.asked_by(decision) if asks else {}
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
            settings={"rule": rule.to_json(), "policy": case.policy.version, **asked},
            params=seen.subject.params.model_dump(mode="json"),
            expires_at=approval_request.stands_until(tx, incident, seen.target.key, rule) if asks else None,
        ),
    )
    if asks:
        runs.move(tx, run.id, RunState.WAITING)
    if not asks:
        work.reserve(tx, run.id, 0, ledger_keys(rule, seen.target))
    _tell_decision(tx, incident, decision, seen, once=run.id)
    if asks:
        approval_request.ask(tx, run, seen, decision.text, case.policy)
    state = IncidentState.WAITING if asks else IncidentState.ACTING
    move(tx, incident, state, once=run.id, reason=decision.text)
    incidents.schedule(tx, incident.id, None)
    return run.id


def settle_without(
    tx: Tx,
    incident: Incident,
    decision: Decision,
    seen: investigate.Seen | None,
    *,
    passing: str = "",
    joins: bool = False,
) -> None:
    """A decision that starts nothing: observed, refused or handed to a person. Told only when it says something new. What is in the way calls
    nobody as long as another incident's call is for it too, or earlier ones of its alert are, or somebody has it (`joins`)."""
    last = work.latest_decision(tx.conn, incident.id)
    new = last is None or not decision.repeats(last.body)
    number = len(work.decisions_of(tx.conn, incident.id)) + new
    if new:
        _tell_decision(tx, incident, decision, seen, once=str(number))
    if incident.manual is not None:
        if _failed_in_passing(tx, incident, decision, seen, passing):
            incidents.schedule(tx, incident.id, tx.now + _SOON)
        else:
            _close_order(tx, incident, decision, seen)
        return
    record.holder_in_force(tx, incident.id)  # also where no gate was asked
    observe = decision.verdict in (Verdict.OBSERVE, Verdict.ALLOW)
    if FOLLOWS[decision.code][1] is Calls.A_PERSON and not observe:
        escalate(tx, incident, handing.handed_over(decision, seen), once=str(number))
        incidents.schedule(tx, incident.id, watched(tx.now, incident.id))
        return
    uncalled = new or not escalations.of_incident(tx.conn, incident.id)
    if uncalled and not joins and handing.calls_a_person(decision, seen):
        call(tx, incident.id, handing.obstacle(decision, seen), once=str(number))
    state = IncidentState.OBSERVED if observe else IncidentState.REFUSED
    move(tx, incident, state, once=str(number), reason=decision.text)
    again = decision.retry_at
    if again is None and (not observe or decision.code is Code.NOTHING_TO_DO):
        again = tx.now + _rest(decision, tx.now - last.at if last is not None and not new else timedelta())
    incidents.schedule(tx, incident.id, again or watched(tx.now, incident.id))


def call_when_blind(tx: Tx, incident: Incident, decision: Decision, acts: bool) -> None:
    """Nobody could look for ten minutes, also over several incidents of an alert that comes and goes, and the rule would act: a person is called, one for all that stand for the same reason. It is
    looked at again all the same, and goes on once something can be read."""
    if not acts or decision.silenced or incident.manual is not None or decision.code is not Code.UNKNOWN_FACT:
        return
    last = work.latest_decision(tx.conn, incident.id)
    if last is None or record.theirs(tx, incident.id):
        return
    left = _BLIND_FOR - (tx.now - last.at)
    if left > timedelta() and beside.was_blind(tx.conn, incident, left) < left:
        return
    if beside.called_lately(tx.conn, incident, tx.now):
        return
    why = Escalation(
        reason=f"it cannot be decided whether to act, since something that has to be known cannot be read: {decision.text}",
        look_at=("remediator doctor",),
    )
    if not escalations.live_for(tx.conn, fact_to_json(Topic.ESCALATED, why)):
        call(tx, incident.id, why, once=f"blind/{last.id}")


_LATER = calling(Calls.AFTER_A_FAILURE) | calling(Calls.COMES_BACK)
"""Refusals that time lifts: nothing but a person does anything until then."""


def _in_the_meantime(
    tx: Tx, incident: Incident, rule: Rule, decision: Decision, measured: Facts
) -> Escalation | None:
    """No step may be taken for a while, the alert fires, and what was done before did not help, or not for good: why a person is called at once,
    one for each incident. It is decided again all the same when the refusal ends."""
    if incident.manual is not None:
        return None
    held = decision.code is Code.TARGET_BUSY and beside.kept_away(tx.conn, incident, measured)
    before = held or (history.not_for_good(rule, decision, measured) if decision.code in _LATER else "")
    observed = any(gate.verdict is Verdict.OBSERVE for gate in decision.gates)
    if not before or observed or measured.theirs:
        return None
    return Escalation(reason=f"{before}, the alert fires, and nothing may be done now: {decision.text}")


def failed(tx: Tx, services: Services, incident_id: str, fault: str, again: datetime) -> None:
    """Deciding failed: decided again then, and with a `fault` of ours said so, once. A person is called when that has stood for ten
    minutes and any rule may act: which one it is was not found out."""
    incident, policy = incidents.get(tx.conn, incident_id), services.policy()
    handed = incident.state in (IncidentState.ESCALATED, IncidentState.STUCK)
    undecided = counts.live_of(tx.conn, incident_id) is None and not (incident.state.closed or handed)
    if fault and undecided and incident.manual is None:
        text = f"deciding failed: {fault}"
        word = Decision(Verdict.DENY, Code.UNKNOWN_FACT, text, "", "", "", (), policy.version)
        settle_without(tx, incident, word, None)
        acts = any(may_act(rule, policy, services.ceiling) for rule in policy.rules)
        call_when_blind(tx, incident, word, acts)
    incidents.schedule(tx, incident_id, again)


def _failed_in_passing(
    tx: Tx, incident: Incident, decision: Decision, seen: investigate.Seen | None, passing: str
) -> bool:
    """Whether a fresh order is looked at again: nobody could look, or a read failed that may well work in a moment, and a gate wanted to know
    what it was for, or no step was found for lack of it."""
    unseen = decision.code is Code.UNKNOWN_FACT and (seen is None or bool(seen.fault))
    unread = bool(passing) and decision.blind
    away = seen is not None and seen.step is None and any(f.away for f in seen.diagnosis.findings)
    return (unseen or unread or away) and tx.now - incident.opened_at < _PATIENCE


def watched(now: datetime, incident_id: str) -> datetime:
    """When it is looked whether the incident's alert is still there; spread, because a storm began many at once."""
    return now + WATCHED + timedelta(seconds=crc32(incident_id.encode()) % _SPREAD)


def _rest(decision: Decision, stood: timedelta) -> timedelta:
    """Until it is looked at again, when the same answer has `stood` for so long; what may lift a refusal wakes it at once."""
    soonest, latest = _BLIND if decision.blind else _RESTS
    return min(max(stood, soonest), latest)


def _close_order(tx: Tx, incident: Incident, decision: Decision, seen: investigate.Seen | None) -> None:
    """A manual order that starts nothing still gets its run, so that whoever ordered can read why. One that was abandoned
    and may not begin again has its run already, and the message says why not."""
    if (order := incident.manual) is None:
        return
    away = seen is not None and any(f.away for f in seen.diagnosis.findings)
    if order.schedule and (decision.blind or away):
        # Nobody waits for an answer, and nobody refused it: who would hear that it was not done?
        reason = f"what the schedule of rule {order.schedule} orders is not done: {decision.text}"
        escalate(tx, incident, Escalation(reason, look_at=("remediator doctor",)), once="order")
    else:
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
    if seen is not None and not seen.fault and seen.read:
        tell(tx, Topic.EVIDENCE, seen.diagnosis, incident_id=incident.id, once=once)
    ladder: list[JsonValue] = (
        [{"name": r.name, "why": r.why, "applies": r.applies} for r in seen.ladder] if seen else []
    )
    body = {**recorded(tx, decision, seen.step if seen else None), "ladder": ladder}
    work.put_decision(tx, f"{incident.id}/{once}", incident.id, None, body)
    announce(tx, Topic.DECIDED, incident_id=incident.id, once=once, fact=decision)


def recorded(tx: Tx, decision: Decision, step: Step | None) -> dict[str, JsonValue]:
    """The decision as it is kept, with the step that it is about, sealed."""
    return {**decision.to_json(), "plan": step.seal(tx.vault.key).to_json() if step else None}


def resolved(tx: Tx, incident: Incident) -> None:
    """Close an incident whose alerts are gone."""
    held = incidents.hold(tx, incident.id)
    if not (
        held.state.closed or attended.stays_open(tx.conn, held) or incidents.firing_count(tx.conn, held.id)
    ):
        reason = history.source_gone(tx.conn, incident.id) or _with_its_alert(tx, held)
        move(tx, held, IncidentState.RESOLVED, once="alert", reason=reason)
    incidents.schedule(tx, incident.id, None)


def _with_its_alert(tx: Tx, incident: Incident) -> str:
    if counts.written_for(tx.conn, incident.id):
        return RESOLVED_AFTER
    return beside.done_beside(tx.conn, incident) or RESOLVED_ALONE
