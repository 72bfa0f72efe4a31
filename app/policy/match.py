"""Match: which rule is for an alert or an order, which workload its labels point at, and under which budgets its action counts.

Called by the flow after ingest. The first matching rule in file order wins; later ones are reported, never run. Pure: the
cluster is not asked, the flow resolves the hint; nothing is counted here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Generic, TypeVar

from app.domain.called import served_by
from app.domain.decision import Mode
from app.domain.procedure import Procedure
from app.domain.quantities import Limit
from app.domain.subject import (
    DEFAULT_SOURCES,
    JOB,
    NAMESPACE,
    OTHER_OBJECTS,
    POD,
    UNREAD,
    WORKLOAD,
    WORKLOAD_LABELS,
    clusters_named,
    names_another,
    namespaces_beside,
    workload_of_any_kind,
)
from app.domain.target import NAMESPACE_NAME, OBJECT_NAME, Kind, Target, could_be_named, could_be_replica_set
from app.policy.model import FromLabel, OnDefault, Per, Policy, Rule, TargetSpec
from app.policy.procedures import without_rule

# Budget scopes: under which keys an action is counted, and which limits hold for it.
#
# The flow reserves one ledger row per key of `ledger_keys` and measures `Spend` for each scope of `scopes_for`; the
# gates rate limit and budget compare. Never counts anything itself.

T = TypeVar("T")


class Origin(StrEnum):
    """Who set the limit: the rule for itself, or the policy for all rules together."""

    RULE = "rule"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """One limit under one ledger key. Hashable: it is the key of `Facts.spend`."""

    key: str
    limit: Limit
    origin: Origin

    def __hash__(self) -> int:
        """By the key alone: gates look scopes up for each alert, and a text remembers its hash."""
        return hash(self.key)


def ledger_keys(rule: Rule, target: Target) -> tuple[str, ...]:
    """All keys an action is counted under, whether or not a budget uses them now.

    Counting under all of them lets a budget that is added by a reload see what was spent before.
    """
    return (*(_key(per, rule, target) for per in Per), _own_key(rule, target))


def scopes_for(policy: Policy, rule: Rule, target: Target) -> tuple[BudgetScope, ...]:
    """The limits that hold for this rule on this target: the rule's own first, then the shared budgets in file order."""
    # Facts and two gates ask for the same ones in every decision.
    return _scopes_for(_Same(policy), _Same(rule), target)


class _Same(Generic[T]):
    """One very object, as a key: comparing whole policies would cost more than what is remembered."""

    __slots__ = ("it",)

    def __init__(self, it: T) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


@lru_cache(maxsize=256)
def _scopes_for(its_policy: _Same[Policy], its_rule: _Same[Rule], target: Target) -> tuple[BudgetScope, ...]:
    policy, rule = its_policy.it, its_rule.it
    own = [
        (_own_key(rule, target), rule.limits.per_target),
        (_key(Per.RULE, rule, target), rule.limits.in_all),
    ]
    rule_scopes = [BudgetScope(key, one, Origin.RULE) for key, limits in own if limits for one in limits.each]
    shared = [
        BudgetScope(_key(budget.per, rule, target), one, Origin.SHARED)
        for budget in policy.budgets
        for one in budget.limit.each
    ]
    return (*rule_scopes, *shared)


def _own_key(rule: Rule, target: Target) -> str:
    return f"rule:{rule.name}@{target.key}"


def _key(per: Per, rule: Rule, target: Target) -> str:
    match per:
        case Per.CLUSTER:
            return "cluster"
        case Per.NAMESPACE:
            return f"namespace:{target.namespace}"
        case Per.TARGET:
            return f"target:{target.key}"
        case Per.RULE:
            return f"rule:{rule.name}"
        case Per.REMEDIATION:
            return f"remediation:{rule.remediation}"


_RUNS = (JOB, "cronjob")
_OWNED = frozenset({Kind.POD, Kind.REPLICA_SET, Kind.HPA})
"""Kinds of which the cluster tells whose they are."""
_FIRST = frozenset((*WORKLOAD_LABELS, *_RUNS, POD))
"""The plain names of labels, by which people are told."""
_NAME, _NAMESPACE = re.compile(OBJECT_NAME), re.compile(NAMESPACE_NAME)


def is_name(text: str) -> bool:
    """Can an object of Kubernetes have this name?"""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Matched:
    """The rule that is used, and the names of later rules that would match as well."""

    rule: Rule
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """What the labels name. A Pod stands for its owner, which the cluster tells. `said_by` says where it comes from."""

    namespace: str
    kind: Kind
    name: str
    said_by: str
    by_default: bool = False


@dataclass(frozen=True, slots=True)
class NoHint:
    """The labels do not name a usable target; `why` is one clause for people."""

    why: str


def match_rule(policy: Policy, labels: Mapping[str, str]) -> Matched | None:
    """The first rule whose matchers hold for these labels, read as the policy's `labels` say; None when there is none."""
    read = policy.labels.names.read(labels)
    found = [rule for rule in policy.rules if rule.when.matches(read)]
    if not found:
        return None
    rule = at_most_asking(found[0]) if guessed(found[0], labels) else found[0]
    return Matched(rule, tuple(later.name for later in found[1:]))


def guessed(rule: Rule, labels: Mapping[str, str]) -> str:
    """That no label names the workload and the default does, which is asked about unless the rule says `on_default: act`; else empty."""
    spec = rule.target
    guesses = spec.on_default is not OnDefault.ACT and spec.name.default and (spec.name.label or spec.pod)
    named = not guesses or _named(spec, rule.labels.names.subject(labels))[1]
    return "" if named else f"no label names the workload, and {spec.name.default} is the rule's default"


def at_most_asking(rule: Rule) -> Rule:
    """The rule in mode approve, whatever it is beyond that."""
    return rule if rule.mode is Mode.OBSERVE else rule.model_copy(update={"mode": Mode.APPROVE})


_SEVERITIES = {"critical": 0, "page": 0, "error": 1, "high": 1, "warning": 2, "warn": 2, "info": 3}


def severity_rank(labels: Mapping[str, str]) -> int:
    """0 for the most severe; by the label `severity`, what is not known last."""
    return rank_of(labels.get("severity", ""))


def rank_of(severity: str) -> int:
    """`severity_rank` of a severity alone."""
    return _SEVERITIES.get(severity.strip().lower(), len(_SEVERITIES))


def rule_for_order(
    policy: Policy, remediation: str, params: Mapping[str, object], procedure: Procedure | None = None
) -> Rule:
    """The rule under which a manual order runs: the first without a schedule that uses this remediation, with the order's params on top.

    A rule with a schedule is for the orders of its clock alone: it names one target and may act there by itself, which nobody said of an
    order. Without such a rule the order stands under the policy's defaults and what the procedure asks for, and needs an approval. The
    order itself is that, unless `approval` or the procedure wants another word.
    """
    rule = next((r for r in policy.rules if r.remediation == remediation and r.schedule is None), None)
    if rule is None:
        rule = without_rule(policy.defaults, remediation, procedure)
    return rule.model_copy(update={"params": {**rule.params, **params}})


def own_target(rule: Rule) -> Target:
    """The target that the rule names itself, which a rule with a schedule has to."""
    return Target(rule.target.namespace.default, rule.target.kind, rule.target.name.default)


def target_hint(rule: Rule, labels: Mapping[str, str]) -> Hint | NoHint:
    """What the labels say about the target. A value that cannot be a Kubernetes name is no target."""
    spec = rule.target
    subject = rule.labels.names.subject(labels)
    namespace, namespace_by = _value(spec.namespace, subject)
    if not _NAMESPACE.fullmatch(namespace):
        return NoHint(_why("namespace", spec.namespace, namespace))
    if why := (
        another_cluster(rule, labels)
        or _two_namespaces(rule, labels, namespace)
        or _no_default_namespace(rule, labels, subject)
        or _two_workloads(rule, subject)
    ):
        return NoHint(why)
    kind, name, label = _named(spec, subject)
    if not name and (why := _about_something_else(rule, labels, subject, namespace)):
        return NoHint(why)
    by_default = not name
    said_by = "the rule's default" if by_default else f'label "{label}"'
    name = name or spec.name.default
    if not _NAME.fullmatch(name):
        return NoHint(_why("name", spec.name, name))
    return Hint(namespace, kind, name, f"name by {said_by}, namespace by {namespace_by}", by_default)


def _named(spec: TargetSpec, subject: Mapping[str, str]) -> tuple[Kind, str, str]:
    """Kind, name and label of the object that the labels name: the rule's own label first, then what names a workload, then
    the pod. Without any the name is empty."""
    if name := subject.get(spec.name.label):
        return Kind.POD if spec.name.label == POD else spec.kind, name, spec.name.label
    if spec.name.label:  # a rule for one fixed workload means that one
        for label, kind in WORKLOAD_LABELS.items():
            if name := subject.get(label):
                return Kind(kind), name, label
        if name := workload_of_any_kind(subject):
            return spec.kind, name, WORKLOAD
    # The pod of a Job or CronJob that is named beside it is theirs, whatever its name looks like.
    if spec.pod and (name := subject.get(spec.pod.label)) and not any(subject.get(run) for run in _RUNS):
        return Kind.POD, name, spec.pod.label
    return spec.kind, "", ""


def another_cluster(rule: Rule, labels: Mapping[str, str]) -> str:
    """That the alert is about another cluster than ours, where the policy says what ours is called."""
    ours = rule.labels.clusters
    other = next((named for named in clusters_named(labels) if named[1] not in ours), None) if ours else None
    if other is None:
        return ""
    label, name = other
    return f'the alert is about another cluster: label "{label[:80]}" names {name[:80]}, and this one is {" or ".join(ours)}'


def _two_workloads(rule: Rule, subject: Mapping[str, str]) -> str:
    """That the labels name two workloads, one and a run to completion, or two pods, so that nobody knows which is meant. Whose a
    ReplicaSet, an autoscaler or a pod is that they name beside a workload, the cluster tells (`beside`)."""
    kind, name, label = _named(rule.target, subject)
    if not rule.target.name.label or not name:
        return ""
    for other, its_kind, its_name in sorted(
        rule.labels.names.all_named(subject), key=lambda x: x[0] not in _FIRST
    ):
        if (its_kind in _OWNED and its_kind != kind) or other == label:
            continue
        if its_name != name or its_kind not in (kind, ""):
            return f'label "{label}" names {name[:80]} and label "{other}" names {its_name[:80]}'
    for other, its_name in served_by(subject) if kind is not Kind.POD else ():
        if not called_alike(name, its_name):
            return f'label "{label}" names {name[:80]} and label "{other}" names {its_name[:80]}'
    return ""


def called_alike(one: str, other: str) -> bool:
    """Whether a workload and what stands before it can be the same thing: `reviews` and `reviews-v2`."""
    return one == other or one.startswith(f"{other}-") or other.startswith(f"{one}-")


def beside(rule: Rule, labels: Mapping[str, str]) -> tuple[tuple[str, Kind, str], ...]:
    """Label, kind and name of what the labels name beside the workload that is the target, and what could be its own: pods,
    ReplicaSets, autoscalers. Nothing where they name a pod alone."""
    subject = rule.labels.names.subject(labels)
    kind, name, _ = _named(rule.target, subject)
    if not rule.target.name.label or not name or kind is Kind.POD:
        return ()
    found = sorted(rule.labels.names.all_named(subject), key=lambda x: x[0] not in _FIRST)
    owned = [(label, Kind(k), n) for label, k, n in found if k in _OWNED and k != kind and _NAME.fullmatch(n)]
    return tuple({(k, n): (label, k, n) for label, k, n in reversed(owned)}.values())[::-1]


def could_be_its(target: Target, kind: Kind, name: str) -> bool:
    """Whether what is not there, or may not be read, can have been this workload's own, by its name."""
    match kind:
        case Kind.POD:
            return could_be_named(name, target.kind, target.name)
        case Kind.REPLICA_SET:
            return target.kind is Kind.DEPLOYMENT and could_be_replica_set(name, target.name)
        case _:
            return name.removeprefix("keda-").removeprefix("hpa-").removesuffix("-hpa") == target.name


def _about_something_else(
    rule: Rule, labels: Mapping[str, str], subject: Mapping[str, str], namespace: str
) -> str:
    """Why no default may stand in for what the labels name, or for what nobody could read; empty when it may. A rule without a label
    for the name means its one workload whatever else is said, but for an object of another kind."""
    spec = rule.target
    for label, kind in OTHER_OBJECTS.items():
        if name := subject.get(label):
            return f"the alert is about {kind} {name[:80]}, and no label names a workload"
    if spec.name.default and labels.get(POD) and POD not in subject:
        return "the labels name only the exporter that measured the alert"
    if not spec.name.label or not spec.name.default:
        return ""
    if lost := labels.get(UNREAD):
        return _no_stand_in(lost, spec.name.default)
    ours = clusters_named(labels) if rule.labels.clusters else []
    pinned = {**rule.when.pinned(rule.labels.names.read(labels)), **dict(ours)}
    if another := names_another(labels, namespace, spec.name.default, pinned):
        return f"{another}, so the rule's default {spec.name.default} is not meant, and no label names a workload"
    return ""


def _no_default_namespace(rule: Rule, labels: Mapping[str, str], subject: Mapping[str, str]) -> str:
    """Why the rule's default namespace may not stand in for one that the labels name or could name, or that nobody could read. Without
    a label of its own it is the only one that the rule means, and what any label tells is held against it."""
    spec, told = rule.target.namespace, subject.get(NAMESPACE, "")
    if not spec.default or subject.get(spec.label or NAMESPACE) == spec.default:
        return ""
    pinned = rule.when.pinned(rule.labels.names.read(labels))
    if told and not spec.label:
        by = next((s for s in rule.labels.namespace if labels.get(s) == told), NAMESPACE)
        meant = told in (pinned.get(NAMESPACE), pinned.get(by))
        return "" if meant else f'label "{by}" names {told[:80]}, and the rule is for {spec.default} alone'
    if spec.label and subject.get(spec.label):
        return ""
    if (lost := labels.get(UNREAD)) and (spec.label or rule.target.name.label):
        return _no_stand_in(lost, spec.default)
    another = names_another(labels, spec.default, pinned=pinned)
    return f"{another}, so the rule's default {spec.default} is not meant" if another else ""


def _no_stand_in(lost: str, default: str) -> str:
    return f"{lost[:200]}: what the alert is about is not known, and the rule's default {default} does not stand in for it"


def _two_namespaces(rule: Rule, labels: Mapping[str, str], namespace: str) -> str:
    """Why the namespace is not known: the label `namespace` names one and another tool's label another. Where `exported_namespace`
    or the policy's own order of labels tells which is meant, there is no doubt."""
    sources = rule.labels.namespace
    if rule.target.namespace.label not in (NAMESPACE, "") or sources != DEFAULT_SOURCES[NAMESPACE]:
        return ""
    after = sources[sources.index(NAMESPACE) :]
    if namespace != labels.get(NAMESPACE) or any(labels.get(s) for s in sources[: -len(after)]):
        return ""
    told = [(s, labels[s]) for s in after if labels.get(s)] + namespaces_beside(labels)
    other = next((s for s, value in told if value != namespace), "")
    return f'label "namespace" names {namespace} and label "{other}" {labels[other][:80]}' if other else ""


def _value(source: FromLabel, labels: Mapping[str, str]) -> tuple[str, str]:
    value = labels.get(source.label, "")
    return (value, f'label "{source.label}"') if value else (source.default, "the rule's default")


def _why(what: str, source: FromLabel, value: str) -> str:
    if value:
        return f"{value[:80]!r} cannot be the {what} of a Kubernetes object"
    label = f'the alert has no label "{source.label}"' if source.label else "no label is named"
    return f"no {what}: {label} and the rule has no default"
