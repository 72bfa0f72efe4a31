"""Times, text and JSON as they stand in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.json import canonical
from app.store.connection import (
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    object_or_none,
    storable,
    to_json,
    to_text,
)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - made aware below
def test_every_microsecond_survives_the_round_trip(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC)
    assert moment(micros(at)) == at


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    at = datetime(2026, 3, 1, 3, 0, tzinfo=timezone(timedelta(hours=2)))
    assert moment(micros(at)) == at
    assert moment(micros(at)).tzinfo is UTC


def test_none_stays_none() -> None:
    assert (micros_or_none(None), moment_or_none(None), object_or_none(None)) == (None, None, None)
    assert moment_or_none(micros_or_none(datetime(2026, 1, 1, tzinfo=UTC))) == datetime(
        2026, 1, 1, tzinfo=UTC
    )
    assert object_or_none({"b": 1, "a": 2}) == '{"a":2,"b":1}'


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("ä ✓", "ä ✓"),
        ("a\0b", "a\ufffdb"),
        ("ä\0", "ä\ufffd"),
        ("\ud800x", "?x"),
        ("", ""),
    ],
)
def test_text_is_kept_as_far_as_a_database_can(text: str, stored: str) -> None:
    assert storable(text) == stored


@given(st.text())
def test_any_text_becomes_storable_and_stays_so(text: str) -> None:
    kept = storable(text)
    assert "\0" not in kept
    assert kept.encode().decode() == kept
    assert storable(kept) == kept


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


@given(_VALUES)
def test_json_is_the_canonical_text_of_the_domain_and_reads_back(value: Any) -> None:
    assert to_text(value) == canonical(value)
    assert to_json(to_text(value)) == value
    assert to_text(to_json(to_text(value))) == to_text(value)


def test_json_with_a_lone_surrogate_is_storable() -> None:
    assert to_text({"a": "\ud800"}) == '{"a":"?"}'
