"""Gates rate limit and budget: is there room for one more action under every limit?

The rate limit is the rule's own, the budget is shared by all rules. They differ in who set the limit, not in how it is
measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from app.domain.decision import Code, GateResult
from app.domain.units import utc
from app.policy.budgets import BudgetScope, Origin, scopes_for
from app.policy.facts import Spend, Unknown
from app.policy.gates.case import Case, Voice

_OWN, _SHARED = Voice("rate limit"), Voice("budget")


@_OWN.of
def rate_limit(case: Case) -> GateResult:
    """Deny when one of the rule's own limits is used up, until the oldest action leaves its window."""
    return _measure(case, _OWN, Origin.RULE, Code.RATE_LIMITED)


@_SHARED.of
def budget(case: Case) -> GateResult:
    """Deny when one of the shared budgets is used up, until the oldest action leaves its window."""
    return _measure(case, _SHARED, Origin.SHARED, Code.BUDGET_SPENT)


def _measure(case: Case, say: Voice, origin: Origin, code: Code) -> GateResult:
    scopes = [s for s in scopes_for(case.policy, case.rule, case.facts.target) if s.origin is origin]
    if not scopes:
        return say.allow("no limit set", "none")
    threshold = "; ".join(f"{s.limit} ({s.key})" for s in scopes)
    spend = case.facts.spend
    if isinstance(spend, Unknown):
        return say.unknown("spent actions", spend, threshold)
    uncounted = [s for s in scopes if s not in spend]
    if uncounted:
        return say.unknown("spent actions", Unknown(f"nobody counted {uncounted[0].key}"), threshold)
    full = [s for s in scopes if spend[s].count >= s.limit.count]
    if full:
        retry_at = _room_at(full, spend)
        when = f"an action leaves the window ({utc(retry_at)})" if retry_at else "the limit is raised"
        return say.deny(code, "; ".join(_used(s, spend) for s in full), threshold, when, retry_at)
    tightest = min(scopes, key=lambda s: s.limit.count - spend[s].count)
    return say.allow(_used(tightest, spend), threshold)


def _used(scope: BudgetScope, spend: Mapping[BudgetScope, Spend]) -> str:
    return f"{spend[scope].count} of {scope.limit} ({scope.key})"


def _room_at(full: list[BudgetScope], spend: Mapping[BudgetScope, Spend]) -> datetime | None:
    """When the last of the full scopes has room again; None when one never has (a limit of 0)."""
    ends = []
    for scope in full:
        oldest = spend[scope].oldest
        if oldest is None or not scope.limit.count:
            return None
        ends.append(oldest + scope.limit.window)
    return max(ends)
