"""Answers of other servers: none is unpacked, none is read beyond its bound, whatever the reader forgets."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.observe import http_json
from app.observe.http_json import bounded_client

BOMB = gzip.compress(gzip.compress(b"0" * 1_000_000))


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip", "br", "zstd", "deflate", "x-odd"])
async def test_a_compressed_answer_is_refused_before_anything_of_it_is_unpacked(coding: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Accept-Encoding"])
        return httpx.Response(200, headers={"Content-Encoding": coding}, stream=httpx.ByteStream(BOMB))

    async with bounded_client(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(httpx.DecodingError):
            await client.get("http://prometheus.test/")
        with pytest.raises(httpx.DecodingError):
            async with client.stream("GET", "http://prometheus.test/"):
                pytest.fail("an answer came through")
    assert asked == ["identity"] * 2


async def test_an_answer_without_end_is_read_to_the_bound_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_json, "MAX_BYTES", 1000)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=endless())

    async with bounded_client(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(httpx.DecodingError):
            await client.post("http://status.test/", json={})
    assert sent == 1100


async def test_what_is_short_and_plain_is_read_as_it_is() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "success"})

    async with bounded_client(transport=httpx.MockTransport(answer)) as client:
        assert (await client.get("http://prometheus.test/")).json() == {"status": "success"}


def test_the_service_makes_no_other_client() -> None:
    """A client without these bounds would unpack what comes; the two that are made apart read raw bytes, or speak to ourselves."""
    root = Path(http_json.__file__).resolve().parents[1]
    made = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if "httpx.AsyncClient(" in file.read_text("utf-8")
    }
    assert made == {"observe/http_json.py", "observe/http_check.py", "demo.py"}
