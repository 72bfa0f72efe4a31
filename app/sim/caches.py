"""Redis caches of a simulated world: how full, how often hit, how many clients.

Implements the port `Caches` for demo, rehearsal and tests; the contract tests hold it to what a real server says. A server answers while
a pod of its `app` is ready, and counts from the start of the scenario. The Secret is read as the real door reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from pydantic import Field

from app.domain.cache import CacheAddress, CacheState
from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable, RemediatorError
from app.sim.asking import Asking
from app.sim.faults import Request
from app.sim.kubelet import Kubelet
from app.sim.logins import login_values
from app.sim.units import Bytes, Seconds, Strict
from app.sim.world import World


class CacheServer(Strict):
    """One cache: the pods with the label `app` are it. With a `password` it lets nobody in without."""

    app: str
    user: str = "default"
    password: str = ""
    used_memory: Bytes = 40 * 1024**2
    max_memory: Bytes = 0
    policy: str = "noeviction"
    hits: int = Field(default=0, ge=0)
    misses: int = Field(default=0, ge=0)
    evicted: int = Field(default=0, ge=0)
    clients: int = Field(default=1, ge=1)
    max_clients: int = Field(default=10_000, ge=1)
    uptime: Seconds = 86_400.0


class SimCaches:
    """The port, for the servers of a scenario; the address' host chooses by its first label, the `app` of the pods."""

    def __init__(
        self, place: tuple[World, Kubelet, str], servers: Sequence[CacheServer], ask: Asking
    ) -> None:
        self._world, self._kubelet, self._namespace = place
        self._servers = {server.app: server for server in servers}
        self._ask = ask

    async def look(self, cluster: Cluster, at: CacheAddress) -> CacheState:
        """See the port."""
        user, password, host = await _login(cluster, at)
        server = self._servers.get((at.host or host).partition(".")[0])
        if server is None:
            raise _unreachable("its name could not be resolved", at)
        try:
            return await self._ask(
                Request("info", None, at.namespace, str(at)), lambda: self._look(server, (user, password), at)
            )
        except ProbeUnavailable:
            raise
        except RemediatorError as error:  # a fault of the world is one of the way to the server
            raise _unreachable("the connection was refused", at) from error

    def _look(self, server: CacheServer, login: tuple[str, str], at: CacheAddress) -> CacheState:
        if not any(run.ready(self._world.time) for run in self._kubelet.runs(self._namespace, server.app)):
            raise _unreachable("the connection was refused", at)
        # A server without a password takes any for its default user.
        if server.password and login != (server.user, server.password):
            text = "the server answers, and refuses the login of the Secret"
            raise ProbeUnavailable(text, code="login_refused", where=str(at))
        if server.clients > server.max_clients:
            raise ProbeUnavailable("the server has no free connection", code="exhausted", where=str(at))
        return CacheState(
            version="7.0.15 (simulated)",
            uptime=server.uptime,
            used_memory=server.used_memory,
            max_memory=server.max_memory,
            policy=server.policy,
            hits=server.hits,
            misses=server.misses,
            evicted=server.evicted,
            clients=server.clients,
            max_clients=server.max_clients,
            milliseconds=1.0,
        )


async def _login(cluster: Cluster, at: CacheAddress) -> tuple[str, str, str]:
    """User, password and host that the Secret tells. Raises ProbeUnavailable."""
    keys = [k for k in ([at.url_key] if at.url_key else [at.user_key, at.password_key]) if k]
    if not at.secret or not keys:
        return "default", "", ""
    values = await login_values(cluster, at.namespace, at.secret, keys, str(at))
    if not at.url_key:
        return values.get(at.user_key, "default"), values.get(at.password_key, ""), ""
    url = urlsplit(values[at.url_key])
    return unquote(url.username or "") or "default", unquote(url.password or ""), url.hostname or ""


def _unreachable(text: str, at: CacheAddress) -> ProbeUnavailable:
    return ProbeUnavailable(text, code="unreachable", where=str(at))


__all__ = ["CacheServer", "SimCaches"]
