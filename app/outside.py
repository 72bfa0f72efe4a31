"""Clients of what is outside of this process, made from the settings: the cluster, Slack, PagerDuty, a status page, Prometheus,
an OpenID provider, a collector of traces.

Called by the composition root and `doctor`. None means that the settings name no such system. Nothing here sends anything.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from importlib.metadata import version

import httpx
from prometheus_client import Histogram
from rich.console import Console

from app.domain.errors import BadInput
from app.domain.ports import NO_TRACER, Clock, Tracer
from app.kube.client import KubeCluster, Observer
from app.notify.client import MessageClient
from app.notify.console import ConsoleClient
from app.notify.pagerduty import PagerDutyClient
from app.notify.slack import SlackClient
from app.notify.status_page import StatusPageClient
from app.observe.pagerduty_rest import PagerDutyRest
from app.observe.prometheus import Prometheus
from app.page.requests import SignIn
from app.settings import Settings


async def connect(settings: Settings, observer: Observer | None = None) -> KubeCluster:
    """The real cluster of these settings. Raises BadInput when there is no way to one."""
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    if settings.cluster == "in-cluster" or (not settings.cluster and in_pod):
        return await KubeCluster.in_cluster(observer=observer)
    return await KubeCluster.from_kubeconfig(None, settings.kube_context or None, observer=observer)


def prometheus(settings: Settings, http: httpx.AsyncClient, clock: Clock) -> Prometheus | None:
    """Prometheus, when its URL is set."""
    return Prometheus(http, settings.prometheus_url, clock) if settings.prometheus_url else None


def pagerduty_rest(settings: Settings, http: httpx.AsyncClient, clock: Clock) -> PagerDutyRest | None:
    """PagerDuty's REST API, when there is a token for it."""
    token, url = settings.pagerduty_api_token, settings.pagerduty_api_url
    return None if token is None else PagerDutyRest(http, url, token.get_secret_value(), clock)


def message_client(settings: Settings, clock: Clock) -> MessageClient:
    """Slack, or the console without a token."""
    return slack_client(settings, clock) or ConsoleClient(Console(highlight=False, soft_wrap=True))


def slack_client(settings: Settings, clock: Clock) -> SlackClient | None:
    """Slack, when there is a token for it."""
    if (given := settings.slack_bot_token) is None:
        return None
    token, url = given.get_secret_value(), settings.slack_api_url
    return SlackClient(token=token, base_url=url, clock=clock, interactive=settings.interactive)


def status_page(settings: Settings, http: httpx.AsyncClient) -> StatusPageClient | None:
    """The status page, when its URL is set."""
    url, token = settings.status_page_url, settings.status_page_token
    return StatusPageClient(http, url, token.get_secret_value() if token else "") if url else None


def pager(settings: Settings, http: httpx.AsyncClient, clock: Clock) -> PagerDutyClient | None:
    """PagerDuty, when there is a key or token for it."""
    access = settings.pagerduty_access
    return PagerDutyClient(access, http, clock) if access.routing_key or access.api_token else None


def sign_in(settings: Settings, http: httpx.AsyncClient, clock: Clock) -> SignIn | None:
    """The OpenID provider where people log in, when there is one. Raises BadInput for terms that do not fit together."""
    if (terms := settings.login) is None:
        return None
    from app.observe.identity_provider import IdentityProvider, Registration  # with libraries of its own

    registration = Registration(terms.client_id, terms.client_secret, terms.redirect_uri)
    return SignIn(terms, IdentityProvider(http, terms.issuer, registration, clock))


def tracer(settings: Settings, replica: str, closing: AsyncExitStack) -> Tracer:
    """Where traces go, which `closing` ends; nowhere unless the setting says so. Raises BadInput (`bad_setting`) without the packages."""
    if settings.traces == "off":
        return NO_TRACER
    where = "REMEDIATOR_TRACES"
    try:
        from app.observe.tracing import OpenTelemetryTracer, over_http
    except ImportError as error:
        text = f"needs the extra otel: pip install 'alert-remediator[otel]' ({error.name} is missing)"
        raise BadInput(text, code="bad_setting", where=where) from error
    try:
        processor = over_http(settings.traces_url, settings.trace_headers)
    except ValueError as error:
        text = "one of OpenTelemetry's own variables (OTEL_...) cannot be read"
        raise BadInput(text, code="bad_setting", where=where) from error
    made = OpenTelemetryTracer(processor, version=version("alert-remediator"), replica=replica)
    closing.push_async_callback(made.close)
    return made


def histogram(settings: Settings) -> type[Histogram]:
    """The kind of histograms: with traces, one that says in which span it was measured. `tracer` has said what is missing for it."""
    if settings.traces == "off":
        return Histogram
    from app.observe.tracing import TracedHistogram

    return TracedHistogram
