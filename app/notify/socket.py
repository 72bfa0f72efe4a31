"""Socket Mode: button clicks over a connection that we open, for clusters that Slack cannot reach.

Started and stopped by the composition root. Every envelope is acknowledged first and then handed on; the same click may
come again when the acknowledgement was lost, which the receiver must bear. Never decides anything and never lets the
connection's ticket into a log.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from app.notify.client import Retry

log = structlog.get_logger(__name__)

_INTERACTIVE = "interactive"
_TICKET = re.compile(r"(?<=ticket=)[^&\s'\"]+")


class _WithoutTickets(logging.Filter):
    """The library logs the address of the connection when it fails, and the address is the key to it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, without the ticket."""
        record.msg = _TICKET.sub("[redacted]", record.getMessage())
        record.args = ()
        if record.exc_info:
            record.exc_info = None
        return True


class SocketMode:
    """One connection; the library keeps it open and opens a new one when Slack says so.

    `receive` gets the payload of an interaction. `ping` is in seconds: how often the connection is tried.
    """

    def __init__(
        self,
        *,
        app_token: str,
        base_url: str,
        receive: Callable[[Any], Awaitable[None]],
        ping: float = 5.0,
        timeout: int = 10,
    ) -> None:
        self._token = app_token
        self._web = AsyncWebClient(base_url=base_url, timeout=timeout, retry_handlers=[])
        self._receive = receive
        self._ping = ping
        self._client: SocketModeClient | None = None
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background: a Slack that is away must not hold up the service."""
        quiet = logging.getLogger(f"{__name__}.library")
        if not any(isinstance(f, _WithoutTickets) for f in quiet.filters):
            quiet.addFilter(_WithoutTickets())
        client = SocketModeClient(
            self._token, logger=quiet, web_client=self._web, ping_interval=self._ping, trace_enabled=False
        )
        client.socket_mode_request_listeners.append(self._take)
        self._client = client
        self._connecting = asyncio.create_task(client.connect(), name="slack-socket")  # type: ignore[no-untyped-call]

    async def look(self) -> int:
        """Open the connection when there is none, and begin anew when one of its tasks has ended. Raises Retry while no
        connection stands: clicks do not arrive then."""
        if self._client is None:
            self.start()
            return 0
        if self._client.message_processor.done() or (self._ended() and not self.connected):
            await self.stop()
            self.start()
            raise Retry("the connection for Slack's clicks ended and is opened anew", code="socket_ended")
        if not self.connected:
            raise Retry("there is no connection for Slack's clicks", code="socket_away")
        return 0

    def _ended(self) -> bool:
        """Nobody is left who would open a new connection."""
        monitor = self._client.current_session_monitor if self._client else None
        connecting = self._connecting is not None and not self._connecting.done()
        return not connecting and (monitor is None or monitor.done())

    async def stop(self) -> None:
        """Close the connection; clicks that come meanwhile stay with Slack, which tells their clicker."""
        client, connecting = self._client, self._connecting
        if client is None or connecting is None:
            return
        client.closed = True
        connecting.cancel()
        tasks = [connecting, client.message_processor]
        tasks += [t for t in (client.current_session_monitor, client.message_receiver) if t is not None]
        await client.close()  # type: ignore[no-untyped-call]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._client = self._connecting = None

    @property
    def connected(self) -> bool:
        """A connection stands."""
        session = self._client.current_session if self._client else None
        return session is not None and not session.closed

    async def _take(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        try:
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
        except (ConnectionError, aiohttp.ClientError) as error:
            # Slack sends it again, which is harmless; not to deal with it now could be too late for the question.
            log.warning("envelope_not_acknowledged", error=type(error).__name__)
        if request.type == _INTERACTIVE:
            await self._receive(request.payload)
