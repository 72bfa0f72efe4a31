"""Whoever waits no longer for a policy is not kept by it: reading it ends wherever it is, soon after."""

from __future__ import annotations

import itertools

import pytest

from app.policy.load import load_policy
from app.policytools.backtest_stored import compare
from remediations import CATALOGUE

RULE = """
  - name: rule {n}
    when: alertname="A{n}"
    target: {{kind: Deployment, name: {{label: deployment}}, namespace: {{label: namespace}}}}
    remediation: high-latency
"""
TEXTS = {
    "a.yaml": "version: 1\nscope: {namespaces: [shop]}\nrules:" + "".join(RULE.format(n=n) for n in range(20))
}


def asked() -> int:
    """How often it looks whether it is over."""
    looks = itertools.count()

    def over() -> bool:
        next(looks)
        return False

    load_policy(TEXTS, CATALOGUE, over)
    return next(looks)


def test_it_looks_at_each_value_and_each_rule() -> None:
    values = 20 * 13
    assert asked() > values + 2 * 20


@pytest.mark.parametrize("after", [0, 100, 330, 350])
def test_it_ends_where_it_is(after: int) -> None:
    assert after < asked()
    looks = itertools.count()
    with pytest.raises(TimeoutError):
        load_policy(TEXTS, CATALOGUE, lambda: next(looks) >= after)
    assert next(looks) == after + 1, "and at once"


def test_a_replay_that_is_over_does_not_read_its_policy() -> None:
    in_force = load_policy(TEXTS, CATALOGUE)
    with pytest.raises(TimeoutError):
        compare({"a.yaml": "no: {policy"}, in_force, (), CATALOGUE, lambda: True)
