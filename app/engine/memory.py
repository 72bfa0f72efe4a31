"""The in-memory twin of the durable engine: a journal of step results and an explicit clock.

Owns the journal that survives a simulated death of the process: the crash harness throws the engine away, keeps the
`Journal`, and builds a new engine on it. Used by scenario tests, rehearsals and crash tests; never in production.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.domain.ports import Clock
from app.engine.context import Json, RunContext, Work, Workflow

Boundary = Callable[[str], None]
"""Called at every durable boundary with its name; may raise a BaseException to simulate death right there."""


def _no_boundary(_name: str) -> None:
    return


@dataclass(slots=True)
class Journal:
    """What a crash leaves behind: results by run and position, signals, and which runs have ended."""

    results: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    signals: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    started: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)


class JournalEngine:
    """Runs stories as tasks on the present loop. `failed` keeps errors of stories for tests to look at."""

    def __init__(
        self,
        workflow: Workflow,
        clock: Clock,
        *,
        journal: Journal | None = None,
        boundary: Boundary = _no_boundary,
    ) -> None:
        self._workflow = workflow
        self._clock = clock
        self.journal = journal if journal is not None else Journal()
        self._boundary = boundary
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wakers: dict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)
        self.failed: dict[str, BaseException] = {}

    async def launch(self) -> None:
        """Resume what the journal says is unfinished."""
        for run_id in self.journal.started:
            if run_id not in self.journal.ended:
                self._spawn(run_id)

    async def start(self, run_id: str) -> None:
        """Start once per run id, ever."""
        if run_id not in self.journal.started:
            self.journal.started.append(run_id)
            self._spawn(run_id)

    async def signal(self, run_id: str, topic: str) -> None:
        """Leave a signal; it is kept until a wait consumes it."""
        if run_id in self.journal.started:
            self.journal.signals[run_id, topic] += 1
            self._wakers[run_id, topic].set()

    async def prune(self) -> int:
        """Forget what has ended."""
        ended = [run_id for run_id in self.journal.started if run_id in self.journal.ended]
        for run_id in ended:
            self.journal.results.pop(run_id, None)
        return len(ended)

    async def close(self) -> None:
        """Cancel the tasks; the journal stays."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    @property
    def live(self) -> list[str]:
        """Runs whose task has not ended."""
        return [run_id for run_id, task in self._tasks.items() if not task.done()]

    def _spawn(self, run_id: str) -> None:
        self._tasks[run_id] = asyncio.create_task(self._tell(run_id), name=run_id)

    async def _tell(self, run_id: str) -> None:
        try:
            await self._workflow(_JournalContext(self, run_id), run_id)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - kept for the test that asks; a simulated death ends up here too
            self.failed[run_id] = error
            return
        self.journal.ended.add(run_id)

    def cross(self, name: str) -> None:
        """One durable boundary."""
        self._boundary(name)

    def now(self) -> datetime:
        """The engine's clock."""
        return self._clock.now()

    async def sleep(self, run_id: str, topic: str, seconds: float) -> None:
        """Wait on the clock, ended early by a signal."""
        waker = self._wakers[run_id, topic]
        sleeps = [
            asyncio.ensure_future(self._clock.sleep(max(0.0, seconds))),
            asyncio.ensure_future(waker.wait()),
        ]
        try:
            await asyncio.wait(sleeps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sleep in sleeps:
                sleep.cancel()
            await asyncio.gather(*sleeps, return_exceptions=True)
        waker.clear()


class _JournalContext(RunContext):
    def __init__(self, engine: JournalEngine, run_id: str) -> None:
        self.run_id = run_id
        self._engine = engine
        self._position = 0

    def _replayed(self, name: str) -> tuple[bool, Json]:
        known = self._engine.journal.results[self.run_id]
        if self._position >= len(known):
            return False, None
        recorded, result = known[self._position]
        if recorded != name:
            raise RuntimeError(
                f"{self.run_id}: step {self._position} was {recorded}, the workflow now says {name}"
            )
        self._position += 1
        return True, json.loads(result)

    def _record(self, name: str, result: Json) -> None:
        self._engine.cross(f"{name}: done, not recorded")
        self._engine.journal.results[self.run_id].append((name, json.dumps(result)))
        self._position += 1
        self._engine.cross(f"{name}: recorded")

    async def step(self, name: str, work: Work) -> Json:
        replayed, result = self._replayed(name)
        if replayed:
            return result
        self._engine.cross(f"{name}: begins")
        result = await work()
        self._record(name, result)
        return json.loads(json.dumps(result))

    async def _until(self, name: str, seconds: float) -> datetime:
        replayed, text = self._replayed(name)
        if not replayed:
            text = (self._engine.now() + timedelta(seconds=seconds)).isoformat()
            self._record(name, text)
        return datetime.fromisoformat(text)

    async def sleep(self, seconds: float) -> None:
        until = await self._until("sleep", seconds)
        while (left := (until - self._engine.now()).total_seconds()) > 0:
            await self._engine.sleep(self.run_id, "", left)

    async def wait_for(self, topic: str, seconds: float) -> bool:
        until = await self._until(f"wait {topic}", seconds)
        name = f"woken {topic}"
        replayed, result = self._replayed(name)
        if replayed:
            return bool(result)
        signals = self._engine.journal.signals
        while not signals[self.run_id, topic] and (left := (until - self._engine.now()).total_seconds()) > 0:
            await self._engine.sleep(self.run_id, topic, left)
        woken = signals[self.run_id, topic] > 0
        self._record(name, woken)
        if woken:
            signals[self.run_id, topic] -= 1
        return woken
