"""Approve: how a waiting run learns its answer, and how people give it.

An answer is bound to the plan hash it was given for, counts once, and only before the question expires. The run itself
reads the answer from the store; the engine's signal only wakes it. Never acts.
"""

from __future__ import annotations

from typing import Any

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.record import announce, end_run, move
from app.flow.services import Services
from app.flow.words import ANSWER
from app.notify.story import ApprovalAnswer, Topic
from app.policy.model import Rule
from app.store import incidents, ledger, runs
from app.store.database import Tx
from app.store.runs import Run

WAITING = "waiting"
APPROVED = "approved"
REJECTED = "rejected"
EXPIRED = "expired"
GONE = "gone"

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
                move(tx, incident, IncidentState.ACTING, once=f"{run_id}/{run.rung_index}", reason="approved")
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
    ledger.give_back(tx, run.id, run.rung_index)
    end_run(tx, run.id, state, text)
    word = {RunState.REJECTED: REJECTED, RunState.EXPIRED: EXPIRED}.get(state, GONE)
    if state is not RunState.REJECTED:
        announce(
            tx,
            Topic.APPROVAL_ANSWERED,
            incident_id=incident.id,
            once=f"{run.id}/{run.rung_index}",
            fact=ApprovalAnswer(run.id, EXPIRED if word == EXPIRED else "refused", "service", text),
        )
    gone = word == GONE
    to = IncidentState.RESOLVED if gone else IncidentState.ESCALATED
    move(tx, incident, to, once=run.id, reason=text)
    return {"word": word}


async def approve(services: Services, run_id: str, by: str, plan_hash: str = "") -> dict[str, Any]:
    """Say yes to the plan that stands. Raises Refused (code) when it is not waiting, expired, changed or not theirs."""
    return await _answer(services, run_id, by, APPROVED, plan_hash)


async def reject(services: Services, run_id: str, by: str, plan_hash: str = "") -> dict[str, Any]:
    """Say no. Raises Refused like `approve`."""
    return await _answer(services, run_id, by, REJECTED, plan_hash)


async def _answer(services: Services, run_id: str, by: str, word: str, plan_hash: str) -> dict[str, Any]:
    def write(tx: Tx) -> Refused | None:
        run = runs.get(tx.conn, run_id)
        refusal = _against(tx, run, by, word, plan_hash)
        if refusal is not None:
            data = {"answer": word, "code": refusal.code, "text": refusal.message, "plan_hash": plan_hash}
            tx.audit(
                EventKind.APPROVAL_REFUSED, incident_id=run.incident_id, run_id=run_id, actor=by, data=data
            )
            return refusal
        once = f"{run_id}/{run.rung_index}"
        fact = ApprovalAnswer(run_id, word, by)
        announce(tx, Topic.APPROVAL_ANSWERED, incident_id=run.incident_id, once=once, fact=fact)
        return None

    refusal = await services.store.write(write)
    if refusal is not None:
        raise refusal
    services.metrics.approvals.labels(word).inc()
    await services.engine().signal(run_id, ANSWER)
    services.deliver_nudge()
    return {"run": run_id, "answer": word, "by": by}


def _against(tx: Tx, run: Run, by: str, word: str, plan_hash: str) -> Refused | None:
    """Why this answer does not count; None when it was taken."""
    if run.state is not RunState.WAITING:
        return Refused(
            f"the run is not waiting for an answer, it is {run.state.value}", code="not_waiting", where=run.id
        )
    if run.expires_at is not None and tx.now >= run.expires_at:
        return Refused("the question has expired", code="expired", where=run.id)
    if plan_hash and plan_hash != run.plan_hash:
        return Refused("the plan has changed since; look at it again", code="plan_changed", where=run.id)
    rule = Rule.from_json(run.settings["rule"])
    if rule.approval.by and by not in rule.approval.by:
        return Refused(f"{by} is not among those who may answer", code="not_an_approver", where=run.id)
    order = incidents.get(tx.conn, run.incident_id).manual
    if word == APPROVED and rule.approval.four_eyes and order and order.requested_by == by:
        return Refused("who ordered it cannot approve it", code="four_eyes", where=run.id)
    if not runs.answer(tx, run.id, "approved" if word == APPROVED else "rejected", by):
        return Refused(f"already {run.answer} by {run.answered_by}", code="already_answered", where=run.id)
    return None
