"""Facts: what the gates need, read outside the transaction (cluster, Alertmanager) and inside it (counts).

What cannot be read becomes `Unknown` with its reason. Called by `decide` and, right before each mutation, by `act`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import starmap

from sqlalchemy import Connection

from app.domain.alert_report import TOLD, UNTAKEN, AlertReport, Reported, Takers, combined, silence, takers
from app.domain.copies import HeldDatabase, databases_of
from app.domain.errors import RemediatorError
from app.domain.new_pods import NewPods
from app.domain.owner import Owners
from app.domain.plan import Action, touched
from app.domain.target import Target
from app.domain.workload import Manager, Workload
from app.flow.calling import attended, severity
from app.flow.deciding import history, marks
from app.flow.notifying import record
from app.flow.people.approvers import names_of
from app.flow.services import Services
from app.kube import read
from app.kube.hands import Hand, hand_since
from app.kube.lineage import unchanged_since
from app.kube.newpods import new_pods
from app.kube.newpods.goal import taken_down_at_once
from app.kube.owners import owners_of
from app.policy.facts import NOT_LOOKED, Fact, Facts, Past, Pause, Replicas, Spend, Unknown
from app.policy.gates.target import off_limits_by_name
from app.policy.match import scopes_for
from app.policy.model import Policy, Rule
from app.store import facts as counts
from app.store import incidents, people, schedules, work
from app.store.approvals import Given
from app.store.incidents import Incident, StoredAlert
from app.store.tx import Tx

ALERTS = 2_000
"""Alerts of an incident that their sources are asked about; they share alert name and target."""
UNSEEN = Unknown("its controller has not seen its newest change yet")


@dataclass(frozen=True, slots=True)
class Outside:
    """Facts from outside the store, as of `at`."""

    at: datetime
    target: Target
    workload: Fact[Workload]
    marks: Fact[Mapping[str, str]]
    firing: Fact[bool] | None
    blocking: Fact[Mapping[str, tuple[str, ...]]]
    silenced: str = ""
    takers: Takers = UNTAKEN
    changed_by: Fact[str] = ""
    changed_at: datetime | None = None
    leaving: Fact[str] = ""
    new_pods: Fact[NewPods] = NOT_LOOKED
    owners: Fact[Owners] = NOT_LOOKED
    databases: frozenset[HeldDatabase] = frozenset()
    touched: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of the target: its snapshot or why there is none, and the actions, with their real values, of the step that applies; `ahead`
    are those still to be carried out, where it is not all. `read` is False for a target that is off limits. `begun`: something of its incident's order
    is done, so that changes by others since it was given count no more."""

    target: Target
    workload: Workload | str
    actions: tuple[Action, ...] = ()
    read: bool = True
    ahead: tuple[Action, ...] = ()
    incident: Incident | None = None
    begun: bool = False

    @property
    def touched(self) -> tuple[Target, ...]:
        """What will be written."""
        return touched(self.ahead or self.actions)


@dataclass(frozen=True, slots=True)
class Ground:
    """What is decided under."""

    policy: Policy
    rule: Rule


@dataclass(frozen=True, slots=True)
class Own:
    """The asking run's own traces, which must not count against it. `brings_back`: it starts what its approved plan stopped. `begun`:
    something of its step may be in place already. `agreed` are the words for its plan, none where they do not matter: nobody
    gave one, or the step is begun and would be left half done."""

    run_id: str = ""
    step_index: int = -1
    approved_by: str = ""
    brings_back: bool = False
    begun: bool = False
    agreed: Sequence[Given] = ()


async def outside(services: Services, rule: Rule, sight: Sight, alerts: Sequence[StoredAlert]) -> Outside:
    """Gather what only the cluster and the alerts' sources know."""
    target, workload = sight.target, sight.workload
    known = None if isinstance(workload, str) else workload
    marked, reported, blocking, starting, owners, ((changed, at), leaving) = await asyncio.gather(
        _marks(services, sight, known),
        reports(services, alerts),
        blocking_alerts(services, rule),
        _new_pods(services, sight),
        _owners(services, sight),
        asyncio.gather(changed_by(services, sight, alerts), _leaving(services, sight)),
    )
    report = combined(reported)
    return Outside(
        at=services.clock.now(),
        target=target,
        workload=Unknown(workload) if isinstance(workload, str) else workload,
        marks=marked,
        firing=_firing(report),
        takers=takers((alert.source for alert in alerts), reported),
        changed_by=changed,
        changed_at=at,
        leaving=leaving,
        silenced=silence(reported),
        blocking=blocking,
        new_pods=starting,
        owners=owners,
        databases=databases_of(sight.actions),
        touched=sight.touched,
    )


async def changed_by(
    services: Services, sight: Sight, alerts: Sequence[StoredAlert]
) -> tuple[Fact[str], datetime | None]:
    """Who else changed the target, or another object that the step changes, since the first of these alerts fired or it was ordered, and when last
    as far as that can be told. An alert that was away for a moment fires since before that."""
    workload = sight.workload
    if isinstance(workload, str):
        return Unknown(workload), None
    if (since := await services.store.read(lambda conn: _since(conn, sight, alerts))) is None:
        return "", None
    others = {a.object.uid: a.object for a in sight.actions if a.changes and a.object.uid != workload.ref.uid}
    try:
        hands = [await _hand_on(services, workload, since)]
        for ref in others.values():
            manifest = await services.cluster.get(ref.kind, ref.namespace, ref.name)
            if hand := hand_since(manifest, since):
                hands.append(replace(hand, what=f"{hand.what} of {ref.kind} {ref.name}"))
    except RemediatorError as error:
        return Unknown(error.message), None
    seen = [hand for hand in hands if hand is not None]
    if any(hand.unseen for hand in seen):  # by whom, an autoscaler perhaps, is told in a moment
        return UNSEEN, None
    at = max((hand.at for hand in seen if hand.at is not None), default=None)
    after = "after the alert fired" if alerts else "after it was ordered"
    return "; ".join(f"{hand.text}, {after}" for hand in seen), at


def _since(conn: Connection, sight: Sight, alerts: Sequence[StoredAlert]) -> datetime | None:
    first, incident, key = min((a.starts_at for a in alerts), default=None), sight.incident, sight.target.key
    if incident is None or first is None:
        return first if incident is None or sight.begun else incident.ordered_at
    before = people.another_on(conn, key, incident.id) and attended.there_since(conn, incident, key)
    return min(first, before or first)


async def _leaving(services: Services, sight: Sight) -> Fact[str]:
    """What is being deleted, of the target and what else is written; of what is off limits nothing is read for it."""
    scope = services.policy().scope
    if not sight.read or off_limits_by_name(scope, sight.target.namespace):
        return ""
    others = (one for one in sight.touched if not off_limits_by_name(scope, one.namespace))
    try:
        return await marks.leaving(services.cluster, sight.target, *others)
    except RemediatorError as error:
        return Unknown(error.message)


async def _hand_on(services: Services, workload: Workload, since: datetime) -> Hand | None:
    """Somebody else's change of the workload. What stands around it is read only when it may have been changed at all."""
    if unchanged_since(workload.manifest, since.replace(microsecond=0)):
        return None
    ours = await services.store.read(lambda conn: counts.written_at(conn, workload.target.key, since))
    around = await read.around(services.cluster, workload, services.clock.now(), ours)
    return hand_since(workload.manifest, since, around)


async def _new_pods(services: Services, sight: Sight) -> Fact[NewPods]:
    """Whether the step's new pods could start; not looked at without a step, when the gate has nothing to judge."""
    if isinstance(sight.workload, str):
        return Unknown(sight.workload)
    if not sight.actions:
        return Unknown("no step was looked at")
    try:
        return await new_pods(services.cluster, sight.workload, sight.actions, services.clock.now())
    except RemediatorError as error:
        return Unknown(error.message)


async def _owners(services: Services, sight: Sight) -> Fact[Owners]:
    """Who else owns the target and what the step changes."""
    if isinstance(sight.workload, str):
        return Unknown(sight.workload)
    try:
        return await owners_of(services.cluster, sight.workload)
    except RemediatorError as error:
        return Unknown(error.message)


async def _marks(services: Services, sight: Sight, workload: Workload | None) -> Fact[Mapping[str, str]]:
    """The marks that can be read, of the target and of what else is written; none of a namespace that the policy does not cover."""
    scope, target = services.policy().scope, sight.target
    if off_limits_by_name(scope, target.namespace):
        return Unknown("nothing is read of what is off limits")
    if workload is None and sight.read:
        return Unknown("the target could not be read")
    try:
        own = await marks.of_target(services.cluster, scope, target)
        return {**own, **await marks.of_others(services.cluster, scope, target, sight.touched)}
    except RemediatorError as error:
        return Unknown(f"its marks could not be read: {error.message}")


async def reports(services: Services, alerts: Sequence[StoredAlert]) -> Sequence[AlertReport]:
    """What the sources of these alerts say of each of them. Of more than ALERTS the rest is not known: that none of those asked
    about fires does not say that none does."""
    if services.alert_sources is None or not alerts:
        return [TOLD] * len(alerts)
    found = await services.alert_sources.states([a.alert() for a in alerts[:ALERTS]])
    if len(alerts) <= ALERTS:
        return found
    return [*found, AlertReport(Reported.UNKNOWN, f"only {ALERTS:,} of its alerts were asked about")]


def _firing(report: AlertReport) -> Fact[bool] | None:
    """Whether the incident fires by its sources; None when only messages tell."""
    match report.state:
        case Reported.FIRING | Reported.SILENCED:
            return True
        case Reported.GONE:
            return False
        case Reported.UNKNOWN:
            return Unknown(report.text)
        case Reported.TOLD:
            return None


async def blocking_alerts(services: Services, rule: Rule) -> Fact[Mapping[str, tuple[str, ...]]]:
    """Which alerts of the rule's `blocked_by` fire, by Alertmanager's word."""
    if not rule.blocked_by:
        return {}
    if services.firing_alerts is None:
        return Unknown(
            "the rule is blocked by other alerts and no Alertmanager is configured to ask for them"
        )
    found = {}
    try:
        for when in rule.blocked_by:
            lists = [await services.firing_alerts.firing_matching(filters) for filters in when.filters]
            names = {a.labels.get("alertname", "unnamed") for some in lists for a in some if not a.hidden}
            found[str(when)] = tuple(sorted(names))
    except RemediatorError as error:
        return Unknown(f"Alertmanager could not be asked: {error.message}")
    return found


def facts_in(tx: Tx, services: Services, ground: Ground, seen: Outside, it: Incident, own: Own) -> Facts:
    """Complete the facts inside the transaction that decides; counts are read under the ledger's lock."""
    conn, now, policy, rule = tx.conn, tx.now, ground.policy, ground.rule
    target, workload, manual = seen.target, seen.workload, it.manual
    spent = partial(counts.spent, conn, excluding=(own.run_id, own.step_index))
    (at_it, until), key = _acknowledged(tx, seen, it), target.key
    keys = (key, *(one.key for one in seen.touched))
    return Facts(
        now=now,
        target=target,
        firing=_firing_fact(tx, seen, it),
        last_seen=_last_seen(tx, seen, it),
        marks=seen.marks,
        managers=workload if isinstance(workload, Unknown) else _managers(workload),
        rollout_paused=workload if isinstance(workload, Unknown) else workload.paused,
        replicas=workload if isinstance(workload, Unknown) else _replicas(workload),
        spend={s: Spend(*spent(s.key, now - s.limit.window)) for s in scopes_for(policy, rule, target)},
        last_action=counts.last_action(conn, target.key, rule.remediation, excluding=own.run_id),
        busy_with=work.busy_with_any(conn, (target, *seen.touched), seen.databases, excluding=own.run_id),
        waiting=counts.plans_waiting(conn, target.key, excluding=own.run_id),
        targets_in_flight=_in_flight(tx, target, own),
        results=tuple(starmap(Past, counts.results(conn, key, rule.remediation, 20, excluding=own.run_id))),
        mended_at=counts.mended_at(conn, target.key, it.id, it.opened_at),
        theirs_since=history.theirs_since(conn, it.id, seen.changed_by, seen.changed_at),
        storm_targets=counts.targets_since(conn, now - policy.storm.within),
        pauses=pauses(conn, now),
        blocking=seen.blocking,
        ceiling=services.ceiling,
        silenced=seen.silenced,
        acknowledged=at_it,
        acknowledged_beside=history.taken_beside(tx, keys, it, at_it, seen.takers),
        acknowledged_until=until,
        changed_by=seen.changed_by,
        leaving=seen.leaving,
        new_pods=seen.new_pods,
        owners=seen.owners,
        touched=seen.touched,
        ordered_as=tuple(sorted(names_of(manual.requested_by, services.people))) if manual else (),
        ordered_by=manual.requested_by if manual else "",
        scheduled=bool(manual and manual.schedule),
        ordered_at=None if own.begun or manual is None else it.opened_at,
        was_due=_was_due(tx, it, own),
        order_may_approve=manual.may_approve if manual else False,
        approved_by=own.approved_by,
        brings_back=own.brings_back,
        taken_since=record.taken_since(conn, services, it.id, own.agreed),
        dry_run=manual.dry_run if manual else False,
        trust_level=history.trust_level_of(conn, rule, it, target, now),
    )


def pauses(conn: Connection, now: datetime) -> tuple[Pause, ...]:
    """The pauses in force, as the gates judge them."""
    found = people.pauses_in_force(conn, now)
    return tuple(Pause(p.scope, p.reason, p.author, p.until, p.remediation) for p in found)


def _in_flight(tx: Tx, target: Target, own: Own) -> int:
    """Other targets that are worked on; for a run at work only those before it, so that it does not lose its place to a later one."""
    if own.run_id:
        return counts.in_flight_before(tx.conn, own.run_id)
    return counts.in_flight(tx.conn, excluding=target.key)


def _replicas(workload: Workload) -> Replicas:
    return Replicas(workload.desired, workload.ready, workload.updated, at_once=taken_down_at_once(workload))


def _was_due(tx: Tx, incident: Incident, own: Own) -> datetime | None:
    """When the clock's order should have begun; None for other orders, once it has begun, and for later steps."""
    if not (manual := incident.manual) or not manual.schedule or own.begun or (own.run_id and own.step_index):
        return None
    return schedules.due_of(tx.conn, incident.id)


def _acknowledged(tx: Tx, seen: Outside, incident: Incident) -> tuple[str, datetime | None]:
    """Who has the incident: by PagerDuty's word on its own, or by their own on this one, or on the same alert before, and then until when."""
    of_pagerduty = "" if seen.takers.asked else people.taken_in_pagerduty(tx.conn, incident.id)
    told, has = seen.takers.of_all or of_pagerduty, record.holder_in_force(tx, incident.id)
    if told and not severity.stands_in_pagerduty(tx.conn, incident.id):
        told = ""
    if told := told or (has.text if has else ""):
        return told, None
    return history.had_before(tx, incident)


def _firing_fact(tx: Tx, seen: Outside, incident: Incident) -> Fact[bool]:
    if incident.manual is not None:
        return True
    told = incidents.firing_count(tx.conn, incident.id) > 0
    return told if seen.firing is None or not told else seen.firing


def _last_seen(tx: Tx, seen: Outside, incident: Incident) -> Fact[datetime]:
    if incident.manual is not None or seen.firing is True:
        return seen.at
    return counts.last_seen(tx.conn, incident.id) or Unknown("no alert of this incident is known")


def _managers(workload: Workload) -> tuple[Manager, ...]:
    return tuple(sorted({*workload.managers, *([Manager.HPA] if workload.autoscaler else [])}))
