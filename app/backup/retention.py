"""Which backups are too many: of the last days, weeks and months one each is kept, and whatever is recent. And what a backup has lost against
the one before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.backup.order import Keep

_Period = Callable[[datetime], tuple[int, ...]]
_FEW: Final = 10
"""Rows: a table that had fewer may lose them."""
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Known:
    """A complete and verified backup: of which moment, how many rows are in it, and whether it was restored once to try it."""

    at: datetime
    rows: int = 0
    restored: bool = False


def surplus(known: Mapping[str, Known], keep: Keep, made: str = "") -> list[str]:
    """Names that nobody wants any more, oldest first. `known` are complete and verified backups by name. None of these is ever surplus: the
    newest, the one that was just `made`, those of the last hours before it (`Keep.recent`), and the newest that was tried by a restore. Of a
    day the one with the most rows stays, so that what is made after a loss replaces none from before it; of those, weeks and months keep
    their newest. Days, weeks and months are UTC's; those without a backup do not count."""
    if keep.everything:
        return []
    newest_first = sorted(known, key=lambda name: (known[name].at, name), reverse=True)
    kept = {made, *newest_first[:1], *[name for name in newest_first if known[name].restored][:1]}
    if newest_first:
        last = known.get(made, known[newest_first[0]]).at
        kept |= {name for name in known if known[name].at > last - timedelta(hours=keep.recent)}
    fullest: dict[tuple[int, ...], str] = {}
    for name in newest_first:
        best = fullest.setdefault(_day(known[name].at), name)
        if known[name].rows > known[best].rows:
            fullest[_day(known[name].at)] = name
    wanted: dict[_Period, int] = {_day: keep.daily, _week: keep.weekly, _month: keep.monthly}
    for period, most in wanted.items():
        firsts: dict[tuple[int, ...], str] = {}
        for name in fullest.values():
            firsts.setdefault(period(known[name].at), name)
        kept |= set(list(firsts.values())[:most])
    return [name for name in reversed(newest_first) if name not in kept]


def rows_of(manifest: Mapping[str, Any]) -> int:
    """All rows that a manifest tells; 0 where it tells none, as that of a configuration."""
    return sum(_tables(manifest).values())


def lost(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which tables have lost more than half of their rows since the backup before, by both manifests, in words; empty for none."""
    there, left = _tables(before), _tables(now)
    if not there or (not left and "rows" not in now):
        return ""
    found = [
        f"{name} has {left.get(name, 0)} rows, and had {rows}"
        for name, rows in sorted(there.items(), key=lambda one: -one[1])
        if rows >= _FEW and left.get(name, 0) * 2 < rows
    ]
    more = f" and {len(found) - _SHOWN} more tables" if len(found) > _SHOWN else ""
    return f"{'; '.join(found[:_SHOWN])}{more}" if found else ""


def _tables(manifest: Mapping[str, Any]) -> dict[str, int]:
    rows = manifest.get("rows")
    told = rows.items() if isinstance(rows, Mapping) else ()
    return {str(name): number for name, number in told if isinstance(number, int)}


def _day(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day)


def _week(at: datetime) -> tuple[int, ...]:
    return tuple(at.isocalendar()[:2])


def _month(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month)
