"""Event Orchestration: keys at the top level and one down, nothing refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import AlertStatus, Delivery, Source
from app.domain.subject import UNREAD
from app.intake import orchestration
from app.intake.fingerprint import fingerprint

NOW = datetime(2026, 3, 4, 10, 16, tzinfo=UTC)
FIELDS = {
    "alertname": "HighErrorRate",
    "namespace": "shop",
    "deployment": "checkout-api",
    "dedup_key": "shop/x",
}
LABELS = {"alertname": "HighErrorRate", "namespace": "shop", "deployment": "checkout-api"}


def parse(body: object) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return orchestration.parse(raw, received_at=NOW)


ENVELOPES: list[dict[str, Any]] = [
    FIELDS,
    {"payload": FIELDS},
    {"parameters": FIELDS, "event": {"other": [1]}},
    {
        "dedup_key": "shop/x",
        "alertname": "HighErrorRate",
        "custom_details": {"namespace": "shop", "deployment": "checkout-api"},
    },
    {"alertname": "HighErrorRate", "parameters": {**FIELDS, "alertname": "Deeper"}},
]


@pytest.mark.parametrize("body", ENVELOPES)
def test_the_keys_are_found_at_the_top_level_and_one_level_down(body: dict[str, Any]) -> None:
    delivery = parse(body)
    assert delivery.rejected == ()
    [alert] = delivery.alerts
    assert {k: v for k, v in alert.labels.items() if k != UNREAD} == LABELS
    assert (alert.source, alert.status, alert.fingerprint) == (
        Source.ORCHESTRATION,
        AlertStatus.FIRING,
        "shop/x",
    )
    assert alert.starts_at == NOW


def test_two_levels_down_only_what_holds_labels_by_its_name_is_looked_into() -> None:
    [alert] = parse({"payload": {"custom_details": FIELDS}}).alerts
    assert alert.labels == LABELS
    [rejected] = parse({"a": {"b": FIELDS}}).rejected
    assert rejected.code == "no_alertname"


def test_texts_become_annotations_and_a_start_is_taken() -> None:
    [alert] = parse(
        {**FIELDS, "summary": "5xx", "created_at": "2026-03-04T10:10:00Z", "severity": "critical"}
    ).alerts
    assert alert.annotations == {"summary": "5xx"}
    assert alert.starts_at == NOW - timedelta(minutes=6)
    assert alert.labels == {**LABELS, "severity": "critical"}


def test_without_a_key_the_identity_comes_from_the_labels() -> None:
    [alert] = parse(LABELS).alerts
    assert alert.fingerprint == fingerprint(LABELS)


def test_a_key_beyond_the_documented_length_is_shortened_and_stays_distinct() -> None:
    one, other = (parse({**LABELS, "dedup_key": "k" * 300 + end}).alerts[0].fingerprint for end in "ab")
    assert one != other
    assert len(one) == 64


def test_of_a_key_with_a_secret_a_digest_is_kept_and_it_stays_distinct() -> None:
    keys = [f"rag7/langgraph password=hunter2-{end}" for end in "ab"]
    one, other = (parse({**LABELS, "dedup_key": key}).alerts[0].fingerprint for key in keys)
    assert one != other
    assert "hunter2" not in one + other
    assert parse({**LABELS, "dedup_key": "rag7/langgraph/X"}).alerts[0].fingerprint == "rag7/langgraph/X"


@pytest.mark.parametrize("state", ["resolve", "Resolved", "acknowledge"])
def test_an_end_is_noted_and_nothing_more(state: str) -> None:
    delivery = parse({**FIELDS, "event_action": state})
    assert (delivery.alerts, delivery.rejected) == ((), ())
    assert delivery.note == f"{state.lower()}: nothing to do"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"x=1", "invalid_json"),
        ([], "not_an_object"),
        ({}, "no_alertname"),
        ({"alertname": " "}, "no_alertname"),
        ({"alertname": ["x", "y"]}, "no_alertname"),
        (b"[" * 100 + b"]" * 100, "json_too_deep"),
    ],
)
def test_what_cannot_be_used_is_kept_with_the_reason(body: object, code: str) -> None:
    delivery = parse(body)
    assert delivery.alerts == ()
    [rejected] = delivery.rejected
    assert rejected.code == code
    assert isinstance(rejected.raw, str)


@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.text(max_size=5),
        st.none() | st.booleans() | st.text() | st.dictionaries(st.text(max_size=5), st.integers()),
    )
)
def test_nothing_is_refused(body: object) -> None:
    delivery = parse(body)
    assert len(delivery.alerts) + len(delivery.rejected) + bool(delivery.note) == 1


def test_a_secret_in_what_people_read_is_hidden() -> None:
    found = parse({**FIELDS, "summary": "login refused: password=hunter2"}).alerts[0]
    assert found.annotations["summary"] == "login refused: password=[redacted]"


def test_a_key_that_gives_a_secret_away_is_shortened_and_stays_distinct() -> None:
    one, other = (
        parse({**LABELS, "dedup_key": f"x: password=sunflower-{end}"}).alerts[0].fingerprint for end in "ab"
    )
    assert one != other
    assert "sunflower" not in one


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "DB_PASSWORD", "value": "zanzibarkoala"},
        {"key": "api_token", "value": "zanzibarkoala"},
        {"contrase\u00f1a": "zanzibarkoala"},
        {"\u043f\u0430\u0440\u043e\u043b\u044c": "zanzibarkoala"},
    ],
)
def test_a_field_that_another_one_or_its_name_in_any_language_calls_a_secret_is_hidden(
    fields: dict[str, str],
) -> None:
    [alert] = parse({**FIELDS, **fields}).alerts
    assert "zanzibarkoala" not in str(alert)
