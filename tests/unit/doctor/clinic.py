"""A set-up in which all is well, on doubles of everything outside, and a way to spoil one thing of it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import yaml
from aiohttp import web

from app.doctor.patient import Patient
from app.domain.actuator import Permission
from app.domain.cluster import PodUsage
from app.domain.errors import (
    AccessDenied,
    ClusterUnavailable,
    ObjectMissing,
    ProbeUnavailable,
    RemediatorError,
)
from app.domain.target import Kind
from app.kube.about import Server
from app.kube.client import KubeCluster
from app.kube.verbs import rule_of
from app.observe.system import SystemClock
from app.policy.load import load_policy
from app.settings import Settings
from remediations import CATALOGUE
from tests.doubles import pagerduty, slack
from tests.doubles.slack_socket import APP_TOKEN, SocketDouble
from tests.empty_store import put_empty_store

SUBSCRIPTION = {
    "active": True,
    "delivery_method": {"url": "https://r.example.org/webhooks/pagerduty", "temporarily_disabled": False},
    "events": ["incident.triggered", "incident.reopened", "incident.resolved"],
}
RULE = {
    "name": "slow",
    "when": 'alertname="A"',
    "target": {"kind": "Deployment", "name": {"label": "deployment"}},
    "remediation": "high-latency",
    "mode": "auto",
    "approval": {"by": ["anna"]},
}


class Kube:
    """A cluster that answers and grants everything but what no remediation needs."""

    name, address = "double", "https://10.96.0.1:443"

    def __init__(self) -> None:
        self.denied: set[tuple[str, Kind]] = set()
        self.granted: set[tuple[str, Kind, str]] = set()
        self.groups = {
            "apps",
            "batch",
            "discovery.k8s.io",
            "events.k8s.io",
            "metrics.k8s.io",
            "networking.k8s.io",
        }
        self.refused: set[tuple[str, str, str]] = set()  # verb, group, plural/subresource
        self.refused_names: set[str] = set()  # of these alone, where there are any
        self.missing: set[str] = set()
        self.ahead = timedelta()
        self.away = self.half = False
        self.refusal: RemediatorError | None = None

    async def server(self) -> Server:
        if self.away:
            raise ClusterUnavailable("no answer")
        if self.refusal is not None:
            raise self.refusal
        return Server("v1.37.2", datetime.now(UTC) + self.ahead)

    async def api_groups(self) -> frozenset[str]:
        if self.half:
            raise ClusterUnavailable("no answer")
        return frozenset(self.groups)

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        if name in self.missing:
            raise ObjectMissing("not found")
        if ("get", kind) in self.denied:
            raise AccessDenied("forbidden")
        return {}

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        if self.away:
            raise ClusterUnavailable("no answer")
        dangerous = {("list", Kind.SECRET, ""), ("delete", Kind.DEPLOYMENT, ""), ("create", Kind.POD, "exec")}
        if (verb, kind, subresource) in dangerous:
            return (verb, kind, subresource) in self.granted
        rule = rule_of(Permission(verb, kind, subresource))
        right = (verb, rule[1], "/".join(part for part in rule[2:] if part))
        refused = right in self.refused and (not self.refused_names or name in self.refused_names)
        return (verb, kind) not in self.denied and not refused

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        assert selector
        if ("list", "metrics.k8s.io", "pods") in self.refused:
            raise ProbeUnavailable("the cluster serves no pod metrics") from AccessDenied("forbidden")
        return []


def _workspace() -> slack.SlackDouble:
    found = slack.SlackDouble(lambda: datetime.now(UTC))
    found.users.add("U07ABCD1234")
    return found


def route() -> dict[str, Any]:
    """A good configuration of Alertmanager."""
    login = {"authorization": {"type": "Bearer", "credentials": "<secret>"}}
    hook = {
        "url": "http://alert-remediator:8080/webhooks/alertmanager",
        "send_resolved": True,
        "http_config": login,
    }
    return {
        "route": {
            "receiver": "pager",
            "group_interval": "1m",
            "routes": [
                {"receiver": "fix", "repeat_interval": "5m", "matchers": ['namespace="rag7"']},
                {"receiver": "fix", "repeat_interval": "5m", "matchers": ['alertname="Watchdog"']},
            ],
        },
        "receivers": [{"name": "pager"}, {"name": "fix", "webhook_configs": [hook]}],
    }


@dataclass
class Clinic:
    """All that a test may spoil before `patient` is examined. `there` has settings whose URL is a path of the sources, `asked` what came there."""

    folder: Path
    given: dict[str, Any] = field(default_factory=dict)
    rule: dict[str, Any] = field(default_factory=lambda: dict(RULE))
    policy: dict[str, Any] = field(default_factory=dict)
    slack: slack.SlackDouble = field(default_factory=_workspace)
    pager: pagerduty.PagerDutyDouble = field(default_factory=pagerduty.PagerDutyDouble)
    kube: Kube = field(default_factory=Kube)
    alertmanager: Any = field(default_factory=route)
    prometheus_ahead: float = 0.0
    answers: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    there: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def source(self, request: web.Request) -> web.Response:
        """Prometheus and Alertmanager."""
        if request.path in self.there.values():
            self.asked.append((request.method, request.path, await request.read()))
        if request.path in self.statuses:
            return web.Response(status=self.statuses[request.path], headers=self.headers)
        if request.path in self.answers:
            answer = self.answers[request.path]
            if isinstance(answer, str):
                return web.Response(text=answer, content_type="text/html")
            return web.json_response(answer)
        if request.path == "/api/v1/query":
            at = datetime.now(UTC).timestamp() + self.prometheus_ahead
            return web.json_response(
                {"status": "success", "data": {"resultType": "scalar", "result": [at, str(at)]}}
            )
        if request.path == "/api/v2/status":
            return web.json_response({"config": {"original": yaml.safe_dump(self.alertmanager)}})
        return web.Response(status=404)

    def settings(self, urls: dict[str, str]) -> Settings:
        """Everything configured."""
        digest = hashlib.sha256(b"a-token-of-the-clinic").hexdigest()
        base: dict[str, Any] = {
            "state_dir": self.folder,
            "tokens": f"alertmanager:ingest:{digest},anna:read+operate:{digest[::-1]}",
            "people": "anna+slack:U07ABCD1234",
            "audit_key": "audit-key-of-the-clinic-012345678",
            "encryption_key": "Q2xpbmljQ2xpbmljQ2xpbmljQ2xpbmljQ2xpbmljQ2w=",
            "slack_bot_token": slack.TOKEN,
            "slack_app_token": APP_TOKEN,
            "slack_operators": "U07ABCD1234",
            "pagerduty_api_token": pagerduty.API_TOKEN,
            "pagerduty_from": pagerduty.USER,
            "pagerduty_routing_key": pagerduty.ROUTING_KEY,
            "pagerduty_webhook_secrets": "signing-4Kq9vT2m",
            **urls,
        }
        return Settings(**{**base, **self.given})


@asynccontextmanager
async def admitted(clinic: Clinic) -> AsyncIterator[Patient]:
    """The patient, with everything outside served on loopback."""
    async with AsyncExitStack() as stack:
        socket = SocketDouble()
        slack_url = await stack.enter_async_context(slack.serving(clinic.slack, socket))
        pager_url = await stack.enter_async_context(pagerduty.serving(clinic.pager))
        source_url = await stack.enter_async_context(_serving(clinic))
        urls = {
            "slack_api_url": slack_url,
            "pagerduty_api_url": pager_url,
            "prometheus_url": source_url,
            "alertmanager_url": source_url,
            **{setting: f"{source_url}{path}" for setting, path in clinic.there.items()},
        }
        settings = clinic.settings(urls)
        if settings.state_dir == clinic.folder:
            put_empty_store(clinic.folder / "remediator.sqlite")
        document = {
            "version": 1,
            "scope": {"namespaces": ["rag7"], "secrets": ["web"]},
            "heartbeats": [{"alertname": "Watchdog", "missing_after": "5h"}],
            "rules": [clinic.rule],
            **clinic.policy,
        }
        policy = load_policy({"p.yaml": yaml.safe_dump(document)}, CATALOGUE)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        yield Patient(settings, policy, SystemClock(), http, cast("KubeCluster", clinic.kube))


@asynccontextmanager
async def _serving(clinic: Clinic) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", clinic.source)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
