"""Callers: who sent this request and whether its scope suffices.

The open mode (no tokens, loopback only) still refuses what a web page in somebody's browser could send here: a foreign
Host (DNS rebinding) and, for every mode, a foreign Origin on requests that change something. A caller of the API that asks with a
parameter which the route does not know is told: its answer would be to another question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

from app.domain.errors import BadInput, NotAuthenticated, NotPermitted
from app.domain.free_text import told_of
from app.domain.lines import ASKED_BY, NOBODY, Asker
from app.domain.text import visible
from app.domain.urls import is_address, is_loopback
from app.intake.auth import ANYONE, Access, Principal, Scope
from app.intake.body import pointer

Headers = dict[bytes, bytes]
"""Request headers by lower-case name, as they stand in the ASGI scope."""
_ONCE = frozenset(
    {
        b"authorization",
        b"origin",
        b"x-pagerduty-signature",
        b"x-remediator-token",
        b"x-slack-request-timestamp",
        b"x-slack-signature",
    }
)
CALLER = "alert_remediator.caller"
"""In the scope of a request: the name of whoever may look, so that long answers are counted by it."""
_LAST_PORT = 65535
_NAME = 200
"""Characters of an unknown parameter's name that an answer shows."""
_HOST = re.compile(r"(localhost|[0-9.]{7,15}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


_AUTHORITY = re.compile(
    r"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255}|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{0,5}))?",
    re.ASCII,
)
"""Host and port by RFC 3986, 3.2.2, without a user."""


def says_where(scope: Mapping[str, Any]) -> bool:
    """Whether a request has the one `Host` that RFC 9112, 3.2 asks for: what stands in front of the service may have read another one of two."""
    given = [value for name, value in scope["headers"] if name == b"host"]
    if len(given) != 1:
        return not given and scope["http_version"] == "1.0"
    found = _AUTHORITY.fullmatch(given[0].decode("latin-1"))
    return (
        found is not None
        and int(found[2] or 0) <= _LAST_PORT
        and (found[1] is None or is_address(found[1], 6))
    )


def headers_of(scope: Mapping[str, Any]) -> Headers:
    """The headers of a request. Raises NotAuthenticated (`repeated_header`) when one that proves something is there
    twice: a proxy may have checked the other one."""
    given = scope["headers"]
    found: Headers = dict(given)
    if len(found) < len(given):
        for name in _ONCE & found.keys():
            if sum(name == other for other, _ in given) > 1:
                raise NotAuthenticated("send it once", code="repeated_header", where=name.decode().title())
    return found


def caller(access: Access, headers: Headers, scope: Scope) -> Principal:
    """The authenticated caller with `scope`. Raises NotAuthenticated, NotPermitted."""
    if access.tokens is None:
        _require_local_host(headers)
        return ANYONE
    given = headers.get(b"authorization")
    if given is None:
        raise NotAuthenticated(
            "send a bearer token, or basic auth with the token as password", where="Authorization"
        )
    principal = access.tokens.authenticate(given.decode("latin-1"))
    if principal is None:
        raise NotAuthenticated("the token is not known", where="Authorization")
    if scope not in principal.scopes:
        raise NotPermitted(
            f"{principal.name} lacks the scope {scope}", code="scope_missing", where="Authorization"
        )
    return principal


def _require_local_host(headers: Headers) -> None:
    found = _HOST.fullmatch(headers.get(b"host", b"").decode("latin-1"))
    if found is None or not is_loopback(found[1].strip("[]")):
        raise NotPermitted(
            "without REMEDIATOR_TOKENS only requests to a loopback name are served",
            code="host_refused",
            where="Host",
        )


def require_same_site(headers: Headers) -> None:
    """Refuse a browser's request from another site. Raises NotPermitted (`cross_site`)."""
    origin = headers.get(b"origin")
    if origin is not None and _authority(origin.decode("latin-1")) != headers.get(b"host", b"").decode(
        "latin-1"
    ):
        raise NotPermitted(
            "requests from web pages of another site are refused", code="cross_site", where="Origin"
        )


def _authority(origin: str) -> str | None:
    """Host and port of an Origin; None for what is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # an unfinished IPv6 address
        return None


def require(scope: Scope) -> Callable[[Request], Coroutine[Any, Any, Principal]]:
    """A FastAPI dependency: the caller with `scope`; requests that change something must also be of the same site, and the query has
    only what the route knows, each once."""

    async def authenticated(request: Request) -> Principal:
        headers = headers_of(request.scope)
        if request.method != "GET":
            require_same_site(headers)
        principal = caller(request.app.state.services.access, headers, scope)
        request.scope[CALLER] = principal.name
        # An order is the service's own work.
        ASKED_BY.set(Asker(principal.name) if scope is Scope.READ else NOBODY)
        if request.url.query:
            _require_known(request)
        return principal

    return authenticated


def _parameters(dependant: Any) -> set[str]:
    """Names in the query that a route and what it depends on read."""
    own = {param.alias for param in dependant.query_params}
    return own.union(*(_parameters(one) for one in dependant.dependencies))


def _require_known(request: Request) -> None:
    """A filter that is misspelled would answer everything, and of one given twice half. Raises BadInput (`unknown_parameter`,
    `repeated_parameter`) with its name."""
    known = _parameters(request.scope["route"].dependant)
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            allowed = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
            where = pointer("query", visible(told_of(name, _NAME)))
            raise BadInput(f"not known here; this {allowed}", code="unknown_parameter", where=where)
        if name in seen:
            raise BadInput("send it once", code="repeated_parameter", where=pointer("query", name))
        seen.add(name)
