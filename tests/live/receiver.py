"""Owns a small HTTP server that records the webhooks that it is sent."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Delivery:
    """One webhook request: its path, its headers (names in lower case) and its decoded body."""

    path: str
    headers: dict[str, str]
    body: Any


class WebhookReceiver:
    """Answers every POST with the status that is set, and keeps what it got."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self._deliveries: list[Delivery] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address to send webhooks to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhook"

    @property
    def deliveries(self) -> list[Delivery]:
        """What has come in so far, oldest first."""
        with self._lock:
            return list(self._deliveries)

    def start(self) -> Self:
        """Starts answering."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _record(self, delivery: Delivery) -> int:
        with self._lock:
            self._deliveries.append(delivery)
        return self.status

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        record = self._record

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = record(Delivery(self.path, headers, json.loads(body)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Keeps the requests off the tests' output."""

        return Handler
