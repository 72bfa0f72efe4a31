"""The store: opens the database, commits what others hand it, reads for them.

Owns the threads. On SQLite one thread commits everything that has queued up in one transaction (one fsync for many
posts); on Postgres deliveries share transactions likewise, and each function has its own, on a few threads. Callers
await; a result means *committed*. Never retries for the caller, except what Postgres itself undid, and never does
anything in the event loop but queueing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar, cast

from sqlalchemy import Connection, Engine

from app.domain.alert import Delivery, Receipt
from app.domain.errors import StoreUnavailable
from app.domain.lines import ASKED_BY, PATIENCE, Lines
from app.domain.ports import Clock, Ids
from app.store import audit
from app.store.commit_queue import CommitQueue, CommitQueueSize
from app.store.connection import LOOKERS, READERS, parse, reader_engine, translated, writer_engine
from app.store.migrate import require_current, upgrade_engine
from app.store.probe import WriteProbe, touch
from app.store.tx import Tx, Vault, VaultKeys, open_vault
from app.store.writer import Cuts, StoreHooks, Writer

__all__ = ["Store", "StoreHooks", "StoreOptions"]

T = TypeVar("T")

_POSTGRES_THREADS = 4
LOOKERS_OF_ONE: Final = 1
"""Threads that read for one caller at a time: another is left to the others, and threads that compute take the interpreter from the event loop."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What is rarely set: how much is queued and committed together, and the keys of what is hidden."""

    size: CommitQueueSize = field(default_factory=CommitQueueSize)
    keys: VaultKeys = field(default_factory=VaultKeys)


class Store:
    """The domain store. Make it with `Store.open`; `close` it at the end. `audit_keys` are those that the trail is made with."""

    audit_keys: audit.AuditKeys = audit.NO_KEYS

    def __init__(
        self,
        engines: tuple[Engine, Engine],
        make_writer: Callable[[], Writer],
        size: CommitQueueSize,
        clock: Clock,
        vault: Vault,
    ) -> None:
        self._probe = WriteProbe(clock.monotonic, lambda: self.write(touch))
        self.vault = vault
        self._engines = engines
        writer, self._reader = engines
        self._ingest = CommitQueue("ingest", size, make_writer)
        shared = writer.dialect.name == "sqlite"
        self._writes = (
            self._ingest
            if shared
            else CommitQueue("write", CommitQueueSize(_POSTGRES_THREADS, 1, size.queue), make_writer)
        )
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="store-look")
        self._lines = Lines(LOOKERS, LOOKERS_OF_ONE, self._lookers, PATIENCE)
        self._closed = False

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Clock,
        ids: Ids,
        migrate: bool = True,
        hooks: StoreHooks | None = None,
        options: StoreOptions | None = None,
    ) -> Store:
        """Open `sqlite:///PATH` or `postgresql://...`; blocking, before the event loop serves.

        `clock` and `ids` are called from the writing threads. Raises BadInput for the URL or a key, StoreUnavailable when the
        database cannot be opened or (with `migrate` False) has not the schema of this version. The keys of the audit
        trail come with `hooks`; with `migrate`, which only who writes asks for, BadInput (code `audit_key_missing`) when the
        trail was made with one that is not given.
        """
        options = options or StoreOptions()
        parsed = parse(url)
        writer, cuts = writer_engine(parsed), Cuts(hooks)
        try:
            if migrate:
                upgrade_engine(writer)
                with translated(), writer.connect() as conn:
                    audit.require_key(conn, cuts.keys)
            else:
                require_current(writer)
            vault = open_vault(writer, options.keys)
        except BaseException:
            writer.dispose()
            raise
        engines = (writer, reader_engine(parsed))
        store = cls(engines, lambda: Writer(writer, clock, ids, cuts, vault), options.size, clock, vault)
        store.audit_keys = cuts.keys
        return store

    @property
    def backend(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engines[0].dialect.name

    @property
    def waiting(self) -> int:
        """Writes queued and not yet taken into a commit: the measure of overload."""
        commit_queues = {id(commit_queue): commit_queue for commit_queue in (self._ingest, self._writes)}
        return sum(commit_queue.waiting for commit_queue in commit_queues.values())

    async def ingest(self, delivery: Delivery) -> Receipt:
        """Record one delivery; returns after its commit.

        Raises Refused (code `idempotency_conflict`) when its dedupe key came before with another body, StoreUnavailable
        when nothing was kept, CommitUnclear when that is not known. Cancelling the caller does not undo the write.
        """
        with self._watched():
            return cast("Receipt", await self._ingest.submit(delivery))

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` in a write transaction; returns its result after the commit.

        What `fn` raises reaches the caller and undoes `fn` alone. StoreUnavailable: nothing was kept. CommitUnclear: the connection
        was lost during the commit itself, and `fn` was kept or not; writes here are idempotent by id for that.
        """
        with self._watched():
            return cast("T", await self._writes.submit(fn))

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read-only connection that sees one moment. For whoever only looks it waits in their own line, on threads that the service's
        own work never waits for. Raises StoreUnavailable, and TryLater (`overloaded`) in a line."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if ASKED_BY.get().name:
            return await self._lines.do(partial(self._read, fn))
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)

    async def probe_write(self) -> None:
        """Find out whether the store can write now; asked of the database every few seconds at most.

        Raises StoreUnavailable when it cannot: disk full, read-only, locked, away.
        """
        await self._probe()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """What fails here tells the readiness."""
        try:
            yield
        except StoreUnavailable:
            self._probe.doubt()
            raise

    def close(self) -> None:
        """Commit what is queued, end the threads, close the connections. Blocks for that long; safe to repeat."""
        self._closed = True
        self._ingest.close()
        self._writes.close()
        self._readers.shutdown()
        self._lookers.shutdown()
        for engine in self._engines:
            engine.dispose()

    def _read(self, fn: Callable[[Connection], T]) -> T:
        with translated(), self._reader.connect() as conn:
            return fn(conn)
