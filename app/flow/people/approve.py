"""Approve: how a waiting run learns its answer, and how people give it.

An answer is bound to the plan hash it was given for, counts once, and only before the question expires. A rule may want
several people: each answer is a row, the last one decides. The run itself reads the answer from the store; the engine's
signal only wakes it. Never acts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.decision import Decision, Mode
from app.domain.errors import BadInput, Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.units import counted, utc
from app.flow.deciding import history, investigate
from app.flow.deciding.decide import firing_alerts
from app.flow.ids import ASKS_BUT, WAKE
from app.flow.notifying.record import announce
from app.flow.people import approvers
from app.flow.people.approval_request import asked_by_gates, held_by, overtaken, seen_to_hold, under_a_hold
from app.flow.people.approvers import Approver
from app.flow.running.life import Event, Found, Look
from app.flow.services import Services
from app.notify.buttons import MAX_SNOOZES
from app.notify.text import joined
from app.notify.timeline import ApprovalAnswer, Topic
from app.policy.model import Policy, Rule
from app.policy.trust import Evidence
from app.store import approvals, driving, facts, incidents, runs, work
from app.store.approvals import NO_CLICK, Click, Word, because
from app.store.incidents import Incident, StoredAlert
from app.store.runs import Run
from app.store.tx import Tx

APPROVED = "approved"
REJECTED = "rejected"

SNOOZE = timedelta(hours=1)
_LONGEST = 60.0
"""Seconds between looks at what may end a request besides an answer: its alert, its rule."""
_BUSY = 5.0
"""Seconds between looks at the run that an approved plan waits for."""
_OWN_DELAY = timedelta(minutes=1)
"""How long after its end an approval still lets its plan begin: what was approved in time is begun by us within seconds."""


async def look(services: Services, run: Run) -> Look:
    """How the approval request stands: answered, expired, withdrawn because the rule was lowered or removed, or another run wrote, or without
    an object because its alert has gone. Otherwise it is looked at again in a while; an answer wakes it. An approved plan waits for another
    run at work on its target to end, and for a free place among the targets in flight, as long as its approval holds; then it is checked
    again like any plan. An approval that has expired before the plan was begun is none any more. When the rule in force gives less
    time, the question says so from then on."""
    incident, alerts = await services.store.read(
        lambda conn: (incidents.get(conn, run.incident_id), firing_alerts(conn, run.incident_id))
    )
    in_force = rule_in_force(services, run, incident, alerts)

    def found(tx: Tx, held: Run) -> Found:
        told = as_it_stands(tx, held)
        shorter = _shorter(held, in_force) if told.event in (None, Event.EXPIRED) else None
        also = shorter or under_a_hold(held, told)
        return replace(told, also=also) if also else told

    def as_it_stands(tx: Tx, held: Run) -> Found:
        approved, void = held.answer == APPROVED, overtaken(tx.conn, held)
        busy = _waits_for(tx, held, in_force) if approved else ""
        if approved and not void and not busy and not too_late(held, in_force, tx.now):
            return Found(Event.APPROVED, "approved")
        if held.answer == REJECTED:
            return Found(Event.REJECTED, f"rejected by {held.answered_by}")
        if incident.manual is None and incidents.firing_count(tx.conn, incident.id) == 0:
            return Found(Event.ALERT_GONE, "the alert resolved while the approval request stood")
        if why := void or withdrawn(held, in_force, ordered=incident.manual is not None):
            return Found(Event.WITHDRAWN, why)
        expires = _expires(held, in_force)
        left = (expires - tx.now).total_seconds() if expires else 0.0
        if left <= 0 and approved:
            return Found(Event.EXPIRED, _not_begun(held, busy))
        if left <= 0:
            return Found(Event.EXPIRED, f"nobody answered about {held.step.name} in time")
        if approved:
            return Found(seconds=min(left, _BUSY), waits_for=busy)
        hold = held_by(tx, services, held, in_force)
        return Found(seconds=min(left, _LONGEST), waits_for=f"{ASKS_BUT} {hold}" if hold else "an approval")

    return found


def _waits_for(tx: Tx, run: Run, in_force: Rule | str) -> str:
    """What an approved plan waits for, empty when it may begin: the run that is at work on its target, or on a database that its step works
    on, and a place among the targets in flight. The place is taken in the transaction that counts them, so that of several plans as
    many begin as may; one whose earlier step acted has its place."""
    work.lock_ledger(tx)
    busy = work.busy_with_plan(tx.conn, run.target_key, run.step.actions, excluding=run.id)
    if busy:
        return f"{busy}, which is at work on the target"
    rules = [Rule.from_json(run.settings["rule"]), *([in_force] if isinstance(in_force, Rule) else [])]
    places = min(rule.blast_radius.targets_in_flight for rule in rules)
    taken = facts.in_flight(tx.conn, excluding=run.target_key) if run.step_index == 0 else 0
    return f"a place: {counted(taken, 'target')} in flight, of {places} at once" if taken >= places else ""


def _shorter(run: Run, in_force: Rule | str) -> Callable[[Tx, Run], None] | None:
    """Write down that the rule in force gives the question less time, for its row and for those who read until when; None when it does
    not."""
    expires = _expires(run, in_force)
    if isinstance(in_force, str) or expires is None or expires == run.expires_at:
        return None

    def write(tx: Tx, held: Run) -> None:
        asked = Rule.from_json(held.settings["rule"])
        given = asked.approval.model_copy(update={"expires": in_force.approval.expires})
        rule = asked.model_copy(update={"approval": given}).to_json()
        facts.renew(tx, held.id, expires, {**held.settings, "rule": rule})
        data = {"until": expires.isoformat(), "step": held.step.name}
        tx.audit(EventKind.APPROVAL_SHORTENED, incident_id=held.incident_id, run_id=held.id, data=data)
        once = f"{held.id}/{held.step_index}/until/{expires.isoformat()}"
        announce(tx, Topic.MOVED, incident_id=held.incident_id, once=once)

    return write


def rule_in_force(  # the question's five parts
    services: Services,
    run: Run,
    incident: Incident,
    alerts: Sequence[StoredAlert],
    policy: Policy | None = None,
) -> Rule | str:
    """The rule for the run's incident by this policy, or the one in force, or why there is none any more. Without a firing alert it is the
    run's own: that nothing fires is the gates' business."""
    own = Rule.from_json(run.settings["rule"])
    if not alerts and incident.manual is None:
        return own
    name = own.name
    try:
        subject = investigate.subject_of(services, policy or services.policy(), incident, alerts)
    except BadInput as error:
        return f"the order is not allowed any more: {error}"
    if isinstance(subject, Decision):
        return f"the rule {name!r} is not in force any more: {subject.text}"
    if subject.rule.remediation != run.remediation:
        return f"by now the rule {subject.rule.name!r} holds for this alert, with another remediation"
    if incident.manual is not None:  # an order names its target itself
        return subject.rule.model_copy(update={"target": own.target})
    return subject.rule


def withdrawn(run: Run, in_force: Rule | str, *, ordered: bool) -> str:
    """Why the plan stands no more under the rule in force, which would make another one or ask other people; empty when it does."""
    if isinstance(in_force, str):
        return in_force
    if in_force.mode is Mode.OBSERVE:
        return f"the rule {in_force.name!r} only observes by now"
    asked = Rule.from_json(run.settings["rule"])
    if _asks_others(run, asked, in_force):
        return "who may approve has changed; it is asked again"
    return _another_plan(run, asked, in_force, ordered=ordered)


def holds_no_more(run: Run, in_force: Rule, *, begun: bool, ordered: bool) -> str:
    """Why an action of this plan is not taken under the rule in force; empty when it may be. What is begun is not another plan by then."""
    asked = Rule.from_json(run.settings["rule"])
    if run.answer == APPROVED and _asks_others(run, asked, in_force):
        return "who may approve has changed since this was approved"
    return "" if begun else _another_plan(run, asked, in_force, ordered=ordered)


def _asks_others(run: Run, asked: Rule, in_force: Rule) -> bool:
    """Whether the rule in force would ask others than the plan was put to. One that asks nobody any more lowers no question that stands:
    withdrawn, the plan would be made anew and carried out without the people it had been put to. What a gate asks about in any mode it
    asks the people of the rule in force."""
    by_itself = asked.mode is not Mode.AUTO and in_force.mode is Mode.AUTO and not asked_by_gates(run)
    return not by_itself and approvers.changed(asked.approval, in_force.approval)


def _another_plan(run: Run, asked: Rule, in_force: Rule, *, ordered: bool) -> str:
    """Why the rule in force would not make this plan: it takes other steps, for another target, or with other numbers, of orders only where
    it was `ordered`. Empty when it would."""
    if in_force.steps and run.step.name not in in_force.steps:
        return f"the rule does not take the step {run.step.name} any more"
    if asked.target != in_force.target:
        return "the rule is for another target by now"
    parts = {"params", "order_params"} if ordered else {"params"}
    was, is_now = (rule.model_dump(mode="json", include=parts) for rule in (asked, in_force))
    for part in sorted(parts, reverse=True):
        before, now = was[part], is_now[part]
        names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if names:
            return f"the rule's {part} have changed meanwhile: {', '.join(names)}"
    return ""


def _expires(run: Run, in_force: Rule | str) -> datetime | None:
    """When the request ends: what the rule in force takes from its time is gone at once, what it adds is for the next one."""
    if run.expires_at is None or isinstance(in_force, str):
        return run.expires_at
    asked = Rule.from_json(run.settings["rule"]).approval.expires
    return run.expires_at - max(asked - in_force.approval.expires, timedelta())


def too_late(run: Run, in_force: Rule | str, now: datetime) -> bool:
    """Whether the approval has ended before its plan was begun: it was given for the time until it expires, and what happened while
    nobody was at it is known to none of those who gave it."""
    expires = _expires(run, in_force)
    return run.answer == APPROVED and expires is not None and now > expires + _OWN_DELAY


def _not_begun(run: Run, busy: str) -> str:
    why = f"it waited for {busy}, until that expired" if busy else "it was not begun until that expired"
    return f"approved by {run.answered_by}, but {why}; it has to be asked anew"


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said: the word, who, and to which plan. `plan_hash` may be its first 16 digits; empty means whichever
    plan stands. `click` identifies the button click it came by. `reason` is why, in their words; empty when nobody asked. `held` is what was seen to hold the plan."""

    word: Word
    approver: Approver
    plan_hash: str = ""
    step_index: int | None = None
    click: str = ""
    reason: str = ""
    held: str = ""


async def by_token(  # the answer's six parts
    services: Services, run_id: str, word: Word, by: str, plan_hash: str = "", click: Click = NO_CLICK
) -> dict[str, Any]:
    """The answer of a token's owner to the plan that stands; one no is enough. Raises what `answer` does."""
    who = approvers.of_token(by, services.people)
    said = Said(word, who, plan_hash, click=click.key, reason=click.reason)
    return await answer(services, run_id, said)


async def answer(services: Services, run_id: str, said: Said) -> dict[str, Any]:
    """Take an answer. The result's `answer` is approved, rejected, snoozed or counted (more people have to agree), `text`
    says what follows. Raises Refused (code) when it does not count; that is audited too. Raises Repeated for a click that
    was taken before."""
    if said.word == "approved":
        said = replace(said, held=await seen_to_hold(services, run_id))

    def write(tx: Tx) -> dict[str, Any] | Refused:
        run = runs.hold(tx, run_id)
        approvals.take(tx, said.click)
        refusal = _against(tx, services, run, said)
        if refusal is None:
            return _take(tx, services, run, said)
        data = {
            "answer": said.word,
            "code": refusal.code,
            "text": refusal.message,
            "plan_hash": said.plan_hash,
            **because(said.reason),
        }
        actor = said.approver.name
        tx.audit(
            EventKind.APPROVAL_REFUSED, incident_id=run.incident_id, run_id=run_id, actor=actor, data=data
        )
        return refusal

    taken = await services.store.write(write)
    if isinstance(taken, Refused):
        raise taken
    services.metrics.approvals.labels(taken["answer"]).inc()
    if workflow := taken.pop("workflow", ""):
        await services.engine().signal(workflow, WAKE)
    services.deliver_nudge()
    return {"run": run_id, "by": said.approver.name, **taken}


def _take(tx: Tx, services: Services, run: Run, said: Said) -> dict[str, Any]:
    by = said.approver.name
    number = approvals.give(tx, run, said.word, by)
    if said.word == "snoozed":
        return _snooze(tx, run, by, number)
    wanted = Rule.from_json(run.settings["rule"]).approval.approvals
    given = [g.given_by for g in approvals.given(tx.conn, run, "approved")]
    if said.word == "approved" and len(given) < wanted:
        text = f"{len(given)} of {wanted} approvals; another person has to approve too"
        data = {"plan_hash": run.plan_hash, "step": run.step.name, "count": len(given), "of": wanted}
        _counted(tx, run, by, EventKind.APPROVAL_COUNTED, {**data, **because(said.reason)})
        _announce(tx, run, ApprovalAnswer(run.id, "approved", by, _told(text, said)), str(number))
        return {"answer": "counted", "text": text}
    final: runs.Answer = "rejected" if said.word == "rejected" else "approved"
    names = joined(given) if final == "approved" else ""
    runs.answer(tx, run.id, final, by, named=names, reason=said.reason)
    if final == "rejected":
        history.count_run(tx, services, run, Evidence.REJECTED)
        text = f"takes back the approval by {run.answered_by}; nothing was begun" if run.answer else ""
    else:
        text = _follows(tx, services, run, said, f"{len(given)} of {wanted}" if wanted > 1 else "")
    _announce(tx, run, ApprovalAnswer(run.id, final, by, _told(text, said)), "back" if run.answer else "")
    driving.wake(tx, run.id)
    return {"answer": final, "text": text, "workflow": run.workflow}


def _follows(tx: Tx, services: Services, run: Run, said: Said, given: str) -> str:
    """What an approval is followed by, where it is not begun at once: what it waits for, and what holds it, as far as that is known."""
    in_force = _in_force(tx, services, run)
    busy, hold = _waits_for(tx, run, in_force), held_by(tx, services, run, in_force)
    hold = "; ".join(part for part in (hold, said.held) if part)
    told = [f"{given} approvals"] if given else []
    waits = [f"it waits for {busy}, and is then checked again"]
    lasts = [f"nothing is done as long as that lasts, and people are asked anew after it: {hold}"]
    return "; ".join([*told, *(waits if busy else []), *(lasts if hold else [])])


def _told(text: str, said: Said) -> str:
    return "; ".join(part for part in (text, said.reason) if part)


def _snooze(tx: Tx, run: Run, by: str, number: int) -> dict[str, Any]:
    """Give people an hour more; what the plan is and whether it may be carried out is looked at after the answer anyway."""
    until = (run.expires_at or tx.now) + SNOOZE
    facts.renew(tx, run.id, until)
    _counted(tx, run, by, EventKind.APPROVAL_SNOOZED, {"until": until.isoformat(), "step": run.step.name})
    text = f"the question stands until {utc(until)}"
    _announce(tx, run, ApprovalAnswer(run.id, "snoozed", by, text), str(number))
    return {"answer": "snoozed", "text": text}


def _counted(tx: Tx, run: Run, by: str, kind: EventKind, data: dict[str, Any]) -> None:
    tx.audit(kind, incident_id=run.incident_id, run_id=run.id, actor=by, data=data)


def _announce(tx: Tx, run: Run, fact: ApprovalAnswer, number: str) -> None:
    once = f"{run.id}/{run.step_index}" + (f"/{number}" if number else "")
    announce(tx, Topic.APPROVAL_ANSWERED, incident_id=run.incident_id, once=once, fact=fact)


def _against(tx: Tx, services: Services, run: Run, said: Said) -> Refused | None:
    """Why this answer does not count; None when it may be taken."""
    if run.state is not RunState.WAITING:
        told = [f"{run.answer} by {run.answered_by}"] if run.answer else []
        why = "; ".join([*told, *([run.result] if run.result else [])])
        text = f"the run is not waiting for an answer, it is {run.state.value}{f': {why}' if why else ''}"
        return Refused(text, code="not_waiting", where=run.id)
    if _takes_back(run, said):
        return _of_another_plan(run, said)
    if run.answer:
        return Refused(f"already {run.answer} by {run.answered_by}", code="already_answered", where=run.id)
    in_force = _in_force(tx, services, run)
    expires = _expires(run, in_force)
    if expires is not None and tx.now >= expires:
        return Refused("the question has expired", code="expired", where=run.id)
    if moved_on := _of_another_plan(run, said):
        return moved_on
    rule = Rule.from_json(run.settings["rule"])
    ordered = incidents.get(tx.conn, run.incident_id).manual is not None
    if said.word != "rejected" and (why := withdrawn(run, in_force, ordered=ordered)):
        return Refused(why, code="rule_changed", where=run.id)
    if said.word != "rejected" and (void := overtaken(tx.conn, run)):
        return Refused(f"{void}; it is decided anew", code="plan_changed", where=run.id)
    refusal = approvers.against(said.approver, rule.approval, run.id)
    if refusal is not None or said.word == "rejected":
        return refusal
    if said.word == "snoozed":
        if len(approvals.given(tx.conn, run, "snoozed")) >= MAX_SNOOZES:
            text = f"it was put off {MAX_SNOOZES} times already: approve, reject, or let it expire"
            return Refused(text, code="snoozed_enough", where=run.id)
        return None
    return _against_approval(tx, services, run, rule, said.approver)


def _takes_back(run: Run, said: Said) -> bool:
    """A no of somebody who may answer to a plan that is approved and not begun."""
    approval = Rule.from_json(run.settings["rule"]).approval
    late_no = run.answer == APPROVED and said.word == "rejected"
    return late_no and approvers.against(said.approver, approval, run.id) is None


def _of_another_plan(run: Run, said: Said) -> Refused | None:
    moved_on = said.step_index is not None and said.step_index != run.step_index
    if moved_on or (said.plan_hash and not run.plan_hash.startswith(said.plan_hash)):
        return Refused("the plan has changed since; look at it again", code="plan_changed", where=run.id)
    return None


def _in_force(tx: Tx, services: Services, run: Run) -> Rule | str:
    incident = incidents.get(tx.conn, run.incident_id)
    return rule_in_force(services, run, incident, firing_alerts(tx.conn, run.incident_id))


def _against_approval(tx: Tx, services: Services, run: Run, rule: Rule, approver: Approver) -> Refused | None:
    """Several people are several people, and who ordered something is not the second pair of eyes."""
    order = incidents.get(tx.conn, run.incident_id).manual
    if rule.approval.four_eyes and order is not None:
        same = approvers.against_same(approver, {order.requested_by: "ordered it"}, services.people)
        if same is not None:
            code = "four_eyes" if same.code == "same_person" else same.code
            return Refused(f"who ordered it cannot approve it: {same.message}", code=code, where=run.id)
    given = {g.given_by: "approved already" for g in approvals.given(tx.conn, run, "approved")}
    return approvers.against_same(approver, given, services.people)
