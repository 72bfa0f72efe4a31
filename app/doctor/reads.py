"""What a remediation does without, and who does without it: rights that only tell more, as `remediator rbac` prints them.

Called by `app.doctor.cluster`. Pure: who asks the API server says which of these are missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from app.domain.actuator import Permission
from app.domain.decision import Mode
from app.domain.remediation import AnyRemediation
from app.domain.target import Kind
from app.flow.readiness.rights import Need, named_namespaces, secrets_of
from app.kube.paths import RESOURCES
from app.kube.verbs import CONFIG_READS, EVENTS, OPTIONAL
from app.policy.facts import may_act
from app.policy.model import Policy, Rule

_MANY: Final = 6  # names, from which on those of all are one word
_KEYS: Final = "steps that make pods ask a person where the pods use one"
_PODS: Final = "whose pods they are is not told"
_SIZES: Final = "whether one sizes a workload is not known"
_CAUSES: Final = "causes that lie there are not found"
_WITHOUT: Final[Mapping[Kind, str]] = {
    Kind.CONFIG_MAP: _KEYS,
    Kind.SECRET: _KEYS,
    Kind.SERVICE: _CAUSES,
    Kind.NETWORK_POLICY: _CAUSES,
    Kind.ENDPOINT_SLICE: _CAUSES,
    Kind.JOB: _PODS,
    Kind.CRON_JOB: _PODS,
    Kind.ROLLOUT: _PODS,
    Kind.VPA: _SIZES,
    Kind.SCALED_OBJECT: _SIZES,
    Kind.EVENT: "what they do leaves no Kubernetes Event",
}
"""What follows where it is not granted."""


def wished(
    policy: Policy, catalogue: Mapping[str, AnyRemediation], ceiling: Mode, groups: Collection[str]
) -> list[Need]:
    """What the rules ask for besides what they need, in the namespaces that the scope names, of the API `groups` that are served."""
    spaces = named_namespaces(policy.scope)
    return sorted(
        {
            Need(permission, space, rule.remediation)
            for rule in policy.rules
            for permission in _of(rule, catalogue[rule.remediation], policy, ceiling)
            if (group := RESOURCES[permission.kind].group) in groups or not group
            for space in spaces
        }
    )


def _of(rule: Rule, handler: AnyRemediation, policy: Policy, ceiling: Mode) -> Iterator[Permission]:
    yield from (p for p in OPTIONAL if RESOURCES[p.kind].namespaced)
    named = secrets_of(rule, handler)
    if handler.reads_config:
        yield from (p for p in CONFIG_READS if p.kind is not Kind.SECRET)
        named = (*named, *policy.scope.secrets)
    yield from (Permission("get", Kind.SECRET, name=name) for name in named)
    if may_act(rule, policy, ceiling):
        yield from EVENTS


def told(missing: Sequence[Need], policy: Policy) -> Iterator[str]:
    """A sentence for each thing that is not known in a namespace, and those that do not know it."""
    grouped: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for permission, space in sorted({(n.permission, n.namespace) for n in missing}):
        mine = [n for n in missing if (n.permission, n.namespace) == (permission, space)]
        who = tuple(sorted(n.remediation for n in mine))
        what = f"{permission.verb} {mine[0].resource} {permission.name}".rstrip()
        grouped.setdefault((space, _WITHOUT[permission.kind], who), []).append(what)
    for (space, without, who), rights in grouped.items():
        yield f"{names(who, policy)} may not {', '.join(rights)} in namespace {space}: {without}"


def names(remediations: Iterable[str], policy: Policy) -> str:
    """Those of these names, or that they are all that the policy has."""
    found = sorted(set(remediations))
    every = {rule.remediation for rule in policy.rules}
    return "every remediation" if set(found) == every and len(found) >= _MANY else ", ".join(found)
