"""Lint of the escalation: paths for severities that no incident which calls a person can have. Part of the lint. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.policy.matchers import Matcher, When
from app.policy.model import Policy, Rule
from app.policytools.lint_findings import Finding, Severity

_LABEL = "severity"
HEARTBEAT = "critical"
"""The severity of the service's own alert of a heartbeat that is missing."""


def escalation_findings(policy: Policy) -> Iterator[Finding]:
    """A path's severity that no rule's matchers let through: a typing error, as a rule."""
    for at, path in enumerate(policy.escalation.paths if policy.escalation is not None else ()):
        rules = [rule for rule in policy.rules if not path.rules or rule.name in path.rules]
        for number, severity in enumerate(path.severity):
            own = bool(policy.heartbeats) and severity.lower() == HEARTBEAT and not path.rules
            if own or _can_be(severity, rules):
                continue
            place = f"escalation.paths[{at}].severity[{number}]"
            text = f'no rule{" of this path" if path.rules else ""} matches an alert of severity "{severity}"'
            yield Finding("severity_unmatched", Severity.WARNING, True, "", "", place, text)


def _can_be(severity: str, rules: Sequence[Rule]) -> bool:
    """Some rule is for alerts of this severity, in any usual case of letters."""
    forms = {severity, severity.lower(), severity.upper(), severity.capitalize()}
    return any(_lets(rule.when, form) for rule in rules for form in forms)


def _lets(when: When, severity: str) -> bool:
    return any(all(_may(m, severity) for m in matchers) for matchers in when.lists)


def _may(matcher: Matcher, severity: str) -> bool:
    return matcher.name != _LABEL or matcher.matches({_LABEL: severity})
