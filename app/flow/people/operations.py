"""Operations: what people order through API and command line: trigger, approve, reject, undo, pause, resume, explain.

Each order is audited with who gave it. The web layer checks scopes; who may answer a question is checked here, by rule.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from app.domain.errors import BadInput, Refused
from app.domain.free_text import one_line, reason_given
from app.domain.outcome import IncidentState
from app.domain.target import OBJECT_NAME, Target
from app.flow.calling import escalation
from app.flow.people import approve, approvers, explain, promotion
from app.flow.services import Services
from app.flow.undoing import temporary, undo_order
from app.notify.escalation import StepAsked
from app.notify.timeline import Timeline, Topic, diagnosis_to_json, fact_to_json
from app.notify.wording import went_away
from app.policy.explain import explain_json, explain_lines
from app.store import approvals, people, runs
from app.store.approvals import NO_CLICK, Click
from app.store.people import Pause
from app.store.tx import Tx

_SCOPES = ("namespace:", "target:", "rule:", "remediation:")
_LONGEST_SCOPE = 400
_NAME = re.compile(OBJECT_NAME)
"""What Kubernetes calls a DNS subdomain: the widest rule that it has for names."""


class Operations:
    """The orders, over the services. Raises CallerError kinds with stable codes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def approve(
        self, run_id: str, by: str, plan_hash: str = "", click: Click = NO_CLICK
    ) -> dict[str, Any]:
        """Approve a waiting run's plan."""
        return await approve.by_token(self._services, run_id, "approved", by, plan_hash, click)

    async def reject(
        self, run_id: str, by: str, plan_hash: str = "", click: Click = NO_CLICK
    ) -> dict[str, Any]:
        """Reject a waiting run's plan, or take back the order to undo a run, as long as that has not begun."""
        withdrawn = await undo_order.withdraw(self._services, run_id, by, click)
        if withdrawn is not None:
            return withdrawn
        return await approve.by_token(self._services, run_id, "rejected", by, plan_hash, click)

    async def undo(
        self, run_id: str, by: str, click: Click = NO_CLICK, *, despite: bool = False
    ) -> dict[str, Any]:
        """Undo a finished run where our values are still in place."""
        return await undo_order.request(self._services, run_id, by, click, despite=despite)

    async def keep(self, run_id: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
        """Keep the temporary change of a run."""
        return await temporary.keep(self._services, run_id, by, click)

    async def acknowledge(
        self, subject: str, by: str, click: Click = NO_CLICK, through: str = "API"
    ) -> dict[str, Any]:
        """Take an incident, or a storm: nobody else is asked, and nothing is done by itself."""
        return await escalation.acknowledge(self._services, subject, by, through, click)

    async def promote(self, key: str, reason: str, by: str) -> dict[str, Any]:
        """Raise a trust level by one level."""
        return await promotion.promote(
            self._services, key, reason, approvers.of_token(by, self._services.people)
        )

    async def demote(self, key: str, reason: str, by: str) -> dict[str, Any]:
        """Lower a trust level by one level."""
        return await promotion.demote(self._services, key, reason, by)

    async def pause(
        self, scope: str, reason: str, by: str, until: datetime | None, click: Click = NO_CLICK
    ) -> dict[str, Any]:
        """Stop all action inside a scope; looking and telling go on. A click that was taken before is Repeated.

        Raises BadInput (`bad_scope`) for a name that nothing has: such a pause would look like one and stop nothing.
        """
        _check_scope(scope)
        scope = _canonical(scope)
        _require_name(scope)
        remediation = await self._require_known(scope)
        reason = reason_given(reason)
        if until is not None and until <= self._services.clock.now():
            raise BadInput("the end lies in the past", code="bad_until", where="until")

        def write(tx: Tx) -> None:
            approvals.take(tx, click.key)
            people.pause(tx, scope, reason, by, until, remediation)

        await self._services.store.write(write)
        return {"scope": scope, "reason": reason, "by": by, "until": until.isoformat() if until else None}

    async def _require_known(self, scope: str) -> str:
        """A slip in the name of a rule, a remediation or a namespace is told now, and not when something acts all the same. Gives what a rule
        does: it may have another name tomorrow, or have one already while a run of the former name is under way."""
        kind, _, name = scope.partition(":")
        policy, known, does = self._services.policy(), list[str](), dict[str, str]()
        if kind == "remediation":
            known = list(self._services.catalogue)
        elif kind in ("rule", "namespace"):
            at_large = await self._services.store.read(runs.not_over)
            does = {rule: remediation for rule, remediation, _ in at_large}
            does |= {rule.name: rule.remediation for rule in policy.rules}
            known = [*does] if kind == "rule" else [target.partition("/")[0] for _, _, target in at_large]
        if kind in ("all", "target") or name in known or (kind == "namespace" and policy.scope.covers(name)):
            return does.get(name, "") if kind == "rule" else ""
        near = get_close_matches(name, known, 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        where = "in the policy's scope" if kind == "namespace" else "there"
        raise BadInput(f"no such {kind} is {where}{hint}", code="bad_scope", where="scope")

    async def resume(self, scope: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
        """Lift a pause; incidents that it held back are looked at again. A click that was taken before is Repeated."""
        _check_scope(scope)

        def write(tx: Tx) -> bool:
            approvals.take(tx, click.key)
            scopes = dict.fromkeys((scope, _canonical(scope)))
            return any(people.lift_pause(tx, one, by, click.reason) for one in scopes)

        if not await self._services.store.write(write):
            raise Refused("there is no pause on this scope", code="not_paused", where=scope)
        self._services.decide_nudge()
        return {"scope": scope, "by": by, "paused": False}

    async def pauses(self) -> list[Pause]:
        """Pauses in force."""
        now = self._services.clock.now()
        return await self._services.store.read(lambda conn: people.pauses_in_force(conn, now))

    async def explain(self, any_id: str) -> dict[str, Any]:
        """Why and why not, from the audit trail alone."""
        found = await self._services.store.read(lambda conn: explain.explain(conn, any_id))
        return as_json(found)


def as_json(found: explain.Explanation) -> dict[str, Any]:
    """An explanation for API and command line."""
    told = found.timeline
    alone = told.state is IncidentState.RESOLVED and not told.requested_by
    return {
        "incident": told.incident_id,
        "run": told.run_id or None,
        "state": told.state.value,
        "alertname": told.alertname,
        "target": told.target or None,
        "reason": went_away(told) if alone else told.reason,
        "diagnosis": diagnosis_to_json(told.diagnosis) if told.diagnosis else None,
        "decision": explain_json(told.decision) if told.decision else None,
        "gates": explain_lines(told.decision) if told.decision else [],
        "plan": told.plan.to_json() if told.plan else None,
        "ladder": list(told.ladder),
        "person_needed": told.escalation is not None and not told.state.closed,
        "escalation": fact_to_json(Topic.ESCALATED, told.escalation) if told.escalation else None,
        "called": _called(told),
        "acknowledged": fact_to_json(Topic.ACKNOWLEDGED, told.acknowledged) if told.acknowledged else None,
        "actions": [
            {"id": a.id, "summary": a.summary, "result": a.result.value, "text": a.text} for a in told.actions
        ],
        "verifications": [{"result": v.result.value, "text": v.text} for v in told.verifications],
        "undos": [{"action": u.action_id, "result": u.result.value, "text": u.text} for u in told.undos],
        "trust_levels": [fact_to_json(Topic.TRUST, s) for s in told.trust_levels],
        "events": [
            {
                "seq": r.seq,
                "at": r.at.isoformat(),
                "kind": r.kind.value,
                "actor": r.actor,
                "run": r.run_id or None,
                "data": r.data,
            }
            for r in found.records
        ],
        "left_out": found.left_out,
    }


def _called(told: Timeline) -> dict[str, Any] | None:
    """Where the steps of the escalation stand."""
    if told.called is None:
        return None
    topic = Topic.ASKED if isinstance(told.called, StepAsked) else Topic.UNANSWERED
    return {"state": topic.value, **fact_to_json(topic, told.called)}


def _check_scope(scope: str) -> None:
    if scope != "all" and not (scope.startswith(_SCOPES) and scope.partition(":")[2]):
        allowed = "all, " + ", ".join(f"{s}NAME" for s in _SCOPES)
        raise BadInput(f"a scope is one of {allowed}", code="bad_scope", where="scope")


def _canonical(scope: str) -> str:
    """The scope as gates compare it: without blanks around the name, a target's kind in its own case."""
    kind, colon, name = scope.partition(":")
    name = name.strip()
    if kind == "target":
        with suppress(BadInput):
            name = Target.parse(name).key
    return f"{kind}{colon}{name}"


def _require_name(scope: str) -> None:
    kind, _, name = scope.partition(":")
    if kind == "all":
        return
    sound = bool(name) and len(scope) <= _LONGEST_SCOPE and one_line(name, _LONGEST_SCOPE) == name
    if kind == "target":
        target = Target.parse(name)
        sound = sound and all(_NAME.fullmatch(part) for part in (target.namespace, target.name))
    elif kind == "namespace":
        sound = sound and _NAME.fullmatch(name) is not None
    if not sound:
        raise BadInput(f"no {kind} can have this name", code="bad_scope", where="scope")
