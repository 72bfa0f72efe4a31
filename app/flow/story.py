"""Story: one incident told from its audit records alone, for messages and for `explain`.

Owns the folding of audit events into `IncidentStory`. If something cannot be told from here, an event is missing in the
audit trail; nothing else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.decision import Decision, Mode
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.evidence import Diagnosis
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Rung
from app.notify.story import (
    ActionDone,
    AlertLine,
    ApprovalAnswer,
    ApprovalAsked,
    Escalation,
    IncidentStory,
    Link,
    StandingChange,
    Topic,
    UndoDone,
    Verification,
    fact_from_json,
)
from app.store import audit
from app.store.audit import AuditEvent

_SHOWN_ALERTS = 5
_ENDED = frozenset(s for s in IncidentState if s.closed) | {IncidentState.ESCALATED, IncidentState.STUCK}


def story_of(conn: Connection, incident_id: str) -> IncidentStory:
    """The story so far. Raises Missing when the trail knows no such incident."""
    return fold(incident_id, audit.for_incident(conn, incident_id))


def fold(incident_id: str, records: Sequence[AuditEvent]) -> IncidentStory:
    """Records in order, one story out. Pure."""
    if not records:
        raise Missing("no such incident", code="no_incident", where=incident_id)
    story = IncidentStory(
        incident_id=incident_id,
        state=IncidentState.OPEN,
        alertname="",
        severity="",
        namespace="",
        opened_at=records[0].at,
        alerts=0,
        firing=0,
    )
    for record in records:
        told = _TELL.get(record.kind)
        if told is not None:
            story = told(story, record)
    return story


def _opened(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    alertname, _, rest = str(record.data.get("key", "")).partition("|")
    if alertname == "manual":
        return replace(story, opened_at=record.at)
    return replace(story, alertname=alertname, namespace=rest.partition("|")[0], opened_at=record.at)


def _ordered(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    data = record.data
    return replace(
        story,
        alertname=story.alertname or str(data.get("remediation", "")),
        target=story.target or str(data.get("target", "")),
        requested_by=str(data.get("requested_by", "")),
        dry_run=bool(data.get("dry_run", False)),
        reason=str(data.get("reason", "")),
    )


def _fired(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    data = record.data
    labels, notes = data.get("labels", {}), data.get("annotations", {})
    lines, links = story.alert_lines, story.links
    if len(lines) < _SHOWN_ALERTS:
        text = notes.get("summary") or notes.get("description") or ""
        lines = (*lines, AlertLine(labels, text, _time(data.get("starts_at"))))
    if not links:
        found = [("Runbook", notes.get("runbook_url")), ("Alert source", data.get("generator_url"))]
        links = tuple(Link(label, url) for label, url in found if url)
    pagerduty = story.pagerduty_incident or (
        str(data.get("fingerprint", "")) if data.get("source") == "pagerduty" else ""
    )
    return replace(
        story,
        alerts=story.alerts + 1,
        firing=story.firing + 1,
        alert_lines=lines,
        links=links,
        severity=story.severity or labels.get("severity", ""),
        alertname=story.alertname or labels.get("alertname", ""),
        namespace=story.namespace or labels.get("namespace", ""),
        pagerduty_incident=pagerduty,
    )


def _enriched(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    labels = record.data.get("labels", {})
    return replace(
        story,
        alertname=labels.get("alertname", story.alertname),
        namespace=labels.get("namespace", story.namespace),
        severity=labels.get("severity", story.severity),
    )


def _resolved(story: IncidentStory, _record: AuditEvent) -> IncidentStory:
    return replace(story, firing=max(0, story.firing - 1))


def _targeted(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    return replace(story, target=str(record.data.get("target", "")))


def _merged(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    return replace(story, merged_into=str(record.data.get("into", "")), state=IncidentState.MERGED)


def _moved(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    state = IncidentState(record.data["to"])
    ended = record.at if state in _ENDED else None
    return replace(story, state=state, reason=str(record.data.get("reason", "")), ended_at=ended)


def _diagnosed(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = fact_from_json(Topic.EVIDENCE, record.data)
    return replace(story, diagnosis=fact) if isinstance(fact, Diagnosis) else story


def _decided(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = fact_from_json(Topic.DECIDED, record.data)
    plan = record.data.get("plan")
    rung = Rung.from_json(plan) if plan else None
    return replace(story, decision=fact, plan=rung) if isinstance(fact, Decision) else story


def _requested(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    data = record.data
    plan = data.get("rung")
    mode = data.get("mode")
    return replace(
        story,
        run_id=record.run_id or story.run_id,
        run_state=RunState.REQUESTED,
        mode=Mode(mode) if mode else story.mode,
        plan=Rung.from_json(plan) if isinstance(plan, Mapping) else story.plan,
        rung_index=int(data.get("rung_index", 0)),
    )


def _run_moved(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    return replace(story, run_id=record.run_id or story.run_id, run_state=RunState(record.data["to"]))


def _of_type(topic: Topic, record: AuditEvent) -> Any:
    known = {k: v for k, v in record.data.items() if k not in ("plan", "ladder", "plan_hash")}
    return fact_from_json(topic, known)


def _acted(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = _of_type(Topic.ACTION, record)
    return replace(story, actions=(*story.actions, fact)) if isinstance(fact, ActionDone) else story


def _verified(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = _of_type(Topic.VERIFIED, record)
    return (
        replace(story, verifications=(*story.verifications, fact))
        if isinstance(fact, Verification)
        else story
    )


def _undone(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = _of_type(Topic.UNDO, record)
    return replace(story, undos=(*story.undos, fact)) if isinstance(fact, UndoDone) else story


def _escalated(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = _of_type(Topic.ESCALATED, record)
    return replace(story, escalation=fact) if isinstance(fact, Escalation) else story


def _approved(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    return replace(story, answer=ApprovalAnswer(record.run_id, "approved", record.actor, at=record.at))


def _rejected(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    return replace(story, answer=ApprovalAnswer(record.run_id, "rejected", record.actor, at=record.at))


def _counted(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    one = ApprovalAnswer(record.run_id, "approved", record.actor, at=record.at)
    return replace(story, approvals=(*story.approvals, one))


def _snoozed(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    until = _time(record.data.get("until"))
    asked = story.approval
    moved = replace(asked, expires_at=until) if asked and until else asked
    return replace(story, approval=moved, snoozes=story.snoozes + 1)


def _undo_asked(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    return replace(story, undo_asked=ApprovalAnswer(record.run_id, "undo", record.actor, at=record.at))


def _pressed(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    """A pause is no part of an incident's own trail; the press of the button under its message is."""
    text = str(record.data.get("paused", ""))
    if not text:
        return story
    return replace(story, paused=ApprovalAnswer(record.run_id, "paused", record.actor, text, record.at))


def _asked(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    fact = fact_from_json(Topic.APPROVAL_ASKED, record.data)
    if not isinstance(fact, ApprovalAsked):
        return story
    return replace(story, approval=fact, answer=None, approvals=(), snoozes=0)


def _standing(story: IncidentStory, record: AuditEvent) -> IncidentStory:
    """A standing that only began or was counted on is no news; that a promotion no longer waits is."""
    fact = fact_from_json(Topic.AUTONOMY, record.data)
    if not isinstance(fact, StandingChange):
        return story
    others = tuple(s for s in story.standings if s.key != fact.key)
    told = fact.mark or fact.change not in ("opened", "counted")
    return replace(story, standings=(*others, fact) if told else others)


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


_TELL: Mapping[EventKind, Callable[[IncidentStory, AuditEvent], IncidentStory]] = {
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
    EventKind.ESCALATED: _escalated,
    EventKind.APPROVED: _approved,
    EventKind.REJECTED: _rejected,
    EventKind.APPROVAL_ASKED: _asked,
    EventKind.APPROVAL_COUNTED: _counted,
    EventKind.APPROVAL_SNOOZED: _snoozed,
    EventKind.UNDO_REQUESTED: _undo_asked,
    EventKind.PRESSED: _pressed,
    EventKind.AUTONOMY_CHANGED: _standing,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` gives: the story, all records behind it, and where to read on."""

    story: IncidentStory
    records: tuple[AuditEvent, ...]


def explain(conn: Connection, any_id: str) -> Explanation:
    """Explain an incident or a run by its id, from the audit trail only. Raises Missing."""
    incident_id = any_id
    if any_id.startswith("run_"):
        of_run = audit.for_run(conn, any_id)
        if not of_run:
            raise Missing("the audit trail knows no such run", code="no_run", where=any_id)
        incident_id = of_run[0].incident_id
    records = tuple(audit.for_incident(conn, incident_id))
    return Explanation(fold(incident_id, records), records)
