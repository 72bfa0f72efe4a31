"""What every engine must do, shown on the durable one and on its in-memory twin.

The durable engine keeps real time, so its waits here are fractions of a second and end by a signal or by themselves.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from app.engine.context import Engine, Json, RunContext, Workflow
from app.engine.durable import DurableEngine
from app.engine.memory import Journal, JournalEngine
from app.observe.system import SystemClock

Make = Callable[[Workflow], Engine]


@pytest.fixture(params=["durable", "journal"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes engines that find what the one before left behind."""
    journal = Journal()

    def build(workflow: Workflow) -> Engine:
        if request.param == "durable":
            return DurableEngine(tmp_path / "engine.sqlite", workflow, name="replica-0")
        return JournalEngine(workflow, SystemClock(), journal=journal)

    return build


class Told:
    """A story that writes down which of its steps were executed."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.done = asyncio.Event()
        self.reached = asyncio.Event()

    def step(self, name: str, result: Json = None) -> Callable[[], Awaitable[Json]]:
        """Work that leaves its name."""

        async def work() -> Json:
            self.executed.append(name)
            return result

        return work


async def _within(event: asyncio.Event, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        await event.wait()


async def test_a_run_is_told_once_however_often_it_is_started(make: Make) -> None:
    """The run id makes it once."""
    told = Told()

    async def workflow(ctx: RunContext, run_id: str) -> None:
        await ctx.step("one", told.step(f"{run_id} one"))
        told.done.set()

    engine = make(workflow)
    await engine.launch()
    await asyncio.gather(*(engine.start("run_1") for _ in range(5)))
    await _within(told.done)
    await engine.start("run_1")
    await engine.start("run_2")
    told.done.clear()
    await _within(told.done)
    await engine.close()
    assert sorted(told.executed) == ["run_1 one", "run_2 one"]


async def test_step_results_come_back_as_json(make: Make) -> None:
    """What a step returns is what the story sees, nested values included."""
    told = Told()
    seen: list[Json] = []

    async def workflow(ctx: RunContext, _run_id: str) -> None:
        seen.append(await ctx.step("value", told.step("value", {"a": [1, None, "ü"], "b": {"c": True}})))
        told.done.set()

    engine = make(workflow)
    await engine.launch()
    await engine.start("run_1")
    await _within(told.done)
    await engine.close()
    assert seen == [{"a": [1, None, "ü"], "b": {"c": True}}]


async def test_a_signal_wakes_a_waiting_run_and_one_sent_before_the_wait_is_kept(make: Make) -> None:
    """An answer is never missed."""
    told = Told()
    woken: list[bool] = []

    async def workflow(ctx: RunContext, _run_id: str) -> None:
        await ctx.step("begin", told.step("begin"))
        told.reached.set()
        woken.append(await ctx.wait_for("answer", 30.0))
        woken.append(await ctx.wait_for("answer", 30.0))
        told.done.set()

    engine = make(workflow)
    await engine.launch()
    await engine.start("run_1")
    await _within(told.reached)
    await engine.signal("run_1", "answer")
    await engine.signal("run_1", "answer")
    await _within(told.done)
    await engine.close()
    assert woken == [True, True]


async def test_a_wait_without_a_signal_ends_by_itself(make: Make) -> None:
    """And says so."""
    told = Told()
    woken: list[bool] = []

    async def workflow(ctx: RunContext, _run_id: str) -> None:
        woken.append(await ctx.wait_for("answer", 0.1))
        told.done.set()

    engine = make(workflow)
    await engine.launch()
    await engine.start("run_1")
    await _within(told.done)
    await engine.close()
    assert woken == [False]


async def test_a_signal_to_an_unknown_run_is_no_error(make: Make) -> None:
    """Whoever signals need not know whether the run has begun."""

    async def workflow(_ctx: RunContext, _run_id: str) -> None:
        return

    engine = make(workflow)
    await engine.launch()
    await engine.signal("run_nobody", "answer")
    await engine.close()


async def test_a_step_may_start_another_run_and_signal_one(make: Make) -> None:
    """The end of one story may be the beginning of another, with a life of its own."""
    told = Told()
    woken: list[bool] = []
    engines: list[Engine] = []

    async def hand_over() -> Json:
        await engines[0].start("run_2")
        await engines[0].signal("run_2", "answer")
        return None

    async def workflow(ctx: RunContext, run_id: str) -> None:
        if run_id == "run_1":
            await ctx.step("hand over", hand_over)
            await ctx.step("after", told.step("run_1 after"))
            told.reached.set()
            return
        woken.append(await ctx.wait_for("answer", 30.0))
        await ctx.step("two", told.step("run_2 two"))
        told.done.set()

    engines.append(make(workflow))
    await engines[0].launch()
    await engines[0].start("run_1")
    await _within(told.reached)
    await _within(told.done)
    await engines[0].close()
    assert (sorted(told.executed), woken) == (["run_1 after", "run_2 two"], [True])


async def test_after_a_restart_a_run_goes_on_where_it_was(make: Make) -> None:
    """Recorded steps are not executed again; the interrupted wait goes on."""
    told = Told()

    async def workflow(ctx: RunContext, _run_id: str) -> None:
        await ctx.step("one", told.step("one"))
        told.reached.set()
        await ctx.wait_for("answer", 30.0)
        await ctx.step("two", told.step("two"))
        told.done.set()

    first = make(workflow)
    await first.launch()
    await first.start("run_1")
    await _within(told.reached)
    await first.close()

    second = make(workflow)
    await second.launch()
    await second.signal("run_1", "answer")
    await _within(told.done)
    await second.close()
    assert told.executed == ["one", "two"]


async def test_a_step_that_raises_raises_in_the_workflow(make: Make) -> None:
    """The story may catch it; nothing is recorded as a result."""
    told = Told()
    caught: list[str] = []

    async def workflow(ctx: RunContext, _run_id: str) -> None:
        async def bad() -> Json:
            raise ValueError("no")

        try:
            await ctx.step("bad", bad)
        except ValueError as error:
            caught.append(str(error))
        told.done.set()

    engine = make(workflow)
    await engine.launch()
    await engine.start("run_1")
    await _within(told.done)
    await engine.close()
    assert caught == ["no"]


async def test_a_workflow_that_changed_its_steps_is_refused_instead_of_guessed(tmp_path: Path) -> None:
    """The twin refuses a journal of other steps; the durable engine is guarded by its application version."""
    del tmp_path
    journal = Journal()

    async def old(ctx: RunContext, _run_id: str) -> None:
        await ctx.step("old name", Told().step("x"))
        await ctx.wait_for("never", 1_000.0)

    async def new(ctx: RunContext, _run_id: str) -> None:
        await ctx.step("new name", Told().step("x"))

    first = JournalEngine(old, SystemClock(), journal=journal)
    await first.launch()
    await first.start("run_1")
    await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    await first.close()
    second = JournalEngine(new, SystemClock(), journal=journal)
    await second.launch()
    for _ in range(10):
        await asyncio.sleep(0)
    assert "old name" in str(second.failed["run_1"])
    await second.close()


async def test_what_ended_a_while_ago_is_forgotten_and_what_lives_or_ended_just_now_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the library's tables grow by every run for ever."""
    ended, go_on, lives = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def workflow(_ctx: RunContext, run_id: str) -> None:
        if run_id == "run_lives":
            lives.set()
            await go_on.wait()
        else:
            ended.set()

    engine = DurableEngine(tmp_path / "engine.sqlite", workflow, name="replica-0")
    await engine.launch()
    await engine.start("run_ended")
    await engine.start("run_lives")
    await _within(ended)
    await _within(lives)
    assert await engine.prune() == 0
    monkeypatch.setattr("app.engine.durable._KEPT", timedelta(0))
    async with asyncio.timeout(10):
        while await engine.prune() != 1:  # noqa: ASYNC110 - the library tells nobody
            await asyncio.sleep(0.02)
    assert await engine.prune() == 0, "gone is gone, and what lives is not touched"
    assert _workflows(tmp_path / "engine.sqlite") == ["run_lives"]
    go_on.set()
    await engine.close()


def _workflows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as found:
        return [row[0] for row in found.execute("SELECT workflow_uuid FROM workflow_status")]
