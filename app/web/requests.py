"""Requests: reading a body within limits, and the outermost layer that numbers, counts, times and logs each request.

Plain ASGI, because the ingest path pays for every layer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import BadInput, TryLater
from app.domain.lines import ASKED_BY, NOBODY
from app.domain.ports import Clock, Ids
from app.observe.metrics import Metrics
from app.web.callers import says_where
from app.web.cookies import keep_own_cookies
from app.web.problems import MAX_PATH, REQUEST_ID, guarded, problem

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
"""On every answer that does not say it itself: nothing here is for a browser to keep, to guess at, to frame or to load more
from."""
_log = structlog.get_logger("app.web")
MAX_QUERY = 8 * 1024
"""Bytes of a query: the longest that a page makes asks where to go on, in 6 KiB."""
MAX_QUERY_FIELDS = 100


PROVED = "alert_remediator.proved"
"""In the scope of a request: the name of its sender, where the head has proved it, so that its body may take its time; else empty."""


async def read_body(
    scope: Scope,
    receive: Receive,
    *,
    limit: int,
    seconds: float,
    take: Callable[[int], None] = lambda _size: None,
) -> bytes:
    """The whole body, at most `limit` bytes, received within `seconds`. `take` is told of the bytes as they come, and may refuse them.

    Raises BadInput (`body_too_large` before anything is read when the length is declared, `encoding_refused` for a
    compressed body: it could unpack to any size), TryLater (`body_timeout`), ClientDisconnect, and what `take` does.
    """
    _check_declared(scope, limit)
    try:
        async with asyncio.timeout(seconds):
            return await _receive_all(receive, limit, take)
    except TimeoutError as error:
        # 503 and not 408: a storm that slows us down must not make Alertmanager give up.
        raise TryLater("the body did not arrive in time", code="body_timeout", where="body") from error


def _check_declared(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise BadInput(
                "send the body without a content encoding", code="encoding_refused", where="Content-Encoding"
            )


async def _receive_all(receive: Receive, limit: int, take: Callable[[int], None]) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        take(len(body))
        return body
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        take(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _too_large(limit: int) -> BadInput:
    return BadInput(f"the body has more than {limit} bytes", code="body_too_large", where="body")


class RequestLog:
    """ASGI layer around everything. A failed request is a line in the log, a good one only at the level debug."""

    def __init__(self, app: ASGIApp, *, clock: Clock, ids: Ids, metrics: Metrics) -> None:
        self._app = app
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else (lifespan) passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ASKED_BY.set(NOBODY)  # a request that came ahead is begun where the answer to the one before it ended
        request_id = scope[REQUEST_ID] = self._ids.new("req")
        began = self._clock.monotonic()
        keep_own_cookies(scope)
        answer = _Answer(send, request_id)
        await guarded(
            _refusal(scope) or self._app, scope, receive, answer.send, begun=lambda: answer.status != 0
        )
        self._tell(scope, answer.status, self._clock.monotonic() - began)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # Children are looked up once: `labels()` costs more than counting. Methods, routes and statuses are few.
        children = self._children.get((method, route, status))
        if children is None:
            children = self._children[method, route, status] = (
                self._metrics.http_requests.labels(method, route, str(status or "none")),
                self._metrics.http_seconds.labels(route),
            )
        children[0].inc()
        children[1].observe(seconds)
        if status >= 400:
            _log.info(
                "request refused" if status < 500 else "request not served",
                request=scope[REQUEST_ID],
                method=scope["method"],
                path=scope["path"][:MAX_PATH],
                status=status,
                milliseconds=round(seconds * 1000, 1),
            )


def _refusal(scope: Scope) -> ASGIApp | None:
    """Of a head that no route is to see. A framework takes a query apart for every route, several times, whoever sent it."""
    query = scope["query_string"]
    if not says_where(scope):
        return problem(scope, 400, "bad_host", "send one Host with a host and at most a port", where="Host")
    if len(query) > MAX_QUERY:
        return problem(
            scope, 414, "query_too_long", f"the query has more than {MAX_QUERY} bytes", where="query"
        )
    if query.count(b"&") >= MAX_QUERY_FIELDS:
        text = f"the query has more than {MAX_QUERY_FIELDS} fields"
        return problem(scope, 400, "too_many_fields", text, where="query")
    return None


class _Answer:
    """Wraps `send`: remembers the status and adds the request's id to the headers."""

    __slots__ = ("_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id.encode()
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", ())
            own = {name for name, _ in given}  # a page says itself what it may load
            safety = [header for header in _SAFETY if header[0] not in own]
            message["headers"] = [*given, *safety, (b"x-request-id", self._id)]
        await self._send(message)


def _route(scope: MutableMapping[str, Any]) -> str:
    """The template of the matched route: paths themselves would make one series each."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
