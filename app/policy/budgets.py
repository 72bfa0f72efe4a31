"""Budget scopes: under which keys an action is counted, and which limits hold for it.

The flow reserves one ledger row per key of `ledger_keys` and measures `Spend` for each scope of `scopes_for`; the gates
rate limit and budget compare. Never counts anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Generic, TypeVar

from app.domain.target import Target
from app.policy.model import Per, Policy, Rule
from app.policy.units import Limit

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
