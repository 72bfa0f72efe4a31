"""Record: a state change, its audit event and its message, always in one transaction.

The only place where the flow writes to the outbox, so that nothing is told that did not happen and nothing happens
that is not told. Never posts anything itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.notify.timeline import Escalation, Fact, Topic, fact_to_json, payload
from app.store import facts, incidents, outbox, runs
from app.store.database import Tx
from app.store.incidents import Incident
from app.store.runs import Run

_KINDS: Mapping[Topic, EventKind] = {
    Topic.EVIDENCE: EventKind.DIAGNOSED,
    Topic.APPROVAL_ASKED: EventKind.APPROVAL_ASKED,
    Topic.ACTION: EventKind.ACTION_ENDED,
    Topic.VERIFIED: EventKind.VERIFIED,
    Topic.UNDO: EventKind.UNDO_ENDED,
    Topic.ESCALATED: EventKind.ESCALATED,
}


_WOKEN = 20  # refused incidents that are looked at again when a run ends


def tell(
    tx: Tx,
    topic: Topic,
    fact: Fact,
    *,
    incident_id: str,
    once: str,
    run_id: str = "",
) -> bool:
    """Audit the fact and put its thread entry into the outbox. `once` identifies the transition: a second call with
    the same one does nothing and returns False."""
    if not outbox.put(
        tx, f"{incident_id}:{topic.value}:{once}", incident_id, topic.value, payload(topic, fact)
    ):
        return False
    tx.audit(_KINDS[topic], incident_id=incident_id, run_id=run_id, data=fact_to_json(topic, fact))
    return True


def end_run(tx: Tx, run_id: str, state: RunState, result: str) -> Run:
    """End a run and return it; incidents that were refused while it went on may have their turn now."""
    runs.move(tx, run_id, state, result=result)
    facts.wake_resting(tx, observed=False, limit=_WOKEN)
    return runs.get(tx.conn, run_id)


def announce(tx: Tx, topic: Topic, *, incident_id: str, once: str, fact: Fact | None = None) -> None:
    """Put a message without an audit record of its own: what it tells has been audited already."""
    outbox.put(tx, f"{incident_id}:{topic.value}:{once}", incident_id, topic.value, payload(topic, fact))


def move(  # the rule's parameters
    tx: Tx, incident: Incident, state: IncidentState, *, once: str, reason: str = "", reopen: bool = False
) -> None:
    """Move the incident and have its parent message edited. With `reopen` a closed one is open again; when a newer incident
    has taken its place it stays closed and only its headline changes."""
    try:
        moved = incidents.move(tx, incident.id, state, reason=reason, reopen=reopen)
    except Refused:
        moved = incidents.restate(tx, incident.id, state, reason)
    if moved:
        announce(tx, Topic.MOVED, incident_id=incident.id, once=f"{state.value}:{once}")


def escalate(  # the rule's parameters
    tx: Tx, incident: Incident, why: Escalation, *, once: str, run_id: str = "", reopen: bool = False
) -> None:
    """Hand the incident to a person, who is paged."""
    tell(tx, Topic.ESCALATED, why, incident_id=incident.id, once=once, run_id=run_id)
    state = IncidentState.STUCK if why.stuck else IncidentState.ESCALATED
    move(tx, incident, state, once=once, reason=why.reason, reopen=reopen)
