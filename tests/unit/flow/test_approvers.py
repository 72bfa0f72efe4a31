"""Who may answer, and whether two names are one person."""

from __future__ import annotations

import pytest

from app.flow.people.approvers import Approver, against, against_same, of_token, same_person
from app.policy.model import Approval

PEOPLE = {
    "alice": "alice",
    "alice-laptop": "alice",
    "slack:U0ALICE": "alice",
    "slack:U1ALICE": "alice",
    "bob": "bob",
    "slack:U0BOB": "bob",
    "kim": "kim",
    "kim-ci": "kim",
    "eve": "eve",
    "slack:U0EVE": "eve",
    "oidc:eve@x.io": "eve",
}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("alice", "alice", True),
        ("alice", "bob", False),
        ("alice", "zoe", False),
        ("alice", "alice-laptop", True),
        ("slack:U0ALICE", "slack:U1ALICE", True),
        ("alice-laptop", "slack:U1ALICE", True),
        ("kim", "kim-ci", True),
        ("kim-ci", "slack:U9X", None),
        ("kim-ci", "slack:U0BOB", False),
        ("slack:U1X", "slack:U2X", False),
        ("alice", "slack:U0ALICE", True),
        ("alice", "slack:U0BOB", False),
        ("slack:U9X", "alice", False),
        ("zoe", "slack:U9X", None),
        ("slack:U0ALICE", "zoe", False),
        ("oidc:eve@x.io", "eve", True),
        ("oidc:eve@x.io", "slack:U0EVE", True),
        ("oidc:eve@x.io", "alice", False),
        ("oidc:eve@x.io", "oidc:zoe@x.io", False),
        ("oidc:zoe@x.io", "eve", False),
        ("oidc:zoe@x.io", "oidc:kim@x.io", False),
        ("oidc:zoe@x.io", "alice", None),
        ("oidc:zoe@x.io", "slack:U0ALICE", None),
        ("oidc:zoe@x.io", "zoe", None),
    ],
)
def test_two_names_are_one_person_two_or_nobody_can_tell(one: str, other: str, same: bool | None) -> None:
    assert same_person(one, other, PEOPLE) is same
    assert same_person(other, one, PEOPLE) is same


@pytest.mark.parametrize(
    ("approver", "by", "allowed"),
    [
        (of_token("alice"), (), True),
        (of_token("alice"), ("alice",), True),
        (of_token("alice"), ("bob",), False),
        (of_token("alice-laptop", PEOPLE), ("alice",), True),
        (of_token("alice-laptop", PEOPLE), ("slack:U0ALICE",), True),
        (of_token("alice-laptop", PEOPLE), ("bob",), False),
        (of_token("oidc:zoe@x.io", PEOPLE), ("oidc:zoe@x.io",), True),
        (of_token("oidc:eve@x.io", PEOPLE), ("slack:U0EVE",), True),
        (of_token("oidc:eve@x.io", PEOPLE), ("alice",), False),
        (Approver("slack:U1X", frozenset({"slack:U1X"}), operator=False), (), False),
        (Approver("slack:U1X", frozenset({"slack:U1X"}), operator=True), (), True),
        (Approver("slack:U1X", frozenset({"slack:U1X"}), operator=True), ("alice",), False),
        (Approver("slack:U1X", frozenset({"slack:U1X", "slack-group:S1X"})), ("slack-group:S1X",), True),
    ],
)
def test_who_may_answer_is_whom_the_rule_names_or_who_may_operate(
    approver: Approver, by: tuple[str, ...], allowed: bool
) -> None:
    assert (against(approver, Approval(by=by), "run_1") is None) is allowed


def test_a_group_that_could_not_be_read_is_told() -> None:
    approver = Approver(
        "slack:U1X", frozenset({"slack:U1X"}), unread=("user group S1X could not be read: 429",)
    )
    refusal = against(approver, Approval(by=("slack-group:S1X",)), "run_1")
    assert refusal is not None
    assert refusal.message.endswith("slack-group:S1X (user group S1X could not be read: 429)")


@pytest.mark.parametrize(
    ("others", "code"),
    [({}, None), ({"bob": "approved already"}, None), ({"alice": "approved already"}, "same_person")],
)
def test_several_people_are_different_people(others: dict[str, str], code: str | None) -> None:
    refusal = against_same(of_token("alice"), others, PEOPLE)
    assert (refusal.code if refusal else None) == code


def test_what_nobody_can_tell_counts_as_one_person() -> None:
    refusal = against_same(of_token("zoe"), {"slack:U9X": "ordered it"}, PEOPLE)
    assert refusal is not None
    assert refusal.code == "maybe_same_person"


@pytest.mark.parametrize("other", ["alice-laptop", "slack:U0ALICE", "slack:U1ALICE"])
def test_one_person_is_one_approver_however_many_tokens_and_accounts(other: str) -> None:
    refusal = against_same(of_token("alice", PEOPLE), {other: "ordered it"}, PEOPLE)
    assert refusal is not None
    assert refusal.code == "same_person"
