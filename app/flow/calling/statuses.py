"""Statuses: what the public and PagerDuty's subscribers are told of an incident that needs a person, in the fields of the policy.

Called by `app.flow.calling.escalation` inside its transactions. A status has fixed fields only: no label, no text of an alert and no name of
a person gets in. Only writes outbox rows.
"""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.json import canonical
from app.flow.calling import calls, severity
from app.flow.calling.calls import Status, To
from app.flow.services import Reach
from app.notify.pagerduty import severity_of
from app.policy.escalation import StatusField, StatusMessages, StatusPage
from app.policy.model import Policy
from app.store.escalations import StoredEscalation
from app.store.tx import Tx


def tell(tx: Tx, reach: Reach, policy: Policy, of: StoredEscalation, status: Status) -> None:
    """Queue this status wherever the policy wants it, and once each: for the subject, and for incidents that were merged into it while they
    were told of. What was never begun does not end, and while one of them is told of no other begins. What was begun ends, also when the
    policy wants no statuses any more by then: as it was begun."""
    wanted, ends = policy.escalation, status is Status.RESOLVED
    page = wanted.status_page if wanted is not None else None
    if reach.status_page and (page is not None or ends):
        for entry in _entries(tx, of, To.PAGE, status):
            written = page or _as_begun(tx, entry)
            body = _body(tx, written, (of, entry.subject), status)
            calls.put_status(tx, entry, status, body, written.model_dump(mode="json"))
    if reach.notes and not of.storm and (ends or (wanted is not None and wanted.status_updates)):
        message = _message(page.messages if page is not None else StatusMessages(), status)
        for entry in _entries(tx, of, To.PAGERDUTY, status):
            calls.put_status(tx, entry, status, {"message": message})


def _as_begun(tx: Tx, entry: calls.Entry) -> StatusPage:
    """How the page was written to when the entry began; the default for one that began before this was kept."""
    written = calls.layout_of(tx.conn, entry)
    return StatusPage.model_validate_json(canonical(dict(written))) if written else StatusPage()


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
    return severity.OF_STORM if of.storm else severity_of(severity.followed(tx.conn, of))
