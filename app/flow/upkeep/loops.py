"""Loops: the loops that keep everything moving: decide what is due, deliver messages, start what was requested and not
started, prune what is old. `app.flow.upkeep.supervisor` runs them. Never decides anything itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.domain.errors import TryLater
from app.domain.workflows import first_workflow
from app.flow.calling import escalation
from app.flow.deciding import decide, history, settle
from app.flow.each import each
from app.flow.ids import WAKE
from app.flow.notifying import record, scorecard
from app.flow.notifying.fan_out import refresh_digests
from app.flow.services import Services
from app.flow.undoing import holding
from app.flow.upkeep import audit_head, bulk, schedules
from app.flow.upkeep.heartbeats import Heartbeats
from app.flow.upkeep.supervisor import Task
from app.store import driving, incidents, work
from app.store.pruning import Pruner
from app.store.runs import Run

log = structlog.get_logger(__name__)

_POOL = 16  # incidents decided at the same time
_FAILED = timedelta(seconds=5)
"""Until an incident is decided again after the store, or we ourselves, failed; twice as late each time, up to five minutes."""
_LATEST = timedelta(minutes=5)
_LOADED = 8  # waiting writes from which on deciding makes room for intake
_LOADED_POOL = 4
_YIELD = 0.1  # seconds
_SHARE = 3  # while posts wait, the writing thread is theirs for so many times as long as a batch of decisions had it
_LOOK = 1.0  # seconds between looks when nobody nudges
_GATHER = 0.25  # seconds
"""How long messages gather after a nudge. A decision is followed by a write at the cluster within a tenth of a second:
telling it at once would compete with doing it, and the thread's first message says more when it waits."""
_SWEEP = 5.0
_REPORT = 15.0
_PRUNE = 600.0
_OVERDUE = timedelta(seconds=3)
"""How late a run may be before it is taken for lost: its own workflow comes back for it in time otherwise."""
_BEGINS = timedelta(seconds=30)  # until a new workflow has to have begun
_DRIVEN = 100  # runs driven anew in one sweep
_NOTED = 30.0  # seconds between notes of the wall time


def _comes_back(services: Services, run_id: str) -> bool:
    """A workflow of this process has lost an attempt and waits for its next one."""
    lost = services.lost.get(run_id)
    return lost is not None and services.clock.monotonic() < lost[1] + _OVERDUE.total_seconds()


@dataclass(slots=True)
class Loops:
    """The bodies of the background tasks of one process. `deliver` is the delivery loop's body: messages handled, 0 when idle. Without a
    `channel` no weekly scorecard is posted."""

    services: Services
    deliver: Callable[[], Awaitable[int]]
    retention: timedelta
    channel: str = ""
    _crowded: bool = False
    _batch_seconds: float = 0.0
    _deciding: set[asyncio.Task[None]] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)
    _offset: datetime | None = None
    _jumps: int | None = None
    _noted_at: float | None = None
    _pruner: Pruner = field(init=False)
    _heartbeats: Heartbeats = field(init=False)

    def __post_init__(self) -> None:
        self._pruner = Pruner(self.services.store, self.services.clock)
        self._heartbeats = Heartbeats(self.services)

    def tasks(self) -> Sequence[Task]:
        """What the supervisor keeps running once the engine was launched."""
        s = self.services
        return (
            Task("decide", self.decide_due, _LOOK, s.decide_nudge),
            Task("deliver", self.deliver, _LOOK, s.deliver_nudge, _GATHER),
            Task("sweep", self.sweep, _SWEEP),
            Task("report", self.report, _REPORT),
            Task("schedules", lambda: schedules.fire_due(s), _SWEEP),
            Task("prune", self.prune, _PRUNE),
        )

    async def stop(self) -> None:
        """End what is being decided, after the supervisor stopped; it is picked up after the next start."""
        tasks = list(self._deciding)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def decide_due(self) -> int:
        """Begin to decide what is due, as much as there is room for; returns how much was begun. Each incident has a place in
        the pool for itself, so that a slow one holds up nobody but itself."""
        s = self.services
        room = _POOL
        if s.store.waiting > _LOADED:
            # A storm is coming in: an alert that is not stored is lost, one that is decided later is not.
            await s.clock.sleep(max(_YIELD, _SHARE * self._batch_seconds))
            room = _LOADED_POOL
        # A full batch is the sign of a bulk: a single alert pays for no question about it.
        if self._crowded and (settled := await self._settle_batch(loaded=room < _POOL)):
            s.deliver_nudge()
            return settled
        free = room - len(self._deciding)
        if free <= 0:
            return 0
        claimed = await s.store.write(lambda tx: incidents.claim_due(tx, s.replica, s.lease, free))
        self._crowded = len(claimed) == free
        for incident in claimed:
            task = asyncio.create_task(self._decide(incident.id), name=f"decide {incident.id}")
            self._deciding.add(task)
            task.add_done_callback(self._decided)
        return len(claimed)

    async def _settle_batch(self, *, loaded: bool) -> int:
        began = self.services.clock.monotonic()
        settled = await bulk.settle_due(self.services, loaded=loaded)
        self._batch_seconds = self.services.clock.monotonic() - began if settled else 0.0
        return settled

    def _decided(self, task: asyncio.Task[None]) -> None:
        self._deciding.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whatever ended it was the process's own death
        self.services.deliver_nudge()
        self.services.decide_nudge()  # its place is free

    async def _decide(self, incident_id: str) -> None:
        with structlog.contextvars.bound_contextvars(incident=incident_id):
            try:
                run_id = await decide.decide_incident(self.services, incident_id)
            except TryLater as error:
                log.warning("decide_waits", code=error.code, error=str(error))
                await self._decide_later(incident_id, "")
                return
            except Exception as error:
                log.exception("decide_failed")
                await self._decide_later(incident_id, type(error).__name__)
                return
            self._failures.pop(incident_id, None)
            if run_id is not None:
                await self.services.engine().start(first_workflow(run_id))

    async def _decide_later(self, incident_id: str, fault: str) -> None:
        """Have it decided again soon, and told that it could not be when that is a defect of ours. Without the store the claim
        runs out instead."""
        s = self.services
        failures = self._failures[incident_id] = self._failures.get(incident_id, 0) + 1
        after = min(_FAILED * 2 ** min(failures - 1, 10), _LATEST)
        try:
            await s.store.write(lambda tx: settle.failed(tx, s, incident_id, fault, tx.now + after))
        except Exception:
            log.exception("decide_not_rescheduled")

    async def sweep(self) -> int:
        """Give runs that have lost their workflow to a new one, take over from replicas that are gone, have digests edited and the
        next step of an escalation asked."""
        s = self.services
        now = s.clock.now()
        await each(
            {
                "clock": self._follow_the_clock,
                "holds": lambda: holding.forget_lifted(s),
                "drive": self.drive_overdue,
                "take_over": self._take_over,
                "digests": lambda: refresh_digests(s.store, now),
                "escalations": lambda: escalation.walk_due(s),
            }
        )
        return 0

    async def report(self) -> int:
        """Set the gauges; queue the week's scorecard and the day's head of the audit trail when they are due; notice heartbeats
        that are missing."""
        s = self.services
        await each(
            {
                "scorecard": lambda: scorecard.post_due(s, self.channel),
                "audit_head": lambda: audit_head.tell_due(s, self.channel),
                "heartbeats": self._heartbeats.check,
                "gauges": lambda: record.set_gauges(s),
            }
        )
        return 0

    async def _follow_the_clock(self) -> None:
        """Nothing waits longer because the wall clock was set back, and nothing ends sooner because it was set ahead: while this process runs, its
        monotonic clock tells; at its start, the latest wall time that the store has seen. Each time the store's moments are moved once, whoever
        sees it."""
        s = self.services
        offset = s.clock.now() - timedelta(seconds=s.clock.monotonic())
        back = self._offset - offset if self._offset is not None else timedelta()
        noted = self._noted_at is not None and s.clock.monotonic() - self._noted_at < _NOTED
        if noted and abs(back) <= driving.SET_BACK:
            self._offset = offset
            return
        written = await s.store.read(driving.seen)
        other = written is not None and written.by != s.replica
        gone = other and (
            s.presence is None or (written is not None and written.by in await s.presence((written.by,)))
        )
        known = self._jumps
        now, moved = await s.store.write(lambda tx: driving.follow_clock(tx, s.replica, back, known, gone))
        self._offset, self._jumps, self._noted_at = offset, now.jumps, s.clock.monotonic()
        if moved:
            event = "clock_was_set_back" if moved > timedelta() else "clock_was_set_ahead"
            log.warning(event, seconds=round(abs(moved).total_seconds()))

    async def drive_overdue(self) -> None:
        """Start a workflow for each run that is overdue: requested, answered or ordered in a transaction whose process died
        before it told the engine, given up or forgotten by the engine, or due after a long time. One holds up no other."""
        s = self.services
        before = s.clock.now() - _OVERDUE
        late = await s.store.read(lambda conn: driving.overdue(conn, before, _DRIVEN))
        lost = [run for run in late if run.id not in s.advancing and not _comes_back(s, run.id)]
        await each({run.id: partial(self._drive, run) for run in lost})

    async def _drive(self, run: Run) -> None:
        s = self.services
        due = s.clock.now() + _BEGINS
        workflow = await s.store.write(lambda tx: driving.hand_over(tx, run, due))
        if workflow is not None:
            log.info("run_driven_anew", run=run.id, state=run.state.value, waits_for=run.waits_for)
            await s.engine().start(workflow)
            if run.workflow:  # one that still waits sees that the run is another's, and ends
                await s.engine().signal(run.workflow, WAKE)

    async def _take_over(self) -> None:
        """Go on with what replicas were at that are gone."""
        s = self.services
        if s.presence is None:
            return
        others = await s.store.read(lambda conn: work.claim_holders(conn, s.replica))
        for replica in await s.presence(others):
            log.warning("replica_gone", gone=replica)
            await s.store.write(lambda tx, gone=replica: work.free_claims(tx, gone))  # type: ignore[misc]
            s.decide_nudge()
            s.deliver_nudge()

    async def prune(self) -> int:
        """Drop what is older than the retention, in small steps, and what the engine keeps of workflows that are over."""
        s = self.services
        forgotten = await s.engine().prune()
        counted = history.counted_for(s.policy())
        more = await self._pruner.step(s.clock.now() - self.retention, counted)
        return int(more or forgotten > 0)
