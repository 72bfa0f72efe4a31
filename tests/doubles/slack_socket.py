"""Slack's side of Socket Mode on loopback: opens connections, sends envelopes, and notes when they are acknowledged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web

APP_TOKEN = "xapp-4Kq9vT2m-double"


class SocketDouble:
    """`refusals` is how often the next apps.connections.open fails; `log` is what happened, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.refusals = 0
        self.opened = 0
        self._numbers = count(1)
        self._sockets: list[web.WebSocketResponse] = []
        self._acks: dict[str, asyncio.Event] = {}
        self._connected = asyncio.Event()
        self.url = ""

    async def open(self, request: web.Request) -> web.Response:
        """apps.connections.open."""
        if request.headers.get("Authorization") != f"Bearer {APP_TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"ok": False, "error": "internal_error"})
        self.opened += 1
        return web.json_response({"ok": True, "url": f"{self.url}/link?ticket=secret-{self.opened}"})

    async def link(self, request: web.Request) -> web.WebSocketResponse:
        """The connection itself."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        self._connected.set()
        await socket.send_json({"type": "hello", "num_connections": 1})
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                envelope = json.loads(message.data)["envelope_id"]
                self.log.append(f"acknowledged {envelope}")
                self._acks[envelope].set()
        return socket

    async def connected(self) -> None:
        """Wait for a connection."""
        await self._connected.wait()

    async def send(self, payload: dict[str, Any], *, kind: str = "interactive") -> str:
        """Send an envelope and wait for its acknowledgement; returns its id."""
        envelope = f"env-{next(self._numbers)}"
        self._acks[envelope] = asyncio.Event()
        body = {
            "envelope_id": envelope,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": False,
        }
        await self._sockets[-1].send_json(body)
        await self._acks[envelope].wait()
        return envelope

    async def refresh(self) -> None:
        """Ask the client to open a new connection, as Slack does every few hours, and wait for it."""
        self._connected.clear()
        await self._sockets[-1].send_json({"type": "disconnect", "reason": "refresh_requested"})
        await self._connected.wait()

    async def cut(self) -> None:
        """Close every connection."""
        self._connected.clear()
        for socket in self._sockets:
            await socket.close()


@asynccontextmanager
async def serving(double: SocketDouble) -> AsyncIterator[str]:
    """Serve on a free loopback port; gives the base URL of the Web API."""
    app = web.Application()
    app.router.add_post("/api/apps.connections.open", double.open)
    app.router.add_get("/link", double.link)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        double.url = f"ws://{host}:{port}"
        yield f"http://{host}:{port}/api/"
    finally:
        await double.cut()
        await runner.cleanup()
