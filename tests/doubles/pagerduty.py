"""A PagerDuty of our own on loopback: Events v2 and the notes and alerts of the REST API.

Enforces what the documentation says: 202 for events, 400 with reasons for a bad one, `From` and the token for the REST
API, 429 with or without headers. `fail` makes the next calls go wrong, before or after they had their effect.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
API_TOKEN = "pd-api-token"
USER = "oncall@example.org"
_SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call. `stored`: it has its effect first."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: float = 0.0
    stored: bool = False


@dataclass(slots=True)
class Incident:
    """An incident of PagerDuty: its notes, and the alerts that `GET …/alerts` gives."""

    notes: list[str] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)


class PagerDutyDouble:
    """State and handlers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.pages: dict[str, dict[str, Any]] = {}
        """Open alerts by dedup key: a second event with one's key adds to it and opens none."""
        self.incidents: dict[str, Incident] = {}
        self.users = [USER]
        self.subscriptions: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self._faults: deque[Fault] = deque()

    def fail(self, *faults: Fault) -> None:
        """The next calls go wrong in this order."""
        self._faults.extend(faults)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call of either API."""
        self.calls.append(f"{request.method} {request.path}")
        fault = self._faults.popleft() if self._faults else None
        if fault and not fault.stored:
            return await _fail(request, fault)
        if request.path == "/v2/enqueue":
            answer = self._enqueue(json.loads(await request.text()))
        else:
            answer = await self._rest(request)
        return await _fail(request, fault) if fault else answer

    def _enqueue(self, event: dict[str, Any]) -> web.Response:
        reasons = list(_faults_of(event))
        if reasons:
            body = {"status": "invalid event", "message": "Event object is invalid", "errors": reasons}
            return web.json_response(body, status=400)
        self.events.append(event)
        key = event.get("dedup_key") or f"generated-{len(self.events)}"
        if event["event_action"] == "trigger":
            self.pages.setdefault(key, event)
        elif event["event_action"] == "resolve":
            self.pages.pop(key, None)
        return web.json_response(
            {"status": "success", "message": "Event processed", "dedup_key": key}, status=202
        )

    async def _rest(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Token token={API_TOKEN}":
            return _error(401, 2006, "Unauthorized", [])
        if "version=2" not in request.headers.get("Accept", ""):
            return _error(400, 2001, "Invalid Input Provided", ["Accept header is required"])
        if request.path == "/users":
            wanted = request.query.get("query", "")
            return web.json_response({"users": [{"email": u} for u in self.users if wanted in u]})
        if request.path == "/webhook_subscriptions":
            return web.json_response({"webhook_subscriptions": self.subscriptions})
        _, _, incident_id, part = request.path.split("/")
        incident = self.incidents.get(incident_id)
        if incident is None:
            return _error(404, 2100, "Not Found", [])
        if request.method == "GET":
            rows = incident.alerts if part == "alerts" else [{"content": n} for n in incident.notes]
            return web.json_response({part: rows})
        if request.headers.get("From") != USER:
            return _error(
                400, 2001, "Invalid Input Provided", ["The From header must be the e-mail of a user"]
            )
        content = json.loads(await request.text()).get("note", {}).get("content", "")
        if not content:
            return _error(400, 2001, "Invalid Input Provided", ["Content cannot be empty"])
        incident.notes.append(content)
        return web.json_response({"note": {"content": content}}, status=201)


def _faults_of(event: dict[str, Any]) -> list[str]:
    """The reasons why Events v2 would answer 400."""
    reasons = []
    payload = event.get("payload", {})
    if event.get("routing_key") != ROUTING_KEY:
        reasons.append(f"'routing_key' {event.get('routing_key')} is not a valid integration key")
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        reasons.append("'event_action' is invalid")
    if len(event.get("dedup_key", "")) > 255:
        reasons.append("'dedup_key' is too long")
    if event.get("event_action") != "trigger":
        return reasons
    if not 0 < len(payload.get("summary", "")) <= 1024:
        reasons.append("'payload.summary' is missing or too long")
    if not payload.get("source"):
        reasons.append("'payload.source' is missing or blank")
    if payload.get("severity") not in _SEVERITIES:
        reasons.append("'payload.severity' is invalid")
    if len(json.dumps(event)) > 512 * 1024:
        reasons.append("the event is too large")
    return reasons


def _error(status: int, code: int, message: str, errors: list[str]) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code, "errors": errors}}, status=status)


async def _fail(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.hang:
        await asyncio.sleep(fault.hang)
    if fault.cut and request.transport is not None:
        request.transport.abort()
        return web.Response()
    return web.Response(status=fault.status, headers=fault.headers)


@asynccontextmanager
async def serving(double: PagerDutyDouble) -> AsyncIterator[str]:
    """Serve both APIs on a free loopback port; gives the base URL for either setting."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", double.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
