"""Serving: one service on one uvicorn server, from start to a clean stop. Called by the commands and by the demo."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial

import structlog
import uvicorn

from app.domain.errors import BadInput, RemediatorError
from app.flow.upkeep.supervisor import Task
from app.main import Parts, Service, build, describe, replica_name
from app.observe import logs
from app.settings import Settings
from app.store.exclusive import Hold, only_process, taken
from app.store.probe import lacking_of_all
from app.web.connections import LIMITS, ConnectionLimits, GuardedProtocol
from app.web.turns import Turns

log = structlog.get_logger(__name__)

_KEPT = 5.0  # seconds between looks at whether this process is still the only one of its name

_OF_THE_PORT = frozenset({errno.EADDRINUSE, errno.EACCES})
"""What another port mends; with all else it is the address."""

_SWITCH = 0.0005
"""Seconds after which a thread that computes (long bodies, redaction, a policy) gives way to the loop; Python's own 5 ms would be waited
for several times an answer."""


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and tells when it has begun to accept."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        self.up.set()

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `should_exit`. Not `serve`, which would take the process's signals away from us."""
        await self._serve([listener])


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, parts: Parts | None = None, limits: ConnectionLimits = LIMITS
) -> AsyncIterator[tuple[Service, str]]:
    """Run a service inside the block; gives it and its URL. Raises BadInput when the address cannot be bound."""
    async with contextlib.AsyncExitStack() as closing:
        listener = closing.enter_context(bind(settings.host, settings.port))
        service = await build(settings, parts)
        closing.push_async_callback(service.stop)
        await service.start()
        await closing.enter_async_context(_accepting(service, listener, limits))
        host, port = listener.getsockname()[:2]
        yield service, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def _accepting(
    service: Service, listener: socket.socket, limits: ConnectionLimits
) -> AsyncIterator[None]:
    sys.setswitchinterval(_SWITCH)
    config = uvicorn.Config(
        service.app,
        log_config=None,
        access_log=False,
        ws="none",  # no route speaks WebSocket, so no handshake is parsed
        proxy_headers=False,  # nothing here depends on the client's address
        lifespan="off",
        http=partial(GuardedProtocol, limits=limits, waiting={}, turns=Turns()),  # type: ignore[arg-type]  # called as a class is
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    task, up = asyncio.create_task(server.run_on(listener)), asyncio.create_task(server.up.wait())
    try:
        await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        up.cancel()
        server.should_exit = True
        await task


def _has_ipv6() -> bool:
    """A kernel that was started without IPv6 (`ipv6.disable=1`) makes no such socket at all."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 as well, where the system can, and IPv4 alone on a node whose kernel has no IPv6. Raises BadInput
    naming the setting that is at fault."""
    if host == "::" and not _has_ipv6():
        host = "0.0.0.0"  # noqa: S104 - what :: asks for, as far as it is there
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        why = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        where = "REMEDIATOR_PORT" if getattr(error, "errno", None) in _OF_THE_PORT else "REMEDIATOR_HOST"
        raise BadInput(f"cannot bind {at}: {why}", code="bad_setting", where=where) from error


_ARENA_MAX, _ARENAS = -8, 2


def _few_arenas() -> None:
    """Each thread that allocates gets an arena of its own from glibc, and a burst of posts leaves all of them full of holes. One for the loop and one
    for the threads beside it do. Where the C library is another one it has no such thing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)


async def run_service(settings: Settings, parts: Parts | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Raises BadInput (code `already_running`) when another process has the store, or has
    taken it while the database restarted."""
    _few_arenas()
    logs.configure()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    os.umask(0o077)  # whatever this process writes is its user's only, also the engine's files
    async with contextlib.AsyncExitStack() as closing:
        hold = closing.enter_context(only_process(settings.store_url, replica_name(settings)))
        service, url = await closing.enter_async_context(serving(settings, parts))
        lost = _keep_alone(service, hold, stop)
        log.info("serving", url=url, **describe(service))
        await _say_what_the_role_lacks(service)
        # What was imported and built stays: without this every full collection walks it and holds up all requests.
        gc.collect()
        gc.freeze()
        await stop.wait()
        log.info("stopping")
    if lost:
        raise taken(replica_name(settings))


async def _say_what_the_role_lacks(service: Service) -> None:
    """Rights of retention too, which readiness leaves out: that they are missing would show in weeks, when the first record is old."""
    try:
        lacking = await service.services.store.read(lacking_of_all)
    except RemediatorError as error:
        log.error("database_rights_unknown", reason=error.message)
        return
    if lacking:
        log.error(
            "database_rights_missing", lacking=lacking, fix="remediator doctor prints the GRANT for each"
        )


def _keep_alone(service: Service, hold: Hold, stop: asyncio.Event) -> list[str]:
    """Keep the lock of this replica's name, also over a restart of the database. Where another process has taken it
    meanwhile, this one stops; what is returned then names the loss."""
    lost: list[str] = []

    async def keep() -> int:
        if not lost and not await asyncio.to_thread(hold):
            lost.append("replica")
            log.error("another_process_has_this_name", replica=service.services.replica)
            stop.set()
        return 0

    service.supervisor.start(Task("alone", keep, _KEPT))
    return lost
