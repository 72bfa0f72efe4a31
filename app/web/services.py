"""What the HTTP side needs from the rest, in one frozen record; put together once by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.domain.alert import ManualRequest
from app.domain.ports import NO_TRACER, Clock, Ids, Tracer
from app.domain.subject import NAMES, LabelNames
from app.flow.readiness.health import Findings
from app.intake.alertmanager import MAX_BYTES
from app.intake.auth import Access
from app.observe.metrics import Metrics
from app.store.approvals import NO_CLICK, Click
from app.store.database import Store
from app.web.expensive import (
    ANSWERS_IN_ALL,
    ANSWERS_OF_ONE,
    PAGES_IN_ALL,
    PAGES_OF_ONE,
    ExpensiveReads,
    Together,
)
from app.web.failures import API_TRIES, Failures
from app.web.long_bodies import LongBodies
from app.web.unproved import Unproved


class Operations(Protocol):
    """What a person can order. `by` is who, for the audit trail. The answers are JSON objects.

    All raise Missing for an unknown id, Refused when the present state does not allow it, BadInput, StoreUnavailable; with a
    `click` that was taken before, Repeated, and nothing is done again.
    """

    async def approve(
        self, run_id: str, by: str, plan_hash: str = "", click: Click = NO_CLICK
    ) -> dict[str, Any]:
        """Approve the waiting plan; with `plan_hash` only that very plan."""
        ...

    async def reject(
        self, run_id: str, by: str, plan_hash: str = "", click: Click = NO_CLICK
    ) -> dict[str, Any]:
        """Reject the waiting plan, or take back an order to undo that has not begun."""
        ...

    async def undo(
        self, run_id: str, by: str, click: Click = NO_CLICK, *, despite: bool = False
    ) -> dict[str, Any]:
        """Undo what an ended run changed, where our values are still in place."""
        ...

    async def keep(self, run_id: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
        """Keep the temporary change of a run."""
        ...

    async def acknowledge(
        self, subject: str, by: str, click: Click = NO_CLICK, through: str = "API"
    ) -> dict[str, Any]:
        """Take an incident or a storm: nobody else is asked. `through` says which way the word came."""
        ...

    async def promote(self, key: str, reason: str, by: str) -> dict[str, Any]:
        """Raise a trust level by one level."""
        ...

    async def demote(self, key: str, reason: str, by: str) -> dict[str, Any]:
        """Lower a trust level by one level."""
        ...

    async def pause(
        self, scope: str, reason: str, by: str, until: datetime | None, click: Click = NO_CLICK
    ) -> dict[str, Any]:
        """Stop all action inside a scope."""
        ...

    async def resume(self, scope: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
        """Lift a pause."""
        ...

    async def explain(self, any_id: str) -> dict[str, Any]:
        """Why and why not, for an incident or run."""
        ...


class Interactions(Protocol):
    """Takes what Slack sends when somebody clicks a button."""

    def begin(self, payload: Any) -> asyncio.Task[None]:
        """Start to deal with it. The task never needs to be waited for and is never to be cancelled."""
        ...


View = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
"""A short list of JSON objects, always in the same order."""


@dataclass(frozen=True, slots=True)
class Views:
    """What the API shows and other parts own."""

    remediations: View
    policies: View
    budgets: View
    schedules: View
    trust: View
    scorecard: Callable[[int], Awaitable[Mapping[str, Any]]]
    diagnosis: Callable[[str, str, str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a request. `body_seconds` is the time to receive a whole body."""

    alertmanager_bytes: int = MAX_BYTES
    body_seconds: float = 10.0


TRACED_AT_MOST = 20
"""Incidents of one delivery whose traces begin with it: in a storm a delivery has thousands."""


@dataclass(frozen=True, slots=True)
class WebServices:
    """Everything the routes use.

    `nudge` wakes the decide loop after something was stored. `ready` says what keeps alerts out and what works less well.
    `check_order` raises BadInput for a remediation that does not exist or params that do not fit;
    `check_target` raises Refused for a workload that is not there. `label_names` says how the policy in force reads labels.
    `failures` counts who proved nothing, `expensive` the expensive reads under way, `pages` the pages that fold many rows, `answers` the long answers, `long_bodies` what is read beside the event loop,
    `foreign_bodies` that of senders who pass on what others wrote, `unproved` the bodies whose sender is not known before they are there. `pagerduty_agents` are the ids that this service acts as in PagerDuty. `interactions` is None without Slack.
    """

    store: Store
    access: Access
    clock: Clock
    ids: Ids
    metrics: Metrics
    nudge: Callable[[], None]
    ready: Callable[[], Awaitable[Findings]]
    operations: Operations
    views: Views
    check_order: Callable[[ManualRequest], None]
    check_target: Callable[[ManualRequest], Awaitable[None]]
    pagerduty_agents: frozenset[str] = frozenset()
    interactions: Interactions | None = None
    limits: Limits = field(default_factory=Limits)
    label_names: Callable[[], LabelNames] = lambda: NAMES
    failures: Failures = field(default_factory=lambda: Failures(API_TRIES))
    tracer: Tracer = NO_TRACER
    expensive: ExpensiveReads = field(default_factory=ExpensiveReads)
    pages: ExpensiveReads = field(default_factory=lambda: ExpensiveReads(PAGES_OF_ONE, PAGES_IN_ALL))
    answers: ExpensiveReads = field(default_factory=lambda: ExpensiveReads(ANSWERS_OF_ONE, ANSWERS_IN_ALL))
    together: Together = field(default_factory=Together)
    long_bodies: LongBodies = field(default_factory=LongBodies)
    foreign_bodies: LongBodies = field(default_factory=LongBodies)
    unproved: Unproved = field(default_factory=Unproved)

    def received(self, incidents: Sequence[str], since: float, source: str) -> None:
        """Tell the traces of the incidents that something came in for them; `since` is the monotonic clock at its beginning."""
        for incident in incidents[:TRACED_AT_MOST] if self.tracer.on else ():
            self.tracer.past("receive", self.clock.monotonic() - since, incident, source=source)
