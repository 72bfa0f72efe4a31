"""Which backups are too many: the newest of each of the last days, weeks and months are kept. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from app.backup.order import Keep

_Period = Callable[[datetime], tuple[int, ...]]


def surplus(known: Mapping[str, datetime], keep: Keep, made: str = "") -> list[str]:
    """Names that nobody wants any more, oldest first. `known` are complete and verified backups by name, with their moments; neither the
    newest of them nor the one that was just `made` is ever surplus. Days, weeks and months are UTC's; those without a backup do not count."""
    wanted: dict[_Period, int] = {_day: keep.daily, _week: keep.weekly, _month: keep.monthly}
    if keep.everything:
        return []
    newest_first = sorted(known, key=lambda name: (known[name], name), reverse=True)
    kept = {made, *newest_first[:1]}
    for period, most in wanted.items():
        firsts: dict[tuple[int, ...], str] = {}
        for name in newest_first:
            firsts.setdefault(period(known[name]), name)
        kept |= set(list(firsts.values())[:most])
    return [name for name in reversed(newest_first) if name not in kept]


def _day(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day)


def _week(at: datetime) -> tuple[int, ...]:
    return tuple(at.isocalendar()[:2])


def _month(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month)
