"""Escalation: asks the policy's steps one after the other until somebody answers, and takes the answer, whichever way it comes.

Owns the walk: `walk_due` is a part of the sweep, `acknowledge` is called by API, page and buttons. Each step is asked in one transaction with
its messages, after the row was found as it was read; so it is told once, whoever else walks, dies or repeats. A pause holds no call
back: it stops writes, not words. Never touches the cluster and never decides whether a person is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.domain.alert import PageWord
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.free_text import OF_PAGERDUTY
from app.domain.outcome import IncidentState
from app.flow.calling import attended, calls, severity, statuses
from app.flow.calling.attended import Left
from app.flow.calling.calls import Do, Status
from app.flow.deciding.decide import firing_alerts, unheard
from app.flow.each import each
from app.flow.notifying import record
from app.flow.notifying.fan_out import STORM_CALL
from app.flow.notifying.record import AUDITED, actor_of, tell
from app.flow.services import Services
from app.notify.escalation import Acknowledged, EscalationFact, StepAsked, Unanswered
from app.notify.timeline import Escalation, Topic, fact_from_json, fact_to_json
from app.policy.escalation import answer_within, left
from app.policy.model import Policy
from app.store import approvals, digests, escalations, incidents, outbox, people
from app.store.approvals import NO_CLICK, Click
from app.store.escalations import StoredEscalation
from app.store.tx import Tx

_AT_ONCE = 50  # looked at in one sweep
_ANSWERS = 5.0  # seconds in which a source says whether it still has an alert
_PAGERDUTY = "PagerDuty"
_IN_VAIN = "nobody answered when its alert was there before"
STORM = "dig_"
"""How the id of a storm begins."""


async def walk_due(services: Services) -> None:
    """Ask the steps that are due, take PagerDuty's answers, and end what is over. Raises StoreUnavailable, and ExceptionGroup with what
    failed; one round holds up no other."""
    policy, now = services.policy(), services.clock.now()
    found = await services.store.read(lambda conn: escalations.waiting(conn, now, policy.version, _AT_ONCE))
    # Side by side: neither a source nor PagerDuty that does not answer holds up more than one limit, whatever is due.
    outside = await asyncio.gather(*(_outside(services, policy, seen) for seen in found))
    try:
        await each(
            {s.id: partial(_walk, services, policy, s, o) for s, o in zip(found, outside, strict=True)}
        )
    finally:
        if found:
            services.deliver_nudge()


@dataclass(frozen=True, slots=True)
class Outside:
    """What was asked before a round is looked at: whether its alert is gone at the source, who is on call, by the policy's entry, and the defect
    that kept one of both from being known, which keeps nobody from being asked."""

    gone: bool
    on_call: Mapping[str, str]
    failed: BaseException | None = None


async def _outside(services: Services, policy: Policy, seen: StoredEscalation) -> Outside:
    gone, on_call = await asyncio.gather(
        _gone(services, seen), _on_call(services, policy, seen), return_exceptions=True
    )
    failed = next((one for one in (gone, on_call) if isinstance(one, BaseException)), None)
    return Outside(gone is True, on_call if not isinstance(on_call, BaseException) else {}, failed)


async def _walk(services: Services, policy: Policy, seen: StoredEscalation, outside: Outside) -> None:
    if outside.gone:
        return
    due = await _asked_one(services, policy, seen, outside.on_call)
    while due is not None:  # whoever was waited for long enough before is not waited for until the next sweep
        due = await _asked_one(services, policy, due, await _on_call(services, policy, due))
    if outside.failed is not None:
        raise outside.failed


async def _asked_one(
    services: Services, policy: Policy, seen: StoredEscalation, on_call: Mapping[str, str]
) -> StoredEscalation | None:
    """The round as it is afterwards, where it asked somebody and the next step is due already."""
    return await services.store.write(lambda tx: _look(tx, services, policy, seen, on_call))


async def _gone(services: Services, walk: StoredEscalation) -> bool:
    """Whether the source has the alert no more, of which no message told: nobody else is asked, and the incident is looked at, which closes it. Who is
    due is asked where it does not answer in time."""
    if not walk.asked or walk.storm or not _due(walk, services.clock.now()):
        return False
    incident, alerts = await services.store.read(
        lambda conn: (incidents.get(conn, walk.subject), firing_alerts(conn, walk.subject))
    )
    closes = bool(alerts) and await services.store.read(
        lambda conn: attended.look_closes(conn, incident, walk, services.clock.now())
    )
    if not closes or incident.state is not IncidentState.ESCALATED:
        return False  # what is left of a run that got stuck stays open, and the next one is asked
    gone = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANSWERS):
            gone, _ = await unheard(services, incident, alerts)
    if gone:
        await services.store.write(lambda tx: incidents.schedule(tx, walk.subject, tx.now))
    return bool(gone)


def _due(walk: StoredEscalation, now: datetime) -> bool:
    return walk.due_at is not None and walk.due_at <= now


def _under_another(walk: StoredEscalation, policy: Policy) -> bool:
    """It was looked at, and under another policy than this one, and is unanswered."""
    return walk.policy not in ("", policy.version) and walk.answered_at is None


def _look(
    tx: Tx, services: Services, policy: Policy, seen: StoredEscalation, on_call: Mapping[str, str]
) -> StoredEscalation | None:
    """One round as it stands now: over, answered, given back, or its next step is due; then the round afterwards, where one more is due."""
    incident = None if seen.storm else incidents.hold(tx, seen.subject)
    walk = escalations.hold(tx, seen.id)
    if walk is None:
        return None
    if incident.state.closed if incident is not None else digests.is_over(tx.conn, walk.subject, tx.now):
        _end(tx, services, policy, walk)
        return None
    again = ""
    if walk.news:
        escalations.change(tx, walk.id, news=False)
        walk, again = _heard(tx, services, policy, walk)
    if incident is not None and incident.state in escalations.BUSY:
        return None
    if walk.joined:
        walk, again = _joined(tx, walk, again)
    if walk.answered_at is not None:
        return None
    walk = _renewed(tx, policy, walk)
    if not _due(walk, tx.now) or (not again and len(walk.asked) != len(seen.asked)):
        return None
    _ask_next(tx, services, policy, walk, Told(on_call, again))
    after = escalations.get(tx.conn, walk.id)
    return after if after is not None and _due(after, tx.now) else None


@dataclass(frozen=True, slots=True)
class Told:
    """What is said beside a step: who is on call, by the policy's entry, and why the steps begin anew."""

    on_call: Mapping[str, str]
    again: str = ""


def _end(tx: Tx, services: Services, policy: Policy, walk: StoredEscalation) -> None:
    """The incident or storm is over: its page is resolved, and nobody is asked any more."""
    escalations.change(tx, walk.id, over_at=tx.stamp, due_at=None)
    if walk.page_key:
        calls.put_page(tx, walk, walk.page_key, Do.RESOLVE)
    if services.reach.notes and walk.asked and not walk.storm:
        state = incidents.get(tx.conn, walk.subject).state
        calls.put_note(tx, walk, "over", f"alert-remediator: the incident is {state.value}")
    if walk.storm or incidents.get(tx.conn, walk.subject).state is not IncidentState.MERGED:
        statuses.tell(tx, services.reach, policy, walk, Status.RESOLVED)


def _heard(
    tx: Tx, services: Services, policy: Policy, walk: StoredEscalation
) -> tuple[StoredEscalation, str]:
    """What PagerDuty said: of our page, or of the incident of its own behind this one. The round after it, and why it begins anew."""
    own = "" if walk.storm else people.pagerduty_taker(tx.conn, walk.subject)
    had = walk.page_word in (PageWord.ACKNOWLEDGED, PageWord.RESOLVED)
    if walk.page_word is PageWord.RELEASED:  # said once: it is no answer to what comes later
        escalations.change(tx, walk.id, page_word="")
    if walk.answered_at is None:
        if had or (own and severity.stands_in_pagerduty(tx.conn, walk.subject)):
            _answered(tx, services, policy, walk, Acknowledged(walk.page_by if had else own, _PAGERDUTY))
        return escalations.get(tx.conn, walk.id) or walk, ""
    of_page = walk.page_word is PageWord.RELEASED
    if not of_page and (walk.through != _PAGERDUTY or had or own):
        return walk, ""
    by = walk.page_by if of_page else "somebody"
    tx.audit(
        EventKind.RELEASED,
        incident_id=walk.incident_id,
        actor=by,
        data={
            "through": _PAGERDUTY,
            "had": walk.answered_by,
            **({"storm": walk.subject} if walk.storm else {}),
        },
    )
    if not walk.storm:
        people.withdraw_holder(tx, walk.subject)
    # Only a page that was really made calls again by itself.
    stays = bool(walk.page_key) and outbox.page_went_out(tx.conn, walk.page_key)
    if walk.page_key and not stays:
        calls.put_page(tx, walk, walk.page_key, Do.RESOLVE)
    had_it, took_it = (name.removeprefix(OF_PAGERDUTY) for name in (walk.answered_by, by))
    text = f"{had_it} no longer has it, by {took_it} in PagerDuty"
    return escalations.again(tx, walk, page=stays), text


def _joined(tx: Tx, walk: StoredEscalation, again: str) -> tuple[StoredEscalation, str]:
    """Alerts joined: when a more severe one is among them, the steps of its severity begin, with a page of their own, also when somebody
    had answered for what it was before; and when nobody is asked for it any more. The round after it, and why it begins anew."""
    risen = severity.has_risen(tx.conn, walk)
    if not risen and (walk.storm or not _called_anew(tx, walk)):
        escalations.follow(tx, walk, joined=False)
        return replace(walk, joined=False), again
    if walk.page_key:
        calls.put_page(tx, walk, walk.page_key, Do.RESOLVE)
    text = "its alert fires again"
    people.let_go(tx, walk.subject)
    if risen:
        text = record.risen(severity.of_incident(tx.conn, walk.subject), walk.severity or "")
    return escalations.anew(tx, walk, walk.why), text


def _called_anew(tx: Tx, walk: StoredEscalation) -> bool:
    incident = incidents.get(tx.conn, walk.subject)
    return attended.left(tx.conn, incident, walk) is Left.ANEW and incident.state is IncidentState.STUCK


def _renewed(tx: Tx, policy: Policy, walk: StoredEscalation) -> StoredEscalation:
    """The round under the policy in force: its steps are kept when it begins, and later what is due comes no later than the stricter
    of both policies says."""
    if walk.policy == policy.version:
        return walk
    now, due = severity.steps_now(tx.conn, policy, walk), walk.due_at
    if walk.severity is None:
        escalations.follow(tx, walk, severity=severity.followed(tx.conn, walk), joined=False)
    if walk.asked and due is None and left(severity.steps_begun(walk), now, [a.step for a in walk.asked]):
        due = tx.now  # nobody answered, and there is somebody more to ask
    if walk.asked and due is not None:
        last = walk.asked[-1]
        within = answer_within(last.step, severity.steps_begun(walk), now)
        due = min(due, _until(last.at, within, last.waited) or due)
    steps = [step.model_dump(mode="json") for step in now] if walk.steps is None else walk.steps
    return escalations.renew(tx, walk.id, policy.version, steps, due)


def _ask_next(tx: Tx, services: Services, policy: Policy, walk: StoredEscalation, told: Told) -> None:
    """Ask the next step; after the last one, say that nobody answered."""
    steps, asked, reach = severity.steps_left(tx.conn, policy, walk), walk.asked, services.reach
    if not steps:
        escalations.renew(tx, walk.id, policy.version, walk.steps or (), None)
        if asked:
            names = tuple(a.step for a in asked)
            once = f"{walk.round}/{len(asked)}"
            _say(tx, walk, Topic.UNANSWERED, Unanswered(names, asked[0].at), once=once)
        return
    step = steps[0]
    pages = step.page and reach.pages
    refused = bool(walk.page_key) and outbox.page_given_up(tx.conn, walk.page_key)
    sends = pages and (not walk.page_key or refused)
    nobody = not step.who and not pages
    waited = attended.waited_for(tx.conn, walk, step.name)
    until = _until(tx.now, step.answer_within, waited)
    key = walk.page_key or calls.key_of(walk)
    # Nobody was asked, so nobody is waited for.
    due = tx.now if nobody and until else until
    escalations.ask(tx, walk, step.name, page_key=key if sends else "", due_at=due, waited=waited)
    if refused and sends:
        calls.page_anew(tx, key)
    elif sends:
        calls.put_page(tx, walk, key, Do.TRIGGER)
    if not asked:
        if reach.notes and not walk.storm:
            calls.put_note(tx, walk, "called")
        statuses.tell(tx, reach, policy, walk, Status.INVESTIGATING)
    if nobody and policy.escalation is None:
        # No steps and no pager: the message that a person is needed is all there is.
        if told.again and not walk.storm:
            _say_anew(tx, walk, told.again)
        return
    fact = StepAsked(
        step.name,
        len(asked) + 1,
        tuple(name for name in step.who if not calls.is_on_call(name)),
        ("Nobody was asked: PagerDuty is not configured",) if nobody else calls.told_of(step, told.on_call),
        paged=sends,
        page_open=pages and not sends and outbox.page_went_out(tx.conn, walk.page_key),
        until=until,
        reason=str(walk.why.get("reason", "")),
        again=told.again or attended.why_anew(tx.conn, walk) or (_IN_VAIN if waited and not asked else ""),
        at=tx.now,
    )
    _say(tx, walk, Topic.ASKED, fact, once=f"{walk.round}/{len(asked) + 1}")


def _until(asked: datetime, within: timedelta | None, waited: timedelta) -> datetime | None:
    """Until when a step is waited for that was asked then; None for ever."""
    return None if within is None else asked + max(within - waited, timedelta())


def _say_anew(tx: Tx, walk: StoredEscalation, again: str) -> None:
    why = fact_from_json(Topic.ESCALATED, walk.why)
    if isinstance(why, Escalation):
        why = replace(why, reason=f"{again}: {why.reason}")
        tell(tx, Topic.ESCALATED, why, incident_id=walk.subject, once=f"escalation/{walk.round}/anew")


def _say(tx: Tx, walk: StoredEscalation, topic: Topic, fact: EscalationFact, *, once: str) -> None:
    """Into the trail and the thread of the incident; for a storm below its digest, and into the trail of its first incident."""
    if not walk.storm:
        tell(tx, topic, fact, incident_id=walk.incident_id, once=f"escalation/{once}")
        return
    data = {"digest": walk.subject, "topic": topic.value, "fact": fact_to_json(topic, fact)}
    if tx.put(f"{walk.subject}:{topic}:{once}", "", STORM_CALL, {"event": STORM_CALL, "data": data}):
        told = {**fact_to_json(topic, fact), "storm": walk.subject}
        tx.audit(AUDITED[topic], incident_id=walk.incident_id, actor=actor_of(fact), data=told)


async def _on_call(services: Services, policy: Policy, walk: StoredEscalation) -> dict[str, str]:
    """Who is on call for the step that is due, one sentence for each schedule and escalation policy that it names."""
    news = walk.news or walk.joined or (walk.due_at is None and _under_another(walk, policy))
    if not news and not _due(walk, services.clock.now()):
        return {}
    steps = await services.store.read(
        lambda conn: severity.steps_left(conn, policy, severity.as_risen(conn, walk))
    )
    wanted = [name for name in steps[0].who if calls.is_on_call(name)] if steps else []
    return await calls.on_call(services, wanted)


async def acknowledge(
    services: Services, subject: str, by: str, through: str, click: Click = NO_CLICK
) -> dict[str, Any]:
    """This person has the incident, or the storm: nobody else is asked, and on the incident nothing is done by itself. Raises Missing, Refused
    (`incident_closed`), Repeated for a click that was taken before. Whoever has it already keeps it."""
    fact = Acknowledged(by, through, reason=click.reason)

    def write(tx: Tx) -> dict[str, Any]:
        approvals.take(tx, click.key)
        return _acknowledge(tx, services, subject, fact)

    done = await services.store.write(write)
    services.deliver_nudge()
    services.decide_nudge()
    return done


def _acknowledge(tx: Tx, services: Services, subject: str, fact: Acknowledged) -> dict[str, Any]:
    storm = subject.startswith(STORM)
    incident = None if storm else incidents.hold(tx, subject)
    walk = escalations.of_subject(tx, subject)
    if incident.state.closed if incident is not None else walk is None:
        raise Refused("it is over: nobody has to take it", code="incident_closed", where=subject)
    answer = {"incident": subject, "by": fact.by, "answer": "acknowledged"}
    if incident is not None and incident.state is IncidentState.STUCK:
        incidents.schedule(tx, subject, tx.now)  # where its alert is gone, it was open for this word alone
    if walk is not None and walk.answered_at is None:
        _answered(tx, services, services.policy(), walk, fact)
        return answer
    holder = None if storm else attended.holder(tx.conn, subject)
    has = holder.by if holder is not None else walk.answered_by if walk is not None and storm else ""
    if has:
        return {**answer, "by": has, "answer": "already"}
    given = None if walk is None else severity.answered_for(tx.conn, walk)
    if walk is not None:  # it was answered, for less: it is theirs as well, for what it is now
        escalations.answer(tx, walk, fact.by, fact.through, given)
    record.take_incident(tx, subject, fact.by, fact.through, given)
    told = replace(fact, at=tx.now)
    tell(tx, Topic.ACKNOWLEDGED, told, incident_id=subject, once=f"own/{tx.stamp}")
    return answer


def _answered(tx: Tx, services: Services, policy: Policy, walk: StoredEscalation, fact: Acknowledged) -> None:
    """Somebody answered this round: the steps end, PagerDuty is told, and the incident is theirs."""
    given = severity.answered_for(tx.conn, walk, in_pagerduty=fact.through == _PAGERDUTY)
    escalations.answer(tx, walk, fact.by, fact.through, given)
    if not walk.storm:
        record.take_incident(tx, walk.subject, fact.by, fact.through, given)
    if walk.page_key and fact.through != _PAGERDUTY:
        calls.put_page(tx, walk, walk.page_key, Do.ACKNOWLEDGE)
    if services.reach.notes and not walk.storm and fact.through != _PAGERDUTY:
        calls.put_note(
            tx, walk, "acknowledged", f"alert-remediator: {fact.by} has it (through {fact.through})"
        )
    statuses.tell(tx, services.reach, policy, walk, Status.IDENTIFIED)
    told = replace(fact, asked=len(walk.asked), at=tx.now)
    _say(tx, walk, Topic.ACKNOWLEDGED, told, once=str(walk.round))
