"""Background tasks never die silently, and one failing part never skips the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from app.domain.errors import StoreUnavailable
from app.domain.ports import Clock
from app.flow.each import each
from app.flow.services import Nudge
from app.flow.upkeep.supervisor import Supervisor, Task
from app.observe.metrics import Metrics
from tests.unit.flow.naps import Naps


class Body:
    """Fails as often as it is told, then is idle."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.rounds = 0

    async def __call__(self) -> int:
        self.rounds += 1
        if self.failures:
            raise self.failures.pop(0)
        return 0


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


def made() -> tuple[Supervisor, Naps, Metrics]:
    clock, metrics = Naps(), Metrics(CollectorRegistry())
    return Supervisor(cast("Clock", clock), metrics), clock, metrics


def value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"task": "policy"})


async def test_a_task_that_fails_is_logged_counted_and_run_again_later_each_time() -> None:
    supervisor, clock, metrics = made()
    body = Body(*[RuntimeError("token=hunter2")] * 8)
    with capture_logs() as logs:
        supervisor.start(Task("policy", body, 60.0))
        await until(lambda: body.rounds == 9)
    await supervisor.stop()
    assert clock.naps == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [e["event"] for e in logs] == ["task_failed"] * 8 + ["task_recovered"]
    assert value(metrics, "remediator_task_failures_total") == 8


async def test_a_failing_task_is_a_problem_until_it_succeeds() -> None:
    supervisor, _, metrics = made()
    more, body = Nudge(), Body()
    supervisor.start(Task("policy", body, 60.0, more))
    await until(lambda: body.rounds == 1)
    assert (dict(supervisor.problems), value(metrics, "remediator_task_up")) == ({}, 1)
    hold = asyncio.Event()

    async def held(_seconds: float) -> None:
        await hold.wait()

    cast("Any", supervisor.clock).sleep = held
    body.failures = [ValueError("password=hunter2")]
    more()
    await until(lambda: supervisor.problems)
    assert supervisor.problems == {"policy": "failed 1 times in a row, last with ValueError"}
    assert value(metrics, "remediator_task_up") == 0
    hold.set()
    await until(lambda: not supervisor.problems)
    assert value(metrics, "remediator_task_up") == 1
    await supervisor.stop()


async def test_a_task_that_was_ended_from_outside_stands_among_the_problems() -> None:
    supervisor, _, _ = made()
    supervisor.start(Task("policy", Body(), 60.0))
    (task,) = (t for t in asyncio.all_tasks() if t.get_name() == "policy")
    task.cancel()
    await until(task.done)
    assert supervisor.problems == {"policy": "ended and is not run any more"}
    await supervisor.stop()


async def test_a_store_that_is_away_is_waited_for_without_a_traceback() -> None:
    supervisor, _, _ = made()
    body = Body(StoreUnavailable("the disk is full"))
    with capture_logs() as logs:
        supervisor.start(Task("sweep", body, 60.0))
        await until(lambda: body.rounds == 2)
    await supervisor.stop()
    assert next((e["event"], e["log_level"]) for e in logs) == ("task_waits", "warning")


async def test_one_failing_part_never_skips_the_rest_of_a_sweep() -> None:
    done: list[str] = []

    async def good(name: str) -> None:
        done.append(name)

    broken = Body(KeyError("x"))
    with capture_logs() as logs, pytest.raises(ExceptionGroup) as raised:
        await each({"drive": lambda: good("drive"), "digests": broken, "gauges": lambda: good("gauges")})
    assert done == ["drive", "gauges"]
    assert [e["part"] for e in logs] == ["digests"]
    assert raised.value.exceptions[0].__notes__ == ["in the part digests"]
