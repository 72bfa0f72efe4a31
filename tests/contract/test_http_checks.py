"""One contract for the HTTP check of the network and of the simulated cluster: same answers for a good, a bad and an absent pod.

What only a real server can do to a client (redirects, endless bodies, silence) is asked of the real one alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from app.domain.http_check import HttpAddress, HttpAnswer, HttpChecks
from app.domain.target import Kind
from app.observe import http_check
from app.observe.http_check import HttpxChecks
from app.observe.system import SystemClock
from app.sim import VirtualClock
from tests.births import cluster_of
from tests.doubles.listening import Talk, listening
from tests.orders import orders_world

HEALTHY = HttpAddress("rag7", "langgraph", "10.96.7.12", 80, "/health?full=1")


@asynccontextmanager
async def server(reply: Talk) -> AsyncIterator[HttpAddress]:
    """A Service with this behaviour, on loopback in the place of its cluster IP."""
    async with listening(reply) as port:
        yield replace(HEALTHY, ip="127.0.0.1", port=port)


def answering(head: str, body: bytes = b"", seen: list[str] | None = None) -> Talk:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        if seen is not None:
            seen.append(request)
        writer.write(head.encode() + b"\r\n\r\n" + body)

    return reply


async def simulated(status: int | None) -> HttpAnswer:
    cluster = cluster_of(VirtualClock(), orders_world())
    if status is None:
        cluster.edit(
            Kind.DEPLOYMENT, "rag7", "langgraph", [{"op": "replace", "path": "/spec/replicas", "value": 0}]
        )
        clock: VirtualClock = cluster._clock  # type: ignore[assignment]
        clock.advance(60)
    elif status != 200:
        cluster.http.statuses[HEALTHY.path] = status
    checks: HttpChecks = cluster.http
    return await checks.get(HEALTHY)


async def real(status: int | None) -> HttpAnswer:
    checks: HttpChecks = HttpxChecks(SystemClock())
    if status is None:
        async with server(answering("")) as gone:
            pass
        return await checks.get(gone)
    async with server(answering(f"HTTP/1.1 {status} Word\r\nContent-Length: 0")) as address:
        return await checks.get(address)


@pytest.mark.parametrize("side", [simulated, real])
@pytest.mark.parametrize("status", [200, 503, None])
async def test_an_answer_is_its_status_and_no_answer_says_so(
    side: Callable[[int | None], Awaitable[HttpAnswer]], status: int | None
) -> None:
    answer = await side(status)
    assert answer.status == status
    assert answer.fault == ("no connection" if status is None else "")


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    seen: list[str] = []
    head = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0"
    async with server(answering(head, seen=seen)) as address:
        assert (await HttpxChecks(SystemClock()).get(address)).status == 302
    assert len(seen) == 1


async def test_the_request_names_the_service_and_carries_no_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    seen: list[str] = []
    async with server(answering("HTTP/1.1 204 No Content", seen=seen)) as address:
        assert (await HttpxChecks(SystemClock()).get(address)).status == 204
    assert seen[0].startswith("GET /health?full=1 HTTP/1.1\r\n")
    assert "host: langgraph.rag7\r\n" in seen[0].lower()
    assert "authorization" not in seen[0].lower()


async def test_an_endless_body_is_cut_and_its_status_counts() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with server(endless) as address:
        assert (await HttpxChecks(SystemClock()).get(address)).status == 200


async def test_silence_and_nonsense_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_check, "TIMEOUT", 0.2)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as address:
        assert "no answer within" in (await HttpxChecks(SystemClock()).get(address)).fault
    async with server(answering("SSH-2.0-OpenSSH")) as address:
        assert (await HttpxChecks(SystemClock()).get(address)).fault == "no usable answer"
