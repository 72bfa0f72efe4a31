"""What a cache says of itself: how often it hits, how full it is, whether it evicts.

Called by the handler of rate limits: what the cache does not answer is asked of the provider. A look that cannot be made is unknown, and
no word on the cache. Data of `cache.state`: `code` (empty, or why nobody could look), `troubles` (sentences), and the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.domain.cache import CacheAddress, Caches, CacheState
from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from remediations.evidence.looks import not_looked
from remediations.evidence.usage import memory, percent, span

CACHE = "cache.state"
_TOLD = frozenset({"exhausted", "loading"})
"""Codes of a failed look that are the server's own word on what is wrong."""
_ENOUGH = 1_000
"""Lookups below which a hit ratio says nothing."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """From when on something is wrong: a share of hits below, shares of memory and of clients above."""

    hits: float
    full: float
    clients: float


async def cache_finding(
    source: Caches | None, cluster: Cluster, at: CacheAddress, limits: CacheLimits
) -> Finding:
    """The finding `cache.state`."""
    if source is None or not (at.host or at.secret):
        why = "no cache is named in the rule's params" if source else "no cache can be asked"
        return Finding(
            CACHE,
            f"The cache was not looked at: {why}",
            Certainty.UNKNOWN,
            {"code": "no_login", "troubles": []},
        )
    try:
        seen = await source.look(cluster, at)
    except ProbeUnavailable as error:
        troubles: list[JsonValue] = [error.message] if error.code in _TOLD else []
        return not_looked(CACHE, at, error, _TOLD, {"troubles": troubles})
    return _told(at, seen, limits)


def _told(at: CacheAddress, seen: CacheState, limits: CacheLimits) -> Finding:
    troubles: list[JsonValue] = list(_troubles(seen, limits))
    ratio = (
        "no lookup yet"
        if seen.hit_ratio is None
        else f"{percent(seen.hit_ratio)} of {seen.hits + seen.misses:,} lookups hit"
    )
    room = (
        "without a limit"
        if seen.fullness is None
        else f"of {memory(seen.max_memory)} ({percent(seen.fullness)})"
    )
    text = f"{at} answers in {seen.milliseconds:.0f} ms: {ratio}, {memory(seen.used_memory)} {room}, policy {seen.policy}"
    details = (
        f"Redis {seen.version}, up for {span(seen.uptime)}",
        f"{seen.evicted:,} keys evicted since it started",
        f"{seen.clients:,} clients" + (f" of {seen.max_clients:,}" if seen.max_clients else ""),
    )
    data: dict[str, JsonValue] = {
        "code": "", "troubles": troubles, "hit_ratio": seen.hit_ratio, "fullness": seen.fullness,
        "evicted": seen.evicted, "clients": seen.clients, "policy": seen.policy,
    }  # fmt: skip
    return Finding(CACHE, text, data=data, details=details)


def _troubles(seen: CacheState, limits: CacheLimits) -> Iterator[str]:
    """One sentence each: what is wrong, in numbers, and what to do."""
    asked, full = seen.hits + seen.misses, seen.fullness or 0.0
    if full >= limits.full and seen.policy == "noeviction":
        yield (
            f"its memory is {percent(full)} full and its policy is noeviction, so that it refuses writes: raise maxmemory,"
            " or set maxmemory-policy to allkeys-lru where everything in it is a cache"
        )
    elif full >= limits.full and seen.evicted:
        yield (
            f"its memory is {percent(full)} full and it has evicted {seen.evicted:,} keys under {seen.policy} in {span(seen.uptime)}:"
            " raise maxmemory, or cache less"
        )
    if asked >= _ENOUGH and seen.hit_ratio is not None and seen.hit_ratio < limits.hits:
        yield (
            f"only {percent(seen.hit_ratio)} of {asked:,} lookups hit: look at what the keys are made of and at their expiry,"
            " for each miss is a request to the provider"
        )
    if seen.max_clients and seen.clients >= limits.clients * seen.max_clients:
        yield f"{seen.clients:,} of {seen.max_clients:,} clients are connected: find who leaks connections, or raise maxclients"
