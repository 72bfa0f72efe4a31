"""Reading JSON over HTTP from a source of evidence: bounded in time, size and attempts, reads only.

Used by the Prometheus and the Alertmanager client, and by that of an OpenID provider. Every failure becomes ProbeUnavailable with the source's name, and
never with its URL, which may carry credentials. Never writes, never follows a redirect.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

import anyio
import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from app.domain.errors import ProbeUnavailable
from app.domain.json import ANSWER, decoded, decoded_beside
from app.domain.pieces import PIECE
from app.domain.ports import Clock
from app.domain.redact import in_one_line
from app.observe.bounded_streams import bound_streams

TIMEOUT = 5.0
"""Seconds that one attempt may take to connect, and again to send each part of its answer."""
_WHOLE = 8.0
"""Seconds that one attempt may take in all. One that takes longer is not tried again: the investigation has half a minute for all it reads."""
LIMIT = 8 * 1024 * 1024
"""Bytes of an answer that are read unless a source has a limit of its own; a query that returns more is too wide to be
evidence."""

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of any answer at all; each reader of JSON has a lower limit."""
MAX_PIECES = 20_000
"""Pieces that an answer comes in. Each costs as much as some thousand bytes, and a server can make one of each byte."""
TURN = 64
"""Pieces after which others have their turn."""
MAX_AT_ONCE = 32
"""Requests to one server whose answers have not begun."""
MAX_SECONDS = 15.0
"""From a request to the last byte of its answer."""

_ATTEMPTS = 3
_MAX_ANSWER = "most"
Params = Sequence[tuple[str, str]]


def bounded_client(
    *, timeout: float = 5.0, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """The client for all of this service's own requests: no answer of it takes more than MAX_BYTES bytes or MAX_PIECES pieces, or MAX_SECONDS from
    the request to its last byte. It asks for no compression and takes none, as a few bytes of a compressed answer can be gigabytes, which httpx
    would unpack before anybody can look at their size. It keeps no cookie. What comes
    before the body is bounded too (`app.observe.bounded_streams`). An answer is there as a whole, also where it is streamed."""
    return _Client(timeout, transport)


class _Client(httpx.AsyncClient):
    """Each request is a task of its own, and ends only in the way in which httpcore can clean up: by anyio's cancel scope. Where a task of asyncio
    is cancelled in the middle of its pool, httpcore leaves the connection there for good, open and of no use."""

    def __init__(self, timeout: float, transport: httpx.AsyncBaseTransport | None) -> None:
        self._context = httpx.create_ssl_context()
        self._given = transport
        super().__init__(headers={"Accept-Encoding": "identity"}, timeout=timeout, verify=self._context)
        self._servers: defaultdict[str, _Server] = defaultdict(lambda: _Server(self._connections))
        self._running: dict[asyncio.Task[httpx.Response], anyio.CancelScope] = {}

    def _connections(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            cookies=CookieJar(DefaultCookiePolicy(netscape=False, rfc2965=False)),
            event_hooks={"response": [_bound]},
            # Nobody waits for a place in the pool: httpcore keeps that of a request which is given up just as it gets one, until none is left.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            transport=self._given,
            verify=self._context,
        )
        return bound_streams(client)

    async def send(self, request: httpx.Request, *, stream: bool = False, **how: Any) -> httpx.Response:
        """As httpx, within MAX_SECONDS, and with the whole answer. Raises what it does, ReadTimeout when they are over."""
        del stream
        scope = anyio.CancelScope(deadline=asyncio.get_running_loop().time() + MAX_SECONDS)
        work = asyncio.create_task(self._whole(request, scope, how))
        self._running[work] = scope
        work.add_done_callback(self._over)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            scope.cancel()
            raise

    def _over(self, work: asyncio.Task[httpx.Response]) -> None:
        del self._running[work]
        if not work.cancelled():
            work.exception()  # whoever waited for it may have been cancelled

    async def _whole(
        self, request: httpx.Request, scope: anyio.CancelScope, how: dict[str, Any]
    ) -> httpx.Response:
        with scope:
            async with self._servers[request.url.netloc.decode("ascii")].connections(request) as client:
                return await client.send(request, **how)
        raise httpx.ReadTimeout("no whole answer in time", request=request)

    async def _end(self) -> None:
        """End what is under way, and every connection."""
        for scope in self._running.values():
            scope.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for server in self._servers.values():
            await server.close()

    async def aclose(self) -> None:
        """Close it."""
        await self._end()
        await super().aclose()

    async def __aexit__(self, *raised: object) -> None:
        await self._end()
        await super().__aexit__(*raised)  # type: ignore[arg-type]


class _Pool:
    """Connections, and how many requests have them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.busy = 0


class _Server:
    """One server: it has so many requests at once, so that one that is silent holds up those to no other. Connections among which a request
    was cut short are used for no new one, and closed with their last: also under a cancel scope httpcore forgets one that was just made."""

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._pool = _Pool(make())

    @asynccontextmanager
    async def connections(self, request: httpx.Request) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one request."""
        made: list[Any] = []

        async def trace(name: str, told: dict[str, Any]) -> None:
            if name == "connection.connect_tcp.complete":
                made.append(told["return_value"])

        request.extensions["trace"] = trace
        async with self._turns:
            pool = self._pool
            pool.busy += 1
            try:
                yield pool.client
            except BaseException:
                if pool is self._pool:
                    self._pool = _Pool(self._make())
                with anyio.CancelScope(shield=True):
                    for stream in made:
                        await stream.aclose()
                raise
            finally:
                pool.busy -= 1
                if pool is not self._pool and not pool.busy:
                    with anyio.CancelScope(shield=True):
                        await pool.client.aclose()

    async def close(self) -> None:
        """Close the connections that are left."""
        await self._pool.client.aclose()


async def _bound(response: httpx.Response) -> None:
    if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        raise httpx.DecodingError("compressed, which was not asked for", request=response.request)
    if not response.is_closed:
        response.stream = _Bounded(response)


class _Bounded(httpx.AsyncByteStream):
    """The stream of an answer that ends with an error where it is too long, and after the bytes that its reader wants at most."""

    def __init__(self, response: httpx.Response) -> None:
        self._request = response.request
        # Each client here is asynchronous, and so is what its answers are read from.
        self._stream = cast("httpx.AsyncByteStream", response.stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, pieces = 0, 0
        async for part in self._stream:
            size += len(part)
            pieces += 1
            if size > MAX_BYTES or pieces > MAX_PIECES:
                raise httpx.DecodingError("too long", request=self._request)
            yield part
            if size > self._request.extensions.get(_MAX_ANSWER, MAX_BYTES):
                return
            if pieces % TURN == 0:
                await asyncio.sleep(0)  # thousands of them may have come at once, and none waits for anything

    async def aclose(self) -> None:
        await self._stream.aclose()


def at_most(limit: int) -> dict[str, Any]:
    """The `extensions` of a request whose reader wants so many bytes of the answer: little more is read of a longer one."""
    return {_MAX_ANSWER: limit}


async def read_bounded(response: httpx.Response, limit: int) -> bytes | None:
    """The body of an answer that was asked for with `at_most`; None when it has more bytes than that. Raises what httpx does."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


class _Transient(ProbeUnavailable):
    """A failure that the next attempt may not have: no connection, time-out, 429, 5xx."""


class JsonSource:
    """One HTTP server below `base` that answers GET requests with JSON. `name` is what people call it."""

    def __init__(
        self, client: httpx.AsyncClient, base: str, clock: Clock, *, name: str, limit: int = LIMIT
    ) -> None:
        self._client = client
        self._base = base.rstrip("/")
        self._clock = clock
        self._name = name
        self._limit = limit

    def fault(self, text: str) -> ProbeUnavailable:
        """An error of this source, to be raised by its reader."""
        return ProbeUnavailable(f"{self._name} {text}", where=self._name.lower())

    async def get(self, path: str, params: Params) -> Any:
        """The decoded body of a 2xx answer. Raises ProbeUnavailable."""
        attempts = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.2, max=2),
            retry=retry_if_exception_type(_Transient),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await attempts(self._once, path, params)

    async def _once(self, path: str, params: Params) -> Any:
        status, body = await self.ask("GET", path, params=httpx.QueryParams(list(params)))
        if 200 <= status < 300:
            return await self.decode(body)
        text = f"answered {status}{_reason(body)}"
        raise self._transient(text) if _may_pass(status) else self.fault(text)

    async def ask(self, method: str, path: str, **request: Any) -> tuple[int, bytes]:
        """One request, as httpx takes it, once: status and body of the answer. Raises ProbeUnavailable."""
        headers = {"Accept": "application/json", **request.pop("headers", {})}
        sent = {"timeout": TIMEOUT, "follow_redirects": False, "headers": headers, **request}
        sent["extensions"] = at_most(self._limit)
        try:
            async with (
                asyncio.timeout(_WHOLE),
                self._client.stream(method, self._base + path, **sent) as response,
            ):
                body = await read_bounded(response, self._limit)
                if body is None:
                    raise self.fault(f"answered with more than {self._limit // 1024 // 1024} MiB")
                return response.status_code, body
        except TimeoutError as e:
            raise self.fault(f"gave no whole answer within {_WHOLE:g} s") from e
        except httpx.TimeoutException as e:
            raise self._transient(f"did not answer within {TIMEOUT:g} s") from e
        except httpx.TransportError as e:
            raise self._transient("could not be reached") from e
        except (httpx.DecodingError, httpx.InvalidURL) as e:
            raise self.fault("gave an answer that could not be read") from e

    async def decode(self, body: bytes) -> Any:
        """The value of a JSON body. Raises ProbeUnavailable."""
        try:
            return await decoded_beside(body, ANSWER)
        except ValueError as e:  # includes UnicodeDecodeError
            raise self.fault("gave an answer that is not JSON") from e

    def _transient(self, text: str) -> _Transient:
        return _Transient(f"{self._name} {text}", code="unreachable", where=self._name.lower())


def _may_pass(status: int) -> bool:
    return status == 429 or status >= 500


def _reason(body: bytes) -> str:
    """The server's own words, redacted and on one line: Prometheus answers `{"error": ...}`, Alertmanager a JSON string."""
    try:
        answer = decoded(body) if len(body) <= PIECE else None
    except ValueError:
        return ""
    text = answer.get("error") if isinstance(answer, dict) else answer
    return f": {in_one_line(text, 200)}" if isinstance(text, str) and text else ""
