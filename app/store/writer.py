"""The writer: takes the jobs that have queued up and commits them together.

Owns the one transaction of a batch: deliveries first, recorded as one; then each function inside its own savepoint; then
the audit records of all of them; then the commit. Only after it does anybody hear of success. Called by the queues of
`Store`, one writer per thread. Never lets one job's failure reach another, except when the transaction itself is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from app.domain.alert import Delivery
from app.domain.errors import RemediatorError
from app.domain.ports import Clock, Ids
from app.store import audit
from app.store.audit import NO_KEYS, AuditKeys
from app.store.connection import breaks_transaction, commit_unclear, is_collision, leaves_open, translate
from app.store.ingest import record
from app.store.tx import AuditRecord, Tx, Vault

_ATTEMPTS = 4  # a collision on Postgres is rare; four in a row mean something is wrong


@dataclass(frozen=True, slots=True)
class StoreHooks:
    """Where crash tests cut, and where commits are counted.

    `before_commit` and `after_commit` may raise a BaseException to play death: the store then writes nothing more.
    `committed` hears of each commit (seconds it took from taking up the work, writes that shared it), `audited` of its audit
    records, `failed` of each that did not happen; all are called from the writing threads and must not raise. `keys` are those
    of the audit trail.
    """

    before_commit: Callable[[], None] | None = None
    after_commit: Callable[[], None] | None = None
    committed: Callable[[float, int], None] = lambda _seconds, _writes: None
    failed: Callable[[], None] = lambda: None
    audited: Callable[[Sequence[AuditRecord]], None] = lambda _records: None
    keys: AuditKeys = NO_KEYS


class Cuts:
    """The hooks as all writers of one store share them: once one has played death, no writer commits any more."""

    def __init__(self, hooks: StoreHooks | None) -> None:
        self._hooks = hooks or StoreHooks()
        self.committed, self.failed = self._hooks.committed, self._hooks.failed
        self.audited = self._hooks.audited
        self.keys = self._hooks.keys
        self.death: BaseException | None = None

    def before_commit(self) -> None:
        """Call the hook, or raise the death that another writer died."""
        self._call(self._hooks.before_commit)

    def after_commit(self) -> None:
        """Call the hook."""
        self._call(self._hooks.after_commit)

    def _call(self, hook: Callable[[], None] | None) -> None:
        if self.death is not None:
            raise self.death
        if hook is None:
            return
        try:
            hook()
        except BaseException as death:
            self.death = death
            raise


Work = Delivery | Callable[[Tx], Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """A job's failure, to be raised to its caller."""

    error: BaseException


class _SpoiledError(Exception):
    """Recording the deliveries as one failed; each must get its own savepoint."""


class _Caught:
    """Keeps the exception of a job so that it reaches the job's caller and nobody else.

    A lost transaction or a collision is everybody's and passes through, as does anything that is not an Exception.
    """

    error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or breaks_transaction(error) or is_collision(error):
            return False
        if isinstance(error, SQLAlchemyError):
            self.error = translate(error)
            self.error.__cause__ = error
        else:
            self.error = error
        return True


class Writer:
    """Commits batches on one connection, kept open between them."""

    def __init__(self, engine: Engine, clock: Clock, ids: Ids, cuts: Cuts, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault
        self._clock = clock
        self._ids = ids
        self._cuts = cuts
        self._conn: Connection | None = None
        self._committing = False

    def run(self, work: Sequence[Work]) -> list[Any]:
        """Commit `work` and return one result per item, `Failed` where it failed.

        Raises what a hook raises, and nothing else: the caller then treats the store as dead.
        """
        one_by_one = False
        ours: RemediatorError | None = None
        began = self._clock.monotonic()
        for _ in range(_ATTEMPTS):
            try:
                results = self._attempt(work, one_by_one=one_by_one)
                self._cuts.committed(self._clock.monotonic() - began, len(work))
                return results
            except _SpoiledError:
                one_by_one = True
            except SQLAlchemyError as fault:
                # Whatever was written goes with the connection, so that nothing half-done can be committed later.
                self.discard()
                unclear = self._committing and leaves_open(fault)
                ours = commit_unclear(fault) if unclear else translate(fault)
                ours.__cause__ = fault
                if unclear or not is_collision(fault):
                    break
        self._cuts.failed()
        return [Failed(ours) if ours else None for _ in work]

    @property
    def dead(self) -> bool:
        """A hook has played death: nothing may be written any more."""
        return self._cuts.death is not None

    def discard(self) -> None:
        """Close the connection, undoing what is uncommitted."""
        conn, self._conn = self._conn, None
        if conn is not None:
            with suppress(SQLAlchemyError):
                conn.invalidate()
            with suppress(SQLAlchemyError):
                conn.close()

    def _attempt(self, work: Sequence[Work], *, one_by_one: bool) -> list[Any]:
        self._committing = False
        if self._conn is None:
            self._conn = self._engine.connect()
        conn, now = self._conn, self._clock.now()
        results: list[Any] = [None] * len(work)
        records: list[AuditRecord] = []
        deliveries = [(place, item) for place, item in enumerate(work) if isinstance(item, Delivery)]
        with conn.begin():
            if deliveries and not one_by_one:
                tx = Tx(conn, now, self._ids, self._vault)
                for (place, _), result in zip(deliveries, self._record(tx, deliveries), strict=True):
                    results[place] = result
                records += tx.records
            for place, item in enumerate(work):
                if one_by_one or not isinstance(item, Delivery):
                    results[place], kept = self._alone(conn, now, item)
                    records += kept
            audit.append(conn, records, self._cuts.keys)
            self._cuts.before_commit()
            self._committing = True
        self._cuts.audited(records)
        self._cuts.after_commit()
        return results

    def _record(self, tx: Tx, deliveries: Sequence[tuple[int, Delivery]]) -> list[Any]:
        with _Caught():
            outcomes = record(tx, [delivery for _, delivery in deliveries])
            return [Failed(o) if isinstance(o, RemediatorError) else o for o in outcomes]
        raise _SpoiledError

    def _alone(self, conn: Connection, now: datetime, item: Work) -> tuple[Any, list[AuditRecord]]:
        tx = Tx(conn, now, self._ids, self._vault)
        with _Caught() as caught, conn.begin_nested():
            if not isinstance(item, Delivery):
                return item(tx), tx.records
            (outcome,) = record(tx, [item])
            return (Failed(outcome) if isinstance(outcome, RemediatorError) else outcome), tx.records
        # Reached only when the savepoint was undone: the records go with it.
        return Failed(caught.error or RuntimeError("unreachable")), []
