"""Match: which rule is for an alert or an order, and which workload its labels point at.

Called by the flow after ingest. The first matching rule in file order wins; later ones are reported, never run. Pure: the
cluster is not asked, the flow resolves the hint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.decision import Mode
from app.domain.procedure import Procedure
from app.domain.subject import OTHER_OBJECTS, POD, WORKLOAD_LABELS
from app.domain.target import Kind, Target
from app.policy.model import FromLabel, OnDefault, Policy, Rule, TargetSpec
from app.policy.procedures import without_rule

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


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
    return Matched(_as_named(found[0], labels), tuple(rule.name for rule in found[1:]))


def _as_named(rule: Rule, labels: Mapping[str, str]) -> Rule:
    """The rule, at most in mode approve where no label names the workload and the default does: a guess is asked about unless the
    rule says `on_default: act`."""
    if rule.target.on_default is OnDefault.ACT or rule.mode is Mode.OBSERVE:
        return rule
    spec = rule.target
    _, name, _ = _named(spec, rule.labels.names.subject(labels))
    if name or not spec.name.default or not (spec.name.label or spec.pod):
        return rule
    return rule.model_copy(update={"mode": Mode.APPROVE})


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
    kind, name, label = _named(spec, subject)
    if not name and spec.name.default and (why := _about_something_else(labels, subject)):
        return NoHint(why)
    said_by = f'label "{label}"' if name else "the rule's default"
    name = name or spec.name.default
    if not _NAME.fullmatch(name):
        return NoHint(_why("name", spec.name, name))
    return Hint(namespace, kind, name, f"name by {said_by}, namespace by {namespace_by}")


def _named(spec: TargetSpec, subject: Mapping[str, str]) -> tuple[Kind, str, str]:
    """Kind, name and label of the object that the labels name: the rule's own label first, then what names a workload, then
    the pod. Without any the name is empty."""
    if name := subject.get(spec.name.label):
        return spec.kind, name, spec.name.label
    if spec.name.label:  # a rule for one fixed workload means that one
        for label, kind in WORKLOAD_LABELS.items():
            if name := subject.get(label):
                return Kind(kind), name, label
    if spec.pod and (name := subject.get(spec.pod.label)):
        return Kind.POD, name, spec.pod.label
    return spec.kind, "", ""


def _about_something_else(labels: Mapping[str, str], subject: Mapping[str, str]) -> str:
    """Why no default may stand in for what the labels name; empty when it may."""
    for label, kind in OTHER_OBJECTS.items():
        if name := subject.get(label):
            return f"the alert is about {kind} {name[:80]}, and no label names a workload"
    if labels.get(POD) and POD not in subject:
        return "the labels name only the exporter that measured the alert"
    return ""


def _value(source: FromLabel, labels: Mapping[str, str]) -> tuple[str, str]:
    value = labels.get(source.label, "")
    return (value, f'label "{source.label}"') if value else (source.default, "the rule's default")


def _why(what: str, source: FromLabel, value: str) -> str:
    if value:
        return f"{value[:80]!r} cannot be the {what} of a Kubernetes object"
    label = f'the alert has no label "{source.label}"' if source.label else "no label is named"
    return f"no {what}: {label} and the rule has no default"
