"""A PagerDuty of our own, on loopback or as a transport: Events v2, and of the REST API notes, status updates, alerts and on-calls.

Enforces what the documentation says: 202 for events, 400 with reasons for a bad one, `From` and the token for the REST
API, 429 with or without headers. `fail` makes the next calls go wrong, before or after they had their effect.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web

ROUTING_KEY = "7c1e09d4b2f8456a93e0d15b8a6f2c47"
API_TOKEN = "pd-api-token"
USER = "oncall@example.org"
MAX_NOTES = 2_000
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
    status_updates: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, however it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: str


class PagerDutyDouble:
    """State and handlers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.pages: dict[str, dict[str, Any]] = {}
        """Open alerts by dedup key: a second event with one's key adds to it and opens none."""
        self.incidents: dict[str, Incident] = {}
        self.woken: list[str] = []
        """The pages that called somebody, by dedup key, in order: an event that joins an open one wakes nobody."""
        self.acknowledged: list[str] = []
        self.resolved: list[str] = []
        self.on_call: dict[str, list[str]] = {}
        """Who is on call, by the id of a schedule or an escalation policy."""
        self.forbids_on_call = False
        self.users = [USER]
        self.subscriptions: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self._faults: deque[Fault] = deque()

    def fail(self, *faults: Fault) -> None:
        """The next calls go wrong in this order."""
        self._faults.extend(faults)

    def well(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call of either API, over HTTP."""
        self.calls.append(f"{request.method} {request.path}")
        fault = self._faults.popleft() if self._faults else None
        if fault and not fault.stored:
            return await _fail(request, fault)
        asked = Asked(request.method, request.path, request.headers, request.query, await request.text())
        status, body = self.answer(asked)
        return await _fail(request, fault) if fault else web.json_response(body, status=status)

    def transport(self, request: httpx.Request) -> httpx.Response:
        """One call of either API, without a connection: for tests on virtual time. A fault that cuts is a lost answer."""
        self.calls.append(f"{request.method} {request.url.path}")
        fault = self._faults.popleft() if self._faults else None
        headers, query = httpx.Headers(request.headers), request.url.params
        asked = Asked(request.method, request.url.path, headers, query, request.content.decode())
        status, body = (0, {}) if fault and not fault.stored else self.answer(asked)
        if fault and fault.cut:
            raise httpx.ReadError("cut", request=request)
        if fault:
            return httpx.Response(fault.status, headers=fault.headers)
        return httpx.Response(status, json=body)

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """What PagerDuty answers: status and body."""
        return self._enqueue(json.loads(asked.body)) if asked.path == "/v2/enqueue" else self._rest(asked)

    def _enqueue(self, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        reasons = list(_faults_of(event))
        if reasons:
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": reasons}
        self.events.append(event)
        key = event.get("dedup_key") or f"generated-{len(self.events)}"
        if event["event_action"] == "trigger":
            if key not in self.pages:
                self.woken.append(key)
            self.pages.setdefault(key, event)
        elif event["event_action"] == "acknowledge" and key in self.pages:
            self.acknowledged.append(key)
        elif event["event_action"] == "resolve" and self.pages.pop(key, None) is not None:
            self.resolved.append(key)
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}

    def _rest(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        if asked.headers.get("Authorization") != f"Token token={API_TOKEN}":
            return _error(401, 2006, "Unauthorized", [])
        if "version=2" not in asked.headers.get("Accept", ""):
            return _error(400, 2001, "Invalid Input Provided", ["Accept header is required"])
        if asked.path == "/users":
            wanted = asked.query.get("query", "")
            return 200, {"users": [{"email": u} for u in self.users if wanted in u]}
        if asked.path == "/webhook_subscriptions":
            return 200, {"webhook_subscriptions": self.subscriptions}
        if asked.path == "/oncalls":
            return self._on_calls(asked)
        _, _, incident_id, part = asked.path.split("/")
        incident = self.incidents.get(incident_id)
        if incident is None:
            return _error(404, 2100, "Not Found", [])
        if asked.method == "GET":
            rows = incident.alerts if part == "alerts" else [{"content": n} for n in incident.notes]
            return 200, {part: rows}
        if asked.headers.get("From") != USER:
            return _error(
                400, 2001, "Invalid Input Provided", ["The From header must be the e-mail of a user"]
            )
        return _written(incident, part, json.loads(asked.body))

    def _on_calls(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """Who is on call for a schedule or policy; an id that is not there is 404, a token that may not read it 403."""
        if self.forbids_on_call:
            return _error(403, 2010, "Access Denied", [])
        wanted = asked.query.get("schedule_ids[]") or asked.query.get("escalation_policy_ids[]") or ""
        if wanted not in self.on_call:
            return _error(404, 2100, "Not Found", [])
        people = enumerate(self.on_call[wanted], 1)
        return 200, {"oncalls": [{"user": {"summary": who}, "escalation_level": n} for n, who in people]}


def _written(incident: Incident, part: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A note or a status update; an incident takes 2,000 notes."""
    if part == "status_updates":
        if not body.get("message"):
            return _error(400, 2001, "Invalid Input Provided", ["Message cannot be empty"])
        incident.status_updates.append(body["message"])
        return 201, {"status_update": {"message": body["message"]}}
    content = body.get("note", {}).get("content", "")
    if not content or len(incident.notes) >= MAX_NOTES:
        reason = "Content cannot be empty" if not content else "The incident has too many notes"
        return _error(400, 2001, "Invalid Input Provided", [reason])
    incident.notes.append(content)
    return 201, {"note": {"content": content}}


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


def _error(status: int, code: int, message: str, errors: list[str]) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "code": code, "errors": errors}}


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
