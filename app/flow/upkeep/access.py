"""Access: does the API server answer, and may we do there what the policy's rules will ask for?

The supervisor calls `look`; `app.flow.upkeep.health` and the metrics show what it found. Every permission of the reads and
of each rule's remediation is asked for by a SelfSubjectAccessReview of its own, at the start, after a policy change, and
again from time to time. Only reads: a missing right is told long before the first alert needs it, and closes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.domain.decision import Mode
from app.domain.errors import RemediatorError
from app.domain.plan import ActionKind
from app.domain.remediation import AnyRemediation
from app.domain.target import Kind
from app.flow.services import Services
from app.kube.verbs import READS, Permission, permissions_for
from app.policy.model import Policy, Rule

log = structlog.get_logger(__name__)

_AGAIN: Final = 600.0  # seconds between two reviews of all rights
_MISSING_AGAIN: Final = 60.0  # seconds while one is missing, so that a repair shows soon
_SHOWN: Final = 10
_EVERY: Final = "all"  # whose right it is when every remediation needs it


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One permission that a remediation needs in a namespace; an empty namespace means in all of them."""

    permission: Permission
    namespace: str
    remediation: str

    @property
    def resource(self) -> str:
        """`pods/eviction`, as RBAC has it."""
        _, _, plural, subresource = self.permission.rule
        return f"{plural}/{subresource}" if subresource else plural

    def __str__(self) -> str:
        where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        who = "every remediation" if self.remediation == _EVERY else self.remediation
        return f"may not {self.permission.verb} {self.resource} in {where} (needed by {who})"


def needs(policy: Policy, catalogue: Mapping[str, AnyRemediation], ceiling: Mode = Mode.AUTO) -> list[Need]:
    """What the rules of this policy need, each once. Rules that can only observe need no writes."""
    spaces = _namespaces(policy)
    found = {Need(p, n, _EVERY) for p in READS for n in spaces}
    if Mode.OBSERVE not in (policy.mode, ceiling):
        for rule in policy.rules:
            handler = catalogue.get(rule.remediation)
            if rule.mode is not Mode.OBSERVE and handler is not None:
                found |= {Need(p, n, rule.remediation) for p in _writes(rule, handler) for n in spaces}
    return sorted(found)


def _namespaces(policy: Policy) -> list[str]:
    """A pattern covers namespaces that come later: only a right in all of them is enough for it."""
    return sorted({"" if "*" in n else n for n in policy.scope.namespaces})


def _writes(rule: Rule, handler: AnyRemediation) -> Iterator[Permission]:
    kinds = {rule.target.kind, Kind.HPA, Kind.POD}
    for action in handler.actions:
        if action is ActionKind.RAISE_MIN_REPLICAS or action in (ActionKind.DELETE_POD, ActionKind.EVICT_POD):
            on = kinds
        else:
            on = {rule.target.kind}
        for kind in on:
            yield from permissions_for(action, kind)


@dataclass(slots=True)
class AccessCheck:
    """What is known of our rights. `missing` is what the last review found, `unreachable` why there was no answer since."""

    services: Services
    missing: Sequence[Need] = ()
    unreachable: str = ""
    _reviewed: tuple[str, float] | None = field(default=None)  # the policy's version, on the monotonic clock

    @property
    def problems(self) -> Mapping[str, str]:
        """By part, for `/readyz`."""
        found: dict[str, str] = {}
        if self.unreachable:
            found["cluster"] = self.unreachable
        if self.missing:
            rest = len(self.missing) - _SHOWN
            more = f"; and {rest} more" if rest > 0 else ""
            found["rights"] = "; ".join(map(str, self.missing[:_SHOWN])) + more
        return found

    async def look(self) -> int:
        """Ask the API server something small, or review all rights when that is due. Raises RemediatorError kinds when it does
        not answer."""
        services = self.services
        policy = services.policy()
        try:
            if self._due(policy):
                await self._review(policy)
            else:
                await services.cluster.can_i("list", Kind.POD, _namespaces(policy)[0])
        except RemediatorError as error:
            self.unreachable = error.message
            raise
        self.unreachable = ""
        return 0

    def _due(self, policy: Policy) -> bool:
        if self._reviewed is None or self._reviewed[0] != policy.version:
            return True
        passed = self.services.clock.monotonic() - self._reviewed[1]
        return passed >= (_MISSING_AGAIN if self.missing else _AGAIN)

    async def _review(self, policy: Policy) -> None:
        services = self.services
        answers: dict[tuple[Permission, str], bool] = {}
        missing = []
        for need in needs(policy, services.catalogue, services.ceiling):
            p, asked = need.permission, (need.permission, need.namespace)
            if asked not in answers:
                answers[asked] = await services.cluster.can_i(p.verb, p.kind, need.namespace, p.subresource)
            if not answers[asked]:
                missing.append(need)
        if missing != list(self.missing):
            log.warning("rights_missing", missing=[str(n) for n in missing]) if missing else log.info(
                "rights_complete"
            )
        self.missing = tuple(missing)
        self._reviewed = policy.version, services.clock.monotonic()
        gauge = services.metrics.missing_rights
        gauge.clear()
        for need in missing:
            gauge.labels(need.permission.verb, need.resource, need.namespace or "*", need.remediation).set(1)
