"""From an address to what libpq is told: the Secret is read, and nothing of it leaves this package.

Called by `app.database.postgres`, and with the values of the pod that it runs in by `app.backup.upload`. An error of this module names the Secret and the key, never a value.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.database.secret import missing, values_of
from app.domain.cluster import Cluster
from app.domain.database import APPLICATION, DatabaseAddress, Tls
from app.domain.errors import ProbeUnavailable
from app.domain.urls import is_host, is_port

Options = dict[str, str]

_ORDER = tuple(Tls)
_PORT = "5432"
_ALIVE: Final = {"keepalives_idle": "60", "keepalives_interval": "15", "keepalives_count": "6"}
"""What is between us and the server (kube-proxy, a NAT, a balancer) forgets connections that are silent for some minutes, and nobody hears of
that: a session waits in silence for a statement of an hour, or for the dump of another one. The system's own would first speak after two hours."""
_KNOWS_AUTHENTICATION = 160_000
"""The version of libpq from which a client may say how it lets itself be asked for its password."""


async def read_login(cluster: Cluster, at: DatabaseAddress) -> tuple[Options, str]:
    """Connection options for libpq, the login among them, and the certificates under `ca_key`, empty without one. The Secret is
    read once, so that both are of one version of it. Raises ProbeUnavailable (`no_login`)."""
    values = await _values(cluster, at)
    return login_of(values, at), values[at.ca_key] if at.ca_key else ""


def login_of(values: Mapping[str, str], at: DatabaseAddress) -> Options:
    """Connection options for libpq from the values of the Secret, by its keys. Raises ProbeUnavailable (`no_login`). libpq takes a list of hosts;
    an empty one is the folder of its sockets, one that begins with a slash or an at sign is a socket as well (libpq, "Parameter Key Words"). What
    no host can be is refused before anybody is asked for it, as it may be a part of a password."""
    given = _from_url(values, at) if at.url_key else _from_keys(values, at)
    host, port = at.host or given.get("host", ""), str(at.port or "") or given.get("port", "") or _PORT
    if not all(map(is_host, host.split(","))):
        raise _missing(at, "names no host" if not host else "names what no host can be")
    if not all(not one or is_port(one) for one in port.split(",")):
        raise _missing(at, "names what no port can be")
    database = at.database or given.get("dbname", "") or given["user"]
    tls = max(at.tls, _tls(given.get("sslmode", "")), key=_ORDER.index)
    login = {
        "host": host,
        "port": port,
        "dbname": database,
        "user": given["user"],
        "password": given["password"],
    }
    return {**login, **_encryption(tls), **_ALIVE, "application_name": APPLICATION, "gssencmode": "disable"}


@contextmanager
def with_authority(options: Options, authority: str) -> Iterator[Options]:
    """The options with a file of certificates to trust, which is gone afterwards; without any those of the system."""
    if options["sslmode"] not in (Tls.VERIFY_CA, Tls.VERIFY_FULL):
        yield options
    elif not authority:
        # libpq lets the certificates of the system vouch only for the name as well.
        yield {**options, "sslmode": Tls.VERIFY_FULL.value, "sslrootcert": "system"}
    else:
        with tempfile.NamedTemporaryFile("w", prefix="authority-", suffix=".pem") as file:
            file.write(authority)
            file.flush()
            yield {**options, "sslrootcert": file.name}


async def _values(cluster: Cluster, at: DatabaseAddress) -> Mapping[str, str]:
    wanted = [at.url_key] if at.url_key else [at.user_key, at.password_key]
    keys = [*wanted, *([at.ca_key] if at.ca_key else [])]
    return await values_of(cluster, at.namespace, at.secret, keys, str(at))


def _from_keys(values: Mapping[str, str], at: DatabaseAddress) -> Options:
    return {"user": values[at.user_key], "password": values[at.password_key]}


def _from_url(values: Mapping[str, str], at: DatabaseAddress) -> Options:
    """Host, port, database, login and sslmode of a URL; whatever else it says is left out."""
    scheme, colon, rest = values[at.url_key].partition("://")
    if not colon or scheme.partition("+")[0] not in ("postgres", "postgresql"):
        raise _missing(at, f"has no postgresql:// URL under {at.url_key}")
    if rest.partition("?")[0].count("@") > 1:
        # libpq takes the first @ for the end of the password, where other clients take the last one.
        text = "has a URL with an @ in user, password or database that is not written as %40"
        raise _missing(at, f"{text}, under {at.url_key}")
    try:
        parsed = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.Error:
        raise _missing(at, f"has no valid URL under {at.url_key}") from None  # the cause would show the value
    found: Options = {
        str(key): str(parsed[key])
        for key in ("host", "port", "dbname", "user", "password", "sslmode")
        if key in parsed
    }
    if not found.get("user") or not found.get("password"):
        raise _missing(at, f"has a URL without user or password under {at.url_key}")
    return found


def _tls(word: str) -> Tls:
    return Tls(word) if word in _ORDER else Tls.DISABLE


def _encryption(tls: Tls) -> Options:
    options = {"sslmode": tls.value}
    if tls in (Tls.DISABLE, Tls.PREFER) and psycopg.pq.version() >= _KNOWS_AUTHENTICATION:
        options["require_auth"] = (
            "!password"  # a server that nobody vouches for is never told the password itself
        )
    return options


def _missing(at: DatabaseAddress, what: str) -> ProbeUnavailable:
    return missing(at.namespace, at.secret, what, str(at))
