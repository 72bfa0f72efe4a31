"""Ports to what differs between production, tests and simulation: time, ids, sources of evidence, traces.

The cluster's port has its own module, `app.domain.cluster`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from app.domain.alert import Alert
from app.domain.alert_report import AlertReport


class Clock(Protocol):
    """Time. Nothing else in the program asks the operating system for it."""

    def now(self) -> datetime:
        """Timezone-aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Ids(Protocol):
    """Fresh identifiers, sortable by time of creation."""

    def new(self, prefix: str) -> str:
        """A new id such as `inc_06f2...`; unique across processes."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value at one moment; the unit is the query's."""

    at: datetime
    value: float


class IncidentBodies(Protocol):
    """PagerDuty's REST API. Raises ProbeUnavailable."""

    async def incident_alerts(self, incident_id: str) -> Mapping[str, Any]:
        """The answer of `GET /incidents/{id}/alerts`."""
        ...


class MetricSource(Protocol):
    """Prometheus, or nothing. Raises ProbeUnavailable."""

    async def instant(self, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Evaluate now: label sets with values."""
        ...

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
        """Evaluate over a window; `step` in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class DependencyResult:
    """Answer of one dependency check; `text` never contains credentials. `healthy` is what the dependency itself said, None when
    it said nothing of itself: it refused our login, is not configured, or this check could not reach it (`unreachable`), of
    which its own network may be the cause."""

    name: str
    kind: str
    healthy: bool | None
    text: str
    milliseconds: float | None = None
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """One row of pg_stat_statements; times in milliseconds."""

    query: str
    calls: int
    mean_ms: float


class Dependencies(Protocol):
    """Checks of what a workload depends on (runbook: SELECT 1, PING, slow queries). Endpoints come from settings."""

    async def check(self, names: Sequence[str]) -> Sequence[DependencyResult]:
        """Check the named dependencies; an unknown or unreachable one has `healthy` None or False, never an exception."""
        ...

    async def slow_queries(self, name: str, limit: int) -> Sequence[SlowQuery]:
        """Slowest statements of a Postgres dependency. Raises ProbeUnavailable."""
        ...


class AlertSources(Protocol):
    """Where alerts come from: does this one still fire?"""

    async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        """One report an alert, in their order. Never raises: what cannot be asked is unknown, and says why."""
        ...


SpanFact: TypeAlias = "str | int | float | bool"
"""What a span says beside its name."""


class Tracer(Protocol):
    """Traces: how long each part of what was done for an incident took. `on`: somebody wants them."""

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""
        ...

    def span(self, name: str, incident: str = "", **facts: SpanFact) -> AbstractContextManager[None]:
        """What is done within it belongs to this incident's trace; without an incident, to the span around it."""
        ...

    def past(self, name: str, seconds: float, incident: str = "", **facts: SpanFact) -> None:
        """A span that ends now and began `seconds` ago."""
        ...


class NoTracer:
    """Nobody wants traces: nothing is made, kept or sent."""

    on = False

    def span(self, name: str, incident: str = "", **facts: SpanFact) -> AbstractContextManager[None]:
        """Nothing around what is done."""
        del name, incident, facts
        return _NOTHING

    def past(self, name: str, seconds: float, incident: str = "", **facts: SpanFact) -> None:
        """Nothing."""


_NOTHING: AbstractContextManager[None] = nullcontext()
NO_TRACER = NoTracer()
