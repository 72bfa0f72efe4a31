"""A store that fails under the real engine: the library never takes a workflow up again that has failed, so the run goes on in another."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import httpx

from app.domain.outcome import RunState
from app.engine.context import Json, RunContext
from app.engine.durable import DurableEngine
from app.main import Service
from app.observe.system import SystemClock
from app.serving import serving
from app.settings import load_settings
from app.sim import AcceleratedClock, SimCluster, load_scenario
from app.store import runs
from tests.unit.served import POLICIES, SPEED, TOKENS, _feed, parts_on

PATIENCE = 60.0  # seconds on the wall after which something counts as never happening


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - neither the library nor the service tells this test
            await asyncio.sleep(0.02)


def _failed(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as found:
        return found.execute("SELECT 1 FROM workflow_status WHERE status = 'ERROR'").fetchone() is not None


async def test_a_workflow_that_failed_is_told_no_more_and_the_next_one_of_its_run_is(tmp_path: Path) -> None:
    """As the tests of faults assume of every engine."""
    told: list[str] = []

    async def workflow(ctx: RunContext, name: str) -> None:
        async def work() -> Json:
            told.append(name)
            if name == "run_a_1":
                raise OSError("the database is restarting")
            return None

        await ctx.step("look", work)

    for number in range(2):
        engine = DurableEngine(tmp_path / "engine.sqlite", workflow, name="replica-0")
        await engine.launch()
        await engine.start("run_a_1")
        await _until(lambda: _failed(tmp_path / "engine.sqlite"))
        if number:
            await engine.start("run_a_1~2")
            await _until(lambda: "run_a_1~2" in told)
        await engine.close()
    assert told == ["run_a_1", "run_a_1~2"]


@asynccontextmanager
async def _durable(folder: Path) -> AsyncIterator[tuple[Service, SimCluster, str]]:
    """A whole service on the real engine, with Alertmanager's posts."""
    settings = load_settings(
        state_dir=folder, policy_dir=POLICIES, cluster="simulated", port=0, tokens=TOKENS
    )
    clock = AcceleratedClock(SystemClock(), SPEED)
    cluster = SimCluster(clock, load_scenario("high-error-rate"))
    async with serving(settings, replace(parts_on(cluster, clock), make_engine=None)) as (service, url):
        feed = asyncio.create_task(_feed(cluster, url))
        try:
            yield service, cluster, url
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)


async def test_a_store_that_is_locked_in_the_middle_of_a_run_leaves_no_zombie(tmp_path: Path) -> None:
    """As by a backup of its file: what the run was about to write is written once the lock is free, and its target is free then. Meanwhile
    posts get 503, and so does whoever asks whether the service is ready."""
    async with _durable(tmp_path) as (service, cluster, url):
        store, lost = service.services.store, service.services.lost

        async def run_is(wanted: Callable[[RunState], bool]) -> RunState:
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = await store.read(lambda conn: runs.page(conn, None, 10))
                    if found and wanted(found[0].state):
                        assert len(found) == 1
                        return found[0].state
                    await asyncio.sleep(0.02)

        await run_is(lambda seen: seen is RunState.VERIFYING)
        other = sqlite3.connect(tmp_path / "remediator.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await _until(lambda: bool(lost))
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            ready = await client.get("/readyz")
        assert (ready.status_code, list(ready.json()["problems"])) == (503, ["store"])
        other.execute("ROLLBACK")
        other.close()
        assert await run_is(lambda seen: seen.ended) is RunState.FIXED
        assert await store.read(runs.live_targets) == []
        patched = [m.name for m in cluster.mutations if m.verb == "patch" and not m.dry_run]
        assert patched == ["langgraph"]
