"""Who a rule may name as approvers, and how many of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.domain.decision import Mode, Verdict
from app.policy.model import Approval
from tests.unit.policy.cases import policy_of
from tests.unit.policy.test_gates_people import ask_approval

TWO = "approval: {by: [ana, ben], approvals: 2}\n"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("alice", True),
        ("on-call.2", True),
        ("slack:U07ABCD1234", True),
        ("slack:W07ABCD1234", True),
        ("slack-group:S0ONCALL", True),
        ("slack:alice", False),
        ("slack:S0ONCALL", False),
        ("slack-group:U07ABCD1234", False),
        ("slack_group:S0ONCALL", False),
        ("@alice", False),
        ("", False),
    ],
)
def test_a_name_that_nobody_can_have_is_refused(name: str, good: bool) -> None:
    if good:
        assert Approval(by=(name,)).by == (name,)
        return
    with pytest.raises(ValidationError):
        Approval(by=(name,))


def test_more_approvals_than_people_can_never_come_together() -> None:
    with pytest.raises(Exception, match="2 approvals cannot come together: by names 1"):
        policy_of(rule="approval: {by: [ana], approvals: 2}\n")


def test_a_group_or_nobody_named_may_be_enough_people() -> None:
    for by in ("[]", "[slack-group:S0ONCALL]", "[ana, ben]"):
        assert policy_of(rule=f"approval: {{by: {by}, approvals: 2}}\n").rules


def test_the_gate_says_that_two_are_needed() -> None:
    result = ask_approval(Mode.APPROVE, TWO)
    assert result.remedy == "2 different people of: ana, ben approve"


def test_an_order_alone_is_not_two_people() -> None:
    assert ask_approval(Mode.APPROVE, TWO, ordered_by="ana").verdict is Verdict.ASK
    assert ask_approval(Mode.APPROVE, TWO, approved_by="ana and ben").verdict is Verdict.ALLOW
