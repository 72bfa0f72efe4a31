"""Procedures under a policy: rules without an alert, who has to agree, repeated orders, and params that orders must give."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.domain.decision import Code, Mode, Verdict
from app.domain.outcome import RunState
from app.policy.decide import decide
from app.policy.facts import Past
from app.policy.faults import PolicyInvalid
from app.policy.load import load_policy
from app.policy.match import match_rule, rule_for_order
from app.policy.model import Policy, Rule
from app.policytools.lint import lint
from app.policytools.lint_findings import Timing
from app.policytools.lint_rules import read_rules
from tests.unit.policy.cases import HEAD, NOW, PROCEDURES, facts_of, step_of

ALERTS = "groups: [{name: g, rules: [{alert: HighErrorRate, expr: up == 0}]}]"


def policy_with(*rules: str, head: str = "") -> Policy:
    lines = "".join(f"  - {{{rule}}}\n" for rule in rules)
    return load_policy({"p.yaml": f"{HEAD}{head}rules:\n{lines}" if rules else f"{HEAD}{head}"}, PROCEDURES)


def faults_of(*rules: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        policy_with(*rules)
    return [f"{fault.line}: {fault.message}" for fault in caught.value.faults]


def order_rule(policy: Policy, name: str) -> Rule:
    return rule_for_order(policy, name, {}, PROCEDURES[name].procedure)


def ordered(policy: Policy, name: str, **changes: Any) -> Verdict:
    rule = order_rule(policy, name)
    facts = facts_of(policy, rule, **{"ordered_by": "ana", **changes})
    return decide(policy, rule, step_of(), facts).verdict


def test_a_rule_for_a_procedure_needs_neither_when_nor_target_and_matches_no_alert() -> None:
    policy = policy_with("name: a release, remediation: release")
    assert (policy.rules[0].mode, policy.rules[0].procedure) == (Mode.APPROVE, True)
    assert match_rule(policy, {}) is None
    assert match_rule(policy, {"alertname": "HighErrorRate"}) is None


def test_a_rule_for_anything_else_still_needs_both() -> None:
    assert faults_of("name: a, remediation: restart") == ['4: the key "when" is missing']
    assert faults_of("name: a, remediation: restart, when: a=b") == [
        "4: the target has no name: give name.label, name.default or pod.label"
    ]


def test_a_procedure_may_be_started_by_an_alert_as_well_then_its_rule_is_like_any_other() -> None:
    given = "name: a, remediation: release, when: a=b"
    assert faults_of(given + ", target: {name: {default: x}}") == ['4: the key "image" is missing']
    assert faults_of(given + ", params: {image: x}") == [
        "4: the target has no name: give name.label, name.default or pod.label"
    ]
    policy = policy_with(given + ", params: {image: x}, target: {name: {default: x}}")
    assert match_rule(policy, {"a": "b"}) is not None


def test_a_rule_without_when_is_neither_unreachable_nor_makes_others_so() -> None:
    rules = ["name: a, remediation: release", "name: b, remediation: wipe", "name: c, remediation: recover"]
    policy = policy_with(*rules)
    timing = Timing(now=NOW)
    findings = lint(policy, read_rules({"r.yaml": ALERTS}), timing)
    assert {f.code for f in findings} == {"alert_without_rule"}


def test_nothing_is_earned_without_alerts() -> None:
    assert faults_of("name: a, remediation: release, mode: earned") == [
        "4: a rule without when earns nothing: an order needs no trust level"
    ]


def test_the_rule_of_a_run_reads_back_without_when() -> None:
    rule = policy_with("name: a release, remediation: release").rules[0]
    assert "when" not in rule.to_json()
    assert Rule.from_json(rule.to_json()) == rule


@pytest.mark.parametrize(
    ("name", "rule", "head", "expected"),
    [
        ("release", "", "", Verdict.ALLOW),
        ("wipe", "", "", Verdict.ASK),
        ("recover", "", "", Verdict.ASK),
        ("wipe", "params: {}", "", Verdict.ASK),
        ("wipe", "approval: {by: [ana]}", "", Verdict.ASK),
        ("wipe", "approval: {order_counts: true}", "", Verdict.ALLOW),
        ("wipe", "", "approval: {order_counts: true, by: [ana]}\n", Verdict.ASK),
        ("wipe", "mode: auto", "", Verdict.ASK),
        ("recover", "mode: auto", "", Verdict.ASK),
        ("wipe", "mode: auto, approval: {order_counts: true}", "", Verdict.ALLOW),
        ("recover", "approval: {approvals: 1}", "", Verdict.ASK),
        ("recover", "", "approval: {approvals: 1, order_counts: true}\n", Verdict.ASK),
        ("release", "approval: {four_eyes: true}", "", Verdict.ASK),
        ("release", "mode: observe", "", Verdict.OBSERVE),
    ],
)
def test_only_a_procedures_own_rule_makes_it_ask_less(
    name: str, rule: str, head: str, expected: Verdict
) -> None:
    rules = [f"name: a, remediation: {name}, {rule}"] if rule else []
    assert ordered(policy_with(*rules, head=head), name) is expected


def test_two_people_are_two_also_where_the_policy_asks_for_one_and_more_where_it_asks_for_more() -> None:
    assert order_rule(policy_with(), "recover").approval.approvals == 2
    assert order_rule(policy_with(head="approval: {approvals: 1}\n"), "recover").approval.approvals == 2
    assert order_rule(policy_with(head="approval: {approvals: 3}\n"), "recover").approval.approvals == 3
    rule = "name: a, remediation: recover, cooldown: 1h"
    assert order_rule(policy_with(rule, head="approval: {approvals: 1}\n"), "recover").approval.approvals == 2


def test_an_approved_plan_of_a_procedure_that_asks_goes_on() -> None:
    assert ordered(policy_with(), "wipe", approved_by="eve") is Verdict.ALLOW


@pytest.mark.parametrize(
    ("rule", "head", "timeout", "settle"),
    [
        ("", "", 7, 1),
        ("", "verify: {timeout: 20m}\n", 7, 1),
        ("verify: {timeout: 30m}", "verify: {timeout: 20m}\n", 30, 1),
        ("", "verify: {settle: 2m, timeout: 10m, poll: 10s}\n", 7, 1),
        ("verify: {settle: 9m, timeout: 10m}", "", 10, 9),
    ],
)
def test_a_procedure_is_watched_by_its_own_times_where_its_rule_writes_nothing(
    rule: str, head: str, timeout: int, settle: int
) -> None:
    rules = [f"name: a, remediation: release, {rule}"] if rule else []
    verify = order_rule(policy_with(*rules, head=head), "release").verify
    assert (verify.timeout, verify.settle) == (timedelta(minutes=timeout), timedelta(minutes=settle))


MINUTE_AGO: Any = {"last_action": NOW - timedelta(minutes=1)}


def test_a_second_release_within_a_minute_is_on_purpose_and_an_ordinary_remediation_cools_down() -> None:
    assert ordered(policy_with(), "release", **MINUTE_AGO) is Verdict.ALLOW
    assert ordered(policy_with(), "restart", **MINUTE_AGO) is Verdict.DENY
    rule = "name: a, remediation: release"
    assert ordered(policy_with(rule, head="cooldown: 1h\n"), "release", **MINUTE_AGO) is Verdict.ALLOW
    assert ordered(policy_with(f"{rule}, cooldown: 1h"), "release", **MINUTE_AGO) is Verdict.DENY


def test_an_alert_that_starts_a_procedure_cools_down() -> None:
    given = "name: a, remediation: release, when: a=b, mode: auto, params: {image: x}, target: {name: {default: x}}"
    policy = policy_with(given)
    decision = decide(policy, policy.rules[0], step_of(), facts_of(policy, **MINUTE_AGO))
    assert decision.code is Code.COOLING_DOWN


def test_releases_that_went_well_are_no_flapping_and_those_that_did_not_are_asked_about() -> None:
    policy = policy_with("name: a, remediation: release, mode: auto, approval: {by: [eve]}")
    well = tuple(Past(RunState.FIXED, NOW - timedelta(minutes=m)) for m in range(1, 9))
    badly = tuple(Past(RunState.UNDONE, NOW - timedelta(minutes=m)) for m in range(1, 3))
    assert ordered(policy, "release", results=well) is Verdict.ALLOW
    assert ordered(policy, "release", results=badly) is Verdict.ASK
    given = "name: a, remediation: restart, when: a=b, mode: auto, approval: {by: [eve]}, target: {name: {default: x}}"
    assert ordered(policy_with(given), "restart", results=well) is Verdict.ASK


@pytest.mark.parametrize(
    ("name", "rule", "may", "expected", "why"),
    [
        ("release", "", False, Verdict.ASK, "nobody named: who may only order is no approver"),
        ("release", "", True, Verdict.ALLOW, "nobody named: who may operate is one"),
        ("release", "approval: {by: [ana]}", False, Verdict.ASK, "being named does not replace the scope"),
        ("release", "approval: {by: [ana]}", True, Verdict.ALLOW, "named, and may operate"),
        ("release", "approval: {by: [eve]}", True, Verdict.ASK, "may operate, somebody else is named"),
        ("release", "mode: auto", False, Verdict.ALLOW, "the rule asks nobody"),
        ("wipe", "approval: {order_counts: true}", False, Verdict.ASK, "order_counts is for approvers"),
    ],
)
def test_an_order_is_an_approval_only_of_a_caller_who_may_approve(
    name: str, rule: str, may: bool, expected: Verdict, why: str
) -> None:
    policy = policy_with(*([f"name: a, remediation: {name}, {rule}"] if rule else []))
    assert ordered(policy, name, order_may_approve=may) is expected, why
