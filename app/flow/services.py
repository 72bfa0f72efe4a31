"""What the chapters work with, in one frozen record; put together once in `app.main`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from app.domain.actuator import Clients
from app.domain.backups import Backups
from app.domain.cache import Caches
from app.domain.cluster import Cluster
from app.domain.database import Databases
from app.domain.decision import Mode
from app.domain.http_check import HttpChecks
from app.domain.plan import ActionKind
from app.domain.ports import (
    NO_TRACER,
    AlertSources,
    Clock,
    Dependencies,
    Ids,
    IncidentBodies,
    MetricSource,
    Tracer,
)
from app.domain.remediation import AnyRemediation
from app.domain.target import Target
from app.engine.context import Engine
from app.observe.metrics import Metrics
from app.policy.model import Policy, Rule
from app.store.database import Store


class Listed(Protocol):
    """One alert as Alertmanager lists it."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        ...

    @property
    def hidden(self) -> str:
        """Why nobody is told of it; empty when it fires openly."""
        ...


class FiringAlerts(Protocol):
    """Alertmanager's present alerts, for rules that are blocked by other alerts. Raises ProbeUnavailable."""

    async def firing_matching(self, matchers: Sequence[str]) -> Sequence[Listed]:
        """The alerts that match every one of the matchers."""
        ...


@dataclass(frozen=True, slots=True)
class Nudge:
    """Wakes a loop at once instead of at its next look."""

    event: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self) -> None:
        """Wake it; cheap and safe to repeat."""
        self.event.set()


@dataclass(slots=True)
class EngineSlot:
    """Holds the engine, which needs the workflow, which needs the services: set once by `app.main`."""

    current: Engine | None = None

    def __call__(self) -> Engine:
        """The engine. Raises RuntimeError before it is set."""
        if self.current is None:
            raise RuntimeError("the engine is not set yet")
        return self.current


class Rights(Protocol):
    """Who knows what we may do at the API server."""

    async def lacking(
        self, rule: Rule, target: Target, planned: Collection[ActionKind] = (), *, came: bool = True
    ) -> Sequence[Lack]:
        """What the rule's remediation, and what is planned, needs to act on this target and is not granted. `came`: its namespace is one of
        those that alerts came from."""
        ...

    def doubt(self) -> None:
        """The cluster refused something: all rights are reviewed at the next look."""
        ...


class Lack(Protocol):
    """One permission that is not granted."""

    @property
    def told(self) -> str:
        """`patch deployments in namespace rag7`."""
        ...


@dataclass(slots=True)
class RightsSlot:
    """Holds who knows our rights, which needs the services: set once by `app.main`. Without, nothing is known to be missing."""

    current: Rights | None = None


class OnCall(Protocol):
    """Who is on call in PagerDuty, remembered for a while."""

    async def names(self, kind: str, identity: str) -> Sequence[str]:
        """People on call now for a `schedule` or an escalation `policy`, the first level first. Raises ProbeUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """Which ways out beside the chat are configured: pages (Events v2), notes and status updates (REST), the status page."""

    pages: bool = False
    notes: bool = False
    status_page: bool = False


Gone = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Which of these replicas are gone. None where there is one process. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the chapters use. `policy` gives the policy in force at the moment of the call.

    `people` has the person of each audited name (a token's, or slack:U...). `ceiling` is the process-wide mode ceiling (setting MODE). `replica` names this process in claims.

    Three things of this process alone, which a restart may forget: `advancing` has the runs that it is looking at, `lost` the
    attempts that each lost in a row and when it is tried again, `last_looks` when it last measured each, on the monotonic clock.
    """

    store: Store
    cluster: Cluster
    clock: Clock
    ids: Ids
    policy: Callable[[], Policy]
    catalogue: Mapping[str, AnyRemediation]
    dependencies: Dependencies
    databases: Databases
    caches: Caches
    metrics: Metrics
    replica: str
    metric_source: MetricSource | None = None
    alert_sources: AlertSources | None = None
    firing_alerts: FiringAlerts | None = None
    http: HttpChecks | None = None
    backups: Backups | None = None
    incident_bodies: IncidentBodies | None = None
    ceiling: Mode = Mode.AUTO
    people: Mapping[str, str] = field(default_factory=dict)
    decide_nudge: Nudge = field(default_factory=Nudge)
    deliver_nudge: Nudge = field(default_factory=Nudge)
    engine: EngineSlot = field(default_factory=EngineSlot)
    rights: RightsSlot = field(default_factory=RightsSlot)
    presence: Gone | None = None
    absent: Gone | None = None
    on_call: OnCall | None = None
    reach: Reach = Reach()
    tracer: Tracer = NO_TRACER
    advancing: set[str] = field(default_factory=set)
    lost: dict[str, tuple[int, float]] = field(default_factory=dict)
    last_looks: dict[str, float] = field(default_factory=dict)
    lease: timedelta = timedelta(seconds=60)

    @property
    def clients(self) -> Clients:
        """The ways out that actuators may use."""
        return Clients(self.cluster, self.databases, self.http)
