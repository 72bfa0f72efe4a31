"""IntOrString: a number or a percentage of a total, as maxSurge, maxUnavailable and minAvailable are written. Pure."""

from __future__ import annotations

import math


def absolute(value: int | str, total: int, *, up: bool) -> int:
    """The number meant by `value` of `total`; percentages are rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        share = total * int(value[:-1]) / 100
        return math.ceil(share) if up else math.floor(share)
    return int(value)
