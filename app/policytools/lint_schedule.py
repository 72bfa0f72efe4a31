"""Lint of schedules: when each is due next, and whether the policy lets it act then. Part of the lint. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from app.domain.decision import Mode
from app.policy.calendar import is_open
from app.policy.model import Policy, Rule
from app.policytools.lint_findings import Finding, Severity

_TOLD = 3
_LOOKED_AT = 30


def schedule_findings(policy: Policy, rule: Rule, now: datetime) -> Iterator[Finding]:
    """The next times; a warning when its orders can do nothing, and when none of the next thirty lies inside the windows and outside of the freezes."""
    if rule.schedule is None:
        return
    coming = rule.schedule.coming(now, _LOOKED_AT)
    told = ", ".join(rule.schedule.told(due) for due in coming[:_TOLD])
    yield _of(rule, "schedule", Severity.NOTE, f"due {told or 'never again'}")
    if idle := _idle(rule):
        yield _of(rule, "schedule_idle", Severity.WARNING, idle)
    if coming and not any(_may_act(policy, due) for due in coming):
        number = f"none of its next {len(coming)} times"
        text = f"{number} lies inside of the windows and outside of the freezes: it is always refused"
        yield _of(rule, "schedule_closed", Severity.WARNING, text)


def _idle(rule: Rule) -> str:
    """Why its orders can do nothing, whatever the cluster is like; empty when they can."""
    params = rule.params
    if rule.remediation == "scale" and params.get("replicas") == 0 and not params.get("to_zero"):
        return "replicas: 0 without to_zero: true is always refused"
    numbers = ("min", "max", "utilization", "average", "value")
    if rule.remediation == "adjust-hpa" and all(params.get(name) in (None, "") for name in numbers):
        return f"none of {', '.join(numbers)} is given, so nothing is ever set"
    if rule.mode is Mode.OBSERVE:
        return "mode: observe only looks"
    return ""


def _may_act(policy: Policy, at: datetime) -> bool:
    inside = not policy.windows or any(is_open(window, at) for window in policy.windows)
    return inside and not any(is_open(window, at) for window in policy.freeze)


def _of(rule: Rule, code: str, severity: Severity, text: str) -> Finding:
    return Finding(code, severity, True, rule.name, "", "", text)
