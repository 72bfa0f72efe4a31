"""The gate `trust` with its neighbour `approval`: what each level allows, to whom, and what both say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.decision import Code, Mode, Verdict
from app.policy.decide import decide
from app.policy.facts import Unknown
from app.policy.gates.people import approval, trust
from app.policy.trust import TrustLevel
from tests.unit.policy.cases import ask_gate, facts_of, policy_of, step_of

NOV = datetime(2025, 11, 3, tzinfo=UTC)
EARNED = "mode: earned\n"
OBSERVE, APPROVE, AUTO = (TrustLevel(level, NOV) for level in (Mode.OBSERVE, Mode.APPROVE, Mode.AUTO))
UNREAD = Unknown("the store did not answer")


@pytest.mark.parametrize(
    ("trust_level", "changes", "verdict", "code"),
    [
        (OBSERVE, {}, Verdict.OBSERVE, Code.NOT_EARNED),
        (OBSERVE, {"approved_by": "ana"}, Verdict.OBSERVE, Code.NOT_EARNED),  # demoted after the approval
        (OBSERVE, {"ordered_by": "ben"}, Verdict.ALLOW, Code.ALLOWED),
        (OBSERVE, {"dry_run": True, "ordered_by": "ben"}, Verdict.ALLOW, Code.DRY_RUN),
        (APPROVE, {}, Verdict.ASK, Code.NOT_EARNED),
        (APPROVE, {"approved_by": "ana"}, Verdict.ALLOW, Code.ALLOWED),
        (APPROVE, {"storm_targets": 10}, Verdict.OBSERVE, Code.NOT_EARNED),
        (APPROVE, {"ceiling": Mode.OBSERVE}, Verdict.OBSERVE, Code.NOT_EARNED),
        (AUTO, {}, Verdict.ALLOW, Code.ALLOWED),
        (UNREAD, {}, Verdict.DENY, Code.UNKNOWN_FACT),
        (None, {}, Verdict.DENY, Code.UNKNOWN_FACT),
        (None, {"ordered_by": "ben"}, Verdict.ALLOW, Code.ALLOWED),
    ],
)
def test_the_level_says_how_far_it_goes_by_itself(
    trust_level: Any, changes: dict[str, Any], verdict: Verdict, code: Code
) -> None:
    result = ask_gate(trust, rule=EARNED, trust_level=trust_level, **changes)
    assert (result.verdict, result.code) == (verdict, code)


@pytest.mark.parametrize("mode", ["observe", "approve", "auto"])
def test_other_modes_do_not_use_it(mode: str) -> None:
    result = ask_gate(trust, rule=f"mode: {mode}\n", trust_level=UNREAD)
    assert (result.verdict, result.value, result.threshold) == (
        Verdict.ALLOW, "not in use", f"mode {mode} needs no trust level"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trust_level", "value", "threshold", "remedy"),
    [
        (
            TrustLevel(Mode.OBSERVE, NOV, 2, 2),
            "level observe: 2 of 2 fixed since 3 Nov 2025, lower bound 0.34 of 0.40 needed, 2 of 3 runs",
            "level approve, from 3 runs and a lower bound of 0.40, or an order",
            "1 more run fixed in a row (ordered by hand: nothing acts by itself here) for level approve",
        ),
        (
            TrustLevel(Mode.APPROVE, NOV, 11, 12),
            "level approve: 11 of 12 fixed since 3 Nov 2025, lower bound 0.64 of 0.70 needed",
            "level auto, from 10 runs and a lower bound of 0.70, or an approval",
            "ana approves; 3 more runs fixed in a row for level auto",
        ),
        (
            TrustLevel(Mode.APPROVE, NOV, 12, 12, waits=True),
            "level approve: 12 of 12 fixed since 3 Nov 2025, lower bound 0.75 of 0.70 needed",
            "level auto, from 10 runs and a lower bound of 0.70, or an approval",
            "ana approves; a person confirms level auto",
        ),
        (TrustLevel(Mode.AUTO, NOV, 4, 5), "level auto: 4 of 5 fixed since 3 Nov 2025", "level auto", ""),
    ],
)
def test_it_shows_its_numbers_and_what_the_next_level_takes(
    trust_level: TrustLevel, value: str, threshold: str, remedy: str
) -> None:
    result = ask_gate(trust, rule=EARNED + "approval: {by: [ana]}\n", trust_level=trust_level)
    assert (result.value, result.threshold, result.remedy) == (value, threshold, remedy)


@pytest.mark.parametrize(
    ("trust_level", "head", "rule", "changes", "verdict", "text"),
    [
        (AUTO, "", "", {}, Verdict.ALLOW, "left to the gate trust"),
        (APPROVE, "", "", {}, Verdict.ALLOW, "left to the gate trust"),
        (AUTO, "mode: approve\n", "", {}, Verdict.ASK, "nobody approved yet"),
        (AUTO, "mode: approve\n", "", {"approved_by": "ana"}, Verdict.ALLOW, "approved by ana"),
        (APPROVE, "mode: approve\n", "", {}, Verdict.ALLOW, "left to the gate trust"),
        (AUTO, "", "", {"ceiling": Mode.OBSERVE}, Verdict.OBSERVE, "only looks"),
        (OBSERVE, "", "", {"ordered_by": "ben"}, Verdict.ALLOW, "ordered by ben"),
        (OBSERVE, "", "approval: {four_eyes: true}\n", {"ordered_by": "ben"}, Verdict.ASK, "nobody approved yet"),
        (AUTO, "", "approval: {approvals: 2}\n", {"ordered_by": "ben"}, Verdict.ASK, "nobody approved yet"),
    ],
)  # fmt: skip
def test_ceilings_and_four_eyes_stay_with_the_gate_approval(
    trust_level: TrustLevel, head: str, rule: str, changes: dict[str, Any], verdict: Verdict, text: str
) -> None:
    result = ask_gate(approval, head, EARNED + rule, trust_level=trust_level, **changes)
    assert (result.verdict, result.value) == (verdict, text)


def test_a_lowered_level_says_so() -> None:
    result = ask_gate(approval, "mode: approve\n", EARNED, trust_level=AUTO)
    assert result.threshold == "mode approve (rule earned, lowered by a ceiling)"


@pytest.mark.parametrize(
    ("trust_level", "verdict", "code"),
    [
        (OBSERVE, Verdict.OBSERVE, Code.NOT_EARNED),
        (APPROVE, Verdict.ASK, Code.NOT_EARNED),
        (AUTO, Verdict.ALLOW, Code.ALLOWED),
        (UNREAD, Verdict.DENY, Code.UNKNOWN_FACT),
    ],
)
def test_the_whole_decision_follows_the_level(trust_level: Any, verdict: Verdict, code: Code) -> None:
    policy = policy_of(rule=EARNED)
    decision = decide(policy, policy.rules[0], step_of(), facts_of(policy, trust_level=trust_level))
    assert (decision.verdict, decision.code) == (verdict, code)
    assert sum(g.verdict is not Verdict.ALLOW for g in decision.gates) == (verdict is not Verdict.ALLOW)
