"""Manual triggers: the shape of the order, and when two requests are the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.alert import Delivery, Source
from app.domain.errors import BadInput
from app.intake import manual
from app.intake.auth import Principal, Scope

NOW = datetime(2026, 3, 4, 10, 16, tzinfo=UTC)
TARGET = {"namespace": "rag7", "kind": "Deployment", "name": "langgraph"}


def order(**changes: Any) -> dict[str, Any]:
    """A good order; None removes a field."""
    fields = {"remediation": "high-error-rate", "target": TARGET, "reason": "drill", **changes}
    return {name: value for name, value in fields.items() if value is not None}


def parse(body: object, key: str = "", by: str = "robin") -> Delivery:
    return manual.parse(
        json.dumps(body).encode(),
        received_at=NOW,
        by=Principal(by, frozenset({Scope.TRIGGER})),
        idempotency_key=key,
    )


def test_an_order_becomes_a_delivery_with_a_request() -> None:
    delivery = parse(order(params={"scale_to": 5}, dry_run=True))
    assert (delivery.source, delivery.sender, delivery.received_at) == (Source.MANUAL, "robin", NOW)
    assert delivery.alerts == ()
    request = delivery.manual
    assert request is not None
    assert request.target == "rag7/Deployment/langgraph"
    assert (request.remediation, request.reason, request.requested_by) == (
        "high-error-rate",
        "drill",
        "robin",
    )
    assert request.params == {"scale_to": 5}
    assert request.dry_run is True


def test_an_order_changes_something_unless_it_says_otherwise() -> None:
    request = parse(order()).manual
    assert request is not None
    assert request.dry_run is False
    assert request.params == {}


BAD = [
    ([], "body"),
    (order(remediation=None), "/remediation"),
    (order(remediation="High Error"), "/remediation"),
    (order(remediation="-x"), "/remediation"),
    (order(target=None), "/target"),
    (order(target="rag7/Deployment/x"), "/target"),
    (order(target={**TARGET, "kind": "Secret"}), "/target/kind"),
    (order(target={**TARGET, "kind": "deployment"}), "/target/kind"),
    (order(target={**TARGET, "namespace": "../x"}), "/target/namespace"),
    (order(target={**TARGET, "namespace": "a" * 64}), "/target/namespace"),
    (order(target={**TARGET, "name": ""}), "/target/name"),
    (order(target={**TARGET, "name": "a/b"}), "/target/name"),
    (order(target={**TARGET, "name": "a\n"}), "/target/name"),
    (order(target={**TARGET, "uid": "x"}), "/target/uid"),
    (order(reason=None), "/reason"),
    (order(reason=""), "/reason"),
    (order(reason="  \n"), "/reason"),
    (order(reason="x" * 2001), "/reason"),
    (order(dry_run="yes"), "/dry_run"),
    (order(dry_run=1), "/dry_run"),
    (order(params=[]), "/params"),
    (order(mode="auto"), "/mode"),
]


@pytest.mark.parametrize(("body", "where"), BAD)
def test_an_order_that_does_not_fit_is_refused_with_the_place(body: object, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(body)
    assert (caught.value.code, caught.value.where) == ("invalid_field", where)


def test_an_order_above_64_kib_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        parse(order(params={"x": "y" * 70_000}))
    assert caught.value.code == "body_too_large"


def test_requests_are_the_same_when_their_meaning_is() -> None:
    body = json.dumps(order(dry_run=False, params={}), indent=2).encode()
    spelled_out = manual.parse(
        body, received_at=NOW, by=Principal("robin", frozenset({Scope.OPERATE})), idempotency_key="k1"
    )
    assert spelled_out.body_digest == parse(order(), "k1").body_digest
    assert parse(order(reason="other"), "k1").body_digest != spelled_out.body_digest


@pytest.mark.parametrize(
    "params",
    [
        {"image": "https://u:hunter2@registry.test/x"},
        {"checks": ["select 1", "ALTER ROLE x PASSWORD 'hunter2'"]},
        {"note": {"password=hunter2": 1}},
    ],
)
def test_a_param_with_a_secret_is_refused_with_its_name_alone(params: dict[str, Any]) -> None:
    """Without the secret it would be another order, so nothing is left out of it in silence."""
    with pytest.raises(BadInput) as refused:
        parse(order(params=params))
    assert refused.value.code == "secret_in_param"
    assert refused.value.where == f"/params/{next(iter(params))}"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("reason", ["\u200b", "\u3164\u2800", "\x1b\x00"])
def test_a_reason_that_nobody_can_read_is_none(reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(order(reason=reason))
    assert refused.value.code == "no_reason"


def test_keys_are_kept_apart_by_caller() -> None:
    assert parse(order(), "k1").dedupe_key == "robin:k1"
    assert parse(order(), "k1", by="kim").dedupe_key == "kim:k1"
    assert parse(order()).dedupe_key == ""


@pytest.mark.parametrize("key", [" ", "a b", "ü", "x" * 256, "a\n"])
def test_a_key_that_is_no_visible_ascii_is_refused(key: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(order(), key)
    assert (caught.value.code, caught.value.where) == ("bad_idempotency_key", "Idempotency-Key")
