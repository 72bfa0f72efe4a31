"""A long answer has as long as its reader goes on taking it, and a reader that takes nothing is ended. Nothing waits: a deadline is met by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.web.connections import ConnectionLimits, GuardedProtocol

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = ConnectionLimits(head_seconds=10, request_seconds=60, taken_a_second=100)
KB = 1_000
NONE, ALL = 0, -1


class Wire(asyncio.Transport):
    """A transport whose reader takes what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.is_over = False

    def write(self, data: Any) -> None:
        self.left += len(data)

    def get_write_buffer_size(self) -> int:
        return self.left

    def take(self, count: int) -> None:
        self.left -= self.left if count == ALL else count

    def abort(self) -> None:
        self.is_over = True

    def close(self) -> None:
        self.is_over = True

    def is_closing(self) -> bool:
        return self.is_over

    def pause_reading(self) -> None:
        """Nothing comes anyway."""

    def resume_reading(self) -> None:
        """Nothing comes anyway."""


@pytest.mark.parametrize(
    ("written", "more", "takes", "over"),
    [
        (0, True, [NONE], 1),
        (90 * KB, True, [NONE], 1),
        (90 * KB, True, [1 * KB], 1),
        (90 * KB, True, [6 * KB, 7 * KB, 5 * KB], 3),
        (90 * KB, True, [50 * KB, ALL, NONE], 3),
        (90 * KB, False, [NONE], 1),
        (90 * KB, False, [1 * KB, 1 * KB, KB // 2], 3),
        (90 * KB, False, [ALL, NONE], 2),
    ],
)
async def test_an_answer_has_time_as_long_as_it_is_taken(
    written: int, more: bool, takes: list[int], over: int
) -> None:
    """`takes` between two deadlines each; the connection is over at the deadline `over`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        if written:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * written, "more_body": more})
        if more:
            await asyncio.Event().wait()

    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    config.load()
    state, wire = ServerState(), Wire()
    protocol = GuardedProtocol(config=config, server_state=state, app_state={}, limits=LIMITS, waiting={})
    protocol.connection_made(wire)
    protocol.data_received(GET)
    for _ in range(10):
        await asyncio.sleep(0)
    assert wire.left >= written
    ends = []
    for count in takes:
        wire.take(count)
        protocol._late()
        ends.append(wire.is_over)
    assert ends == [at == over for at in range(1, len(takes) + 1)]
    protocol.connection_lost(None)
    for task in list(state.tasks):
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)
