"""Schedules: orders the procedures of rules whose time has come, once each, whoever looks and whatever the clock does.

A background task. A time and its order are one transaction: its row in the store is unique, so that neither a death nor a second replica nor
a clock that is set back brings it again. What it orders is an order like a person's, except that it is nobody's approval: all gates
hold for it. What is missed, late or still under way is judged by `app.policy.schedule`. Never touches the cluster.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Connection

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import RemediatorError
from app.domain.events import EventKind
from app.domain.json import digest
from app.domain.units import duration, utc
from app.flow.each import each
from app.flow.notifying import record
from app.flow.notifying.deliver import SCHEDULE_SKIPPED
from app.flow.services import Services
from app.policy.match import own_target
from app.policy.model import Policy, Rule
from app.policy.schedule import PUNCTUAL, Fate, Judged, Missed, Schedule, judge
from app.store import ingest, schedules
from app.store.schedules import Fire, StoredSchedule
from app.store.tx import Tx

log = structlog.get_logger(__name__)

_GONE = "gone"
"""The terms of a rule that this process does not know any more. Another one may still: its next time is forgotten when it has passed."""
_AHEAD = 1_000
"""Times that are looked through for one that has not come: so many a clock that was set back may have had."""


async def fire_due(services: Services) -> int:
    """Order what is due; returns how many times have come. Raises ExceptionGroup with what failed; one rule holds up no other."""
    policy, now = services.policy(), services.clock.now()
    rules = {rule.name: rule for rule in policy.rules if rule.schedule is not None}
    record.count_scheduled(services, rules)
    known = await services.store.read(schedules.every)
    left = (known[name] for name in known.keys() - rules.keys())
    if gone := [one.rule for one in left if one.terms != _GONE or one.due_at is None or one.due_at <= now]:
        await services.store.write(lambda tx: _without(tx, gone, policy.version))
        services.deliver_nudge()
    wanted = [rule for name, rule in rules.items() if _has_news(rule, known.get(name), now)]
    came: list[Fire] = []
    await each({rule.name: partial(_one, services, (policy, rule), came) for rule in wanted})
    return len(came)


async def _one(services: Services, of: tuple[Policy, Rule], came: list[Fire]) -> None:
    """Look at one rule, and have its order decided."""
    fire = await services.store.write(lambda tx: look(tx, *of))
    if fire is None:
        return
    came.append(fire)
    services.metrics.schedules.labels(fire.rule, fire.fate).inc()
    log.info(
        "schedule_due", rule=fire.rule, due=fire.due.isoformat(), fate=fire.fate, incident=fire.incident_id
    )
    if fire.incident_id:
        services.decide_nudge()
    else:
        services.deliver_nudge()


def terms_of(rule: Rule) -> str:
    """Tells whether the rule's times still mean the same: when, and what is done to which target."""
    if rule.schedule is None:
        return ""
    when = digest([rule.schedule.cron, str(rule.schedule.timezone)])
    return f"{when}:{_what(rule)}"


def _what(rule: Rule) -> str:
    return digest([rule.remediation, own_target(rule).key])


def _schedule(rule: Rule) -> Schedule:
    if rule.schedule is None:
        raise AssertionError("only rules with a schedule are looked at")
    return rule.schedule


def _has_news(rule: Rule, known: StoredSchedule | None, now: datetime) -> bool:
    """Its time has come, the rule is new or another, or the clock was set back behind one of its times."""
    if known is None or known.terms != terms_of(rule):
        return True
    return known.due_at != _schedule(rule).first_after(now)


def look(tx: Tx, policy: Policy, rule: Rule) -> Fire | None:
    """Look at one rule, held: what has come is written down, with its order. None when nothing came."""
    known, terms = schedules.hold(tx, rule.name), terms_of(rule)
    following = _following(tx.conn, rule, tx.now)
    if known is None or known.terms != terms:
        schedules.put(tx, rule.name, terms, following)  # what was before it was written is not missed
        around = _around(tx, rule, known) if known is not None else None
        return _came(tx, policy, rule, around) if around is not None else None
    if known.due_at is None or known.due_at > tx.now:
        if known.due_at != following:
            schedules.put(tx, rule.name, terms, following)
        return None
    schedules.put(tx, rule.name, terms, following)
    judged = judge(_schedule(rule), known.due_at, tx.now)
    if schedules.has_come(tx.conn, rule.name, judged.due):
        return None
    return _came(tx, policy, rule, judged)


def _around(tx: Tx, rule: Rule, known: StoredSchedule) -> Judged | None:
    """The time that was due under the terms before these and that nobody has looked at: it comes when it is a time of the rule as it is, with
    the same order, and else it is told. None when there is none."""
    due = known.due_at
    if due is None or due > tx.now or schedules.has_come(tx.conn, rule.name, due):
        return None
    if known.terms == _GONE and tx.now - due > PUNCTUAL:
        return None  # it was removed then
    what = known.terms.partition(":")[2]
    if (what and what != _what(rule)) or _schedule(rule).first_after(due - timedelta(microseconds=1)) != due:
        return Judged(due, Fate.CHANGED)
    judged = judge(_schedule(rule), due, tx.now)
    return None if schedules.has_come(tx.conn, rule.name, judged.due) else judged


def _without(tx: Tx, gone: Collection[str], version: str) -> None:
    """These rules are not there any more. What was due before that was seen is told; what is due later is forgotten when it has passed."""
    for name in gone:
        known = schedules.hold(tx, name)
        if known is None:
            continue
        if known.due_at is not None and known.due_at > tx.now:
            schedules.put(tx, name, _GONE, known.due_at)
            continue
        schedules.forget(tx, [name])
        if known.due_at is None or known.terms == _GONE or schedules.has_come(tx.conn, name, known.due_at):
            continue
        schedules.came(tx, Fire(name, known.due_at, Fate.REMOVED.value, "", tx.now))
        _tell_skipped(tx, (name, version), Judged(known.due_at, Fate.REMOVED), utc(known.due_at))


def _tell_skipped(
    tx: Tx, of: tuple[str, str], judged: Judged, told: str, *, under_way: str = "", say: bool = True
) -> None:
    """Into the trail, and with `say` into the channel. `of`: the rule, and the policy's version."""
    (rule, version), due, fate = of, judged.due, judged.fate.value
    data = {"rule": rule, "due": due.isoformat(), "fate": fate, "policy": version}
    data |= {"first": judged.first.isoformat()} if judged.first is not None else {}
    tx.audit(EventKind.SCHEDULE_SKIPPED, data={**data, "under_way": under_way})
    if say:
        message_id = f"{SCHEDULE_SKIPPED}:{digest([rule, due.isoformat()])}"
        body = {"event": SCHEDULE_SKIPPED, "data": {"rule": rule, "fate": fate, "told": told}}
        tx.put(message_id, "", SCHEDULE_SKIPPED, body)


def _following(conn: Connection, rule: Rule, now: datetime) -> datetime | None:
    """Its first time after now that has not come before."""
    due = _schedule(rule).first_after(now)
    for _ in range(_AHEAD):
        if due is None or not schedules.has_come(conn, rule.name, due):
            return due
        due = _schedule(rule).first_after(due)
    return due


def _came(tx: Tx, policy: Policy, rule: Rule, judged: Judged) -> Fire:
    fate, due = judged.fate, judged.due
    under_way = schedules.under_way(tx.conn, rule.name) if fate.starts else ""
    fate = Fate.BUSY if under_way else fate
    incident_id = _order(tx, rule, judged) if fate.starts else ""
    fire = Fire(rule.name, due, fate.value, incident_id, tx.now)
    before = next(iter(schedules.newest(tx.conn, rule.name)), None)
    schedules.came(tx, fire)
    of = (rule.name, policy.version)
    if not fate.starts:
        say = before is None or before.fate != fire.fate  # said once of many in a row
        told = _told(rule, judged.first, due)
        _tell_skipped(tx, of, Judged(due, fate, judged.first), told, under_way=under_way, say=say)
    elif judged.first is not None and _schedule(rule).missed is Missed.SKIP:
        told = f"{_told(rule, None, judged.first)} and all from then to {_told(rule, None, due)}, which is ordered"
        _tell_skipped(tx, of, Judged(judged.first, Fate.SKIPPED), told)
    return fire


def _told(rule: Rule, first: datetime | None, due: datetime) -> str:
    """A time, and that it stands for those from the first on."""
    told = _schedule(rule).told
    return told(due) if first is None else f"{told(first)} and all from then to {told(due)}"


def _order(tx: Tx, rule: Rule, judged: Judged) -> str:
    """The order, as a person's comes in; its incident."""
    schedule, behind = _schedule(rule), tx.now - judged.due
    late = f", {duration(behind)} late" if judged.fate is Fate.LATE else ""
    if judged.first is not None and schedule.missed is Missed.ONCE:
        late += f", once for all since {schedule.told(judged.first)}"
    by = f"schedule of rule {rule.name}, due {schedule.told(judged.due)}"
    target = own_target(rule).key
    reason = f"{schedule.cron} in {schedule.timezone}{late}"
    order = ManualRequest(rule.remediation, target, {}, reason, by, schedule=rule.name)
    (outcome,) = ingest.record(tx, [Delivery(Source.MANUAL, tx.now, "schedule", manual=order)])
    if isinstance(outcome, RemediatorError):
        raise outcome
    return outcome.incident_ids[0]
