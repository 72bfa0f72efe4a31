"""A server that answers as it should not, over real sockets: nothing of it is left, and the next request has its answer."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import httpcore
import httpx
import pytest

from app.domain.errors import ProbeUnavailable
from app.domain.http_check import HttpAddress
from app.observe import http_json
from app.observe.bounded_streams import MAX_READ
from app.observe.http_check import HttpxChecks
from app.observe.http_json import JsonSource, bounded_client
from app.observe.system import SystemClock
from tests.contract.cache.certificates import issued
from tests.doubles.listening import listening

HEAD = b"HTTP/1.1 200 OK\r\n"
GOOD = HEAD + b"Content-Length: 2\r\n\r\n{}"
BYTE = b"1\r\nx\r\n"
KINDS = ("silent", "silent after its head", "fat head", "drips", "resets", "good")
CANCELS = 600


class Hostile:
    """What it does is told by the path. `open` are the connections that it has now."""

    def __init__(self) -> None:
        self.open = 0
        self.cookies: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.cookies += [line for line in asked.splitlines() if line.lower().startswith("cookie")]
                await self._answer(asked.split()[1].lstrip("/").replace("_", " "), reader, writer)
        finally:
            self.open -= 1

    async def _answer(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match kind:
            case "silent":
                await reader.read()
            case "silent after its head":
                writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
                await reader.read()
            case "fat head":
                writer.write(HEAD + b"X-Fat: " + b"x" * 200_000)
                await reader.read()
            case "drips":
                writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                while True:
                    writer.write(BYTE)
                    await writer.drain()
                    await asyncio.sleep(0)
            case "resets":
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            case "cookies":
                fresh = b"".join(b"Set-Cookie: c%d=%d; Path=/\r\n" % (n, n) for n in range(100))
                writer.write(HEAD + fresh + b"Content-Length: 2\r\n\r\n{}")
            case _:
                writer.write(GOOD)

    async def at_most(self, open_: int) -> None:
        """Wait until no more connections are left than that."""
        async with asyncio.timeout(10):
            while self.open > open_:  # noqa: ASYNC110 - a socket that is closed tells nobody
                await asyncio.sleep(0)


def url_of(kind: str, port: int, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{port}/{kind.replace(' ', '_')}"


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[httpcore.AsyncConnectionPool]:
    """Every pool that httpcore makes."""
    made: list[httpcore.AsyncConnectionPool] = []

    class Seen(httpcore.AsyncConnectionPool):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(httpcore, "AsyncConnectionPool", Seen)
    return made


@asynccontextmanager
async def trusting(
    folder: Path | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ssl.SSLContext | None]:
    """The context of a TLS server that the client trusts; None for plain HTTP."""
    if folder is None:
        yield None
        return
    issued(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: blind)
    yield context


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_nothing_is_left_of_requests_that_are_cancelled_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pools: list[httpcore.AsyncConnectionPool], *, tls: bool
) -> None:
    """After so many turns of the loop each: some before the connection is there, some in the middle of what the pool does."""
    hostile, chance = Hostile(), random.Random(7)
    scheme = "https" if tls else "http"
    async with (
        trusting(tmp_path if tls else None, monkeypatch) as context,
        listening(hostile.talk, context) as port,
        bounded_client() as client,
    ):

        async def cut_short(kind: str, turns: int) -> None:
            request = asyncio.create_task(client.get(url_of(kind, port, scheme)))
            for _ in range(turns):
                await asyncio.sleep(0)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)

        for _ in range(CANCELS // 30):
            await asyncio.gather(*(cut_short(chance.choice(KINDS), chance.randrange(40)) for _ in range(30)))
        assert (await client.get(url_of("good", port, scheme))).json() == {}
        await hostile.at_most(http_json.MAX_AT_ONCE)
        left = [one for pool in pools for one in pool.connections]
        assert [one for one in left if not one.is_idle()] == []
        await hostile.at_most(len(left))
    await hostile.at_most(0)
    assert [one for pool in pools for one in pool.connections] == []


@pytest.mark.parametrize("kind", KINDS[:-1])
async def test_a_request_that_has_no_answer_ends_with_its_connection(
    monkeypatch: pytest.MonkeyPatch, pools: list[httpcore.AsyncConnectionPool], kind: str
) -> None:
    hostile = Hostile()
    async with listening(hostile.talk) as port, bounded_client() as client:
        for _ in range(3):
            monkeypatch.setattr(http_json, "MAX_SECONDS", 0.1)
            asked = [client.get(url_of(kind, port)) for _ in range(http_json.MAX_AT_ONCE + 1)]
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(one, httpx.TransportError | httpx.DecodingError) for one in found), found
        await hostile.at_most(0)
        assert [one for pool in pools for one in pool.connections] == []
        monkeypatch.setattr(http_json, "MAX_SECONDS", 15.0)
        assert (await client.get(url_of("good", port))).json() == {}


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    hostile = Hostile()
    async with listening(hostile.talk) as port, bounded_client() as client:
        for _ in range(5):
            assert (await client.get(url_of("good", port))).json() == {}
        assert hostile.open == 1


async def test_a_client_that_is_closed_ends_what_is_under_way() -> None:
    hostile = Hostile()
    async with listening(hostile.talk) as port:
        async with bounded_client() as client:
            asked = asyncio.create_task(client.get(url_of("silent", port)))
            while not hostile.open:  # noqa: ASYNC110 - see at_most
                await asyncio.sleep(0)
        with pytest.raises(httpx.ReadTimeout):
            await asked
        await hostile.at_most(0)


async def test_no_cookie_is_kept() -> None:
    hostile = Hostile()
    async with listening(hostile.talk) as port, bounded_client() as client:
        for _ in range(3):
            assert (await client.get(url_of("cookies", port))).json() == {}
    assert hostile.cookies == []


class _Pieces(httpx.AsyncByteStream):
    """All there at once, in pieces of a byte."""

    def __init__(self) -> None:
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 1
            yield b" "

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_an_answer_in_pieces_of_a_byte_ends_early_and_others_have_their_turn_meanwhile() -> None:
    pieces, turns = _Pieces(), 0
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=pieces))
    async with bounded_client(transport=transport) as client:
        source = JsonSource(client, "http://prometheus.test", SystemClock(), name="Prometheus")
        asked = asyncio.create_task(source.get("/api/v1/query", []))
        while not asked.done():
            turns += 1
            await asyncio.sleep(0)
        with pytest.raises(ProbeUnavailable, match="could not be read"):
            await asked
    assert pieces.given <= http_json.MAX_PIECES + 1
    assert turns > http_json.MAX_PIECES // 100


async def test_no_more_is_read_than_the_reader_wants() -> None:
    given = 0

    async def long() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield b"x" * 1000

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=long()))
    async with bounded_client(transport=transport) as client:
        source = JsonSource(client, "http://prometheus.test", SystemClock(), name="Prometheus", limit=10_000)
        with pytest.raises(ProbeUnavailable, match="answered with more than"):
            await source.get("/api/v1/query", [])
    assert given <= 11_000


EARLY = b"HTTP/1.1 103 E\r\n"
BEFORE_THE_BODY = {
    "informational answers": (b"", EARLY + b"\r\n"),
    "informational answers with fields": (b"", EARLY + b"a:b\r\n" * 50 + b"\r\n"),
    "informational answers with line feeds alone": (b"", EARLY.replace(b"\r", b"") + b"\n"),
    "fields": (HEAD, b"a:b\r\n"),
    "folded fields": (HEAD + b"a: b\r\n", b" c\r\n"),
    "long fields": (HEAD, b"a: " + b"x" * 30_000 + b"\r\n"),
    "informational answers with long fields": (b"", EARLY + b"a: " + b"x" * 30_000 + b"\r\n\r\n"),
    "one field": (HEAD + b"a: ", b"x" * 1_000),
}


class Flooding:
    """A server that sends `unit` without end behind `first`, after it has answered `good` requests well."""

    def __init__(self, first: bytes, unit: bytes, *, good: int = 0) -> None:
        self.first, self.block, self.good = first, unit * (256 * 1024 // len(unit)), good
        self.sent = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self.good):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(GOOD)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.first)
        while not writer.is_closing():
            writer.write(self.block)
            self.sent += len(self.block)
            await writer.drain()
            await asyncio.sleep(0)


@pytest.mark.parametrize("good", [0, 1], ids=["at once", "on a connection that is used again"])
@pytest.mark.parametrize("kind", BEFORE_THE_BODY)
async def test_what_comes_before_a_body_ends_early(kind: str, good: int) -> None:
    server = Flooding(*BEFORE_THE_BODY[kind], good=good)
    async with listening(server.talk) as port, bounded_client() as client, asyncio.timeout(10):
        for _ in range(good):
            assert (await client.get(url_of("good", port))).json() == {}
        with pytest.raises((httpx.DecodingError, httpx.RemoteProtocolError)):
            await client.get(url_of("flood", port))
    assert server.sent < 16 * 1024 * 1024


@pytest.mark.parametrize("kind", BEFORE_THE_BODY)
async def test_what_comes_before_the_body_of_a_health_check_ends_early(kind: str) -> None:
    server = Flooding(*BEFORE_THE_BODY[kind])
    async with listening(server.talk) as port, asyncio.timeout(2):
        found = await HttpxChecks(SystemClock()).get(HttpAddress("api", "rag7", "127.0.0.1", port, "/health"))
    assert (found.status, found.fault) == (None, "no usable answer")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_others_have_their_turn_between_two_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tls: bool
) -> None:
    """However much has come at once: no more than MAX_READ is parsed before they have, whatever it is."""
    parsed: list[int] = []
    turn = 0
    whole = h11.Connection.receive_data

    def counted(self: h11.Connection, data: bytes) -> None:
        parsed.append(turn)
        assert len(data) <= MAX_READ
        whole(self, data)

    monkeypatch.setattr(h11.Connection, "receive_data", counted)
    server = Flooding(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n")
    async with (
        trusting(tmp_path if tls else None, monkeypatch) as context,
        listening(server.talk, context) as port,
        bounded_client() as client,
    ):
        asked = asyncio.create_task(client.get(url_of("flood", port, "https" if tls else "http")))
        while not asked.done():
            turn += 1
            await asyncio.sleep(0)
        with pytest.raises(httpx.DecodingError):
            await asked
    assert len(parsed) == len(set(parsed)) > 10


ORDINARY = {
    "hints before the answer": EARLY + b"link: </a>\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
    "many fields": HEAD + b"X-A: b\r\n" * 200 + b"Content-Length: 2\r\n\r\n{}",
    "a long field": HEAD + b"X-A: " + b"b" * 30_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "a body of many lines": HEAD + b"Content-Length: 200002\r\n\r\n{" + b"\n" * 200_000 + b"}",
    "a body like heads": HEAD
    + b"Content-Length: 36002\r\n\r\n["
    + b'"HTTP/1.1 103 E\\r\\n",'.ljust(36_000, b"\n")[:-3]
    + b"0\n\n]",
}


@pytest.mark.parametrize("kind", ORDINARY)
async def test_ordinary_heads_and_any_lines_of_a_body_are_read(kind: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ORDINARY[kind])

    async with listening(talk) as port, bounded_client() as client:
        for _ in range(2):
            answer = await client.get(url_of("good", port))
            assert answer.status_code == 200
            assert answer.json() in ({}, ["HTTP/1.1 103 E\r\n", 0])
