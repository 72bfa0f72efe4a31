"""Whether the store can write: asked of the disk itself, and not by everybody who wants to know."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from app.domain.errors import BadInput, RemediatorError, StoreUnavailable
from app.domain.events import EventKind
from app.store.database import Store
from app.store.probe import WriteProbe
from app.store.tx import Tx
from app.store.writer import StoreHooks
from tests.contract.stores import HandClock, Stores


async def test_a_store_that_can_only_be_read_is_told(
    sqlite_stores: Stores, tmp_path: Path, clock: HandClock
) -> None:
    store = sqlite_stores()
    await store.probe_write()
    other = sqlite3.connect(tmp_path / "only.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # nobody else can write now; everybody can read
    await store.probe_write()  # the answer of just now stands
    clock.forward(seconds=6)
    assert await store.read(lambda conn: conn.exec_driver_sql("SELECT 1").scalar()) == 1
    with pytest.raises(StoreUnavailable):
        await store.probe_write()
    other.execute("ROLLBACK")
    other.close()
    clock.forward(seconds=6)
    await store.probe_write()


async def test_a_store_whose_disk_takes_no_write_is_told_although_its_lock_is_free(
    sqlite_stores: Stores,
) -> None:
    """A transaction that writes nothing reaches no disk: a full one would not be noticed."""
    store = sqlite_stores()
    full = (
        "CREATE TRIGGER full BEFORE UPDATE ON audit_chain BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"
    )
    await store.write(lambda tx: tx.conn.exec_driver_sql(full))
    with pytest.raises(RemediatorError):
        await store.probe_write()


async def test_after_a_write_has_failed_a_good_answer_of_before_stands_no_more(
    sqlite_stores: Stores, tmp_path: Path
) -> None:
    store = sqlite_stores()
    await store.probe_write()
    other = sqlite3.connect(tmp_path / "only.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.write(lambda tx: tx.conn.exec_driver_sql("SELECT 1").scalar())
    with pytest.raises(StoreUnavailable):
        await store.probe_write()
    other.execute("ROLLBACK")
    other.close()


async def test_many_who_ask_cost_one_commit(make_store: Stores, clock: HandClock) -> None:
    commits: list[int] = []
    store = make_store(hooks=StoreHooks(committed=lambda _seconds, writes: commits.append(writes)))
    await asyncio.gather(*(store.probe_write() for _ in range(20)))
    assert sum(commits) == 1
    clock.forward(seconds=6)
    await store.probe_write()
    assert sum(commits) == 2


async def test_a_probe_changes_nothing(store: Store) -> None:
    from app.store import trail

    before = await store.read(trail.head)
    await store.probe_write()
    assert await store.read(trail.head) == before


async def test_a_store_that_does_not_answer_is_told_without_waiting_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck = asyncio.Event()

    async def write() -> None:
        await stuck.wait()

    monkeypatch.setattr("app.store.probe._PATIENCE", 0.01)
    probe = WriteProbe(lambda: 0.0, write)
    with pytest.raises(StoreUnavailable):
        await probe()
    stuck.set()
    await probe()


async def test_what_is_audited_is_heard_after_its_commit_and_nothing_of_what_was_undone(
    make_store: Stores,
) -> None:
    heard: list[str] = []
    store = make_store(
        hooks=StoreHooks(audited=lambda records: heard.extend(record.incident_id for record in records))
    )

    def falls(tx: Tx) -> None:
        tx.audit(EventKind.ESCALATED, incident_id="inc_undone")
        raise BadInput("no")

    with pytest.raises(BadInput):
        await store.write(falls)
    await store.write(lambda tx: tx.audit(EventKind.ESCALATED, incident_id="inc_kept"))
    assert heard == ["inc_kept"]
