"""At the limit of connections: whose place another client gets, and what always has one. Raw sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.store.database import Store
from app.web.connections import LIMITS, ConnectionLimits, GuardedProtocol
from app.web.services import Limits
from tests.unit.web.rig import Rig, token
from tests.unit.web.test_connections import GET, METRICS, Door, Stream, head, rest

PROOF = b"Authorization: Bearer " + token("ingest").encode() + b"\r\n"
SLOW = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n" + PROOF + b"\r\n{"
READY = GET.replace(b"/healthz", b"/readyz?verbose")
ALERT = b'{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-03-04T10:00:00Z"}]}'
POST = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (
    PROOF,
    len(ALERT),
    ALERT,
)
Opened = Callable[[ConnectionLimits], Awaitable[Door]]


@pytest.fixture
async def opened(store: Store) -> AsyncIterator[Opened]:
    """A server with these limits; a body may take as long as it likes."""
    doors: list[Door] = []

    async def make(limits: ConnectionLimits) -> Door:
        doors.append(Door(Rig(store, limits=Limits(body_seconds=60)), limits))
        await doors[-1].start()
        return doors[-1]

    yield make
    for door in doors:
        await door.stop()


async def fill(door: Door, count: int, sent: bytes = SLOW) -> list[Stream]:
    """So many requests whose head the application has seen, and whose body does not come."""
    found = []
    for _ in range(count):
        door.begun.clear()
        found.append(await door.connect(sent))
        await door.begun.wait()
    return found


def waiting(door: Door) -> list[GuardedProtocol]:
    return list(door._waiting)


async def test_slow_bodies_with_a_valid_token_keep_nobody_out(opened: Opened) -> None:
    """As many as there are places; then each of these finds one, one after the other, and so does an alert."""
    door = await opened(ConnectionLimits(connections=40, share=10, reserve=4, head_seconds=60))
    slow = await fill(door, 40)
    kept = []
    for sent, status in (
        (GET, b"200"),
        (READY, b"200"),
        (METRICS, b"200"),
        (POST, b"202"),
        (GET, b"200"),
    ) * 5:
        kept.append(await door.connect(sent))
        assert (await head(kept[-1][0])).startswith(b"HTTP/1.1 " + status)
    assert (await head(slow[0][0])).startswith(b"HTTP/1.1 503"), "it is told to come again"
    assert b"retry-after: 5" in (await _told(slow[1]))
    assert len(waiting(door)) <= 40


async def _told(stream: Stream) -> bytes:
    return await rest(stream[0])


async def test_new_slow_bodies_of_who_has_too_many_take_the_places_of_its_own(opened: Opened) -> None:
    door = await opened(ConnectionLimits(connections=10, share=4, head_seconds=60))
    idle = [await door.connect(GET) for _ in range(3)]
    for reader, _ in idle:
        assert (await head(reader)).startswith(b"HTTP/1.1 200")
    await fill(door, 30)
    for _, writer in idle:
        writer.write(GET)
    for reader, _ in idle:
        await reader.readuntil(b"}")
        assert (await head(reader)).startswith(b"HTTP/1.1 200")


async def test_within_the_shares_only_probes_find_a_place_and_only_in_the_reserve(opened: Opened) -> None:
    door = await opened(ConnectionLimits(connections=3, share=3, reserve=2, head_seconds=60))
    slow = await fill(door, 3)
    probes = [await door.connect(sent) for sent in (GET, READY)]
    for reader, _ in probes:
        assert (await head(reader)).startswith(b"HTTP/1.1 200")
    another, _ = await door.connect(GET)
    assert (await head(another)).startswith(b"HTTP/1.1 200"), "an idle probe gives way"
    other, _ = await door.connect(POST)
    assert (await rest(other)).startswith(b"HTTP/1.1 503")
    slow[0][1].write(b"x" * 299_999)
    assert (await head(slow[0][0])).startswith(b"HTTP/1.1 422"), "what was under way is read to its end"


async def test_a_place_of_the_reserve_is_an_ordinary_one_when_others_have_gone(opened: Opened) -> None:
    door = await opened(ConnectionLimits(connections=2, share=2, reserve=1, head_seconds=60))
    slow = await fill(door, 2)
    reader, writer = await door.connect(GET)
    await reader.readuntil(b"}")
    slow[0][1].close()
    await slow[0][1].wait_closed()
    while len(door._server.server_state.connections) > 2:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0)
    writer.write(POST)
    assert (await head(reader)).startswith(b"HTTP/1.1 202")


async def test_the_slowest_body_gives_way_first(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    door = await opened(ConnectionLimits(connections=3, share=2, head_seconds=60))
    first, second, third = await fill(door, 3)
    first[1].write(b"x" * 200_000)
    while max(one._body_bytes for one in waiting(door)) < 200_000:  # noqa: ASYNC110 - the server reads it when it does
        await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    for late, one in enumerate(waiting(door)):
        monkeypatch.setattr(one, "_waits_since", began - 10 + late)
    reader, _ = await door.connect(GET)
    assert (await head(reader)).startswith(b"HTTP/1.1 200")
    assert (await head(second[0])).startswith(b"HTTP/1.1 503")
    for stream in (first, third):
        assert not stream[0].at_eof()


async def test_idle_connections_of_one_address_take_no_place_of_another(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is older, of an address that has a single one."""
    door = await opened(ConnectionLimits(connections=4, head_seconds=60))
    alone, _ = await door.connect(GET)
    await alone.readuntil(b"}")
    monkeypatch.setattr(waiting(door)[0], "client", ("192.0.2.7", 1))
    for _ in range(20):
        await (await door.connect(GET))[0].readuntil(b"}")
    assert any(one.address == "192.0.2.7" for one in waiting(door))


def test_the_limits_that_are_shipped_leave_places_for_others() -> None:
    assert LIMITS.share * 4 <= LIMITS.connections
    assert LIMITS.reserve >= 8
