"""Lint: rules that can never act although each of their parts is right; explain and the backtest see a rule that blocks itself."""

from __future__ import annotations

import pytest

from app.domain.decision import Code
from app.policy.load import load_policy
from app.policy.model import Policy
from app.policytools.assumed import World, judge
from app.policytools.backtest_known import Assumptions, Lookup
from app.policytools.lint import lint
from app.policytools.lint_findings import Timing
from remediations import CATALOGUE
from tests.unit.policy.test_lint import FITTING, NOW, alert

RULE = """
  - name: one
    when: alertname="HighErrorRate"
    target: {name: {label: deployment}, namespace: {label: namespace}}
    remediation: REMEDIATION
    mode: auto
"""
LABELS = {"alertname": "HighErrorRate", "deployment": "langgraph", "namespace": "rag7"}


def policy(
    head: str = "", more: str = "", scope: str = "namespaces: [rag7]", remediation: str = "rollback"
) -> Policy:
    text = f"version: 1\nscope: {{{scope}}}\n{head}rules:{RULE.replace('REMEDIATION', remediation)}{more}"
    return load_policy({"p.yaml": text}, CATALOGUE)


def said(of: Policy) -> list[str]:
    codes = ("never_allows", "never_temporary", "blocks_itself")
    found = lint(of, alert(FITTING), Timing(NOW), CATALOGUE)
    return [f"{f.severity} {f.code}: {f.text}" for f in found if f.code in codes]


@pytest.mark.parametrize(
    ("windows", "freeze", "never"),
    [
        ("{days: [sat, sun]}", "{days: [fri, sat, sun]}", True),
        ("{from: '02:00', to: '04:00'}", "{from: '01:00', to: '05:00'}", True),
        ("{from: '02:00', to: '04:00'}", "{from: '01:00', to: '03:00'}", False),
        ("{days: [sat, sun]}", "{days: [sat]}", False),
    ],
)
def test_windows_that_lie_wholly_in_a_freeze_never_open(windows: str, freeze: str, never: bool) -> None:
    named = "{name: w, timezone: Europe/Berlin, "
    windows, freeze = (named + one[1:] for one in (windows, freeze))
    found = said(policy(f"windows: [{windows}]\nfreeze: [{freeze}]\n"))
    assert any("each window lies in a freeze" in text for text in found) is never


@pytest.mark.parametrize(
    ("scope", "never"),
    [
        ("namespaces: [rag7], exclude_namespaces: [rag7]", True),
        ("namespaces: ['rag*'], exclude_namespaces: ['rag*']", True),
        ("namespaces: [rag7, kube-system], exclude_namespaces: ['rag*']", True),
        ("namespaces: ['rag*'], exclude_namespaces: [rag7]", False),
        ("namespaces: [rag7, kube-system]", False),
    ],
)
def test_a_scope_that_excludes_all_that_it_names_covers_nothing(scope: str, never: bool) -> None:
    assert any("the scope covers no namespace" in text for text in said(policy(scope=scope))) is never


@pytest.mark.parametrize(("remediation", "never"), [("rollback", True), ("high-latency", False)])
def test_temporary_of_what_changes_no_size_means_nothing(remediation: str, never: bool) -> None:
    found = said(policy(more="    temporary: {revert_after: 1h}\n", remediation=remediation))
    assert any("never_temporary" in text for text in found) is never


@pytest.mark.parametrize(
    ("blocker", "code", "explained"),
    [
        ('alertname="HighErrorRate"', "never_allows", True),
        ('alertname=~"High.*"', "blocks_itself", True),
        ('alertname="NodeDown"', "", False),
    ],
)
def test_a_rule_that_its_own_alert_blocks_is_found_explained_and_replayed(
    blocker: str, code: str, explained: bool
) -> None:
    of = policy(more=f"    blocked_by: ['{blocker}']\n")
    found = said(of)
    assert any(f"error {code}" in text for text in found) is bool(code), found
    decision = judge(World(of, CATALOGUE), LABELS, NOW).decision
    assert (decision.code is Code.BLOCKING_ALERT) is explained, decision.text
    known = Lookup(of, CATALOGUE, Assumptions()).at(LABELS)
    assert known.prepared is not None
    assert any(known.prepared.quiet.blocking.values()) is explained  # type: ignore[union-attr]
