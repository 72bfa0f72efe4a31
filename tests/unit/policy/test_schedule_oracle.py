"""The times of a schedule around every change of every clock from 2026 to 2028, against a walk through all minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from app.policy.schedule import Schedule

MINUTE = timedelta(minutes=1)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
EVERY = set(range(60))
CRONS: dict[str, tuple[set[int], set[int]]] = {
    "*/20 1-2 * * *": ({0, 20, 40}, {1, 2}),
    "*/20 3 * * *": ({0, 20, 40}, {3}),
    "*/10 */2 * * *": (set(range(0, 60, 10)), set(range(0, 24, 2))),
    "15 * * * *": ({15}, EVERY),
    "30 2 * * *": ({30}, {2}),
    "0,45 0-3 * * *": ({0, 45}, {0, 1, 2, 3}),
    "0 0 * * *": ({0}, {0}),
}


@cache
def _changes() -> tuple[tuple[str, datetime], ...]:
    """One zone for all that change at the same moments by the same, with each moment to the day."""
    found: dict[tuple[tuple[datetime, timedelta | None, timedelta | None], ...], str] = {}
    for name in sorted(available_timezones()):
        zone, day, changed = ZoneInfo(name), BEGIN, []
        while day < END:
            ahead, later = (at.astimezone(zone).utcoffset() for at in (day, day + timedelta(days=1)))
            changed += [(day, ahead, later)] if ahead != later else []
            day += timedelta(days=1)
        found.setdefault(tuple(changed), name)
    return tuple((name, day) for changed, name in found.items() for day, _, _ in changed)


def _walked(cron: str, shown: list[tuple[datetime, datetime]]) -> Iterator[datetime]:
    """What the documented rule gives, minute by minute, of instants with what the clock shows."""
    minutes, hours = CRONS[cron]
    minute, hour, *_ = cron.split()
    real_time, seen = "*" in minute + hour, set[datetime]()
    for (_, before), (at, wall) in pairwise(shown):
        passed = [wall]
        if not real_time:  # with what was skipped on the way to it
            passed += [before + n * MINUTE for n in range(1, max(1, (wall - before) // MINUTE))]
        due = {one for one in passed if one.minute in minutes and one.hour in hours}
        if due if real_time else due - seen:
            yield at
        seen |= due


def test_there_are_clocks_that_change() -> None:
    names = {name for name, _ in _changes()}
    assert len(names) > 15
    assert len(_changes()) > 80


@cache
def _shown(name: str, day: datetime) -> list[tuple[datetime, datetime]]:
    """Each minute around a change, with what the clock shows."""
    zone, begin = ZoneInfo(name), day - timedelta(hours=5)
    instants = [begin + n * MINUTE for n in range(-1, 34 * 60)]
    return [(at, at.astimezone(zone).replace(tzinfo=None)) for at in instants]


@pytest.mark.parametrize("cron", list(CRONS))
def test_the_times_around_every_change_of_a_clock_are_those_of_the_rule(cron: str) -> None:
    for name, day in _changes():
        shown = _shown(name, day)
        wanted = list(_walked(cron, shown))
        schedule, times, at = Schedule(cron=cron, timezone=ZoneInfo(name)), list[datetime](), shown[0][0]
        while (following := schedule.first_after(at)) is not None and following <= shown[-1][0]:
            times.append(following)
            at = following
        assert times == wanted, (name, day)


@pytest.mark.parametrize("second", [0, 1, 29, 59])
def test_a_look_at_any_second_around_a_change_finds_the_same_time(second: int) -> None:
    schedule = Schedule(cron="*/20 1-2 * * *", timezone=ZoneInfo("America/Santiago"))
    turn = datetime(2026, 9, 6, 4, tzinfo=UTC)  # 00:00 is 01:00
    before = turn - timedelta(minutes=1) + timedelta(seconds=second, microseconds=500_000)
    assert schedule.first_after(before) == turn
    assert schedule.first_after(turn) == turn + timedelta(minutes=20)
