"""Prometheus, Alertmanager, the dependencies, the collector of traces and the status page: do they answer?"""

from __future__ import annotations

from urllib.parse import urlsplit

import yaml

from app.doctor import routes
from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.patient import Patient, Reply, ask
from app.domain.errors import BadInput, ProbeUnavailable
from app.observe.dependencies import ConfiguredDependencies

_TRACES, _STATUS = Voice(Area.TRACES), Voice(Area.STATUS_PAGE)
_PROM, _ALERTS, _DEPS = Voice(Area.PROMETHEUS), Voice(Area.ALERTMANAGER), Voice(Area.DEPENDENCIES)
_EMPTY_EXPORT = {"content-type": "application/x-protobuf"}
"""With an empty body: an export without a span, which a collector takes and forgets."""
_SKEW = 30.0  # seconds
_OPEN = "set the address of its Service inside the cluster, where a network policy and no login keeps others away; or put user:password@ into the URL"
_UNWELL = "look at its pods and their logs, and at the proxy before it; nothing is to be set here"
_NETWORK = "look at the URL and the network policy's egress"


async def prometheus(patient: Patient) -> list[Finding]:
    """Does it answer a query, and with today's time?"""
    base = patient.settings.prometheus_url.rstrip("/")
    if not base:
        text = "no Prometheus: error ratio, latency and leaks are not measured"
        return [_PROM.warn("prometheus_missing", text, "set REMEDIATOR_PROMETHEUS_URL")]
    try:
        answer = await ask(patient, "GET", f"{base}/api/v1/query", params={"query": "time()"})
    except ProbeUnavailable as error:
        return [_PROM.fail("prometheus_away", f"Prometheus: {error.message}", _NETWORK)]
    if refused := _refused(answer, "Prometheus"):
        return [_PROM.fail("prometheus_refused", refused, _mend(answer))]
    try:
        at = float(answer.body["data"]["result"][1])
    except (TypeError, KeyError, IndexError, ValueError):
        text = f"what answers there with HTTP {answer.status} is not Prometheus"
        return [_PROM.fail("prometheus_wrong", text, "set REMEDIATOR_PROMETHEUS_URL without /api/v1")]
    skew = patient.clock.now().timestamp() - at
    if abs(skew) > _SKEW:
        text = f"Prometheus' clock is {abs(skew):.0f} s away from ours: what is measured seems old or to come"
        return [_PROM.warn("prometheus_skew", text, "let a time service keep both clocks")]
    return [_PROM.ok("prometheus_answers", "Prometheus answers queries")]


def _refused(answer: Reply, who: str) -> str:
    """Why an answer says nothing of who answers: it wants a login, or is not well."""
    status = answer.status
    if status in (401, 403):
        return f"{who} wants credentials (HTTP {status}), and this service has none to give"
    if 300 <= status < 400:
        to = foreign(urlsplit(answer.headers.get("location", "")).hostname or "another place of its own")
        return f"what answers there sends on to {to} (HTTP {status}): a login for people stands before {who}"
    if answer.body is None and "text/html" in answer.headers.get("content-type", ""):
        return f"a page for people answers there (HTTP {status}): a login stands before {who}, or it is not {who} at all"
    return f"{who}, or what stands before it, is not well (HTTP {status})" if status >= 500 else ""


def _mend(answer: Reply) -> str:
    return _UNWELL if answer.status >= 500 else _OPEN


async def alertmanager(patient: Patient) -> list[Finding]:
    """Does it answer, and does a route lead to us often enough?"""
    base = patient.settings.alertmanager_url.rstrip("/")
    if not base:
        text = "no Alertmanager: an alert that resolves while it is silenced is not noticed"
        return [_ALERTS.warn("alertmanager_missing", text, "set REMEDIATOR_ALERTMANAGER_URL")]
    try:
        answer = await ask(patient, "GET", f"{base}/api/v2/status")
    except ProbeUnavailable as error:
        return [_ALERTS.fail("alertmanager_away", f"Alertmanager: {error.message}", _NETWORK)]
    if refused := _refused(answer, "Alertmanager"):
        return [_ALERTS.fail("alertmanager_refused", refused, _mend(answer))]
    try:
        config = yaml.safe_load(answer.body["config"]["original"])
        found = [_ALERTS.ok("alertmanager_answers", "Alertmanager answers")]
        return [*found, *routes.judged(config, patient)]
    except (TypeError, KeyError, AttributeError, yaml.YAMLError):
        text = f"what answers there with HTTP {answer.status} is not Alertmanager's API v2"
        return [_ALERTS.fail("alertmanager_wrong", text, "set REMEDIATOR_ALERTMANAGER_URL without /api/v2")]


async def dependencies(patient: Patient) -> list[Finding]:
    """Does each configured dependency answer?"""
    dsns = patient.settings.dsns
    if not dsns:
        return []
    try:
        answers = await ConfiguredDependencies(dsns, patient.clock).check(sorted(dsns))
    except BadInput as error:
        return [_DEPS.fail("dependency_wrong", str(error), "correct REMEDIATOR_DEPENDENCIES")]
    return [
        _DEPS.ok("dependency_answers", f"{a.name}: {a.text}")
        if a.healthy
        else _DEPS.fail(
            "dependency_away", f"{a.name}: {a.text}", "look at its DSN, its state and the network policy"
        )
        for a in answers
    ]


async def traces(patient: Patient) -> list[Finding]:
    """Does the collector take an export? One without a span is sent."""
    given = patient.settings
    if given.traces == "off":
        return []
    if not given.traces_url:
        return [
            _TRACES.skip("traces_elsewhere", "OTEL_EXPORTER_OTLP_... say where traces go; nobody was asked")
        ]
    try:
        headers = {**given.trace_headers, **_EMPTY_EXPORT}
        answer = await ask(patient, "POST", given.traces_url, headers=headers, content=b"")
    except ProbeUnavailable as error:
        return [_TRACES.warn("traces_away", f"the collector of traces: {error.message}", _NETWORK)]
    if answer.status >= 300:
        text = f"the collector of traces answers HTTP {answer.status}, so traces are lost"
        fix = "set REMEDIATOR_TRACES_URL with its path (/v1/traces), and REMEDIATOR_TRACES_HEADERS where it wants a login"
        return [_TRACES.warn("traces_refused", text, fix)]
    return [_TRACES.ok("traces_taken", "the collector of traces takes exports")]


async def status_page(patient: Patient) -> list[Finding]:
    """Can its host be reached? Nothing is posted, so whether it takes a status is not known."""
    if not patient.settings.status_page_url:
        return []
    try:
        answer = await ask(patient, "HEAD", patient.settings.status_page_url)
    except ProbeUnavailable as error:
        return [_STATUS.fail("status_page_away", f"the status page: {error.message}", _NETWORK)]
    if answer.status >= 500:
        text = f"the status page, or what stands before it, is not well (HTTP {answer.status})"
        return [_STATUS.warn("status_page_unwell", text, "look at it, and at REMEDIATOR_STATUS_PAGE_URL")]
    return [_STATUS.ok("status_page_reached", "the status page's host answers; nothing was posted")]
