"""What people read: golden texts of an allowed, a refused and an asked decision."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from inline_snapshot import snapshot

from app.domain.decision import Decision
from app.domain.outcome import RunState
from app.domain.workload import Manager
from app.policy.decide import GATES, decide, no_rule
from app.policy.explain import explain_json, explain_lines
from app.policy.facts import Past, Spend, Unknown
from app.policy.match import scopes_for
from tests.unit.policy.cases import NOW, TARGET, facts_of, policy_of, step_of

POLICY = policy_of(
    """\
    budgets: [{per: cluster, limit: 10 per 1h}, {per: target, limit: 3 per 1h and 7 per 24h}]
    freeze: [{name: release evening, days: [fri], from: "16:00", to: "23:59", timezone: Europe/Berlin}]
    """,
    "limits: {per_target: 2 per 1h}\n",
)


def decided(**changes: Any) -> Decision:
    return decide(POLICY, POLICY.rules[0], step_of(), facts_of(POLICY, **changes))


def shown(decision: Decision) -> str:
    """The text without the version, which moves with every change of the policy's form."""
    return "\n".join([*explain_lines(decision), ""]).replace(decision.policy_version or "-", "VERSION")


def test_an_allowed_decision_shows_every_gate_with_value_and_threshold() -> None:
    assert shown(decided()) == snapshot("""\
Allowed by rule "errors": 17 of 17 gates
rule "errors" · remediation high-error-rate · step roll-back · reason allowed · policy VERSION

17 of 17 gates allow it
ok    kill switch      no pause                                                      allowed: no pause, ceiling above observe
ok    scope            namespace rag7                                                allowed: namespaces rag7, team-* except team-payments
ok    freshness        fires, last word 20s ago                                      allowed: fires, last word at most 15m old
ok    hands            nobody is at it                                               allowed: no acknowledgement, and no change of the target by others since the alert fired
ok    ownership        nobody else writes what this changes                          allowed: rollout not paused; autoscaler allow, GitOps ask, Helm allow, other controllers ask, VPA ask
ok    window           no freeze stands                                              allowed: any time, not in release evening (fri 16:00-23:59 Europe/Berlin)
ok    blocking alerts  none named                                                    allowed: none
ok    cooldown         no action before                                              allowed: 15m since the last action
ok    rate limit       0 of 2 per 1h (rule:errors@rag7/Deployment/langgraph)         allowed: 2 per 1h (rule:errors@rag7/Deployment/langgraph)
ok    budget           0 of 3 per 1h (target:rag7/Deployment/langgraph)              allowed: 10 per 1h (cluster); 3 per 1h (target:rag7/Deployment/langgraph); 7 per 24h (target:rag7/Deployment/langgraph)
ok    new pods         a new pod could start (configuration, quota)                  allowed: nothing stands in a new pod's way; what cannot be read: ask
ok    blast radius     0 of 3 ready pods at risk, 1 allowed, 0 broken; 1 target in flight  allowed: 30% of the ready pods, at least 1; 3 targets in flight
ok    target busy      free                                                          allowed: no other run at work on the target
ok    flapping         0 not fixed in a row, 0 fixed within 24h                      allowed: fewer than 2 not fixed in a row and 4 fixed within 24h
ok    storm            1 target with new alerts within 5m                            allowed: fewer than 10 targets with new alerts within 5m
ok    trust            not in use                                                    allowed: mode auto needs no trust level
ok    approval         acts by itself                                                allowed: mode auto
""")


def test_a_refusal_says_what_would_have_to_change_and_when() -> None:
    spend = {
        scope: Spend(3, NOW - timedelta(minutes=50))
        if scope.limit.count == 3
        else Spend(1, NOW - timedelta(minutes=4))
        for scope in scopes_for(POLICY, POLICY.rules[0], TARGET)
    }
    assert shown(decided(spend=spend, last_action=NOW - timedelta(minutes=4))) == snapshot("""\
Not acting: cooldown: last action 4m ago (allowed: 15m since the last action)
rule "errors" · remediation high-error-rate · step roll-back · reason cooling_down · policy VERSION

15 of 17 gates allow it
ok    kill switch      no pause                                                      allowed: no pause, ceiling above observe
ok    scope            namespace rag7                                                allowed: namespaces rag7, team-* except team-payments
ok    freshness        fires, last word 20s ago                                      allowed: fires, last word at most 15m old
ok    hands            nobody is at it                                               allowed: no acknowledgement, and no change of the target by others since the alert fired
ok    ownership        nobody else writes what this changes                          allowed: rollout not paused; autoscaler allow, GitOps ask, Helm allow, other controllers ask, VPA ask
ok    window           no freeze stands                                              allowed: any time, not in release evening (fri 16:00-23:59 Europe/Berlin)
ok    blocking alerts  none named                                                    allowed: none
NO    cooldown         last action 4m ago                                            allowed: 15m since the last action
ok    rate limit       1 of 2 per 1h (rule:errors@rag7/Deployment/langgraph)         allowed: 2 per 1h (rule:errors@rag7/Deployment/langgraph)
NO    budget           3 of 3 per 1h (target:rag7/Deployment/langgraph)              allowed: 10 per 1h (cluster); 3 per 1h (target:rag7/Deployment/langgraph); 7 per 24h (target:rag7/Deployment/langgraph)
ok    new pods         a new pod could start (configuration, quota)                  allowed: nothing stands in a new pod's way; what cannot be read: ask
ok    blast radius     0 of 3 ready pods at risk, 1 allowed, 0 broken; 1 target in flight  allowed: 30% of the ready pods, at least 1; 3 targets in flight
ok    target busy      free                                                          allowed: no other run at work on the target
ok    flapping         0 not fixed in a row, 0 fixed within 24h                      allowed: fewer than 2 not fixed in a row and 4 fixed within 24h
ok    storm            1 target with new alerts within 5m                            allowed: fewer than 10 targets with new alerts within 5m
ok    trust            not in use                                                    allowed: mode auto needs no trust level
ok    approval         acts by itself                                                allowed: mode auto

What would have to change:
- cooldown: the cooldown ends (2026-03-04 03:11:00 UTC)
- budget: an action leaves the window (2026-03-04 03:10:00 UTC)
- by itself at the earliest: 2026-03-04 03:11:00 UTC
""")


def test_questions_and_unknown_facts_are_told_apart() -> None:
    failed = tuple(Past(RunState.NOT_FIXED, NOW - timedelta(hours=n)) for n in (1, 2))
    decision = decided(
        managers=(Manager.ARGO_CD,), results=failed, storm_targets=Unknown("the store did not answer")
    )
    assert shown(decision) == snapshot("""\
Not acting: storm: targets with new alerts unknown: the store did not answer (allowed: fewer than 10 targets with new alerts within 5m)
rule "errors" · remediation high-error-rate · step roll-back · reason unknown_fact · policy VERSION

14 of 17 gates allow it
ok    kill switch      no pause                                                      allowed: no pause, ceiling above observe
ok    scope            namespace rag7                                                allowed: namespaces rag7, team-* except team-payments
ok    freshness        fires, last word 20s ago                                      allowed: fires, last word at most 15m old
ok    hands            nobody is at it                                               allowed: no acknowledgement, and no change of the target by others since the alert fired
ASK   ownership        managed by Argo CD                                            allowed: rollout not paused; autoscaler allow, GitOps ask, Helm allow, other controllers ask, VPA ask
ok    window           no freeze stands                                              allowed: any time, not in release evening (fri 16:00-23:59 Europe/Berlin)
ok    blocking alerts  none named                                                    allowed: none
ok    cooldown         no action before                                              allowed: 15m since the last action
ok    rate limit       0 of 2 per 1h (rule:errors@rag7/Deployment/langgraph)         allowed: 2 per 1h (rule:errors@rag7/Deployment/langgraph)
ok    budget           0 of 3 per 1h (target:rag7/Deployment/langgraph)              allowed: 10 per 1h (cluster); 3 per 1h (target:rag7/Deployment/langgraph); 7 per 24h (target:rag7/Deployment/langgraph)
ok    new pods         a new pod could start (configuration, quota)                  allowed: nothing stands in a new pod's way; what cannot be read: ask
ok    blast radius     0 of 3 ready pods at risk, 1 allowed, 0 broken; 1 target in flight  allowed: 30% of the ready pods, at least 1; 3 targets in flight
ok    target busy      free                                                          allowed: no other run at work on the target
ASK   flapping         2 not fixed in a row, 0 fixed within 24h                      allowed: fewer than 2 not fixed in a row and 4 fixed within 24h
NO    storm            targets with new alerts unknown: the store did not answer     allowed: fewer than 10 targets with new alerts within 5m
ok    trust            not in use                                                    allowed: mode auto needs no trust level
ok    approval         acts by itself                                                allowed: mode auto

What would have to change:
- ownership: a person approves that Argo CD may revert it
- flapping: a person approves another attempt, or earlier runs leave the window
- storm: targets with new alerts can be read again
""")


def test_a_decision_without_gates_is_two_lines() -> None:
    assert explain_lines(no_rule(POLICY, "Watchdog"))[0] == "Only observing: no rule matches alert Watchdog"
    assert len(explain_lines(no_rule(POLICY, "Watchdog"))) == 2


def test_the_explanation_needs_nothing_but_the_stored_decision() -> None:
    decision = decided(last_action=NOW - timedelta(minutes=4))
    assert explain_lines(Decision.from_json(decision.to_json())) == explain_lines(decision)


def test_the_json_form_adds_counts_changes_and_the_next_look() -> None:
    data = explain_json(decided(last_action=NOW - timedelta(minutes=4)))
    assert data["allowed_gates"] == len(GATES) - 1
    assert data["retry_at"] == "2026-03-04T03:11:00+00:00"
    assert data["changes"] == [
        "cooldown: the cooldown ends (2026-03-04 03:11:00 UTC)",
        "by itself at the earliest: 2026-03-04 03:11:00 UTC",
    ]
