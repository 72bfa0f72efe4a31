"""URLs that may hold a password: whether they can be taken apart without guessing, in words that show nothing of them.

Called by the settings, before anything connects. A password with a bare `@`, `/`, `#` or `?` in it would be cut at that
place, and the rest of it would be taken for a host name, which errors and evidence show. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from app.domain.no_secret import is_left

# RFC 3986; libpq's comma-separated hosts too. A password is `(?:unreserved | sub-delims | ":" | %XX)+`.
_PART = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{1,5})?"
_AUTHORITY = re.compile(
    rf"(?:(?P<user>{_PART}*)(?::(?P<password>(?:{_PART}|:)*))?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)", re.ASCII
)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_LAST_PORT = 65535
_API = re.compile(r"/api/v[0-9]+(?:/|$)", re.ASCII)
"""Below it stands what we ask Prometheus and Alertmanager; a prefix of their own may stand before it."""
_SPACE = re.compile(r"[\x00-\x20\x7f]")


def place_of(url: str) -> str:
    """Scheme, host and port of `url`, and `/…` for all that follows; empty for none. User, path and query may be credentials."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "no URL" if url else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        f"{parts.scheme}://{host}{port}{'/…' if parts.path.strip('/') or parts.query else ''}" if host else ""
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address."""
    return host.lower() == "localhost" or is_loopback_address(host)


def is_loopback_address(text: str) -> bool:
    """Whether a text is an address of this machine, also an IPv4 one within IPv6. One with a zone (`::1%eth0`) belongs to an interface."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address
    return address.is_loopback


def is_host(text: str) -> bool:
    """Whether a text can be what somebody connects to: a name or an address. What cannot be, such as the end of a password, is asked of nobody."""
    return _NAME.fullmatch(text) is not None or is_address(text, 4) or is_address(text, 6)


def is_port(text: str) -> bool:
    """Whether a text is the number of a port."""
    return (
        text.isascii()
        and text.isdigit()
        and len(text) <= len(str(_LAST_PORT))
        and 0 < int(text) <= _LAST_PORT
    )


def is_address(text: str, version: int) -> bool:
    """Whether a text is an IP address of this version."""
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def fault_of_place(url: str, *, api: bool) -> str:
    """What is wrong with the place that `url` names, as one clause; empty when nothing is. `api`: to its path that of an API is appended."""
    if not urlsplit(url).hostname:
        return "it names no host"
    if not api:
        return ""
    if "?" in url or "#" in url:
        return "there is no place for a query or a fragment: the path of its API comes after it"
    if _API.search(urlsplit(url).path):
        return "give it without the path of its API, which comes after it"
    return ""


def fault_in(url: str) -> str:
    """What is wrong with the user, password or host of `url`, as one clause; empty when nothing is."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        return "it is no URL"
    authority, tail = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    found = _AUTHORITY.fullmatch(authority)
    if found is None or "@" in tail or "#" in tail or _SPACE.search(url):
        return "user and password have to be percent-encoded (an @ is %40, a / %2F, a # %23, a ? %3F)"
    if not all(map(is_port, re.findall(r":([0-9]+)(?:,|$)", found["hosts"]))):
        return f"there is no port 0, and none above {_LAST_PORT}"
    if found["password"] == "":
        return "the password is empty"
    if found["password"] is not None and is_left(found["password"]):
        return "the password is a placeholder"
    return ""
