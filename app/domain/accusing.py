"""Whom the error lines of a program's logs accuse, all together. Pure.

Most programs write a line about somebody else now and then (an exporter that is late, a client that hung up): a few beside the program's
own errors are their everyday, and prove nothing against these. Unless they came first: what was not fetched when a pod started is told once, and is
missing in each request then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum


class Sign(StrEnum):
    """Whom a line accuses. OWN: the program or what it was given, by a type or words that only that can have; OTHERS: what it connects to,
    who lets it in, or where it runs; NONE: nobody."""

    OWN = "own"
    OTHERS = "others"
    NONE = "none"


_SOME = 0.1
"""So much of the lines that accuse somebody is more than noise."""
_FIRST = timedelta(seconds=10)
"""Lines of the same moment have no order, and of errors that come all the time the first that is read is not the first."""


def came_first(lines: Iterable[tuple[str, Sign, datetime | None]]) -> bool:
    """Whether a pod had an error that accuses others clearly before its first one that accuses the program. Each line by its pod, sign and time."""
    first: dict[tuple[str, Sign], datetime] = {}
    for pod, sign, at in lines:
        if at is not None:
            first[pod, sign] = min(at, first.get((pod, sign), at))
    own = {pod: at for (pod, sign), at in first.items() if sign is Sign.OWN}
    return any(
        sign is Sign.OTHERS and pod in own and at + _FIRST <= own[pod] for (pod, sign), at in first.items()
    )


def accused(own: int, follows: int, others: int, unclear: int, *, others_first: bool) -> Sign:
    """Whom most of those lines accuse that accuse somebody, where they are a tenth. Of the `own`, which accuse the program, so many `follow` perhaps
    from what others did not give: they do not where few accuse `others`, and none did first."""
    if not own + others or own + others < (own + others + unclear) / 10:
        return Sign.NONE
    few = others < _SOME * (own + others) and not others_first
    return Sign.OWN if few or own - follows > others else Sign.OTHERS
