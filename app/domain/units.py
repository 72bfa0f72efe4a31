"""Counts, durations and moments as people read them, and the form of quantities that the API server takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

QUANTITY = re.compile(r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d{1,2}|[KMGTPE]i|[numkMGTPE])?", re.ASCII)
"""A quantity such as `512Mi`, as a whole. The client library also takes spaces, underscores, NaN and the suffix K, which the
API server does not."""
_SIZES = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 pod`, `3 pods`, `1,200 alerts`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def few(texts: Sequence[str], most: int = 5) -> list[str]:
    """The first `most` of them, and how many more there are: whoever writes a manifest writes as many as they like."""
    more = len(texts) - most
    return [*texts[:most], *([f"and {more:,} more"] if more > 0 else [])]


def say_memory(amount: int) -> str:
    """Bytes for people: `512 MiB`, `1.5 GiB`, `900 B`; at most one decimal."""
    for unit, power in (("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        size = 1024**power
        if abs(amount) >= size:
            tenths = (amount * 10 + size // 2) // size
            return f"{tenths // 10} {unit}" if tenths % 10 == 0 else f"{tenths / 10:.1f} {unit}"
    return f"{amount} B"


def duration(span: timedelta) -> str:
    """A measured span with its two largest units: `45s`, `3m12s`, `1h4m`, `2d3h`, `1h`. A negative one is `0s`."""
    rest = max(0, round(span.total_seconds()))
    for at, (unit, size) in enumerate(_SIZES):
        number, rest = divmod(rest, size)
        if number:
            minor = rest // _SIZES[at + 1][1] if at + 1 < len(_SIZES) else 0
            return f"{number}{unit}" + (f"{minor}{_SIZES[at + 1][0]}" if minor else "")
    return "0s"


def utc(at: datetime) -> str:
    """A moment in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def percent(share: float) -> str:
    """A share as `0.4 %`, `12 %`."""
    value = share * 100
    return f"{value:.1f} %" if 0 < value < 10 and round(value, 1) != round(value) else f"{value:.0f} %"


def millicores(value: int) -> str:
    """CPU as `250m`, `2 cores`, `1.5 cores`."""
    if value < 1000:
        return f"{value}m"
    cores = round(value / 1000, 1)
    return "1 core" if cores == 1 else f"{cores:g} cores"
