"""What the API shows of stored things: the JSON of incidents, alerts, decisions, runs and audit records.

Owns the names of the fields, which scripts rely on; the store's rows may change behind them. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic import BaseModel, Field

from app.domain.alert import AlertStatus, ManualRequest, Source
from app.domain.decision import Mode
from app.domain.outcome import IncidentState, RunState
from app.domain.text import bounded, size_spelled
from app.flow.running.progress import so_far
from app.store.audit import AuditEvent
from app.store.escalations import StoredEscalation
from app.store.incidents import Incident, StoredAlert
from app.store.people import Holder
from app.store.portions import MAX_PORTION, Portion
from app.store.runs import Run
from app.store.work import JournalEntry, StoredDecision

MAX_ALERTS = 200
"""Alerts that the answer about one incident has."""
_MAX_TEXT = 1_000
"""Characters of a label or an annotation there."""


class RejectedView(BaseModel):
    """One alert of a delivery that cannot be understood. `where` is a JSON pointer into the body."""

    index: int
    code: str
    where: str


class Accepted(BaseModel):
    """A stored delivery."""

    delivery: str
    incidents: list[str] = Field(description="every incident it touched")
    rejected: list[RejectedView] = Field(
        default_factory=list, description="the first alerts that cannot be understood; kept, and not acted on"
    )


class Ordered(BaseModel):
    """A stored order."""

    incident: str
    run: str


class Order(BaseModel):
    """The order that opened an incident."""

    remediation: str
    target: str
    params: dict[str, Any]
    reason: str
    requested_by: str
    dry_run: bool


class IncidentSummary(BaseModel):
    """One incident in a list."""

    id: str
    state: IncidentState
    alertname: str
    namespace: str
    severity: str
    target: str | None
    title: str
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    merged_into: str | None
    order: Order | None


class AlertView(BaseModel):
    """One alert of an incident."""

    fingerprint: str
    source: Source
    status: AlertStatus
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str = Field(description="as the sender gave it; shown, never fetched")
    starts_at: datetime
    ends_at: datetime | None
    first_seen: datetime
    last_seen: datetime
    seen: int = Field(description="messages about it")


class DecisionView(BaseModel):
    """One decision with its whole trace."""

    id: str
    at: datetime
    run: str | None
    body: dict[str, Any]


class RunSummary(BaseModel):
    """One run in a list."""

    id: str
    incident: str
    rule: str
    remediation: str
    mode: Mode
    target: str
    state: RunState
    step: str
    step_index: int
    plan_hash: str
    dry_run: bool
    requested_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None
    answer: str
    answered_by: str
    result: str
    progress: str


class StepView(BaseModel):
    """One step of a run: what was intended, and what became of it (null while under way)."""

    name: str
    begun_at: datetime
    ended_at: datetime | None
    intent: dict[str, Any]
    outcome: dict[str, Any] | None


class AskedView(BaseModel):
    """One step of an escalation that was asked."""

    step: str
    at: datetime
    paged: bool


class EscalationView(BaseModel):
    """One round of an escalation: whom it asked and when, when the next step is due, who answered and how."""

    round: int
    reason: str
    begun_at: datetime
    asked: list[AskedView]
    next_at: datetime | None
    answered_by: str | None
    through: str | None
    answered_at: datetime | None
    ended_at: datetime | None


class AcknowledgedView(BaseModel):
    """Who has an incident by their own word."""

    by: str
    through: str
    at: datetime


class LeftOut(BaseModel):
    """How much of an incident is not in the answer."""

    alerts: int = Field(description="`/incidents/ID/alerts` has all")
    decisions: bool = Field(description="there are older ones; `/audit?incident=ID` has all")
    runs: bool = Field(description="there are older ones; `/runs?incident=ID` has all")


class IncidentView(IncidentSummary):
    """One incident with its alerts (those that fire first, 200 at most, and fewer where they are long), decisions, runs, and whom its escalation
    asked. Texts of alerts are cut at 1,000 characters."""

    alerts: list[AlertView]
    left_out: LeftOut
    escalation: list[EscalationView]
    acknowledged: AcknowledgedView | None
    decisions: list[DecisionView]
    runs: list[RunSummary]


class RunView(RunSummary):
    """One run with its plan and steps."""

    plan: dict[str, Any]
    params: dict[str, Any]
    steps: list[StepView]


class AuditView(BaseModel):
    """One audit record; `hash` chains it to the one before."""

    seq: int
    at: datetime
    kind: str
    incident: str
    run: str
    actor: str
    data: dict[str, Any]
    hash: str


def _order(manual: ManualRequest | None) -> Order | None:
    if manual is None:
        return None
    return Order(
        remediation=manual.remediation,
        target=manual.target,
        params=dict(manual.params),
        reason=manual.reason,
        requested_by=manual.requested_by,
        dry_run=manual.dry_run,
    )


def incident_summary(incident: Incident) -> IncidentSummary:
    """An incident for a list."""
    return IncidentSummary(**_incident_fields(incident))


def incident_view(
    incident: Incident,
    alerts: tuple[Iterable[StoredAlert], int],
    decisions: Portion[StoredDecision],
    runs: Portion[Run],
    calls: tuple[Sequence[StoredEscalation], Holder | None],
) -> IncidentView:
    """An incident with what belongs to it: its alerts one by one and their number; `calls` are the rounds of its escalation and who has it."""
    shown = _shown(alerts[0])
    return IncidentView(
        **_incident_fields(incident),
        alerts=shown,
        left_out=LeftOut(alerts=max(0, alerts[1] - len(shown)), decisions=decisions.more, runs=runs.more),
        decisions=[DecisionView(id=d.id, at=d.at, run=d.run_id, body=dict(d.body)) for d in decisions.rows],
        runs=[run_summary(r) for r in runs.rows],
        escalation=[_escalation(e) for e in calls[0]],
        acknowledged=_acknowledged(calls[1]),
    )


def _escalation(found: StoredEscalation) -> EscalationView:
    return EscalationView(
        round=found.round,
        reason=str(found.why.get("reason", "")),
        begun_at=found.begun_at,
        asked=[AskedView(step=a.step, at=a.at, paged=a.paged) for a in found.asked],
        next_at=found.due_at,
        answered_by=found.answered_by or None,
        through=found.through or None,
        answered_at=found.answered_at,
        ended_at=found.over_at,
    )


def _acknowledged(holder: Holder | None) -> AcknowledgedView | None:
    return None if holder is None else AcknowledgedView(by=holder.by, through=holder.through, at=holder.at)


def _incident_fields(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "state": incident.state,
        "alertname": incident.alertname,
        "namespace": incident.namespace,
        "severity": incident.severity,
        "target": incident.target_key,
        "title": incident.title,
        "opened_at": incident.opened_at,
        "updated_at": incident.updated_at,
        "closed_at": incident.closed_at,
        "merged_into": incident.merged_into,
        "order": _order(incident.manual),
    }


def _shown(alerts: Iterable[StoredAlert]) -> list[AlertView]:
    """The first alerts with the beginnings of their texts, as many as one answer holds."""
    shown, left = list[AlertView](), MAX_PORTION
    for alert in islice(alerts, MAX_ALERTS):
        labels, annotations = _beginnings(alert.labels), _beginnings(alert.annotations)
        left -= sum(
            size_spelled(part) for texts in (labels, annotations) for pair in texts.items() for part in pair
        )
        if shown and left < 0:
            break
        shown.append(alert_view(replace(alert, labels=labels, annotations=annotations)))
    return shown


def _beginnings(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: bounded(text, _MAX_TEXT) for name, text in texts.items()}


def alert_view(alert: StoredAlert) -> AlertView:
    """An alert as it was sent."""
    return AlertView(
        fingerprint=alert.fingerprint,
        source=alert.source,
        status=alert.status,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        generator_url=alert.generator_url,
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        first_seen=alert.first_seen,
        last_seen=alert.last_seen,
        seen=alert.seen,
    )


def run_summary(run: Run) -> RunSummary:
    """A run for a list."""
    return RunSummary(**_run_fields(run))


def run_view(run: Run, steps: Sequence[JournalEntry]) -> RunView:
    """A run with its plan and steps."""
    return RunView(
        **_run_fields(run),
        plan=run.step.to_json(),
        params=dict(run.params),
        steps=[
            StepView(
                name=s.name,
                begun_at=s.begun_at,
                ended_at=s.ended_at,
                intent=dict(s.intent),
                outcome=None if s.outcome is None else dict(s.outcome),
            )
            for s in steps
        ],
    )


def _run_fields(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "incident": run.incident_id,
        "rule": run.rule,
        "remediation": run.remediation,
        "mode": run.mode,
        "target": run.target_key.partition("#")[0],  # an order that started nothing holds no target
        "state": run.state,
        "step": run.step.name,
        "step_index": run.step_index,
        "plan_hash": run.plan_hash,
        "dry_run": run.dry_run,
        "requested_at": run.requested_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
        "expires_at": run.expires_at,
        "answer": run.answer,
        "answered_by": run.answered_by,
        "result": run.result,
        "progress": so_far(run).text,
    }


def audit_view(event: AuditEvent) -> AuditView:
    """An audit record."""
    return AuditView(
        seq=event.seq,
        at=event.at,
        kind=event.kind.value,
        incident=event.incident_id,
        run=event.run_id,
        actor=event.actor,
        data=event.data,
        hash=event.hash,
    )
