"""Which backups are too many: of the last days, weeks and months one each is kept, and whatever is recent. And what a backup has lost against
the one before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from app.backup.order import Keep

_Period = Callable[[datetime], tuple[int, ...]]
_FEW: Final = 10
"""Rows: a table that had fewer may lose them."""
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Known:
    """A complete and verified backup: of which moment, how many rows of each table are in it, and whether it was restored once to try it."""

    at: datetime
    tables: Mapping[str, int] = field(default_factory=dict)
    restored: bool = False

    @property
    def rows(self) -> int:
        """All of them; 0 where the manifest tells none, as that of a configuration."""
        return sum(self.tables.values())


def surplus(known: Mapping[str, Known], keep: Keep, made: str = "") -> list[str]:
    """Names that nobody wants any more, oldest first. `known` are complete and verified backups by name. None of these is ever surplus: the
    newest, the one that was just `made`, those of the last hours before it (`Keep.recent`), and the newest that was tried by a restore. Of a
    day the one with the most rows stays, and beside it what has rows of a table that it lost, so that what is made after a loss replaces none
    from before it, whatever the other tables grew by; of those days, weeks and months keep their newest. Days, weeks and months are UTC's;
    those without a backup do not count."""
    if keep.everything:
        return []
    newest_first = sorted(known, key=lambda name: (known[name].at, name), reverse=True)
    kept = {made, *newest_first[:1], *[name for name in newest_first if known[name].restored][:1]}
    if newest_first:
        last = known.get(made, known[newest_first[0]]).at
        kept |= {name for name in known if known[name].at > last - timedelta(hours=keep.recent)}
    days: dict[tuple[int, ...], list[str]] = {}
    for name in newest_first:
        days.setdefault(_day(known[name].at), []).append(name)
    wanted: dict[_Period, int] = {_day: keep.daily, _week: keep.weekly, _month: keep.monthly}
    for period, most in wanted.items():
        firsts: dict[tuple[int, ...], list[str]] = {}
        for names in days.values():
            firsts.setdefault(period(known[names[0]].at), names)
        for names in list(firsts.values())[:most]:
            kept.update(_staying(known, names))
    return [name for name in reversed(newest_first) if name not in kept]


def _staying(known: Mapping[str, Known], names: Sequence[str]) -> list[str]:
    """Those of a day, newest first, that the others do not replace: the one with the most rows, and the newest ones that have a table which in
    none of those that stay is half as full. Each table is judged alone: a log that grows outweighs any loss."""
    stay = [max(names, key=lambda name: known[name].rows)]
    most = dict(known[stay[0]].tables)
    for name in names:
        tables = known[name].tables
        if any(_is_loss(rows, most.get(table, 0)) for table, rows in tables.items()):
            stay.append(name)
            most |= {table: max(rows, most.get(table, 0)) for table, rows in tables.items()}
    return stay


def lost(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which tables have lost more than half of their rows since the backup before, by both manifests, in words; empty for none."""
    there, left = tables_of(before), tables_of(now)
    if not there or (not left and "rows" not in now):
        return ""
    found = [
        f"{name} has {left.get(name, 0)} rows, and had {rows}"
        for name, rows in sorted(there.items(), key=lambda one: -one[1])
        if _is_loss(rows, left.get(name, 0))
    ]
    more = f" and {len(found) - _SHOWN} more tables" if len(found) > _SHOWN else ""
    return f"{'; '.join(found[:_SHOWN])}{more}" if found else ""


def tables_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """The rows of each table that a manifest tells."""
    rows = manifest.get("rows")
    told = rows.items() if isinstance(rows, Mapping) else ()
    return {str(name): number for name, number in told if isinstance(number, int)}


def _is_loss(rows: int, left: int) -> bool:
    """Whether a table that had so many rows, of which so many are left, has lost more than half of them."""
    return rows >= _FEW and left * 2 < rows


def _day(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day)


def _week(at: datetime) -> tuple[int, ...]:
    return tuple(at.isocalendar()[:2])


def _month(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month)
