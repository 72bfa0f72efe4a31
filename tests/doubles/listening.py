"""A server of a few lines on loopback, for the time of a block: at its end no socket of it and no task is left.

`asyncio.start_server` knows nothing of the connections that its handlers hold. What a test leaves open there, or what the system had accepted and no
handler had seen yet, is found by the garbage collector, as a warning in whatever test runs by then.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""One connection, from its start to its end."""


class _Listening:
    """The listening socket, and each connection that it has accepted."""

    def __init__(self, talk: Talk, context: ssl.SSLContext | None) -> None:
        self._talk, self._context = talk, context
        self._loop = asyncio.get_running_loop()
        self._accepted: dict[asyncio.Task[None], socket.socket] = {}
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._accept)
        self.port: int = self._socket.getsockname()[1]

    def _accept(self) -> None:
        with suppress(OSError):  # whoever was there has gone again
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            self._accepted[self._loop.create_task(self._serve(connection))] = connection

    async def _serve(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        # The client went away, or takes no handshake: its own test says whether that is right.
        with suppress(OSError, EOFError):
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                await self._talk(reader, writer)
            finally:
                writer.close()

    async def end(self) -> None:
        """Accept nothing more and end what there is. Raises what a `talk` raised."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for task in self._accepted:
            task.cancel()
        ends = await asyncio.gather(*self._accepted, return_exceptions=True)
        for _ in range(3):  # a transport lets go of its socket in a later round of the loop
            await asyncio.sleep(0)
        for connection in self._accepted.values():
            connection.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end


@asynccontextmanager
async def listening(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve `talk` on a free loopback port, which is given; with TLS where there is a context."""
    held = _Listening(talk, context)
    try:
        yield held.port
    finally:
        await held.end()
