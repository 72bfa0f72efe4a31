"""Serving: one service on one uvicorn server, from start to a clean stop. Called by the commands and by the demo."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator

import structlog
import uvicorn

from app.domain.errors import BadInput
from app.main import Parts, Service, build, describe
from app.observe import logs
from app.settings import Settings

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def serving(settings: Settings, parts: Parts | None = None) -> AsyncIterator[tuple[Service, str]]:
    """Run a service inside the block; gives it and its URL. Raises BadInput when the address cannot be bound."""
    listener = bind(settings.host, settings.port)
    service = await build(settings, parts)
    await service.start()
    config = uvicorn.Config(
        service.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,unused-ignore]
    task = asyncio.create_task(_serve(server, listener))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        host, port = listener.getsockname()[:2]
        yield service, f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task
        await service.stop()


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await server._serve([listener])  # noqa: SLF001 - `serve` would take the process's signals away from us


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises BadInput naming the setting."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise BadInput(
            f"cannot bind {host}:{port}: {error.strerror}", code="bad_setting", where="REMEDIATOR_PORT"
        ) from error


async def run_service(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    logs.configure()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as (service, url):
        log.info("serving", url=url, **describe(service))
        await stop.wait()
        log.info("stopping")
