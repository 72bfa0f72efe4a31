"""Alertmanager's time intervals: whether some of them together hold always, never, or at times.

Called by `app.doctor.routes`. Pure. What cannot be read holds at times: nothing certain is said of it. A zone (`location`) moves the days and
changes neither always nor never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

_DAY: Final = 24 * 60
_AHEAD: Final = 4 * 366
"""Days that are looked at: every day of a calendar comes in four years, but for some leap days."""
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_SUNDAY = 6

Interval = Mapping[str, Any]


class Holds(StrEnum):
    """When intervals hold, from now on."""

    ALWAYS = "always"
    NEVER = "never"
    AT_TIMES = "at times"


def holds(intervals: Sequence[Interval], now: datetime) -> Holds:
    """When one of these intervals holds, from now on."""
    try:
        later = any(last > now.year + 3 for one in intervals for _, last in _years(one))
        days = [_minutes(intervals, now + timedelta(days=day)) for day in range(_AHEAD)]
    except (ValueError, TypeError, AttributeError):
        return Holds.AT_TIMES
    if all(day == _DAY for day in days):
        return Holds.ALWAYS
    return Holds.AT_TIMES if later or any(days) else Holds.NEVER


def _minutes(intervals: Sequence[Interval], day: datetime) -> int:
    """How many minutes of this day they hold together."""
    held, reached = 0, 0
    for start, end in sorted(span for one in intervals if _is_on(one, day) for span in _times(one)):
        held += max(0, end - max(start, reached))
        reached = max(reached, end)
    return held


def _is_on(interval: Interval, day: datetime) -> bool:
    last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(
        days=1
    )  # the month's last day
    return (
        _within(_years(interval), day.year)
        and _within(_ranges(interval, "months", _month), day.month)
        and _within(_ranges(interval, "weekdays", _weekday), day.weekday())
        and _within(_ranges(interval, "days_of_month", lambda text: _day_of(text, last.day)), day.day)
    )


def _day_of(text: str, last: int) -> int:
    """The day of a month of so many days; a negative one counts from its end."""
    day = int(text)
    return day if day > 0 else last + 1 + day


def _within(spans: Sequence[tuple[int, int]], value: int) -> bool:
    """No range at all is every value."""
    return not spans or any(start <= value <= end for start, end in spans)


def _years(interval: Interval) -> list[tuple[int, int]]:
    return _ranges(interval, "years", int)


def _ranges(interval: Interval, key: str, read: Callable[[str], int]) -> list[tuple[int, int]]:
    found = []
    for one in interval.get(key) or ():
        first, _, last = str(one).rpartition(":")
        start, end = read(first or last), read(last)
        # Alertmanager's week begins on Sunday, so that sunday:friday is no range that goes backwards.
        wraps = read is _weekday and start > end
        found += [(start, _SUNDAY), (0, end)] if wraps else [(start, end)]
    return found


def _weekday(name: str) -> int:
    return _WEEKDAYS.index(name.strip().lower())


def _month(name: str) -> int:
    text = name.strip().lower()
    return int(text) if text.isdigit() else _MONTHS.index(text) + 1


def _times(interval: Interval) -> Iterator[tuple[int, int]]:
    spans = interval.get("times") or ()
    if not spans:
        yield 0, _DAY
    for one in spans:
        yield _minute(one["start_time"]), _minute(one["end_time"])


def _minute(at: object) -> int:
    """`09:30`; YAML reads 17:00 without quotes as a number to the base of 60."""
    if isinstance(at, int):
        return at
    hour, _, minute = str(at).partition(":")
    return int(hour) * 60 + int(minute)
