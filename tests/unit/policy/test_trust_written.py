"""Mode earned as teams write it: in policies, in test cases, in replays of recorded alerts, and what the lint says of it."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from app.domain.decision import Mode
from app.domain.quantities import Percent
from app.policy.faults import PolicyInvalid
from app.policy.model import Promotion, Proof, Rule, Start, TargetClass, TrustTerms
from app.policytools.assumed import World
from app.policytools.backtest_known import Assumptions
from app.policytools.cases import read_cases
from app.policytools.hypothetical import explain_alert
from app.policytools.lint_trust import trust_findings
from app.policytools.testing import run_cases
from tests.unit.policy.cases import CATALOGUE, NOW, policy_of
from tests.unit.policy.test_backtest import Workflow

EARNED = "mode: earned\n"


def faults_of(head: str = "", rule: str = "") -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        policy_of(head, rule)
    return [str(f) for f in caught.value.faults]


def test_what_a_rule_does_not_say_it_takes_from_the_policy_and_the_rest_is_safe() -> None:
    assert policy_of(rule=EARNED).rules[0].trust == TrustTerms(
        per=TargetClass.KIND,
        start=Start.OBSERVE,
        approve=Proof(runs=3, bound=0.4),
        auto=Proof(runs=10, bound=0.7),
        promotion=Promotion.AUTOMATIC,
        confidence=Percent(9_500),
    )
    head = "trust: {per: target, auto: {runs: 30, bound: 0.85}, promotion: asked}\n"
    own = policy_of(head, EARNED + "trust: {start: approve, per: namespace}\n").rules[0].trust
    assert (own.per, own.start, own.promotion) == (TargetClass.NAMESPACE, Start.APPROVE, Promotion.ASKED)
    assert (own.approve.runs, own.auto.runs, own.auto.bound) == (3, 30, 0.85)


def test_a_rule_survives_the_store_and_one_of_an_older_version_is_read() -> None:
    rule = policy_of(rule=EARNED + "trust: {confidence: 99%}\n").rules[0]
    assert Rule.from_json(rule.to_json()) == rule
    old = {k: v for k, v in rule.to_json().items() if k != "trust"}
    assert Rule.from_json(old).trust == TrustTerms()


@pytest.mark.parametrize(
    ("head", "rule", "place", "message"),
    [
        ("mode: earned\n", "", "3:7", "a ceiling is observe, approve or auto; earned is a rule's mode"),
        ("", EARNED + "cooldown: 0s\n", "9:15", "mode earned needs a cooldown above 0s"),
        ("trust: {bound: 0.4}\n", "", "3:9", 'unknown key "bound"'),
        ("trust: {start: auto}\n", "", "3:16", 'unknown value "auto"'),
        ("trust: {per: pod}\n", "", "3:14", 'unknown value "pod"'),
        ("trust: {promotion: manual}\n", "", "3:20", 'unknown value "manual"'),
        ("trust: {auto: {runs: 3}}\n", "", "3:15", 'the key "bound" is missing'),
        ("trust: {auto: {runs: 0, bound: 0.5}}\n", "", "3:22", "greater than or equal to 1"),
        ("trust: {auto: {runs: 2000, bound: 0.5}}\n", "", "3:22", "less than or equal to 1000"),
        ("trust: {auto: {runs: 3, bound: 1}}\n", "", "3:32", "less than 1"),
        ("trust: {auto: {runs: 3, bound: 70%}}\n", "", "3:32", "valid number"),
        ("trust: {confidence: 100%}\n", "", "3:21", "expected a confidence from 50% to 99.99%, got 100%"),
        ("trust: {confidence: 49%}\n", "", "3:21", "expected a confidence from 50% to 99.99%, got 49%"),
        ("trust: {confidence: 0.95}\n", "", "3:21", "expected a percentage"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(head: str, rule: str, place: str, message: str) -> None:
    (fault,) = faults_of(head, rule)
    assert fault.startswith(f"policy.yaml:{place}: ")
    assert message in fault


def lint(head: str = "", rule: str = "") -> list[str]:
    policy = policy_of(head, rule)
    return [f"{f.severity} {f.code}" for f in trust_findings(policy, policy.rules[0])]


@pytest.mark.parametrize(
    ("trust", "found"),
    [
        ("{}", []),
        ("{auto: {runs: 10, bound: 0.996}}", ["note autonomy_runs"]),
        ("{auto: {runs: 10, bound: 0.997}}", ["error never_earned"]),
        ("{approve: {runs: 1, bound: 0.999}}", ["error never_earned", "warning autonomy_upside_down"]),
        ("{auto: {runs: 9, bound: 0.7}}", []),
        ("{auto: {runs: 8, bound: 0.7}}", ["note autonomy_runs"]),
        ("{approve: {runs: 20, bound: 0.4}}", ["warning autonomy_upside_down"]),
        ("{auto: {runs: 10, bound: 0.3}}", ["warning autonomy_upside_down"]),
        ("{per: namespace}", ["note autonomy_wide"]),
        ("{confidence: 99.99%, auto: {runs: 10, bound: 0.99}}", ["error never_earned", "note autonomy_runs"]),
    ],
)
def test_numbers_that_do_not_mean_what_they_seem_to_are_told(trust: str, found: list[str]) -> None:
    assert sorted(lint(rule=f"{EARNED}trust: {trust}\n")) == sorted(found)


def test_a_level_that_a_ceiling_takes_away_and_a_block_that_nothing_uses_are_told() -> None:
    assert lint("mode: approve\n", EARNED) == ["note autonomy_capped"]
    assert lint(rule="trust: {per: target}\n") == ["note autonomy_unused"]
    assert lint("trust: {per: target}\n") == []


def test_what_the_lint_says_has_the_numbers() -> None:
    policy = policy_of(
        rule=EARNED + "trust: {approve: {runs: 3, bound: 0.5}, auto: {runs: 5, bound: 0.999}}\n"
    )
    assert [f.text for f in trust_findings(policy, policy.rules[0])] == [
        "level approve takes 4 fixed runs in a row, not 3: 3 of 3 prove 0.43, not 0.50",
        "level auto is never earned: even 1000 of 1000 fixed prove 0.9962, not 0.999",
    ]


def differences(history: str, expected: str, rule: str = EARNED) -> list[str]:
    case = f"name: x\nalert: {{alertname: HighErrorRate}}\n{history}\nexpect: {expected}\n"
    text = f"version: 1\ncases:\n  - {indent(case, '    ').lstrip()}"
    report = run_cases(policy_of(rule=rule), CATALOGUE, read_cases({"p.test.yaml": text}))
    return list(report.results[0].differences)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ("", "{verdict: observe, code: not_earned, gates: {trust: observe}}"),
        ("history: {trust_level: observe}", "{verdict: observe}"),
        ("history: {trust_level: approve}", "{verdict: ask, code: not_earned}"),
        ("history: {trust_level: auto}", "{verdict: allow, gates: {trust: allow}}"),
        ("history: {trust_level: {level: approve, fixed: 9, runs: 10, since: 20d}}", "{verdict: ask}"),
        ("history: {trust_level: {level: approve, fixed: 12, waits: true}}", "{gates: {trust: ask}}"),
        ("history: {trust_level: approve}\npeople: {approved_by: ana}", "{verdict: allow}"),
        ("people: {ordered_by: ben, may_approve: true}", "{verdict: allow}"),
        ("people: {ordered_by: ben}", "{verdict: ask}"),
        ("unknown: [trust_level]", "{verdict: deny, code: unknown_fact, gates: {trust: unknown_fact}}"),
    ],
)
def test_a_case_gives_the_trust_level(history: str, expected: str) -> None:
    assert differences(history, expected) == []


def test_a_trust_level_says_nothing_in_other_modes() -> None:
    assert differences("history: {trust_level: observe}", "{verdict: allow}", rule="mode: auto\n") == []


def test_a_case_shows_the_numbers_when_it_fails() -> None:
    found = differences("history: {trust_level: {level: approve, fixed: 9, runs: 10}}", "{verdict: allow}")
    assert found[1] == (
        "because: trust: not_earned: level approve: 9 of 10 fixed since 2 Feb 2026, lower bound 0.59 of 0.70 needed"
        " (allowed: level auto, from 10 runs and a lower bound of 0.70, or an approval)"
    )


@pytest.mark.parametrize(
    ("trust_level", "message"),
    [
        ("{level: auto, fixed: 3, runs: 2}", "more runs were fixed than counted"),
        ("{level: earned}", "a ceiling is observe, approve or auto"),
        ("{fixed: 3}", 'the key "level" is missing'),
    ],
)
def test_a_trust_level_that_cannot_be_is_refused(trust_level: str, message: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        differences(f"history: {{trust_level: {trust_level}}}", "{verdict: allow}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("level", "text", "assumed"),
    [
        (None, "Only observing: trust", "its trust level is level observe, and no run was counted there yet"),
        (
            Mode.APPROVE,
            "Waiting for a person",
            "its trust level is level approve, and no run was counted there yet",
        ),
        (Mode.AUTO, "Allowed by rule", "its trust level is level auto, and no run was counted there yet"),
    ],
)
def test_a_hypothetical_alert_is_explained_at_any_level(level: Mode | None, text: str, assumed: str) -> None:
    world = World(policy_of(rule=EARNED), CATALOGUE, level=level)
    lines, _ = explain_alert(world, {"alertname": "HighErrorRate"}, NOW)
    assert lines[0].startswith(text)
    assert f"- {assumed}" in lines


LAX = dedent("""
    mode: earned
    trust: {start: approve, auto: {runs: 2, bound: 0.3}}
    flapping: {not_fixed: 9, fixed: 99, within: 1h}
""")


def test_a_replay_promotes_by_what_its_runs_would_have_proved() -> None:
    timeline = Workflow(policy_of(rule=LAX), Assumptions(approvals="approved"))
    words = [timeline.fires(60 * n, 3) for n in range(4)]
    assert words == ["asked not_earned", "asked not_earned", "acted allowed", "acted allowed"]


def test_a_replay_whose_runs_do_not_help_demotes_each_time_and_then_only_looks() -> None:
    timeline = Workflow(policy_of(rule=LAX), Assumptions(fixed=False, level=Mode.AUTO, approvals="approved"))
    words = [timeline.fires(60 * n, 3, deployment=f"d{n}") for n in range(4)]
    assert words == ["acted allowed", "asked not_earned", "observed not_earned", "observed not_earned"]


def test_a_replay_keeps_trust_levels_apart_by_class() -> None:
    policy = policy_of(rule=LAX.replace("{start", "{per: target, start"))
    timeline = Workflow(policy, Assumptions(fixed=False, level=Mode.AUTO, approvals="approved"))
    assert [timeline.fires(60 * n, 3, deployment=f"d{n}") for n in range(3)] == ["acted allowed"] * 3


def test_a_question_that_nobody_answers_counts_for_nothing() -> None:
    timeline = Workflow(policy_of(rule=LAX))
    assert [timeline.fires(60 * n, 50) for n in range(4)] == ["asked not_earned"] * 4
