"""The running service as commands see it: its URL, the caller's token, one request a call.

Problem details become our errors again, with the service's own code. Never retries an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import httpx
import typer

from app.domain.errors import BadInput, ProbeUnavailable, Refused

Url = Annotated[
    str, typer.Option("--url", envvar="REMEDIATOR_URL", help="Where the service runs.", show_default=True)
]
Token = Annotated[
    str,
    typer.Option(
        "--token", envvar="REMEDIATOR_TOKEN", help="Bearer token; not needed by an open loopback service."
    ),
]
DEFAULT_URL = "http://127.0.0.1:8080"

_USAGE = frozenset({400, 404, 405, 422})


class Remote:
    """One service."""

    def __init__(self, url: str, token: str = "", transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=30.0, transport=transport)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET; raises our errors."""
        return self._send("GET", path, params=dict(params or {}))

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """POST JSON; raises our errors."""
        return self._send("POST", path, json=body if body is not None else {}, headers=dict(headers or {}))

    def pages(self, path: str, params: Mapping[str, Any], limit: int) -> Iterator[dict[str, Any]]:
        """Rows over pages, at most `limit`."""
        cursor: str | None = None
        left = limit
        while left > 0:
            query = {k: v for k, v in {**params, "cursor": cursor, "limit": min(left, 200)}.items() if v}
            page = self.get(path, query)
            rows = page["items"]
            yield from rows[:left]
            left -= len(rows)
            cursor = page.get("next")
            if not cursor or not rows:
                return

    def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise ProbeUnavailable(
                f"no answer ({type(error).__name__}); is the service running there?",
                code="service_unreachable",
                where=str(self._http.base_url),
            ) from error
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
        raise _error(answer)


def _error(answer: httpx.Response) -> BadInput | Refused | ProbeUnavailable:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    code = str(problem.get("code") or f"http_{answer.status_code}")
    text = str(problem.get("detail") or problem.get("title") or f"the service answered {answer.status_code}")
    where = str(problem.get("where") or "")
    if answer.status_code in _USAGE:
        return BadInput(text, code=code, where=where)
    if answer.status_code >= 500:
        return ProbeUnavailable(text, code=code, where=where)
    return Refused(text, code=code, where=where)
