"""The store without its threads: the same writer, transactions and hooks, run by the event loop itself.

Used by the rig, so that a scenario is the same in every run and nothing is ever waited for. What queues up in one turn of
the loop is committed together, as in the store's own thread. Files are not synced: a simulated death takes the
process with it, never the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event

from app.domain.errors import StoreUnavailable
from app.domain.ports import Clock, Ids
from app.store.database import Store, StoreOptions
from app.store.tx import VaultKeys
from app.store.writer import Failed, StoreHooks, Work, Writer

T = TypeVar("T")
_FIRST: dict[int, Engine] = {}
"""The engines of the first rig, by their place in its store."""


class InlineThreads(ThreadPoolExecutor):
    """The event loop's threads, without threads: work is done at once, so that nothing is still to do when no task can run."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Do it now."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class InlineCommitQueue:
    """Takes the place of a commit queue with its thread."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._jobs: list[tuple[Work, asyncio.Future[Any]]] = []
        self._dead: BaseException | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs that wait for a commit now."""
        return len(self._jobs)

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Queue `work`; the future resolves after its commit."""
        if self._dead is not None:
            raise self._dead
        if self._closed:
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._jobs:
            loop.call_soon(self._commit)
        self._jobs.append((work, future))
        return future

    def close(self) -> None:
        """End it; what was not committed is lost."""
        self._closed = True
        self._writer.discard()

    def _commit(self) -> None:
        jobs, self._jobs = self._jobs, []
        if self._closed:
            return
        try:
            results = self._writer.run([work for work, _ in jobs])
        except BaseException as error:  # a defect of ours, or a simulated death
            self._writer.discard()
            results = [Failed(error)] * len(jobs)
            if self._writer.dead:
                self._dead = error
        for (_, future), result in zip(jobs, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Failed):
                future.set_exception(result.error)
            else:
                future.set_result(result)


class InlineStore(Store):
    """The store on one thread."""

    @classmethod
    def at(cls, url: str, *, clock: Clock, ids: Ids, hooks: StoreHooks, keys: VaultKeys) -> InlineStore:
        """Open a migrated SQLite store."""
        store = cls.open(
            url, clock=clock, ids=ids, migrate=False, hooks=hooks, options=StoreOptions(keys=keys)
        )
        assert isinstance(store, InlineStore)
        for position, engine in enumerate(store._engines if store.backend == "sqlite" else ()):
            event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
            # What one rig compiled the next one need not: hundreds of engines would each compile all statements.
            first = _FIRST.setdefault(position, engine)
            engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
        commit_queue: Any = store._ingest
        commit_queue.close()
        if store._writes is not store._ingest:
            store._writes.close()
        store._ingest = store._writes = InlineCommitQueue(commit_queue._make_writer())  # type: ignore[assignment]  # same shape
        return store

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Read in the next turn of the loop, as a thread would answer no earlier."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        await asyncio.sleep(0)
        return self._read(fn)
