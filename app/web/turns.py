"""Turns: what has come on the connections is parsed in parts, and of whoever has proved nothing one part in each round of the event loop.

The system hands over up to 256 KiB of one connection at once, and of many connections in the same round. Without turns thousands of pieces
of a byte, or of requests that were sent ahead, would be worked off before anybody else is heard. Never looks into what it gives turns to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

HEAD_END: Final = b"\r\n\r\n"
CHUNKS_END: Final = b"0\r\n\r\n"
"""Behind it nothing of a body in chunks comes, as no trailers are taken."""
MAX_TAIL: Final = 4
"""Bytes of a mark that may stand in an earlier part."""


class Turns:
    """The connections of one server that have something left, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._queue: deque[Callable[[], None]] = deque()

    def wait(self, turn: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call `turn` in a later round of the loop, in which nobody else has one."""
        self._queue.append(turn)
        if len(self._queue) == 1:
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._queue[0]()
        finally:
            self._queue.popleft()
            if self._queue:
                loop.call_soon(self._next, loop)


class HeldFlow(FlowControl):
    """uvicorn's, which stops reading also where what has come is not parsed yet."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._full = self._held = False

    def pause_reading(self) -> None:
        """The application has more of a body than it has asked for."""
        self._full = True
        super().pause_reading()

    def resume_reading(self) -> None:
        """It has not."""
        self._full = False
        self.hold(self._held)

    def hold(self, held: bool) -> None:
        """Whether something is left that has to be parsed first."""
        self._held = held
        if held:
            super().pause_reading()
        elif not self._full:
            super().resume_reading()


def part_to(mark: bytes, tail: bytes, unread: bytearray, most: int) -> int:
    """Length of the part of `unread` that ends with the first `mark`, which may begin in the `tail` of what was parsed before; `most` where
    there is none."""
    begun = tail[-(len(mark) - 1) :]
    at = (begun + unread[:most]).find(mark)
    return min(most, len(unread)) if at < 0 else min(at + len(mark) - len(begun), most)
