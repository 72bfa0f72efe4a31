"""Bodies are decoded within limits; whatever comes in is a value or BadInput with code and place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from app.domain.errors import BadInput
from app.intake import alertmanager
from app.intake.body import MAX_DEPTH, decode, pointer, validated

BAD = [
    (b"", "invalid_json", "body line 1 column 0"),
    (b"{", "invalid_json", "body line 1 column 1"),
    (b'{"a":\n nope}', "invalid_json", "body line 2 column 3"),
    (b'{"a":1} x', "invalid_json", "body line 1 column 9"),
    (b'{"a":NaN}', "invalid_json", "body line 1 column 6"),
    (b'{"a":-Infinity}', "invalid_json", "body line 1 column 7"),
    (b'["\xff"]', "invalid_json", "body line 1 column 3"),
    (b'["\\ud800"]', "invalid_json", "body line 1 column 9"),
    (b'\xef\xbb\xbf{"a":1}', "invalid_json", "body line 1 column 1"),
    (b'{"a":1e999}', "number_out_of_range", "body"),
    (b"1e999", "number_out_of_range", "body"),
    (b'{"a":[[{"b":[-1e400]}]]}', "number_out_of_range", "body"),
    (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "json_too_deep", "body"),
    (b'{"a":' * (MAX_DEPTH + 2) + b"1" + b"}" * (MAX_DEPTH + 2), "json_too_deep", "body"),
    (b"[" * 100_000, "json_too_deep", "body"),
    (b"[" * 100_000 + b"]" * 100_000, "json_too_deep", "body"),
]


@pytest.mark.parametrize(("body", "code", "where"), BAD)
def test_a_bad_body_is_refused_with_code_and_place(body: bytes, code: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(body)
    assert (caught.value.code, caught.value.where) == (code, where)


def test_a_body_of_the_allowed_depth_and_size_is_taken() -> None:
    body = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert decode(body, max_bytes=len(body)) is not None


def test_one_byte_more_than_allowed_is_refused() -> None:
    with pytest.raises(BadInput, match="more than 4 bytes") as caught:
        decode(b"[1,2]", max_bytes=4)
    assert caught.value.code == "body_too_large"


def test_of_duplicate_keys_the_last_one_counts() -> None:
    assert decode(b'{"a":1,"a":2}') == {"a": 2}


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_every_ordinary_value_comes_through_unchanged(value: object) -> None:
    assert decode(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_bad_input(body: bytes) -> None:
    with contextlib.suppress(BadInput):
        assert decode(body) == json.loads(body)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), ""),
        (("alerts", 3, "labels", "severity"), "/alerts/3/labels/severity"),
        (("a/b", "c~d"), "/a~1b/c~0d"),
    ],
)
def test_pointers_escape_as_rfc_6901_says(parts: tuple[str | int, ...], text: str) -> None:
    assert pointer(*parts) == text


class _Model(BaseModel):
    count: int
    names: list[str] = []


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"count": "1"}, "/count"),
        ({}, "/count"),
        ({"count": 1, "names": ["a", 2]}, "/names/1"),
        ([], "body"),
        (None, "body"),
    ],
)
def test_a_field_that_does_not_fit_is_named_by_its_pointer(value: object, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        validated(_Model, value)
    assert (caught.value.code, caught.value.where) == ("invalid_field", where)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _of_a_label(name: str) -> str:
    alert = {"status": "firing", "labels": {"alertname": "A", name: {"y": 1}}}
    body = json.dumps({"alerts": [alert]}).encode()
    return alertmanager.parse(body, received_at=datetime.now(UTC), sender="am").rejected[0].where


def _of_a_field(name: str) -> str:
    with pytest.raises(BadInput) as caught:
        validated(_Closed, {name: 1})
    return caught.value.where


@pytest.mark.parametrize("place", [_of_a_label, _of_a_field])
@pytest.mark.parametrize(
    "name",
    [
        *("postgres://app:{}@db/x", "https://h/p?access_token={}", "amqp://u:{}@h/"),
        *("password={}", "a~b/c token: {}", "ghp_{}abcdefghijklmnopqrstuvwx"),
    ],
)
def test_a_place_tells_no_secret_of_a_senders_names(place: Callable[[str], str], name: str) -> None:
    """The pointer's escapes for `/` and `~` would hide from a search what has them in its form."""
    told = place(name.format("Wq777Xk7Qp2Lm9Rt4"))
    assert "Wq777" not in told
    assert "[redacted]" in told


def test_a_refused_value_is_not_echoed() -> None:
    with pytest.raises(BadInput) as caught:
        validated(_Model, {"count": "hunter2"})
    assert "hunter2" not in str(caught.value)
