"""Match: which rule is for an alert or an order, and which workload its labels point at.

Called by the flow after ingest. The first matching rule in file order wins; later ones are reported, never run. Pure: the
cluster is not asked, the flow resolves the hint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.decision import Mode
from app.domain.target import Kind
from app.policy.model import FromLabel, OnDefault, Policy, Rule

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
    """The first rule whose matchers hold for these labels; None when there is none."""
    found = [rule for rule in policy.rules if rule.when.matches(labels)]
    if not found:
        return None
    return Matched(_as_named(found[0], labels), tuple(rule.name for rule in found[1:]))


def _as_named(rule: Rule, labels: Mapping[str, str]) -> Rule:
    """The rule, at most in mode approve where its target's label is missing and only the default names the workload: a guess
    is asked about unless the rule says `on_default: act`."""
    spec = rule.target
    named = [source.label for source in (spec.name, spec.pod) if source is not None and source.label]
    guessed = bool(named) and bool(spec.name.default) and not any(labels.get(label) for label in named)
    if not guessed or spec.on_default is OnDefault.ACT or rule.mode is Mode.OBSERVE:
        return rule
    return rule.model_copy(update={"mode": Mode.APPROVE})


_SEVERITIES = {"critical": 0, "page": 0, "error": 1, "high": 1, "warning": 2, "warn": 2, "info": 3}


def severity_rank(labels: Mapping[str, str]) -> int:
    """0 for the most severe; by the label `severity`, what is not known last."""
    return _SEVERITIES.get(labels.get("severity", "").lower(), len(_SEVERITIES))


def rule_for_order(policy: Policy, remediation: str, params: Mapping[str, object]) -> Rule:
    """The rule under which a manual order runs: the first that uses this remediation, with the order's params on top.

    Without such a rule the order stands under the policy's defaults and needs an approval, which the order itself is
    unless `approval.four_eyes` is set.
    """
    rule = next((r for r in policy.rules if r.remediation == remediation), None)
    if rule is None:
        name = f"manual {remediation}"
        rule = policy.defaults.model_copy(
            update={"name": name, "remediation": remediation, "mode": Mode.APPROVE, "params": {}}
        )
    return rule.model_copy(update={"params": {**rule.params, **params}})


def target_hint(rule: Rule, labels: Mapping[str, str]) -> Hint | NoHint:
    """What the labels say about the target. A value that cannot be a Kubernetes name is no target."""
    spec = rule.target
    namespace, namespace_by = _value(spec.namespace, labels)
    if not _NAMESPACE.fullmatch(namespace):
        return NoHint(_why("namespace", spec.namespace, namespace))
    kind, name, said_by = spec.kind, labels.get(spec.name.label, ""), f'label "{spec.name.label}"'
    if not name and spec.pod and labels.get(spec.pod.label):
        kind, name, said_by = Kind.POD, labels[spec.pod.label], f'label "{spec.pod.label}"'
    if not name:
        name, said_by = spec.name.default, "the rule's default"
    if not _NAME.fullmatch(name):
        return NoHint(_why("name", spec.name, name))
    return Hint(namespace, kind, name, f"name by {said_by}, namespace by {namespace_by}")


def _value(source: FromLabel, labels: Mapping[str, str]) -> tuple[str, str]:
    value = labels.get(source.label, "")
    return (value, f'label "{source.label}"') if value else (source.default, "the rule's default")


def _why(what: str, source: FromLabel, value: str) -> str:
    if value:
        return f"{value[:80]!r} cannot be the {what} of a Kubernetes object"
    label = f'the alert has no label "{source.label}"' if source.label else "no label is named"
    return f"no {what}: {label} and the rule has no default"
