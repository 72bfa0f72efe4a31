"""Windows in wall-clock time: over midnight, over both changes of the clock, to the second; and the week's post."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.quantities import parse_wall_time
from app.policy.calendar import is_open, last_post, next_change
from app.policy.model import Day, Scorecard, Window


def window(**fields: Any) -> Window:
    return Window.model_validate_json(
        Window.model_validate(
            {"name": "w", "timezone": "Europe/Berlin"} | fields, strict=False
        ).model_dump_json(by_alias=True)
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


FRIDAY_EVENING = {"days": ["fri"], "from": "16:00", "to": "23:59"}
NIGHT = {"days": ["sat"], "from": "22:00", "to": "06:00"}
SMALL_HOURS = {"from": "02:30", "to": "05:00"}


@pytest.mark.parametrize(
    ("fields", "instant", "expected"),
    [
        # Friday 2026-03-06, Berlin is UTC+1
        (FRIDAY_EVENING, "2026-03-06T14:59:59", False),
        (FRIDAY_EVENING, "2026-03-06T15:00:00", True),
        (FRIDAY_EVENING, "2026-03-06T22:59:59", True),  # 23:59:59, read as the end of the day
        (FRIDAY_EVENING, "2026-03-06T23:00:00", False),
        (FRIDAY_EVENING, "2026-03-05T16:00:00", False),
        # over midnight, named by the day it starts on
        (NIGHT, "2026-03-07T20:59:59", False),
        (NIGHT, "2026-03-07T21:00:00", True),
        (NIGHT, "2026-03-08T04:59:59", True),
        (NIGHT, "2026-03-08T05:00:00", False),
        (NIGHT, "2026-03-07T03:00:00", False),
        # summer, Berlin is UTC+2
        (FRIDAY_EVENING, "2026-07-03T14:00:00", True),
        (FRIDAY_EVENING, "2026-07-03T13:59:59", False),
        # the skipped hour of 2026-03-29: 02:30 never comes, 03:00 summer time is inside
        (SMALL_HOURS, "2026-03-29T00:59:59", False),
        (SMALL_HOURS, "2026-03-29T01:00:00", True),
        (SMALL_HOURS, "2026-03-29T03:00:00", False),
        # the repeated hour of 2026-10-25: 02:30 comes twice, both times inside, 02:00 again is not
        (SMALL_HOURS, "2026-10-25T00:30:00", True),
        (SMALL_HOURS, "2026-10-25T01:00:00", False),
        (SMALL_HOURS, "2026-10-25T01:30:00", True),
        (SMALL_HOURS, "2026-10-25T04:00:00", False),
        # whole days by date
        ({"dates": ["2026-12-24"]}, "2026-12-23T23:00:00", True),
        ({"dates": ["2026-12-24"]}, "2026-12-24T22:59:59", True),
        ({"dates": ["2026-12-24"]}, "2026-12-24T23:00:00", False),
        ({"dates": ["2026-12-31"], "from": "20:00", "to": "04:00"}, "2027-01-01T02:59:00", True),
        # zones with odd offsets
        ({"from": "09:00", "to": "10:00", "timezone": "Asia/Kathmandu"}, "2026-03-06T03:15:00", True),
        ({"from": "09:00", "to": "10:00", "timezone": "Asia/Kathmandu"}, "2026-03-06T04:15:00", False),
        ({}, "2026-03-06T12:00:00", True),
    ],
)
def test_a_window_is_open_by_the_wall_clock_of_its_zone(
    fields: dict[str, Any], instant: str, expected: bool
) -> None:
    assert is_open(window(**fields), utc(instant)) is expected


@pytest.mark.parametrize(
    ("fields", "instant", "to_open", "expected"),
    [
        (FRIDAY_EVENING, "2026-03-06T20:00:00", False, "2026-03-06T23:00:00"),
        (FRIDAY_EVENING, "2026-03-06T23:00:00", True, "2026-03-13T15:00:00"),
        (FRIDAY_EVENING, "2026-03-27T20:00:00", False, "2026-03-27T23:00:00"),
        (FRIDAY_EVENING, "2026-03-28T00:00:00", True, "2026-04-03T14:00:00"),  # the clock changed in between
        (NIGHT, "2026-03-07T22:00:00", False, "2026-03-08T05:00:00"),
        (SMALL_HOURS, "2026-03-29T00:00:00", True, "2026-03-29T01:00:00"),
        (SMALL_HOURS, "2026-10-25T00:10:00", True, "2026-10-25T00:30:00"),
        (SMALL_HOURS, "2026-10-25T00:40:00", False, "2026-10-25T01:00:00"),
        (SMALL_HOURS, "2026-10-25T01:10:00", True, "2026-10-25T01:30:00"),
        ({"dates": ["2026-12-24"]}, "2026-03-01T00:00:00", True, "2026-12-23T23:00:00"),
        ({"dates": ["2020-12-24"]}, "2026-03-01T00:00:00", True, None),
        ({}, "2026-03-01T00:00:00", False, None),
    ],
)
def test_the_next_change_is_told_to_the_second(
    fields: dict[str, Any], instant: str, to_open: bool, expected: str | None
) -> None:
    found = next_change([window(**fields)], utc(instant), to_open=to_open)
    assert found == (utc(expected) if expected else None)


def test_overlapping_windows_close_when_the_last_one_does() -> None:
    late = window(name="late", **{"from": "20:00", "to": "23:00"})
    early = window(name="early", **{"from": "18:00", "to": "21:00"})
    assert next_change([late, early], utc("2026-03-06T18:00:00"), to_open=False) == utc("2026-03-06T22:00:00")


def test_windows_of_far_apart_zones_are_looked_at_in_the_order_of_time() -> None:
    east = window(timezone="Pacific/Kiritimati", **{"from": "00:30", "to": "00:40"})  # UTC+14
    west = window(timezone="Pacific/Pago_Pago", **{"from": "23:50", "to": "24:00"})  # UTC-11
    assert next_change([west, east], utc("2026-03-06T10:00:00"), to_open=True) == utc("2026-03-06T10:30:00")
    assert next_change([east, west], utc("2026-03-06T10:45:00"), to_open=True) == utc("2026-03-06T10:50:00")


ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Asia/Kolkata",
    "UTC",
]
minutes = st.integers(0, 1_439)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=minutes,
    end=minutes,
    days=st.lists(st.sampled_from(["mon", "wed", "sat", "sun"]), unique=True, max_size=2),
    day=st.sampled_from(["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"]),
    offset=st.integers(0, 2_880),
)
def test_nothing_changes_before_the_told_instant_and_then_it_does(
    zone: str, start: int, end: int, days: list[str], day: str, offset: int
) -> None:
    if start == end:
        end = start + 1
    one = window(timezone=zone, days=days, **{"from": start, "to": end})
    at = utc(f"{day}T00:00:00") + timedelta(minutes=offset)
    before = is_open(one, at)
    change = next_change([one], at, to_open=not before)
    if change is None:
        assert (start, end, days) in ((0, 1_439, []), (0, 1_440, []))  # always open
        return
    assert is_open(one, change) is not before
    assert is_open(one, max(at, change - timedelta(seconds=1))) is before
    step = timedelta(minutes=7)
    probe = at
    while probe < min(change, at + timedelta(days=3)):
        assert is_open(one, probe) is before
        probe += step


def _post(day: Day, at: str, zone: str) -> Scorecard:
    return Scorecard(day=day, at=parse_wall_time(at), timezone=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("post", "now", "due"),
    [
        (_post(Day.MON, "09:00", "Europe/Berlin"), "2026-03-09T08:00:00", "2026-03-09T08:00:00"),
        (_post(Day.MON, "09:00", "Europe/Berlin"), "2026-03-09T07:59:59", "2026-03-02T08:00:00"),
        (_post(Day.MON, "09:00", "Europe/Berlin"), "2026-03-30T07:00:00", "2026-03-30T07:00:00"),  # summer
        (
            _post(Day.MON, "00:00", "Pacific/Auckland"),
            "2026-03-08T11:00:00",
            "2026-03-08T11:00:00",
        ),  # still Sunday here
        (
            _post(Day.SUN, "02:30", "Europe/Berlin"),
            "2026-03-29T01:29:59",
            "2026-03-22T01:30:00",
        ),  # skipped ...
        (
            _post(Day.SUN, "02:30", "Europe/Berlin"),
            "2026-03-29T01:30:00",
            "2026-03-29T01:30:00",
        ),  # ... comes at 3:30
        (
            _post(Day.SUN, "02:30", "Europe/Berlin"),
            "2026-10-25T00:30:00",
            "2026-10-25T00:30:00",
        ),  # first of two
        (
            _post(Day.SUN, "02:30", "Europe/Berlin"),
            "2026-10-25T01:30:00",
            "2026-10-25T00:30:00",
        ),  # not the second
        (_post(Day.THU, "12:00", "UTC"), "2026-01-01T11:00:00", "2025-12-25T12:00:00"),
    ],
)
def test_the_weeks_post_was_last_due_at_its_wall_clock_hour(post: Scorecard, now: str, due: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert last_post(post, at)[0] == datetime.fromisoformat(due).replace(tzinfo=UTC)


@given(
    at=st.integers(1_735_700_000, 1_830_300_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    day=st.sampled_from(Day),
    minutes=st.integers(0, 24 * 60 - 1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_a_post_is_due_within_every_week_and_never_in_the_future(
    at: datetime, day: Day, minutes: int, zone: str
) -> None:
    due, local = last_post(Scorecard(day=day, at=minutes, timezone=ZoneInfo(zone)), at)
    assert due <= at < due + timedelta(days=7, hours=2)
    assert list(Day)[local.weekday()] is day
