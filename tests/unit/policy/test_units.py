"""Quantities: what is written is what is meant, and is written back the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.quantities import (
    Limit,
    Limits,
    Percent,
    duration_text,
    parse_duration,
    parse_limits,
    parse_percent,
    parse_wall_time,
    wall_time_text,
)
from app.domain.units import duration

seconds = st.integers(0, 366 * 86_400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_read_with_their_units(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "15", "15 m", "m15", "1m1h", "1.5h", "-5m", "15M", "1h1h", "٣m", 15, None, True, []]
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["367d", "366d1s", "999999d"])
def test_a_duration_beyond_a_year_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at most 366d"):
        parse_duration(text)


@given(seconds)
def test_durations_read_back_as_written(n: int) -> None:
    assert parse_duration(duration_text(timedelta(seconds=n))) == timedelta(seconds=n)


@pytest.mark.parametrize(
    ("n", "exact", "short"),
    [
        (0, "0s", "0s"),
        (59, "59s", "59s"),
        (252, "4m12s", "4m12s"),
        (3_600, "1h", "1h"),
        (3_605, "1h5s", "1h"),
        (86_400, "24h", "1d"),
        (7 * 86_400, "7d", "7d"),
        (90_061, "25h1m1s", "1d1h"),
    ],
)
def test_spans_are_written_exactly_in_policies_and_roughly_in_measurements(
    n: int, exact: str, short: str
) -> None:
    assert (duration_text(timedelta(seconds=n)), duration(timedelta(seconds=n))) == (exact, short)


def test_a_time_that_lies_ahead_is_shown_as_no_time_ago() -> None:
    assert duration(timedelta(seconds=-5)) == "0s"
    assert duration_text(timedelta(seconds=-90)) == "-1m30s"


@pytest.mark.parametrize(
    ("text", "hundredths"), [("30%", 3_000), ("12.5%", 1_250), ("0%", 0), ("100 %", 10_000), ("0.05%", 5)]
)
def test_percentages_are_exact_to_two_decimals(text: str, hundredths: int) -> None:
    assert parse_percent(text) == Percent(hundredths)


@pytest.mark.parametrize("text", ["30", "101%", "100.01%", "-1%", "1.234%", "%", 30, 0.3, None])
def test_anything_else_is_no_percentage(text: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_percent(text)


@given(st.integers(0, 10_000))
def test_percentages_read_back_as_written(hundredths: int) -> None:
    assert parse_percent(str(Percent(hundredths))) == Percent(hundredths)


@given(st.integers(0, 10_000), st.integers(0, 100_000))
def test_a_share_is_never_more_than_the_percentage_says(hundredths: int, count: int) -> None:
    share = Percent(hundredths).of(count)
    assert share * 10_000 <= count * hundredths < (share + 1) * 10_000


def test_a_share_is_rounded_down() -> None:
    assert [Percent(3_000).of(n) for n in (0, 1, 3, 4, 6, 7, 10)] == [0, 0, 0, 1, 1, 2, 3]


@given(st.dictionaries(st.integers(1, 90_000), st.integers(0, 999_999), min_size=1, max_size=4))
def test_limits_read_back_as_written(windows: dict[int, int]) -> None:
    limits = Limits(tuple(Limit(count, timedelta(seconds=window)) for window, count in windows.items()))
    assert parse_limits(str(limits)) == limits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3 per",
        "3 per hour",
        "3 per 0s",
        "-1 per 1h",
        "3 per 1h and",
        "3 per 1h, 7 per 24h",
        3,
        ["3 per 1h"],
    ],
)
def test_anything_else_is_no_limit(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected|empty"):
        parse_limits(text)


def test_two_limits_for_one_window_are_refused() -> None:
    with pytest.raises(ValueError, match="two limits for the same window"):
        parse_limits("3 per 1h and 4 per 60m")


@given(st.integers(0, 1_440))
def test_times_of_day_read_back_as_written(minutes: int) -> None:
    assert parse_wall_time(wall_time_text(minutes)) == minutes


@pytest.mark.parametrize(
    "text", ["24:01", "25:00", "12:60", "9:00", "0900", "", "noon", -1, 1_441, True, None]
)
def test_anything_else_is_no_time_of_day(text: object) -> None:
    with pytest.raises(ValueError, match="expected a time of day"):
        parse_wall_time(text)
