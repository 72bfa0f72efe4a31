"""What the reader of an answer has taken of it: what was written to a transport, without what still waits in it.

Used by `app.web.connections`. The system's own buffers count as the reader: what is there is out of this process.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Counted:
    """A transport that counts what is written to it; all else is the transport's."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write it."""
        self._written += len(data)
        self._transport.write(data)

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes that were."""
        return self._written - self.left
