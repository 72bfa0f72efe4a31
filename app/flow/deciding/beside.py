"""Beside: what else is under way about the target of an alert that no step of its own helps: another run's work, a question, another alert
that is still looked at, somebody's hand. Several alerts tell of one fault: a person is called
for it once, when what may mend it has had its time, and asked about one plan at a time.

Called by `settle` for such alerts, and for those whose step people would be asked about, and as one resolves. Reads the store only; the gate `target busy` goes by it. Never waits for what
has no end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.domain.target import Kind, Target
from app.domain.text import bounded, visible
from app.flow.calling import severity
from app.flow.deciding.facts import Ground
from app.notify.wording import resolved_beside
from app.policy.facts import Beside, Facts, Unknown, may_act
from app.policy.match import NoHint, match_rule, rank_of, target_hint
from app.policy.model import Policy, Rule
from app.store import facts, incidents, people, runs
from app.store.driving import WAITS_HELD
from app.store.incidents import Incident

_SOON = timedelta(seconds=5)  # until it is looked again whether another alert has been decided
_ANSWERED = timedelta(minutes=30)
"""So long, at most, a person is not called because another alert's question waits for its answer: as long as one stands by default."""
_AGAIN = timedelta(minutes=5)  # until it is looked again whether that which a person was called for is over
_LOOKED_AT = timedelta(minutes=2)
"""So long a look at another alert is waited for: the minute that a sender may take to group them, and that of a claim whose worker died."""


def without_step(
    conn: Connection, ground: Ground, incident: Incident, measured: Facts, changed_at: datetime | None
) -> Facts:
    """The facts with what is under way beside it. An undo that waits for what holds it changes nothing, and nobody waits for that."""
    at_work = "" if isinstance(measured.busy_with, Unknown) else measured.busy_with
    if at_work and runs.get(conn, at_work).waits_for.startswith(WAITS_HELD):
        return replace(measured, busy_with="")
    found = (
        _their_time(incident, ground.rule, measured, changed_at)
        or _asked(conn, incident, measured)
        or _called(conn, ground, incident, measured)
        or _looked_at(conn, ground.policy, incident, measured)
    )
    return replace(measured, beside=found)


def _asked(conn: Connection, incident: Incident, measured: Facts) -> Beside | None:
    """A question about it: what is done then may help this one as well. Nobody waits for one about what is less severe."""
    end = incident.opened_at + _ANSWERED
    if measured.now >= end:
        return None
    severe = severity.of_incident(conn, incident.id)
    for run in (runs.get(conn, run_id) for run_id in measured.waiting):
        if rank_of(severity.of_incident(conn, run.incident_id)) <= rank_of(severe):
            return Beside(f"{run.id} waits for an answer", f"{run.id} ends", end)
    return None


def _their_time(
    incident: Incident, rule: Rule, measured: Facts, changed_at: datetime | None
) -> Beside | None:
    """What somebody else did after the alert fired has its time to help, as our own step has. They may go on changing it: what they did
    later than that after we heard of the alert puts nothing off."""
    if not measured.changed_by or isinstance(measured.changed_by, Unknown) or changed_at is None:
        return None
    time = rule.verify.timeout
    end = min(changed_at, incident.opened_at + time) + time
    if measured.now >= end:
        return None
    ends = "the alert resolves, or its time for that is over"
    return Beside(f"{measured.changed_by}, which may yet help", ends, end)


def _called(conn: Connection, ground: Ground, incident: Incident, measured: Facts) -> Beside | None:
    """The call for another alert of the target, while that alert is there."""
    other = severity.called_beside(conn, ground.policy, incident, ground.rule, measured.target.key)
    if not other:
        return None
    return Beside(f"a person is called for {other} on it", f"{other} is over", measured.now + _AGAIN)


def before_asking(conn: Connection, ground: Ground, incident: Incident, measured: Facts) -> Beside | None:
    """What is under way beside a plan that people would be asked about: they are asked one question about a target at a time, and none while what
    mended it has its time. Not about what is more severe than the question that stands, nor where that would put off its own for longer than
    an answer may take. What acts by itself waits for no answer, and nothing waits for an order's question."""
    if incident.manual is not None:
        return None
    severe, latest = (
        severity.of_incident(conn, incident.id),
        incident.opened_at + ground.rule.approval.expires,
    )
    waited = measured.now >= latest  # one question after another would put it off for ever
    for run in (runs.get(conn, run_id) for run_id in measured.waiting):
        order = incidents.get(conn, run.incident_id).manual is not None
        later = (
            waited or run.expires_at is None or run.expires_at > measured.now + ground.rule.approval.expires
        )
        milder = rank_of(severity.of_incident(conn, run.incident_id)) > rank_of(severe)
        if not (order or later or milder):
            return Beside(f"{run.id} waits for an answer", f"{run.id} ends")
    end = None if measured.mended_at is None else measured.mended_at + ground.rule.verify.timeout
    if end is None or measured.now >= end:
        return None
    return Beside("another run has just mended it", "the alert resolves, or its time for that is over", end)


def _looked_at(conn: Connection, policy: Policy, incident: Incident, measured: Facts) -> Beside | None:
    """Another alert of the target that came about when this one did, and is not decided yet."""
    since = measured.now - _LOOKED_AT
    if incident.opened_at < since:
        return None
    for other in people.undecided_beside(conn, incident.id, since):
        alert = next(iter(incidents.alerts(conn, other, 1)), None)
        if alert is not None and _names(policy, policy.labels.names.read(alert.labels), measured.target):
            name = visible(bounded(alert.labels.get("alertname", ""), 60))
            return Beside(f"{name} ({other}) is still looked at", f"{other} is decided", measured.now + _SOON)
    return None


def _names(policy: Policy, labels: Mapping[str, str], target: Target) -> bool:
    """Whether an alert with these labels, for which its rule may act, is about the target, or about a pod that is called like one of it."""
    matched = match_rule(policy, labels)
    if matched is None or not may_act(matched.rule, policy):
        return False
    hint = target_hint(matched.rule, labels)
    if isinstance(hint, NoHint) or hint.namespace != target.namespace:
        return False
    pod = hint.kind is Kind.POD and hint.name.startswith(f"{target.name}-")
    return pod or (hint.kind, hint.name) == (target.kind, target.name)


def done_beside(conn: Connection, incident: Incident) -> str:
    """Why the incident's alert did not go by itself, though nothing was written for it: the run of another one that has mended its target,
    or has changed it and checks that; empty for none."""
    if not incident.target_key:
        return ""
    found = facts.mended(conn, incident.target_key, incident.id, incident.opened_at)
    if found is not None:
        return resolved_beside(found[0], mended=True)
    run_id = facts.busy_with(conn, incident.target_key, excluding="")
    wrote = run_id and facts.changed_something(conn, run_id, "unclear")
    return resolved_beside(run_id, mended=False) if wrote else ""
