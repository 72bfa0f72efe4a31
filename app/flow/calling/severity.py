"""Severity: which severity an escalation follows: that of the most severe alert of its incident that fires; which steps it has by that, for how severe
somebody answers, and whose call is for another incident of its target as well.

Called by the walk of the steps, by merges and by statuses, and where a person would be called. A round's own never falls: what was asked for stays asked for. Only reads.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from app.domain.alert import Source
from app.domain.errors import Missing
from app.domain.json import canonical
from app.policy.escalation import EscalationStep, left, steps_of
from app.policy.match import rank_of
from app.policy.model import Policy, Rule
from app.store import escalations, incidents, outbox, people, severities, work
from app.store.escalations import StoredEscalation
from app.store.incidents import Incident
from app.store.people import Holder

OF_STORM = "critical"
"""Of a storm as a whole, whatever its first alert says."""


def of_incident(conn: Connection, incident_id: str) -> str:
    """That of the most severe alert that fires, what is not known last; of its first alert when none says one. Empty without any."""
    try:
        first = incidents.get(conn, incident_id).severity
    except Missing:
        return ""
    found = severities.firing(conn, incident_id)
    return min(found, key=lambda s: (rank_of(s), s != first, s), default=first)


def followed(conn: Connection, walk: StoredEscalation) -> str:
    """That whose steps the round asks when it is looked at now; empty for a storm."""
    if walk.storm:
        return ""
    if walk.severity is None or (walk.joined and has_risen(conn, walk)):
        return of_incident(conn, walk.subject)
    return walk.severity


def steps_begun(walk: StoredEscalation) -> tuple[EscalationStep, ...]:
    """The steps that the policy had for the round when it began."""
    return tuple(EscalationStep.model_validate_json(canonical(dict(step))) for step in walk.steps or ())


def steps_now(conn: Connection, policy: Policy, walk: StoredEscalation) -> tuple[EscalationStep, ...]:
    """The steps that the policy in force has for it; for a storm those of no severity and no rule."""
    if walk.storm:
        return steps_of(policy.escalation, "", "")
    return steps_of(policy.escalation, followed(conn, walk), _rule(conn, walk.subject))


def steps_left(conn: Connection, policy: Policy, walk: StoredEscalation) -> tuple[EscalationStep, ...]:
    """The steps that are still to be asked."""
    return left(steps_begun(walk), steps_now(conn, policy, walk), [a.step for a in walk.asked])


def as_risen(conn: Connection, walk: StoredEscalation) -> StoredEscalation:
    """The round that is asked next: the one that begins anew when a more severe alert has joined."""
    return replace(walk, asked=(), steps=None) if has_risen(conn, walk) else walk


def _rule(conn: Connection, incident_id: str) -> str:
    """Of the incident's last decision; empty for none."""
    last = work.latest_decision(conn, incident_id)
    return str(last.body.get("rule") or "") if last is not None else ""


def has_risen(conn: Connection, walk: StoredEscalation) -> bool:
    """An alert that is more severe than what the round asks people about has joined."""
    return (
        walk.joined
        and walk.severity is not None
        and not walk.storm
        and above(conn, walk.subject, walk.severity)
    )


def answered_for(conn: Connection, walk: StoredEscalation, *, in_pagerduty: bool = False) -> str | None:
    """For how severe somebody answers the round now: for what fires, and for what people were asked about, which stays asked for. What is said `in_pagerduty`
    was said of its page or of alerts of PagerDuty's own, and of nothing that joined them elsewhere. None for a storm."""
    if walk.storm:
        return None
    known = [] if walk.severity is None else [walk.severity]
    if not in_pagerduty:
        known = [of_incident(conn, walk.subject), *known]
    elif people.pagerduty_taker(conn, walk.subject):
        known = [*severities.firing(conn, walk.subject, Source.PAGERDUTY), *known]
    return min(known, key=rank_of) if known else of_incident(conn, walk.subject)


def above(conn: Connection, incident_id: str, given: str) -> bool:
    """What fires is more severe than that. Where nothing fires, nothing has risen, whatever its first alert was."""
    fires = incidents.firing_count(conn, incident_id) > 0
    return fires and rank_of(of_incident(conn, incident_id)) < rank_of(given)


def given_for(conn: Connection, incident_id: str, word: Holder) -> str | None:
    """For how severe this word was given on an incident that is closed; one of PagerDuty's was for what fired there to its end. None where nothing tells it."""
    if word.severity is not None or word.through != "PagerDuty":
        return word.severity
    return min(severities.last_of(conn, incident_id, Source.PAGERDUTY), key=rank_of, default=None)


def stands_in_pagerduty(conn: Connection, incident_id: str) -> bool:
    """What was said in PagerDuty of its own alerts of the incident was said of what is no less severe than what fires. What its alerts do not tell is taken for that."""
    of_its_own = severities.firing(conn, incident_id, Source.PAGERDUTY)
    return not of_its_own or not above(conn, incident_id, min(of_its_own, key=rank_of))


def called_beside(conn: Connection, policy: Policy, incident: Incident, rule: Rule, target_key: str) -> str:
    """The other incident of this target whose call is for this one too: it stands, its page was not given up, its own alert fires, it was made since `verify.timeout` before
    this one came, for what is no less severe, and asks whom this one's would, no later. Empty for none, and for an incident that has a call of
    its own; an order's is for its giver alone, as no alert ends it."""
    if incident.manual is not None or _live(conn, incident.id):
        return ""
    severe = of_incident(conn, incident.id)
    for other in people.other_incidents_on(conn, target_key, incident.id):
        walk = _live(conn, other)
        if walk is None or (walk.answered_at is not None and not walk.asked):  # nobody was called
            continue
        if walk.begun_at < incident.opened_at - rule.verify.timeout:
            continue
        if walk.page_key and not walk.answered_by and outbox.page_given_up(conn, walk.page_key):
            continue
        if incidents.firing_count(conn, other) == 0:  # whoever was called sees it over, and looks no further
            continue
        told = followed(conn, walk)
        theirs = _asks(policy, told, _rule(conn, other))
        order = incidents.get(conn, other).manual is not None
        mine = _asks(policy, severe, rule.name)
        if not order and rank_of(told) <= rank_of(severe) and theirs[: len(mine)] == mine:
            return other
    return ""


def _live(conn: Connection, incident_id: str) -> StoredEscalation | None:
    return next((w for w in escalations.of_incident(conn, incident_id) if w.over_at is None), None)


def _asks(policy: Policy, severity: str, rule: str) -> list[tuple[object, ...]]:
    """Whom it asks, one after another, and for how long each."""
    return [(step.who, step.page, step.answer_within) for step in steps_of(policy.escalation, severity, rule)]
