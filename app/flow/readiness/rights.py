"""Rights: what the rules of a policy need at the API server, in RBAC's words.

Called by `app.flow.readiness.access`, which asks whether we have them, and by the commands that print roles and look for what is
missing. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from app.domain.actuator import Permission
from app.domain.decision import Mode
from app.domain.json import JsonValue
from app.domain.plan import INSIDE, WHERE_THERE_IS, ActionKind
from app.domain.remediation import AnyRemediation
from app.domain.target import WORKLOAD_KINDS, Kind
from app.flow.actuators import ACTUATORS
from app.kube.verbs import READS, rule_of
from app.policy.facts import may_act
from app.policy.model import PROTECTED_NAMESPACES, Policy, Rule, Scope, TargetSpec

EVERY: Final = "every remediation"
"""Whose right it is when all of them need it."""
_PATTERN = frozenset("*?[")
AROUND: Final = frozenset({Kind.HPA, Kind.SCALED_OBJECT, Kind.POD})
"""Kinds of objects beside the target's own that an action on it may change."""


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One permission that a remediation needs in a namespace."""

    permission: Permission
    namespace: str
    remediation: str

    @property
    def resource(self) -> str:
        """`pods/eviction`, as RBAC has it."""
        _, _, plural, subresource = rule_of(self.permission)
        return f"{plural}/{subresource}" if subresource else plural

    @property
    def told(self) -> str:
        """`patch deployments in namespace rag7`, `patch secrets api-keys in namespace rag7`."""
        which = f"{self.resource} {self.permission.name}".rstrip()
        return f"{self.permission.verb} {which} in namespace {self.namespace}"

    def __str__(self) -> str:
        return f"may not {self.told} (needed by {self.remediation})"


def is_pattern(namespace: str) -> bool:
    """Whether an entry of the scope stands for namespaces that come later, too."""
    return bool(_PATTERN & set(namespace))


def named_namespaces(scope: Scope) -> list[str]:
    """The namespaces that the scope names, patterns and those that it keeps away from aside."""
    named = {n for n in scope.namespaces if not is_pattern(n) and scope.covers(n)}
    return sorted(named - set(PROTECTED_NAMESPACES))


def needs(
    policy: Policy,
    catalogue: Mapping[str, AnyRemediation],
    ceiling: Mode = Mode.AUTO,
    more: Collection[str] = (),
    there: Collection[ActionKind] = (),
) -> list[Need]:
    """What the rules of this policy need, each once, in the namespaces that the scope names and in those of `more` that it covers.
    Rules that can only observe need no writes, and what only some clusters have is needed where it is `there`."""
    covered = {n for n in more if policy.scope.covers(n)} - set(PROTECTED_NAMESPACES)
    spaces = sorted({*named_namespaces(policy.scope), *covered})
    found = {Need(p, n, EVERY) for p in READS for n in spaces}
    for rule in policy.rules:
        handler = catalogue.get(rule.remediation)
        if handler is not None and may_act(rule, policy, ceiling):
            allowed = writes(rule, handler, policy.scope, there=there)
            found |= {Need(p, n, rule.remediation) for p in allowed for n in spaces}
    return sorted(found)


def writes(
    rule: Rule,
    handler: AnyRemediation,
    scope: Scope,
    on: Collection[Kind] = WORKLOAD_KINDS,
    there: Collection[ActionKind] = WHERE_THERE_IS,
) -> frozenset[Permission]:
    """What the remediation needs to act on the rule's targets, of the kinds `on` alone; by actions that only some clusters have an object
    for where that is `there`. Kinds that the policy protects are no targets, but for actions that change neither such an object nor its pods."""
    targets = {kind for kind in _target_kinds(rule) if kind in on}
    free = targets - set(scope.protected_kinds)
    touched = free | AROUND if free else set()
    found = {
        p
        for action in handler.actions - (WHERE_THERE_IS - frozenset(there))
        for kind in (targets if action in INSIDE else touched)
        for p in ACTUATORS[action].rights(action, kind)
    }
    return frozenset(found | (_on_secrets(rule, handler) if touched else set()))


def _on_secrets(rule: Rule, handler: AnyRemediation) -> set[Permission]:
    """Of Secrets only those that the rule names are written."""
    names = named_in(rule, handler, handler.written_secrets)
    rights = {p for action in handler.actions for p in ACTUATORS[action].rights(action, Kind.SECRET)}
    return {replace(p, name=name) for p in rights for name in names}


def secrets_of(rule: Rule, handler: AnyRemediation) -> tuple[str, ...]:
    """Names of the Secrets that the rule's params name, in their order; each is read by its name alone."""
    return named_in(rule, handler, handler.secret_params)


def named_in(rule: Rule, handler: AnyRemediation, which: Iterable[str]) -> tuple[str, ...]:
    """What these params of the rule name, those that name nothing aside, and those that only orders give."""
    named = (rule.params.get(name, default_of(handler, name)) for name in which)
    return tuple(str(name) for name in named if name)


def default_of(handler: AnyRemediation, param: str) -> JsonValue:
    """The param's default, None for one that has none."""
    field = handler.params.model_fields[param]
    found: JsonValue = None if field.is_required() else field.get_default(call_default_factory=True)
    return found


def _target_kinds(rule: Rule) -> tuple[Kind, ...]:
    """A label may name a workload of another kind, a pod stands for its owner, and an order of a procedure names any; only a
    fixed name is of one kind."""
    spec = rule.target
    if rule.procedure and spec == TargetSpec():
        return WORKLOAD_KINDS
    if spec.pod is not None or spec.name.label or spec.kind not in WORKLOAD_KINDS:
        return WORKLOAD_KINDS
    return (spec.kind,)
