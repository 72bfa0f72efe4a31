"""HTTP health checks over the network: one bounded GET to a Service's cluster IP.

Built by the composition root. Follows no redirect, sends no credential, goes through no proxy of the environment, reads of the
body only so much that the server can finish an ordinary answer, and repeats nothing of it. Never writes.
"""

from __future__ import annotations

import asyncio

import httpx

from app.domain.http_check import HttpAddress, HttpAnswer, ServedCertificate
from app.domain.ports import Clock
from app.observe.bounded_streams import bound_streams
from app.observe.http_json import TURN
from app.observe.tls_check import served

TIMEOUT = 3.0
"""Seconds for the whole check: connect, ask, answer."""
_BODY = 64 * 1024
"""Bytes of the body that are read, and dropped."""
MAX_PIECES = 1_000
"""Pieces of the body: a server that sends bytes one by one would hold the event loop."""


class HttpxChecks:
    """The port `HttpChecks`. Each check has a connection of its own: what another check left open says nothing about it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def get(self, address: HttpAddress) -> HttpAnswer:
        """See the port."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await self._status(address)
        except (TimeoutError, httpx.TimeoutException):
            return HttpAnswer(None, f"no answer within {TIMEOUT:g} s")
        except httpx.ConnectError:
            return HttpAnswer(None, "no connection")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
            return HttpAnswer(None, "no usable answer")
        return HttpAnswer(status, milliseconds=round((self._clock.monotonic() - began) * 1000, 1))

    async def certificate(self, address: HttpAddress, name: str) -> ServedCertificate:
        """See the port."""
        return await served(address, name, TIMEOUT)

    async def _status(self, address: HttpAddress) -> int:
        path, _, query = address.path.partition("?")
        url = httpx.URL(
            scheme="http", host=address.ip, port=address.port, path=path, query=query.encode() or None
        )
        headers = {"Host": f"{address.service}.{address.namespace}", "User-Agent": "alert-remediator"}
        async with (
            bound_streams(httpx.AsyncClient(trust_env=False, verify=False)) as client,  # noqa: S501 - plain HTTP only
            client.stream("GET", url, headers=headers, follow_redirects=False, timeout=TIMEOUT) as response,
        ):
            size = pieces = 0
            async for part in response.aiter_raw():
                size, pieces = size + len(part), pieces + 1
                if size > _BODY or pieces > MAX_PIECES:
                    break
                if pieces % TURN == 0:
                    await asyncio.sleep(0)
            return response.status_code
