"""Connections end when a client does not say in time, or in little enough, what it wants. Raw sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from prometheus_client import generate_latest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.store import incidents
from app.store.database import Store
from app.web import health
from app.web.connections import LIMITS as SHIPPED
from app.web.connections import ConnectionLimits, GuardedProtocol, Waiting
from app.web.services import Limits
from app.web.turns import Turns
from tests.unit.web.rig import Rig, token

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
METRICS = GET.replace(b"/healthz", b"/metrics")
LIMITS = ConnectionLimits(head_seconds=0.2, request_seconds=5.0, head_bytes=4096, headers=20, connections=3)
PATIENCE = 5.0  # seconds on the wall after which something counts as never happening


class Door:
    """A listening server over the rig's application."""

    def __init__(self, rig: Rig, limits: ConnectionLimits) -> None:
        self.begun = asyncio.Event()
        """The application is at a request."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.begun.set()
            await rig.app(scope, receive, send)

        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", server_header=False)
        config.load()
        self._server = uvicorn.Server(config)
        self._config, self._limits = config, limits
        self._open: list[asyncio.StreamWriter] = []
        self._waiting: Waiting = {}
        self._turns = Turns()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._protocol, "127.0.0.1", 0)

    def _protocol(self) -> GuardedProtocol:
        state = self._server.server_state
        return GuardedProtocol(
            config=self._config,
            server_state=state,
            app_state={},
            limits=self._limits,
            waiting=self._waiting,
            turns=self._turns,
        )

    async def connect(self, sent: bytes = b"") -> Stream:
        reader, writer = await asyncio.open_connection(*self._listening.sockets[0].getsockname())
        self._open.append(writer)
        writer.write(sent)
        return reader, writer

    async def stop(self) -> None:
        for writer in self._open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._listening.close()
        state = self._server.server_state
        await asyncio.gather(*state.tasks)
        for connection in list(state.connections):
            connection.transport.abort()
        while state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0)


@pytest.fixture
async def door(store: Store) -> AsyncIterator[Door]:
    """The server with small limits; bodies have 50 ms."""
    found = Door(Rig(store, limits=Limits(body_seconds=0.05)), LIMITS)
    await found.start()
    yield found
    await found.stop()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server ends the connection."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /healthz HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: b"]
)
async def test_a_connection_without_a_whole_head_in_time_is_ended(door: Door, sent: bytes) -> None:
    reader, _ = await door.connect(sent)
    assert await rest(reader) == b""


async def test_a_head_that_drips_is_ended_however_steadily_it_drips(door: Door) -> None:
    reader, writer = await door.connect(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")

    async def drip() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert await rest(reader) == b""
    dripping.cancel()


async def test_a_second_request_has_the_same_time_for_its_head(door: Door) -> None:
    reader, _ = await door.connect(GET + b"GET /healthz HTTP/1.1\r\nA: ")
    answer = await rest(reader)
    assert answer.count(b"HTTP/1.1 200 OK") == 1


async def test_the_limits_that_are_shipped_end_a_head_with_many_headers(rig: Rig) -> None:
    """What a browser and a proxy send has place, and not much more."""
    door = Door(rig, SHIPPED)
    await door.start()
    for count, status in ((60, b"HTTP/1.1 200 "), (200, b"HTTP/1.1 431 ")):
        reader, _ = await door.connect(GET[:-2] + b"A: b\r\n" * count + b"Connection: close\r\n\r\n")
        assert (await rest(reader)).startswith(status)
    await door.stop()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 5000,
        b"GET / HTTP/1.1\r\nA: " + b"a" * 5000,
        b"GET / HTTP/1.1\r\nA: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 21 + b"\r\n",
    ],
)
async def test_a_head_that_is_too_large_is_431_and_the_end(door: Door, sent: bytes) -> None:
    reader, _ = await door.connect(sent)
    assert (await rest(reader)).startswith(b"HTTP/1.1 431 ")


CHUNKED = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
ALERT = b'{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-03-04T10:00:00Z"}]}'
BODY = b"%x\r\n" % len(ALERT) + ALERT + b"\r\n"
PROOF = b"Authorization: Bearer " + token("ingest").encode() + b"\r\n"


@pytest.mark.parametrize(
    ("given", "pause"),
    [(b"", False), (PROOF, False), (PROOF, True)],
    ids=["proof only in the trailer", "proof in the head", "while the application waits"],
)
async def test_a_trailer_is_never_a_header_and_is_refused(store: Store, given: bytes, *, pause: bool) -> None:
    """RFC 9110, 6.5.1. Nothing that such a request asks for is done."""
    door = Door(Rig(store), LIMITS)
    await door.start()
    reader, writer = await door.connect(CHUNKED + given + b"\r\n" + BODY)
    if pause:
        await door.begun.wait()
    writer.write(b"0\r\n" + PROOF + b"\r\n")
    wanted = b"HTTP/1.1 400 " if given else (b"HTTP/1.1 400 ", b"HTTP/1.1 401 ")
    assert (await rest(reader)).startswith(wanted)
    await door.stop()
    assert await store.read(lambda conn: incidents.page(conn, None, 10)) == []


async def test_chunks_without_a_trailer_are_taken(door: Door) -> None:
    reader, writer = await door.connect(CHUNKED + PROOF + b"\r\n" + BODY + b"0\r\n\r\n")
    assert (await head(reader)).startswith(b"HTTP/1.1 202 ")
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"0\r\nX: " + b"y" * 20_000,
        b"0\r\n" + b"x" * 20_000,
        b"2;a=" + b"b" * 20_000,
        b"0" * 20_000,
    ],
    ids=["trailer", "trailer's name", "chunk extension", "chunk size"],
)
async def test_what_a_body_says_of_itself_is_bounded_like_a_head(store: Store, sent: bytes) -> None:
    door = Door(Rig(store), LIMITS)
    await door.start()
    reader, _ = await door.connect(CHUNKED + PROOF + b"\r\n" + sent)
    assert (await rest(reader)).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    await door.stop()


async def test_a_body_in_pieces_of_a_byte_is_ended_however_many_come_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs as much as some hundred bytes; nobody has proved anything yet."""
    pieces, real = list[int](), HttpToolsProtocol.on_body

    def on_body(self: HttpToolsProtocol, body: bytes) -> None:
        pieces.append(len(body))
        real(self, body)

    monkeypatch.setattr(HttpToolsProtocol, "on_body", on_body)
    door = Door(Rig(store), replace(LIMITS, pieces=100))
    await door.start()
    reader, _ = await door.connect(
        CHUNKED.replace(b"alertmanager", b"pagerduty") + b"\r\n" + b"1\r\nx\r\n" * 5_000
    )
    assert (await rest(reader)).startswith(b"HTTP/1.1 413 ")
    await door.stop()
    assert pieces == [1] * 100


async def test_a_body_may_come_in_as_many_pieces_as_fit_its_length_and_so_may_the_next(store: Store) -> None:
    door = Door(Rig(store), replace(LIMITS, pieces=10))
    await door.start()
    spaced = ALERT[:-1] + b" " * 20_000 + ALERT[-1:]
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(c), c) for c in (spaced[n : n + 400] for n in range(0, len(spaced), 400))
    )
    reader, writer = await door.connect()
    for _ in range(3):
        writer.write(CHUNKED + PROOF + b"\r\n" + chunks + b"0\r\n\r\n")
        assert b"HTTP/1.1 202 " in (await head(reader))
    writer.close()
    await door.stop()


async def test_nothing_is_answered_in_the_place_of_another_answer(door: Door) -> None:
    """The refusal of a request that was sent ahead comes behind the answer to the one before it."""
    reader, _ = await door.connect(GET + b"GET / HTTP/1.1\r\nA: " + b"a" * 10_000)
    answers = await rest(reader)
    assert answers.startswith(b"HTTP/1.1 200 OK")
    assert answers.count(b"HTTP/1.1 431 ") == 1


async def test_a_body_that_is_late_ends_the_connection_with_its_answer(door: Door) -> None:
    credentials = f"Authorization: Bearer {token('ingest')}\r\n".encode()
    reader, _ = await door.connect(
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n" + credentials + b"\r\n{"
    )
    answer = await rest(reader)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"body_timeout"' in answer


async def test_an_answer_before_the_body_ends_the_connection(door: Door) -> None:
    reader, _ = await door.connect(
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    )
    assert (await rest(reader)).startswith(b"HTTP/1.1 401 ")


async def test_at_the_limit_the_longest_idle_connection_gives_way(store: Store) -> None:
    door = Door(Rig(store), ConnectionLimits(connections=3, head_seconds=60))
    await door.start()
    idle = [await door.connect() for _ in range(6)]
    reader, _ = await door.connect(GET)
    assert (await head(reader)).startswith(b"HTTP/1.1 200 OK")
    assert await rest(idle[0][0]) == b""
    assert await rest(idle[1][0]) == b""
    await door.stop()


@pytest.mark.parametrize(
    ("path", "proved"), [(b"/webhooks/pagerduty", False), (b"/webhooks/alertmanager", True)]
)
async def test_at_the_limit_a_body_that_is_under_way_gives_way_unless_its_head_has_proved_who_sends_it(
    store: Store, path: bytes, proved: bool
) -> None:
    """Who has proved nothing yet would keep everybody out for a body's time."""
    door = Door(Rig(store), ConnectionLimits(connections=3, share=3, head_seconds=60))
    await door.start()
    begun = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    begun += f"Authorization: Bearer {token('ingest')}\r\n\r\n{{".encode()
    slow = []
    for _ in range(3):
        door.begun.clear()
        slow.append(await door.connect(begun))
        await door.begun.wait()
    reader, _ = await door.connect(METRICS)
    if not proved:
        assert (await head(reader)).startswith(b"HTTP/1.1 200 OK")
        assert await rest(slow[0][0]) == b""
    else:
        assert (await head(reader)).startswith(b"HTTP/1.1 503")
        slow[0][1].write(b"x" * 99)
        assert (await head(slow[0][0])).startswith(b"HTTP/1.1 422")
    await door.stop()


async def test_a_connection_that_was_served_waits_anew(store: Store) -> None:
    """Who asked last gives way last, and nobody waits who has gone."""
    door = Door(Rig(store), ConnectionLimits(connections=3, head_seconds=60))
    await door.start()
    first, second, third = [await door.connect(GET) for _ in range(3)]
    for reader, _ in (first, second, third):
        assert (await head(reader)).startswith(b"HTTP/1.1 200 OK")
    first[1].write(GET)
    await first[0].readuntil(b"}")
    assert (await head(first[0])).startswith(b"HTTP/1.1 200 OK")
    reader, writer = await door.connect(GET)
    assert (await head(reader)).startswith(b"HTTP/1.1 200 OK")
    assert await rest(second[0]) == b'{"status":"alive"}'
    for _, open_ in (first, third, (reader, writer)):
        open_.close()
    await door.stop()
    assert door._waiting == {}


async def test_the_answers_carry_no_banner(door: Door) -> None:
    reader, _ = await door.connect(GET)
    assert b"server:" not in await head(reader)


async def test_metrics_that_many_ask_for_at_once_are_made_a_few_times(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token: each text holds the event loop, so whoever asks in the same moment has the same one."""
    made: list[None] = []

    def make(registry: Any) -> bytes:
        made.append(None)
        return generate_latest(registry)

    monkeypatch.setattr(health, "generate_latest", make)
    door = Door(Rig(store), ConnectionLimits())
    await door.start()
    asked = [await door.connect() for _ in range(60)]
    for _, writer in asked:
        writer.write(GET.replace(b"/healthz", b"/metrics"))
    answers = [await head(reader) for reader, _ in asked]
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)
    assert 1 <= len(made) <= 20
    await door.stop()
