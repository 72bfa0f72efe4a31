"""Connections: how long and how much a client may send before it has to have said what it wants.

Owns the guard around uvicorn's HTTP protocol, which itself waits for ever for the rest of a head. Used by `app.serving`.
Never looks into a request: bodies have their own limits in `app.web.requests`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.web.requests import PROVED

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TRAILER = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`head_seconds` is the time for a whole head and between two requests; `request_seconds` from a head to the end of
    its answer; `head_bytes` is request line and headers, and what a body says of itself between two pieces (sizes and
    extensions of chunks, trailers); `headers` and `connections` are counts, `pipelined` of the requests that wait on one
    connection for an earlier answer."""

    head_seconds: float = 10.0
    request_seconds: float = 60.0
    head_bytes: int = 32 * 1024
    headers: int = 100
    connections: int = 512
    pipelined: int = 16


LIMITS = ConnectionLimits()
Waiting: TypeAlias = "dict[GuardedProtocol, None]"
"""The connections of one server on which no whole request has arrived, the longest waiting first: they are idle, or their body is under way."""


class _HeadTooLarge(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class _TooManyAhead(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class _HasTrailer(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for each head and each request, a size and count of what stands in a head, and no
    trailers: uvicorn would put them among the headers, where nothing may come after the head (RFC 9110, 6.5.1)."""

    def __init__(
        self, *args: Any, waiting: Waiting, limits: ConnectionLimits = LIMITS, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._waiting = waiting
        self._in_head = True
        self._held_bytes = 0  # since the parser last handed on a head or a piece of a body
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; at the limit the one that has waited longest without a whole request gives way, unless it has proved who it is."""
        full = len(self.server_state.connections) >= self._limits.connections
        super().connection_made(transport)
        if full:
            longest = next((one for one in self._waiting if not one.has_proved), None)
            if longest is None:
                self._end(_TOO_MANY)
                return
            longest.give_way()
        self._waits()

    def _waits(self) -> None:
        """From now on another request is waited for."""
        self._waiting[self] = None
        self._within(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._waiting.pop(self, None)
        self._within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes, of which the parser keeps no more than twice the limit before it hands something on."""
        most = self._limits.head_bytes
        for start in range(0, len(data), most):
            if self.transport.is_closing():
                return
            part = data[start : start + most]
            self._held_bytes += len(part)
            super().data_received(part)
            if self._held_bytes > most and not self.transport.is_closing():
                self._refuse(_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one that comes after it is refused before the application sees it or the end of the body."""
        if not self._in_head:
            self._refuse(_TRAILER)
            raise _HasTrailer
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._held_bytes = 0
        super().on_body(body)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete: size and count are known, whatever pieces it came in."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.head_bytes or len(self.headers) > self._limits.headers:
            self._refuse(_TOO_LARGE)
            raise _HeadTooLarge
        if len(self.pipeline) >= self._limits.pipelined:
            # uvicorn keeps whatever was sent ahead, and reads on after each answer: a client that reads none fills the memory.
            self._end()
            raise _TooManyAhead
        self._in_head, self._held_bytes = False, 0
        self._within(self._limits.request_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there, with its body: from now on the time is ours. Before that a client that has proved nothing gives way."""
        self._waiting.pop(self, None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; nothing more is written to a connection that was ended already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """The answer is out; whoever still sends the body of an answered request is not listened to."""
        if self.cycle.more_body and self.cycle.response_complete:
            self._end()
        super().on_response_complete()
        if not self.pipeline:
            self._waits()

    @property
    def has_proved(self) -> bool:
        """Whether the application knows by the head who sends the request that is under way."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and bool(cycle.scope.get(PROVED))

    def give_way(self) -> None:
        """Close: another client needs the place."""
        self._end()

    def _within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        """End the connection; with the answer unless another one is under way, whose client would take it for that one's."""
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked and (self._in_head or self.pipeline or self.cycle.response_started):
            answer = b""
        self._end(answer)

    def _end(self, answer: bytes = b"") -> None:
        self._waiting.pop(self, None)
        if answer:
            self.transport.write(answer)
        self.transport.close()
