"""The HTTP side over a real store in a temporary folder, with recorded orders: what the tests of the web share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.domain.alert import ManualRequest
from app.domain.errors import BadInput, Missing, Refused
from app.flow.readiness.health import Findings
from app.intake.auth import Access, Scope, parse_tokens
from app.observe.metrics import Metrics
from app.observe.system import TimeIds
from app.store.approvals import NO_CLICK, Click
from app.store.database import Store
from app.web.app import create_app
from app.web.services import Limits, Views, WebServices

NOW = datetime(2026, 3, 4, 10, 16, tzinfo=UTC)
PD_SECRET = "pd-secret-current"
ORCHESTRATION = "orchestration-secret"


class StillClock:
    """Time that stands."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing on the HTTP side waits")


def token(*scopes: str) -> str:
    """The token of the caller that has exactly these scopes."""
    return "4Kq9vT2m-" + "-".join(scopes)


def bearer(*scopes: str) -> dict[str, str]:
    """Its header."""
    return {"authorization": f"Bearer {token(*scopes)}"}


def _entry(*scopes: str) -> str:
    return f"{'-'.join(scopes)}:{'+'.join(scopes)}:{hashlib.sha256(token(*scopes).encode()).hexdigest()}"


ALL = tuple(s.value for s in Scope)
LOCKED = Access(
    tokens=parse_tokens(",".join(_entry(*scopes) for scopes in (*((s,) for s in ALL), ALL))),
    pagerduty_secrets=("pd-secret-old", PD_SECRET),
    orchestration_secret=ORCHESTRATION,
)


@dataclass
class RecordedOrders:
    """Operations that remember what they were asked for; `error` is raised instead when set."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    error: Exception | None = None

    def _take(self, *call: Any) -> dict[str, Any]:
        self.asked.append(call)
        if self.error is not None:
            raise self.error
        return {"order": call[0]}

    async def approve(
        self, run_id: str, by: str, plan_hash: str = "", click: Click = NO_CLICK
    ) -> dict[str, Any]:
        return self._take("approve", run_id, by, plan_hash, *_why(click))

    async def reject(
        self, run_id: str, by: str, plan_hash: str = "", click: Click = NO_CLICK
    ) -> dict[str, Any]:
        return self._take("reject", run_id, by, plan_hash, *_why(click))

    async def undo(
        self, run_id: str, by: str, click: Click = NO_CLICK, *, despite: bool = False
    ) -> dict[str, Any]:
        return self._take("undo", run_id, by, *_why(click))

    async def keep(self, run_id: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
        return self._take("keep", run_id, by, *_why(click))

    async def acknowledge(
        self, subject: str, by: str, click: Click = NO_CLICK, through: str = "API"
    ) -> dict[str, Any]:
        return self._take("acknowledge", subject, by, through, *_why(click))

    async def promote(self, key: str, reason: str, by: str) -> dict[str, Any]:
        return self._take("promote", key, reason, by)

    async def demote(self, key: str, reason: str, by: str) -> dict[str, Any]:
        return self._take("demote", key, reason, by)

    async def pause(
        self, scope: str, reason: str, by: str, until: datetime | None, click: Click = NO_CLICK
    ) -> dict[str, Any]:
        return self._take("pause", scope, reason, by, until)

    async def resume(self, scope: str, by: str, click: Click = NO_CLICK) -> dict[str, Any]:
        return self._take("resume", scope, by)

    async def explain(self, any_id: str) -> dict[str, Any]:
        if any_id == "run_unknown":
            raise Missing("no such run", where=any_id)
        return self._take("explain", any_id)


def _why(click: Click) -> tuple[str, ...]:
    return (click.reason,) if click.reason else ()


ALLOWED: frozenset[str] = frozenset({"high-error-rate"})
"""What may be ordered."""


def check_order(request: ManualRequest) -> None:
    """Rules and catalogue allow this much."""
    if request.remediation not in ALLOWED:
        raise BadInput("there is no such remediation", code="unknown_remediation", where="/remediation")


async def check_target(request: ManualRequest) -> None:
    """The cluster has everything but one workload."""
    if request.target == "rag7/Deployment/gone":
        raise Refused("there is no Deployment gone", code="no_such_target", where="/target/name")


def _rows(count: int) -> list[Mapping[str, Any]]:
    return [{"name": f"n{i}"} for i in range(count)]


@dataclass
class Rig:
    """One application and what it was put together from."""

    store: Store
    access: Access = LOCKED
    limits: Limits = field(default_factory=Limits)
    agents: frozenset[str] = frozenset()
    problems: dict[str, str] = field(default_factory=dict)
    degraded: dict[str, str] = field(default_factory=dict)
    orders: RecordedOrders = field(default_factory=RecordedOrders)
    nudges: list[None] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def __post_init__(self) -> None:
        self.services = self._services()
        self.app: FastAPI = create_app(self.services)

    def _services(self) -> WebServices:
        async def ready() -> Findings:
            return Findings(self.problems, self.degraded)

        async def three() -> list[Mapping[str, Any]]:
            return _rows(3)

        async def card(days: int) -> Mapping[str, Any]:
            return {"days": days, "acted": 3}

        async def diagnosis(namespace: str, kind: str, name: str) -> Mapping[str, Any]:
            return {"subject": "/".join(p for p in (namespace, kind, name) if p), "sections": []}

        return WebServices(
            store=self.store,
            access=self.access,
            clock=StillClock(),
            ids=TimeIds(),
            metrics=self.metrics,
            nudge=lambda: self.nudges.append(None),
            ready=ready,
            operations=self.orders,
            views=Views(
                remediations=three,
                policies=three,
                budgets=three,
                schedules=three,
                trust=three,
                scorecard=card,
                diagnosis=diagnosis,
            ),
            check_order=check_order,
            check_target=check_target,
            pagerduty_agents=self.agents,
            limits=self.limits,
        )

    def client(self, *scopes: str, host: str = "127.0.0.1:8080") -> httpx.AsyncClient:
        """A client with the token of these scopes; without any it has no token."""
        headers = bearer(*scopes) if scopes else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url=f"http://{host}", headers=headers
        )

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric's series, 0 when there is none."""
        return self.metrics.registry.get_sample_value(f"remediator_{name}", labels) or 0.0

    def with_store(self, store: Any) -> Rig:
        """The same over another store."""
        return replace(self, store=store)


def problem_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem details of a response, after checking the shape that all errors have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "code", "detail", "where", "request_id"}
    assert (body["status"], body["code"], body["type"]) == (status, code, "about:blank")
    assert body["request_id"] == response.headers["x-request-id"]
    return body
