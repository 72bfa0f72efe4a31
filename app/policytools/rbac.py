"""RBAC: the roles that a policy needs, one a namespace, as manifests, as values of the chart, or as data.

Called by `remediator rbac`. The chart makes the same roles from the same table (`rights_table`), which a test compares. A right
says which remediations need it; nothing is granted that no rule asks for. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from app.domain.actuator import Permission
from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.plan import INSIDE
from app.domain.remediation import AnyRemediation
from app.domain.target import WORKLOAD_KINDS, Kind
from app.flow.actuators import ACTUATORS
from app.flow.readiness.rights import (
    AROUND,
    EVERY,
    default_of,
    is_pattern,
    named_namespaces,
    secrets_of,
    writes,
)
from app.kube.paths import POD_METRICS, RESOURCES
from app.kube.verbs import CONFIG_READS, EVENTS, OPTIONAL, READS, rule_of
from app.policy.facts import may_act
from app.policy.model import PROTECTED_NAMESPACES, Policy

_RBAC: Final = "rbac.authorization.k8s.io"
_MARK: Final = "every remediation: the owners' mark on the namespace"
_TELL: Final = "tell: an Event at what was changed"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource (`pods/log`), perhaps only on objects of these names."""

    group: str
    resource: str
    verb: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, permission: Permission, names: Sequence[str] = ()) -> Right:
        """From the words of the code."""
        verb, group, plural, subresource = rule_of(permission)
        named = (permission.name,) if permission.name else tuple(names)
        return cls(group, f"{plural}/{subresource}" if subresource else plural, verb, named)


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule of a role: verbs on one resource, and who needs them."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    names: tuple[str, ...]
    needed_by: tuple[str, ...]

    def rule(self) -> dict[str, Any]:
        """As Kubernetes writes it."""
        found: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": [self.resource],
            "verbs": list(self.verbs),
        }
        return {**found, "resourceNames": list(self.names)} if self.names else found

    @property
    def comment(self) -> str:
        """Who needs it: names of remediations in a row, sentences each for itself."""
        plain = [o for o in self.needed_by if " " not in o]
        sentences = [o for o in self.needed_by if " " in o]
        return "; ".join([*([", ".join(plain)] if plain else []), *sentences])


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the roles are bound to, and what they are called."""

    namespace: str = "alert-remediator"
    name: str = "alert-remediator"
    role: str = field(default="alert-remediator")


def namespaces_of(policy: Policy, more: Sequence[str] = ()) -> list[str]:
    """The namespaces that get a role: those that the scope names, and of `more` (for its patterns) those that it covers.

    Raises BadInput for one that it does not cover, and for a scope of patterns alone without any: RBAC knows no patterns.
    """
    for name in more:
        if not policy.scope.covers(name) or name in PROTECTED_NAMESPACES:
            raise BadInput(f"the policy does not act in {name}", code="out_of_scope", where="--namespace")
    found = sorted({*named_namespaces(policy.scope), *more})
    if not found:
        patterns = ", ".join(n for n in policy.scope.namespaces if is_pattern(n))
        if not patterns:
            text = f"the policy acts in no namespace: {', '.join(policy.scope.namespaces) or 'none'} is all of its scope"
            raise BadInput(text, code="no_namespace", where="scope.namespaces")
        raise BadInput(
            f"RBAC knows no patterns: name the namespaces that {patterns} stands for",
            code="no_namespace",
            where="--namespace",
        )
    return found


def grants(policy: Policy, catalogue: Mapping[str, AnyRemediation], namespace: str) -> list[Grant]:
    """The rules of the role in one namespace, in the order of API group and resource."""
    needed: dict[Right, set[str]] = {}
    for right, who in _rights(policy, catalogue, namespace):
        needed.setdefault(right, set()).add(who)
    merged: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for right in sorted(needed):
        owners = (EVERY,) if EVERY in needed[right] else tuple(sorted(needed[right]))
        merged.setdefault((right.group, right.resource, right.names, owners), []).append(right.verb)
    return [
        Grant(group, resource, tuple(verbs), names, owners)
        for (group, resource, names, owners), verbs in merged.items()
    ]


def _rights(
    policy: Policy, catalogue: Mapping[str, AnyRemediation], namespace: str
) -> Iterator[tuple[Right, str]]:
    yield from ((right, EVERY) for right in _looks())
    yield Right("", "namespaces", "get", (namespace,)), _MARK
    for rule in policy.rules:
        handler = catalogue[rule.remediation]
        if handler.reads_config:
            yield from ((right, rule.remediation) for right in _config(policy.scope.secrets))
        for name in secrets_of(rule, handler):
            yield Right("", "secrets", "get", (name,)), rule.remediation
        if may_act(rule, policy):
            yield from ((Right.of(p), rule.remediation) for p in writes(rule, handler, policy.scope))
            yield from ((Right.of(p), _TELL) for p in EVENTS)


def _looks() -> list[Right]:
    """What every remediation reads inside of a namespace. The metrics API's pods are no kind of ours."""
    reads = {Right.of(p) for p in (*READS, *OPTIONAL) if RESOURCES[p.kind].namespaced}
    return sorted([*reads, Right(POD_METRICS.group, POD_METRICS.plural, "list")])


def _config(secrets: Sequence[str]) -> list[Right]:
    """ConfigMaps of any name; Secrets only by name."""
    found = [Right.of(p) for p in CONFIG_READS if p.kind is not Kind.SECRET]
    return [*found, Right("", "secrets", "get", tuple(sorted(set(secrets))))] if secrets else found


def manifests(
    policy: Policy, catalogue: Mapping[str, AnyRemediation], namespaces: Sequence[str], to: Account
) -> list[dict[str, Any]]:
    """The service account, and a role with its binding in each of these namespaces."""
    account = {"name": to.name, "namespace": to.namespace}
    found: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}]
    for namespace in namespaces:
        meta = {"name": to.role, "namespace": namespace}
        rules = [grant.rule() for grant in grants(policy, catalogue, namespace)]
        found.append({"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules})
        found.append(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": to.role},
                "subjects": [{"kind": "ServiceAccount", **account}],
            }
        )
    return found


def as_yaml(
    policy: Policy, catalogue: Mapping[str, AnyRemediation], namespaces: Sequence[str], to: Account
) -> str:
    """The manifests as text in which each rule says who needs it."""
    parts = [
        f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {_word(to.name)}, namespace: {_word(to.namespace)}}}\n"
    ]
    for namespace in namespaces:
        meta = f"{{name: {_word(to.role)}, namespace: {_word(namespace)}}}"
        role = f"apiVersion: {_RBAC}/v1\nkind: Role\nmetadata: {meta}\nrules:\n"
        parts.append(role + "".join(f"  - {line}\n" for line in _lines(grants(policy, catalogue, namespace))))
        parts.append(
            f"apiVersion: {_RBAC}/v1\nkind: RoleBinding\nmetadata: {meta}\n"
            f"roleRef: {{apiGroup: {_RBAC}, kind: Role, name: {_word(to.role)}}}\n"
            f"subjects: [{{kind: ServiceAccount, name: {_word(to.name)}, namespace: {_word(to.namespace)}}}]\n"
        )
    return "---\n".join(parts)


def as_values(policy: Policy, catalogue: Mapping[str, AnyRemediation], namespaces: Sequence[str]) -> str:
    """Values for the chart when it does not hold the policy itself, and so cannot tell what it needs."""
    text = "rbac:\n  roles:\n"
    for namespace in namespaces:
        text += f"    {_word(namespace)}:\n"
        for grant in grants(policy, catalogue, namespace):
            text += f"      - {_flow(grant)[:-1]}, neededBy: [{', '.join(map(_word, grant.needed_by))}]}}\n"
    return text


def _lines(rules: Sequence[Grant]) -> Iterator[str]:
    for grant in rules:
        yield f"{_flow(grant)}  # {grant.comment}"


def _flow(grant: Grant) -> str:
    names = f", resourceNames: [{', '.join(map(_word, grant.names))}]" if grant.names else ""
    group = grant.group or '""'
    verbs = ", ".join(grant.verbs)
    return f"{{apiGroups: [{group}], resources: [{grant.resource}], verbs: [{verbs}]{names}}}"


def _word(text: str) -> str:
    """Quoted where YAML would read something else than this text: also the readers of kubectl and helm, to which y and n are truth values, and
    more is a number."""
    told = text.lower() in ("y", "n") or text[:1].isdigit()
    plain = not told and yaml.safe_load(f"[{text}]") == [text]
    return text if plain else json.dumps(text)


def rights_table(catalogue: Mapping[str, AnyRemediation]) -> dict[str, Any]:
    """What the chart needs to make the same roles: the looks of all, and for each remediation its writes by kind of target."""
    return {
        "every": [_entry(r) for r in _looks()],
        "events": [_entry(Right.of(p)) for p in EVENTS],
        "config": [_entry(r) for r in _config(())],
        "protectedNamespaces": list(PROTECTED_NAMESPACES),
        "workloadKinds": [kind.value for kind in WORKLOAD_KINDS],
        "remediations": {
            name: {
                "readsConfig": handler.reads_config,
                "secretParams": {param: default_of(handler, param) or "" for param in handler.secret_params},
                "connects": _connects(handler),
                "mode": Mode.OBSERVE.value if handler.procedure is None else Mode.APPROVE.value,
                "writes": {kind.value: _writes_on(handler, kind) for kind in WORKLOAD_KINDS},
                "inside": {kind.value: _inside(handler, kind) for kind in WORKLOAD_KINDS},
                "secretWrites": {
                    param: [p.verb for a in handler.actions for p in ACTUATORS[a].rights(a, Kind.SECRET)]
                    for param in handler.written_secrets
                },
            }
            for name, handler in catalogue.items()
        },
        "texts": {"every": EVERY, "mark": _MARK, "events": _TELL},
    }


def _connects(handler: AnyRemediation) -> list[dict[str, str | int]]:
    """What it connects to besides the API server, and which params say where: for the chart's network policy."""
    fields = handler.params.model_fields
    found: list[dict[str, str | int]] = []
    for what, prefix, port in (("database", "", 5432), ("cache", "cache_", 6379)):
        if f"{prefix}url_key" in fields:
            found.append(
                {
                    "what": what,
                    "prefix": prefix,
                    "default": str(default_of(handler, f"{prefix}service") or ""),
                    "port": port,
                }
            )
    if "url_key" not in fields and {"service", "port"} <= set(fields):
        found.append({"what": "service", "prefix": "", "default": "", "port": 0})
    if "endpoint" in fields:
        found.append({"what": "object store", "prefix": "", "default": "", "port": 0})
    return found


def _writes_on(handler: AnyRemediation, kind: Kind) -> list[dict[str, str]]:
    found = {
        Right.of(p)
        for a in handler.actions - INSIDE
        for k in (kind, *AROUND)
        for p in ACTUATORS[a].rights(a, k)
    }
    return [_entry(right) for right in sorted(found)]


def _inside(handler: AnyRemediation, kind: Kind) -> list[dict[str, str]]:
    """What the actions need that change neither the object nor its pods: also where the kind is protected."""
    found = {Right.of(p) for a in handler.actions & INSIDE for p in ACTUATORS[a].rights(a, kind)}
    return [_entry(right) for right in sorted(found)]


def _entry(right: Right) -> dict[str, str]:
    return {"group": right.group, "resource": right.resource, "verb": right.verb}
