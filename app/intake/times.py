"""RFC 3339 times as senders write them: 0 to 9 fraction digits, any offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# What `fromisoformat` takes beyond RFC 3339 (week dates, missing seconds, commas) is refused here.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FIRST_YEAR = 1970


def rfc3339(text: object) -> datetime | None:
    """The time in UTC, nanoseconds cut to microseconds; None for what is no RFC 3339 time.

    Go writes "no time" as 0001-01-01T00:00:00Z; that and every time before 1970 is None too.
    """
    if not isinstance(text, str) or _RFC3339.fullmatch(text) is None:
        return None
    try:
        time = datetime.fromisoformat(text.upper())
        if time.tzinfo is not UTC:
            time = time.astimezone(UTC)
    except (ValueError, OverflowError):  # 30 February; an offset that leaves the calendar
        return None
    return time if time.year >= _FIRST_YEAR else None
