"""Lines: each caller's work waits behind their own alone, a thread that is free goes round, and whoever leaves takes no turn with them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.errors import TryLater
from app.domain.lines import ASKED_BY, EXPENSIVE, Asker, Lines

ANN, BOB = Asker("ann"), Asker("bob")


class Gate:
    """Work that is held until it is let go, and remembers who had a turn."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.turns: list[str] = []
        self.side_by_side = self.most = 0

    def work(self, name: str) -> Callable[[], str]:
        """One piece of it."""

        def do() -> str:
            self.side_by_side += 1
            self.most = max(self.most, self.side_by_side)
            self.turns.append(name)
            self.open.wait(5)
            self.side_by_side -= 1
            return name

        return do


def asked(lines: Lines, asker: Asker, work: Callable[[], str]) -> asyncio.Task[str]:
    """The work, begun for this caller."""
    ASKED_BY.set(asker)
    return asyncio.create_task(lines.do(work))


async def rounds() -> None:
    """Until whoever asked stands in line."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def test_nobody_waits_for_all_that_another_caller_has_asked_for(gate: Gate) -> None:
    lines = Lines(2, 1)
    many = [asked(lines, ANN, gate.work("ann")) for _ in range(20)]
    await rounds()
    other = Gate()
    other.open.set()
    few = [asked(lines, BOB, other.work("bob")) for _ in range(4)]
    assert await asyncio.gather(*few) == ["bob"] * 4
    assert (gate.turns, other.most) == (["ann"], 1), "each has one thread"
    gate.open.set()
    assert await asyncio.gather(*many) == ["ann"] * 20


async def test_one_thread_goes_round_between_the_lines_also_of_one_caller(gate: Gate) -> None:
    lines = Lines(1, 1)
    dear = [asked(lines, Asker("ann", EXPENSIVE), gate.work("dear")) for _ in range(4)]
    await rounds()
    rest = [asked(lines, ANN, gate.work("ann")), asked(lines, BOB, gate.work("bob"))]
    await rounds()
    gate.open.set()
    await asyncio.gather(*dear, *rest)
    assert gate.turns == ["dear", "dear", "ann", "bob", "dear", "dear"]
    assert gate.most == 1
    assert not lines._under_way, "whoever has no turn is forgotten"
    assert not lines._waiting


async def test_who_has_waited_long_is_told_to_come_again_and_the_line_goes_on(gate: Gate) -> None:
    lines = Lines(1, 1, patience=0.01)
    first = asked(lines, ANN, gate.work("ann"))
    await rounds()
    with pytest.raises(TryLater) as refused:
        await asked(lines, ANN, gate.work("late"))
    assert (refused.value.code, refused.value.retry_after) == ("overloaded", 0.01)
    gate.open.set()
    assert await first == "ann"
    assert await asked(lines, ANN, gate.work("next")) == "next"
    assert gate.turns == ["ann", "next"]


async def test_who_stops_waiting_takes_no_turn_and_ends_no_thread(gate: Gate) -> None:
    lines = Lines(1, 1)
    tasks = [asked(lines, ANN, gate.work(name)) for name in ("under way", "gone", "next")]
    await rounds()
    tasks[0].cancel()
    tasks[1].cancel()
    await rounds()
    assert not tasks[2].done(), "the thread is not free before its work has ended"
    assert gate.turns == ["under way"]
    gate.open.set()
    assert await tasks[2] == "next"
    assert gate.turns == ["under way", "next"]


async def test_a_turn_that_was_given_to_whoever_just_left_is_the_next_ones(gate: Gate) -> None:
    lines = Lines(1, 1)
    tasks = [asked(lines, ANN, gate.work(name)) for name in ("first", "gone", "next")]
    await rounds()
    lines._over(ANN)  # as its thread does at its end
    tasks[1].cancel()
    gate.open.set()
    assert await tasks[2] == "next"
    assert gate.turns == ["first", "next"]


async def test_threads_that_have_ended_keep_nobody_waiting(gate: Gate) -> None:
    threads = ThreadPoolExecutor(1)
    lines = Lines(1, 1, threads)
    tasks = [asked(lines, ANN, gate.work(str(n))) for n in range(3)]
    await rounds()
    threads.shutdown(wait=False)
    gate.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (found[0], [type(error) for error in found[1:]]) == ("0", [RuntimeError] * 2)
