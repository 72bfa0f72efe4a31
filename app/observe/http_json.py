"""Reading JSON over HTTP from a source of evidence: bounded in time, size and attempts, reads only.

Used by the Prometheus and the Alertmanager client, and by that of an OpenID provider. Every failure becomes ProbeUnavailable with the source's name, and
never with its URL, which may carry credentials. Never writes, never follows a redirect.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from app.domain.errors import ProbeUnavailable
from app.domain.json import ANSWER, decoded, decoded_beside
from app.domain.pieces import PIECE
from app.domain.ports import Clock
from app.domain.redact import in_one_line

TIMEOUT = 5.0
"""Seconds that one attempt may take to connect, and again to send each part of its answer."""
_WHOLE = 8.0
"""Seconds that one attempt may take in all. One that takes longer is not tried again: the investigation has half a minute for all it reads."""
LIMIT = 8 * 1024 * 1024
"""Bytes of an answer that are read unless a source has a limit of its own; a query that returns more is too wide to be
evidence."""

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of any answer at all; each reader of JSON has a lower limit."""
MAX_AT_ONCE = 32
"""Requests to one server whose answers have not begun."""
MAX_SECONDS = 15.0
"""From a request to the last byte of its answer."""

_ATTEMPTS = 3
Params = Sequence[tuple[str, str]]


def bounded_client(**options: Any) -> httpx.AsyncClient:
    """The client for all of this service's own requests: no answer of it takes more than MAX_BYTES bytes, or MAX_SECONDS from the request to
    its last byte. It asks for no compression and takes none, as a few bytes of a compressed answer can be gigabytes, which httpx would
    unpack before anybody can look at their size."""
    hooks = {"response": [_bound]}
    # Nobody waits for a place in the pool: httpcore keeps that of a request which is given up just as it gets one, until none is left.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return _Client(headers={"Accept-Encoding": "identity"}, event_hooks=hooks, limits=limits, **options)


class _Client(httpx.AsyncClient):
    """httpx's time-outs are for each part of an answer: one that drips would hold whoever waits for it for ever. Each server has so many
    requests at once, so that one that is silent holds up those to no other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MAX_AT_ONCE))

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """As httpx, within MAX_SECONDS. Raises what it does, ReadTimeout when they are over."""
        request.extensions["until"] = asyncio.get_running_loop().time() + MAX_SECONDS
        async with _until(request), self._turns[request.url.netloc.decode("ascii")]:
            return await super().send(request, **how)


@asynccontextmanager
async def _until(request: httpx.Request) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(request.extensions["until"]):
            yield
    except TimeoutError as error:
        raise httpx.ReadTimeout("no whole answer in time", request=request) from error


async def _bound(response: httpx.Response) -> None:
    if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        raise httpx.DecodingError("compressed, which was not asked for", request=response.request)
    if not response.is_closed:
        response.stream = _Bounded(response)


class _Bounded(httpx.AsyncByteStream):
    """The stream of an answer that ends with an error where it is too long."""

    def __init__(self, response: httpx.Response) -> None:
        self._request = response.request
        # Each client here is asynchronous, and so is what its answers are read from.
        self._stream = cast("httpx.AsyncByteStream", response.stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, parts = 0, aiter(self._stream)
        while True:
            async with _until(self._request):
                part = await anext(parts, None)
            if part is None:
                return
            size += len(part)
            if size > MAX_BYTES:
                raise httpx.DecodingError("too long", request=self._request)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def read_bounded(response: httpx.Response, limit: int) -> bytes | None:
    """The body of a streamed answer; None when it has more bytes than that, of which no more are read. Raises what httpx does."""
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
