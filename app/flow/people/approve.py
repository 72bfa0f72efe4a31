"""Approve: how a waiting run learns its answer, and how people give it.

An answer is bound to the plan hash it was given for, counts once, and only before the question expires. A rule may want
several people: each answer is a row, the last one decides. The run itself reads the answer from the store; the engine's
signal only wakes it. Never acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.deciding import trust
from app.flow.ids import ANSWER
from app.flow.notifying.record import announce, end_run, move
from app.flow.people import approvers
from app.flow.people.approvers import Approver
from app.flow.services import Services
from app.notify.buttons import MAX_SNOOZES
from app.notify.text import joined, utc
from app.notify.timeline import ApprovalAnswer, Topic
from app.policy.model import Rule
from app.policy.trust import Evidence
from app.store import approvals, facts, incidents, ledger, runs
from app.store.approvals import Word
from app.store.database import Tx
from app.store.runs import Run

WAITING = "waiting"
APPROVED = "approved"
REJECTED = "rejected"
EXPIRED = "expired"
GONE = "gone"

SNOOZE = timedelta(hours=1)
_LONGEST_NAP = 3600.0  # seconds


async def look_for_answer(services: Services, run_id: str) -> dict[str, Any]:
    """One step of the waiting run: `waiting` with the seconds to wait, or how the question ended.

    Whatever is not `approved` ends the run in the same transaction.
    """

    def look(tx: Tx) -> dict[str, Any]:
        run = runs.get(tx.conn, run_id)
        incident = incidents.get(tx.conn, run.incident_id)
        if run.answer == APPROVED:
            if run.state is RunState.WAITING:
                runs.move(tx, run_id, RunState.ACTING)
                move(tx, incident, IncidentState.ACTING, once=f"{run_id}/{run.step_index}", reason="approved")
            return {"word": APPROVED}
        if run.state.ended:
            return {"word": run.state.value}
        if run.answer == REJECTED:
            return _end(tx, run, RunState.REJECTED, f"rejected by {run.answered_by}")
        if incident.manual is None and incidents.firing_count(tx.conn, incident.id) == 0:
            return _end(tx, run, RunState.ABANDONED, "the alert resolved while the question stood")
        left = (run.expires_at - tx.now).total_seconds() if run.expires_at else 0.0
        if left <= 0:
            return _end(tx, run, RunState.EXPIRED, "nobody answered in time")
        return {"word": WAITING, "seconds": min(left, _LONGEST_NAP)}

    answer = await services.store.write(look)
    services.deliver_nudge()
    services.decide_nudge()
    return answer


def _end(tx: Tx, run: Run, state: RunState, text: str) -> dict[str, Any]:
    incident = incidents.get(tx.conn, run.incident_id)
    ledger.give_back(tx, run.id, run.step_index)
    end_run(tx, run.id, state, text)
    word = {RunState.REJECTED: REJECTED, RunState.EXPIRED: EXPIRED}.get(state, GONE)
    if state is not RunState.REJECTED:
        announce(
            tx,
            Topic.APPROVAL_ANSWERED,
            incident_id=incident.id,
            once=f"{run.id}/{run.step_index}",
            fact=ApprovalAnswer(run.id, EXPIRED if word == EXPIRED else "refused", "service", text),
        )
    gone = word == GONE
    to = IncidentState.RESOLVED if gone else IncidentState.ESCALATED
    move(tx, incident, to, once=run.id, reason=text)
    return {"word": word}


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said: the word, who, and to which plan. `plan_hash` may be its first 16 digits; empty means whichever
    plan stands. `click` identifies the button click it came by."""

    word: Word
    approver: Approver
    plan_hash: str = ""
    step_index: int | None = None
    click: str = ""


async def approve(services: Services, run_id: str, by: str, plan_hash: str = "") -> dict[str, Any]:
    """Say yes to the plan that stands. Raises Refused (code) when it is not waiting, expired, changed or not theirs."""
    return await answer(services, run_id, Said("approved", approvers.of_token(by), plan_hash))


async def reject(services: Services, run_id: str, by: str, plan_hash: str = "") -> dict[str, Any]:
    """Say no; one no is enough. Raises Refused like `approve`."""
    return await answer(services, run_id, Said("rejected", approvers.of_token(by), plan_hash))


async def answer(services: Services, run_id: str, said: Said) -> dict[str, Any]:
    """Take an answer. The result's `answer` is approved, rejected, snoozed or counted (more people have to agree), `text`
    says what follows. Raises Refused (code) when it does not count; that is audited too. Raises Repeated for a click that
    was taken before."""

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
    if taken["answer"] in (APPROVED, REJECTED):
        await services.engine().signal(run_id, ANSWER)
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
        _counted(tx, run, by, EventKind.APPROVAL_COUNTED, data)
        _announce(tx, run, ApprovalAnswer(run.id, "approved", by, text), str(number))
        return {"answer": "counted", "text": text}
    final: runs.Answer = "rejected" if said.word == "rejected" else "approved"
    runs.answer(tx, run.id, final, by, named=joined(given) if final == "approved" else "")
    if final == "rejected":
        trust.count(tx, services, run, Evidence.REJECTED)
    text = f"{len(given)} of {wanted} approvals" if wanted > 1 and final == "approved" else ""
    _announce(tx, run, ApprovalAnswer(run.id, final, by, text), "")
    return {"answer": final, "text": text}


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
    if run.answer:
        return Refused(f"already {run.answer} by {run.answered_by}", code="already_answered", where=run.id)
    if run.expires_at is not None and tx.now >= run.expires_at:
        return Refused("the question has expired", code="expired", where=run.id)
    moved_on = said.step_index is not None and said.step_index != run.step_index
    if moved_on or (said.plan_hash and not run.plan_hash.startswith(said.plan_hash)):
        return Refused("the plan has changed since; look at it again", code="plan_changed", where=run.id)
    rule = Rule.from_json(run.settings["rule"])
    refusal = approvers.against(said.approver, rule.approval, run.id)
    if refusal is not None or said.word == "rejected":
        return refusal
    if said.word == "snoozed":
        if len(approvals.given(tx.conn, run, "snoozed")) >= MAX_SNOOZES:
            text = f"it was put off {MAX_SNOOZES} times already: approve, reject, or let it expire"
            return Refused(text, code="snoozed_enough", where=run.id)
        return None
    return _against_approval(tx, services, run, rule, said.approver)


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
