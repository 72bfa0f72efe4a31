"""Decisions: deny wins, then ask, then observe, then allow; all gates are always in the trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.decision import Code, Decision, Mode, Verdict
from app.domain.outcome import RunState
from app.domain.plan import Step
from app.domain.workload import Manager
from app.policy.decide import (
    GATE_NAMES,
    GATES,
    decide,
    decide_without_step,
    no_rule,
    no_target,
    not_yet,
    target_not_found,
)
from app.policy.facts import Past, Pause, Unknown
from tests.unit.policy.cases import NOW, TARGET, facts_of, policy_of, step_of

POLICY = policy_of("budgets: [{per: cluster, limit: 10 per 1h}]\n")
RULE = POLICY.rules[0]
NAMES = list(GATE_NAMES)


def decided(**changes: Any) -> Decision:
    return decide(POLICY, RULE, step_of(), facts_of(POLICY, **changes))


def test_with_nothing_against_it_the_step_is_allowed_with_every_gate_in_the_trace() -> None:
    decision = decided()
    assert (decision.verdict, decision.code) == (Verdict.ALLOW, Code.ALLOWED)
    assert [g.gate for g in decision.gates] == NAMES
    assert NAMES[0] == "kill switch"
    assert NAMES[-1] == "approval"
    assert len(GATES) == len(NAMES) == len(set(NAMES))
    assert (decision.rule, decision.remediation, decision.step) == ("errors", "high-error-rate", "roll-back")
    assert decision.policy_version == POLICY.version
    assert decision.text == 'Allowed by rule "errors": 17 of 17 gates'


COOLING = {"last_action": NOW - timedelta(minutes=4)}
OWNED = {"managers": (Manager.FLUX,)}
STORM = {"storm_targets": 12}
PAUSED = {"pauses": (Pause("all", "release", "ana"),)}


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        (COOLING, Verdict.DENY, Code.COOLING_DOWN),
        (OWNED, Verdict.ASK, Code.OWNED),
        (STORM, Verdict.OBSERVE, Code.STORM),
        (COOLING | OWNED, Verdict.DENY, Code.COOLING_DOWN),
        (STORM | OWNED, Verdict.OBSERVE, Code.OWNED),
        (STORM | COOLING, Verdict.DENY, Code.COOLING_DOWN),
        (COOLING | PAUSED, Verdict.DENY, Code.KILL_SWITCH),
        ({"ceiling": Mode.OBSERVE}, Verdict.OBSERVE, Code.CEILING),
        ({"ceiling": Mode.APPROVE}, Verdict.ASK, Code.APPROVAL_NEEDED),
        ({"ceiling": Mode.OBSERVE} | OWNED, Verdict.OBSERVE, Code.CEILING),
        ({"dry_run": True}, Verdict.ALLOW, Code.DRY_RUN),
        ({"dry_run": True, "ceiling": Mode.OBSERVE}, Verdict.ALLOW, Code.DRY_RUN),
        ({"dry_run": True} | COOLING, Verdict.DENY, Code.COOLING_DOWN),
        ({"firing": Unknown("timeout after 3 s")}, Verdict.DENY, Code.UNKNOWN_FACT),
    ],
)
def test_the_strongest_gate_decides(changes: dict[str, Any], verdict: Verdict, code: Code) -> None:
    decision = decided(**changes)
    assert (decision.verdict, decision.code) == (verdict, code)
    assert [g.gate for g in decision.gates] == NAMES


def test_a_decision_reads_back_from_its_json() -> None:
    decision = decided(**COOLING)
    assert Decision.from_json(decision.to_json()) == decision


UNREADABLE = [
    "firing",
    "last_seen",
    "marks",
    "managers",
    "rollout_paused",
    "replicas",
    "spend",
    "last_action",
    "busy_with",
    "targets_in_flight",
    "results",
    "storm_targets",
    "pauses",
    "changed_by",
]


@pytest.mark.parametrize("name", UNREADABLE)
def test_each_fact_that_cannot_be_read_closes_a_gate_and_is_named(name: str) -> None:
    decision = decided(**{name: Unknown("no answer within 3 s")})
    assert (decision.verdict, decision.code) == (Verdict.DENY, Code.UNKNOWN_FACT)
    closed = [g for g in decision.gates if g.verdict is Verdict.DENY]
    assert all("no answer within 3 s" in g.value and g.remedy.endswith("can be read again") for g in closed)


@pytest.mark.parametrize(
    ("changes", "retry_in"),
    [
        (COOLING, timedelta(minutes=11)),
        (COOLING | {"firing": Unknown("x")}, None),
        (COOLING | {"pauses": (Pause("all", "", "ana", NOW + timedelta(hours=1)),)}, timedelta(hours=1)),
        (COOLING | OWNED, timedelta(minutes=11)),  # a question stands behind it
    ],
)
def test_it_is_looked_at_again_when_all_that_stands_against_it_passes_by_itself(
    changes: dict[str, Any], retry_in: timedelta | None
) -> None:
    assert decided(**changes).retry_at == (NOW + retry_in if retry_in else None)


def test_an_approval_answers_every_question_and_opens_no_closed_gate() -> None:
    asked = OWNED | {"results": (Past(RunState.NOT_FIXED, NOW),) * 2, "ceiling": Mode.APPROVE}
    assert decided(**asked).verdict is Verdict.ASK
    assert decided(**asked, approved_by="ana").verdict is Verdict.ALLOW
    assert decided(**asked, **COOLING, approved_by="ana").code is Code.COOLING_DOWN
    assert decided(**PAUSED, approved_by="ana").code is Code.KILL_SWITCH


IMAGE = Step(
    "roll-back",
    "no older revision",
    advice="Image registry/app:v2 does not exist: push it or deploy another tag.",
)
NOTHING = Step("scale-up", "already at 5 replicas")
TAKEN = {"acknowledged": "kim's"}


@pytest.mark.parametrize(
    ("ladder", "changes", "verdict", "code", "text"),
    [
        ((IMAGE, NOTHING), {}, Verdict.DENY, Code.PERSON_NEEDED, "A person is needed: Image registry/app:v2"),
        ((IMAGE, IMAGE), {}, Verdict.DENY, Code.PERSON_NEEDED, "tag."),
        ((NOTHING,), {}, Verdict.DENY, Code.NO_STEP, "No step applies. scale-up: already at 5 replicas"),
        ((), {}, Verdict.DENY, Code.NO_STEP, "No step applies. the remediation has no step left"),
        ((IMAGE,), COOLING, Verdict.DENY, Code.PERSON_NEEDED, "A person is needed"),
        ((IMAGE,), {"ceiling": Mode.OBSERVE}, Verdict.OBSERVE, Code.PERSON_NEEDED, "A person is needed"),
        ((IMAGE,), TAKEN, Verdict.DENY, Code.ACKNOWLEDGED, "tag.; nobody is called, as it is kim's"),
        ((NOTHING,), TAKEN, Verdict.DENY, Code.ACKNOWLEDGED, "replicas; nobody is called, as it is kim's"),
        ((IMAGE,), TAKEN | {"ceiling": Mode.OBSERVE}, Verdict.OBSERVE, Code.PERSON_NEEDED, "A person"),
        ((IMAGE,), TAKEN | {"acknowledged_until": NOW}, Verdict.DENY, Code.PERSON_NEEDED, "A person"),
        ((IMAGE,), PAUSED, Verdict.DENY, Code.KILL_SWITCH, "Not acting: kill switch: all paused by ana"),
        ((IMAGE,), {"firing": False}, Verdict.DENY, Code.NOT_FIRING, "Not acting: freshness"),
        ((IMAGE,), {"marks": {"object": "false"}}, Verdict.DENY, Code.OPTED_OUT, "Not acting: scope"),
    ],
)
def test_without_a_step_a_person_is_called_unless_the_target_is_not_ours(
    ladder: tuple[Step, ...], changes: dict[str, Any], verdict: Verdict, code: Code, text: str
) -> None:
    decision = decide_without_step(POLICY, RULE, ladder, facts_of(POLICY, **changes))
    assert (decision.verdict, decision.code) == (verdict, code)
    assert text in decision.text
    assert decision.text.count("does not exist") <= 1
    assert len(decision.gates) == len(NAMES)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"busy_with": "run_1"}, Code.TARGET_BUSY),
        ({"mended_at": NOW - timedelta(minutes=2)}, Code.TARGET_BUSY),
        ({"mended_at": NOW - timedelta(minutes=11)}, Code.PERSON_NEEDED),
        ({"theirs_since": NOW - timedelta(minutes=9)}, Code.TARGET_BUSY),
        ({"theirs_since": NOW - timedelta(minutes=10)}, Code.PERSON_NEEDED),
        ({"busy_with": "run_1", "ordered_by": "kim"}, Code.PERSON_NEEDED),
        ({"busy_with": "run_1", "ceiling": Mode.OBSERVE}, Code.PERSON_NEEDED),
    ],
)
def test_nobody_is_called_while_another_run_mends_the_target_or_just_did(
    changes: dict[str, Any], code: Code
) -> None:
    """Three alerts for one fault: the first one's run mends it, and the others wait for what comes of that."""
    decision = decide_without_step(POLICY, RULE, (IMAGE,), facts_of(POLICY, **changes))
    assert decision.code is code
    if "mended_at" in changes and code is Code.TARGET_BUSY:
        assert decision.retry_at == NOW + timedelta(minutes=8)
    step = next(
        s
        for s in decide(POLICY, RULE, step_of(), facts_of(POLICY, mended_at=NOW)).gates
        if s.gate == "target busy"
    )
    assert step.verdict is Verdict.ALLOW, "a step of its own is the cooldown's to judge"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, Code.NOTHING_TO_DO),
        ({"ceiling": Mode.OBSERVE}, Code.NOTHING_TO_DO),
        (PAUSED, Code.KILL_SWITCH),
        ({"firing": False}, Code.NOT_FIRING),
    ],
)
def test_nobody_is_called_for_a_workload_that_is_healthy_again(changes: dict[str, Any], code: Code) -> None:
    rest = "recovered 12 min ago, nothing to do: 3 of 3 pods ready"
    decision = decide_without_step(POLICY, RULE, (IMAGE,), facts_of(POLICY, **changes), rest)
    assert decision.code is code
    if code is Code.NOTHING_TO_DO:
        assert (decision.verdict, decision.text) == (Verdict.OBSERVE, f"Nothing is done: {rest}")


def test_every_alert_ends_in_a_decision() -> None:
    unmatched = no_rule(POLICY, "Watchdog")
    assert (unmatched.verdict, unmatched.code) == (Verdict.OBSERVE, Code.NO_RULE)
    assert unmatched.text == "Only observing: no rule matches alert Watchdog"
    aimless = no_target(POLICY, RULE, 'the alert has no label "deployment"')
    assert (aimless.verdict, aimless.code, aimless.rule) == (Verdict.DENY, Code.NO_TARGET, "errors")
    lost = target_not_found(POLICY, RULE, TARGET, "404 from the API server")
    assert lost.text == "Not acting: rag7/Deployment/langgraph cannot be found: 404 from the API server"
    assert lost.code is Code.TARGET_NOT_FOUND


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("mode: auto\n", "17 of 17 gates"),
        (
            "mode: auto\napproval: {approvals: 2}\n",
            "nobody approved yet (allowed: mode auto); it takes: 2 different people of: those who may operate approve",
        ),
        ("mode: observe\n", "the order itself: Only observing: approval: only looks (allowed: mode observe)"),
    ],
)
def test_a_dry_run_says_what_the_order_itself_would_take(rule: str, told: str) -> None:
    policy = policy_of(rule=rule)
    facts = facts_of(policy, ordered_by="kim", dry_run=True)
    decision = decide(policy, policy.rules[0], step_of(), facts)
    assert (decision.verdict, decision.code) == (Verdict.ALLOW, Code.DRY_RUN)
    assert told in decision.text


def test_what_several_pieces_of_advice_end_with_is_told_once() -> None:
    error = 'the most frequent error is "x; y" (40 of 40 error lines)'
    ladder = [
        Step("roll-back", "no", advice=f"Check what the error names; {error}"),
        Step("scale-up", "no", advice=f"Check the connection limit; {error}"),
        Step("by-hand", "no", advice="Check the connection limit; and the pool"),
    ]
    word = decide_without_step(POLICY, RULE, ladder, facts_of(POLICY))
    assert word.text == (
        f"A person is needed: Check what the error names; {error}; Check the connection limit; Check the connection limit; and the pool"
    )


@pytest.mark.parametrize(
    ("code", "waits", "expected"),
    [
        (Code.PERSON_NEEDED, True, Code.NOT_YET),
        (Code.NO_STEP, True, Code.NOT_YET),
        (Code.PROTECTED, True, Code.NOT_YET),
        (Code.PERSON_NEEDED, False, Code.PERSON_NEEDED),
        (Code.TARGET_BUSY, True, Code.TARGET_BUSY),
        (Code.PAUSED, True, Code.PAUSED),
        (Code.NOTHING_TO_DO, True, Code.NOTHING_TO_DO),
    ],
)
def test_a_step_that_is_due_soon_is_waited_for_where_no_other_applies(
    code: Code, waits: bool, expected: Code
) -> None:
    word = Decision(Verdict.DENY, code, "A person is needed", "errors", "add-replicas", "", ())
    soon, late = NOW + timedelta(minutes=4), NOW + timedelta(minutes=9)
    ladder = (replace(NOTHING, later=late), replace(NOTHING, name="first", later=soon), IMAGE)
    found = not_yet(word, ladder, NOW, waits=waits)
    assert found.code is expected
    assert found.retry_at == (soon if expected is Code.NOT_YET else None)
    told = code in (Code.PERSON_NEEDED, Code.NO_STEP, Code.PROTECTED)
    assert ("first may be taken at 2026" in found.text) is told
    assert Decision.from_json(found.to_json()) == found
    assert not_yet(word, (IMAGE, replace(NOTHING, later=NOW)), NOW, waits=True) == word
