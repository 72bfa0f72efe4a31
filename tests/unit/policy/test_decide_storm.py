"""Decisions in a storm: nobody is called for one target, and from a certain size on nobody looks at single targets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.domain.decision import Code, Decision, Verdict
from app.domain.plan import Step
from app.policy.decide import GATES, decide_unseen, decide_without_step
from app.policy.explain import explain_lines
from app.policy.facts import Pause, Unknown
from app.policy.model import Storm
from tests.unit.policy.cases import NOW, facts_of, policy_of

POLICY = policy_of("budgets: [{per: cluster, limit: 10 per 1h}]\n")
NOT_LOOKED = Unknown("nobody looks at single targets in a storm of this size")
UNSEEN = {
    "marks": NOT_LOOKED,
    "managers": NOT_LOOKED,
    "rollout_paused": NOT_LOOKED,
    "replicas": NOT_LOOKED,
    "storm_targets": 10_000,
}


def unseen(**changes: Any) -> Decision:
    return decide_unseen(POLICY, POLICY.rules[0], facts_of(POLICY, **{**UNSEEN, **changes}))


def test_what_nobody_looked_at_is_put_off_and_the_storm_is_the_reason() -> None:
    decision = unseen()
    assert (decision.verdict, decision.code) == (Verdict.OBSERVE, Code.STORM)
    assert decision.text.startswith(
        "Only observing: storm: 10,000 targets with new alerts within 5m (allowed: fewer"
    )
    assert len(decision.gates) == len(GATES)
    put_off = {g.gate: g for g in decision.gates if g.code is Code.UNKNOWN_FACT}
    assert set(put_off) == {"scope", "ownership"}
    assert {g.verdict for g in put_off.values()} == {Verdict.OBSERVE}
    lines = explain_lines(decision)
    assert "- scope: the storm is over, then the cluster is looked at" in lines
    assert "- storm: fewer targets are in trouble, or a person orders the remediation" in lines


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pauses": (Pause("all", "upgrade", "kim"),)}, Code.KILL_SWITCH),
        ({"last_action": NOW - timedelta(minutes=4)}, Code.COOLING_DOWN),
        ({"busy_with": "run_1"}, Code.TARGET_BUSY),
        ({"targets_in_flight": 3}, Code.BLAST_RADIUS),
        ({"last_seen": NOW - timedelta(hours=1)}, Code.STALE),
    ],
)
def test_what_the_store_knows_still_denies(changes: dict[str, Any], code: Code) -> None:
    decision = unseen(**changes)
    assert (decision.verdict, decision.code) == (Verdict.DENY, code)


def test_a_storm_of_five_times_the_policys_size_is_not_looked_at() -> None:
    assert Storm(targets=10).blinding == 50


@pytest.mark.parametrize("ladder", [(), (Step("fix-by-hand", "a secret is missing", advice="create it"),)])
def test_in_a_storm_nobody_is_called_for_one_target(ladder: tuple[Step, ...]) -> None:
    """A dead database breaks a thousand targets at once, and no step helps on any of them."""
    calm = decide_without_step(POLICY, POLICY.rules[0], ladder, facts_of(POLICY, storm_targets=9))
    assert calm.code is (Code.PERSON_NEEDED if ladder else Code.NO_STEP)
    stormy = decide_without_step(POLICY, POLICY.rules[0], ladder, facts_of(POLICY, storm_targets=10))
    assert (stormy.verdict, stormy.code) == (Verdict.OBSERVE, Code.STORM)


def test_a_person_who_orders_in_a_storm_hears_that_no_step_applies() -> None:
    facts = facts_of(POLICY, storm_targets=10, ordered_by="kim")
    assert decide_without_step(POLICY, POLICY.rules[0], (), facts).code is Code.NO_STEP
