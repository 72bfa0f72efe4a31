"""A team's test cases: read strictly, run through the live gates, told with what differs and what is not covered."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest
from inline_snapshot import snapshot

from app.domain.errors import BadInput
from app.policy.faults import PolicyInvalid
from app.policytools.cases import PolicyCase, parse_instant, read_cases
from app.policytools.testing import Report, report_lines, run_cases
from tests.unit.policy.cases import CATALOGUE, policy_of

SECOND_RULE = """
- name: restarts
  when: alertname="Crash"
  remediation: restart
  target: {name: {label: deployment}}
  mode: auto
"""
LIMITED = (
    "budgets:\n  - {per: cluster, limit: 4 per 1h and 6 per 24h}\n",
    "limits: {per_target: 2 per 1h}\nblocked_by: ['alertname=\"UpgradeRunning\"']\n",
)


def cases_of(*cases: str, head: str = "") -> tuple[PolicyCase, ...]:
    """A file of cases, each given its lines."""
    items = [f"  - {indent(dedent(c).strip(), '    ').lstrip()}\n" for c in cases]
    return read_cases({"p.test.yaml": f"version: 1\n{head}cases:\n{''.join(items)}"})


def run(*cases: str, head: str = "") -> Report:
    policy = policy_of(*LIMITED, more_rules=SECOND_RULE)
    return run_cases(policy, CATALOGUE, cases_of(*cases, head=head))


def one(text: str) -> list[str]:
    """What differs in one case about HighErrorRate."""
    (result,) = run(
        f"name: x\n{dedent(text)}"
        + ("" if "\nalert:" in f"\n{text}" else "alert: {alertname: HighErrorRate}")
    ).results
    return list(result.differences)


def faults_of(text: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        read_cases({"p.test.yaml": dedent(text)})
    return [str(f) for f in caught.value.faults]


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        ("", "{verdict: allow, code: allowed, rule: errors, target: rag7/Deployment/langgraph, step: roll-back}"),
        ("time: {resolved: true}", "{code: not_firing}"),
        ("time: {fired: 16m}", "{code: stale, gates: {freshness: deny}}"),
        ("time: {fired: 1h, last_seen: 1m}", "{verdict: allow}"),
        ("cluster: {exists: false}", "{code: target_not_found, step: none}"),
        ("cluster: {target: rag7/Deployment/other}", "{target: rag7/Deployment/other}"),
        ("cluster: {managers: [hpa, flux]}", "{verdict: ask, code: owned}"),
        ("cluster: {marks: {namespace: 'false'}}", "{code: opted_out}"),
        ("cluster: {replicas: {desired: 4, ready: 3, at_once: 4}}", "{code: blast_radius}"),
        ("cluster: {replicas: 40}", "{verdict: allow, gates: {blast radius: allow}}"),
        ("history: {spend: {own: [5m, 50m]}}", "{code: rate_limited}"),
        ("history: {spend: {own: [5m, 61m]}}", "{verdict: allow}"),
        ("history: {spend: {cluster: [2h, 3h, 4h, 5h, 6h, 7h]}}", "{code: budget_spent}"),
        ("history: {spend: {cluster: 4}}", "{code: budget_spent}"),
        ("history: {last_action: 14m}", "{code: cooling_down}"),
        ("history: {last_action: '2026-03-04T11:45:00Z'}", "{verdict: allow}"),
        ("history: {results: [not_fixed, {state: undone, ago: 23h}]}", "{code: flapping, verdict: ask}"),
        ("history: {results: [not_fixed, {state: undone, ago: 25h}]}", "{verdict: allow}"),
        ("history: {firing: [UpgradeRunning]}", "{code: blocking_alert, gates: {blocking alerts: blocking_alert}}"),
        ("history: {firing: [{alertname: SomethingElse}]}", "{verdict: allow}"),
        ("history: {pauses: [{scope: 'rule:errors', until: '2026-03-04T13:00:00Z'}]}", "{code: paused}"),
        ("history: {pauses: [{scope: all, until: '2026-03-04T11:00:00Z'}]}", "{verdict: allow}"),
        ("history: {busy: run_7}", "{code: target_busy}"),
        ("history: {in_flight: 3}", "{code: blast_radius}"),
        ("history: {storm_targets: 10}", "{verdict: observe, code: storm}"),
        ("people: {ceiling: approve}", "{code: approval_needed}"),
        ("people: {ceiling: approve, approved_by: erin}", "{verdict: allow}"),
        ("people: {dry_run: true}", "{verdict: allow, code: dry_run}"),
        ("step: {name: scale-up}", "{step: scale-up, gates: {blast radius: allow}}"),
        ("step: {kinds: [delete-pod], pods: 2}", "{code: blast_radius}"),
        ("step: {applies: false}", "{code: no_step, step: none}"),
        ("step: {applies: false, advice: make the secret}", "{code: person_needed}"),
        ("alert: {alertname: Other}", "{verdict: observe, code: no_rule, rule: none, target: none}"),
        ("alert: {alertname: Crash}", "{code: no_target, rule: restarts}"),
        ("unknown: [replicas]", "{code: unknown_fact, gates: {blast radius: deny}}"),
        ("unknown: [alert, busy, in_flight, paused]", "{gates: {freshness: deny, target busy: deny, ownership: deny}}"),
    ],
)  # fmt: skip
def test_a_situation_comes_out_as_the_gates_say(situation: str, expected: str) -> None:
    assert one(f"{situation}\nexpect: {expected}\n") == []


def test_what_differs_is_told_with_the_gate_that_decided() -> None:
    assert one(
        "history: {last_action: 5m}\nexpect: {verdict: allow, rule: restarts, gates: {cooldown: allow, scope: deny}}\n"
    ) == snapshot(
        [
            "verdict: expected allow, got deny",
            "rule: expected restarts, got errors",
            "gate cooldown: expected allow, got deny (cooling_down: last action 5m ago)",
            "gate scope: expected deny, got allow (allowed: namespace rag7)",
            "because: cooldown: cooling_down: last action 5m ago (allowed: 15m since the last action)",
        ]
    )


def test_a_gate_that_nobody_asked_is_a_difference() -> None:
    found = one("cluster: {exists: false}\nexpect: {gates: {window: allow}}\n")
    assert found[0] == "gate window: expected allow, but no gate was asked"


def test_the_report_has_a_line_for_each_case_and_the_coverage() -> None:
    report = run(
        "{name: fine, alert: {alertname: HighErrorRate}, expect: {verdict: allow}}",
        "{name: wrong, alert: {alertname: HighErrorRate}, history: {busy: run_1}, expect: {verdict: ask}}",
    )
    assert "\n".join(report_lines(report)) == snapshot("""\
ok      p.test.yaml  fine
FAILED  p.test.yaml:4  wrong
        verdict: expected ask, got deny
        because: target busy: target_busy: run_1 is at work (allowed: no other run at work on the target)

2 cases: 1 ok, 1 failed
rules reached by a case: 1 of 2; not: "restarts"
gates that a case finds closed: 1 of 17; not: "kill switch", "scope", "freshness", "hands", "ownership", "window", "blocking alerts", "cooldown", "rate limit", "budget", "new pods", "blast radius", "flapping", "storm", "trust", "approval"\
""")
    assert report.to_json()["rules"] == {"covered": 1, "uncovered": ["restarts"]}
    assert (report.failed, report.uncovered) == (1, ("restarts",))


def test_several_alerts_must_all_come_out_alike() -> None:
    (result,) = run(
        "{name: x, alerts: [{alertname: HighErrorRate}, {alertname: Other}], expect: {rule: errors}}"
    ).results
    assert result.differences[0] == "Other: rule: expected errors, got none"


def test_the_defaults_of_a_file_stand_under_each_case_field_by_field() -> None:
    head = "defaults: {cluster: {replicas: 5, managers: [argocd]}}\n"
    case = "{name: x, alert: {alertname: HighErrorRate}, cluster: {managers: []}, expect: {verdict: allow}}"
    (result,) = run(case, head=head).results
    assert result.ok
    assert result.case.written.cluster.replicas == 5


def test_a_step_that_the_remediation_lacks_is_told_with_its_place() -> None:
    with pytest.raises(
        BadInput, match=r'p.test.yaml:3: step.name: high-error-rate has no step "fly"; there are roll-back'
    ):
        one("step: {name: fly}\nexpect: {verdict: allow}\n")


def test_faults_have_file_line_and_column() -> None:
    assert faults_of(
        """\
        version: 1
        cases:
          - name: a
            alert: {alertname: X, code: 500}
            expect: {verdict: alow}
          - name: b
            alert: {alertname: X}
            expcet: {verdict: deny}
        """
    ) == snapshot(
        [
            "p.test.yaml:4:33: expected text, got 500",
            'p.test.yaml:5:23: unknown value "alow", did you mean "allow"? (allowed: deny, ask, observe, allow)',
            'p.test.yaml:6:5: the key "expect" is missing',
            'p.test.yaml:8:5: unknown key "expcet", did you mean "expect"? (allowed: cluster, time, history, people, step, name, alert, alerts, unknown, expect)',
        ]
    )


def test_cases_that_cannot_mean_anything_are_refused() -> None:
    assert faults_of(
        """\
        version: 1
        cases:
          - {name: a, expect: {verdict: deny}}
          - {name: a, alert: {alertname: X}, expect: {}}
          - name: c
            alert: {alertname: X}
            time: {fired: 1m, last_seen: 5m}
            expect: {gates: {windows: deny}}
        """
    ) == snapshot(
        [
            "p.test.yaml:3:5: a case has an alert or several alerts, with at least one label",
            'p.test.yaml:4:12: the name "a" is taken in this file',
            "p.test.yaml:4:46: nothing is expected, so this case cannot fail",
            "p.test.yaml:7:11: the order must be fired, last_seen, now",
            'p.test.yaml:8:22: unknown gate "windows", did you mean "window"? (allowed: kill switch, scope, freshness, hands, ownership, window, blocking alerts, cooldown, rate limit, budget, new pods, blast radius, target busy, flapping, storm, trust, approval)',
        ]
    )


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-06T17:00:00+01:00", "2026-03-06T16:00:00+00:00"),
        ("2026-07-06 17:00 Europe/Berlin", "2026-07-06T15:00:00+00:00"),
        ("2026-07-06T17:00:30Z", "2026-07-06T17:00:30+00:00"),
    ],
)
def test_instants_have_a_zone(text: str, utc: str) -> None:
    assert parse_instant(text).isoformat() == utc


@pytest.mark.parametrize(
    "text", ["2026-03-06T17:00:00", "yesterday", "2026-03-06 17:00 Mars/Base", 7, "17:00 UTC"]
)
def test_instants_without_a_zone_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"zone|instant"):
        parse_instant(text)
