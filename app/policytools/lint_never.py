"""Lint: what keeps a rule, or every rule, from ever acting although each of its parts is right: windows within a freeze, a scope that
excludes itself, a rule that its own alert blocks, a temporary change of what cannot be temporary.

Called by `lint`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from app.domain.plan import SIZES
from app.policy.calendar import is_open, next_change
from app.policy.consistency import Handler
from app.policy.model import PROTECTED_NAMESPACES, Policy, Rule, Scope, Window
from app.policytools.lint_findings import Finding, Severity
from app.policytools.lint_rules import AlertingRule

NEVER = "never_allows"
_HORIZON = timedelta(days=400)
MAX_CHANGES = 2_000
"""Openings and ends that are looked at for a moment at which a window is open and no freeze stands; after that nothing is said."""


def scope_findings(policy: Policy, now: datetime) -> Iterator[Finding]:
    """What keeps every rule from acting."""
    if _always_frozen(policy.windows, policy.freeze, now):
        text = "each window lies in a freeze: no moment of the next 400 days is in a window and in no freeze"
        yield _finding("", NEVER, Severity.ERROR, text)
    if policy.scope.namespaces and all(_is_left_out(policy.scope, name) for name in policy.scope.namespaces):
        text = "the scope covers no namespace: each that it names is excluded by exclude_namespaces, or protected always"
        yield _finding("", NEVER, Severity.ERROR, text)


def never_findings(
    rule: Rule, alerts: Sequence[AlertingRule], catalogue: Mapping[str, Handler]
) -> Iterator[Finding]:
    """What keeps this rule from acting, or one of its blocks from meaning anything."""
    for blocker in rule.blocked_by:
        if rule.when.lists and blocker.covers(rule.when):
            text = f"blocked_by {blocker} matches every alert that the rule is for: it blocks itself"
            yield _finding(rule.name, NEVER, Severity.ERROR, text)
            continue
        for alert in alerts:
            own, blocked = alert.matches(rule.when), alert.matches(blocker)
            if own is not False and blocked is not False:
                text = f"blocked_by {blocker} matches this alert of its own, which then blocks itself"
                severity = Severity.ERROR if own and blocked else Severity.WARNING
                sure = severity is Severity.ERROR
                yield Finding("blocks_itself", severity, sure, rule.name, alert.name, alert.place, text)
    actions = getattr(catalogue.get(rule.remediation), "actions", None)
    if rule.temporary is not None and actions is not None and SIZES.isdisjoint(actions):
        text = f"temporary is for changes of a size, and {rule.remediation} makes none: nothing is ever taken back for it"
        yield _finding(rule.name, "never_temporary", Severity.WARNING, text)


def _always_frozen(windows: Sequence[Window], freeze: Sequence[Window], now: datetime) -> bool:
    """Whether surely no moment is in a window and in no freeze, though windows open and the freeze ends."""
    at: datetime | None = now
    for _ in range(MAX_CHANGES):
        if at is None or at > now + _HORIZON:
            return at is not None and bool(windows)
        if windows and not any(is_open(w, at) for w in windows):
            at = next_change(windows, at, to_open=True)
        elif any(is_open(w, at) for w in freeze):
            at = next_change(freeze, at, to_open=False)
        else:
            return False
    return False


def _is_left_out(scope: Scope, pattern: str) -> bool:
    """A pattern that surely covers nothing. What only some of it is excluded from covers the rest."""
    if any(mark in pattern for mark in "*?["):
        return any(other in (pattern, "*") for other in scope.exclude_namespaces)
    return pattern in PROTECTED_NAMESPACES or any(fnmatchcase(pattern, p) for p in scope.exclude_namespaces)


def _finding(rule: str, code: str, severity: Severity, text: str) -> Finding:
    return Finding(code, severity, True, rule, "", "", text)
