"""Virtual time passes only when it is moved; accelerated time follows a real clock."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.sim import AcceleratedClock, VirtualClock
from app.sim.clock import START


def test_time_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    clock.advance(90.5)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=90.5), 90.5)


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        VirtualClock().advance(-1)


async def test_a_sleeper_wakes_at_its_moment_and_not_before() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.run(9.9)
    assert not task.done()
    await clock.run(0.1)
    assert task.done()


async def test_sleepers_wake_in_the_order_of_their_moments_and_see_them() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []

    async def step(name: str, *pauses: float) -> None:
        for pause in pauses:
            await clock.sleep(pause)
            seen.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(step("a", 5, 5)), asyncio.create_task(step("b", 3, 3, 3))]
    await clock.run(60)
    assert seen == [("b", 3.0), ("a", 5.0), ("b", 6.0), ("b", 9.0), ("a", 10.0)]
    assert all(t.done() for t in tasks)
    assert clock.monotonic() == 60


async def test_work_is_driven_to_its_end_and_its_result_is_given() -> None:
    clock = VirtualClock()

    async def work() -> str:
        for _ in range(100):
            await clock.sleep(30)
        return "done"

    assert await clock.run_until(work()) == "done"
    assert clock.monotonic() == 3000


async def test_work_that_takes_too_long_is_cancelled() -> None:
    clock = VirtualClock()
    task = asyncio.ensure_future(clock.sleep(1000))
    with pytest.raises(TimeoutError, match="999 virtual seconds"):
        await clock.run_until(task, limit=999)
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_work_that_no_clock_can_finish_is_told_apart() -> None:
    clock = VirtualClock()
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError, match="nobody sleeps"):
        await clock.run_until(task)


async def test_idle_means_that_nobody_sleeps() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(7200))
    await clock.run_until_idle()
    assert task.done()
    assert clock.monotonic() == 7200


async def test_endless_work_is_never_idle() -> None:
    clock = VirtualClock()

    async def forever() -> None:
        while True:
            await clock.sleep(60)

    task = asyncio.create_task(forever())
    with pytest.raises(TimeoutError):
        await clock.run_until_idle(limit=600)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.next_deadline() is None


async def test_no_wait_still_gives_others_a_turn() -> None:
    clock = VirtualClock()
    turns: list[int] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(turns.append, 1)
    await clock.sleep(0)
    loop.call_soon(turns.append, 2)
    await clock.sleep(-1)
    assert turns == [1, 2]
    assert clock.monotonic() == 0


def test_a_sleeper_of_another_thread_wakes_on_its_own_loop() -> None:
    clock = VirtualClock()
    asleep = threading.Event()
    woken: list[float] = []

    async def sleeper() -> None:
        asyncio.get_running_loop().call_soon(asleep.set)
        await clock.sleep(5)
        woken.append(clock.monotonic())

    thread = threading.Thread(target=lambda: asyncio.run(sleeper()))
    thread.start()
    assert asleep.wait(5)
    while clock.next_deadline() is None:
        pass
    clock.advance(5)
    thread.join(5)
    assert woken == [5.0]


class _Real:
    """A real clock's double that counts what is slept."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 500 + self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


async def test_accelerated_time_is_a_multiple_of_real_time() -> None:
    real = _Real()
    clock = AcceleratedClock(real, 30)
    await clock.sleep(60)
    assert real.seconds == pytest.approx(2)
    assert clock.monotonic() == pytest.approx(60)
    assert clock.now() - datetime(2026, 1, 1, 0, 1, tzinfo=UTC) < timedelta(milliseconds=1)
    with pytest.raises(ValueError, match="positive"):
        AcceleratedClock(real, 0)


async def test_accelerated_time_waits_for_a_process_that_gets_no_processor() -> None:
    real = _Real()
    clock = AcceleratedClock(real, 60)
    real.seconds += 5
    assert clock.monotonic() == pytest.approx(12), "of five seconds without a look, a fifth of one counts"
    end = clock.monotonic() + 30
    pauses = iter([3.0, 0.0, 3.0])

    async def late(seconds: float) -> None:
        real.seconds += seconds + next(pauses, 0.0)

    real.sleep = late  # type: ignore[method-assign]
    await clock.sleep(30)
    assert end - 0.001 <= clock.monotonic() <= end + 12, "a sleeper that is woken late has not slept longer"
