"""The simulated Prometheus: answers exactly the queries that a scenario lists, from the model.

Implements the port `MetricSource`. A step of the world records each listed query every 15 seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
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


class Metric(Strict):
    """The answer to one PromQL text: a signal of an app; `labels` are added to each series."""

    query: str
    signal: Signal
    app: str
    window: Seconds = 300.0
    labels: dict[str, str] = Field(default_factory=dict)


class SimMetrics:
    """A Prometheus that knows a closed list of queries. Set `available` False to make it unreachable."""

    def __init__(
        self, world: World, signals: Signals, metrics: Sequence[Metric], catch_up: Callable[[], None]
    ) -> None:
        self.available = True
        self._world = world
        self._signals = signals
        self._metrics = {_normal(metric.query): metric for metric in metrics}
        self._records: dict[str, deque[tuple[float, Vector]]] = {}
        self._catch_up = catch_up

    async def instant(self, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Evaluate now. Raises ProbeUnavailable."""
        return self._evaluate(self._known(query))

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
        """What was recorded between `start` and `end`, at most one sample a `step`. Raises ProbeUnavailable."""
        metric = self._known(query)
        series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
        for at, vector in self._records.get(_normal(metric.query), ()):
            if not start.timestamp() <= at <= end.timestamp():
                continue
            for labels, value in vector:
                samples = series.setdefault(tuple(sorted(labels.items())), [])
                moment = datetime.fromtimestamp(at, UTC)
                if not samples or (moment - samples[-1].at).total_seconds() >= step:
                    samples.append(Sample(moment, value))
        return [(dict(labels), samples) for labels, samples in series.items()]

    def step(self, _seconds: float) -> None:
        """Record when it is time."""
        if self._world.time % INTERVAL:
            return
        for query, metric in self._metrics.items():
            records = self._records.setdefault(query, deque(maxlen=_KEPT))
            records.append((self._world.time, self._evaluate(metric)))

    def _known(self, query: str) -> Metric:
        self._catch_up()
        metric = self._metrics.get(_normal(query))
        if not self.available:
            raise ProbeUnavailable("Prometheus does not answer", where="simulated Prometheus")
        if metric is None:
            raise ProbeUnavailable(f"the scenario has no answer to {query!r}", where="simulated Prometheus")
        return metric

    def _evaluate(self, metric: Metric) -> Vector:
        found = self._signals.measure(metric.signal, metric.app, metric.window)
        return [({**labels, **metric.labels}, value) for labels, value in found]


def _normal(query: str) -> str:
    """Blanks do not matter."""
    return "".join(query.split())
