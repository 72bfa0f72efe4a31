"""Owns the servers that the accept bench compares with: durable alerts without our logic.

Both are what one writes who wants nothing but stored alerts: one pydantic model of Alertmanager's body, one writing
thread that commits together what has queued up, SQLite in WAL mode with synchronous=FULL. No authentication, no
incidents, no audit trail.

    stack  the stack that ours is built on, used as its manual shows: uvicorn, FastAPI, a route that takes the model
    bare   the framework left out: an ASGI function. The floor of what Python can do here, shown for reference

`python -m tests.bench.baseline stack|bare PORT FILE`.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_json

from tests.bench.bodies import PATH

_SCHEMA = """
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY, received_at TEXT, fingerprint TEXT, status TEXT, starts_at TEXT, ends_at TEXT,
    labels TEXT, annotations TEXT, generator_url TEXT
)"""
_INSERT = "INSERT INTO alerts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"

Row = tuple[str, ...]
Job = tuple[list[Row], "asyncio.Future[None]"]


class Alert(BaseModel):
    """One alert of the body."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: datetime = Field(alias="startsAt")
    ends_at: datetime = Field(alias="endsAt")
    generator_url: str = Field("", alias="generatorURL")
    fingerprint: str


class Message(BaseModel):
    """The body of version 4."""

    version: Literal["4"]
    group_key: str = Field(alias="groupKey")
    truncated_alerts: int = Field(0, alias="truncatedAlerts")
    receiver: str
    alerts: list[Alert]


class Writer(threading.Thread):
    """Commits what has queued up, then wakes who waits for it."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self._path, self._loop = path, loop
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def run(self) -> None:
        """Serve until the process ends."""
        conn = sqlite3.connect(self._path, isolation_level=None)
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA synchronous=FULL")
        conn.execute(_SCHEMA)
        while True:
            jobs = [self.jobs.get()]
            while not self.jobs.empty() and len(jobs) < 256:
                jobs.append(self.jobs.get())
            conn.execute("BEGIN IMMEDIATE")
            conn.executemany(_INSERT, [row for rows, _ in jobs for row in rows])
            conn.execute("COMMIT")
            self._loop.call_soon_threadsafe(_wake, [future for _, future in jobs])


def _wake(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Alerts:
    """The table, with its writer started at the first use: then there is a loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = None

    async def store(self, message: Message) -> None:
        """Returns when the alerts of the message are committed."""
        loop = asyncio.get_running_loop()
        if self._writer is None:
            self._writer = Writer(self._path, loop)
            self._writer.start()
        future: asyncio.Future[None] = loop.create_future()
        self._writer.jobs.put((_rows(message), future))
        await future


def stack(alerts: Alerts) -> FastAPI:
    """The application on the framework."""
    app = FastAPI()

    @app.post(PATH, status_code=202)
    async def take(message: Message) -> dict[str, int]:
        await alerts.store(message)
        return {"accepted": len(message.alerts)}

    return app


class Bare:
    """The application without a framework."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """POST of the webhook; anything else is 404."""
        if scope["type"] != "http":
            return
        if scope["path"] != PATH or scope["method"] != "POST":
            await _answer(send, 404, b"{}")
            return
        body, more = b"", True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        try:
            message = Message.model_validate_json(body)
        except ValidationError as error:
            await _answer(send, 422, error.json().encode())
            return
        await self._alerts.store(message)
        await _answer(send, 202, to_json({"accepted": len(message.alerts)}))


def _rows(message: Message) -> list[Row]:
    now = datetime.now(UTC).isoformat()
    return [
        (
            now,
            a.fingerprint,
            a.status,
            a.starts_at.isoformat(),
            a.ends_at.isoformat(),
            to_json(a.labels).decode(),
            to_json(a.annotations).decode(),
            a.generator_url,
        )
        for a in message.alerts
    ]


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve on loopback until ended."""
    kind, port, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    uvicorn.run(
        (stack if kind == "stack" else Bare)(Alerts(path)),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        lifespan="off",
        log_level="warning",
        backlog=2048,
    )


if __name__ == "__main__":
    main()
