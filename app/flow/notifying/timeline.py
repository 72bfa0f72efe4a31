"""Timeline: one incident told from its audit records alone, for messages and for `explain`.

Owns the folding of audit events into a `Timeline`. If something cannot be told from here, an event is missing in the
audit trail; nothing else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from app.domain.decision import Decision, Mode
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.evidence import Diagnosis
from app.domain.outcome import HELPED, ActionResult, IncidentState, RunState
from app.domain.plan import Step
from app.flow.ids import ASKS_BUT, OVER_BUT
from app.flow.running.progress import so_far
from app.notify.escalation import Acknowledged, StepAsked, Unanswered
from app.notify.timeline import (
    ActionDone,
    AlertLine,
    ApprovalAnswer,
    ApprovalAsked,
    Escalation,
    Link,
    Taken,
    Timeline,
    Topic,
    TrustChange,
    UndoDone,
    UndoHeld,
    Verification,
    fact_from_json,
)
from app.policy.match import rank_of
from app.store import audit, runs
from app.store.audit import AuditEvent
from app.store.runs import Run

_SHOWN_ALERTS = 5
_ENDED = frozenset(s for s in IncidentState if s.closed) | {IncidentState.ESCALATED, IncidentState.STUCK}


def timeline_of(conn: Connection, incident_id: str) -> Timeline:
    """The timeline so far, how far a long action has come, and what holds the run up. Raises Missing when the trail knows no such
    incident."""
    timeline = fold(incident_id, audit.each_of_incident(conn, incident_id))
    if timeline.run_state not in _WAIT:
        return timeline
    run = runs.get(conn, timeline.run_id)
    waits = run.waits_for if _held_up(run) else ""
    return replace(timeline, progress=so_far(run).text if run.state is RunState.ACTING else "", waits=waits)


_WAIT = HELPED | {RunState.ACTING, RunState.UNDOING, RunState.WAITING}


def _held_up(run: Run) -> bool:
    """The run would go on, and something is in its way: an attempt that failed, or what holds its question or the end of its temporary change."""
    return run.waits_for.startswith((OVER_BUT, ASKS_BUT)) or (bool(run.attempt) and not run.state.ended)


def fold(incident_id: str, records: Iterable[AuditEvent]) -> Timeline:
    """Records in order, one timeline out; none of them is kept. Pure."""
    rest = iter(records)
    first = next(rest, None)
    if first is None:
        raise Missing(
            "no such incident; `remediator incidents` lists them", code="no_incident", where=incident_id
        )
    timeline = Timeline(
        incident_id=incident_id,
        state=IncidentState.OPEN,
        alertname="",
        severity="",
        namespace="",
        opened_at=first.at,
        alerts=0,
        firing=0,
    )
    for record in chain((first,), rest):
        told = _TELL.get(record.kind)
        if told is not None:
            timeline = told(timeline, record)
    return timeline


def _opened(timeline: Timeline, record: AuditEvent) -> Timeline:
    alertname, _, rest = str(record.data.get("key", "")).partition("|")
    if alertname == "manual":
        return replace(timeline, opened_at=record.at)
    return replace(timeline, alertname=alertname, namespace=rest.partition("|")[0], opened_at=record.at)


def _ordered(timeline: Timeline, record: AuditEvent) -> Timeline:
    data = record.data
    return replace(
        timeline,
        alertname=timeline.alertname or str(data.get("remediation", "")),
        target=timeline.target or str(data.get("target", "")),
        requested_by=str(data.get("requested_by", "")),
        dry_run=bool(data.get("dry_run", False)),
        reason=str(data.get("reason", "")),
    )


def _fired(timeline: Timeline, record: AuditEvent) -> Timeline:
    data = record.data
    labels, notes = data.get("labels", {}), data.get("annotations", {})
    lines, links = timeline.alert_lines, timeline.links
    if len(lines) < _SHOWN_ALERTS:
        text = notes.get("summary") or notes.get("description") or ""
        lines = (*lines, AlertLine(labels, text, _time(data.get("starts_at"))))
    if not links:
        found = [("Runbook", notes.get("runbook_url")), ("Alert source", data.get("generator_url"))]
        links = tuple(Link(label, url) for label, url in found if url)
    pagerduty = timeline.pagerduty_incident or (
        str(data.get("fingerprint", "")) if data.get("source") == "pagerduty" else ""
    )
    return replace(
        timeline,
        alerts=timeline.alerts + 1,
        firing=timeline.firing + 1,
        alert_lines=lines,
        links=links,
        severity=min(timeline.severity, labels.get("severity", ""), key=_how_severe),
        alertname=timeline.alertname or labels.get("alertname", ""),
        namespace=timeline.namespace or labels.get("namespace", ""),
        pagerduty_incident=pagerduty,
    )


def _how_severe(severity: str) -> tuple[int, bool]:
    return rank_of(severity), not severity


def _enriched(timeline: Timeline, record: AuditEvent) -> Timeline:
    labels = record.data.get("labels", {})
    return replace(
        timeline,
        alertname=labels.get("alertname", timeline.alertname),
        namespace=labels.get("namespace", timeline.namespace),
        severity=labels.get("severity", timeline.severity),
    )


def _resolved(timeline: Timeline, _record: AuditEvent) -> Timeline:
    return replace(timeline, firing=max(0, timeline.firing - 1))


def _targeted(timeline: Timeline, record: AuditEvent) -> Timeline:
    return replace(timeline, target=str(record.data.get("target", "")))


def _merged(timeline: Timeline, record: AuditEvent) -> Timeline:
    return replace(timeline, merged_into=str(record.data.get("into", "")), state=IncidentState.MERGED)


def _moved(timeline: Timeline, record: AuditEvent) -> Timeline:
    state = IncidentState(record.data["to"])
    ended = record.at if state in _ENDED else None
    return replace(timeline, state=state, reason=str(record.data.get("reason", "")), ended_at=ended)


def _diagnosed(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = fact_from_json(Topic.EVIDENCE, record.data)
    return replace(timeline, diagnosis=fact) if isinstance(fact, Diagnosis) else timeline


def _decided(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = fact_from_json(Topic.DECIDED, record.data)
    plan = record.data.get("plan")
    step = Step.from_json(plan) if plan else None
    if not isinstance(fact, Decision):
        return timeline
    ladder = tuple(f"{s['name']}: {s['why']}" for s in record.data.get("ladder") or () if s.get("why"))
    return replace(timeline, decision=fact, plan=step, ladder=ladder or timeline.ladder)


def _requested(timeline: Timeline, record: AuditEvent) -> Timeline:
    data = record.data
    plan = data.get("step")
    mode = data.get("mode")
    return replace(
        timeline,
        run_id=record.run_id or timeline.run_id,
        run_state=RunState.REQUESTED,
        mode=Mode(mode) if mode else timeline.mode,
        plan=Step.from_json(plan) if isinstance(plan, Mapping) else timeline.plan,
        step_index=int(data.get("step_index", 0)),
    )


def _run_moved(timeline: Timeline, record: AuditEvent) -> Timeline:
    state = RunState(record.data["to"])
    over = state in (
        RunState.UNDONE,
        RunState.REVERTED,
    )  # whoever was called before is not needed for it any more
    before = (RunState.WAITING, RunState.CHOOSING, RunState.ACTING)
    late = timeline.run_state in before and state is RunState.VERIFYING
    if late and timeline.taken is not None:  # what was only asked about or planned is no matter any more
        timeline = replace(timeline, **timeline.taken._asdict())
    if state.ended and timeline.undo_held is not None and timeline.acknowledged is not None:
        # Who was called for an undo that waited has it, and what it waited for is no news any more.
        over, timeline = True, replace(timeline, reason=str(record.data.get("result", "")))
    timeline = replace(timeline, undo_held=None)
    if over:
        timeline = replace(timeline, escalation=None, called=None)
    return replace(timeline, run_id=record.run_id or timeline.run_id, run_state=state)


def _of_type(topic: Topic, record: AuditEvent) -> Any:
    known = {k: v for k, v in record.data.items() if k not in ("plan", "ladder", "plan_hash")}
    return fact_from_json(topic, known)


def _acted(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = _of_type(Topic.ACTION, record)
    if not isinstance(fact, ActionDone):
        return timeline
    taken = timeline.taken
    if fact.result is ActionResult.APPLIED:
        now = timeline
        taken = Taken(now.plan, now.decision, now.step_index, now.approval, now.answer, now.approvals)
    return replace(timeline, actions=(*timeline.actions, fact), taken=taken)


def _verified(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = _of_type(Topic.VERIFIED, record)
    return (
        replace(timeline, verifications=(*timeline.verifications, fact))
        if isinstance(fact, Verification)
        else timeline
    )


def _undone(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = _of_type(Topic.UNDO, record)
    return replace(timeline, undos=(*timeline.undos, fact)) if isinstance(fact, UndoDone) else timeline


def _escalated(timeline: Timeline, record: AuditEvent) -> Timeline:
    """People are called: whoever had it before has to say so again."""
    fact = _of_type(Topic.ESCALATED, record)
    if not isinstance(fact, Escalation):
        return timeline
    return replace(timeline, escalation=fact, acknowledged=None if fact.alone else timeline.acknowledged)


def _asked_step(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = _own(Topic.ASKED, record)
    return replace(timeline, called=fact) if isinstance(fact, StepAsked) else timeline


def _unanswered(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = _own(Topic.UNANSWERED, record)
    return replace(timeline, called=fact) if isinstance(fact, Unanswered) else timeline


def _acknowledged(timeline: Timeline, record: AuditEvent) -> Timeline:
    """Whoever has it: nobody waits for an answer any more."""
    fact = _own(Topic.ACKNOWLEDGED, record)
    return replace(timeline, acknowledged=fact, called=None) if isinstance(fact, Acknowledged) else timeline


def _released(timeline: Timeline, record: AuditEvent) -> Timeline:
    return timeline if record.data.get("storm") else replace(timeline, acknowledged=None)


def _own(topic: Topic, record: AuditEvent) -> Any:
    """The fact, unless it is a storm's, which stands in the trail of its first incident."""
    return None if record.data.get("storm") else fact_from_json(topic, record.data)


def _approved(timeline: Timeline, record: AuditEvent) -> Timeline:
    return replace(timeline, answer=ApprovalAnswer(record.run_id, "approved", record.actor, at=record.at))


def _rejected(timeline: Timeline, record: AuditEvent) -> Timeline:
    return replace(timeline, answer=ApprovalAnswer(record.run_id, "rejected", record.actor, at=record.at))


def _counted(timeline: Timeline, record: AuditEvent) -> Timeline:
    one = ApprovalAnswer(record.run_id, "approved", record.actor, at=record.at)
    return replace(timeline, approvals=(*timeline.approvals, one))


def _snoozed(timeline: Timeline, record: AuditEvent) -> Timeline:
    return replace(_another_end(timeline, record), snoozes=timeline.snoozes + 1)


def _another_end(timeline: Timeline, record: AuditEvent) -> Timeline:
    until = _time(record.data.get("until"))
    asked = timeline.approval
    return replace(timeline, approval=replace(asked, expires_at=until)) if asked and until else timeline


def _undo_asked(timeline: Timeline, record: AuditEvent) -> Timeline:
    asked = ApprovalAnswer(record.run_id, "undo", record.actor, at=record.at)
    return replace(timeline, undo_asked=asked, undo_held=None)


def _undo_held(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = fact_from_json(Topic.UNDO_HELD, record.data)
    return replace(timeline, undo_held=fact) if isinstance(fact, UndoHeld) else timeline


def _undo_begun(timeline: Timeline, _record: AuditEvent) -> Timeline:
    return replace(timeline, undo_held=None)


def _clicked(timeline: Timeline, record: AuditEvent) -> Timeline:
    """A pause is no part of an incident's own trail; the click of the button under its message is."""
    text = str(record.data.get("paused", ""))
    if not text:
        return timeline
    return replace(timeline, paused=ApprovalAnswer(record.run_id, "paused", record.actor, text, record.at))


def _asked(timeline: Timeline, record: AuditEvent) -> Timeline:
    fact = fact_from_json(Topic.APPROVAL_ASKED, record.data)
    if not isinstance(fact, ApprovalAsked):
        return timeline
    return replace(timeline, approval=fact, answer=None, approvals=(), snoozes=0)


def _trust_level(timeline: Timeline, record: AuditEvent) -> Timeline:
    """A trust level that only began or was counted on is no news; that a promotion no longer waits is."""
    fact = fact_from_json(Topic.TRUST, record.data)
    if not isinstance(fact, TrustChange):
        return timeline
    others = tuple(s for s in timeline.trust_levels if s.key != fact.key)
    told = fact.mark or fact.change not in ("opened", "counted")
    return replace(timeline, trust_levels=(*others, fact) if told else others)


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


_TELL: Mapping[EventKind, Callable[[Timeline, AuditEvent], Timeline]] = {
    EventKind.INCIDENT_OPENED: _opened,
    EventKind.MANUAL_REQUESTED: _ordered,
    EventKind.ALERT_FIRED: _fired,
    EventKind.ALERT_ENRICHED: _enriched,
    EventKind.ALERT_RESOLVED: _resolved,
    EventKind.INCIDENT_TARGETED: _targeted,
    EventKind.INCIDENT_MERGED: _merged,
    EventKind.INCIDENT_MOVED: _moved,
    EventKind.DIAGNOSED: _diagnosed,
    EventKind.DECIDED: _decided,
    EventKind.RUN_REQUESTED: _requested,
    EventKind.RUN_MOVED: _run_moved,
    EventKind.ACTION_ENDED: _acted,
    EventKind.VERIFIED: _verified,
    EventKind.UNDO_ENDED: _undone,
    EventKind.UNDO_HELD: _undo_held,
    EventKind.UNDO_INTENDED: _undo_begun,
    EventKind.ESCALATED: _escalated,
    EventKind.STEP_ASKED: _asked_step,
    EventKind.UNANSWERED: _unanswered,
    EventKind.ACKNOWLEDGED: _acknowledged,
    EventKind.RELEASED: _released,
    EventKind.APPROVED: _approved,
    EventKind.REJECTED: _rejected,
    EventKind.APPROVAL_ASKED: _asked,
    EventKind.APPROVAL_COUNTED: _counted,
    EventKind.APPROVAL_SNOOZED: _snoozed,
    EventKind.APPROVAL_SHORTENED: _another_end,
    EventKind.UNDO_REQUESTED: _undo_asked,
    EventKind.CLICKED: _clicked,
    EventKind.TRUST_CHANGED: _trust_level,
}
