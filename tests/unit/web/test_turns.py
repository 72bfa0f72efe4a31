"""What has come at once is parsed in turns: of whoever has proved nothing one part in a round, and no request before its turn to be answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.store.database import Store
from app.web.connections import LIMITS as SHIPPED
from app.web.connections import ConnectionLimits, GuardedProtocol
from app.web.turns import CHUNKS_END, HEAD_END, Turns, part_to
from tests.unit.web.rig import Rig
from tests.unit.web.test_connections import ALERT, CHUNKED, GET, LIMITS, PATIENCE, PROOF, Door, head, rest

STRANGER = CHUNKED.replace(b"alertmanager", b"pagerduty") + b"\r\n"
PIECE = b"1\r\nx\r\n"
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Rounds:
    """The rounds of the event loop, counted, and in which of them a piece of a body or a head was parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.pieces: list[int] = []
        self.heads: list[int] = []
        self._counting = asyncio.get_running_loop().create_task(self._count())
        on_body, on_head = HttpToolsProtocol.on_body, HttpToolsProtocol.on_headers_complete

        def body(protocol: HttpToolsProtocol, part: bytes) -> None:
            self.pieces.append(self.now)
            on_body(protocol, part)

        def complete(protocol: HttpToolsProtocol) -> None:
            self.heads.append(self.now)
            on_head(protocol)

        monkeypatch.setattr(HttpToolsProtocol, "on_body", body)
        monkeypatch.setattr(HttpToolsProtocol, "on_headers_complete", complete)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.now += 1

    def end(self) -> None:
        self._counting.cancel()


@pytest.fixture
async def shipped(store: Store) -> Any:
    """The server with the limits that are shipped."""
    found = Door(Rig(store), replace(SHIPPED, connections=100))
    await found.start()
    yield found
    await found.stop()


def most_in_a_round(rounds: list[int]) -> int:
    return max(rounds.count(one) for one in set(rounds))


async def test_pieces_of_many_strangers_are_parsed_a_few_in_each_round(
    shipped: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch)
    opened = [await shipped.connect(STRANGER + PIECE * 900 + b"0\r\n\r\n") for _ in range(20)]
    for reader, _ in opened:
        assert (await head(reader)).startswith(b"HTTP/1.1 401 ")
    rounds.end()
    assert len(rounds.pieces) == 20 * 900
    assert most_in_a_round(rounds.pieces) <= SHIPPED.part_bytes // len(PIECE) + 1


async def test_requests_that_were_sent_ahead_are_begun_one_in_a_round(
    shipped: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [await shipped.connect() for _ in range(10)]
    rounds = Rounds(monkeypatch)
    for _, writer in opened:
        writer.write(GET * 9 + LAST)
    answers = [await rest(reader) for reader, _ in opened]
    rounds.end()
    assert [answer.count(b"HTTP/1.1 200 OK") for answer in answers] == [10] * 10
    later = sorted(rounds.heads)[10:]
    assert most_in_a_round(later) == 1


async def test_nothing_of_a_request_is_parsed_before_the_answer_to_the_one_before_it(store: Store) -> None:
    """And nothing more is read meanwhile: what a client that reads no answer sends stays with it."""
    door, waiting = Door(Rig(store), SHIPPED), asyncio.Event()
    begun: list[str] = []
    app = door._config.loaded_app

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope["path"])
        await waiting.wait()
        await app(scope, receive, send)

    door._config.loaded_app = slow
    await door.start()
    reader, writer = await door.connect(GET + GET.replace(b"/healthz", b"/nowhere") + GET)
    async with asyncio.timeout(PATIENCE):
        while not begun:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
    [protocol] = door._server.server_state.connections
    assert isinstance(protocol, GuardedProtocol)
    assert protocol.flow.read_paused
    writer.write(GET * 10_000)
    for _ in range(50):
        await asyncio.sleep(0)
    assert begun == ["/healthz"]
    assert len(protocol._unread) < 1_000
    waiting.set()
    answers = b""
    async with asyncio.timeout(PATIENCE):
        while answers.count(b"HTTP/1.1 ") < 3:
            answers += await reader.read(4096)
    assert answers.index(b"HTTP/1.1 200 ") < answers.index(b"HTTP/1.1 404 ")
    writer.close()
    await door.stop()


async def test_pieces_of_a_stranger_are_counted_over_the_connection(store: Store) -> None:
    door = Door(Rig(store), replace(LIMITS, pieces=100))
    await door.start()
    reader, _ = await door.connect((STRANGER + PIECE * 60 + b"0\r\n\r\n") * 3)
    answers = await rest(reader)
    assert answers.count(b"HTTP/1.1 401 ") == 1
    assert answers.count(b"HTTP/1.1 413 ") == 1
    await door.stop()


async def test_pieces_of_whoever_has_proved_it_are_counted_for_each_body(store: Store) -> None:
    door = Door(Rig(store), replace(LIMITS, pieces=ALERT.__len__() + 1))
    await door.start()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in ALERT) + b"0\r\n\r\n"
    reader, writer = await door.connect((CHUNKED + PROOF + b"\r\n" + chunks) * 4)
    for _ in range(4):
        assert b"HTTP/1.1 202 " in await head(reader)
        await reader.readuntil(b"}")
    writer.close()
    await door.stop()


@pytest.mark.parametrize("end", [b"0;a\r\n\r\n", b"0;0\r\n\r\n"])
async def test_requests_behind_an_odd_end_of_chunks_are_kept_nowhere(
    shipped: Door, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch)
    reader, _ = await shipped.connect(STRANGER + PIECE + end + GET * 50 + LAST)
    assert (await rest(reader)).count(b"HTTP/1.1 200 OK") in (0, 51)
    rounds.end()
    assert most_in_a_round(rounds.heads) == 1


async def test_many_fields_end_a_head_before_all_are_there(shipped: Door) -> None:
    reader, _ = await shipped.connect(b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 5_000)
    assert (await rest(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_turn_that_fails_ends_no_other_turn() -> None:
    turns, taken, loop = Turns(), list[str](), asyncio.get_running_loop()
    failed: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, told: failed.append(told))

    def fails() -> None:
        taken.append("fails")
        raise ZeroDivisionError

    turns.wait(fails, loop)
    turns.wait(lambda: taken.append("next"), loop)
    for _ in range(4):
        await asyncio.sleep(0)
    turns.wait(lambda: taken.append("later"), loop)
    for _ in range(2):
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert taken == ["fails", "next", "later"]
    assert len(failed) == 1


PARTS = [
    (HEAD_END, b"", b"a\r\n\r\nb\r\n\r\n", 100, 5),
    (HEAD_END, b"a\r\n", b"\r\nb\r\n\r\n", 100, 2),
    (HEAD_END, b"\r\n\r\n", b"b", 100, 1),
    (HEAD_END, b"a\r\n", b"b", 100, 1),
    (HEAD_END, b"", b"a" * 50 + b"\r\n\r\n", 20, 20),
    (CHUNKS_END, b"x\r\n0", b"\r\n\r\nGET", 100, 4),
    (CHUNKS_END, b"0\r\n\r", b"\nGET", 100, 1),
    (CHUNKS_END, b"", b"5\r\nhello\r\n10\r\n\r\nGET", 100, 16),
]


@pytest.mark.parametrize(("mark", "tail", "unread", "most", "length"), PARTS)
def test_a_part_ends_with_its_mark(mark: bytes, tail: bytes, unread: bytes, most: int, length: int) -> None:
    assert part_to(mark, tail, bytearray(unread), most) == length


def test_the_limits_that_are_shipped_keep_a_turn_short() -> None:
    assert ConnectionLimits().part_bytes // len(PIECE) < 500
