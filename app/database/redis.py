"""One look at a Redis cache: connect, one INFO, disconnect.

Built by the composition root; handlers go through the port `Caches`. Short time-outs; a connection that fails says nothing about the
server. Errors are worded here, and never hold a text of the client library: it may repeat the login. Never writes to a cache, and reads
no key of it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from app.database.secret import missing, values_of
from app.domain.cache import CacheAddress, CacheState, CacheTls
from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable
from app.domain.odd_servers import ODD
from app.domain.ports import Clock
from app.domain.redact import in_one_line
from app.domain.urls import is_host

TIMEOUT: Final = 5.0
"""Seconds for the whole look."""
_PORT = 6379
_SCHEMES: Final = {"redis": CacheTls.DISABLE, "rediss": CacheTls.VERIFY_FULL}
_ORDER = tuple(CacheTls)
_LONGEST = 64
_MAX_NUMBER = 2**64

Options = dict[str, Any]


class RedisCaches:
    """The port, for real servers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def look(self, cluster: Cluster, at: CacheAddress) -> CacheState:
        """See the port."""
        options = await _options(cluster, at)
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                info = await _info(at, options)
        except TimeoutError:
            text = f"no answer within {TIMEOUT:g} s"
            raise ProbeUnavailable(text, code="unreachable", where=str(at)) from None
        spent = (self._clock.monotonic() - began) * 1000
        try:
            return _state(info, round(spent, 1))
        except ODD:
            text = "the server answers, and its INFO lacks what is looked for"
            raise ProbeUnavailable(text, code="query_failed", where=str(at)) from None


async def _options(cluster: Cluster, at: CacheAddress) -> Options:
    """What the client library is told. Raises ProbeUnavailable (`no_login`)."""
    keys = [k for k in ([at.url_key] if at.url_key else [at.user_key, at.password_key]) if k]
    keys += [at.ca_key] if at.ca_key else []
    values = await values_of(cluster, at.namespace, at.secret, keys, str(at)) if at.secret and keys else {}
    host, port, tls = at.host, at.port, at.tls
    user, password = values.get(at.user_key, ""), values.get(at.password_key, "")
    if at.secret and at.url_key:
        try:
            url = urlsplit(values[at.url_key])
            host, port = at.host or url.hostname or "", at.port or url.port or _PORT
            tls = max(at.tls, _SCHEMES[url.scheme], key=_ORDER.index)
            user, password = unquote(url.username or ""), unquote(url.password or "")
            if "@" in f"{url.path}{url.query}{url.fragment}":
                raise ValueError  # what stands before it may be a part of a password, and no host
        except (KeyError, ValueError):  # the cause would show the value
            text = f"has no redis:// or rediss:// URL under {at.url_key}"
            raise missing(at.namespace, at.secret, text, str(at)) from None
    if host and not is_host(host):
        raise ProbeUnavailable("what is named can be no host", code="no_login", where=str(at))
    if not host:
        raise ProbeUnavailable("no host is named", code="no_login", where=str(at))
    login = {"username": user or None, "password": password or None}
    return {"host": host, "port": port or _PORT, **login, **_encryption(tls, values.get(at.ca_key, ""))}


def _encryption(tls: CacheTls, authority: str) -> Options:
    if tls is CacheTls.DISABLE:
        return {}
    checked = tls is CacheTls.VERIFY_FULL
    options: Options = {
        "ssl": True,
        "ssl_cert_reqs": "required" if checked else "none",
        "ssl_check_hostname": checked,
    }
    return {**options, "ssl_ca_data": authority} if checked and authority else options


async def _info(at: CacheAddress, options: Options) -> Mapping[str, Any]:
    # Imported by the first look at a cache: it would be a tenth of every start.
    from redis import exceptions as faults
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    client = Redis(
        **options,
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        found: Mapping[str, Any] = await client.info()
        return found
    except (faults.AuthenticationError, faults.AuthorizationError, faults.NoPermissionError):
        words, code = "the server answers, and refuses the login of the Secret", "login_refused"
    except faults.BusyLoadingError:
        words, code = "the server is reading its data into memory", "loading"
    except (faults.ConnectionError, faults.TimeoutError, OSError, ssl.SSLError, UnicodeError) as error:
        words, code = _said(error)  # a UnicodeError: the name is none that can be resolved
    except faults.RedisError as error:
        words, code = _said(error)
        if code == "unreachable":  # it answered, and none of the words that we know
            words, code = f"the server answers, and INFO failed ({type(error).__name__})", "query_failed"
    except ODD:
        words, code = "what answers there is no Redis", "query_failed"
    finally:
        with suppress(faults.RedisError, OSError):
            await client.aclose()
    raise ProbeUnavailable(words, code=code, where=str(at))


def _said(error: Exception) -> tuple[str, str]:
    """What a failed connection says, in our words."""
    text = str(error)
    if "max number of clients" in text:
        return "the server has no free connection", "exhausted"
    if "NOAUTH" in text or "WRONGPASS" in text or "invalid username-password" in text:
        return "the server answers, and refuses the login of the Secret", "login_refused"
    if "protected mode" in text:
        return (
            "the server answers, and takes nobody from another host (protected mode): it has neither a password nor an address to listen on",
            "login_refused",
        )
    if "certificate" in text.lower() or "ssl" in text.lower():
        return "no encrypted connection could be made", "unreachable"
    if "refused" in text or "Connect call failed" in text:
        return "the connection was refused", "unreachable"
    if "Name or service not known" in text or "resolution" in text or "nodename" in text:
        return "its name could not be resolved", "unreachable"
    return "it could not be reached", "unreachable"


def _state(info: Mapping[str, Any], milliseconds: float) -> CacheState:
    """Raises one of `ODD` when INFO is not that of a Redis."""
    return CacheState(
        version=_clean(info["redis_version"]),
        uptime=float(_number(info["uptime_in_seconds"])),
        used_memory=_number(info["used_memory"]),
        max_memory=_number(info["maxmemory"]),
        policy=_clean(info["maxmemory_policy"]),
        hits=_number(info["keyspace_hits"]),
        misses=_number(info["keyspace_misses"]),
        evicted=_number(info["evicted_keys"]),
        clients=_number(info["connected_clients"]),
        max_clients=None if info.get("maxclients") is None else _number(info["maxclients"]),
        milliseconds=milliseconds,
    )


def _number(value: Any) -> int:
    """Raises ValueError for what no server counts."""
    if not isinstance(value, int) or not 0 <= value < _MAX_NUMBER:
        raise ValueError
    return value


def _clean(text: Any) -> str:
    """What a server calls itself is a stranger's text."""
    return in_one_line(str(text), _LONGEST)
