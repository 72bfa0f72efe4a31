"""Replicas on one Postgres: who lives is told by locks, and the runs of one that is gone go on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from app.domain.errors import StoreUnavailable
from app.engine.context import Json, RunContext
from app.engine.durable import DurableEngine
from app.store.presence import Presence
from tests.contract import postgres
from tests.contract.stores import missing

Join = Callable[[str], Presence]


@pytest.fixture
def database(request: pytest.FixtureRequest, postgres_server: Callable[[], postgres.Postgres]) -> str:
    """An empty database."""
    try:
        return postgres_server().new_database()
    except postgres.PostgresMissingError as error:
        missing(str(error), request)
        raise


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def join(database: str) -> Iterator[Join]:
    """Has a replica of this name join; all of the library's tables that matter here are made by hand."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA dbos")
        conn.execute("CREATE TABLE dbos.workflow_status (status text, executor_id text)")
    with ExitStack() as stack:

        def make(name: str) -> Presence:
            presence = Presence(_driver(database), name)
            stack.callback(presence.close)
            return presence

        yield make


def _unfinished(database: str, *replicas: str, status: str = "PENDING") -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for replica in replicas:
            conn.execute("INSERT INTO dbos.workflow_status VALUES (%s, %s)", (status, replica))


def _cut(database: str) -> None:
    """The sessions of all replicas break."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'alert-remediator-presence'"
        )


def test_a_name_is_held_once(join: Join) -> None:
    first, second = join("replica-0"), join("replica-0")
    assert [first.hold(), second.hold(), first.hold()] == [True, False, True]
    first.close()
    assert second.hold()


def test_a_replica_is_gone_when_nobody_holds_its_lock_at_two_looks(database: str, join: Join) -> None:
    first, second = join("replica-0"), join("replica-1")
    assert first.hold()
    assert second.hold()
    _unfinished(database, "replica-0", "replica-0", "replica-1", "replica-9")
    assert [second.gone(), second.gone()] == [(), ("replica-9",)]
    first.close()
    assert [second.gone(), second.gone()] == [("replica-9",), ("replica-0", "replica-9")]


def test_a_replica_that_comes_back_between_two_looks_was_not_gone(database: str, join: Join) -> None:
    first, second = join("replica-0"), join("replica-1")
    assert second.hold()
    _unfinished(database, "replica-0")
    assert second.gone() == ()
    assert first.hold()
    assert [second.gone(), second.gone()] == [(), ()]


def test_a_replica_that_holds_something_else_is_told_to_be_gone_too(database: str, join: Join) -> None:
    presence = join("replica-1")
    assert presence.hold()
    _unfinished(database, "replica-0")
    others = ("replica-1", "replica-5")
    assert [presence.gone(others), presence.gone(others)] == [(), ("replica-0", "replica-5")]


def test_a_replica_without_unfinished_work_is_nobodys_business(database: str, join: Join) -> None:
    presence = join("replica-1")
    assert presence.hold()
    _unfinished(database, "replica-0", status="SUCCESS")
    assert [presence.gone(), presence.gone()] == [(), ()]


def test_a_broken_session_is_replaced(database: str, join: Join) -> None:
    first, second = join("replica-0"), join("replica-0")
    assert first.hold()
    _cut(database)
    with pytest.raises(StoreUnavailable):
        first.gone()
    assert first.hold()
    assert not second.hold()
    assert first.gone() == ()


def test_a_database_that_is_away_is_ours_to_name() -> None:
    presence = Presence("postgresql+psycopg://tester@127.0.0.1:1/nothing", "replica-0")
    with pytest.raises(StoreUnavailable, match="which replicas live"):
        presence.hold()
    assert presence.gone() == ()
    presence.close()


async def test_the_runs_of_a_replica_that_is_gone_go_on_elsewhere(database: str) -> None:
    executed: list[str] = []
    reached, done = asyncio.Event(), asyncio.Event()

    async def workflow(ctx: RunContext, run_id: str) -> None:
        async def work(name: str) -> Json:
            executed.append(f"{run_id} {name}")
            return None

        await ctx.step("one", lambda: work("one"))
        reached.set()
        await ctx.wait_for("answer", 30.0)
        await ctx.step("two", lambda: work("two"))
        done.set()

    first = DurableEngine(database, workflow, name="replica-0")
    await first.launch()
    await first.start("run_1")
    async with asyncio.timeout(10):
        await reached.wait()
    await first.close()

    second = DurableEngine(database, workflow, name="replica-1")
    await second.launch()
    assert await second.take_over() == ()
    assert await second.take_over() == ("replica-0",)
    await second.signal("run_1", "answer")
    async with asyncio.timeout(10):
        await done.wait()
    assert await second.take_over() == ()
    await second.close()
    assert executed == ["run_1 one", "run_1 two"]


async def test_there_is_nobody_to_take_over_from_on_sqlite(tmp_path: Path) -> None:
    async def workflow(_ctx: RunContext, _run_id: str) -> None:
        return

    engine = DurableEngine(tmp_path / "engine.sqlite", workflow, name="replica-0")
    await engine.launch()
    assert await engine.take_over() == ()
    await engine.close()
