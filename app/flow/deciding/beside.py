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

from app.domain.outcome import RunState
from app.domain.target import Kind, Target
from app.domain.text import bounded, visible
from app.flow.calling import severity
from app.flow.deciding.facts import Ground
from app.notify.wording import resolved_beside
from app.policy.facts import Beside, Facts, Unknown, may_act
from app.policy.match import NoHint, match_rule, rank_of, target_hint
from app.policy.model import Policy, Rule
from app.store import approvals, facts, incidents, people, runs
from app.store.driving import WAITS_HELD
from app.store.incidents import Incident
from app.store.runs import Run

_SOON = timedelta(seconds=5)  # until it is looked again whether another alert has been decided
_ANSWERED = timedelta(minutes=30)
"""So long, at most, a person is not called because another alert's question waits for its answer: as long as one stands by default."""
_AGAIN = timedelta(minutes=5)  # until it is looked again whether that which a person was called for is over
MAX_QUESTIONS = 12
"""So many questions about the same, one after another, are put within an hour as they come up, and then one in five minutes."""
_HOUR = timedelta(hours=1)
_FOLLOWS = timedelta(minutes=1)
"""So long after it fired, at most, an alert's call waits for another one of the same fault: they come about within half a minute, and a sender may take
another half to group them."""
_LOOKED_AT = timedelta(minutes=2)
"""So long a look at another alert is waited for: the minute that a sender may take to group them, and that of a claim whose worker died."""


def without_step(
    conn: Connection, ground: Ground, incident: Incident, measured: Facts, changed_at: datetime | None
) -> Facts:
    """The facts with what is under way beside it. An undo that waits for what holds it changes nothing, and nobody waits for that."""
    run = _at_work(conn, measured)
    if run is not None and run.waits_for.startswith(WAITS_HELD):
        return replace(measured, busy_with="")
    if (
        run is not None and run.state is RunState.WAITING
    ):  # for an answer about a later step, as others do about their first
        measured = replace(measured, busy_with="", waiting=(*measured.waiting, run.id))
    found = (
        _their_time(incident, ground.rule, measured, changed_at)
        or _asked(conn, incident, measured)
        or _called(conn, ground, incident, measured)
        or _looked_at(conn, ground.policy, incident, measured)
    )
    return replace(measured, beside=found)


def kept_away(conn: Connection, incident: Incident, measured: Facts) -> str:
    """What at work keeps a step away until people do something, in words; empty for nothing: an undo that waits for what only they lift, or a
    question about a later step of what is less severe."""
    run = _at_work(conn, measured)
    if run is None:
        return ""
    if run.waits_for.startswith(WAITS_HELD):
        return f"the undo of {run.id} has its target and waits for {run.waits_for.removeprefix(WAITS_HELD)}"
    ours, theirs = (severity.of_incident(conn, one) for one in (incident.id, run.incident_id))
    if run.state is RunState.WAITING and rank_of(ours) < rank_of(theirs):
        return f"{run.id} has its target and waits for an answer about its next step"
    return ""


def _at_work(conn: Connection, measured: Facts) -> Run | None:
    """The run that is at work on the target, as far as that is known."""
    known = "" if isinstance(measured.busy_with, Unknown) else measured.busy_with
    return runs.get(conn, known) if known else None


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
    if again := _asked_often(conn, ground.rule, measured):
        return again
    end = None if measured.mended_at is None else measured.mended_at + ground.rule.verify.timeout
    if end is None or measured.now >= end:
        return None
    return Beside("another run has just mended it", "the alert resolves, or its time for that is over", end)


def _asked_often(conn: Connection, rule: Rule, measured: Facts) -> Beside | None:
    """People were asked about it again and again, as its alert comes and goes: the next question has time after the last one."""
    asked = approvals.unanswered(conn, measured.target.key, rule.remediation, measured.now - _HOUR)
    end = asked[0].ended + _AGAIN if asked else measured.now
    if len(asked) < MAX_QUESTIONS or measured.now >= end:
        return None
    told = f"people were asked about it {len(asked)} times within an hour, and its alert went each time"
    return Beside(told, "some time has gone by since", end)


def before_calling(conn: Connection, incident: Incident, measured: Facts) -> Beside | None:
    """What is waited for before a person is called for an alert that no step helps: another alert of the same fault, which one may help. An order is
    answered at once."""
    first = next(iter(incidents.alerts(conn, incident.id, 1)), None)
    if incident.manual is not None or first is None:
        return None
    end = min(first.starts_at, incident.opened_at) + _FOLLOWS  # the sender's clock may be ahead
    if measured.now >= end:
        return None
    return Beside("another alert of the same fault may follow within a minute", "that minute is over", end)


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
