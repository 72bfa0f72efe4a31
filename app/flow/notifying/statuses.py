"""Statuses: what the public and PagerDuty's subscribers are told of an incident that needs a person, in the fields of the policy.

Called by `app.flow.people.escalation` inside its transactions. A status has fixed fields only: no label, no text of an alert and no name of
a person gets in. Only writes outbox rows.
"""

from __future__ import annotations

from datetime import UTC, datetime

from app.flow.notifying import calls, severity
from app.flow.notifying.calls import Status, To
from app.flow.services import Reach
from app.notify.pagerduty import severity_of
from app.policy.escalation import StatusField, StatusMessages, StatusPage
from app.policy.model import Policy
from app.store.escalations import StoredEscalation
from app.store.tx import Tx


def tell(tx: Tx, reach: Reach, policy: Policy, of: StoredEscalation, status: Status) -> None:
    """Queue this status wherever the policy wants it, and once each: for the subject, and for incidents that were merged into it while they
    were told of. What was never begun does not end, and while one of them is told of no other begins."""
    wanted = policy.escalation
    if wanted is None:
        return
    page = wanted.status_page
    if page is not None and reach.status_page:
        for entry in _entries(tx, of, To.PAGE, status):
            calls.put_status(tx, entry, status, _body(tx, page, (of, entry.subject), status))
    if wanted.status_updates and reach.notes and not of.storm:
        message = _message(page.messages if page is not None else StatusMessages(), status)
        for entry in _entries(tx, of, To.PAGERDUTY, status):
            calls.put_status(tx, entry, status, {"message": message})


def _entries(tx: Tx, of: StoredEscalation, to: To, status: Status) -> list[calls.Entry]:
    """In which entries it is told."""
    entries = [calls.entry_of(tx.conn, of, subject, to) for subject in (of.subject, *of.merged)]
    begun = [entry for entry in entries if calls.is_open(tx.conn, entry)]
    return begun or entries[:1] if status is Status.INVESTIGATING else begun


def _message(messages: StatusMessages, status: Status) -> str:
    return str(getattr(messages, status.value))


def _body(tx: Tx, page: StatusPage, about: tuple[StoredEscalation, str], status: Status) -> dict[str, str]:
    of, subject = about
    values = {
        StatusField.ID: subject,
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
    return "critical" if of.storm else severity_of(severity.followed(tx.conn, of))
