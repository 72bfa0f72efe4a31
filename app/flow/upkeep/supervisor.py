"""Supervisor: keeps every background task of a process alive, and says which of them fails.

The composition root and `app.flow.upkeep.loops` hand it the bodies: decide, deliver, sweep, report, prune, the policy watcher, the
look at Slack's connection, the check of the rights. A body that raises is logged, counted and run again after a wait that
grows; until it succeeds the task stands among the problems that `/readyz` and the metrics show. Never decides anything
and never swallows a cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.domain.ports import Clock
from app.flow.each import passes
from app.flow.services import Nudge
from app.observe.metrics import Metrics

log = structlog.get_logger(__name__)

_FIRST_WAIT: Final = 1.0  # seconds
_LONGEST_WAIT: Final = 60.0  # seconds

Body = Callable[[], Awaitable[int]]
"""One round of a task; returns how much it did, 0 when there was nothing to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """A body and its rhythm: after an idle round it rests `pause` seconds or until `nudge`; after a nudge it waits another
    `gather` seconds, so that what comes together is done together."""

    name: str
    body: Body
    pause: float
    nudge: Nudge = field(default_factory=Nudge)
    gather: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """The tasks of one process, by name."""

    clock: Clock
    metrics: Metrics
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _failing: dict[str, str] = field(default_factory=dict)

    def start(self, task: Task) -> None:
        """Begin a task. Raises ValueError for a name that runs already."""
        if task.name in self._tasks:
            raise ValueError(f"the task {task.name} runs already")
        self._well(task.name)
        self._tasks[task.name] = asyncio.create_task(self.keep(task), name=task.name)

    async def stop(self) -> None:
        """End all; what was under way is picked up after the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def problems(self) -> Mapping[str, str]:
        """By task name, why it fails at present or that it ended. Exceptions are told by their kind only."""
        ended = {n: "ended and is not run any more" for n, t in self._tasks.items() if t.done()}
        return {**self._failing, **ended}

    async def keep(self, task: Task) -> None:
        """Run the task for ever."""
        failed = 0
        while True:
            task.nudge.event.clear()
            try:
                busy = await task.body()
            except Exception as error:  # noqa: BLE001 - the boundary of a background task: nothing may end it
                failed += 1
                self._failed(task.name, error, failed)
                await self.clock.sleep(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failed - 1, 10)))
                continue
            if failed:
                log.info("task_recovered", task=task.name, failures=failed)
                self._well(task.name)
            failed = 0
            if not busy:
                await self._rest(task)

    async def _rest(self, task: Task) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(task.pause):
                await task.nudge.event.wait()
        if task.gather and task.nudge.event.is_set():
            await self.clock.sleep(task.gather)

    def _well(self, name: str) -> None:
        self._failing.pop(name, None)
        self.metrics.task_up.labels(name).set(1)

    def _failed(self, name: str, error: Exception, times: int) -> None:
        if passes(error):
            log.warning("task_waits", task=name, failures=times, error=str(error))
        else:
            log.error("task_failed", task=name, failures=times, exc_info=error)
        # The text of an unexpected exception may hold anything, and whoever reaches the port reads this.
        code = getattr(error, "code", type(error).__name__)
        self._failing[name] = f"failed {times} times in a row, last with {code}"
        self.metrics.task_up.labels(name).set(0)
        self.metrics.task_failures.labels(name).inc()
