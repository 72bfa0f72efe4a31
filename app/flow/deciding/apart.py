"""Apart: what an alert names that is there and that nothing here changes: a run to completion, pods of a Rollout or of another operator, a bare
pod or ReplicaSet. Told with whose it is, how it stands and its last words; where it is not well, only a person can act, and one is called.

Called by `decide` in the place of workload, diagnosis and ladder; the gates that keep a call from people (pauses, the scope, a storm) have their word
as for any target. Reads only, and nothing of what is off limits.
"""

from __future__ import annotations

from app.domain.cluster import Cluster
from app.domain.decision import Code, Decision
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.evidence import Diagnosis, Finding
from app.domain.plan import Step
from app.domain.subject import JOB, NAMESPACE
from app.domain.target import Kind, Target
from app.flow.deciding.investigate import Seen, Subject, unread
from app.flow.deciding.marks import leaving, namespace_off_limits, off_limits
from app.flow.services import Services
from app.kube.jobs import TO_COMPLETION, Apart, ended_well, job_story, of_another, pod_story
from app.policy import decide as policy_decide
from app.policy.facts import may_act
from app.policy.match import is_name
from app.policy.model import Policy

_BY_HAND = "fix-by-hand"
_APART = "target.apart"
_ROLLOUT = "rollout"


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
