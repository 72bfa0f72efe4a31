"""Time zones by IANA name, as policies write them. Raises ValueError for unknown ones; reads the zone database only."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def parse_zone(value: object) -> ZoneInfo:
    """Read `Europe/Berlin`. Raises ValueError: a typo must not silently become UTC."""
    if isinstance(value, ZoneInfo):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a time zone such as Europe/Berlin or UTC, got {value!r}")
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"unknown time zone {value!r}; expected a name such as Europe/Berlin or UTC"
        ) from error
