"""Servers that hang after the login, or answer in another form than expected: each look ends in time with the port's own error."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from app.database import checkpoints, connect, copies, postgres, redis, tables
from app.database.postgres import PostgresDatabases
from app.database.redis import RedisCaches
from app.domain.cache import CacheAddress
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.secret import encoded
from app.domain.tables import TableId
from app.observe import dependencies
from app.observe.dependencies import ConfiguredDependencies
from app.observe.system import SystemClock
from app.sim import SimCluster, VirtualClock
from tests.doubles.listening import listening
from tests.unit.observe.servers import FakePostgres

PASSWORD = "Zk9#wQv2rT"
SHORT = 0.2
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _column(type_: int) -> bytes:
    return b"c\0" + struct.pack("!IHIHIH", 0, 0, type_, 0xFFFF, 0xFFFFFFFF, 0)


def _rows(cells: list[bytes], type_: int, times: int = 1) -> bytes:
    described = _message(b"T", struct.pack("!H", len(cells)) + _column(type_) * len(cells))
    row = struct.pack("!H", len(cells)) + b"".join(struct.pack("!I", len(c)) + c for c in cells)
    return described + _message(b"D", row) * times + _message(b"C", b"SELECT 1\0")


TEXT, INT, JSONB, TIMESTAMPTZ, INT_ARRAY = 25, 23, 3802, 1184, 1007
ANSWERS = {
    "no row": _message(b"C", b"SELECT 0\0"),
    "an empty query": _message(b"I", b""),
    "one text": _rows([b"x"], TEXT),
    "bytes that are no text": _rows([b"\xff\xfe"], TEXT),
    "a number of 5,000 digits": _rows([b"1" * 5_000], INT),
    "a number that is none": _rows([b"many"], INT),
    "a date that is none": _rows([b"tomorrow"] * 6, TIMESTAMPTZ),
    "no JSON": _rows([b"{"] * 3, JSONB),
    "an array that is none": _rows([b"{1"], INT_ARRAY),
    "texts for all": _rows([b"1"] * 14, TEXT),
    "six texts": _rows([b"1"] * 6, TEXT),
    "four huge numbers": _rows([b"9" * 4_000] * 4, INT),
    "eight numbers": _rows([b"7"] * 8, INT),
    "many columns": _rows([b"7"] * 300, INT),
    "two rows": _rows([b"7"] * 5, INT, 2),
    "an error without fields": _message(b"E", b"\0"),
    "an error that is no text": _message(b"E", b"M\xff\xfe\0\0"),
    "a copy": _message(b"G", b"\0\0\0"),
    "no such message": _message(b"?", b"12345"),
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


class Odd(FakePostgres):
    """Answers every statement after the first `well` with these bytes; with None it says nothing more."""

    def __init__(self, answer: bytes | None, well: int = 0) -> None:
        super().__init__()
        self._answer, self._well = answer, well

    def _reply(self, statement: str, *, simple: bool) -> bytes:
        fine = super()._reply(statement, simple=simple)
        if len(self.asked) <= self._well:
            return fine
        prefix = b"" if simple else _message(b"1", b"") + _message(b"2", b"")
        return prefix + (self._answer or b"")

    def _ready(self) -> bytes:
        return b"" if self._answer is None and len(self.asked) > self._well else super()._ready()


async def _nobody() -> None:
    return


LOOKS = {
    "activity": lambda db, cluster, at: db.activity(cluster, at),
    "tables": lambda db, cluster, at: db.tables.look(cluster, at),
    "denied": lambda db, cluster, at: db.checkpoints.denied(cluster, at),
    "survey": lambda db, cluster, at: db.checkpoints.survey(cluster, at, datetime(2026, 1, 1, tzinfo=UTC)),
    "copies": lambda db, cluster, at: db.copies.look(cluster, at, "postgres"),
    "vacuum": lambda db, cluster, at: db.tables.vacuum(
        (cluster, at), TableId(1, "public", "t"), "x", timedelta(minutes=1), _nobody
    ),
}
READ = tuple(name for name in LOOKS if name != "vacuum")


def _cluster(url: str) -> SimCluster:
    cluster = SimCluster(VirtualClock())
    metadata = {"name": "login", "namespace": "rag7"}
    cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"url": encoded(url)}}
    )
    return cluster


async def _looked(name: str, talk: Talk) -> ProbeUnavailable:
    async with listening(talk) as port:
        secret = PASSWORD.replace("#", "%23")
        cluster = _cluster(f"postgresql://app:{secret}@127.0.0.1:{port}/x?sslmode=disable")
        at = DatabaseAddress(namespace="rag7", host="", port=0, database="", secret="login", url_key="url")
        with pytest.raises(ProbeUnavailable) as raised:
            await LOOKS[name](PostgresDatabases(SystemClock()), cluster, at)
    assert PASSWORD not in str(raised.value)
    return raised.value


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connect, postgres, tables, checkpoints, copies, redis, dependencies):
        monkeypatch.setattr(module, "TIMEOUT", SHORT)
    monkeypatch.setattr(checkpoints, "_COUNTING", SHORT)
    monkeypatch.setattr(checkpoints, "_COUNT", int(SHORT * 1_000))


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("well", [0, 2, 3])
@pytest.mark.parametrize("name", LOOKS)
async def test_a_server_that_stays_silent_after_the_login_is_told_in_time(name: str, well: int) -> None:
    if name == "vacuum":
        well = min(well, 1)
    began = time.monotonic()
    error = await _looked(name, Odd(None, well).talk)
    assert time.monotonic() - began < 8, "the library's own way to give up takes 10 s"
    assert "no answer within" in str(error)


@pytest.mark.parametrize("well", [0, 3])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", READ)
async def test_an_odd_answer_of_a_database_is_an_error_of_the_port(name: str, answer: str, well: int) -> None:
    error = await _looked(name, Odd(ANSWERS[answer], well).talk)
    assert error.code in ("query_failed", "unknown_schema", "unreachable")


INFO = (
    "redis_version:7.2\r\nuptime_in_seconds:5\r\nused_memory:1\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
    "keyspace_hits:1\r\nkeyspace_misses:1\r\nevicted_keys:0\r\nconnected_clients:1\r\nmaxclients:10\r\n"
)


def _bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


REDIS = {
    "a simple string": b"+OK\r\n",
    "a bulk": _bulk("x"),
    "no value": b"$-1\r\n",
    "a number": b":7\r\n",
    "a number that is none": b":seven\r\n",
    "a list": b"*2\r\n:1\r\n:2\r\n",
    "lists in lists": b"*1\r\n" * 20_000,
    "a map": b"%1\r\n+a\r\n+b\r\n",
    "an error": f"-ERR wrong {PASSWORD}\r\n".encode(),
    "an error without text": b"-\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a length that is none": b"$x\r\nab\r\n",
    "a huge number": _bulk(INFO.replace("used_memory:1", "used_memory:" + "9" * 5_000)),
    "infinite": _bulk(INFO.replace("keyspace_hits:1", "keyspace_hits:1.0e999")),
    "not a number": _bulk(INFO.replace("uptime_in_seconds:5", "uptime_in_seconds:nan.")),
    "less than none": _bulk(INFO.replace("used_memory:1", "used_memory:-5")),
    "a list for a number": _bulk(INFO.replace("maxclients:10", "maxclients:1,2")),
}


def _always(answer: bytes | None) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            if answer is not None:
                writer.write(answer)
                await writer.drain()

    return talk


async def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"$5")


async def _cache(talk: Talk) -> ProbeUnavailable:
    async with listening(talk) as port:
        cluster = _cluster(f"redis://:{PASSWORD.replace('#', '%23')}@127.0.0.1:{port}/0")
        at = CacheAddress("rag7", "", 0, "login", "url")
        with pytest.raises(ProbeUnavailable) as raised:
            await RedisCaches(SystemClock()).look(cluster, at)
    assert PASSWORD not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("answer", REDIS)
async def test_an_odd_answer_of_a_cache_is_an_error_of_the_port(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "TIMEOUT", 1.0)  # the library asks on after some answers, and waits
    assert (await _cache(_always(REDIS[answer]))).code in ("query_failed", "unreachable", "login_refused")


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("-ERR max number of clients reached", "exhausted", "no free connection"),
        ("-ERR max number of clients + cluster connections reached", "exhausted", "no free connection"),
        ("-DENIED Redis is running in protected mode because ...", "login_refused", "protected mode"),
    ],
)
async def test_a_refusal_of_a_cache_is_told_by_its_own_word(answer: str, code: str, words: str) -> None:
    error = await _cache(_always(f"{answer}\r\n".encode()))
    assert error.code == code
    assert words in error.message


async def test_a_cache_that_ends_in_mid_answer_is_an_error_of_the_port() -> None:
    assert (await _cache(_closes)).code == "unreachable"


@pytest.mark.usefixtures("hurried")
async def test_a_cache_that_says_nothing_is_told_in_time() -> None:
    assert "no answer within" in str(await _cache(_always(None)))


@pytest.mark.parametrize("answer", REDIS)
async def test_an_odd_answer_of_a_dependency_is_no_healthy_one_and_raises_nothing(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "TIMEOUT", 1.0)
    async with listening(_always(REDIS[answer])) as port:
        (found,) = await _checked(f"redis://:x@127.0.0.1:{port}/0")
    assert found is not True


@pytest.mark.parametrize("answer", ANSWERS)
async def test_nor_does_that_of_a_postgres(answer: str) -> None:
    async with listening(Odd(ANSWERS[answer], 3).talk) as port:
        url = f"postgresql://app:x@127.0.0.1:{port}/x?sslmode=disable"
        await _checked(url)
        with pytest.raises(ProbeUnavailable):
            await ConfiguredDependencies({"it": url}, SystemClock()).slow_queries("it", 5)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("well", [0, 3])
async def test_a_dependency_that_stays_silent_after_the_login_is_told_in_time(well: int) -> None:
    began = time.monotonic()
    async with listening(Odd(None, well).talk) as port:
        assert await _checked(f"postgresql://app:x@127.0.0.1:{port}/x?sslmode=disable") == [None]
    assert time.monotonic() - began < 8


async def _checked(url: str) -> list[bool | None]:
    return [r.healthy for r in await ConfiguredDependencies({"it": url}, SystemClock()).check(["it"])]
