"""Numbers as people read them at night: with a unit and no more digits than matter. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.domain.units import counted as count
from app.domain.units import say_memory

__all__ = ["count", "joined", "memory", "millicores", "percent", "seconds", "short", "span"]

memory = say_memory


def span(length: float) -> str:
    """A length of time in seconds as `45 s`, `14 min`, `2 h 5 min`, `3 d 4 h`."""
    rest = max(0, round(length))
    if rest < 100:
        return f"{rest} s"
    minutes = round(rest / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def seconds(value: float) -> str:
    """A response time in seconds as `85 ms`, `1.84 s`, `12 s`."""
    if value < 1:
        return f"{round(value * 1000)} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


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


def short(text: str, length: int) -> str:
    """`text` on one line, cut to `length` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


_PLAIN_WORD = re.compile(r"[A-Z][a-z]+ ")


def joined(parts: Iterable[str]) -> str:
    """Sentences as one, with semicolons; empty ones left out, plain words in lower case after the first."""
    kept = [p for p in parts if p]
    rest = (p[0].lower() + p[1:] if _PLAIN_WORD.match(p) else p for p in kept[1:])
    return "; ".join([*kept[:1], *rest])
