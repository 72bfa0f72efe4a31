"""Beside: what else is under way about the target of an alert that no step of its own helps: another run's work, a question, another alert
that is still looked at, somebody's hand. Several alerts tell of one fault: a person is called
for it once, when what may mend it has had its time, and asked about one plan at a time.

Called by `settle` for such alerts, and for those whose step people would be asked about, and as one resolves. Reads the store only; the gate `target busy` goes by it. Never waits for what
has no end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection

from app.domain.decision import Code
from app.domain.outcome import RunState
from app.domain.target import Kind, Target
from app.domain.text import bounded, visible
from app.domain.units import utc
from app.flow.calling import attended, severity
from app.flow.deciding.facts import Ground
from app.notify.wording import resolved_beside
from app.policy.facts import Beside, Facts, Unknown, may_act
from app.policy.match import NoHint, match_rule, rank_of, target_hint
from app.policy.model import Policy, Rule
from app.store import approvals, escalations, facts, incidents, lately, people, runs, work
from app.store.driving import WAITS_HELD
from app.store.incidents import Incident
from app.store.lately import Earlier, Spell
from app.store.runs import Run

_SOON = timedelta(seconds=5)  # until it is looked again whether another alert has been decided
_ANSWERED = timedelta(minutes=30)
"""So long, at most, a person is not called because another alert's question waits for its answer: as long as one stands by default."""
_AGAIN = timedelta(minutes=5)  # until it is looked again whether that which a person was called for is over
MAX_ASKED_IN_AN_HOUR = 12
"""So many questions about the same, one after another, are put within an hour as they come up, and then one in five minutes."""
MAX_CALLS = 3
"""So many calls for one alert of a target, one after another, are made within an hour as they come up, although it went each time before anybody
answered; and then one when it was there for `_STAYED` in all since the last one, or that is `_LULL` ago."""
_STAYED, _LULL = timedelta(minutes=5), timedelta(minutes=15)
_HOUR = timedelta(hours=1)  # in which calls and questions are counted
_FOLLOWS = timedelta(minutes=1)
"""So long after it fired, at most, an alert's call waits for another one of the same fault: they come about within half a minute, and a sender may take
another half to group them."""
_LOOKED_AT = timedelta(minutes=2)
"""So long a look at another alert is waited for: the minute that a sender may take to group them, and that of a claim whose worker died."""


def began(conn: Connection, incident: Incident) -> datetime:
    """From when on the incident's waits count: as long before it was opened as its alert was there lately, in incidents in which nothing was begun.
    What comes and goes opens one each time, and would be waited for anew for ever. Nothing counts from before the last one for which a person was called,
    for what is no less severe, or a run mended the target."""
    return incident.opened_at - _was_there(conn, incident, lately.earlier(conn, incident))


def _was_there(conn: Connection, incident: Incident, before: Sequence[Earlier]) -> timedelta:
    return lately.added_up(
        (one.spell for one in _in_vain(conn, incident, before)), incident.opened_at, lately.APART
    )


def _in_vain(conn: Connection, incident: Incident, before: Sequence[Earlier]) -> list[Earlier]:
    """Those of the earlier incidents, newest first, in which its alert was there and nothing came of it."""
    if incident.manual is not None or not before:
        return []
    rank = rank_of(severity.of_incident(conn, incident.id))
    key, oldest = incident.target_key, before[-1].spell.since
    mended = facts.mended_at(conn, key, "", oldest) if key else None
    since = takewhile(lambda one: attended.called_for(one, rank) is None, before)
    return [one for one in since if not one.ran and (mended is None or one.spell.since > mended)]


def was_blind(conn: Connection, incident: Incident, enough: timedelta) -> timedelta:
    """For how long the alert was there before and nobody could look, in a row of incidents up to this one; looked for until it is `enough`."""
    spells = list[Spell]()
    for one in _in_vain(conn, incident, lately.earlier(conn, incident)):
        last = work.latest_decision(conn, one.incident_id)
        if last is not None and last.body.get("code") != Code.UNKNOWN_FACT.value:
            break
        spells.append(one.spell)
        if lately.added_up(spells, incident.opened_at, lately.APART) >= enough:
            break
    return lately.added_up(spells, incident.opened_at, lately.APART)


def called_lately(conn: Connection, incident: Incident, now: datetime) -> Beside | None:
    """What keeps a person from being called anew for an alert that comes and goes: somebody has taken it a while ago, or people were called for
    it again and again, and it went each time before anybody answered. Never for what is more severe than that was, nor for long."""
    live = any(walk.over_at is None for walk in escalations.of_incident(conn, incident.id))
    if incident.manual is not None or live:
        return None
    before, rank = lately.earlier(conn, incident), rank_of(severity.of_incident(conn, incident.id))
    if (taken := attended.taken_before(conn, incident, before, now)) is not None:
        told = f"{taken.text}: they have it, and a person is called at {utc(taken.until)} if it fires on"
        return Beside(told, "whoever took it before had the time for it", taken.until)
    found = (attended.called_for(one, rank) for one in before)
    calls = list(takewhile(lambda call: not call.answered, (c for c in found if c and c.at > now - _HOUR)))
    if len(calls) < MAX_CALLS:
        return None
    end = min(
        incident.opened_at - _was_there(conn, incident, before) + _STAYED,
        max(call.at for call in calls) + _LULL,
    )
    if now >= end:
        return None
    times = 1 + sum(one.spell.since > now - _HOUR for one in before)
    told = (
        f"its alert comes and goes: it fired {times} times within an hour, people were called for it {len(calls)} times, and it went each time"
        f" before anybody answered; a person is called at {utc(end)} if it still fires"
    )
    return Beside(
        told, "it was there for 5 minutes in all since the last call, or that is 15 minutes ago", end
    )


def without_step(  # the rule's parameters
    conn: Connection,
    ground: Ground,
    incident: Incident,
    measured: Facts,
    changed_at: datetime | None,
    since: datetime,
) -> Facts:
    """The facts with what is under way beside it, whose waits count `since` then. An undo that waits for what holds it changes nothing, and nobody waits for that."""
    run = _at_work(conn, measured)
    if run is not None and run.waits_for.startswith(WAITS_HELD):
        return replace(measured, busy_with="")
    if (
        run is not None and run.state is RunState.WAITING
    ):  # for an answer about a later step, as others do about their first
        measured = replace(measured, busy_with="", waiting=(*measured.waiting, run.id))
    found = (
        _their_time(conn, ground.rule, incident, measured, changed_at, since)
        or _asked(conn, incident, measured, since)
        or _called(conn, ground, incident, measured)
        or _looked_at(conn, ground.policy, incident, measured, since)
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


def _asked(conn: Connection, incident: Incident, measured: Facts, since: datetime) -> Beside | None:
    """A question about it: what is done then may help this one as well. Nobody waits for one about what is less severe."""
    end = since + _ANSWERED
    if measured.now >= end:
        return None
    severe = severity.of_incident(conn, incident.id)
    for run in (runs.get(conn, run_id) for run_id in measured.waiting):
        if rank_of(severity.of_incident(conn, run.incident_id)) <= rank_of(severe):
            return Beside(f"{run.id} waits for an answer", f"{run.id} ends", end)
    return None


def _their_time(  # as `without_step`, which it is a part of
    conn: Connection,
    rule: Rule,
    incident: Incident,
    measured: Facts,
    changed_at: datetime | None,
    since: datetime,
) -> Beside | None:
    """What somebody else did after the alert fired has its time to help, as our own step has. They may go on changing it: what they did
    later than that after we heard of the alert, or after somebody had it, puts nothing off."""
    if not measured.changed_by or isinstance(measured.changed_by, Unknown) or changed_at is None:
        return None
    had = attended.had_until(conn, incident, lately.earlier(conn, incident))
    time, since = rule.verify.timeout, since if had is None else max(since, had)
    end = min(changed_at, since + time) + time
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
        began(conn, incident) + ground.rule.approval.expires,
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
    if len(asked) < MAX_ASKED_IN_AN_HOUR or measured.now >= end:
        return None
    told = f"people were asked about it {len(asked)} times within an hour, and its alert went each time"
    return Beside(told, "some time has gone by since", end)


def before_calling(conn: Connection, incident: Incident, measured: Facts) -> Beside | None:
    """What is waited for before a person is called for an alert that no step helps: another alert of the same fault, which one may help; and some
    time, where people were called for it lately. An order is answered at once."""
    first = next(iter(incidents.alerts(conn, incident.id, 1)), None)
    if incident.manual is not None or first is None:
        return None
    if again := called_lately(conn, incident, measured.now):
        return again
    ahead = max(incident.opened_at - first.starts_at, timedelta())  # the sender's clock may be ahead
    end = began(conn, incident) - ahead + _FOLLOWS
    if measured.now >= end:
        return None
    return Beside("another alert of the same fault may follow within a minute", "that minute is over", end)


def _looked_at(
    conn: Connection, policy: Policy, incident: Incident, measured: Facts, since: datetime
) -> Beside | None:
    """Another alert of the target that came about when this one did, and is not decided yet."""
    lately_come = measured.now - _LOOKED_AT
    if since < lately_come:
        return None
    for other in people.undecided_beside(conn, incident.id, lately_come):
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
