"""What other servers send before the body of an answer: bounded in bytes and lines, and read in parts between which others have their turn.

httpx counts nothing there, and parses all that one read brought without giving way: thousands of informational answers (`103`), or of fields,
hold the event loop for as long as a server likes. Used by every client of this service's own requests. Knows nothing of bodies but how
much of them is read at once.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any, Final

import httpcore
import httpx

MAX_READ: Final = 8 * 1024
"""Bytes that are parsed in one go: also what a server sent behind its last answer, which is parsed before the next one."""
MAX_HEAD: Final = 64 * 1024
"""Bytes of everything before a body: informational answers and the answer's own head."""
MAX_HEAD_LINES: Final = 256
"""Lines of it."""
_INFORMATIONAL: Final = re.compile(rb"HTTP/[0-9]\.[0-9] 1(?!01)[0-9]{2}")
"""A head behind which another one comes; behind `101` nothing of HTTP does."""
_STATUS: Final = 16  # bytes of a first line that tell which one it is


def bound_streams(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client, whose connections are bounded from now on: a head that is too long ends its request with DecodingError."""
    own: list[Any] = [client._transport, *client._mounts.values()]  # noqa: SLF001 - no public switch
    for transport in own:
        if isinstance(transport, httpx.AsyncHTTPTransport):
            pool: Any = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001
    return client


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(self, *place: Any, **how: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_tcp(*place, **how))

    async def connect_unix_socket(self, *place: Any, **how: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_unix_socket(*place, **how))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection. Whatever is written begins a request, whose answer begins with a head."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._head = _Head()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        await asyncio.sleep(0)  # what is there already, or was in one record of TLS, is given without waiting
        part = await self._inner.read(min(max_bytes, MAX_READ), timeout)
        self._head.take(part)
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._head = _Head()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Head:
    """How far the head of one answer has come."""

    def __init__(self) -> None:
        self._over = False
        self._bytes = self._lines = 0
        self._line = b""  # the beginning of the line that is under way
        self._first = b""  # the same of the first line of this head

    def take(self, part: bytes) -> None:
        """So much more has come. Raises DecodingError where it is too much."""
        if self._over:
            return
        self._bytes += len(part)
        *whole, last = part.split(b"\n", MAX_HEAD_LINES + 1)
        for line in whole:
            self._over = self._ends_with(self._line + line[:_STATUS])
            self._line = b""
            if self._over:
                return
        self._line = (self._line + last[:_STATUS])[:_STATUS]
        self._check(self._bytes)

    def _ends_with(self, line: bytes) -> bool:
        self._lines += 1
        self._check(0)
        if line in (b"", b"\r") and self._first:
            first, self._first = self._first, b""
            return _INFORMATIONAL.match(first) is None
        self._first = self._first or line
        return False

    def _check(self, size: int) -> None:
        if size > MAX_HEAD or self._lines > MAX_HEAD_LINES:
            raise httpx.DecodingError("too much before the body")
