"""Gates about amounts: rate limit, budget, blast radius, target busy, flapping, storm."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decision import Code, Mode, Verdict
from app.domain.outcome import RunState
from app.domain.plan import Action, ActionKind, Step
from app.domain.target import Kind, ObjectRef
from app.policy.facts import Past, Replicas, Spend, Unknown
from app.policy.gates.target import at_risk, blast_radius
from app.policy.gates.timing import budget, busy, flapping, rate_limit, storm
from app.policy.match import ledger_keys, scopes_for
from tests.unit.policy.cases import NOW, TARGET, WORKLOAD, action_of, ask_gate, case_of, policy_of, step_of

BUDGETS = """\
budgets:
  - {per: cluster, limit: 10 per 1h}
  - {per: target, limit: 3 per 1h and 7 per 24h}
"""
LIMITS = "limits: {per_target: 2 per 1h, in_all: 5 per 24h}\n"
HOUR = timedelta(hours=1)


def spent(**counts: int) -> dict[Any, Spend]:
    """Spend by scope, named by the key's first word and the limit, e.g. target_3."""
    policy = policy_of(BUDGETS, LIMITS)
    names = {
        f"{'own' if '@' in s.key else s.key.split(':')[0]}_{s.limit.count}": s
        for s in scopes_for(policy, policy.rules[0], TARGET)
    }
    return {
        scope: Spend(counts.get(name, 0), NOW - timedelta(minutes=50) if counts.get(name) else None)
        for name, scope in names.items()
    }


def test_every_action_is_counted_under_all_keys() -> None:
    policy = policy_of(BUDGETS, LIMITS)
    assert ledger_keys(policy.rules[0], TARGET) == (
        "cluster",
        "namespace:rag7",
        "target:rag7/Deployment/langgraph",
        "rule:errors",
        "remediation:high-error-rate",
        "rule:errors@rag7/Deployment/langgraph",
    )
    keys = [(s.key, str(s.limit)) for s in scopes_for(policy, policy.rules[0], TARGET)]
    assert keys == [
        ("rule:errors@rag7/Deployment/langgraph", "2 per 1h"),
        ("rule:errors", "5 per 24h"),
        ("cluster", "10 per 1h"),
        ("target:rag7/Deployment/langgraph", "3 per 1h"),
        ("target:rag7/Deployment/langgraph", "7 per 24h"),
    ]
    assert {key for key, _ in keys} <= set(ledger_keys(policy.rules[0], TARGET))


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({}, Code.ALLOWED),
        ({"cluster_10": 9, "target_3": 2, "target_7": 6}, Code.ALLOWED),
        ({"target_3": 3}, Code.BUDGET_SPENT),
        ({"target_7": 7}, Code.BUDGET_SPENT),
        ({"cluster_10": 10}, Code.BUDGET_SPENT),
        ({"cluster_10": 11}, Code.BUDGET_SPENT),
        ({"own_2": 2, "rule_5": 5}, Code.ALLOWED),
    ],
)
def test_a_shared_budget_has_room_or_not(counts: dict[str, int], code: Code) -> None:
    assert ask_gate(budget, BUDGETS, LIMITS, spend=spent(**counts)).code is code


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"own_2": 1, "rule_5": 4}, Code.ALLOWED),
        ({"own_2": 2}, Code.RATE_LIMITED),
        ({"rule_5": 5}, Code.RATE_LIMITED),
    ],
)
def test_the_rule_s_own_rate_has_room_or_not(counts: dict[str, int], code: Code) -> None:
    assert ask_gate(rate_limit, BUDGETS, LIMITS, spend=spent(**counts)).code is code


def test_room_comes_when_the_oldest_action_leaves_the_last_full_window() -> None:
    result = ask_gate(budget, BUDGETS, LIMITS, spend=spent(target_3=3))
    assert result.retry_at == NOW + timedelta(minutes=10)
    key = "target:rag7/Deployment/langgraph"
    both = ask_gate(budget, BUDGETS, LIMITS, spend=spent(target_3=3, target_7=7))
    assert both.retry_at == NOW + timedelta(hours=23, minutes=10)
    assert both.value == f"3 of 3 per 1h ({key}); 7 of 7 per 24h ({key})"


def test_a_limit_of_zero_never_has_room() -> None:
    result = ask_gate(budget, "budgets: [{per: cluster, limit: 0 per 1h}]\n")
    assert (result.code, result.retry_at, result.remedy) == (Code.BUDGET_SPENT, None, "the limit is raised")


def test_the_tightest_budget_is_shown() -> None:
    result = ask_gate(budget, BUDGETS, LIMITS, spend=spent(cluster_10=1, target_3=1))
    assert result.value == "1 of 3 per 1h (target:rag7/Deployment/langgraph)"


@pytest.mark.parametrize("spend", [Unknown("store is locked"), {}])
def test_uncounted_actions_close_the_gate(spend: Any) -> None:
    assert ask_gate(budget, BUDGETS, LIMITS, spend=spend).code is Code.UNKNOWN_FACT
    assert ask_gate(rate_limit, BUDGETS, LIMITS, spend=spend).code is Code.UNKNOWN_FACT


def test_without_limits_nothing_has_to_be_counted() -> None:
    assert ask_gate(budget, spend=Unknown("x")).verdict is Verdict.ALLOW
    assert ask_gate(rate_limit, spend=Unknown("x")).verdict is Verdict.ALLOW


STATEFUL = ObjectRef(Kind.STATEFUL_SET, "rag7", "cache", "uid-3", "5")
POD = ObjectRef(Kind.POD, "rag7", "langgraph-x", "uid-4", "5")


def removal_of(*, ready: bool) -> Action:
    return replace(action_of(ActionKind.DELETE_POD, 1, POD), params={"ready": ready})


def rolling(pods: int, ref: ObjectRef = WORKLOAD) -> Step:
    return step_of(action_of(ActionKind.ROLL_BACK, pods, ref))


@pytest.mark.parametrize(
    ("step", "replicas", "risk", "verdict"),
    [
        # 30 % of the ready pods, rounded down, at least 1
        (rolling(10), Replicas(10, 10, 10, 3), 3, Verdict.ALLOW),
        (rolling(10), Replicas(10, 10, 10, 4), 4, Verdict.DENY),
        (rolling(3), Replicas(3, 3, 3, 1), 1, Verdict.ALLOW),
        (rolling(3), Replicas(3, 3, 3, 2), 2, Verdict.DENY),
        (rolling(3), Replicas(3, 3, 3, 0), 0, Verdict.ALLOW),
        (rolling(3), Replicas(3, 3, 3, None), 3, Verdict.DENY),  # bound not known: all of them
        (rolling(3), Replicas(3, 3, 3, 3), 3, Verdict.DENY),  # Recreate
        # broken pods count as spent
        (rolling(10), Replicas(10, 9, 10, 3), 2, Verdict.DENY),
        (rolling(10), Replicas(10, 9, 10, 2), 1, Verdict.ALLOW),
        (rolling(10), Replicas(10, 8, 10, 5), 3, Verdict.DENY),
        (rolling(10), Replicas(10, 5, 10, 2), 0, Verdict.ALLOW),
        (
            rolling(4),
            Replicas(4, 2, 4, 4),
            2,
            Verdict.DENY,
        ),  # Recreate takes the ready ones whatever is broken
        # entirely down: nothing is left to lose
        (rolling(3), Replicas(3, 0, 3, 3), 0, Verdict.ALLOW),
        (rolling(3), Replicas(3, 0, 3, None), 0, Verdict.ALLOW),
        # a StatefulSet replaces by ordinal, its ready pod may be next
        (rolling(3, STATEFUL), Replicas(3, 2, 3, 1), 1, Verdict.ALLOW),
        (rolling(3, STATEFUL), Replicas(3, 2, 3, 2), 2, Verdict.DENY),
        # deleting pods
        (step_of(action_of(ActionKind.DELETE_POD, 1, POD)), Replicas(3, 3, 3, 0), 1, Verdict.ALLOW),
        (
            step_of(*[action_of(ActionKind.DELETE_POD, 1, POD)] * 2),
            Replicas(3, 3, 3, 0),
            2,
            Verdict.DENY,
        ),
        # a pod that is not ready is nothing to lose: a stuck StatefulSet's rollback deletes it
        (step_of(removal_of(ready=False)), Replicas(3, 2, 3, 1), 0, Verdict.ALLOW),
        (step_of(removal_of(ready=True)), Replicas(3, 2, 3, 1), 1, Verdict.ALLOW),
        (
            step_of(action_of(ActionKind.ROLL_BACK, 3, STATEFUL), removal_of(ready=False)),
            Replicas(3, 2, 1, 1),
            1,
            Verdict.ALLOW,
        ),
        # scaling up touches no pod
        (step_of(action_of(ActionKind.SCALE, 0)), Replicas(3, 1, 3, None), 0, Verdict.ALLOW),
    ],
)
def test_ready_pods_at_risk_stay_within_the_share(
    step: Step, replicas: Replicas, risk: int, verdict: Verdict
) -> None:
    assert at_risk(step, replicas) == risk
    result = ask_gate(blast_radius, step=step, replicas=replicas)
    assert result.verdict is verdict
    assert (result.code is Code.BLAST_RADIUS) is (verdict is Verdict.DENY)


def test_without_a_minimum_a_small_share_is_nothing() -> None:
    rule = "blast_radius: {pods: 30%, minimum: 0}\n"
    assert (
        ask_gate(blast_radius, rule=rule, step=rolling(3), replicas=Replicas(3, 3, 3, 1)).verdict
        is Verdict.DENY
    )
    assert (
        ask_gate(blast_radius, rule=rule, step=rolling(4), replicas=Replicas(4, 4, 4, 1)).verdict
        is Verdict.ALLOW
    )


@given(
    desired=st.integers(0, 200),
    ready=st.integers(0, 200),
    bound=st.integers(0, 200),
    percent=st.integers(0, 100),
    minimum=st.integers(0, 3),
)
def test_what_is_allowed_never_exceeds_share_and_minimum(
    desired: int, ready: int, bound: int, percent: int, minimum: int
) -> None:
    case = case_of(POLICY, rolling(desired), replicas=Replicas(desired, min(ready, desired), desired, bound))
    radius = case.rule.blast_radius.model_copy(update={"minimum": minimum})
    radius = radius.model_validate_json(radius.model_dump_json().replace('"30%"', f'"{percent}%"'))
    result = blast_radius(replace(case, rule=case.rule.model_copy(update={"blast_radius": radius})))
    if result.verdict is Verdict.ALLOW and desired:
        assert at_risk(rolling(desired), Replicas(desired, min(ready, desired), desired, bound)) <= max(
            minimum, min(ready, desired) * percent // 100
        )


POLICY = policy_of()


@pytest.mark.parametrize(("others", "verdict"), [(0, Verdict.ALLOW), (2, Verdict.ALLOW), (3, Verdict.DENY)])
def test_only_so_many_targets_are_changed_at_the_same_time(others: int, verdict: Verdict) -> None:
    assert ask_gate(blast_radius, targets_in_flight=others).verdict is verdict


@pytest.mark.parametrize("changes", [{"targets_in_flight": Unknown("x")}, {"replicas": Unknown("x")}])
def test_unknown_amounts_close_the_blast_radius(changes: dict[str, Any]) -> None:
    assert ask_gate(blast_radius, **changes).code is Code.UNKNOWN_FACT


def test_a_step_that_touches_no_pod_needs_no_replicas() -> None:
    scale = step_of(action_of(ActionKind.SCALE, 0))
    assert ask_gate(blast_radius, step=scale, replicas=Unknown("x")).verdict is Verdict.ALLOW


def test_one_run_a_target() -> None:
    assert ask_gate(busy).verdict is Verdict.ALLOW
    taken = ask_gate(busy, busy_with="run_7_1")
    assert (taken.code, taken.remedy) == (Code.TARGET_BUSY, "run_7_1 ends")
    assert ask_gate(busy, busy_with=Unknown("x")).code is Code.UNKNOWN_FACT


def past(*states: RunState, hours: int = 1) -> tuple[Past, ...]:
    """Newest first, an hour apart."""
    return tuple(Past(state, NOW - timedelta(hours=hours * (n + 1))) for n, state in enumerate(states))


BAD, GOOD = RunState.NOT_FIXED, RunState.FIXED


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ((), Code.ALLOWED),
        (past(BAD), Code.ALLOWED),
        (past(BAD, BAD), Code.FLAPPING),
        (past(BAD, GOOD, BAD), Code.ALLOWED),
        (past(GOOD, BAD, BAD), Code.ALLOWED),
        (past(RunState.UNDONE, RunState.STUCK), Code.FLAPPING),
        (past(RunState.FAILED, RunState.INCONCLUSIVE), Code.FLAPPING),
        (past(RunState.PROBE_ERROR, RunState.EXPIRED, BAD), Code.FLAPPING),
        (past(RunState.REJECTED, RunState.ABANDONED, RunState.EXPIRED), Code.ALLOWED),
        (past(BAD, BAD, hours=13), Code.ALLOWED),
        (past(BAD, BAD, hours=24), Code.ALLOWED),
        (past(GOOD, GOOD, GOOD), Code.ALLOWED),
        (past(GOOD, GOOD, GOOD, GOOD), Code.FLAPPING),
        (past(GOOD, RunState.REVERTED, GOOD, RunState.REVERTED), Code.FLAPPING),
        (past(BAD, RunState.REVERTED, BAD), Code.ALLOWED),
        (past(GOOD, GOOD, GOOD, GOOD, hours=7), Code.ALLOWED),
    ],
)
def test_after_fixes_that_did_not_hold_a_person_decides(results: tuple[Past, ...], code: Code) -> None:
    result = ask_gate(flapping, rule="flapping: {not_fixed: 2, fixed: 4, within: 24h}\n", results=results)
    assert result.code is code
    assert result.verdict is (Verdict.ALLOW if code is Code.ALLOWED else Verdict.ASK)


def test_what_only_helped_is_not_called_fixed_by_the_circuit_breaker() -> None:
    rule = "flapping: {not_fixed: 2, fixed: 3, within: 24h}\n"
    result = ask_gate(flapping, rule=rule, results=past(GOOD, RunState.STILL_FIRING, RunState.STILL_FIRING))
    assert result.code is Code.FLAPPING
    assert (
        result.value
        == "0 not fixed in a row, 1 fixed within 24h and 2 that only helped, as their alert fired on"
    )
    assert "3 fixed or helped within 24h" in result.threshold


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"approved_by": "ana"}, Verdict.ALLOW),
        ({"ordered_by": "ben"}, Verdict.ALLOW),
        ({"ceiling": Mode.OBSERVE}, Verdict.OBSERVE),
        ({"storm_targets": 10}, Verdict.OBSERVE),
        ({"results": Unknown("x")}, Verdict.DENY),
    ],
)
def test_the_breaker_s_question_is_answered_by_a_person(changes: dict[str, Any], verdict: Verdict) -> None:
    assert ask_gate(flapping, **({"results": past(BAD, BAD)} | changes)).verdict is verdict


@pytest.mark.parametrize(
    ("count", "changes", "verdict"),
    [
        (9, {}, Verdict.ALLOW),
        (10, {}, Verdict.OBSERVE),
        (10, {"approved_by": "ana"}, Verdict.ALLOW),
        (10, {"ordered_by": "ben"}, Verdict.ALLOW),
        (Unknown("x"), {}, Verdict.DENY),
    ],
)
def test_in_a_storm_it_only_looks(count: Any, changes: dict[str, Any], verdict: Verdict) -> None:
    assert ask_gate(storm, storm_targets=count, **changes).verdict is verdict
