"""Owns a Prometheus for processes that knows three things: CPU limits hold the containers back, as they do where requests are slow for
want of CPU; asked since when, that requests fail since the last rollout; and of a namespace in `LATENCY` how slow its requests are. It does not answer
about one in `AWAY`, and has no value for any other query. The real metrics API takes half a minute until it knows a new pod.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from tests.doubles.loopback import LoopbackServer

THROTTLED = 0.6
"""Share of the scheduling periods."""
AWAY: set[str] = set()
LATENCY: dict[str, float] = {}
"""By namespace, in seconds."""
_BEFORE, _STEP = 1800.0, 15.0
"""The service asks from so long before a rollout on, and in such steps."""


def _requests(asked: dict[str, list[str]]) -> list[tuple[float, str]]:
    """Ten requests a second, or the share of them that fails."""
    start, end, step = (float(asked[name][0]) for name in ("start", "end", "step"))
    moments = [start + n * step for n in range(round((end - start) / step) + 1)]
    if "status" not in asked["query"][0]:
        return [(at, "10") for at in moments]
    return [(at, "0.3") for at in moments if at >= min(end, start + _BEFORE + 2 * _STEP)]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """A query, as the service asks it."""
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._answer(self.path, parse_qs(asked))

    def do_GET(self) -> None:
        """The same, in the address."""
        path, _, asked = self.path.partition("?")
        self._answer(path, parse_qs(asked))

    def _answer(self, path: str, asked: dict[str, list[str]]) -> None:
        query = asked.get("query", [""])[0]
        if any(f'namespace="{name}"' in query for name in AWAY):
            self.send_error(503)
            return
        kind = "matrix" if path.endswith("query_range") else "vector"
        slow = [v for name, v in LATENCY.items() if f'namespace="{name}"' in query and "bucket" in query]
        values = [THROTTLED] if "throttled_periods" in query else slow
        rows: list[object] = (
            [{"metric": {}, "value": [0, str(v)]} for v in values] if kind == "vector" else []
        )
        if kind == "matrix" and "http_requests_total" in query:
            rows = [{"metric": {}, "values": _requests(asked)}]
        body = json.dumps({"status": "success", "data": {"resultType": kind, "result": rows}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Says nothing."""


class PrometheusServer(LoopbackServer):
    """The server with its URL."""

    def __init__(self) -> None:
        super().__init__(_Handler)
