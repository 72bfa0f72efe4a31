"""Investigate: an incident's alerts -> rule, target, workload, diagnosis and ladder. Reads only; changes nothing.

The one place where a handler's unexpected exception is caught: it becomes an unknown fact, which closes the gates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from app.domain.alert import ManualRequest, Source, not_measured
from app.domain.cluster import Cluster
from app.domain.decision import Code, Decision
from app.domain.errors import AccessDenied, BadInput, ObjectMissing, RemediatorError
from app.domain.evidence import MEASURED, Diagnosis, Finding
from app.domain.params import params_of
from app.domain.plan import ActionKind, Step
from app.domain.remediation import AnyRemediation, History, Params, Scene
from app.domain.target import Target
from app.domain.workload import Workload
from app.flow.deciding.marks import addressed, leaving, named_beside, off_limits, with_servers
from app.flow.services import Services
from app.kube import read
from app.kube.jobs import Apart
from app.kube.owners import Found, find
from app.kube.read import View
from app.policy import decide as policy_decide
from app.policy.facts import NOT_READ, may_act
from app.policy.match import (
    NoHint,
    at_most_asking,
    guessed,
    match_rule,
    own_target,
    severity_rank,
    target_hint,
)
from app.policy.model import Policy, Rule
from app.policy.ordered import order_params
from app.store.incidents import Incident, StoredAlert

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

_PATIENCE = timedelta(minutes=5)
AGAIN = "a read failed and is tried again"
FOUND_BY_NAME = "target.by_name"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an incident is about: its labels, the rule for them and, for a manual request, its order. `doubt`: why the target may be another one,
    so that each of its steps asks; empty for none."""

    incident: Incident
    labels: Mapping[str, str]
    fired_at: datetime
    rule: Rule
    remediation: AnyRemediation
    params: Params
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A subject whose target was found and looked at. `fault` is set when looking failed: then there is no ladder. `read`
    is False for a target that is off limits: nobody looked."""

    subject: Subject
    target: Target
    workload: Workload | None
    diagnosis: Diagnosis
    ladder: tuple[Step, ...]
    fault: str = ""
    read: bool = True

    @property
    def apart(self) -> bool:
        """It is no workload that could be read: nothing here changes it."""
        return self.workload is None and self.read and not self.fault

    def without_workload(self, word: Decision) -> Decision:
        """The decision, of what is apart without the gates that ask for a workload: there is none to be read."""
        if not self.apart or word.code is Code.UNKNOWN_FACT:
            return word
        return replace(word, gates=tuple(g for g in word.gates if g.code is not Code.UNKNOWN_FACT))

    @property
    def step(self) -> Step | None:
        """The first step that has something to do."""
        return next((r for r in self.ladder if r.applies), None)


def subject_of(
    services: Services, policy: Policy, incident: Incident, alerts: Sequence[StoredAlert]
) -> Subject | Decision:
    """The rule for this incident, or the decision that there is none."""
    if incident.manual is not None:
        return _ordered(services, policy, incident)
    lead = leading(alerts)
    if lead.source is Source.HEARTBEAT:
        return policy_decide.heartbeat_missing(policy, lead.labels["heartbeat"], lead.annotations["summary"])
    labels = policy.labels.names.read(lead.labels)
    matched = match_rule(policy, labels)
    if matched is None:
        name = labels.get("alertname", "")
        heartbeat = policy.heartbeat(name)
        return policy_decide.beats(policy, heartbeat) if heartbeat else policy_decide.no_rule(policy, name)
    may = may_act(matched.rule, policy, services.ceiling)
    if may and (reason := not_measured(lead.annotations)):
        return policy_decide.not_measured(policy, matched.rule, reason)
    remediation = services.catalogue[matched.rule.remediation]
    fired_at = min(a.starts_at for a in alerts)
    return Subject(
        incident, labels, fired_at, matched.rule, remediation, params_of(remediation, matched.rule.params)
    )


def leading(alerts: Sequence[StoredAlert]) -> StoredAlert:
    """The alert that the rule is chosen by: the most severe that fires, among equals the oldest. One of which nothing was measured
    only where there is no other."""
    return min(
        alerts,
        key=lambda a: (bool(not_measured(a.annotations)), severity_rank(a.labels), a.starts_at, a.episode),
    )


def _ordered(services: Services, policy: Policy, incident: Incident) -> Subject:
    order = incident.manual
    if order is None:
        raise BadInput("the incident has no order", code="no_order", where=incident.id)
    remediation = services.catalogue.get(order.remediation)
    if remediation is None:
        allowed = ", ".join(sorted(services.catalogue))
        raise BadInput(
            f"no such remediation; there are {allowed}",
            code="unknown_remediation",
            where=order.remediation,
        )
    if order.schedule:
        rule = _of_schedule(policy, order)
        params = params_of(remediation, rule.params)
    else:
        rule, params = order_params(policy, remediation, order.params)
    return Subject(incident, {}, incident.opened_at, rule, remediation, params)


def _of_schedule(policy: Policy, order: ManualRequest) -> Rule:
    """The rule whose schedule ordered it. Raises BadInput (`rule_gone`) when it has none any more, or is for something else: another
    procedure, or another target, for which its params are meant."""
    rule = policy.rule(order.schedule)
    fits = rule is not None and rule.schedule is not None and rule.remediation == order.remediation
    if rule is None or not fits or own_target(rule) != Target.parse(order.target):
        text = "the rule whose schedule ordered it is gone, or is for something else now"
        raise BadInput(text, code="rule_gone", where=order.schedule)
    return rule


def named_target(policy: Policy, subject: Subject) -> Target | Decision:
    """What the labels or the order name; a pod stands for its owner."""
    if subject.incident.manual is not None:
        return Target.parse(subject.incident.manual.target)
    found = target_hint(subject.rule, subject.labels)
    if isinstance(found, NoHint):
        return policy_decide.no_target(policy, subject.rule, found.why)
    return Target(found.namespace, found.kind, found.name)


def unread(subject: Subject, target: Target) -> Seen:
    """A target that is off limits: nothing but its marks was read."""
    return Seen(subject, target, None, Diagnosis(NOT_READ, ()), (), read=False)


async def find_target(cluster: Cluster, policy: Policy, subject: Subject, named: Target) -> Found | Decision:
    """The workload behind the name, following owners. Raises Apart for what is there and none of ours, and TryLater kinds."""
    try:
        found = await find(cluster, named.namespace, named.kind, named.name)
    except Apart:
        raise
    except (ObjectMissing, AccessDenied, BadInput) as error:
        return policy_decide.target_not_found(policy, subject.rule, named.key, error.message)
    why = await addressed(cluster, subject.rule, subject.labels, found.target)
    return policy_decide.no_target(policy, subject.rule, why) if why else found


async def at_one(cluster: Cluster, subject: Subject, found: Found) -> tuple[Subject, Found]:
    """The subject, at most asking where its labels name something beside the workload that is another's: one of the two names is wrong; or where
    they name none, and the rule's default is a guess. Raises TryLater when the cluster cannot be asked."""
    if subject.incident.manual is not None:
        return subject, found
    if told := guessed(subject.rule, subject.labels):
        return replace(subject, doubt=told), found
    how = await named_beside(cluster, subject.rule, subject.labels, found.target)
    if not how:
        return subject, found
    told = "; ".join(filter(None, (found.how, how)))
    return replace(subject, rule=at_most_asking(subject.rule), doubt=how), Found(found.target, told)


async def look_at(services: Services, subject: Subject, target: Target, history: History) -> Seen:
    """Read the workload, diagnose, and ask for the ladder; never raises for what the cluster or a handler does."""
    try:
        workload = await read.read_workload(services.cluster, target)
        gone = await leaving(services.cluster, target)
    except RemediatorError as error:
        return _blind(subject, target, None, f"the target could not be read: {error}")
    if gone:  # what its pods do then is what deleting them does
        return Seen(subject, target, workload, Diagnosis(gone, ()), ())
    scene = scene_of(services, workload, subject.incident, subject.fired_at)
    scene = replace(scene, labels=subject.labels, history=history)
    handler, ordered = subject.remediation, subject.incident.manual is not None

    async def looked() -> Seen:
        diagnosis = await handler.diagnose(scene, subject.params)
        ladder = await handler.ladder(scene, subject.params, diagnosis)
        there = diagnosis.troubles if any(trouble.there for trouble in diagnosis.troubles) else ()
        counted = (replace(step, troubles=step.troubles or there) for step in ladder)
        chosen = tuple(_chosen(subject.rule, step, history, ordered=ordered) for step in counted)
        full = await with_servers(services.cluster, services.policy().scope, services.databases, chosen)
        allowed = await _permitted(services, subject.rule, target, full)
        steps = tuple(_asking(step, subject.doubt) for step in allowed)
        return Seen(subject, target, workload, diagnosis, steps)

    def failed(why: str) -> Seen:
        return _blind(subject, target, workload, f"the diagnosis failed: {why}")

    return await guarded(looked(), failed, handler.name, target.key)


def _asking(step: Step, doubt: str) -> Step:
    """The step, with the doubt in front of what is unsure about itself."""
    return replace(step, asks="; ".join(filter(None, (doubt, step.asks)))) if doubt and step.applies else step


async def guarded(asked: Awaitable[_T], failed: Callable[[str], _T], remediation: str, target: str) -> _T:
    """What a handler answers; never raises for what the cluster or the handler does."""
    try:
        return await asked
    except RemediatorError as error:
        return failed(str(error))
    except Exception as error:
        log.exception("handler_failed", remediation=remediation, target=target)
        return failed(type(error).__name__)


def scene_of(services: Services, workload: Workload, incident: Incident, since: datetime) -> Scene:
    """What a handler may look at, without labels and history."""
    return Scene(
        cluster=services.cluster,
        workload=workload,
        alertname=incident.alertname,
        labels={},
        fired_at=since,
        now=services.clock.now(),
        dependencies=services.dependencies,
        metrics=services.metric_source,
        databases=services.databases,
        caches=services.caches,
        http=services.http,
        backups=services.backups,
        off_limits=partial(off_limits, services.cluster, services.policy().scope),
    )


async def _permitted(
    services: Services, rule: Rule, target: Target, steps: tuple[Step, ...]
) -> tuple[Step, ...]:
    """A remediation that lacks a right where the target is, is disabled there: no step applies, and a person is told what to
    grant. Half of its steps would be worse than none."""
    if not any(step.applies for step in steps):
        return steps
    disabled = await disabled_there(services, rule, target, {a.kind for step in steps for a in step.actions})
    if disabled is None:
        return steps
    why, advice = disabled
    return tuple(replace(s, actions=(), why=why, advice=advice) if s.applies else s for s in steps)


async def disabled_there(
    services: Services, rule: Rule, target: Target, planned: Collection[ActionKind] = (), *, came: bool = True
) -> tuple[str, str] | None:
    """Which right the rule's remediation, or what is planned, lacks to act on this target, and what to grant; None when it lacks none. Not
    `came`: nobody sent an alert from there."""
    rights = services.rights.current
    lacking = await rights.lacking(rule, target, planned, came=came) if rights is not None else ()
    if not lacking:
        return None
    what = ", ".join(need.told for need in lacking)
    advice = (
        f"Grant {what} (remediator rbac prints the role); until then {rule.remediation} is disabled there."
    )
    return f"Disabled: the service may not {what}", advice


def told_how(seen: Seen, how: str) -> Seen:
    """`seen` with how its target was found as the first evidence, where no controller told it."""
    if not how:
        return seen
    found = (Finding(FOUND_BY_NAME, how), *seen.diagnosis.findings)
    return replace(seen, diagnosis=replace(seen.diagnosis, findings=found))


def look_again_first(seen: Seen, transient_errors: Sequence[str], age: timedelta = timedelta()) -> Seen:
    """A look without a step in which a read failed in passing calls no person yet: it is taken again. Not for ever: after
    five minutes (`age`) what cannot be read is what the person has to hear of."""
    if seen.fault or seen.step is not None or not transient_errors or age >= _PATIENCE:
        return seen
    return replace(seen, ladder=(), fault=f"{AGAIN}: {transient_errors[0]}")


def failed_in_passing(view: View, seen: Seen) -> str:
    """A read, a question or a measurement of this look that had no answer and may well have one in the next; empty for none."""
    unmeasured = (f.text for f in seen.diagnosis.findings if f.code.startswith(MEASURED) and f.away)
    return next(iter([*view.transient_errors, *view.unanswered, *unmeasured]), "")


def _chosen(rule: Rule, step: Step, history: History, *, ordered: bool) -> Step:
    """The step as policy and history leave it: what may not or need not be tried again says why. What somebody took back
    is repeated only when a person orders it, and what they refused before it was done is asked about."""
    if not step.applies and step.later is None:
        return step
    if rule.steps and step.name not in rule.steps:
        return replace(step, actions=(), later=None, why=f"the rule {rule.name!r} does not list it")
    if step.name in history.tried:
        return replace(step, actions=(), later=None, why="already tried for this incident")
    if step.name in history.overruled and not ordered:
        why = f"not repeated, as somebody overruled it: {history.overruled[step.name]}"
        advice = "ask who changed it, or order it: remediator trigger"
        return replace(step, actions=(), later=None, why=why, advice=advice)
    refused = "" if ordered else history.refused.get(step.name, "")
    return _asking(step, f"a person refused it on this target: {refused}" if refused else "")


def _blind(subject: Subject, target: Target, workload: Workload | None, fault: str) -> Seen:
    return Seen(subject, target, workload, Diagnosis(fault, ()), (), fault)
