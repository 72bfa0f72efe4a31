"""Apart: what an alert names that is there and that nothing here changes: a run to completion, pods of a Rollout or of another operator, a bare
pod or ReplicaSet. Told with whose it is, how it stands and its last words; where it is not well, only a person can act, and one is called.

Called by `decide` in the place of workload, diagnosis and ladder; the gates that keep a call from people (pauses, the scope, a storm) have their word
as for any target. Owns too what follows where nothing was looked at: a person is called for an alert that no workload of the cluster stands for,
where its rule would act and ends with a person: one about a server of which its exporter tells, outside of the cluster or measured outside of
the scope, and one for which the rule's own
default does not exist. Of a workload that a label names and that is gone nobody is called: who deleted it knows. Reads nothing of what is off limits.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.alert_report import silence
from app.domain.cluster import Cluster
from app.domain.decision import Calls, Code, Decision, calling
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.evidence import Diagnosis, Finding
from app.domain.plan import Step
from app.domain.subject import JOB, MEASURED_BY, NAMESPACE
from app.domain.target import Kind, Target
from app.flow.calling import handing
from app.flow.deciding import beside, facts
from app.flow.deciding.investigate import Seen, Subject, leading, unread
from app.flow.deciding.marks import leaving, namespace_off_limits, off_limits
from app.flow.deciding.settle import call_when_blind, settle_without
from app.flow.notifying import record
from app.flow.services import Services
from app.kube.jobs import TO_COMPLETION, Apart, ended_well, job_story, of_another, pod_story
from app.notify.timeline import Escalation
from app.policy import decide as policy_decide
from app.policy.facts import may_act
from app.policy.match import Hint, another_cluster, is_name, target_hint
from app.policy.model import Otherwise, Policy, Rule
from app.store.incidents import Incident, StoredAlert
from app.store.tx import Tx

_BY_HAND = "fix-by-hand"
_APART = "target.apart"
_ROLLOUT = "rollout"
_MEASURING = (*MEASURED_BY, "deployment", "daemonset", "statefulset")
_NOWHERE = calling(Calls.NO_WORKLOAD)
_OUTSIDE = "look at the server that the alert names with its provider's own means: no workload of the cluster stands for it"
_DEFAULT = "correct the rule's target, or see who deleted it"


def measured_elsewhere(policy: Policy, subject: Subject, named: Target) -> Decision | None:
    """That the labels tell where a server was measured, outside of the scope, and not which server: an exporter by its name, or a namespace
    beside the rule's own default. None where they name what the alert is about. For rules about servers, not workloads."""
    if subject.incident.manual is not None:
        return None
    hint = target_hint(subject.rule, subject.labels)
    if not isinstance(hint, Hint) or policy.scope.covers(named.namespace):
        return None
    exporter = next((k for k in _MEASURING if "exporter" in subject.labels.get(k, "").lower()), "")
    if not exporter and not hint.by_default:
        return None
    by = (
        f'label "{exporter}" names {subject.labels[exporter][:80]}'
        if exporter
        else "no label names a workload"
    )
    why = (
        f"{by} and the namespace is {named.namespace}, outside of the scope, where it was measured: which server it is about is not known."
        " Name exporters in the policy under labels.exporters"
    )
    return policy_decide.no_target(policy, subject.rule, why)


async def of_labels(services: Services, policy: Policy, subject: Subject, named: Decision) -> Seen | Decision:
    """`named`, or what became of the Job or Rollout that the labels name, where it is ours to read: there is nothing to do for a run to
    completion, but what it said last is what a person wants to know."""
    labels, cluster = policy.labels.names.subject(subject.labels), services.cluster
    job, rollout = labels.get(JOB, ""), subject.labels.get(_ROLLOUT, "")
    namespace = labels.get(NAMESPACE, subject.rule.target.namespace.default)
    if named.code is not Code.NO_TARGET or not is_name(job or rollout) or not is_name(namespace):
        return named
    if await namespace_off_limits(cluster, policy.scope, namespace):
        return named
    if not job:
        owner = Target(namespace, Kind.ROLLOUT, rollout)
        try:
            await cluster.get(owner.kind, namespace, rollout)
        except (AccessDenied, ObjectMissing):
            return named
        made = {"kind": owner.kind, "name": rollout, "apiVersion": "argoproj.io/v1alpha1"}
        said = of_another(namespace, made, f'Label "{_ROLLOUT}" names')
        return await look(services, policy, subject, owner, said)
    story = await job_story(cluster, namespace, job)
    owner = Target(namespace, Kind.JOB, job)
    return await look(services, policy, subject, owner, Apart(f"{story}. {TO_COMPLETION}", owner))


async def look(
    services: Services, policy: Policy, subject: Subject, named: Target, apart: Apart
) -> Seen | Decision:
    """What was seen of it, for the decision whether a person is called; a decision where nobody would be: for a rule that only observes, an
    order, and what is gone by now. Raises the port's read errors, but for what may not be read."""
    cluster, owner = services.cluster, apart.owner
    away = [await off_limits(cluster, policy.scope, one) for one in dict.fromkeys((owner, named))]
    if any(away):
        return unread(subject, owner)
    alone = named.kind is Kind.POD and owner.kind is not Kind.JOB  # a Job's pods are told of with it
    told, well = await pod_story(cluster, named.namespace, named.name) if alone else ("", "")
    text = f"{apart.message}; {told}" if told else apart.message
    if gone := await leaving(cluster, owner):
        return policy_decide.no_target(policy, subject.rule, gone)
    calls = subject.incident.manual is None and may_act(subject.rule, policy, services.ceiling)
    if not calls or not await _there(cluster, owner):
        return policy_decide.no_target(policy, subject.rule, text)
    well = await ended_well(cluster, owner) if owner.kind is Kind.JOB else well
    step = Step(_BY_HAND, text, advice=f"{text}. Look at it: {apart.look_at}")
    return Seen(subject, owner, None, Diagnosis(text, (Finding(_APART, text),), rest=well), (step,))


async def _there(cluster: Cluster, owner: Target) -> bool:
    try:
        await cluster.get(owner.kind, owner.namespace, owner.name)
    except ObjectMissing:
        return False
    except AccessDenied:
        return True  # it was named by what it owns
    return True


async def left(
    services: Services, policy: Policy, incident: Incident, alerts: Sequence[StoredAlert], word: Decision
) -> bool:
    """Write the decision down, with its calls; False when the incident was overtaken meanwhile."""
    rule = next((rule for rule in policy.rules if rule.name == word.rule), None)
    acts = rule is not None and may_act(rule, policy, services.ceiling)
    look_at = _for_a_person(services, rule, incident, alerts, word) if rule is not None and acts else ""
    if look_at and silence(await facts.reports(services, alerts)):
        look_at = ""  # somebody has it

    def write(tx: Tx) -> bool:
        if record.overtaken(tx, incident):
            return False
        put_off = beside.called_lately(tx.conn, incident, tx.now) if look_at else None
        told = word if put_off is None else handing.put_off(word, put_off)
        settle_without(tx, incident, told, None)
        if rule is not None:
            call_when_blind(tx, incident, told, acts)
        if look_at and put_off is None and not record.theirs(tx, incident.id):
            why = Escalation(f"nothing can be done here: {word.text}", look_at=(look_at,))
            record.call(tx, incident.id, why, once="nowhere")
        return True

    return await services.store.write(write)


def _for_a_person(
    services: Services, rule: Rule, incident: Incident, alerts: Sequence[StoredAlert], word: Decision
) -> str:
    """What a person looks at; empty when nobody is called."""
    ends = Otherwise.ESCALATE in rule.otherwise and incident.manual is None
    if not ends or word.code not in _NOWHERE or not alerts:
        return ""
    labels = leading(alerts).labels
    if another_cluster(rule, labels):
        return ""
    if services.catalogue[rule.remediation].outside:
        return _OUTSIDE
    hint = target_hint(rule, labels)
    return _DEFAULT if isinstance(hint, Hint) and hint.by_default else ""
