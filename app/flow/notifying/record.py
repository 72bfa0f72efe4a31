"""Record: a state change, its audit event and its message, always in one transaction; who has an incident by their own word; and, after the
transaction, the metrics.

The only place where the flow writes to the outbox, so that nothing is told that did not happen and nothing happens
that is not told. Never posts anything itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, select

from app.domain.decision import Decision
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.free_text import OF_PAGERDUTY
from app.domain.outcome import IncidentState, RunState
from app.domain.text import bounded, visible
from app.flow.calling import attended, calls, severity, statuses
from app.flow.calling.attended import Left
from app.flow.calling.calls import Do, Status
from app.flow.people.approvers import names_of
from app.flow.services import Services
from app.notify.escalation import Acknowledged, LetGo
from app.notify.timeline import Escalation, Fact, Topic, fact_to_json, payload
from app.policy.schedule import Fate
from app.policy.trust import LEVELS
from app.store import (
    escalations,
    facts,
    incidents,
    outbox,
    people,
    runs,
    schedule_ends,
    schema,
    trust_levels,
    work,
)
from app.store.approvals import Given
from app.store.incidents import Incident
from app.store.people import Holder
from app.store.runs import Run
from app.store.schema import LIVE, OPEN
from app.store.tx import Tx

AUDITED: Mapping[Topic, EventKind] = {
    Topic.EVIDENCE: EventKind.DIAGNOSED,
    Topic.APPROVAL_ASKED: EventKind.APPROVAL_ASKED,
    Topic.ACTION: EventKind.ACTION_ENDED,
    Topic.VERIFIED: EventKind.VERIFIED,
    Topic.UNDO: EventKind.UNDO_ENDED,
    Topic.UNDO_HELD: EventKind.UNDO_HELD,
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
    if not tx.put(f"{incident_id}:{topic.value}:{once}", incident_id, topic.value, payload(topic, fact)):
        return False
    actor, told = actor_of(fact), fact_to_json(topic, fact)
    tx.audit(AUDITED[topic], incident_id=incident_id, run_id=run_id, actor=actor, data=told)
    return True


def actor_of(fact: Fact) -> str:
    """Whose doing it is: a person's who took the incident, else the service's."""
    return fact.by if isinstance(fact, Acknowledged) else "service"


def call(tx: Tx, incident_id: str, why: Escalation, *, once: str, run_id: str = "") -> None:
    """Say that a person is needed, and have the policy's steps asked. Steps under way that nobody answered go on; who had the incident
    before has to say so again. Nobody is called for a target of a storm that lasts, unless the service itself left it so by what `run_id` wrote:
    people are asked for the storm, or somebody has it, and when they give it back people are called for all of it."""
    storm = None if _wrote(tx.conn, run_id) else _who_is_asked_for_its_storm(tx, incident_id)
    if storm is not None:
        why = replace(why, reason=f"{why.reason}; {storm}, so nobody is called for it alone", alone=False)
    if (
        not tell(tx, Topic.ESCALATED, why, incident_id=incident_id, once=once, run_id=run_id)
        or storm is not None
    ):
        return
    begun = escalations.begin(tx, incident_id, incident_id, fact_to_json(Topic.ESCALATED, why))
    if begun is None:
        return
    if (holder := people.holder_of(tx.conn, incident_id)) is not None:
        if begun.before is None:  # nobody was asked before, and the steps do not say that they begin anew
            _say_let_go(tx, incident_id, holder, "a person is needed again")
        people.let_go(tx, incident_id)
    if begun.before is not None and begun.before.page_key:
        # PagerDuty calls nobody for an event that joins a page which somebody has taken: the next one is a new page.
        calls.put_page(tx, begun.before, begun.before.page_key, Do.RESOLVE)


def is_theirs(  # the rule's parameters
    tx: Tx, incident: Incident, why: str, *, once: str, by: str = "", reopen: bool = False
) -> None:
    """A person has the incident (`by`, where they said so otherwise than by taking it), and nobody is called: that is a round which they have
    answered. So what is more severe than what they took begins the steps, and so does their word when it is taken back, as after any answer.
    One that nothing would ever end is over by that: an order's, unless people are asked for it just now or a run of it is stuck, and one whose place
    and alert a newer one has."""
    incident_id, walk = incident.id, escalations.of_subject(tx, incident.id)
    elsewhere = incident.closed_at is not None and not incident.state.closed
    waits = incident.state is IncidentState.STUCK or (walk is not None and walk.answered_at is None)
    over = elsewhere or (incident.manual is not None and not waits)
    state = IncidentState.RESOLVED if over else IncidentState.ESCALATED
    move(tx, incident, state, once=once, reason=why, reopen=reopen)
    if over or walk is not None:
        return
    begun = escalations.begin(tx, incident_id, incident_id, fact_to_json(Topic.ESCALATED, Escalation(why)))
    holder, taker = people.holder_of(tx.conn, incident_id), people.pagerduty_taker(tx.conn, incident_id)
    if begun is None:
        return
    has, through = (holder.by, holder.through) if holder else (taker, "PagerDuty")
    known = replace(begun.now, severity=holder.severity if holder else None)
    given = severity.answered_for(tx.conn, known, in_pagerduty=bool(taker) and not (by or holder))
    escalations.answer(tx, known, by or has or "somebody", "an order" if by or not has else through, given)


def _wrote(conn: Connection, run_id: str) -> bool:
    """It was at its target, or may have been: a plan that nobody agreed to was not."""
    return any(
        entry.intent.get("entry") == "action" for entry in (runs.entries(conn, run_id) if run_id else ())
    )


def _who_is_asked_for_its_storm(tx: Tx, incident_id: str) -> str | None:
    """Who has the storm in which this incident was decided and which is not over, or that people are asked for it; None for no storm."""
    taker = escalations.storm_of(tx.conn, incident_id)
    if taker is None or not attended.in_a_storm(tx.conn, incident_id):
        return None
    taker = taker.removeprefix(OF_PAGERDUTY)
    return f"{taker} has the storm it is part of" if taker else "people are asked for the storm it is part of"


def end_run(tx: Tx, run_id: str, state: RunState, result: str) -> Run:
    """End a run and return it; what waited for it on its target has its turn now, and so may other incidents that were
    refused."""
    runs.move(tx, run_id, state, result=result)
    run = runs.get(tx.conn, run_id)
    work.wake_on(tx, run.target_key)
    work.wake_resting(tx, observed=False, limit=_WOKEN)
    return run


def announce(tx: Tx, topic: Topic, *, incident_id: str, once: str, fact: Fact | None = None) -> None:
    """Put a message without an audit record of its own: what it tells has been audited already."""
    tx.put(f"{incident_id}:{topic.value}:{once}", incident_id, topic.value, payload(topic, fact))


def waits(tx: Tx, run: Run) -> None:
    """The second attempt in a row got no answer: from then on the parent message says what the run waits for. `run` as it was before."""
    if run.attempt == 1:
        announce(tx, Topic.MOVED, incident_id=run.incident_id, once=f"{run.id}/waits/{tx.stamp}")


def move(  # the rule's parameters
    tx: Tx, incident: Incident, state: IncidentState, *, once: str, reason: str = "", reopen: bool = False
) -> None:
    """Move the incident and have its parent message edited. With `reopen` a closed one is open again; when a newer incident
    has taken its place it stays closed and only its headline changes. What waited for the end of one on its target is looked at again."""
    try:
        moved = incidents.move(tx, incident.id, state, reason=reason, reopen=reopen)
    except Refused:
        moved = incidents.restate(tx, incident.id, state, reason)
    if moved and state.closed and incident.target_key:
        work.wake_on(tx, incident.target_key)
    if moved:
        announce(tx, Topic.MOVED, incident_id=incident.id, once=f"{state.value}:{once}")


def taken(tx: Tx, services: Services, incident_id: str, by: str) -> None:
    """A person ordered or answered something about the incident: whoever was called for it is not needed. Nothing when nobody waits for
    an answer. Automatic steps are not held by it: the person said what they want."""
    walk = escalations.of_subject(tx, incident_id)
    if walk is None or walk.answered_at is not None:
        return
    escalations.answer(tx, walk, by, "an order", severity.answered_for(tx.conn, walk))
    if walk.page_key:
        calls.put_page(tx, walk, walk.page_key, Do.ACKNOWLEDGE)
    statuses.tell(tx, services.reach, services.policy(), walk, Status.IDENTIFIED)
    fact = Acknowledged(by, "an order", len(walk.asked), tx.now)
    tell(tx, Topic.ACKNOWLEDGED, fact, incident_id=incident_id, once=f"escalation/{walk.round}")


def escalate(  # the rule's parameters
    tx: Tx, incident: Incident, why: Escalation, *, once: str, run_id: str = "", reopen: bool = False
) -> None:
    """Hand the incident to a person, who is called."""
    call(tx, incident.id, why, once=once, run_id=run_id)
    state = IncidentState.STUCK if why.stuck else IncidentState.ESCALATED
    move(tx, incident, state, once=once, reason=why.reason, reopen=reopen)


# Holding: who has an incident by their own word, which stands for what was as severe when they gave it, and for
# nothing more severe.
#
# Called where somebody takes an incident, where two become one and where the gates' facts are read, so that no
# decision is held by a word that was given for less. What somebody no longer has is said in the thread and kept in
# the trail. Never calls anybody.

_WORD = 40  # characters of a severity that are told


def take_incident(tx: Tx, incident_id: str, by: str, through: str, given: str | None = None) -> None:
    """This person has the incident, for what is as severe as `given`, or as it is now. One that no look comes to, as it is an order's or a newer one
    has its alert, is over when it was open for this word alone."""
    severe = severity.of_incident(tx.conn, incident_id) if given is None else given
    people.give_incident(tx, incident_id, by, through, severe)
    incident = incidents.get(tx.conn, incident_id)
    if incident.manual is None and incident.closed_at is None:
        return
    if attended.left(tx.conn, incident, None) is Left.OVER:
        reason = f"{by} has what is left of it"
        move(tx, incident, IncidentState.RESOLVED, once=f"attended/{tx.stamp}", reason=reason)


def overtaken(tx: Tx, looked_at: Incident) -> bool:
    """Whether the incident is no longer as it was when this look at it began: closed, a run's, decided by another look, or without an alert that
    fires. What was found is old then, nothing follows from it, and what is still open is looked at anew. A worker that stood still for longer
    than its claim comes back to this."""
    held = incidents.hold(tx, looked_at.id)
    if facts.live_of(tx.conn, held.id) is not None:
        return True
    same = (held.state, held.decided_at) == (looked_at.state, looked_at.decided_at)
    fires = held.manual is not None or incidents.firing_count(tx.conn, held.id) > 0
    if same and fires and not held.state.closed:
        return False
    incidents.schedule(tx, held.id, tx.now)
    return True


def holder_in_force(tx: Tx, incident_id: str) -> Holder | None:
    """Who has the incident; None for nobody, and once it is more severe than what they took: then they no longer have it, and it is said.
    Where people were asked, the walk of the steps says so, with the steps that begin anew."""
    holder = people.holder_of(tx.conn, incident_id)
    if holder is None or any(walk.over_at is None for walk in escalations.of_incident(tx.conn, incident_id)):
        return holder
    now = severity.of_incident(tx.conn, incident_id)
    if holder.severity is None:
        people.held_for(tx, incident_id, now)
    elif severity.above(tx.conn, incident_id, holder.severity):
        _say_let_go(tx, incident_id, holder, risen(now, holder.severity))
        people.let_go(tx, incident_id)
        return None
    return holder


def theirs(tx: Tx, incident_id: str) -> str:
    """Whose the incident is, in words, so that nobody is called for it: by their own word, as it is in force, or by PagerDuty's."""
    holder = holder_in_force(tx, incident_id)
    return attended.in_pagerduty(tx.conn, incident_id) if holder is None else holder.text


def taken_since(conn: Connection, services: Services, incident_id: str, agreed: Sequence[Given]) -> bool:
    """Somebody has taken the incident since a plan for it was agreed to, who is not among those who did: nobody who agreed knew of it."""
    if not agreed:
        return False
    at = max(word.at for word in agreed)
    names = {name for word in agreed for name in names_of(word.given_by, services.people)}
    return any(since > at and by not in names for by, since in people.takers(conn, incident_id))


def risen(now: str, before: str) -> str:
    """In words: `it is critical now, warning before`."""
    words = (visible(bounded(word, _WORD)) or "no severity" for word in (now, before))
    return f"it is {' now, '.join(words)} before"


def _say_let_go(tx: Tx, incident_id: str, holder: Holder, why: str) -> None:
    data = {"through": holder.through, "had": holder.by, "reason": why}
    tx.audit(EventKind.RELEASED, incident_id=incident_id, actor="service", data=data)
    once = f"risen/{tx.stamp}"
    announce(tx, Topic.LET_GO, incident_id=incident_id, once=once, fact=LetGo(holder.by, why))


# Counting: what the chapters tell the metrics, after the transaction that made it true. Never decides anything.


def count_decided(services: Services, incident: Incident, decision: Decision) -> None:
    """One decision with its gates; the first one of an incident is timed."""
    metrics = services.metrics
    metrics.decisions.labels(decision.verdict.value, decision.code.value).inc()
    for gate in decision.gates:
        metrics.gates.labels(gate.gate, gate.verdict.value).inc()
    if incident.decided_at is None:
        metrics.decide_seconds.observe((services.clock.now() - incident.opened_at).total_seconds())


def count_decided_many(services: Services, found: Sequence[tuple[Incident, Decision]]) -> None:
    """`decided` for many, one call a label."""
    metrics, now = services.metrics, services.clock.now()
    for (verdict, code), number in Counter((d.verdict, d.code) for _, d in found).items():
        metrics.decisions.labels(verdict.value, code.value).inc(number)
    for (gate, said), number in Counter((g.gate, g.verdict) for _, d in found for g in d.gates).items():
        metrics.gates.labels(gate, said.value).inc(number)
    for incident, _ in found:
        if incident.decided_at is None:
            metrics.decide_seconds.observe((now - incident.opened_at).total_seconds())


def count_ended(services: Services, run: Run | None, state: RunState) -> None:
    """One run that has ended; None when it had ended before."""
    if run is None:
        return
    services.metrics.runs.labels(run.remediation, state.value).inc()
    services.metrics.run_seconds.labels(run.remediation).observe(
        (services.clock.now() - run.requested_at).total_seconds()
    )


def count_write(services: Services, run: Run, incident: Incident) -> None:
    """The first mutation of an incident's first run, timed from the stored alert."""
    if run.step_index == 0 and run.id.endswith("_1"):
        seconds = (services.clock.now() - incident.opened_at).total_seconds()
        services.metrics.write_seconds.labels(run.mode.value).observe(seconds)


def count_scheduled(services: Services, rules: Iterable[str]) -> None:
    """These rules have a schedule: each result is there at 0 before it is counted, as a counter that appears at 1 shows no increase."""
    for rule in rules:
        for fate in Fate:
            services.metrics.schedules.labels(rule, fate.value)


async def set_schedule_gauges(services: Services) -> None:
    """Set the gauges of the rules with a schedule, from the store, so that a restart loses nothing."""
    rules = [rule.name for rule in services.policy().rules if rule.schedule is not None]
    count_scheduled(services, rules)
    now, metrics = services.clock.now(), services.metrics
    found = await services.store.read(lambda conn: {rule: schedule_ends.health(conn, rule) for rule in rules})
    for gauge in (metrics.schedule_good, metrics.schedule_missed, metrics.schedule_outcome):
        gauge.clear()
    for rule, health in found.items():
        since = (now - health.since).total_seconds() if health.since is not None else 0.0
        metrics.schedule_good.labels(rule).set(max(0.0, since))
        metrics.schedule_missed.labels(rule).set(health.missed)
        if health.outcome:
            metrics.schedule_outcome.labels(rule, health.outcome).set(1)


async def set_gauges(services: Services) -> None:
    """Set the gauges from the store: what is open, live, waiting and paused."""
    now = services.clock.now()

    def look(
        conn: Connection,
    ) -> tuple[Counter[str], Counter[str], tuple[int, float], Counter[str], tuple[dict[str, int], int]]:
        states = select(schema.incidents.c.state, func.count()).where(OPEN).group_by(schema.incidents.c.state)
        live = select(schema.runs.c.state, func.count()).where(LIVE).group_by(schema.runs.c.state)
        waiting = outbox.pending(conn, 1)
        age = (now - waiting[0].created_at).total_seconds() if waiting else 0.0
        held = Counter(p.scope.partition(":")[0] for p in people.pauses_in_force(conn, now))
        return (
            Counter({row[0]: row[1] for row in conn.execute(states)}),
            Counter({row[0]: row[1] for row in conn.execute(live)}),
            (outbox.depth(conn), age),
            held,
            trust_levels.count(conn),
        )

    open_now, live_now, (depth, age), held, (levels, promotions) = await services.store.read(look)
    metrics = services.metrics
    for state in IncidentState:
        metrics.incidents.labels(state.value).set(open_now[state.value])
    for run_state in RunState:
        if not run_state.ended:
            metrics.runs_live.labels(run_state.value).set(live_now[run_state.value])
    metrics.outbox_depth.set(depth)
    metrics.outbox_age.set(age)
    for level in LEVELS:
        metrics.trust_levels.labels(level.value).set(levels.get(level.value, 0))
    metrics.promotions.set(promotions)
    for scope in ("all", "namespace", "target", "rule", "remediation"):
        metrics.paused.labels(scope).set(held[scope])
    await set_schedule_gauges(services)
