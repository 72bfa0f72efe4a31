"""Decide: the way of one due incident, from its alerts to a decision.

The stages stand in `STAGES`, in their order, and read like the diagram: each takes the case as it stands and gives it back with one more
thing known, or ends the way with a decision. What follows from it is `settle`'s one transaction. Never acts, and reads nothing of what is off limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

import structlog
from sqlalchemy import Connection

from app.domain.alert import AlertStatus
from app.domain.alert_report import AlertReport, Reported, silence
from app.domain.decision import Code, Decision, Verdict
from app.domain.errors import BadInput, RemediatorError, TryLater
from app.domain.outcome import IncidentState
from app.domain.ports import IncidentBodies
from app.domain.target import Target
from app.domain.units import utc
from app.flow.calling import attended
from app.flow.deciding import apart, facts, investigate
from app.flow.deciding.history import history_of, owed, pay, rotating
from app.flow.deciding.marks import namespace_off_limits, off_limits
from app.flow.deciding.settle import (
    Case,
    decide_on,
    resolved,
    settle,
    settle_without,
    watched,
)
from app.flow.ids import WAKE
from app.flow.notifying.record import count_decided, move
from app.flow.services import Services
from app.intake.pagerduty import enriched, lacks_labels
from app.kube import read
from app.kube.jobs import Apart
from app.kube.read import View
from app.policy.facts import NOT_READ
from app.policy.model import Policy
from app.store import driving, escalations, incidents, runs
from app.store import facts as counts
from app.store.database import Store
from app.store.incidents import Incident, StoredAlert
from app.store.tx import Tx


async def enrich(
    store: Store, bodies: IncidentBodies | None, incident_id: str, alerts: tuple[StoredAlert, ...]
) -> bool:
    """Fetch and keep labels that a PagerDuty webhook does not carry (protocol fact); True when some were added and the incident has to be read
    again. Raises ProbeUnavailable: then the decision waits, it is not made on half the facts."""
    poor = [a for a in alerts if lacks_labels(a.alert())] if bodies is not None else []
    changed = False
    for stored in poor:
        assert bodies is not None  # noqa: S101 - for the type checker: `poor` is empty without it
        answer = await bodies.incident_alerts(stored.fingerprint)
        richer = await asyncio.to_thread(enriched, stored.alert(), answer)
        if richer.labels == stored.labels:
            continue
        episode, labels = stored.episode, dict(richer.labels)
        await store.write(lambda tx: _relabel(tx, incident_id, episode, labels))  # noqa: B023 - awaited here
        changed = True
    return changed


def _relabel(tx: Tx, incident_id: str, episode: str, labels: dict[str, str]) -> None:
    """What was told late may be more severe than what people were asked about."""
    counts.relabel(tx, incident_id, episode, labels)
    escalations.joined(tx, [incident_id])


__all__ = ["Case", "decide_incident", "decide_on", "firing_alerts", "settle_without", "unheard"]

T = TypeVar("T")
log = structlog.get_logger(__name__)

LIMIT = 30.0
"""Seconds that an investigation may take; well below the lease of a claim, so that nobody else begins the same one."""
_FRESH = timedelta(minutes=15)
"""How old the last message of an alert is at least that is taken for vanished, where no rule says how old is stale."""
_SILENT = 96
"""An alert that nobody can be asked about is gone when it was not heard of for so many times that long: a day, longer than any
common repeat interval."""
GONE = "its source no longer has the alert, and no message said so"
_ALERTS = facts.ALERTS + 1  # one more, so that a rest is known to be there


@dataclass(frozen=True, slots=True)
class Way:
    """An incident on its way: what is known of it so far. `view` is one look at the cluster for all stages, `how` says how the
    target was found where no controller told it."""

    services: Services
    policy: Policy
    incident: Incident
    alerts: tuple[StoredAlert, ...]
    view: View
    subject: investigate.Subject | None = None
    target: Target | None = None
    how: str = ""
    seen: investigate.Seen | None = None
    outside: facts.Outside | None = None

    @property
    def reading(self) -> Services:
        """The services with everything read through the one view."""
        return replace(self.services, cluster=self.view)


Stage: TypeAlias = Callable[[Way], Awaitable[Way | Decision]]


async def fetch_labels(way: Way) -> Way:
    """What PagerDuty's webhook did not carry."""
    s = way.services
    if not await enrich(s.store, s.incident_bodies, way.incident.id, way.alerts):
        return way
    incident, alerts, _ = await s.store.read(lambda conn: _load(conn, way.incident.id))
    return replace(way, incident=incident, alerts=alerts)


async def match_the_rule(way: Way) -> Way | Decision:
    """The rule for the alerts, or for the order."""
    found = investigate.subject_of(way.services, way.policy, way.incident, way.alerts)
    return found if isinstance(found, Decision) else replace(way, subject=found)


async def check_what_is_named(way: Way) -> Way | Decision:
    """Whether the namespace that the labels or the order name is ours to read."""
    subject = _known(way.subject)
    named = investigate.named_target(way.policy, subject)
    if isinstance(named, Decision):
        return _apart(way, await apart.of_labels(way.reading, way.policy, subject, named))
    if subject.remediation.outside and (elsewhere := apart.measured_elsewhere(way.policy, subject, named)):
        return elsewhere
    away = await namespace_off_limits(way.view, way.policy.scope, named.namespace)
    return _seen_or_not(way, named, away=away)


async def resolve_the_target(way: Way) -> Way | Decision:
    """The workload behind the name, following owners, and whether its own mark lets us look. Nothing is asked for what is off
    limits."""
    if way.seen is not None:
        return way
    subject = _known(way.subject)
    named = _known(way.target)
    try:
        found = await investigate.find_target(way.reading.cluster, way.policy, subject, named)
    except Apart as other:
        return _apart(way, await apart.look(way.reading, way.policy, subject, named, other))
    if isinstance(found, Decision):
        return found
    away = await off_limits(way.view, way.policy.scope, found.target)
    if not away:
        subject, found = await investigate.at_one(way.view, subject, found)
    return _seen_or_not(replace(way, subject=subject, how=found.how), found.target, away=away)


async def look_at_the_target(way: Way) -> Way:
    """Workload, diagnosis and ladder."""
    if way.seen is not None:
        return way
    services, incident, target, view = way.services, way.incident, _known(way.target), way.view
    remediation = _known(way.subject).remediation.name
    history, _, _ = await asyncio.gather(
        services.store.read(
            lambda conn: history_of(
                conn,
                incident.id,
                target.key,
                services.clock.now(),
                services.store.vault.key,
                rotating(services.catalogue, remediation),
            )
        ),
        read.ahead(view, target),
        read.surroundings_ahead(view, target),
    )
    seen = await investigate.look_at(way.reading, _known(way.subject), target, history)
    age = services.clock.now() - incident.opened_at
    seen = investigate.told_how(seen, way.how)
    return replace(way, seen=investigate.look_again_first(seen, view.transient_errors, age))


async def gather_facts(way: Way) -> Way:
    """What the gates need from outside of the store."""
    seen, target = _known(way.seen), _known(way.target)
    workload, actions = seen.workload or seen.fault or NOT_READ, seen.step.actions if seen.step else ()
    sight = facts.Sight(target, workload, actions, seen.read and not seen.apart, incident=way.incident)
    around = await facts.outside(way.reading, seen.subject.rule, sight, way.alerts)
    return replace(way, outside=around)


STAGES: tuple[Stage, ...] = (
    fetch_labels,
    match_the_rule,
    check_what_is_named,
    resolve_the_target,
    look_at_the_target,
    gather_facts,
)


async def decide_incident(services: Services, incident_id: str) -> str | None:
    """Decide one claimed incident. Returns the id of the run to start, None when there is none.

    Raises StoreUnavailable; whatever else goes wrong is an unknown fact, decided again later.
    """
    with services.tracer.span("decide", incident_id):
        return await _decide(services, incident_id)


async def _decide(services: Services, incident_id: str) -> str | None:
    way = await _claimed(services, incident_id)
    if way is None:
        return None
    if await _settled_by_silence(way) or await _paid(way):
        return None
    found = await _walk(way)
    if isinstance(found, Decision):
        if await apart.left(services, way.policy, way.incident, way.alerts, found):
            count_decided(services, way.incident, found)
        return None
    settled = await services.store.write(lambda tx: settle(tx, services, found))
    if settled is None:
        return None
    count_decided(services, way.incident, settled.decision)
    return settled.run_id


async def _claimed(services: Services, incident_id: str) -> Way | None:
    """The way's beginning, or None for an incident that needs no decision: a run has it, or a person, or it is over."""
    incident, alerts, live = await services.store.read(lambda conn: _load(conn, incident_id))
    if live is not None:
        await _leave_to(services, incident, live.id, gone=not alerts and incident.manual is None)
        return None
    if not alerts and incident.manual is None:
        await services.store.write(lambda tx: resolved(tx, incident))
        return None
    if incident.state.closed:
        await services.store.write(lambda tx: incidents.schedule(tx, incident.id, None))
        return None
    return Way(services, services.policy(), incident, alerts, View(services.cluster))


async def _settled_by_silence(way: Way) -> bool:
    """Close an incident whose alert has vanished without a message; leave a person's to them. True: there is nothing to decide."""
    services, incident = way.services, way.incident
    with_person = incident.state in (IncidentState.ESCALATED, IncidentState.STUCK)
    gone = await _vanished(way) if incident.decided_at is not None and incident.manual is None else ""

    def write(tx: Tx) -> None:
        held = incidents.hold(tx, incident.id)
        same = gone and counts.last_seen(tx.conn, incident.id) == _last_seen(way)
        ends = same and not (held.state.closed or attended.stays_open(tx.conn, held))
        if ends or (with_person and attended.left(tx.conn, held, None) is attended.Left.OVER):
            why = gone or "a person has what is left of it"
            move(tx, held, IncidentState.RESOLVED, once="gone", reason=why)
            incidents.schedule(tx, incident.id, None)
        else:
            rests = None if incident.manual else watched(tx.now, incident.id)
            incidents.schedule(tx, incident.id, rests if with_person else tx.now)

    if gone or with_person:
        await services.store.write(write)
    return bool(gone) or with_person


async def _paid(way: Way) -> bool:
    """The call that a run owes which ended under a silence, or beside another call, is made, as that is over and the alert fires. True: there is nothing to decide."""
    call = await way.services.store.read(lambda conn: owed(conn, way.incident.id))
    if call is None or any(await unheard(way.services, way.incident, way.alerts)):
        return False
    again = watched(way.services.clock.now(), way.incident.id)
    await way.services.store.write(lambda tx: pay(tx, way.policy, way.incident, call, again))
    return True


async def unheard(
    services: Services, incident: Incident, alerts: tuple[StoredAlert, ...], *, now: bool = False
) -> tuple[str, str]:
    """Why nobody is called for alerts that the store has firing: their source has them no more, or they are silenced; both empty otherwise.
    `now`: the source's word counts however lately it told of them."""
    reports = await facts.reports(services, alerts)
    if now and all(report.state is Reported.GONE for report in reports):
        return GONE, silence(reports)
    way = Way(services, services.policy(), incident, alerts, View(services.cluster))
    return await _vanished(way, reports), silence(reports)


async def _vanished(way: Way, heard: Sequence[AlertReport] = ()) -> str:
    """Why the incident's alert is taken for gone although no message said so; empty when it is not. Only once its last message
    is old: its source may be starting, and a message may be on its way."""
    now, last, freshness = way.services.clock.now(), _last_seen(way), _FRESH
    with suppress(BadInput):
        subject = investigate.subject_of(way.services, way.policy, way.incident, way.alerts)
        freshness = freshness if isinstance(subject, Decision) else subject.rule.freshness
    if now - last <= freshness:
        return ""
    states = {report.state for report in heard or await facts.reports(way.services, way.alerts)}
    if states == {Reported.GONE}:
        return GONE
    if (
        Reported.TOLD in states
        and states <= {Reported.TOLD, Reported.GONE}
        and now - last > _SILENT * freshness
    ):
        return f"nothing was heard of the alert since {utc(last)}, and there is nobody to ask"
    return ""


def _last_seen(way: Way) -> datetime:
    return max(alert.last_seen for alert in way.alerts)


async def _walk(way: Way) -> Case | Decision:
    """All stages, within the limit."""
    try:
        async with asyncio.timeout(LIMIT):
            for stage in STAGES:
                with way.services.tracer.span(stage.__name__.replace("_", " ")):
                    found = await stage(way)
                if isinstance(found, Decision):
                    return found
                way = found
    except TimeoutError:
        return _unknown(way, f"the investigation took longer than {LIMIT:g} s")
    except BadInput as error:
        return Decision(Verdict.DENY, Code.NO_TARGET, str(error), "", "", "", (), way.policy.version)
    except TryLater as error:
        return _unknown(way, f"the target could not be looked up: {error.message}")
    except RemediatorError as error:
        return _unknown(way, f"the investigation failed: {error}")
    except Exception as error:
        log.exception("investigation_failed")
        return _unknown(way, f"the investigation failed: {type(error).__name__}")
    unseen = facts.UNSEEN.reason if _known(way.outside).changed_by is facts.UNSEEN else ""
    passing = investigate.failed_in_passing(way.view, _known(way.seen)) or unseen
    return Case(way.policy, way.incident, way.alerts, _known(way.seen), _known(way.outside), passing)


def _seen_or_not(way: Way, target: Target, *, away: bool) -> Way:
    """The way with this target; one that is off limits counts as seen, because nothing more of it is read."""
    seen = investigate.unread(_known(way.subject), target) if away else None
    return replace(way, target=target, seen=seen)


def _apart(way: Way, found: investigate.Seen | Decision) -> Way | Decision:
    """The way with what was seen of something that nothing here changes."""
    return found if isinstance(found, Decision) else replace(way, target=found.target, seen=found)


def _unknown(way: Way, why: str) -> Decision:
    named = (way.subject.rule.name, way.subject.rule.remediation) if way.subject else ("", "")
    return Decision(Verdict.DENY, Code.UNKNOWN_FACT, why, *named, "", (), way.policy.version)


def _known(value: T | None) -> T:
    if value is None:
        raise AssertionError("an earlier stage gives it")
    return value


def _load(conn: Connection, incident_id: str) -> tuple[Incident, tuple[StoredAlert, ...], runs.Run | None]:
    incident = incidents.get(conn, incident_id)
    return incident, firing_alerts(conn, incident_id), counts.live_of(conn, incident_id)


def firing_alerts(conn: Connection, incident_id: str) -> tuple[StoredAlert, ...]:
    """Alerts of the incident that fire as far as we were told, a bounded number."""
    stored = incidents.alerts(conn, incident_id, _ALERTS)
    return tuple(a for a in stored if a.status is AlertStatus.FIRING)


async def _leave_to(services: Services, incident: Incident, run_id: str, *, gone: bool) -> None:
    """A live run looks after itself; only one that waits for a person has to hear that the alert is gone."""

    def write(tx: Tx) -> str:
        incidents.schedule(tx, incident.id, None)
        if gone:
            driving.wake(tx, run_id)
        return runs.get(tx.conn, run_id).workflow

    workflow = await services.store.write(write)
    if gone:
        await services.engine().signal(workflow, WAKE)
