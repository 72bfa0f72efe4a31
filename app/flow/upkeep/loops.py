"""Sweep: the loops that keep everything moving: decide what is due, deliver messages, start what was requested and not
started, prune what is old. `app.flow.upkeep.supervisor` runs them. Never decides anything itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.domain.errors import RemediatorError, TryLater
from app.domain.workflows import first_workflow
from app.flow import counting
from app.flow.deciding import bulk, decide
from app.flow.notifying import scorecard
from app.flow.notifying.fan_out import refresh_digests
from app.flow.services import Services
from app.flow.upkeep.supervisor import Task, each
from app.store import claims, driving, incidents, retention

log = structlog.get_logger(__name__)

_BATCH = 16  # incidents decided at the same time
_LOADED = 8  # waiting writes from which on deciding makes room for intake
_LOADED_BATCH = 4
_YIELD = 0.1  # seconds
_LOOK = 1.0  # seconds between looks when nobody nudges
_GATHER = 0.25  # seconds
"""How long messages gather after a nudge. A decision is followed by a write at the cluster within a tenth of a second:
telling it at once would compete with doing it, and the thread's first message says more when it waits."""
_SWEEP = 5.0
_PRUNE = 600.0
_OVERDUE = timedelta(seconds=3)
"""How late a run may be before it is taken for lost: its own workflow comes back for it in time otherwise."""
_BEGINS = timedelta(seconds=30)  # until a new workflow has to have begun
_DRIVEN = 100  # runs driven anew in one sweep
_PRUNE_BATCH = 500


@dataclass(slots=True)
class Loops:
    """The bodies of the background tasks of one process. `deliver` is the delivery loop's body: messages handled, 0 when idle. Without a
    `channel` no weekly scorecard is posted."""

    services: Services
    deliver: Callable[[], Awaitable[int]]
    retention: timedelta
    channel: str = ""
    _crowded: bool = False

    def tasks(self) -> Sequence[Task]:
        """What the supervisor keeps running once the engine was launched."""
        s = self.services
        return (
            Task("decide", self.decide_due, _LOOK, s.decide_nudge),
            Task("deliver", self.deliver, _LOOK, s.deliver_nudge, _GATHER),
            Task("sweep", self.sweep, _SWEEP),
            Task("prune", self.prune, _PRUNE),
        )

    async def decide_due(self) -> int:
        """Decide every incident that is due; returns how many."""
        s = self.services
        limit = _BATCH
        if s.store.waiting > _LOADED:
            # A storm is coming in: an alert that is not stored is lost, one that is decided later is not.
            await s.clock.sleep(_YIELD)
            limit = _LOADED_BATCH
        # A full batch is the sign of a bulk: a single alert pays for no question about it.
        if self._crowded and (settled := await bulk.settle_due(s, loaded=limit < _BATCH)):
            s.deliver_nudge()
            return settled
        claimed = await s.store.write(lambda tx: incidents.claim_due(tx, s.replica, s.lease, limit))
        self._crowded = len(claimed) == limit
        await asyncio.gather(*(self._decide(incident.id) for incident in claimed))
        if claimed:
            s.deliver_nudge()
        return len(claimed)

    async def _decide(self, incident_id: str) -> None:
        with structlog.contextvars.bound_contextvars(incident=incident_id):
            try:
                run_id = await decide.decide_incident(self.services, incident_id)
            except TryLater as error:
                log.warning(
                    "decide_waits", code=error.code, error=str(error)
                )  # the claim runs out, then again
                return
            except RemediatorError as error:
                log.error("decide_failed", code=error.code, error=str(error))
                return
            if run_id is not None:
                await self.services.engine().start(first_workflow(run_id))

    async def sweep(self) -> int:
        """Give runs that have lost their workflow to a new one, take over from replicas that are gone, have digests edited."""
        s = self.services
        now = s.clock.now()
        await each(
            {
                "drive": self.drive_overdue,
                "take_over": self._take_over,
                "digests": lambda: refresh_digests(s.store, now),
                "scorecard": lambda: scorecard.post_due(s, self.channel),
                "gauges": lambda: counting.gauges(s),
            }
        )
        return 0

    async def drive_overdue(self) -> None:
        """Start a workflow for each run that is overdue: requested, answered or ordered in a transaction whose process died
        before it told the engine, given up or forgotten by the engine, or due after a long time."""
        s = self.services
        before = s.clock.now() - _OVERDUE
        for run in await s.store.read(lambda conn: driving.overdue(conn, before, _DRIVEN)):
            if run.id in s.advancing:
                continue
            due = s.clock.now() + _BEGINS
            workflow = await s.store.write(lambda tx, run=run, due=due: driving.hand_over(tx, run, due))  # type: ignore[misc]
            if workflow is not None:
                log.info("run_driven_anew", run=run.id, state=run.state.value, waits_for=run.waits_for)
                await s.engine().start(workflow)

    async def _take_over(self) -> None:
        """Go on with what replicas were at that are gone."""
        s = self.services
        if s.presence is None:
            return
        others = await s.store.read(lambda conn: claims.holders(conn, s.replica))
        for replica in await s.presence(others):
            log.warning("replica_gone", gone=replica)
            await s.store.write(lambda tx, gone=replica: claims.free(tx, gone))  # type: ignore[misc]
            s.decide_nudge()
            s.deliver_nudge()

    async def prune(self) -> int:
        """Drop closed incidents older than the retention, in bounded batches."""
        older = self.services.clock.now() - self.retention
        pruned = await self.services.store.write(lambda tx: retention.prune(tx, older, _PRUNE_BATCH))
        return int(pruned.more)
