"""The simulated Prometheus: answers a small closed set of queries from the model.

Implements the port `MetricSource`. It does not evaluate PromQL: a query is known by its exact text (listed in the scenario)
or by one of a few metric names in it, and is about the app whose pods its `pod=~"..."` or `app="..."` matcher chooses.
Everything else is unavailable. A step of the world records the known signals every 15 seconds.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import Field

from app.domain.errors import ProbeUnavailable
from app.domain.ports import Sample
from app.sim.signals import Signal, Signals, Vector
from app.sim.units import Seconds, Strict
from app.sim.world import World

INTERVAL = 15.0
"""Seconds between two records."""
_KEPT = 1000
_WINDOW = 300.0
_STALE = 300.0
_PAST = 1200.0
"""Seconds before the story that are recorded."""
_WHERE = "simulated Prometheus"

BY_METRIC: Mapping[str, Signal] = {
    "http_requests_total": Signal.ERROR_RATIO,
    "http_request_duration_seconds_bucket": Signal.LATENCY,
    "container_cpu_cfs_throttled_periods_total": Signal.CPU_THROTTLING,
    "container_memory_rss": Signal.MEMORY,
    "container_memory_working_set_bytes": Signal.MEMORY,
}
"""What a query is taken for when it contains this metric."""

_PODS = re.compile(r'\bpod=~"((?:[^"\\]|\\.)*)"')
_APP = re.compile(r'\bapp="([^"]*)"')


class Metric(Strict):
    """The answer to one PromQL text: a signal of an app; `labels` are added to each series."""

    query: str
    signal: Signal
    app: str
    window: Seconds = _WINDOW
    labels: dict[str, str] = Field(default_factory=dict)


def _at_each(
    records: Iterable[tuple[float, Vector]], start: float, end: float, step: float
) -> Iterator[tuple[float, Vector]]:
    left, newest = deque(records), None
    for moment in (start + number * step for number in range(int((end - start) / step) + 1)):
        while left and left[0][0] <= moment:
            newest = left.popleft()
        if newest is not None and moment - newest[0] < _STALE:
            yield moment, newest[1]


_AGE = "time() - max(timestamp("
"""How a query begins that asks for the age of the newest sample."""


class SimMetrics:
    """A Prometheus that knows a closed set of queries. Set `available` False to make it unreachable; `freeze` stops its scrapes."""

    def __init__(
        self, world: World, signals: Signals, metrics: Sequence[Metric], catch_up: Callable[[], None]
    ) -> None:
        self.available = True
        self._world = world
        self._signals = signals
        self._listed = {_normal(metric.query): metric for metric in metrics}
        self._records: dict[tuple[Signal, str], deque[tuple[float, Vector]]] = {}
        self._catch_up = catch_up
        self._frozen: tuple[float, dict[tuple[Signal, str, float], Vector]] | None = None

    def freeze(self) -> None:
        """From now on it answers what it would answer now, as one does that scrapes nothing any more behind a long range."""
        self._catch_up()
        windows = {_WINDOW, *(metric.window for metric in self._listed.values())}
        asked = [
            (signal, app, window) for signal in Signal for app in self._signals.apps() for window in windows
        ]
        self._frozen = self._world.time, {key: self._signals.measure(*key) for key in asked}

    async def instant(self, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Evaluate now; no series when no pod is chosen. Raises ProbeUnavailable."""
        if query.startswith(_AGE):
            self._reached()
            newest = self._frozen[0] if self._frozen else self._world.time // INTERVAL * INTERVAL
            return [({}, self._world.time - newest)] if self._app_of(query) else []
        metric = self._known(query)
        if metric is None:
            return []
        key = metric.signal, metric.app, metric.window
        found = self._frozen[1][key] if self._frozen else self._signals.measure(*key)
        return [({**labels, **metric.labels}, value) for labels, value in found]

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
        """The values at `start`, each `step` after it, until `end`: of each moment the newest that was recorded in the five minutes
        before it. So the moments of all queries with these bounds are the same. Raises ProbeUnavailable."""
        metric = self._known(query)
        if metric is None:
            return []
        series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
        records = self._records.get((metric.signal, metric.app), ())
        for moment, vector in _at_each(records, start.timestamp(), end.timestamp(), step):
            for labels, value in vector:
                samples = series.setdefault(tuple(sorted({**labels, **metric.labels}.items())), [])
                samples.append(Sample(datetime.fromtimestamp(moment, UTC), value))
        return [(dict(labels), samples) for labels, samples in series.items()]

    def step(self, seconds: float) -> None:
        """Record when it is time; of a long quiet step of the past what was all along, so that what is asked of the time before a story is there
        whichever second it is told at."""
        now = self._world.time
        since = max(now - seconds, self._world.fine_from - _PAST)
        number = math.floor(since / INTERVAL) + 1
        moments = [at * INTERVAL for at in range(number, math.floor(now / INTERVAL) + 1)]
        if not moments:
            return
        signals = {*BY_METRIC.values(), Signal.REQUEST_RATE}
        wanted = {(signal, app) for app in self._signals.apps() for signal in signals}
        wanted |= {(metric.signal, metric.app) for metric in self._listed.values()}
        for signal, app in wanted:
            vector = self._signals.measure(signal, app, _WINDOW)
            if vector:
                records = self._records.setdefault((signal, app), deque(maxlen=_KEPT))
                records.extend((at, vector) for at in moments)

    def _reached(self) -> None:
        self._catch_up()
        if not self.available:
            raise ProbeUnavailable("Prometheus does not answer", where=_WHERE)

    def _known(self, query: str) -> Metric | None:
        """What the query asks for; None when it chooses no pods. Raises ProbeUnavailable."""
        self._reached()
        if (listed := self._listed.get(_normal(query))) is not None:
            return listed
        signal = next((s for name, s in BY_METRIC.items() if name in query), None)
        if signal is Signal.ERROR_RATIO and "status=" not in query:
            signal = Signal.REQUEST_RATE  # of all requests, whatever became of them
        if signal is None:
            raise ProbeUnavailable(f"the simulation has no answer to {query!r}", where=_WHERE)
        app = self._app_of(query)
        return None if app is None else Metric(query=query, signal=signal, app=app)

    def _app_of(self, query: str) -> str | None:
        """The app that the query's matchers choose."""
        if found := _PODS.search(query):
            try:
                pattern = re.compile(found[1].replace("\\\\", "\\"))
            except re.error as error:
                raise ProbeUnavailable(f"not a regular expression: {found[1]!r}", where=_WHERE) from error
            return next((a for a in self._signals.apps() if any(map(pattern.fullmatch, self._pods(a)))), None)
        if found := _APP.search(query):
            return found[1] if found[1] in self._signals.apps() else None
        raise ProbeUnavailable("the query names no pods", where=_WHERE)

    def _pods(self, app: str) -> list[str]:
        return [labels["pod"] for labels, _ in self._signals.measure(Signal.MEMORY, app, _WINDOW)]


def _normal(query: str) -> str:
    """Blanks do not matter."""
    return "".join(query.split())
