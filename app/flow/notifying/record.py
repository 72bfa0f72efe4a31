"""Record: a state change, its audit event and its message, always in one transaction.

The only place where the flow writes to the outbox, so that nothing is told that did not happen and nothing happens
that is not told. Never posts anything itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.notifying import calls
from app.flow.notifying.calls import Do
from app.notify.escalation import Acknowledged
from app.notify.timeline import Escalation, Fact, Topic, fact_to_json, payload
from app.store import acknowledgements, escalations, facts, incidents, outbox, runs
from app.store.database import Tx
from app.store.incidents import Incident
from app.store.runs import Run

AUDITED: Mapping[Topic, EventKind] = {
    Topic.EVIDENCE: EventKind.DIAGNOSED,
    Topic.APPROVAL_ASKED: EventKind.APPROVAL_ASKED,
    Topic.ACTION: EventKind.ACTION_ENDED,
    Topic.VERIFIED: EventKind.VERIFIED,
    Topic.UNDO: EventKind.UNDO_ENDED,
    Topic.ESCALATED: EventKind.ESCALATED,
    Topic.ASKED: EventKind.STEP_ASKED,
    Topic.ACKNOWLEDGED: EventKind.ACKNOWLEDGED,
    Topic.UNANSWERED: EventKind.UNANSWERED,
}
"""The audit record of each fact that is told."""

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
    actor, told = actor_of(fact), fact_to_json(topic, fact)
    tx.audit(AUDITED[topic], incident_id=incident_id, run_id=run_id, actor=actor, data=told)
    return True


def actor_of(fact: Fact) -> str:
    """Whose doing it is: a person's who took the incident, else the service's."""
    return fact.by if isinstance(fact, Acknowledged) else "service"


def call(tx: Tx, incident_id: str, why: Escalation, *, once: str, run_id: str = "") -> None:
    """Say that a person is needed, and have the policy's steps asked. Steps under way that nobody answered go on; who had the incident
    before has to say so again."""
    if not tell(tx, Topic.ESCALATED, why, incident_id=incident_id, once=once, run_id=run_id):
        return
    begun = escalations.begin(tx, incident_id, incident_id, fact_to_json(Topic.ESCALATED, why))
    if begun is None:
        return
    acknowledgements.forget(tx, incident_id)
    if begun.before is not None and begun.before.page_key:
        # PagerDuty calls nobody for an event that joins a page which somebody has taken: the next one is a new page.
        calls.put_page(tx, begun.before, begun.before.page_key, Do.RESOLVE)


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


def taken(tx: Tx, incident_id: str, by: str) -> None:
    """A person ordered or answered something about the incident: whoever was called for it is not needed. Nothing when nobody waits for
    an answer. Automatic steps are not held by it: the person said what they want."""
    walk = escalations.of_subject(tx, incident_id)
    if walk is None or walk.answered_at is not None:
        return
    escalations.answer(tx, walk.id, by, "an order")
    if walk.page_key:
        calls.put_page(tx, walk, walk.page_key, Do.ACKNOWLEDGE)
    fact = Acknowledged(by, "an order", len(walk.asked), tx.now)
    tell(tx, Topic.ACKNOWLEDGED, fact, incident_id=incident_id, once=f"escalation/{walk.round}")


def escalate(  # the rule's parameters
    tx: Tx, incident: Incident, why: Escalation, *, once: str, run_id: str = "", reopen: bool = False
) -> None:
    """Hand the incident to a person, who is called."""
    call(tx, incident.id, why, once=once, run_id=run_id)
    state = IncidentState.STUCK if why.stuck else IncidentState.ESCALATED
    move(tx, incident, state, once=once, reason=why.reason, reopen=reopen)
