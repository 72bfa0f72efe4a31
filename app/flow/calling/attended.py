"""Attended: who is at an incident, or was when its alert was there before, and what people were asked about it, as a look that writes nothing can tell;
and of what a run left that got stuck, whether somebody has it, it is over, or people have to be called for it anew.

Every door that answers, ends or restates such an incident goes by `left`: an acknowledgement, an order and its end, alerts that join, the
sweep, and the look whether its alert is gone. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from app.domain.alert_report import Takers
from app.domain.decision import Code, Mode
from app.domain.free_text import OF_PAGERDUTY
from app.domain.outcome import IncidentState, RunState
from app.flow.calling import severity
from app.policy.match import rank_of
from app.store import escalations, hands, incidents, lately, people, runs, work
from app.store import facts as counts
from app.store.escalations import StoredEscalation
from app.store.hands import AtWork
from app.store.incidents import Incident
from app.store.lately import Call, Earlier
from app.store.people import Holder
from app.store.runs import Run

THEIRS = timedelta(minutes=30)
"""So long after it went whoever had an alert has it when it comes back: as long as it was there they had it without a limit."""
_LEAST = timedelta(minutes=1)
"""So long, at least, a call counts as time to answer, however soon its alert went: else one that is there for seconds each time would wake the
first step for ever, and never ask the next one."""
BLINK = timedelta(minutes=5)
"""What is back within this has been there all along for whoever is at it: a sender groups its messages for as long."""


_GROUPED = timedelta(minutes=1)  # so long a sender may take to tell that an alert went


class Left(StrEnum):
    """How it stands with what is left to a person. WAITS: nobody has it, and people are asked, or were. ANEW: nobody has it, and nobody is asked
    any more for what is there now."""

    WAITS = "waits"
    ATTENDED = "attended"
    OVER = "over"
    ANEW = "anew"


# Two questions, and who takes an incident answers both: whose word stands, so that nobody else is called (`at_it`), and who may be at work, so
# that nothing is written over without a question (`at_its_target`, `at_work`). Of what is more severe than what they took, or once others are
# needed for it, they have no more than the second.


def holder(conn: Connection, incident_id: str) -> Holder | None:
    """Whose own word stands for the incident: it was given for what is no less severe than what fires."""
    found = people.holder_of(conn, incident_id)
    if found is None or (found.severity is not None and severity.above(conn, incident_id, found.severity)):
        return None
    return found


def in_pagerduty(conn: Connection, incident_id: str) -> str:
    """Whose word in PagerDuty stands for the incident, in words: it was given for all of its alerts there that fire, and for what is no less severe
    than what fires."""
    told = people.taken_in_pagerduty(conn, incident_id)
    return told if told and severity.stands_in_pagerduty(conn, incident_id) else ""


@dataclass(frozen=True, slots=True)
class Taken:
    """Who took the same alert in an earlier incident of it, in words, and until when they have it."""

    text: str
    until: datetime


def taken_before(
    conn: Connection, incident: Incident, before: Sequence[Earlier], now: datetime
) -> Taken | None:
    """Who has an alert that went and came back: whoever took it a while ago, in one of these incidents of it, for what was no less severe."""
    return next((one for one in _taken(conn, incident, before) if now < one.until), None)


def had_until(conn: Connection, incident: Incident, before: Sequence[Earlier]) -> datetime | None:
    """Until when whoever took it last had, or has, an alert that went and came back; None where nobody did."""
    return max((one.until for one in _taken(conn, incident, before)), default=None)


def _taken(conn: Connection, incident: Incident, before: Sequence[Earlier]) -> Iterator[Taken]:
    if incident.manual is not None or not before:
        return
    rank = rank_of(severity.of_incident(conn, incident.id))
    for one in before:
        had = _had(conn, one)
        if had is not None and rank_of(one.severity if had[1] is None else had[1]) <= rank:
            yield Taken(f"{one.incident_id}, the same alert a while ago, was {had[0]}", had[2] + THEIRS)


_LEFT = {
    RunState.REJECTED: "who rejected its plan",
    RunState.UNDONE: "as what was done is taken back",
    RunState.UNDO_CONFLICT: "as what was done was to be taken back",
    RunState.TAKEN_OVER: "who changed its target",
}
"""How the last run for an incident ends that is a person's by that alone, as `is_theirs` says."""


def _had(conn: Connection, one: Earlier) -> tuple[str, str | None, datetime] | None:
    """Who had that incident to its end, in words, for what severity and until when: by their word, or by what they said to its run or did beside it."""
    if one.holder is not None:
        return one.holder.text, severity.given_for(conn, one.incident_id, one.holder), one.spell.ended
    text = left_to(conn, one.incident_id) if one.ran and one.call is not None else ""
    return (text, one.call.severity, one.spell.ended) if one.call is not None and text else None


def left_to(conn: Connection, incident_id: str) -> str:
    """Whose the incident is, or was to its end, by what they said to its run or did beside it, in words; empty for nobody."""
    word = _left_to(conn, incident_id)
    return "" if word is None else word.text


def _left_to(conn: Connection, incident_id: str) -> _Word | None:
    rounds, run = escalations.of_incident(conn, incident_id), runs.newest_of(conn, incident_id)
    at = rounds[-1].answered_at if rounds else None
    if at is None or run is None or run.state not in _LEFT:
        return None
    return _Word(f"left to {rounds[-1].answered_by or 'somebody'}, {_LEFT[run.state]}", at)


@dataclass(frozen=True, slots=True)
class _Word:
    """Whose a target is, in words, and since when."""

    text: str
    at: datetime


def at_its_target(  # the question's parts
    conn: Connection, keys: Sequence[str], incident: Incident, now: datetime, known: str, said: Takers
) -> str:
    """Who is at what is written for an incident (the `keys`, its target first) by another one of it, whichever alert that was for, or by a part of this one or as it was
    less severe, in words; empty for nobody. For how severe they took it says whom people call, and not who is at work. `known`: who has this one, or had its
    alert before. `said`: what PagerDuty itself says of this one. A person's own order is not asked: they know of all of them."""
    if _knew_of_all(incident):
        return ""
    if said.of_any and not known:
        return f"it is {said.of_any}, but not for all of it"
    words = _beside(conn, keys, incident, now, known, not said.asked)
    return next((word.text for word in words), "")


def at_work(conn: Connection, incident_id: str, keys: Sequence[str], now: datetime) -> str:
    """Who is at what was written for an incident (the `keys`, its target first), by it or by anything else of them, so that nothing there is taken back by itself; in words,
    empty for nobody. Whoever ordered what was done knew of all who had it then."""
    if own := at_it(conn, incident_id):
        return own
    incident = incidents.get(conn, incident_id)
    words = _beside(conn, keys, incident, now, "", True)
    knew = incident.opened_at if _knew_of_all(incident) else None
    return next((word.text for word in words if knew is None or word.at > knew), "")


def _knew_of_all(incident: Incident) -> bool:
    """It is a person's own order, and not the clock's."""
    return incident.manual is not None and not incident.manual.schedule


def _beside(
    conn: Connection, keys: Sequence[str], incident: Incident, now: datetime, known: str, as_told: bool
) -> Iterator[_Word]:
    """`as_told`: what PagerDuty's messages told of the incident counts."""
    since = now - THEIRS
    if not known and not incident.state.closed:
        yield from _on_a_part(conn, incident.id, since, as_told)
    for key in dict.fromkeys(keys):
        place = "this target" if key == keys[0] else key
        yield from _by_another(conn, key, place, incident, since)
        if not known:
            yield from _of_storms(conn, key, place, since)
            yield from _before(conn, key, place, since)


def _on_a_part(conn: Connection, incident_id: str, since: datetime, as_told: bool) -> Iterator[_Word]:
    """Who took the incident as it was before, or one of its alerts in PagerDuty."""
    word = hands.on(conn, [incident_id], since, as_told=as_told).get(incident_id)
    if word is None:
        return
    holder, of_all = word.holder, bool(people.taken_in_pagerduty(conn, incident_id))
    if holder.severity is None:
        less = "for what was less severe" if of_all else "for a part of it"
    else:
        risen = severity.above(conn, incident_id, holder.severity)
        less = "for what was less severe" if risen else "and others were needed for it since"
    yield _Word(f"it {'is' if word.now else 'was'} {holder.text}, {less}", holder.at)


def _by_another(
    conn: Connection, key: str, place: str, incident: Incident, since: datetime
) -> Iterator[_Word]:
    """Who has another open incident of it, or a part of one."""
    others = people.other_incidents_on(conn, key, incident.id)
    words = hands.on(conn, others, since)
    for other in others:
        if (word := _word(conn, other, words)) is not None:
            still = other not in words or words[other].now
            yield replace(word, text=f"{other} on {place} {'is' if still else 'was'} {word.text}")


def _word(conn: Connection, incident_id: str, words: Mapping[str, AtWork]) -> _Word | None:
    found = words.get(incident_id)
    return _left_to(conn, incident_id) if found is None else _Word(found.holder.text, found.holder.at)


def _of_storms(conn: Connection, key: str, place: str, since: datetime) -> Iterator[_Word]:
    """Who has a storm that it is part of."""
    found = lately.of_storms_on(conn, key, since)
    mended = counts.mended_at(conn, key, "", since) if found else None
    for told in found:
        if not _went_with(told.closed_at, mended) and in_a_storm(conn, told.incident_id):
            by = told.by.removeprefix(OF_PAGERDUTY)
            yield _Word(f"{by} has the storm {told.storm}, which {place} is part of", told.at)


def _before(conn: Connection, key: str, place: str, since: datetime) -> Iterator[_Word]:
    """Who had an incident of it, or a part of one, that went a while ago."""
    closed = lately.closed_on(conn, key, since)
    mended = counts.mended_at(conn, key, "", since) if closed else None
    theirs = [one for one, at in closed if not _went_with(at, mended)]
    words = hands.on(conn, theirs, since)
    for one in theirs:
        if (word := _word(conn, one, words)) is not None:
            yield replace(word, text=f"{one} on {place} was {word.text}")


def _went_with(closed: datetime | None, mended: datetime | None) -> bool:
    """It was over when a run mended the target, or went with that: what somebody had is done. What fired on is theirs as before."""
    return closed is not None and mended is not None and closed <= mended + _GROUPED


def in_a_storm(conn: Connection, incident_id: str) -> bool:
    """It was decided in a storm: not all that is told in the message of one is part of it."""
    return any(one.body.get("code") == Code.STORM.value for one in work.decisions_of(conn, incident_id))


def asked_last(conn: Connection, incident: Incident) -> Run | None:
    """The run in which people were asked about the alert at last, when nobody agreed to that plan, or nothing of it was begun: in this incident or,
    as long as it has no run, in one of those before it that came one after another."""
    found, until = runs.newest_of(conn, incident.id), incident.opened_at
    alone = found is not None or incident.manual is not None
    for one in [] if alone else lately.earlier(conn, incident):
        if until - one.spell.ended > lately.APART:
            break
        until = one.spell.since
        if one.ran and (found := runs.newest_of(conn, one.incident_id)) is not None:
            break
    return found if found is not None and found.mode is Mode.APPROVE and found.state in _NOT_AGREED else None


_NOT_AGREED = (RunState.ABANDONED, RunState.REJECTED, RunState.EXPIRED)


def there_since(conn: Connection, incident: Incident, target_key: str) -> datetime | None:
    """When the alert fired first that was away for no more than a moment before this incident; None where it was not. What a run mended is another
    time."""
    first, until = None, incident.opened_at
    for one in lately.earlier(conn, replace(incident, target_key=target_key)):
        mended = counts.mended_at(conn, target_key, "", one.spell.since)
        if until - one.spell.ended > BLINK or mended is not None:
            break
        first, until = one.incident_id, one.spell.since
    alerts = [] if first is None else incidents.alerts(conn, first, lately.MAX_LOOKED_AT)
    return min((alert.starts_at for alert in alerts), default=None)


def called_for(one: Earlier, rank: int) -> Call | None:
    """The call for that incident, where it was for what is no less severe than this rank."""
    if one.call is None:
        return None
    for_it = one.severity if one.call.severity is None else one.call.severity
    return one.call if rank_of(for_it) <= rank else None


def waited_before(conn: Connection, incident: Incident) -> Mapping[str, timedelta]:
    """How long each step was waited for before, in a row of calls for an alert that comes and goes which nobody has answered: whoever did not
    answer then is not waited for anew each time. Only the times count in which they could have answered, from when they were asked: those of the calls,
    until the alert went, and those in which it was there and no call was made anew, as so many had been. Nothing counts from before a run that mended
    the target, or an incident that somebody had."""
    before = [] if incident.manual is not None else lately.earlier(conn, incident)
    if not before:
        return {}
    rank, key = rank_of(severity.of_incident(conn, incident.id)), incident.target_key
    mended = counts.mended_at(conn, key, "", before[-1].spell.since) if key else None
    waited, uncalled, until = dict[str, timedelta](), timedelta(), incident.opened_at
    for one in before:
        over = one.holder is not None or (mended is not None and one.spell.since <= mended)
        if over or until - one.spell.ended > lately.APART:
            break
        call, until = called_for(one, rank), one.spell.since
        if call is not None and call.answered:
            break
        if one.call is None and not one.ran and rank_of(one.severity) <= rank:
            uncalled += max(one.spell.ended - one.spell.since, timedelta())
        for asked in call.asked if call is not None else ():
            stood = max(one.spell.ended - asked.at, _LEAST)
            waited.setdefault(
                asked.step, asked.waited + stood + uncalled
            )  # the last call knows of the ones before
    return waited


def waited_for(conn: Connection, walk: StoredEscalation, step: str) -> timedelta:
    """How long this step of the round was waited for when its alert was there before, and nobody answered."""
    before = {} if walk.storm else waited_before(conn, incidents.get(conn, walk.subject))
    return before.get(step, timedelta())


def why_anew(conn: Connection, walk: StoredEscalation) -> str:
    """Why people are asked who were before, or although somebody has PagerDuty's own incident behind this one; empty for neither."""
    if walk.asked:
        return ""
    own = "" if walk.storm else people.taken_in_pagerduty(conn, walk.subject)
    again = "a person is needed again" if walk.round > 1 or own else ""
    return f"it is {own}, and {again}" if own else again


def at_it(conn: Connection, incident_id: str) -> str:
    """Who has an incident that is not over, in words; empty for nobody."""
    if incidents.get(conn, incident_id).state.closed:
        return ""
    if told := in_pagerduty(conn, incident_id):
        return told
    found = holder(conn, incident_id)
    return "" if found is None else found.text


def left(conn: Connection, incident: Incident, walk: StoredEscalation | None) -> Left:
    """Of an incident that was left to a person, by its row as it is held and the live round of its steps.

    What is left of a run that got stuck stays there when its alert goes, and an order, for which people were called, has no alert: it is over once
    somebody has it. So is an incident whose place and alert a newer one has. Nobody has it by an order that is over."""
    if incident.state.closed:
        return Left.OVER
    stuck, elsewhere = incident.state is IncidentState.STUCK, incident.closed_at is not None
    fires = incidents.firing_count(conn, incident.id) > 0
    order = incident.manual is not None
    if at_it(conn, incident.id):
        asked = incident.state is IncidentState.ESCALATED and counts.live_of(conn, incident.id) is None
        alone = (stuck and (order or not fires)) or (asked and order)
        return Left.OVER if elsewhere or alone else Left.ATTENDED
    if counts.live_of(conn, incident.id) is not None:
        return Left.ATTENDED  # what was ordered for it is being carried out
    if walk is None:
        return Left.WAITS
    if walk.answered_at is not None:
        there = stuck or elsewhere or fires or incident.manual is not None
        return Left.ANEW if there else Left.OVER
    told = stuck and walk.joined and fires and bool(walk.asked) and walk.due_at is None
    return Left.ANEW if told else Left.WAITS


_LOOKS = timedelta(minutes=2)  # as long as decisions wait for a look elsewhere


def look_closes(conn: Connection, incident: Incident, walk: StoredEscalation, now: datetime) -> bool:
    """Whether a look would close the incident once its alert is gone, so that the step which is due is not asked. Not while a run has it, an undo
    that waits perhaps; and where none has closed it for longer than a look takes, none is waited for."""
    late = walk.due_at is None or now - walk.due_at > _LOOKS
    looked_at = incident.manual is None and incident.decided_at is not None
    return looked_at and not late and counts.live_of(conn, incident.id) is None


def stays_open(conn: Connection, incident: Incident) -> bool:
    """It is open although its alert is gone: what is left of a run that got stuck is nobody's as yet."""
    return incident.state is IncidentState.STUCK and left(conn, incident, None) is not Left.OVER
