"""What a write promises: committed or nothing, alone or together, dead or alive."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import psycopg
import pytest
from sqlalchemy import Connection, func, make_url, select, text

from app.domain.errors import BadInput, CommitUnclear, Refused, RemediatorError, StoreUnavailable
from app.domain.events import EventKind
from app.store import audit, incidents, trail
from app.store.commit_queue import CommitQueueSize
from app.store.database import Store, StoreHooks
from app.store.schema import deliveries, samples
from app.store.tx import Tx
from tests.contract.cutting import Cut, CuttingProxy
from tests.contract.stores import HandClock, Stores, delivery, firing


class DiedError(BaseException):
    """The process ends here."""


def put(tx: Tx, pod: str, size: int = 1) -> None:
    """Write one row that anybody can count."""
    tx.conn.execute(samples.insert().values(target_key="t", pod=pod, at=1, memory_bytes=size))
    tx.audit(EventKind.MEASURED, data={"pod": pod})


def pods(conn: Connection) -> list[str]:
    """What `put` has put."""
    return list(conn.execute(select(samples.c.pod).order_by(samples.c.pod)).scalars())


def count_deliveries(conn: Connection) -> int:
    """Stored deliveries."""
    return int(conn.execute(select(func.count()).select_from(deliveries)).scalar() or 0)


def putting(pod: str, *, fail: bool = False) -> Callable[[Tx], str]:
    """A function that puts one row and, with `fail`, raises after it is in."""

    def fn(tx: Tx) -> str:
        put(tx, pod)
        if fail:
            raise Refused("no", code="no")
        return pod

    return fn


async def many(store: Store, *names: str, fail: str = "") -> list[str | BaseException]:
    """Write all at once; the one named `fail` raises after its row is in."""
    jobs = (store.write(putting(name, fail=name == fail)) for name in names)
    return await asyncio.gather(*jobs, return_exceptions=True)


async def test_a_write_returns_its_result_after_the_commit(make_store: Stores) -> None:
    store, other = make_store(), make_store()
    assert await many(store, "a") == ["a"]
    assert await other.read(pods) == ["a"]


async def test_a_failing_function_loses_neither_its_neighbours_nor_leaves_a_trace(store: Store) -> None:
    results = await many(store, "a", "b", "c", "d", fail="c")
    assert [r for r in results if isinstance(r, str)] == ["a", "b", "d"]
    assert isinstance(results[2], Refused)
    assert await store.read(pods) == ["a", "b", "d"]
    events = await store.read(lambda conn: audit.page(conn, 0, 10))
    assert sorted(e.data["pod"] for e in events) == ["a", "b", "d"]
    assert (await store.read(trail.verify)).ok


async def test_a_statement_that_the_database_refuses_is_translated_and_undone_alone(store: Store) -> None:
    await store.write(putting("a"))
    results = await asyncio.gather(
        store.write(putting("b")),
        store.write(lambda tx: tx.conn.execute(text("SELECT nothing FROM nowhere"))),
        store.write(putting("c")),
        return_exceptions=True,
    )
    assert isinstance(results[1], RemediatorError)
    assert results[1].__cause__ is not None
    assert await store.read(pods) == ["a", "b", "c"]


async def test_what_queues_up_during_a_commit_is_committed_together(make_store: Stores) -> None:
    commits: list[None] = []
    store = make_store(hooks=StoreHooks(before_commit=lambda: commits.append(None)))
    await asyncio.gather(*(store.ingest(delivery(firing(f"f{n}"))) for n in range(200)))
    assert await store.read(count_deliveries) == 200
    assert len(commits) < 20


async def test_one_delivery_that_breaks_the_batch_is_recorded_apart(store: Store) -> None:
    broken = replace(delivery(firing("b")), body_digest=object())  # type: ignore[arg-type]
    results = await asyncio.gather(
        store.ingest(delivery(firing("a"))),
        store.ingest(broken),
        store.ingest(delivery(firing("c"))),
        return_exceptions=True,
    )
    assert [isinstance(r, BaseException) for r in results] == [False, True, False]
    assert await store.read(count_deliveries) == 2
    assert (await store.read(trail.verify)).ok


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
async def test_after_death_nothing_more_is_written(make_store: Stores, *, after: bool) -> None:
    armed: list[bool] = []

    def die() -> None:
        if armed:
            raise DiedError

    hooks = StoreHooks(after_commit=die) if after else StoreHooks(before_commit=die)
    store, survivor = make_store(hooks=hooks), make_store()
    await store.write(putting("a"))
    armed.append(True)
    for name in ("b", "c"):
        with pytest.raises(DiedError):
            await store.write(putting(name))
    with pytest.raises(DiedError):
        await store.ingest(delivery(firing()))
    assert await survivor.read(pods) == (["a", "b"] if after else ["a"])
    assert await survivor.read(count_deliveries) == 0
    assert (await survivor.read(trail.verify)).ok


async def test_a_full_queue_says_when_to_come_back_and_keeps_what_it_took(make_store: Stores) -> None:
    store = make_store(size=CommitQueueSize(queue=5))
    results = await asyncio.gather(
        *(store.ingest(delivery(firing(f"f{n}"))) for n in range(500)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, StoreUnavailable)]
    assert refused
    assert {(r.code, r.retry_after) for r in refused} == {("store_overloaded", 1.0)}
    assert await store.read(count_deliveries) == 500 - len(refused)


async def test_closing_commits_what_is_queued_and_refuses_the_rest(make_store: Stores) -> None:
    store = make_store()
    jobs = [asyncio.ensure_future(store.write(putting(f"p{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    store.close()
    await asyncio.gather(*jobs)
    with pytest.raises(StoreUnavailable):
        await store.write(putting("late"))
    with pytest.raises(StoreUnavailable):
        await store.read(pods)
    assert len(await make_store().read(pods)) == 20


async def test_a_cancelled_caller_does_not_undo_its_write(make_store: Stores) -> None:
    store = make_store()
    job = asyncio.ensure_future(store.write(putting("a")))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await store.write(putting("b"))
    store.close()  # with several writing threads the second may be committed before the first
    assert await make_store().read(pods) == ["a", "b"]


async def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(RemediatorError):
        await store.read(
            lambda conn: conn.execute(samples.insert().values(target_key="t", pod="x", at=1, memory_bytes=1))
        )
    assert await store.read(pods) == []


async def test_all_of_a_transaction_has_one_time(store: Store, clock: HandClock) -> None:
    assert await store.write(lambda tx: (tx.now, tx.stamp)) == (clock.now(), 1772334000000000)


async def test_replicas_share_one_database_without_losing_or_doubling_anything(make_store: Stores) -> None:
    """Two processes ingest the same alerts and append to the same chain at once."""
    stores = [make_store(), make_store()]
    bodies = [delivery(firing(f"f{n % 40}")) for n in range(160)]
    await asyncio.gather(*(store.ingest(body) for body in bodies for store in stores))
    page = await stores[0].read(lambda conn: incidents.page(conn, None, 50))
    assert len(page) == 1
    stored = await stores[0].read(lambda conn: incidents.alerts(conn, page[0].id, 100))
    assert {a.seen for a in stored} == {8}
    assert len(stored) == 40
    events = await stores[0].read(lambda conn: list(audit.each_of_incident(conn, page[0].id)))
    assert [e.kind.value for e in events].count("alert.fired") == 40
    assert (await stores[1].read(trail.verify)).ok


async def test_a_full_disk_is_store_unavailable_and_heals(sqlite_stores: Stores) -> None:
    store = sqlite_stores()
    await store.ingest(delivery(firing("a")))
    pages = await store.write(lambda tx: tx.conn.exec_driver_sql("PRAGMA page_count").scalar())
    await store.write(lambda tx: tx.conn.exec_driver_sql(f"PRAGMA max_page_count={pages}").fetchall())
    body = delivery(*(firing(f"big{n}") for n in range(500)))
    with pytest.raises(StoreUnavailable) as caught:
        await store.ingest(body)
    assert caught.value.retry_after
    assert await store.read(count_deliveries) == 1
    assert len((await store.ingest(body)).incident_ids) == 1  # the next connection has room again
    assert (await store.read(trail.verify)).ok


async def test_commits_are_counted_with_their_writes_and_those_that_fail_too(sqlite_stores: Stores) -> None:
    commits: list[int] = []
    failures: list[None] = []
    counting = StoreHooks(
        committed=lambda seconds, writes: commits.append(writes if seconds >= 0 else -1),
        failed=lambda: failures.append(None),
    )
    store = sqlite_stores(hooks=counting)
    await many(store, "a", "b", "c", fail="b")
    assert (sum(commits), failures) == (3, [])  # what failed alone shared the commit of the others
    pages = await store.write(lambda tx: tx.conn.exec_driver_sql("PRAGMA page_count").scalar())
    await store.write(lambda tx: tx.conn.exec_driver_sql(f"PRAGMA max_page_count={pages}").fetchall())
    with pytest.raises(StoreUnavailable):
        await store.ingest(delivery(*(firing(f"big{n}") for n in range(500))))
    assert (sum(commits), failures) == (5, [None])


async def test_a_locked_file_is_store_unavailable_for_the_whole_batch_and_keeps_nothing(
    sqlite_stores: Stores, tmp_path: Path
) -> None:
    store = sqlite_stores()
    other = sqlite3.connect(tmp_path / "only.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(
        store.ingest(delivery(firing("a"))), store.write(putting("a")), return_exceptions=True
    )
    assert [type(r) for r in results] == [StoreUnavailable, StoreUnavailable]
    other.execute("ROLLBACK")
    other.close()
    assert await store.read(count_deliveries) == 0
    await store.ingest(delivery(firing("a")))


async def test_the_sqlite_file_is_durable_and_grows_its_log_in_bounds(sqlite_stores: Stores) -> None:
    store = sqlite_stores()

    def pragmas(tx: Tx) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "auto_vacuum", "wal_autocheckpoint")
        return {name: tx.conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    # 2 is FULL and INCREMENTAL.
    expected = {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "wal_autocheckpoint": 4000}
    assert await store.write(pragmas) == expected


async def test_a_lost_postgres_connection_is_store_unavailable_and_heals(postgres_stores: Stores) -> None:
    store = postgres_stores()
    await store.ingest(delivery(firing("a")))
    with psycopg.connect(postgres_stores.url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    with pytest.raises(StoreUnavailable):
        await store.ingest(delivery(firing("b")))
    await store.ingest(delivery(firing("b")))
    assert await store.read(count_deliveries) == 2


@pytest.mark.parametrize("cut", get_args(Cut))
async def test_a_commit_whose_answer_is_lost_is_told_as_unclear_and_never_as_nothing_done(
    postgres_stores: Stores, clock: HandClock, cut: Cut
) -> None:
    port = int(make_url(postgres_stores.url).port or 0)
    with CuttingProxy(port) as proxy:
        stores = Stores(postgres_stores.url.replace(f":{port}/", f":{proxy.port}/"), clock)
        store = stores()
        await store.write(lambda tx: tx.conn.execute(select(1)))
        for take in (store.write(putting("a")), store.ingest(delivery(firing("b")))):
            proxy.cut = cut
            with pytest.raises(CommitUnclear, match="not known whether this was taken"):
                await take
        assert proxy.cuts == 2
        kept = int(cut == "after")
        assert await store.read(pods) == ["a"] * kept
        assert await store.read(count_deliveries) == kept
        stores.close()


async def test_a_connection_lost_before_the_commit_is_told_as_nothing_kept(postgres_stores: Stores) -> None:
    store = postgres_stores()

    def lose(tx: Tx) -> None:
        put(tx, "a")
        tx.conn.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreUnavailable) as caught:
        await store.write(lose)
    assert type(caught.value) is StoreUnavailable
    assert await store.read(pods) == []


async def test_postgres_transactions_that_deadlock_are_run_again(postgres_stores: Stores) -> None:
    store = postgres_stores()
    await many(store, "a", "b")
    started = {"a": asyncio.Event(), "b": asyncio.Event()}
    loop = asyncio.get_running_loop()

    def crosswise(first: str, second: str) -> Callable[[Tx], None]:
        def fn(tx: Tx) -> None:
            tx.conn.execute(
                samples.update().where(samples.c.pod == first).values(memory_bytes=samples.c.memory_bytes + 1)
            )
            if not started[first].is_set():
                loop.call_soon_threadsafe(started[first].set)
                asyncio.run_coroutine_threadsafe(started[second].wait(), loop).result(timeout=5)
            tx.conn.execute(
                samples.update()
                .where(samples.c.pod == second)
                .values(memory_bytes=samples.c.memory_bytes + 1)
            )

        return fn

    await asyncio.gather(store.write(crosswise("a", "b")), store.write(crosswise("b", "a")))
    sizes = await store.read(lambda conn: list(conn.execute(select(samples.c.memory_bytes)).scalars()))
    assert sizes == [3, 3]


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "nonsense", "", "postgresql://u@db/x?sslmod=require"],
)
def test_a_url_we_cannot_keep_alerts_in_is_refused_by_name(url: str, clock: HandClock) -> None:
    with pytest.raises(BadInput) as caught:
        Stores(url, clock)()
    assert caught.value.where == "DATABASE_URL"


def test_a_database_that_is_not_there_is_unavailable_and_its_password_stays_out(clock: HandClock) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Stores("postgresql://ann:hunter2@127.0.0.1:1/x", clock)()
    assert "hunter2" not in str(caught.value)
