"""The closed list of audit events. Each state change appends exactly one, in the same transaction.

`explain` reads nothing else: if a run cannot be told from these, one is missing here.
"""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """What happened. `noun.verb-in-the-past`."""

    ALERT_FIRED = "alert.fired"
    ALERT_ENRICHED = "alert.enriched"
    ALERT_RESOLVED = "alert.resolved"
    ALERT_REJECTED = "alert.rejected"
    DELIVERY_TRUNCATED = "delivery.truncated"
    MANUAL_REQUESTED = "manual.requested"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_TARGETED = "incident.targeted"
    INCIDENT_MERGED = "incident.merged"
    INCIDENT_MOVED = "incident.moved"
    DIAGNOSED = "incident.diagnosed"
    DECIDED = "incident.decided"
    RUN_REQUESTED = "run.requested"
    RUN_MOVED = "run.moved"
    RECHECKED = "run.rechecked"
    ACTION_INTENDED = "action.intended"
    ACTION_ENDED = "action.ended"
    MEASURED = "run.measured"
    VERIFIED = "run.verified"
    UNDO_INTENDED = "undo.intended"
    UNDO_HELD = "undo.held"
    UNDO_ENDED = "undo.ended"
    TEMPORARY_GRANTED = "temporary.granted"
    TEMPORARY_EXTENDED = "temporary.extended"
    TEMPORARY_KEPT = "temporary.kept"
    TEMPORARY_ENDED = "temporary.ended"
    ESCALATED = "incident.escalated"
    APPROVAL_ASKED = "approval.asked"
    APPROVED = "approval.given"
    REJECTED = "approval.rejected"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_COUNTED = "approval.counted"
    APPROVAL_SNOOZED = "approval.snoozed"
    CLICKED = "click.taken"
    CLICK_IGNORED = "click.ignored"
    UNDO_REQUESTED = "undo.requested"
    TRUST_CHANGED = "trust.changed"
    PAUSED = "pause.set"
    RESUMED = "pause.lifted"
    POLICY_LOADED = "policy.loaded"
    POLICY_REFUSED = "policy.refused"
    SERVICE_STARTED = "service.started"
    NOTIFIED = "message.sent"
    NOTIFY_FAILED = "message.failed"
    PRUNED = "audit.pruned"
