"""Whom the policy asks: the runbook's times by default, paths by severity and rule, the stricter of two policies, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.policy.escalation import EscalationPolicy, EscalationStep, answer_within, left, steps_of
from app.policy.faults import PolicyInvalid
from app.policy.load import load_policy
from app.policy.model import Policy
from remediations import CATALOGUE

M = timedelta(minutes=1)
HEAD = "version: 1\nscope: {namespaces: [rag7]}\n"
RULE = 'rules:\n  - {name: slow, when: alertname="A", target: {name: {label: deployment}}, remediation: high-latency}\n'
WHO = "who: ['slack:U0ANN']"
STEPS = f"""escalation:
  steps:
    - {{name: on-call engineer, {WHO}, page: true}}
    - {{name: secondary on-call, {WHO}}}
    - {{name: engineering manager, {WHO}}}
    - {{name: everybody, {WHO}}}
"""


def loaded(text: str) -> Policy:
    return load_policy({"a.yaml": HEAD + RULE + text}, CATALOGUE)


def escalation(text: str = STEPS) -> EscalationPolicy:
    found = loaded(text).escalation
    assert found is not None
    return found


def test_the_runbooks_times_are_the_defaults_by_place() -> None:
    within = [step.answer_within for step in escalation().steps_for("critical", "slow")]
    assert within == [15 * M, 30 * M, 60 * M, 60 * M]


def test_without_a_block_one_page_is_all() -> None:
    assert loaded("").escalation is None
    assert steps_of(None, "critical", "slow") == (EscalationStep(name="on-call", page=True),)


PATHS = f"""  paths:
    - {{severity: [warning, info], rules: [slow], steps: [{{name: slow team, {WHO}}}]}}
    - {{severity: [warning], steps: [{{name: by day, {WHO}, answer_within: 4h}}]}}
    - {{rules: [slow], steps: [{{name: owner, {WHO}}}]}}
"""


@pytest.mark.parametrize(
    ("severity", "rule", "first"),
    [
        ("warning", "slow", "slow team"),
        ("warning", "other", "by day"),
        ("critical", "slow", "owner"),
        ("Warning", "other", "by day"),  # in any case of letters
        ("critical", "", "on-call engineer"),
        ("", "", "on-call engineer"),
    ],
)
def test_the_first_path_that_covers_it_has_the_steps(severity: str, rule: str, first: str) -> None:
    assert steps_of(escalation(STEPS + PATHS), severity, rule)[0].name == first


def step(name: str, minutes: int | None = None, who: str = "slack:U0ANN") -> EscalationStep:
    return EscalationStep(name=name, who=(who,), answer_within=None if minutes is None else minutes * M)


@pytest.mark.parametrize(
    ("begun", "now", "asked", "expected"),
    [
        ([step("a", 5), step("b", 9)], [step("a", 5), step("b", 9)], ["a"], [("b", 9)]),
        ([step("a", 5), step("b", 9)], [step("a", 5), step("b", 20)], ["a"], [("b", 9)]),  # never longer
        ([step("a", 5), step("b", 9)], [step("a", 5), step("b", 3)], ["a"], [("b", 3)]),
        ([step("a", 5), step("b", 9)], [step("a", 5)], ["a"], [("b", 9)]),  # none is dropped
        ([step("a", 5)], [step("a", 5), step("new", 7)], ["a"], [("new", 7)]),
        ([step("a", 5), step("b", 9)], [step("b", 9), step("a", 5)], ["a"], [("b", 9)]),  # asked stays asked
        ([step("a", 5)], [step("x", 7)], ["a"], [("x", 7)]),
        ([step("a", 5)], [step("a", 5)], ["a"], []),
        ([], [step("a", 5)], [], [("a", 5)]),
    ],
)
def test_the_stricter_of_both_policies_says_what_is_left(
    begun: list[EscalationStep],
    now: list[EscalationStep],
    asked: list[str],
    expected: list[tuple[str, int]],
) -> None:
    found = left(begun, now, asked)
    assert [(s.name, s.answer_within) for s in found] == [(name, n * M) for name, n in expected]


def test_whom_a_step_asks_is_what_the_policy_in_force_says() -> None:
    (found,) = left([step("a", 5, "slack:U0OLD")], [step("a", 5, "slack:U0NEW")], [])
    assert found.who == ("slack:U0NEW",)


@pytest.mark.parametrize(
    ("begun", "now", "expected"), [(5, 9, 5), (9, 5, 5), (None, 5, 5), (5, None, 5), (None, None, None)]
)
def test_the_shorter_time_counts(begun: int | None, now: int | None, expected: int | None) -> None:
    found = answer_within("a", [step("a", begun)], [step("a", now)])
    assert found == (None if expected is None else expected * M)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  steps: []\n", "no step"),
        ("  steps: [{name: a}]\n", "asks nobody"),
        (f"  steps: [{{name: a, {WHO}}}, {{name: a, {WHO}}}]\n", 'the name "a" is taken'),
        (f"  steps: [{{name: a b, {WHO}}}, {{name: 'a  b ', {WHO}}}]\n", 'the name "a  b " is taken'),
        (
            f"  steps: [{{name: a, {WHO}}}]\n  paths: [{{severity: ['page '], steps: [{{name: b, {WHO}}}]}}]\n",
            "no alert has this severity: write 'page'",
        ),
        (
            f'  steps: [{{name: a, {WHO}}}]\n  paths: [{{severity: ["pa\\u200bge"], steps: [{{name: b, {WHO}}}]}}]\n',
            "no alert has this severity",
        ),
        ("  steps: [{name: a, page: true}, {name: b, page: true}]\n", "wakes nobody"),
        (f"  steps: [{{name: a, {WHO}, answer_within: 30s}}]\n", "less than 1m"),
        ("  steps: [{name: a, who: ['@ann']}]\n", ""),
        (f"  steps: [{{name: a, {WHO}, after: 5m}}]\n", 'unknown key "after"'),
        (f"  steps: [{{name: a, {WHO}}}]\n  paths: [{{steps: [{{name: b, {WHO}}}]}}]\n", "covers everything"),
        (
            f"  steps: [{{name: a, {WHO}}}]\n  paths: [{{rules: [slwo], steps: [{{name: b, {WHO}}}]}}]\n",
            'unknown rule "slwo", did you mean "slow"?',
        ),
        (
            (
                f"  steps: [{{name: a, {WHO}}}]\n  paths:\n    - {{severity: [x, y], steps: [{{name: b, {WHO}}}]}}\n"
                f"    - {{severity: [x], rules: [slow], steps: [{{name: b, {WHO}}}]}}\n"
            ),
            "never reached",
        ),
        (f"  steps: [{{name: a, {WHO}}}]\n  status_page: {{fields: {{x: labels}}}}\n", "labels"),
        (
            f"  steps: [{{name: a, {WHO}}}]\n  status_page: {{fields: {{x: id}}, constants: {{x: y}}}}\n",
            '"x" is a field already',
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        loaded(f"escalation:\n{text}")
    (fault, *_) = caught.value.faults
    assert message in fault.message
    assert fault.file == "a.yaml"
    assert fault.line > 4


def test_a_rule_of_another_file_may_be_named() -> None:
    one = {"a.yaml": f"version: 1\n{STEPS}{PATHS}", "b.yaml": HEAD + RULE}
    assert load_policy(one, CATALOGUE).escalation is not None


def test_everybody_whom_any_step_asks_may_answer() -> None:
    assert escalation(STEPS + PATHS).named == {"slack:U0ANN"}
