"""Answers of other servers: none is unpacked, none is read beyond its bound, whatever the reader forgets."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.domain.errors import ProbeUnavailable
from app.observe import http_json
from app.observe.http_json import JsonSource, bounded_client
from app.observe.system import SystemClock
from tests.doubles.listening import listening

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


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_that_drips_ends_in_time(monkeypatch: pytest.MonkeyPatch, *, streamed: bool) -> None:
    """A page or a status post that waits for it would hold up all that comes after."""
    monkeypatch.setattr(http_json, "MAX_SECONDS", 0.05)

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.001)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=dripping())

    async with bounded_client(transport=httpx.MockTransport(answer)) as client, asyncio.timeout(5):
        request = client.build_request("POST", "http://status.test/")
        with pytest.raises(httpx.ReadTimeout):
            await (await client.send(request, stream=streamed)).aread()


async def test_a_head_that_never_comes_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_json, "MAX_SECONDS", 0.05)

    async def answer(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async with bounded_client(transport=httpx.MockTransport(answer)) as client, asyncio.timeout(5):
        with pytest.raises(httpx.ReadTimeout):
            await client.get("http://status.test/")


async def test_a_silent_server_holds_up_requests_to_no_other_one_and_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real sockets: hundreds are asked at once and given up, round after round; then it is well and answers at once."""
    enough = http_json.MAX_SECONDS
    silent: set[int] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if writer.get_extra_info("sockname")[1] in silent:
            await reader.read()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    async with listening(answer) as one, listening(answer) as other, bounded_client() as client:
        silent.add(one)
        for _ in range(3):
            monkeypatch.setattr(http_json, "MAX_SECONDS", 0.3)
            asked = [asyncio.create_task(client.get(f"http://127.0.0.1:{one}/")) for _ in range(250)]
            await asyncio.sleep(0)  # each has begun, and has its time
            monkeypatch.setattr(http_json, "MAX_SECONDS", enough)
            assert (await client.get(f"http://127.0.0.1:{other}/")).json() == {}
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(lost) for lost in found} == {httpx.ReadTimeout}
        silent.clear()
        assert (await client.get(f"http://127.0.0.1:{one}/")).json() == {}


async def test_a_source_that_drips_is_told_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_json, "_WHOLE", 0.05)
    asked = 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async with bounded_client(transport=httpx.MockTransport(answer)) as client:
        source = JsonSource(client, "http://prometheus.test", SystemClock(), name="Prometheus")
        with pytest.raises(ProbeUnavailable, match="no whole answer within"):
            await source.get("/api/v1/query", [])
    assert asked == 1


async def test_what_is_short_and_plain_is_read_as_it_is() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "success"})

    async with bounded_client(transport=httpx.MockTransport(answer)) as client:
        assert (await client.get("http://prometheus.test/")).json() == {"status": "success"}


def test_the_service_makes_no_other_client() -> None:
    """A client without these bounds would unpack what comes; those that are made apart read raw bytes, or speak to this service."""
    root = Path(http_json.__file__).resolve().parents[1]
    made = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if re.search(r"httpx\.(Async)?Client\(", file.read_text("utf-8"))
    }
    assert made == {"observe/http_json.py", "observe/http_check.py", "cli/remote.py", "demo.py"}
