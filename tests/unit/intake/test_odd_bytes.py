"""One byte that is no UTF-8, or one field that is nested too deep, costs no delivery of Alertmanager's."""

from __future__ import annotations

import json

import pytest

from app.domain.errors import BadInput
from tests.unit.intake.test_alertmanager import alert, message, parse

DEEP = b"[" * 60 + b'{"a":"]}"}' + b"]" * 60


@pytest.mark.parametrize(
    "extra",
    [
        b'"extra":' + DEEP,
        b'"extra":{"a":' + DEEP + b',"b":' + DEEP + b"}",
        b'"extra":' + b"[" * 5_000 + b"]" * 5_000,
    ],
)
def test_a_field_that_is_nested_too_deep_costs_no_alert(extra: bytes) -> None:
    body = json.dumps(message(alert())).encode()
    assert parse(b"{" + extra + b"," + body[1:]) == parse(body)
    inside = body.replace(b'"labels"', extra + b',"labels"', 1)
    assert parse(inside).alerts == parse(body).alerts


def test_a_byte_that_is_no_utf_8_costs_no_alert() -> None:
    body = json.dumps(message(alert(annotations={"summary": "caf@"}))).encode()
    (read,) = parse(body.replace(b"@", b"\xe9")).alerts
    assert read.annotations == {"summary": "caf\N{REPLACEMENT CHARACTER}"}
    with pytest.raises(BadInput):
        parse(b"\xe9" + body)
