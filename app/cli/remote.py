"""The running service as commands see it: its URL, the caller's token, one request a call.

Problem details become our errors again, with the service's own code. Never retries an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from app.domain.errors import BadInput, ProbeUnavailable, Refused
from app.domain.json import decoded

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
        if not (token.isascii() and token.isprintable()):
            raise BadInput("a token has visible ASCII characters only", code="bad_token", where="--token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url, self._headers, self._transport = _address(url), headers, transport

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

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._url, headers=self._headers, timeout=30.0, transport=self._transport
        )

    def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            with self._client() as http:
                answer = http.request(method, path, **request)
        except httpx.HTTPError as error:
            name, where = type(error).__name__, _shown(self._url)
            if method != "GET" and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                text = (
                    f"no answer ({name}): it is not known whether this was taken; look before you repeat it"
                )
                raise ProbeUnavailable(text, code="answer_lost", where=where) from error
            text = f"no answer ({name}{_why_not(error)}); is the service running there?"
            raise ProbeUnavailable(text, code="service_unreachable", where=where) from error
        if answer.is_success:
            return _decoded(answer)
        raise _error(answer)


def _address(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:  # its text may show a part of a password
        raise BadInput("not a URL", code="bad_url", where="--url") from None
    if found.scheme not in ("http", "https") or not found.host:
        raise BadInput(
            "expected an address that begins with http:// or https:// and names a host",
            code="bad_url",
            where="--url",
        )
    return found


def _why_not(error: httpx.HTTPError) -> str:
    """What is wrong with the address, as far as the network tells."""
    text, before = str(error), error.__context__
    while before is not None:
        text, before = f"{text} {before}", before.__context__
    told = next((words for sign, words in _SIGNS.items() if sign in text), "")
    return f": {told}" if told else ""


_SIGNS = {
    "Name or service not known": "no such host is known here",
    "nodename nor servname": "no such host is known here",
    "No address associated": "the host has no address",
    "Temporary failure in name resolution": "names cannot be resolved at the moment",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; try http://",
    "Connection refused": "nothing listens on that port",
    "Network is unreachable": "there is no route to it",
    "No route to host": "there is no route to it",
}
"""What the system and the TLS library say, and what that means here."""


def _shown(url: httpx.URL) -> str:
    """The URL for an error's text: a password in it stays out."""
    return str(url.copy_with(userinfo=b""))


def _segment(text: str) -> str:
    """Escaped, dots too where the client would take them for a step up."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def run_path(any_id: str, what: str = "") -> str:
    """The path of a run, or of an order or question about a run or incident; whatever was typed stays one segment of it."""
    return f"/api/v1/runs/{_segment(any_id)}" + (f"/{what}" if what else "")


def incident_path(any_id: str, what: str) -> str:
    """The path of an order about an incident; whatever was typed stays one segment of it."""
    return f"/api/v1/incidents/{_segment(any_id)}/{what}"


def _decoded(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = decoded(answer.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProbeUnavailable(
            "what answered there is not this service", code="service_unreachable", where=_shown(answer.url)
        )
    return found


def _error(answer: httpx.Response) -> BadInput | Refused | ProbeUnavailable:
    try:
        problem = decoded(answer.content)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    code = str(problem.get("code") or f"http_{answer.status_code}")
    text = str(problem.get("detail") or problem.get("title") or f"the service answered {answer.status_code}")
    where = str(problem.get("where") or "")
    if answer.status_code in _USAGE:
        return BadInput(text, code=code, where=where)
    if answer.status_code >= 500:
        return ProbeUnavailable(text, code=code, where=where)
    return Refused(text, code=code, where=where)
