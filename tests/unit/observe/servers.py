"""Two small servers on loopback that speak enough of the Postgres and the Redis protocol to be asked one question."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from tests.doubles.listening import Talk, listening

Row = Sequence[str]
Answer = Sequence[Row] | tuple[str, str]
"""Rows of text, or an error as (SQLSTATE, message)."""
_NO_ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest


@contextmanager
def beside(talk: Talk) -> Iterator[int]:
    """`listening` in a thread of its own, for who blocks meanwhile."""
    loop, ready = asyncio.new_event_loop(), Event()
    ports: list[int] = []
    ended = asyncio.Event()

    async def serve() -> None:
        async with listening(talk) as port:
            ports.append(port)
            ready.set()
            await ended.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


class FakePostgres:
    """Answers statements that contain a key of `answers`; everything else succeeds without rows. `refuse` is a login
    error as (SQLSTATE, message)."""

    def __init__(
        self, answers: Mapping[str, Answer] | None = None, refuse: tuple[str, str] | None = None
    ) -> None:
        self.answers = answers or {}
        self.refuse = refuse
        self.asked: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        while struct.unpack("!I", (startup := await self._startup(reader))[:4])[0] in _NO_ENCRYPTION:
            writer.write(b"N")
        assert startup[:2] == b"\x00\x03"
        if self.refuse:
            writer.write(_error(*self.refuse, severity="FATAL"))
            await writer.drain()
            return
        writer.write(
            _message(b"R", struct.pack("!I", 0))
            + _message(b"S", b"client_encoding\0UTF8\0")
            + _message(b"S", b"server_version\x0015.1\0")
            + self._ready()
        )
        statement = ""
        while True:
            kind, body = await self._message(reader)
            if kind == b"X":
                return
            if kind == b"Q":
                statement = body.rstrip(b"\0").decode()
                writer.write(self._reply(statement, simple=True) + self._ready())
            elif kind == b"P":
                statement = body.split(b"\0")[1].decode()
            elif kind == b"S":
                writer.write(self._reply(statement, simple=False) + self._ready())

    def _ready(self) -> bytes:
        last = self.asked[-1] if self.asked else "COMMIT"
        return _message(b"Z", b"I" if last in ("COMMIT", "ROLLBACK") else b"T")

    async def _startup(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        return await reader.readexactly(length - 4)

    async def _message(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!cI", await reader.readexactly(5))
        return kind, await reader.readexactly(length - 4)

    def _reply(self, statement: str, *, simple: bool) -> bytes:
        self.asked.append(" ".join(statement.split()))
        answer = next((a for part, a in self.answers.items() if part in statement), None)
        prefix = b"" if simple else _message(b"1", b"") + _message(b"2", b"")
        if isinstance(answer, tuple):
            return _error(*answer)
        if answer is None:
            return prefix + (b"" if simple else _message(b"n", b"")) + _message(b"C", b"SET\0")
        columns = len(answer[0]) if answer else 0
        described = struct.pack("!H", columns) + b"".join(
            b"c\0" + struct.pack("!IHIHIH", 0, 0, 25, 0xFFFF, 0xFFFFFFFF, 0) for _ in range(columns)
        )
        rows = b"".join(_message(b"D", _row(row)) for row in answer)
        return prefix + _message(b"T", described) + rows + _message(b"C", b"SELECT 1\0")


def _row(row: Row) -> bytes:
    cells = [value.encode() for value in row]
    return struct.pack("!H", len(cells)) + b"".join(struct.pack("!I", len(c)) + c for c in cells)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _error(state: str, message: str, severity: str = "ERROR") -> bytes:
    fields = {"S": severity, "V": severity, "C": state, "M": message}
    return _message(b"E", b"".join(k.encode() + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


class FakeRedis:
    """Answers PING (and AUTH, if the client sends it) with the given RESP line; every other command with an error."""

    def __init__(self, ping: str = "+PONG", auth: str = "+OK") -> None:
        self.ping = ping
        self.auth = auth
        self.asked: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        while head := await reader.readline():
            if not head.startswith(b"*"):
                return  # a TLS hello, of which a Redis without TLS understands nothing either
            words = []
            for _ in range(int(head[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2].decode())
            self.asked.append(words[0])
            line = {"PING": self.ping, "AUTH": self.auth}.get(words[0], "-ERR unknown command")
            writer.write(line.encode() + b"\r\n")
            await writer.drain()


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take the connection and never say a word."""
    await reader.read()
