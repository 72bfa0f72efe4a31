"""Servers that stop answering, or answer in another form than expected: how the connection is ended, and what reading raises.

Used by the clients of databases. A library that is to give up asks the server first, and waits for its answer; `Within` waits for nobody.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Final, Protocol, Self

ODD: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
    EOFError,
)
"""What client libraries, and who reads what they give, raise of an answer that has another form than expected."""


def hang_up(handle: int) -> None:
    """End the connection of this file descriptor: whoever waits for it reads its end at once. The descriptor stays its owner's to close."""
    with suppress(OSError), socket(fileno=os.dup(handle)) as line:
        line.shutdown(SHUT_RDWR)


class Line(Protocol):
    """A connection, as psycopg gives one."""

    @property
    def closed(self) -> bool:
        """Whether it has ended already."""

    def fileno(self) -> int:
        """Its file descriptor."""


class Within:
    """What is inside has so many seconds: then the connection is ended, and TimeoutError raised for whatever the library made of that."""

    def __init__(self, seconds: float, line: Line) -> None:
        self._seconds, self._line = seconds, line
        self._over = False

    async def __aenter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)
        return self

    def _end(self) -> None:
        self._over = True
        if not self._line.closed:
            hang_up(self._line.fileno())

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._over and (kind is None or issubclass(kind, Exception)):  # a cancellation stays one
            raise TimeoutError from None
