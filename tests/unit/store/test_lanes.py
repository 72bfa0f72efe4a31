"""Lanes: bounded, together, and every job answered, whatever the writer does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from app.domain.errors import StoreUnavailable
from app.store.commit_queue import CommitQueue, CommitQueueSize
from app.store.writer import Failed, Writer


class Scripted:
    """Stands in for `Writer`: waits at a gate, then does as told with each batch."""

    def __init__(self, act: Callable[[Sequence[Any]], list[Any]]) -> None:
        self.act = act
        self.dead = False
        self.gate = threading.Event()
        self.batches: list[int] = []
        self.discarded = 0

    def run(self, work: Sequence[Any]) -> list[Any]:
        """One batch."""
        self.gate.wait(5)
        self.batches.append(len(work))
        return self.act(work)

    def discard(self) -> None:
        """Counted."""
        self.discarded += 1


def commit_queue_of(writer: Scripted, **size: int) -> CommitQueue:
    """A lane with this writer."""
    return CommitQueue("test", CommitQueueSize(**size), lambda: cast("Writer", writer))


def job(value: object) -> Any:
    """A piece of work that the scripted writer understands."""
    return value


async def test_what_waits_is_taken_together_up_to_the_batch() -> None:
    writer = Scripted(list)
    commit_queue = commit_queue_of(writer, batch=4)
    futures = [commit_queue.submit(job(n)) for n in range(9)]
    writer.gate.set()
    assert await asyncio.gather(*futures) == list(range(9))
    assert sum(writer.batches) == 9
    assert max(writer.batches) == 4
    commit_queue.close()


async def test_a_full_lane_refuses_and_a_closed_one_too() -> None:
    writer = Scripted(list)
    commit_queue = commit_queue_of(writer, batch=1, queue=2)
    accepted, refused = [], []
    for n in range(10):
        try:
            accepted.append(commit_queue.submit(job(n)))
        except StoreUnavailable as error:
            refused.append(error)
    assert len(refused) >= 7
    assert {error.retry_after for error in refused} == {1.0}
    assert commit_queue.waiting <= 2
    writer.gate.set()
    await asyncio.gather(*accepted)
    commit_queue.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        commit_queue.submit(job(1))
    assert writer.discarded == 1


async def test_a_defect_in_a_batch_is_told_to_its_callers_and_the_lane_goes_on() -> None:
    def act(work: Sequence[Any]) -> list[Any]:
        if "bad" in work:
            raise KeyError("defect")
        return [Failed(ValueError("mine")) if w == "mine" else w for w in work]

    writer = Scripted(act)
    writer.gate.set()
    commit_queue = commit_queue_of(writer, batch=1)
    results = await asyncio.gather(
        *(commit_queue.submit(job(w)) for w in ("bad", "mine", "good")), return_exceptions=True
    )
    assert [type(r) for r in results] == [KeyError, ValueError, str]
    assert writer.discarded == 1
    commit_queue.close()


async def test_death_is_told_to_everybody_who_waits_and_who_comes_later() -> None:
    class DiedError(BaseException):
        pass

    def act(_work: Sequence[Any]) -> list[Any]:
        raise DiedError

    writer = Scripted(act)
    commit_queue = commit_queue_of(writer, batch=1)
    futures = [commit_queue.submit(job(n)) for n in range(5)]
    writer.gate.set()
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(r) for r in results} == {DiedError}
    assert writer.batches == [1]
    with pytest.raises(DiedError):
        commit_queue.submit(job(6))
    commit_queue.close()


def test_a_loop_that_is_gone_does_not_hurt_the_lane() -> None:
    writer = Scripted(list)
    commit_queue = commit_queue_of(writer)

    async def leave() -> None:
        commit_queue.submit(job(1))

    asyncio.run(leave())
    writer.gate.set()

    async def stay() -> object:
        return await commit_queue.submit(job(2))

    assert asyncio.run(stay()) == 2
    commit_queue.close()
