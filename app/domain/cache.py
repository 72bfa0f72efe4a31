"""The port to a Redis cache: where it is, and what it says of itself. Implemented by `app.database.redis` (real) and `app.sim`.

Owns the words. An address names the Secret with the login and never holds a value of it. Nothing here changes a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.domain.cluster import Cluster


class CacheTls(StrEnum):
    """How a connection is encrypted, and whether the server's certificate and name are checked."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class CacheAddress:
    """Where a cache is and where its login stands. An empty `host` or port 0 is the one of the URL under `url_key`. Without a
    `secret` there is no login; with an empty `url_key` user and password stand under their own keys, where an empty key means
    that there is none. `ca_key`: certificates to trust, in the same Secret."""

    namespace: str
    host: str
    port: int = 0
    secret: str = ""
    url_key: str = ""
    user_key: str = ""
    password_key: str = ""
    tls: CacheTls = CacheTls.DISABLE
    ca_key: str = ""

    def __str__(self) -> str:
        place = f"{self.host}:{self.port}" if self.host and self.port else self.host
        return place or f"the cache of Secret {self.secret}"


@dataclass(frozen=True, slots=True)
class CacheState:
    """One look at a server. Memory in bytes; `max_memory` 0 means no limit. `hits`, `misses` and `evicted` count since it started,
    `uptime` seconds ago. `max_clients` is None where the server does not say."""

    version: str
    uptime: float
    used_memory: int
    max_memory: int
    policy: str
    hits: int
    misses: int
    evicted: int
    clients: int
    max_clients: int | None
    milliseconds: float = 0.0

    @property
    def hit_ratio(self) -> float | None:
        """Part of the lookups that found something; None before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    @property
    def fullness(self) -> float | None:
        """Part of the allowed memory that is used; None without a limit."""
        return self.used_memory / self.max_memory if self.max_memory else None


class Caches(Protocol):
    """All Redis servers that rules name. The login is read through the cluster given, by `get` on the one Secret.

    Raises ProbeUnavailable for whatever keeps a look from being made (code `no_login`, `login_refused`, `unreachable`,
    `exhausted`: the server said that no connection is free; `loading`: it said that it reads its data; `query_failed`). Nothing of
    the login is in an error.
    """

    async def look(self, cluster: Cluster, at: CacheAddress) -> CacheState:
        """Connect, ask, disconnect."""
        ...
