"""What Slack sends when somebody clicks a button, and what is made of bodies that are not that."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest

from app.domain.errors import BadInput
from app.intake.slack import Click, Signatures, clicks, payload_of

NOW = datetime(2026, 3, 4, 10, 17, 35, tzinfo=UTC)
BLOCK_ACTIONS: dict[str, Any] = {
    "type": "block_actions",
    "user": {"id": "U07ABCD1234", "username": "robin", "team_id": "T01EXAMPLE"},
    "container": {"type": "message", "message_ts": "1772619392.104559", "channel_id": "C0INCIDENTS"},
    "channel": {"id": "C0INCIDENTS", "name": "incidents"},
    "response_url": "https://hooks.slack.com/actions/T01EXAMPLE/7312000000/AbCdEfGh",
    "actions": [
        {
            "action_id": "remediator.approve",
            "block_id": "approval-1",
            "value": "run_1:0:0123456789abcdef",
            "type": "button",
            "action_ts": "1772619455.882311",
        }
    ],
}


def form(payload: Any) -> bytes:
    return b"payload=" + quote_plus(json.dumps(payload)).encode()


def test_a_click_is_who_where_and_which_button() -> None:
    [click] = clicks(payload_of(form(BLOCK_ACTIONS)))
    assert click == Click(
        user="U07ABCD1234",
        action="remediator.approve",
        value="run_1:0:0123456789abcdef",
        at="1772619455.882311",
        channel="C0INCIDENTS",
        message="1772619392.104559",
        url="https://hooks.slack.com/actions/T01EXAMPLE/7312000000/AbCdEfGh",
    )
    assert "AbCdEfGh" not in repr(click)  # who has the address can post with it


def test_two_deliveries_of_a_click_have_one_key_and_two_clickes_have_two() -> None:
    [one] = clicks(BLOCK_ACTIONS)
    [again] = clicks({**BLOCK_ACTIONS, "response_url": "https://hooks.slack.com/actions/other"})
    later = {**BLOCK_ACTIONS["actions"][0], "action_ts": "1772619455.932311"}
    [other] = clicks({**BLOCK_ACTIONS, "actions": [later]})
    assert one.key == again.key != other.key


def test_another_kind_of_interaction_has_no_clickes() -> None:
    assert clicks({"type": "view_submission", "view": {}}) == ()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"user": None}, "/user"),
        ({"user": {"id": 7}}, "/user/id"),
        ({"user": {"id": "U07\n"}}, "/user/id"),
        ({"user": {"id": "S0GROUP"}}, "/user/id"),
        ({"actions": None}, "/actions"),
        ({"actions": [{}] * 6}, "/actions"),
        ({"actions": ["x"]}, "/actions/0"),
        ({"actions": [{"action_id": "a"}]}, "/actions/0/action_ts"),
        ({"actions": [{"action_id": "a" * 3_001}]}, "/actions/0/action_id"),
        ({"channel": []}, None),
        ({"channel": "C1"}, "/channel"),
        ({"response_url": 1}, "/response_url"),
    ],
)
def test_a_payload_of_another_shape_is_refused_with_the_place(
    change: dict[str, Any], where: str | None
) -> None:
    if where is None:
        assert clicks({**BLOCK_ACTIONS, **change})
        return
    with pytest.raises(BadInput) as caught:
        clicks({**BLOCK_ACTIONS, **change})
    assert caught.value.where == where


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"other=1",
        b"payload=1&payload=2",
        b"payload=%7B",
        b"payload=%ff",
        b"\xff",
        b"&".join([b"a=1"] * 11),
    ],
)
def test_a_body_that_is_no_such_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        payload_of(body)


def test_a_signature_counts_once_while_it_could_be_used_again() -> None:
    seen = Signatures()
    stamp = str(int(NOW.timestamp()))
    assert seen.first_time("v0=a", stamp, NOW)
    assert not seen.first_time("v0=a", stamp, NOW + timedelta(seconds=300))
    assert seen.first_time("v0=b", stamp, NOW + timedelta(seconds=301))
    assert len(seen._seen) == 1  # the first can never be valid again and is forgotten


def test_a_signature_from_a_clock_ahead_is_remembered_longer() -> None:
    seen = Signatures()
    ahead = str(int(NOW.timestamp()) + 290)
    assert seen.first_time("v0=a", ahead, NOW)
    assert not seen.first_time("v0=a", ahead, NOW + timedelta(seconds=580))


def test_the_memory_is_bounded() -> None:
    seen = Signatures()
    stamp = str(int(NOW.timestamp()))
    for number in range(10_050):
        seen.first_time(f"v0={number}", stamp, NOW)
    assert len(seen._seen) == 10_000
