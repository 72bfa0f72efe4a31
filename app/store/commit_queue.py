"""Commit queues: a bounded queue with threads that take what has queued up and commit it together, deliveries first.

Owns the hand-over between the event loop and the writing threads. SQLite has one queue with one thread; Postgres has one
queue for deliveries and one with several threads for functions. Used by `Store` only. Never drops a job silently: every
job ends in a result or an exception.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from app.domain.alert import Delivery
from app.domain.errors import StoreUnavailable
from app.store.writer import Failed, Work, Writer

_FULL_RETRY_AFTER = 1.0  # seconds; a full queue drains in less


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work and who waits for it."""

    work: Work
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class CommitQueueSize:
    """`threads` committing side by side, `batch` jobs at most per commit, `queue` jobs at most waiting."""

    threads: int = 1
    batch: int = 256
    queue: int = 10_000
    beside: int = 8
    """Functions at most that share a commit with deliveries: an alert that waits for its answer goes first."""


class _Kept:
    """Keeps what a batch raised, so that every caller of the batch hears of it instead of a dead thread's log."""

    error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


class CommitQueue:
    """One queue and its threads. `make_writer` is called in each thread."""

    def __init__(self, name: str, size: CommitQueueSize, make_writer: Callable[[], Writer]) -> None:
        self._size = size
        self._make_writer = make_writer
        self._deliveries: deque[Job] = deque()
        self._functions: deque[Job] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._dead: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._serve, name=f"store-{name}-{n}", daemon=True)
            for n in range(size.threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a commit now."""
        return len(self._deliveries) + len(self._functions)

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Queue `work`; the future resolves after its commit. Raises StoreUnavailable when full or closed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._ready:
            if self._dead is not None:
                raise self._dead
            if self._closing:
                raise StoreUnavailable("the store is closed")
            if self.waiting >= self._size.queue:
                raise StoreUnavailable(
                    f"{self._size.queue} writes are waiting",
                    code="store_overloaded",
                    retry_after=_FULL_RETRY_AFTER,
                )
            queue = self._deliveries if isinstance(work, Delivery) else self._functions
            queue.append(Job(work, loop, future))
            self._ready.notify()
        return future

    def close(self) -> None:
        """Commit what is queued, then end the threads."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        writer = self._make_writer()
        try:
            while jobs := self._take():
                with _Kept() as kept:
                    _answer(jobs, writer.run([job.work for job in jobs]))
                if kept.error is None:
                    continue
                writer.discard()
                if not isinstance(kept.error, Exception) or writer.dead:
                    self._die(kept.error, jobs)
                    return
                # A defect of ours: these jobs hear of it, the next ones get a fresh connection.
                _answer(jobs, [Failed(kept.error)] * len(jobs))
        finally:
            writer.discard()

    def _take(self) -> list[Job]:
        with self._ready:
            while not self.waiting and not self._closing:
                self._ready.wait()
            # Every commit takes some of both, so that neither waits for ever.
            functions = min(len(self._functions), self._size.beside if self._deliveries else self._size.batch)
            deliveries = min(len(self._deliveries), self._size.batch - functions)
            taken = [self._deliveries.popleft() for _ in range(deliveries)]
            return [*taken, *(self._functions.popleft() for _ in range(functions))]

    def _die(self, death: BaseException, jobs: Sequence[Job]) -> None:
        with self._ready:
            self._dead = death
            left = [*jobs, *self._deliveries, *self._functions]
            self._deliveries.clear()
            self._functions.clear()
            self._closing = True
            self._ready.notify_all()
        _answer(left, [Failed(death)] * len(left))


def _answer(jobs: Sequence[Job], results: Sequence[Any]) -> None:
    """Wake every loop once for all of its jobs."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, result in zip(jobs, results, strict=True):
        by_loop.setdefault(job.loop, []).append((job.future, result))
    for loop, answers in by_loop.items():
        # A closed loop has nobody left who waits; what was committed stays committed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():  # its caller was cancelled; the write stands
            continue
        if isinstance(result, Failed):
            future.set_exception(result.error)
        else:
            future.set_result(result)
