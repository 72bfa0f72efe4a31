"""Statuses: what the public and PagerDuty's subscribers are told of an incident that needs a person, in the fields of the policy.

Called by `app.flow.people.escalation` inside its transactions. A status has fixed fields only: no label, no text of an alert and no name of
a person gets in. Only writes outbox rows.
"""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.errors import Missing
from app.flow.notifying import calls
from app.flow.notifying.calls import Status, To
from app.flow.services import Reach
from app.notify.pagerduty import severity_of
from app.policy.escalation import StatusField, StatusMessages, StatusPage
from app.policy.model import Policy
from app.store import incidents
from app.store.escalations import StoredEscalation
from app.store.tx import Tx


def tell(tx: Tx, reach: Reach, policy: Policy, of: StoredEscalation, status: Status) -> None:
    """Queue this status wherever the policy wants it, and once each. What was never begun does not end."""
    wanted = policy.escalation
    if wanted is None:
        return
    page = wanted.status_page
    if page is not None and reach.status_page and _follows(tx, of, To.PAGE, status):
        calls.put_status(tx, of, To.PAGE, status, _body(tx, page, of, status))
    if wanted.status_updates and reach.notes and not of.storm and _follows(tx, of, To.PAGERDUTY, status):
        message = _message(page.messages if page is not None else StatusMessages(), status)
        calls.put_status(tx, of, To.PAGERDUTY, status, {"message": message})


def _follows(tx: Tx, of: StoredEscalation, to: To, status: Status) -> bool:
    return status is Status.INVESTIGATING or calls.has_status(tx.conn, of.subject, to, Status.INVESTIGATING)


def _message(messages: StatusMessages, status: Status) -> str:
    return str(getattr(messages, status.value))


def _body(tx: Tx, page: StatusPage, of: StoredEscalation, status: Status) -> dict[str, str]:
    values = {
        StatusField.ID: of.subject,
        StatusField.STATUS: status.value,
        StatusField.MESSAGE: _message(page.messages, status),
        StatusField.SEVERITY: _severity(tx, of),
        StatusField.SINCE: _stamp(of.begun_at),
        StatusField.UPDATED: _stamp(tx.now),
    }
    return {**page.constants, **{key: values[field] for key, field in page.fields.items()}}


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _severity(tx: Tx, of: StoredEscalation) -> str:
    """In one of PagerDuty's four words, whatever the alert's label says."""
    try:
        return "critical" if of.storm else severity_of(incidents.get(tx.conn, of.incident_id).severity)
    except Missing:
        return "error"
