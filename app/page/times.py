"""How times are shown: in UTC, or by how long ago they are, or in the zone of whoever looks. A choice of each browser, kept over all pages.

Owns the cookie with the choice, which says nothing else and decides about nothing else. The local time is the page's script's: the service
does not know the zone, and without scripts such times stand in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import BadInput
from app.page import render
from app.page.requests import Site, is_https, local_path
from app.page.session import Visitor, cookie
from app.web.cookies import TIMES

CHOICES: Final = ("utc", "relative", "local")
_KEPT: Final = timedelta(days=365)


def chosen(cookies: Mapping[str, str]) -> str:
    """The choice of this browser; the first for one that is none."""
    given = cookies.get(TIMES, "")
    return given if given in CHOICES else CHOICES[0]


async def choose(site: Site, request: Request, visitor: Visitor) -> Response:  # noqa: ARG001 - a handler's signature
    """Keep a choice, and back to the page. Raises BadInput for what is none."""
    show = request.query_params.get("show", "")
    if show not in CHOICES:
        raise BadInput(f"times are shown as {', '.join(CHOICES)}", code="invalid_parameter", where="show")
    answer = render.see(local_path(request.query_params.get("back", "")))
    kept = cookie(TIMES, show, seconds=int(_KEPT.total_seconds()), secure=is_https(request))
    answer.headers.append("set-cookie", kept)
    return answer
