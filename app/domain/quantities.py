"""Quantities as policies write them: durations, percentages, limits, wall-clock times.

Used by the policy models and by gates to show numbers with units. Pure; every parser raises ValueError with a
message that says what was expected, and `str` of a parsed value parses back to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?\s?%", re.ASCII)
_LIMIT = re.compile(r"(\d{1,6}) per (\S+)", re.ASCII)
_WALL_TIME = re.compile(r"(\d{2}):(\d{2})", re.ASCII)
DAY_MINUTES = 24 * 60
LONGEST = timedelta(days=366)
"""Nothing in a policy lasts longer; also keeps sums with instants inside of the calendar."""


def parse_duration(text: object) -> timedelta:
    """Read `90s`, `15m`, `1h30m`, `7d` (units d, h, m, s, each once, in this order; at most 366d). Raises ValueError."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if found is None:
        raise ValueError(f"expected a duration such as 90s, 15m, 1h or 7d, got {text!r}")
    parts = zip(_UNITS.values(), found.groups(), strict=True)
    span = timedelta(seconds=sum(size * int(n) for size, n in parts if n))
    if span > LONGEST:
        raise ValueError(f"expected a duration of at most {LONGEST.days}d, got {text!r}")
    return span


@lru_cache(maxsize=1024)
def duration_text(span: timedelta) -> str:
    """Write a duration exactly: `0s`, `15m`, `24h`, `7d`, `1h30m`. Whole days only from two days on."""
    rest = int(span.total_seconds())
    sign, rest = ("-", -rest) if rest < 0 else ("", rest)
    if rest and rest % 86_400 == 0 and rest >= 2 * 86_400:
        return f"{sign}{rest // 86_400}d"
    parts = []
    for unit in ("h", "m", "s"):
        n, rest = divmod(rest, _UNITS[unit])
        if n:
            parts.append(f"{n}{unit}")
    return sign + "".join(parts) if parts else "0s"


@dataclass(frozen=True, slots=True, order=True)
class Percent:
    """A percentage, exact to two decimals. `hundredths` of one percent: 30 % is 3000."""

    hundredths: int

    def of(self, count: int) -> int:
        """This share of `count`, rounded down: a limit is never exceeded by rounding."""
        return count * self.hundredths // 10_000

    def __str__(self) -> str:
        whole, part = divmod(self.hundredths, 100)
        return f"{whole}.{part:02d}".rstrip("0") + "%" if part else f"{whole}%"


def parse_percent(text: object) -> Percent:
    """Read `30%` or `12.5%`, between 0 and 100. Raises ValueError."""
    if isinstance(text, Percent):
        return text
    found = _PERCENT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"expected a percentage such as 30%, got {text!r}")
    value = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
    if value > 10_000:
        raise ValueError(f"expected at most 100%, got {text!r}")
    return Percent(value)


@dataclass(frozen=True, slots=True, order=True)
class Limit:
    """At most `count` actions in any window of this length."""

    count: int
    window: timedelta

    def __str__(self) -> str:
        return f"{self.count} per {duration_text(self.window)}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Several limits that hold together."""

    each: tuple[Limit, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.each))


def parse_limits(text: object) -> Limits:
    """Read `3 per 1h` or `3 per 1h and 7 per 24h`. Raises ValueError."""
    if isinstance(text, Limits):
        return text
    parts = text.split(" and ") if isinstance(text, str) else [repr(text)]
    limits = tuple(_limit(part) for part in parts)
    if len({limit.window for limit in limits}) != len(limits):
        raise ValueError(f"two limits for the same window in {text!r}")
    return Limits(limits)


def _limit(text: str) -> Limit:
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected limits such as '3 per 1h and 7 per 24h', got {text!r}")
    window = parse_duration(found[2])
    if not window:
        raise ValueError(f"the window of {text!r} is empty")
    return Limit(int(found[1]), window)


def parse_wall_time(text: object) -> int:
    """Read `16:00` as minutes after midnight; `24:00` is the end of the day. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text <= DAY_MINUTES:
        return text
    found = _WALL_TIME.fullmatch(text) if isinstance(text, str) else None
    minutes = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else DAY_MINUTES + 1
    if minutes > DAY_MINUTES:
        raise ValueError(f"expected a time of day such as '16:00', up to '24:00', got {text!r}")
    return minutes


def wall_time_text(minutes: int) -> str:
    """Write minutes after midnight as `16:00`."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
