"""Lint: what a policy and Prometheus' rules say only together. Table tests by code, and one golden listing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from textwrap import dedent, indent

import pytest
from inline_snapshot import snapshot

from app.policy.faults import PolicyInvalid
from app.policy.load import load_policy
from app.policy.matchers import parse_when
from app.policy.model import Policy
from app.policytools.lint import covers, lint
from app.policytools.lint_findings import Finding, Timing
from app.policytools.lint_rules import AlertingRule, read_rules
from tests.unit.policy.cases import CATALOGUE, policy_of

NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
FITTING = "sum by (namespace, deployment) (rate(x[5m])) > 1"
HEAD = "version: 1\nscope: {namespaces: [rag7]}\n"


def alert(
    expr: str = FITTING, name: str = "HighErrorRate", more: str = "for: 20m"
) -> tuple[AlertingRule, ...]:
    rule = f"- alert: {name}\n  expr: {expr!r}\n{indent(dedent(more), '  ')}"
    return read_rules({"r.yaml": f"groups:\n- name: g\n  rules:\n{indent(rule, '  ')}\n"})


def found(policy: Policy, alerts: tuple[AlertingRule, ...], **timing: timedelta) -> list[Finding]:
    quiet = {"repeat": timedelta(minutes=15), **timing}
    return list(lint(policy, alerts, Timing(NOW, **quiet)))


def codes(findings: list[Finding]) -> list[str]:
    return [f"{f.severity} {f.code}{'' if f.sure else ' unsure'}" for f in findings]


def rules_of(*rules: str, head: str = "") -> Policy:
    items = "".join(f"  - {{remediation: restart, mode: auto, {rule}}}\n" for rule in rules)
    return load_policy({"p.yaml": f"{HEAD}{head}rules:\n{items}"}, CATALOGUE)


TARGET = "target: {name: {label: deployment}}"


def test_a_policy_that_fits_has_no_finding() -> None:
    assert found(policy_of(), alert()) == []


@pytest.mark.parametrize(
    ("expr", "more", "rule", "expected"),
    [
        ("increase(x[10m]) > 0", "", "", ["error clears_too_late"]),
        ("increase(x[8m]) > 0", "", "", []),
        ("increase(x[10m]) > 5", "", "", ["warning clears_too_late unsure"]),
        ("increase(x[10m]) > 0", "", "verify: {timeout: 15m}\n", []),
        ("max_over_time(increase(x[5m])[5m:]) > 0", "", "", ["error clears_too_late unsure"]),
        ("up == 0", "keep_firing_for: 9m", "", ["error clears_too_late"]),
        ("increase(x[5m]) > 0", "keep_firing_for: 5m", "", ["error clears_too_late"]),
    ],
)
def test_an_alert_must_be_able_to_clear_before_verification_gives_up(
    expr: str, more: str, rule: str, expected: list[str]
) -> None:
    alerts = alert(expr, more=f"for: 20m\n{more}")
    assert codes(found(policy_of(rule=rule), alerts)) == expected


@pytest.mark.parametrize(
    ("expr", "more", "expected"),
    [
        ("sum by (namespace) (x)", "", ["error label_missing"]),
        ("sum(x)", "", ["error label_missing", "error label_missing"]),
        ("sum(x)", "labels: {deployment: a}", ["error label_missing"]),
        ("sum by (deployment) (x)", "labels: {namespace: rag7}", []),
        ("sum by (deployment, namespace) (x) or vector(1)", "", ["note labels_unknown unsure"]),
        ("up == 0", "", []),
    ],
)
def test_the_labels_of_the_target_must_come_out_of_the_expression(
    expr: str, more: str, expected: list[str]
) -> None:
    policy = rules_of(f'name: a, when: alertname="HighErrorRate", {TARGET}')
    assert codes(found(policy, alert(expr, more=f"for: 20m\n{more}"))) == expected


def test_with_a_default_a_missing_label_is_a_warning() -> None:
    findings = found(policy_of(), alert("sum(x)"))
    assert codes(findings) == ["warning label_missing", "warning label_missing"]
    assert findings[1].text == snapshot(
        "its alerts never have the label deployment or pod (the expression aggregates it away), so the name is always the default langgraph"
    )


def test_a_default_target_that_only_asks_is_noted_where_the_rule_says_it_acts() -> None:
    target = "target: {name: {label: deployment, default: langgraph}, namespace: {default: rag7}"
    asked = policy_of(rule=f"{target}}}\n")
    assert "note default_target" in codes(found(asked, alert()))
    said = policy_of(rule=f"{target}, on_default: act}}\n")
    assert "note default_target" not in codes(found(said, alert()))


def test_timing_that_does_not_fit_is_noted() -> None:
    policy = policy_of()
    assert codes(found(policy, alert(more="for: 5m"))) == ["note back_before_cooldown"]
    assert codes(found(policy, alert(), repeat=timedelta(hours=4))) == ["note stale_between_repeats"]
    assert codes(found(policy, alert(), repeat=timedelta(minutes=5))) == ["note repeats_in_cooldown"]


def test_alerts_and_rules_that_never_meet() -> None:
    assert codes(found(policy_of(), alert(name="Other"))) == [
        "warning rule_without_alert",
        "note alert_without_rule",
    ]


def test_without_any_alert_no_rule_is_blamed() -> None:
    assert found(policy_of(), ()) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ('alertname=~"A|B"', 'alertname="A"', "error unreachable"),
        ('alertname=~"A|HighErrorRate", namespace="rag7"', 'alertname="HighErrorRate"', ""),
        ('alertname!="X"', 'alertname="HighErrorRate"', "error unreachable"),
        ('alertname=~"High.*"', 'alertname=~"HighErrorRate|HighLatency"', "warning unreachable"),
        ('alertname="X"', 'alertname="HighErrorRate"', "warning rule_without_alert"),
    ],
)
def test_rules_that_an_earlier_one_leaves_nothing(first: str, second: str, expected: str) -> None:
    policy = rules_of(f"name: a, when: '{first}', {TARGET}", f"name: b, when: '{second}', {TARGET}")
    said = codes(found(policy, alert("x > 1")))
    assert [c for c in said if c == expected or "unreachable" in c] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("head", "rule", "text"),
    [
        ("mode: observe\n", "", "the policy's mode is observe"),
        ('windows: [{name: w, dates: ["2020-01-01"], timezone: UTC}]\n', "", "no window opens"),
        ("freeze: [{name: f, timezone: UTC}]\n", "", "the freeze does not end"),
        ("budgets: [{per: cluster, limit: 0 per 1h}]\n", "", "no room for any action"),
        ("", "limits: {per_target: 0 per 1h}", "its limit per_target 0 per 1h has no room"),
        ("", "blast_radius: {pods: 0%, minimum: 0}", "only what touches no ready pod"),
        ("", "mode: observe", "it only looks"),
        ("", "when: 'alertname=\"HighErrorRate\", namespace=\"prod\"'", "namespace prod, outside of the scope"),
    ],
)  # fmt: skip
def test_what_can_never_allow_is_told(head: str, rule: str, text: str) -> None:
    parts = ["name: a", TARGET, "remediation: restart"]
    parts += ([] if rule.startswith("when") else ['when: alertname="HighErrorRate"']) + (
        [rule] if rule else []
    )
    parts += [] if rule.startswith("mode") else ["mode: auto"]
    document = f"{HEAD}{head}rules:\n  - {{{', '.join(parts)}}}\n"
    policy = load_policy({"p.yaml": document}, CATALOGUE)
    never = [f for f in found(policy, alert()) if f.code == "never_allows"]
    assert len(never) == 1
    assert text in never[0].text


def test_a_rule_is_only_perhaps_used_where_a_label_depends_on_the_series() -> None:
    policy = rules_of(
        f'name: a, when: \'alertname="HighErrorRate", deployment="x"\', {TARGET}',
        f"name: b, when: 'alertname=\"HighErrorRate\"', {TARGET}",
    )
    findings = found(policy, alert("increase(x[1h]) > 0"))
    assert [(f.rule, f.sure) for f in findings if f.code == "clears_too_late"] == [("a", False), ("b", True)]
    only_b = found(policy, alert('increase(x{deployment="y"}[1h]) > 0'))
    assert [f.rule for f in only_b if f.code == "clears_too_late"] == ["b"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ('a="1"', 'a="1", b="2"', True),
        ('a="1", b="2"', 'a="1"', False),
        ('a=~"1|2"', 'a="2"', True),
        ('a=~"1|2"', 'a="3"', False),
        ('a!="1"', 'a="2"', True),
        (['a="1"', 'a="2"'], ['a="2", c="3"', 'a="1"'], True),
        (['a="1"'], ['a="1"', 'a="2"'], False),
    ],
)
def test_covering(first: str | list[str], second: str | list[str], expected: bool) -> None:
    assert covers(parse_when(first), parse_when(second)) is expected


def test_findings_read_as_lines() -> None:
    policy = rules_of(
        f'name: a, when: alertname="HighErrorRate", {TARGET}', f'name: b, when: alertname="B", {TARGET}'
    )
    assert "\n".join(map(str, found(policy, alert("sum(increase(x[1h])) > 0")))) == snapshot("""\
error    clears_too_late  rule "a" · HighErrorRate · r.yaml:4: increase over 1h still sees the fault that long after the fix, verification gives it 8m (timeout 10m less settle 2m); anything above zero fires, so no fix is ever seen in time
error    label_missing  rule "a" · HighErrorRate · r.yaml:4: its alerts never have the label namespace (the expression aggregates it away) and the rule has no default, so no namespace is ever found
error    label_missing  rule "a" · HighErrorRate · r.yaml:4: its alerts never have the label deployment (the expression aggregates it away) and the rule has no default, so no name is ever found
warning  rule_without_alert  rule "b": no alert of these files matches it\
""")


def test_rules_are_read_from_manifests_lists_groups_and_several_documents() -> None:
    manifest = """\
    # first
    ---
    kind: PrometheusRule
    spec:
      groups:
      - name: a
        rules:
        - {record: r, expr: x}
        - {alert: A, expr: up == 0, for: 1h, labels: {severity: critical, team: "{{ $labels.team }}"}}
    ---
    kind: List
    items:
    - kind: ConfigMap
      data: {}
    - spec: {groups: [{name: b, rules: [{alert: B, expr: up}]}]}
    ---
    # nothing
    """
    groups = "groups: [{name: c, rules: [{alert: C, expr: up}]}]\n"
    rules = read_rules({"m.yaml": dedent(manifest), "g.yaml": groups})
    assert [(r.name, r.place) for r in rules] == [("A", "m.yaml:9"), ("B", "m.yaml:15"), ("C", "g.yaml:1")]
    assert rules[0].hold == timedelta(hours=1)
    assert (rules[0].label("severity"), rules[0].label("team"), rules[0].label("pod")) == (
        "critical",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("groups: []\n", "r.yaml:1:1: no alerting rule in it"),
        ("a: [\n", "r.yaml:1:5: not YAML"),
        ("groups: [{rules: [{alert: A}]}]\n", "r.yaml:1:19: an alert needs an expr"),
        ("groups:\n- rules:\n  - {alert: A, expr: up, for: soon}\n", "r.yaml:3:31: expected a duration"),
    ],
)
def test_rules_that_cannot_be_read_are_told_with_their_place(text: str, fault: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        read_rules({"r.yaml": text})
    assert str(caught.value.faults[0]).startswith(fault)


ESCALATES = """escalation:
  steps: [{{name: a, who: ['slack:U0ANN']}}]
  paths: [{{severity: [{severity}], {rules}steps: [{{name: b, who: ['slack:U0ANN']}}]}}]
"""


@pytest.mark.parametrize(
    ("severity", "rules", "when", "told"),
    [
        ("warnign", "", 'severity=~"critical|warning"', True),
        ("Warning", "", 'severity=~"critical|warning"', False),  # in any case of letters
        ("warning", "", 'severity=~"critical|warning"', False),
        ("page", "", 'alertname="HighErrorRate"', False),  # a rule for every severity
        ("warning", "rules: [b], ", 'severity="warning"', True),  # of another rule
        ("critical", "", 'severity="warning"', True),
    ],
)
def test_a_path_for_a_severity_that_no_rule_matches_is_told(
    severity: str, rules: str, when: str, told: bool
) -> None:
    head = ESCALATES.format(severity=severity, rules=rules)
    other = f"name: b, when: 'severity=\"none\"', {TARGET}"
    policy = rules_of(f"name: a, when: '{when}', {TARGET}", other, head=head)
    places = [f.place for f in found(policy, ()) if f.code == "severity_unmatched"]
    assert places == (["escalation.paths[0].severity[0]"] if told else [])
