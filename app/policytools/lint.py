"""Lint: does a policy fit the alerts that Prometheus is told to raise?

Finds what neither of the two files shows alone: an alert that cannot clear before verification gives up, a target that no
label names, rules and alerts that never meet, rules that can never allow. Says how sure it is. Called by `policy lint`.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from app.domain.decision import Mode
from app.policy.calendar import is_open, next_change
from app.policy.consistency import Handler
from app.policy.matchers import Matcher, Operator, When
from app.policy.model import Budget, OnDefault, Policy, Rule
from app.policytools.lint_escalation import escalation_findings
from app.policytools.lint_findings import Finding, Severity, Timing
from app.policytools.lint_never import never_findings, scope_findings
from app.policytools.lint_pairs import Pair, pair_findings
from app.policytools.lint_rules import AlertingRule
from app.policytools.lint_schedule import schedule_findings
from app.policytools.lint_trust import trust_findings

NO_CATALOGUE: Final[Mapping[str, Handler]] = MappingProxyType({})


def lint(
    policy: Policy,
    alerts: Sequence[AlertingRule],
    timing: Timing,
    catalogue: Mapping[str, Handler] = NO_CATALOGUE,
) -> tuple[Finding, ...]:
    """All findings: errors first, then in the policy's order."""
    found = [*_whole(policy, timing), *scope_findings(policy, timing.now), *escalation_findings(policy)]
    used: set[str] = set()
    for alert in alerts:
        pairs = list(_pairs(policy, alert))
        used |= {pair.rule.name for pair in pairs}
        for pair in pairs:
            found += pair_findings(pair, timing)
        if not pairs:
            text = "no rule of the policy matches it: it would only be observed"
            found.append(
                Finding("alert_without_rule", Severity.NOTE, True, "", alert.name, alert.place, text)
            )
    for at, rule in enumerate(policy.rules):
        if rule.when.lists:
            found += _reached(policy.rules[:at], rule, alerts, used)
        found += _allows(policy, rule)
        found += _guesses(rule)
        found += never_findings(rule, alerts, catalogue)
        found += trust_findings(policy, rule)
        found += schedule_findings(policy, rule, timing.now)
    return tuple(sorted(dict.fromkeys(found), key=lambda f: list(Severity).index(f.severity)))


def _pairs(policy: Policy, alert: AlertingRule) -> Iterator[Pair]:
    """The rules that may be used for an alert: up to the first that surely matches."""
    for rule in policy.rules:
        word = alert.matches(rule.when)
        if word is not False:
            yield Pair(rule, alert, word is True)
        if word:
            return


def _of_rule(rule: Rule | None, code: str, severity: Severity, text: str) -> Finding:
    return Finding(code, severity, True, rule.name if rule else "", "", "", text)


def _whole(policy: Policy, timing: Timing) -> Iterator[Finding]:
    """What keeps every rule from acting."""
    now, windows, freeze = timing.now, policy.windows, policy.freeze
    if policy.mode is Mode.OBSERVE:
        yield _of_rule(
            None, "never_allows", Severity.WARNING, "the policy's mode is observe: nothing is ever done"
        )
    opens = not windows or any(is_open(w, now) for w in windows) or next_change(windows, now, to_open=True)
    if not opens:
        yield _of_rule(None, "never_allows", Severity.ERROR, "no window opens within 400 days")
    if any(is_open(w, now) for w in freeze) and next_change(freeze, now, to_open=False) is None:
        yield _of_rule(None, "never_allows", Severity.ERROR, "the freeze does not end within 400 days")
    for budget in policy.budgets:
        if _closed(budget):
            text = f"the budget {budget.limit} per {budget.per} has no room for any action"
            yield _of_rule(None, "never_allows", Severity.ERROR, text)


def _closed(budget: Budget) -> bool:
    return any(limit.count == 0 for limit in budget.limit.each)


def _reached(
    earlier: Sequence[Rule], rule: Rule, alerts: Sequence[AlertingRule], used: set[str]
) -> Iterator[Finding]:
    for before in earlier:
        if covers(before.when, rule.when):
            text = f'never reached: "{before.name}" stands before it and matches every alert that it matches'
            yield _of_rule(rule, "unreachable", Severity.ERROR, text)
            return
    if rule.name in used or not alerts:
        return
    if any(alert.matches(rule.when) is not False for alert in alerts):
        text = "every alert of these files that it matches is taken by an earlier rule"
        yield _of_rule(rule, "unreachable", Severity.WARNING, text)
    else:
        yield _of_rule(rule, "rule_without_alert", Severity.WARNING, "no alert of these files matches it")


def covers(first: When, second: When) -> bool:
    """True when surely every label set that `second` matches is matched by `first`: each list of the second fixes or
    repeats everything that some list of the first asks for."""
    return all(any(_implied(mine, theirs) for mine in first.lists) for theirs in second.lists)


def _implied(mine: Sequence[Matcher], theirs: Sequence[Matcher]) -> bool:
    fixed = {m.name: m.value for m in theirs if m.operator is Operator.EQUAL}
    return all(m in theirs or (m.name in fixed and m.matches(fixed)) for m in mine)


def _guesses(rule: Rule) -> Iterator[Finding]:
    """What it does when the alert names no workload."""
    spec = rule.target
    asks = rule.mode in (Mode.AUTO, Mode.EARNED) and spec.on_default is OnDefault.ASK
    if asks and spec.name.label and spec.name.default:
        text = f"mode {rule.mode}, but an alert without the label {spec.name.label} is asked about: "
        text += f"that it means {spec.name.default} is a guess, unless on_default is act"
        yield _of_rule(rule, "default_target", Severity.NOTE, text)


def _allows(policy: Policy, rule: Rule) -> Iterator[Finding]:
    """What keeps this rule from ever acting."""
    if rule.mode is Mode.OBSERVE and policy.mode is not Mode.OBSERVE:
        yield _of_rule(rule, "never_allows", Severity.NOTE, "its mode is observe: it only looks")
    for name, limits in (("per_target", rule.limits.per_target), ("in_all", rule.limits.in_all)):
        if limits and any(limit.count == 0 for limit in limits.each):
            text = f"its limit {name} {limits} has no room for any action"
            yield _of_rule(rule, "never_allows", Severity.ERROR, text)
    radius = rule.blast_radius
    if not radius.minimum and not radius.pods.hundredths:
        text = "its blast radius is 0% with a minimum of 0: only what touches no ready pod is allowed"
        yield _of_rule(rule, "never_allows", Severity.WARNING, text)
    label, default = rule.target.namespace.label, rule.target.namespace.default
    fixed = [
        {m.value for m in matchers if m.name == label and m.operator is Operator.EQUAL}
        for matchers in rule.when.lists
    ]
    named = set().union(*fixed) if all(fixed) else ({default} if not label and default else set())
    if named and not any(policy.scope.covers(n) for n in named):
        text = f"its alerts are about namespace {', '.join(sorted(named))}, outside of the scope"
        yield _of_rule(rule, "never_allows", Severity.ERROR, text)
