"""Connections: how long and how much a client may send before it has to have said what it wants.

Owns the guard around uvicorn's HTTP protocol, which itself waits for ever for the rest of a head. Used by `app.serving`.
Never looks into a request: bodies have their own limits in `app.web.requests`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.web.requests import PROVED
from app.web.taken import Counted
from app.web.turns import CHUNKS_END, HEAD_END, MAX_TAIL, HeldFlow, Turns, part_to

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TRAILER = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_PIECES = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`head_seconds` is the time for a whole head and between two requests; `request_seconds` from a head to the end of
    its answer, and as long again whenever the reader took `taken_a_second` bytes of it meanwhile, or all that there was; so has an answer that is out
    and not taken the time for a head; `head_bytes` is request line and headers, and what a body says of itself between two pieces (sizes and
    extensions of chunks, trailers); `pieces` is in how many a body may come, and one more for each `piece_bytes` of it: each
    costs some microseconds, and a client can make one of each byte; of whoever has proved nothing all bodies of `pieces_seconds` on one connection count
    as one, and `part_bytes` of chunks are parsed in one go; `headers` and `connections` are counts. When all connections are taken, `share` is how many one proven sender keeps for bodies
    that are under way, and `reserve` how many more are taken, for a probe alone where nobody gives way."""

    head_seconds: float = 10.0
    request_seconds: float = 60.0
    taken_a_second: int = 16 * 1024
    head_bytes: int = 32 * 1024
    pieces: int = 1_000
    piece_bytes: int = 256
    pieces_seconds: float = 60.0
    part_bytes: int = 2048
    headers: int = 100
    connections: int = 512
    share: int = 128
    reserve: int = 32


LIMITS = ConnectionLimits()
PROBES = frozenset({b"/healthz", b"/readyz"})
"""What is answered from the reserve: without it the kubelet restarts a pod, and a Service takes its alerts from it, because of its clients."""
_GRACE = 64 * 1024
"""Bytes that each body counts as having sent at its start: who has just begun is not the slowest."""
Waiting: TypeAlias = "dict[GuardedProtocol, None]"
"""The connections of one server on which no whole request has arrived, the longest waiting first: they are idle, or their body is under way."""


class _HeadTooLarge(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class _TooManyAhead(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class _NoPlace(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class _TooManyPieces(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class _HasTrailer(Exception):
    """Raised in the parser's callbacks; ends the connection."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for each head and each request, a size and count of what stands in a head, a count of a body's
    pieces, nothing parsed of a request before the answer to the one before it is out, and no trailers: uvicorn would put them among the headers, where nothing may come after the head (RFC 9110, 6.5.1)."""

    def __init__(
        self,
        *args: Any,
        waiting: Waiting,
        turns: Turns | None = None,
        limits: ConnectionLimits = LIMITS,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._turns = Turns() if turns is None else turns
        self._unread = bytearray()  # what has come and is not parsed yet
        self._tail = b""  # the end of what is
        self._has_turn = False  # it waits for one
        self._length_left, self._chunked = 0, False  # of the body that is under way
        self._waiting = waiting
        self._in_head = True
        self._held_bytes = 0  # since the parser last handed on a head or a piece of a body
        self._pieces = self._pieces_bytes = 0  # of the body that is under way, and of those before it
        self._pieces_since = 0.0
        self._waits_since = 0.0
        self._body_bytes = 0  # of what has come since then
        self._reserved = False
        self._deadline: asyncio.TimerHandle | None = None
        self._seconds, self._taken = 0.0, 0  # of the deadline, and what was taken when it was set

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; at the limit another one gives way, or this one has a place for a probe."""
        others = len(self.server_state.connections)
        self._counted = Counted(transport)
        super().connection_made(cast("asyncio.Transport", self._counted))
        self.flow: HeldFlow = HeldFlow(transport)
        if others >= self._limits.connections:
            slowest = self._slowest_over_share() or self._slowest_unknown()
            if slowest is not None:
                slowest.give_way()
                others -= 1
            if others >= self._limits.connections + self._limits.reserve:
                self._end(_TOO_MANY)
                return
            self._reserved = others >= self._limits.connections
        self._waits()

    def _slowest_over_share(self) -> GuardedProtocol | None:
        """The slowest body of the proven sender with the most of them, where these are more than its share."""
        proved = Counter(one.proved for one in self._waiting if one.proved)
        most = next((name for name, count in proved.most_common(1) if count > self._limits.share), "")
        return self._slowest(one for one in self._waiting if most and one.proved == most)

    def _slowest_unknown(self) -> GuardedProtocol | None:
        """The slowest of all of which nobody knows whose they are, of the address that has the most; idle ones are among them."""
        unknown = [one for one in self._waiting if not one.proved]
        most = Counter(one.address for one in unknown).most_common(1)
        return self._slowest(one for one in unknown if one.address == most[0][0])

    def _slowest(self, of: Iterable[GuardedProtocol]) -> GuardedProtocol | None:
        now = self.loop.time()
        return min(of, key=lambda one: one.pace(now), default=None)

    def _waits(self) -> None:
        """From now on another request is waited for."""
        self._waiting[self] = None
        self._waits_since, self._body_bytes = self.loop.time(), 0
        self._within(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._waiting.pop(self, None)
        self._within(None)
        self._unread.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes: as much of them is parsed as may be at once, and nothing more is read until the rest is."""
        self._unread += data
        if not self._has_turn:
            self._parse(may_begin=not self._chunked)

    def _wait_for_turn(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._turns.wait(self._turn, self.loop)

    def _turn(self) -> None:
        self._has_turn = False
        self._parse(may_begin=True)

    def _parse(self, *, may_begin: bool) -> None:
        """Parse one head and what is cheap behind it; for the rest another turn is waited for. Of a body in chunks whose sender has proved
        nothing no more than one part is parsed, and only in a turn: each byte may be a piece."""
        while self._unread and not self.transport.is_closing() and not self._is_answering():
            in_head = not self._chunked and not self._length_left
            if in_head or (self._chunked and not self.proved):
                if not may_begin:
                    self._wait_for_turn()
                    break
                may_begin = False
            self._feed(self._part(in_head=in_head))
        if self.transport.is_closing():
            self._unread.clear()
        self.flow.hold(bool(self._unread))

    def _is_answering(self) -> bool:
        """Whether a whole request has come whose answer is not out."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _part(self, *, in_head: bool) -> bytes:
        """What is parsed next: to the end of a head or of a body at most, and so much that the parser keeps no more than twice the limit before it
        hands something on."""
        most = self._limits.head_bytes
        if self._length_left:
            size = min(self._length_left, most)
        else:
            few = most if in_head or self.proved else self._limits.part_bytes
            size = part_to(HEAD_END if in_head else CHUNKS_END, self._tail, self._unread, few)
        part = bytes(self._unread[:size])
        del self._unread[:size]
        self._tail = (self._tail + part)[-MAX_TAIL:]
        return part

    def _feed(self, part: bytes) -> None:
        self._held_bytes += len(part)
        super().data_received(part)
        if self._held_bytes > self._limits.head_bytes and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one that comes after it is refused before the application sees it or the end of the body."""
        if not self._in_head:
            self._refuse(_TRAILER)
            raise _HasTrailer
        if len(self.headers) >= self._limits.headers:
            self._refuse(_TOO_LARGE)
            raise _HeadTooLarge
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of a body: a chunk, or as much of one as has come."""
        self._held_bytes = 0
        self._length_left = max(self._length_left - len(body), 0)
        self._body_bytes += len(body)
        self._pieces += 1
        self._pieces_bytes += len(body)
        if self._pieces > self._limits.pieces + self._pieces_bytes // self._limits.piece_bytes:
            # So whatever comes at once, 256 KiB at most, is parsed within some milliseconds, and others have their turn.
            self._refuse(_PIECES)
            raise _TooManyPieces
        super().on_body(body)

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._is_answering():
            # Only behind chunks that end in a way of which nobody has need. uvicorn would keep whatever was sent ahead.
            self._end()
            raise _TooManyAhead
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete: size and count are known, whatever pieces it came in."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.head_bytes:
            self._refuse(_TOO_LARGE)
            raise _HeadTooLarge
        if self._reserved and self.url.partition(b"?")[0] not in PROBES and not self._has_place():
            self._refuse(_TOO_MANY)
            raise _NoPlace
        self._in_head, self._held_bytes = False, 0
        self._begin_body()
        self._within(self._limits.request_seconds)
        super().on_headers_complete()

    def _begin_body(self) -> None:
        """How the body comes, which the parser has checked; its pieces count as those of the same sender's body before it, unless that was proved or
        is long ago."""
        told = dict(self.headers)
        self._chunked = b"transfer-encoding" in told
        self._length_left = 0 if self._chunked else int(told.get(b"content-length", b"0"))
        now, before = self.loop.time(), self.cycle
        was_proved = before is not None and bool(before.scope.get(PROVED))
        if was_proved or now - self._pieces_since >= self._limits.pieces_seconds:
            self._pieces = self._pieces_bytes = 0
            self._pieces_since = now

    def on_message_complete(self) -> None:
        """The request is there, with its body: from now on the time is ours. Before that a client that has proved nothing gives way."""
        self._waiting.pop(self, None)
        self._length_left, self._chunked = 0, False
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
        self._waits()
        if self._unread:
            self._wait_for_turn()

    def _has_place(self) -> bool:
        """Whether this connection has an ordinary place by now: others have gone, or one that has too many gives way."""
        if len(self.server_state.connections) > self._limits.connections:
            slowest = self._slowest_over_share()
            if slowest is None:
                return False
            slowest.give_way()
        self._reserved = False
        return True

    @property
    def proved(self) -> str:
        """Who sends the request that is under way, where the application knows it by the head; else empty."""
        cycle = self.cycle
        return str(cycle.scope.get(PROVED, "")) if cycle is not None and not cycle.response_complete else ""

    @property
    def address(self) -> str:
        """Where the connection comes from."""
        return self.client[0] if self.client else ""

    def pace(self, now: float) -> float:
        """Bytes of the body a second, since a request is waited for."""
        return (_GRACE + self._body_bytes) / max(now - self._waits_since, 1e-6)

    def give_way(self) -> None:
        """Close: another client needs the place. Who has proved who it is, is told to come again."""
        if self.proved:
            self._refuse(_TOO_MANY)
        else:
            self._end()

    def _within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)
        self._seconds, self._taken = seconds or 0.0, self._counted.taken

    def _late(self) -> None:
        """End the connection, unless an answer is being taken: a long one takes a slow reader longer, and it would be cut without a word."""
        taken = self._counted.taken - self._taken
        all_of_it = taken > 0 and not self._counted.left
        if all_of_it or taken >= max(self._limits.taken_a_second * self._seconds, 1):
            self._within(self._seconds)
        else:
            self.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        """End the connection; with the answer unless another one is under way, whose client would take it for that one's."""
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked and (self._in_head or self.cycle.response_started):
            answer = b""
        self._end(answer)

    def _end(self, answer: bytes = b"") -> None:
        self._waiting.pop(self, None)
        if answer:
            self.transport.write(answer)
        self.transport.close()
