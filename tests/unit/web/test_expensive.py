"""Expensive reads: a few at once for each caller and in all; the others are told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import TryLater
from app.web.app import create_app
from app.web.expensive import IN_ALL, OF_ONE, ExpensiveReads, Together
from tests.unit.web.rig import Rig, problem_of

DIAGNOSIS = "/api/v1/diagnosis?namespace=rag7"


def test_one_caller_has_a_few_places_and_all_have_some() -> None:
    reads = ExpensiveReads()
    with ExitStack() as held:
        for n in range(IN_ALL):
            held.enter_context(reads.place(f"caller {n // OF_ONE}"))
        with pytest.raises(TryLater) as refused, reads.place("another"):
            pass
        assert (refused.value.code, refused.value.retry_after) == ("overloaded", 2.0)
    with ExitStack() as held:
        for _ in range(OF_ONE):
            held.enter_context(reads.place("one"))
        with pytest.raises(TryLater), reads.place("one"):
            pass
        with reads.place("another"):
            pass
    assert not reads._under_way, "whoever has no place is forgotten"


def test_a_read_that_fails_gives_its_place_back() -> None:
    reads = ExpensiveReads()
    for _ in range(IN_ALL * 2):
        with pytest.raises(ValueError, match="no"), reads.place("one"):
            raise ValueError("no")


async def test_diagnoses_beyond_the_places_of_their_caller_are_503_and_the_others_are_answered(
    rig: Rig,
) -> None:
    release = asyncio.Event()
    begun: list[str] = []

    async def slow(namespace: str, kind: str, name: str) -> Mapping[str, Any]:
        begun.append(namespace)
        await release.wait()
        return {}

    rig.services = replace(rig.services, views=replace(rig.services.views, diagnosis=slow))
    rig.app = create_app(rig.services)
    async with rig.client("read") as client:
        asked = [asyncio.create_task(client.get(DIAGNOSIS)) for _ in range(20)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for path in ("/api/v1/scorecard", "/api/v1/audit", "/api/v1/runs/run_1/explain"):
            answer = await client.get(path)
            problem_of(answer, 503, "overloaded")
            assert answer.headers["retry-after"] == "2"
        assert (await client.get("/api/v1/incidents")).status_code == 200
        assert (await client.get("/healthz")).status_code == 200
        release.set()
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
        assert statuses == [200] * OF_ONE + [503] * (20 - OF_ONE)
        assert len(begun) == OF_ONE
        assert (await client.get(DIAGNOSIS)).status_code == 200
    assert done


async def test_a_text_made_together_is_never_older_than_the_question() -> None:
    together = Together()
    made: list[None] = []

    def make() -> bytes:
        made.append(None)
        return b"%d" % len(made)

    assert await asyncio.gather(*(together.get("a", make) for _ in range(50))) == [b"1"] * 50
    assert await together.get("a", make) == b"2"


async def test_a_text_that_cannot_be_made_is_told_to_all_and_made_anew() -> None:
    together = Together()

    def fail() -> bytes:
        raise ValueError("no")

    found = await asyncio.gather(*(together.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [ValueError] * 3
    assert await together.get("a", lambda: b"x") == b"x"
