"""A fault of the store at each call of a run (a read, a write, a commit whose answer is lost), on SQLite and on a Postgres whose
sessions break, and an engine that fails, forgets or is away at each of its calls: every run ends as if nothing had happened, told,
with its target free.

Over all cases of the catalogue. By default calls are sampled, so that all kinds of calls of a run have their turn over the
cases; CRASH_ALL=1 takes every call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.domain.errors import StoreUnavailable
from app.engine.context import Json, RunContext, Work, Workflow
from app.engine.memory import JournalEngine
from app.store.migrate import upgrade
from tests.contract import postgres
from tests.contract.stores import missing
from tests.crash.cases import Case, cases
from tests.crash.conftest import ALL
from tests.crash.lives import LIMIT, Ending, calm, ending_of, invariants

CASES = cases()
STEP = 1 if ALL else 31
LASTS = (1, 8)
"""Calls in a row that fail: one, or as many as a failover of a database of ten seconds costs. Of sampled calls each has its turn."""


class FaultyStore:
    """The store in which the calls from the n-th on fail, `lasts` of them. `kept`: what fails of a write is only the answer to
    its commit."""

    def __init__(self, store: Any, n: int, lasts: int, *, kept: bool = False) -> None:
        self._store, self._n, self._lasts, self._kept = store, n, lasts, kept
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read(self, fn: Callable[..., Any]) -> Any:
        """A read, when it is not its turn to fail."""
        self._turn()
        return await self._store.read(fn)

    async def write(self, fn: Callable[..., Any]) -> Any:
        """A write likewise: nothing of it is kept when it fails, or all of it."""
        if not self._kept:
            self._turn()
            return await self._store.write(fn)
        result = await self._store.write(fn)
        self._turn()
        return result

    def _turn(self) -> None:
        self.calls += 1
        if self._n <= self.calls < self._n + self._lasts:
            raise StoreUnavailable("the database is restarting")


async def _live(case: Case, path: Path, n: int, lasts: int, *, kept: bool = False) -> tuple[Ending, int]:
    rig = case.rig(path)
    await rig.born()
    store = FaultyStore(rig.services.store, n, lasts, kept=kept)
    object.__setattr__(rig.services, "store", store)
    await rig.until(lambda: calm(rig, case), LIMIT)
    await invariants(rig)
    ending = await ending_of(rig)
    await rig.close()
    return ending, store.calls


_UNDISTURBED: dict[tuple[str, str], tuple[Ending, int]] = {}
"""How each case ends undisturbed, and in how many calls of the store or of the engine: lived once for all tests."""


async def _calm(case: Case, path: Path) -> tuple[Ending, int]:
    key = ("store", str(case))
    if key not in _UNDISTURBED:
        _UNDISTURBED[key] = await _live(case, path / "calm.sqlite", 1_000_000, 1)
    return _UNDISTURBED[key]


async def _calm_engine(case: Case, path: Path) -> tuple[Ending, int]:
    key = ("engine", str(case))
    if key not in _UNDISTURBED:
        _UNDISTURBED[key] = await _lost(case, path / "calm.sqlite", 0, after=False)
    return _UNDISTURBED[key]


def _same(ending: Ending, undisturbed: Ending, told: str) -> None:
    assert (ending.incidents, ending.writes, ending.target) == (
        undisturbed.incidents,
        undisturbed.writes,
        undisturbed.target,
    ), told


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", "-"))
async def test_a_store_that_is_away_at_any_call_costs_time_and_nothing_else(
    case: Case, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    undisturbed, calls = await _calm(case, tmp_path)
    first = 1 + CASES.index(case) % STEP
    sampled = range(first, calls + 1, STEP * (3 if case.long else 1))
    turns = [(n, lasts) for at, n in enumerate(sampled) for lasts in (LASTS if ALL else LASTS[at % 2 :][:1])]
    left_out(2 * calls - len(turns))
    for n, lasts in turns:
        ending, _ = await _live(case, tmp_path / f"{n}-{lasts}.sqlite", n, lasts)
        _same(ending, undisturbed, f"{case}: {lasts} faults of the store from call {n} on")


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", "-"))
async def test_a_commit_whose_answer_is_lost_is_done_once(
    case: Case, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    """What was written is written, and whoever wrote it does not know: it is found again, and nothing is done twice."""
    undisturbed, calls = await _calm(case, tmp_path)
    every = 1 if ALL else 301 * (3 if case.long else 1)
    turns = range(1 + CASES.index(case) % every, calls + 1, every)
    left_out(calls - len(turns))
    for n in turns:
        ending, _ = await _live(case, tmp_path / f"{n}.sqlite", n, 1, kept=True)
        _same(ending, undisturbed, f"{case}: the answer to call {n} is lost")


class BrokenSessions(FaultyStore):
    """The store on a Postgres whose sessions all end right before the n-th call, as in a failover."""

    def __init__(self, store: Any, n: int, url: str) -> None:
        super().__init__(store, n, 1)
        self._url = url

    def _turn(self) -> None:
        self.calls += 1
        if self.calls == self._n:
            cut = (
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            with psycopg.connect(self._url, autocommit=True) as conn:
                conn.execute(cut)


async def _on_postgres(case: Case, path: Path, url: str, n: int) -> tuple[Ending, int]:
    upgrade(url)
    rig = case.rig(path, url=url)
    await rig.born()
    store = BrokenSessions(rig.services.store, n, url)
    object.__setattr__(rig.services, "store", store)
    await rig.until(lambda: calm(rig, case), LIMIT)
    await invariants(rig)
    ending = await ending_of(rig)
    await rig.close()
    return ending, store.calls


async def test_a_postgres_whose_sessions_break_at_any_call_costs_time_and_nothing_else(
    tmp_path: Path, left_out: Callable[[int], None], request: pytest.FixtureRequest
) -> None:
    """A case with an approval, so that people's writes are among the calls."""
    case = next(c for c in CASES if "after an approval" in c.name)
    try:
        with postgres.running() as server:
            undisturbed, calls = await _on_postgres(case, tmp_path / "unused", server.new_database(), 0)
            turns = range(11, calls + 1, 1 if ALL else 83)
            left_out(calls - len(turns))
            for n in turns:
                ending, _ = await _on_postgres(case, tmp_path / "unused", server.new_database(), n)
                _same(ending, undisturbed, f"{case}: all sessions end before call {n}")
    except postgres.PostgresMissingError as error:
        missing(str(error), request)
        raise


class LostError(Exception):
    """The engine's database is gone."""


class FaultyEngine(JournalEngine):
    """An engine whose n-th step fails: before its work, or after it when its result cannot be recorded. The workflow dies of
    it, and the engine never takes it up again."""

    fails_at = 0
    after = False
    lasts = 1

    def __init__(self, workflow: Workflow, *arguments: Any, **options: Any) -> None:
        self.steps = 0

        async def faulty(ctx: RunContext, name: str) -> None:
            with suppress(LostError):
                await workflow(_Faulty(ctx, self), name)

        super().__init__(faulty, *arguments, **options)

    def turn(self) -> bool:
        """Count one call; whether it is one of those that fail."""
        self.steps += 1
        first = type(self).fails_at
        return first > 0 and first <= self.steps < first + type(self).lasts

    async def start(self, workflow: str) -> None:
        """Taken, unless its database is away: then it is as if nobody had said it, as with the library."""
        if not self.turn():
            await super().start(workflow)

    async def signal(self, workflow: str, topic: str) -> None:
        """Likewise."""
        if not self.turn():
            await super().signal(workflow, topic)


class _Faulty(RunContext):
    def __init__(self, ctx: RunContext, engine: FaultyEngine) -> None:
        self.run_id, self._ctx, self._engine = ctx.run_id, ctx, engine

    async def step(self, name: str, work: Work) -> Json:
        if not self._engine.turn():
            return await self._ctx.step(name, work)
        if type(self._engine).after:
            await work()
        raise LostError

    async def sleep(self, seconds: float) -> None:
        await self._ctx.sleep(seconds)

    async def wait_for(self, topic: str, seconds: float) -> bool:
        return await self._ctx.wait_for(topic, seconds)


async def _lost(case: Case, path: Path, at: int, *, after: bool, lasts: int = 1) -> tuple[Ending, int]:
    engine: Any = type("Engine", (FaultyEngine,), {"fails_at": at, "after": after, "lasts": lasts})
    rig = case.rig(path, engine_type=engine)
    await rig.born()

    async def over() -> bool:
        """A story that was begun anew beside one that still waits for an answer hears of the end a little later."""
        return await calm(rig, case) and not rig.engine.live

    await rig.until(over, LIMIT)
    await invariants(rig)
    ending = await ending_of(rig)
    steps: int = rig.engine.steps  # type: ignore[attr-defined]
    await rig.close()
    return ending, steps


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", "-"))
async def test_a_workflow_that_the_engine_gave_up_at_any_step_is_replaced(
    case: Case, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    """Wherever the engine loses it: before a step, or with the step done and not recorded."""
    undisturbed, steps = await _calm_engine(case, tmp_path)
    every = 1 if ALL else 8
    turns = [(n, after) for n in range(1, steps + 1) for after in (False, True)][
        CASES.index(case) % every :: every
    ]
    left_out(2 * steps - len(turns))
    for n, after in turns[: None if ALL else 3]:
        ending, _ = await _lost(case, tmp_path / f"{n}-{after}.sqlite", n, after=after)
        _same(
            ending, undisturbed, f"{case}: the engine lost its workflow at step {n}, after its work: {after}"
        )


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", "-"))
async def test_an_engine_whose_database_is_away_for_several_calls_costs_time_and_nothing_else(
    case: Case, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    """Steps fail, and starts and signals are not taken, from any call on."""
    undisturbed, steps = await _calm_engine(case, tmp_path)
    every = 1 if ALL else 14
    turns = range(1 + CASES.index(case) % every, steps + 1, every)
    left_out(steps - len(turns))
    for n in turns if ALL else turns[:1]:
        ending, _ = await _lost(case, tmp_path / f"{n}.sqlite", n, after=False, lasts=3)
        _same(ending, undisturbed, f"{case}: the engine's database is away from call {n} on")


async def test_an_engine_that_forgot_everything_costs_time_and_nothing_else(tmp_path: Path) -> None:
    """Its database was put back to before the run, or is gone: what is live goes on after the restart."""
    case = next(c for c in CASES if "after an approval" in c.name)
    rig = case.rig(tmp_path / "rig.sqlite")
    await rig.born()
    await rig.run(90)
    await rig.die()
    rig.journal.started.clear()
    rig.journal.results.clear()
    rig.journal.ended.clear()
    await rig.born()
    await rig.until(lambda: calm(rig, case), LIMIT)
    await invariants(rig)
    assert (await ending_of(rig)).incidents == (case.ends.value,)
    await rig.close()
