"""Counts, durations and moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.units import counted, duration, few, utc


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45, "45s"),
        (59.6, "1m"),
        (192, "3m12s"),
        (3840, "1h4m"),
        (183_600, "2d3h"),
        (-5, "0s"),
    ],
)
def test_durations_have_their_two_biggest_units(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_counts_read_as_english() -> None:
    assert [counted(n, "alert") for n in (0, 1, 2, 1234)] == [
        "0 alerts",
        "1 alert",
        "2 alerts",
        "1,234 alerts",
    ]
    assert counted(3, "policy", "policies") == "3 policies"


def test_of_many_texts_the_first_are_told_and_the_others_counted() -> None:
    assert few(["a", "b"], 2) == ["a", "b"]
    assert few(["a", "b", "c"], 2) == ["a", "b", "and 1 more"]
    assert few(["a"] * 3_001, 1) == ["a", "and 3,000 more"]


def test_instants_are_shown_in_utc() -> None:
    assert utc(datetime(2026, 3, 4, 3, 0, 5, tzinfo=UTC)) == "2026-03-04 03:00:05 UTC"
