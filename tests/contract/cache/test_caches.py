"""What a cache says of itself: the same of a simulated and of a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis import Redis as Client

from app.database.redis import RedisCaches
from app.domain.cache import CacheAddress, Caches, CacheState, CacheTls
from app.domain.errors import ProbeUnavailable
from app.domain.json import Obj
from app.domain.secret import encoded
from app.observe.system import SystemClock
from app.sim import SimCluster, VirtualClock
from app.sim.caches import CacheServer
from tests.births import cluster_of, scenario_of
from tests.contract.cache.certificates import issued
from tests.contract.stores import missing
from tests.live import databases
from tests.live.stores import Redis

PASSWORD = "s3cret-of-the-contract"
_MIB = 1024 * 1024


class Side(Protocol):
    """One cache at `at`, with 64 MiB at most and the policy allkeys-lru, asked 4 times of which 3 hit."""

    caches: Caches
    cluster: SimCluster
    at: CacheAddress


class SimSide:
    """A simulated cache."""

    def __init__(self) -> None:
        server = CacheServer(
            app="redis", user="watcher", password=PASSWORD, used_memory=_MIB, max_memory=64 * _MIB,
            policy="allkeys-lru", hits=3, misses=1,
        )  # fmt: skip
        clock = VirtualClock()
        world = scenario_of("database-connections").model_copy(update={"caches": (server,), "alerts": ()})
        self.cluster = cluster_of(clock, world)
        clock.advance(60)
        self.caches: Caches = self.cluster.caches
        self.at = CacheAddress("rag7", "redis", 6379, "cache-login", "", "user", "password")


class RealSide:
    """A real cache, with a user that may do nothing but INFO."""

    def __init__(self, server: Redis) -> None:
        with Client(port=server.port) as chief:
            chief.acl_setuser(
                "root", enabled=True, reset=True, passwords=[f"+{PASSWORD}"], commands=["+@all"], keys=["*"]
            )
            chief.config_set("maxmemory", 64 * _MIB)
            chief.config_set("maxmemory-policy", "allkeys-lru")
            chief.acl_setuser(
                "watcher", enabled=True, reset=True, passwords=[f"+{PASSWORD}"], commands=["+info"]
            )
            chief.acl_setuser(
                "blind", enabled=True, reset=True, passwords=[f"+{PASSWORD}"], commands=["+ping"]
            )
            chief.config_resetstat()
            chief.set("a", "1")
            for key in ("a", "a", "a", "b"):
                chief.get(key)
        self.cluster = SimCluster(VirtualClock())
        self.caches: Caches = RedisCaches(SystemClock())
        self.at = CacheAddress("rag7", "127.0.0.1", server.port, "cache-login", "", "user", "password")


@pytest.fixture(scope="module")
def redis(request: pytest.FixtureRequest) -> Callable[[], Redis]:
    """A real server, started by the first who asks."""
    started: list[Redis] = []

    def get() -> Redis:
        if databases.find_redis() is None:
            missing("Redis is not here", request)
        if not started:
            server = Redis().start()
            request.addfinalizer(server.close)
            started.append(server)
        return started[0]

    return get


@pytest.fixture(params=["sim", "real"])
def side(request: pytest.FixtureRequest, redis: Callable[[], Redis]) -> Side:
    made: Side = SimSide() if request.param == "sim" else RealSide(redis())
    made.cluster.create(secret(user="watcher", password=PASSWORD, wrong="another", empty=""))
    return made


def secret(**values: str) -> Obj:
    data = {key: encoded(value) for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cache-login", "namespace": "rag7"},
        "data": data,
    }


async def look(side: Side, **changes: Any) -> CacheState:
    return await side.caches.look(side.cluster, replace(side.at, **changes))


async def refused(side: Side, **changes: Any) -> tuple[str, str]:
    """Code and words of the look that is not made; nothing of the login is in the error."""
    with pytest.raises(ProbeUnavailable) as found:
        await look(side, **changes)
    said = f"{found.value!r} {found.value.__cause__!r} {found.value.__context__!r}"
    assert PASSWORD not in said
    return found.value.code, found.value.message


async def test_memory_hits_evictions_policy_and_clients(side: Side) -> None:
    seen = await look(side)
    assert (seen.hit_ratio, seen.hits, seen.misses, seen.evicted) == (0.75, 3, 1, 0)
    assert (seen.max_memory, seen.policy) == (64 * _MIB, "allkeys-lru")
    assert 0 < seen.used_memory < seen.max_memory
    assert seen.fullness is not None
    assert seen.clients >= 1
    assert seen.max_clients == 10_000
    assert seen.version.startswith("7.")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"password_key": "wrong"}, "login_refused", "refuses the login of the Secret"),
        ({"secret": "", "user_key": "", "password_key": ""}, "login_refused", "refuses the login"),
        ({"password_key": "nope"}, "no_login", "has no key nope"),
        ({"secret": "nope"}, "no_login", "cannot be read"),
        ({"host": "no-such-host.invalid"}, "unreachable", "its name could not be resolved"),
    ],
)
async def test_promise_4_a_look_that_cannot_be_made_says_why(
    side: Side, redis: Callable[[], Redis], changes: dict[str, Any], code: str, words: str
) -> None:
    if isinstance(side, RealSide):
        _strangers(redis(), enabled=False)
    try:
        found = await refused(side, **changes)
    finally:
        if isinstance(side, RealSide):
            _strangers(redis(), enabled=True)
    assert found[0] == code, found
    assert words in found[1]


def _strangers(server: Redis, *, enabled: bool) -> None:
    """Whether the server lets in who has no login."""
    with Client(port=server.port, username="root", password=PASSWORD) as chief:
        chief.acl_setuser("default", enabled=enabled, nopass=enabled, commands=["+@all"], keys=["*"])


async def test_a_login_that_may_not_ask_is_refused_and_not_called_down(redis: Callable[[], Redis]) -> None:
    real = RealSide(redis())
    real.cluster.create(secret(user="blind", password=PASSWORD))
    assert (await refused(real))[0] == "login_refused"


async def test_a_port_where_nobody_listens_says_nothing_of_the_cache(redis: Callable[[], Redis]) -> None:
    real = RealSide(redis())
    real.cluster.create(secret(user="watcher", password=PASSWORD))
    assert await refused(real, host="127.0.0.1", port=1) == ("unreachable", "the connection was refused")


async def test_a_url_tells_host_login_and_encryption_and_a_broken_one_is_not_repeated(
    redis: Callable[[], Redis],
) -> None:
    real = RealSide(redis())
    url = f"redis://watcher:{PASSWORD}@127.0.0.1:{redis().port}/0"
    broken = f"http://watcher:{PASSWORD}@x"
    real.cluster.create(secret(url=url, odd=f"redis://{PASSWORD}:{PASSWORD}@x:port", other=broken))
    assert (await look(real, host="", port=0, url_key="url")).hits == 3
    for key in ("odd", "other"):
        code, words = await refused(real, host="", port=0, url_key=key)
        assert (code, words) == (
            "no_login",
            f"Secret rag7/cache-login has no redis:// or rediss:// URL under {key}",
        )


@pytest.fixture(scope="module")
def encrypted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Redis, int, Path]]:
    """A server that also listens for TLS, its port, and the folder with the certificates."""
    from tests.live.process import free_ports

    if databases.find_redis() is None:
        missing("Redis is not here", request)
    folder = tmp_path_factory.mktemp("certificates")
    issued(folder)
    port = free_ports(1)[0]
    more = {
        "--tls-port": str(port),
        "--tls-cert-file": str(folder / "server.pem"),
        "--tls-key-file": str(folder / "server.key"),
        "--tls-ca-cert-file": str(folder / "authority.pem"),
        "--tls-auth-clients": "no",
    }
    with Redis(more=more) as server:
        yield server, port, folder


async def test_a_server_is_trusted_by_the_certificates_of_the_secret_alone(
    encrypted: tuple[Redis, int, Path],
) -> None:
    """The certificate is for localhost: another name is refused, and so is an authority that nobody named."""
    _, port, folder = encrypted
    cluster, caches = SimCluster(VirtualClock()), RedisCaches(SystemClock())
    cluster.create(secret(ca=(folder / "authority.pem").read_text("utf-8")))
    full = CacheAddress("rag7", "localhost", port, "cache-login", tls=CacheTls.VERIFY_FULL, ca_key="ca")
    assert (await caches.look(cluster, full)).clients >= 1
    assert (await caches.look(cluster, replace(full, host="127.0.0.1", tls=CacheTls.REQUIRE))).clients >= 1
    for wrong in (replace(full, host="127.0.0.1"), replace(full, secret="", ca_key="")):
        with pytest.raises(ProbeUnavailable) as found:
            await caches.look(cluster, wrong)
        assert (found.value.code, found.value.message) == (
            "unreachable",
            "no encrypted connection could be made",
        )
