"""Alertmanager's tree of routes: which of them an alert takes, and how often and when they send.

Called by `app.doctor.routes` and `app.doctor.arrivals`. Pure. A label that nobody knows may have any value, so a route that looks at one may
fit or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from app.policy.matchers import Matcher, Operator, compile_anchored, parse_matchers

_REPEAT, _GROUP, _WAIT = (
    timedelta(hours=4),
    timedelta(minutes=5),
    timedelta(seconds=30),
)  # Alertmanager's defaults
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS = (
    timedelta(days=365),
    timedelta(weeks=1),
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
    timedelta(milliseconds=1),
)

Labels = Mapping[str, str]
"""The labels of an alert that are known, empty for one that it surely has not; any value under the others."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a route sends, and how often, with what it takes from the routes above; when it is silent is its own."""

    receiver: str = ""
    repeat: timedelta = _REPEAT
    group: timedelta = _GROUP
    wait: timedelta = _WAIT
    muted: tuple[str, ...] = ()
    active: tuple[str, ...] = ()

    @property
    def longest(self) -> timedelta:
        """Between two messages about an alert that fires on: the next group interval after the repeat interval."""
        return self.repeat + self.group


_DEFAULTS = Way()


@dataclass(frozen=True, slots=True)
class Route:
    """One route as Alertmanager walks it, read once."""

    way: Way
    matchers: tuple[Matcher, ...]
    goes_on: bool
    below: tuple[Route, ...]

    def all(self) -> Iterator[Route]:
        """It and all below it."""
        yield self
        for child in self.below:
            yield from child.all()


def read_tree(route: Mapping[str, Any], above: Way = _DEFAULTS) -> Route:
    """The tree below this route. When it is silent is each route's own."""
    way = _way(route, above)
    below = replace(way, muted=(), active=())
    children = tuple(read_tree(child, below) for child in route.get("routes") or ())
    return Route(way, tuple(matchers_of(route)), bool(route.get("continue")), children)


def _way(route: Mapping[str, Any], above: Way) -> Way:
    return Way(
        str(route.get("receiver") or above.receiver),
        _span(route.get("repeat_interval"), above.repeat),
        _span(route.get("group_interval"), above.group),
        _span(route.get("group_wait"), above.wait),
        tuple(map(str, route.get("mute_time_intervals") or ())),
        tuple(map(str, route.get("active_time_intervals") or ())),
    )


def _span(text: object, above: timedelta) -> timedelta:
    """As Prometheus writes durations: 1d12h, 30s, 1w."""
    parts = _DURATION.fullmatch(str(text)) if text else None
    if parts is None:
        return above
    return sum((unit * int(n) for unit, n in zip(_UNITS, parts.groups(), strict=True) if n), timedelta())


def taken_by(route: Route, labels: Labels, *, all_continue: bool = False) -> list[Way]:
    """The routes that may take such an alert, as Alertmanager walks its tree: the first child that fits and does not say continue ends the walk;
    a route takes the alert itself where none of its children surely does. `all_continue`: as if each route said so."""
    found, surely = list[Way](), False
    for child in route.below:
        fits = all_fit(child.matchers, labels)
        if fits is False:
            continue
        found += taken_by(child, labels, all_continue=all_continue)
        if fits:
            surely = True
            if not (child.goes_on or all_continue):
                return found
    return found if surely else [*found, route.way]


def all_fit(matchers: Iterable[Matcher], labels: Labels) -> bool | None:
    """Whether all of them fit; None when that hangs on a label that nobody knows."""
    known = True
    for one in matchers:
        if one.name not in labels:
            known = False
        elif not one.matches(labels):
            return False
    return True if known else None


def matchers_of(route: Mapping[str, Any], side: str = "") -> Iterator[Matcher]:
    """The conditions of a route, or of one side (`source_`, `target_`) of an inhibition, in all three ways to write them; what cannot be
    read is a condition on a label that nobody knows."""
    for name, value in (route.get(f"{side}match") or {}).items():
        yield Matcher(str(name), Operator.EQUAL, str(value))
    for name, value in (route.get(f"{side}match_re") or {}).items():
        yield _regex(str(name), str(value))
    written = route.get(f"{side}matchers") or ()
    for text in [written] if isinstance(written, str) else written:
        try:
            yield from parse_matchers(str(text))
        except ValueError:
            yield Matcher("", Operator.EQUAL, "")


def _regex(name: str, value: str) -> Matcher:
    try:
        return Matcher(name, Operator.REGEX, value, compile_anchored(value))
    except ValueError:
        return Matcher("", Operator.EQUAL, "")
