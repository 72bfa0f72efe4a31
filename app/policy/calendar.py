"""Calendar: is a recurring window open at an instant, and when does that change? When was the week's post due?

A window is meant in wall-clock time of its zone, so membership is asked of the local clock: an hour that daylight saving
repeats is inside twice, one that it skips never comes. Called by the window gate and for the weekly scorecard. Pure; instants are aware datetimes,
results are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from app.domain.quantities import DAY_MINUTES
from app.policy.model import Day, Scorecard, Window

_HORIZON_DAYS = 400
"""How far ahead a change is looked for; a window that names only past dates never opens again."""

_DAYS = tuple(Day)
_END_AS_PEOPLE_MEAN_IT = DAY_MINUTES - 1


def is_open(window: Window, at: datetime) -> bool:
    """True when the wall clock of the window's zone stands inside it."""
    local = at.astimezone(window.timezone)
    minute = local.hour * 60 + local.minute
    today, end = local.date(), _end(window)
    if window.start < end:
        return _starts_on(window, today) and window.start <= minute < end
    started_yesterday = _starts_on(window, today - timedelta(days=1)) and minute < end
    return started_yesterday or (_starts_on(window, today) and minute >= window.start)


def next_change(windows: Sequence[Window], at: datetime, *, to_open: bool) -> datetime | None:
    """The first instant after `at` at which one of the windows is open (or all are closed). None within 400 days."""
    midnight = datetime.combine(at.astimezone(UTC).date(), time(), tzinfo=UTC)
    for _ in range(_HORIZON_DAYS):
        following = midnight + timedelta(days=1)
        for moment in _boundaries_of_day(tuple(windows), following):
            if moment > at and any(is_open(w, moment) for w in windows) is to_open:
                return moment
        midnight = following
    return None


def last_post(post: Scorecard, at: datetime) -> tuple[datetime, date]:
    """The last moment at or before `at` at which the scorecard was to be posted, and its local date.

    An hour that daylight saving repeats is meant once, the first time; one that it skips comes when the clock has moved on.
    """
    today = at.astimezone(post.timezone).date()
    for back in range(8):
        day = today - timedelta(days=back)
        if _DAYS[day.weekday()] is post.day and (moment := post_on(post, day)) <= at:
            return moment, day
    raise AssertionError("a week has every day")


def post_on(post: Scorecard, day: date) -> datetime:
    """The moment on this local date, in UTC."""
    wall = datetime.combine(day, time(post.at // 60, post.at % 60), tzinfo=post.timezone)
    return wall.astimezone(UTC)


@lru_cache(maxsize=1024)
def _boundaries_of_day(windows: tuple[Window, ...], until: datetime) -> tuple[datetime, ...]:
    """Boundaries in the 24 hours up to and with `until`, in order. Local days of all zones that touch this UTC day lie within
    one day of it."""
    after, days = until - timedelta(days=1), [until.date() + timedelta(days=n) for n in (-2, -1, 0, 1)]
    return tuple(
        sorted({m for w in windows for day in days for m in _boundaries(w, day) if after < m <= until})
    )


def _end(window: Window) -> int:
    return DAY_MINUTES if window.end == _END_AS_PEOPLE_MEAN_IT else window.end


def _starts_on(window: Window, day: date) -> bool:
    if window.dates:
        return day in window.dates
    return not window.days or _DAYS[day.weekday()] in window.days


def _boundaries(window: Window, day: date) -> Iterable[datetime]:
    """Instants of this local day at which membership may change: both ends, midnight, and the clock's own jumps."""
    for minutes in {window.start, _end(window) % DAY_MINUTES, 0}:
        wall = datetime.combine(day, time(minutes // 60, minutes % 60), tzinfo=window.timezone)
        early, late = sorted((wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)))
        yield early
        if early != late:
            yield late
    start = datetime.combine(day, time(), tzinfo=window.timezone).astimezone(UTC)
    jump = _jump(window, start, start + timedelta(hours=25))
    if jump:
        yield jump


def _jump(window: Window, low: datetime, high: datetime) -> datetime | None:
    """The instant, to the second, at which the zone changes its offset between the two; None when it does not."""
    before = low.astimezone(window.timezone).utcoffset()
    if high.astimezone(window.timezone).utcoffset() == before:
        return None
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(window.timezone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
