"""Access: does the API server answer, and may we do there what the policy's rules will ask for?

The supervisor calls `look`; `app.flow.readiness.health` and the metrics show what it found. Every permission of the reads and
of each rule's remediation is asked for by a SelfSubjectAccessReview of its own, at the start, after a policy change, and
again from time to time; what a pattern of the scope stands for is known from the alerts that came. A remediation that lacks a right to write in a namespace is disabled there: whoever decides asks
`lacking`. A read that is missing closes only what needs it. Never changes anything at the API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.domain.actuator import Permission
from app.domain.errors import RemediatorError
from app.domain.plan import ActionKind
from app.domain.target import Kind, Target
from app.flow.readiness.rights import Need, named_namespaces, needs, writes
from app.flow.services import Services
from app.policy.facts import may_act
from app.policy.model import Policy, Rule

log = structlog.get_logger(__name__)

_AGAIN: Final = 600.0  # seconds between two reviews of all rights
_MISSING_AGAIN: Final = 60.0  # seconds while one is missing, so that a repair shows soon
_SHOWN: Final = 10
_KEPT: Final = 10_000  # answers; patterns of namespaces bring one more for each namespace

_PATTERNED: Final = 200  # namespaces behind patterns whose rights are reviewed

_Asked = tuple[Permission, str]
"""A permission and the namespace that it was asked for."""


@dataclass(slots=True)
class AccessCheck:
    """What is known of our rights. `missing` is what the last review found, `unreachable` why there was no answer since."""

    services: Services
    missing: Sequence[Need] = ()
    unreachable: str = ""
    _reviewed: tuple[str, float] | None = field(default=None)  # the policy's version, on the monotonic clock
    _came: dict[str, None] = field(
        default_factory=dict
    )  # namespaces that were asked about, patterns stand for some
    _answers: dict[_Asked, tuple[bool, float]] = field(default_factory=dict)

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
                space = next(iter(named_namespaces(policy.scope)), "")
                await services.cluster.can_i("list", Kind.POD, space)
        except RemediatorError as error:
            self.unreachable = error.message
            raise
        self.unreachable = ""
        return 0

    async def lacking(
        self, rule: Rule, target: Target, planned: Collection[ActionKind] = (), *, came: bool = True
    ) -> Sequence[Need]:
        """What the rule's remediation needs to act on this target and is not granted, with what these `planned` kinds of actions
        need besides; empty where it only observes. An API server that cannot be asked says nothing here: the dry run will. A namespace
        that somebody only asks about (not `came`) is not reviewed from then on."""
        namespace = target.namespace
        services = self.services
        policy, handler = services.policy(), services.catalogue.get(rule.remediation)
        if handler is None or not may_act(rule, policy, services.ceiling):
            return ()
        if came and namespace not in self._came and len(self._came) < _PATTERNED:
            self._came[namespace] = None
        needed = writes(rule, handler, policy.scope, (target.kind,), planned)
        wanted = sorted(Need(p, namespace, rule.remediation) for p in needed)
        try:
            granted = await asyncio.gather(*(self._granted((n.permission, n.namespace)) for n in wanted))
        except RemediatorError:
            return ()
        return [need for need, yes in zip(wanted, granted, strict=True) if not yes]

    def doubt(self) -> None:
        """The cluster refused something: what was granted may not be any more."""
        self._reviewed = None
        self._answers.clear()

    async def _granted(self, asked: _Asked, *, fresh: bool = False) -> bool:
        now = self.services.clock.monotonic()
        known = self._answers.get(asked)
        if known is not None and not fresh and now - known[1] < (_AGAIN if known[0] else _MISSING_AGAIN):
            return known[0]
        permission, namespace = asked
        yes = await self.services.cluster.can_i(
            permission.verb, permission.kind, namespace, permission.subresource, permission.name
        )
        if len(self._answers) >= _KEPT:
            self._answers.clear()
        self._answers[asked] = yes, now
        return yes

    def _due(self, policy: Policy) -> bool:
        if self._reviewed is None or self._reviewed[0] != policy.version:
            return True
        passed = self.services.clock.monotonic() - self._reviewed[1]
        return passed >= (_MISSING_AGAIN if self.missing else _AGAIN)

    async def _review(self, policy: Policy) -> None:
        services = self.services
        answers: dict[_Asked, bool] = {}
        missing = []
        for need in needs(policy, services.catalogue, services.ceiling, self._came):
            asked = (need.permission, need.namespace)
            if asked not in answers:
                answers[asked] = await self._granted(asked, fresh=True)
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
            gauge.labels(need.permission.verb, need.resource, need.namespace, need.remediation).set(1)
