"""Webhooks: bytes in, committed, 202. The hot path of the service.

Order of every request: who sent it (token or secret; a signature needs the body first), the body within limits, parse,
commit, answer, wake the decide loop. Never answers 2xx for what is not committed; never answers 4xx to a signed
PagerDuty request, however odd its content.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain import page_marks
from app.domain.alert import Delivery, Receipt, Source
from app.domain.errors import BadInput, NotAuthenticated, RemediatorError
from app.domain.subject import NAMES
from app.intake import alertmanager, auth, orchestration, pagerduty
from app.web.callers import Headers, caller, headers_of, require_same_site
from app.web.documented import ALERTMANAGER_BODY, SECURITY, answers, json_body
from app.web.problems import SpelledJSON, status_of
from app.web.requests import PROVED, read_body
from app.web.services import WebServices
from app.web.views import Accepted

_PD_LIMIT = pagerduty.MAX_BYTES
_TOLD = 20
"""How many rejected alerts an answer names; all of them are kept."""
_LONGEST = 200
_log = structlog.get_logger("app.web")


class Webhook(ABC):
    """One webhook as an ASGI application."""

    path: ClassVar[str]
    source: ClassVar[Source]
    summary: ClassVar[str]
    security: ClassVar[list[dict[str, list[str]]]]
    body: ClassVar[dict[str, Any]] = {"type": "object"}
    errors: ClassVar[tuple[int, ...]] = (401, 403, 413, 415, 503)
    proved_by_head: ClassVar[bool] = False
    """Whether the head alone proves who sends it."""
    passes_on: ClassVar[bool] = False
    """Whether others than its sender write what is in a body."""
    too_large: ClassVar[str] = ""
    """What the sender can set against bodies that are too large."""

    def __init__(self, services: WebServices) -> None:
        self.services = services
        self.limit = _PD_LIMIT
        metrics = services.metrics
        # Children are looked up once: `labels()` costs more than the increment.
        metrics.expect(self.path)
        self._accepted = metrics.deliveries.labels(self.source.value, "accepted")
        self._replayed = metrics.deliveries.labels(self.source.value, "replayed")
        self._alerts = {
            s: metrics.alerts.labels(self.source.value, s) for s in ("firing", "resolved", "rejected")
        }
        self._truncated = metrics.alerts_truncated.labels(self.source.value)

    @abstractmethod
    def sender(self, headers: Headers) -> str:
        """The authenticated name, as far as headers tell. Raises NotAuthenticated, NotPermitted."""

    def prove(self, headers: Headers, body: bytes) -> None:  # noqa: B027 - where the head has proved it there is nothing to do
        """Raise NotAuthenticated unless it is known who sends the body: before it waits for anything."""

    @abstractmethod
    def delivery(self, body: bytes, sender: str) -> Delivery:
        """The parsed body. Raises BadInput."""

    async def __call__(self, request: Request) -> Response:
        """Serve one POST. Raises RemediatorError."""
        try:
            delivery, receipt = await self._take(request)
        except RemediatorError as error:
            self.services.metrics.deliveries.labels(self.source.value, _result_of(error)).inc()
            raise
        answer = {
            "delivery": receipt.delivery_id,
            "incidents": receipt.incident_ids,
            "rejected": [
                {"index": bad.index, "code": bad.code, "where": bad.where[:_LONGEST]}
                for bad in delivery.rejected[:_TOLD]
            ],
        }
        return SpelledJSON(answer, status_code=202)

    def _own_page(self, title: str) -> str:
        """The key of a page of our own that a title names; empty for any other."""
        marked = page_marks.is_marked(title)
        return page_marks.reader(self.services.store.vault.key)(title) if marked else ""

    async def _take(self, request: Request) -> tuple[Delivery, Receipt]:
        services, began = self.services, self.services.clock.monotonic()
        headers = headers_of(request.scope)
        require_same_site(headers)
        sender = self.sender(headers)
        request.scope[PROVED] = sender if self.proved_by_head else ""
        body = await self._body(request, headers, sender)
        delivery = await self._parsed(body, sender)
        if (names := services.label_names()) is not NAMES:
            delivery = replace(delivery, names=names)
        receipt = await services.store.ingest(delivery)
        if receipt.incident_ids and not receipt.replayed:
            services.nudge()
        self._count(delivery, receipt)
        services.received(receipt.incident_ids, began, delivery.source.value)
        return delivery, receipt

    async def _body(self, request: Request, headers: Headers, sender: str) -> bytes:
        """The body, of whoever has proved to have sent it."""
        limits = self.services.limits
        with self.services.unproved.body() as unproved:
            taking = {} if self.proved_by_head else {"take": unproved.take}
            try:
                body = await read_body(
                    request.scope, request.receive, limit=self.limit, seconds=limits.body_seconds, **taking
                )
            except BadInput as error:
                raise self._smaller(error, sender) from error
            self.prove(headers, body)
        return body

    def _smaller(self, error: BadInput, sender: str) -> BadInput:
        """A body that is too large will be too large again: its sender's log and ours say what to set."""
        if error.code != "body_too_large" or not self.too_large:
            return error
        _log.warning(
            "body too large", source=self.source.value, sender=sender, limit=self.limit, hint=self.too_large
        )
        return BadInput(f"{error.message}: {self.too_large}", code=error.code, where=error.where)

    async def _parsed(self, body: bytes, sender: str) -> Delivery:
        """A body of ordinary size at once, a long one beside the event loop. Raises what `delivery` does, and TryLater."""
        # Whoever may send an event to PagerDuty writes its bodies, and they keep no body of Alertmanager waiting.
        places = self.services.foreign_bodies if self.passes_on else self.services.long_bodies
        return await places.read(sender, body, lambda: self.delivery(body, sender))

    def _count(self, delivery: Delivery, receipt: Receipt) -> None:
        if receipt.replayed:
            self._replayed.inc()
            return
        self._accepted.inc()
        for alert in delivery.alerts:
            self._alerts[alert.status].inc()
        if delivery.rejected:
            self._alerts["rejected"].inc(len(delivery.rejected))
            first = delivery.rejected[0]
            _log.warning(
                "alerts rejected",
                source=self.source.value,
                delivery=receipt.delivery_id,
                count=len(delivery.rejected),
                code=first.code,
                where=first.where[:_LONGEST],
            )
        if delivery.truncated_alerts:
            self._truncated.inc(delivery.truncated_alerts)


def _result_of(error: RemediatorError) -> str:
    match status_of(error):
        case 401 | 403:
            return "not_allowed"
        case 503:
            return "unavailable"
        case 500:
            return "failed"
        case _:
            return "refused"


class AlertmanagerWebhook(Webhook):
    """POST /webhooks/alertmanager: bearer or basic auth with the scope `ingest`."""

    path = "/webhooks/alertmanager"
    source = Source.ALERTMANAGER
    summary = "Alerts of Alertmanager"
    security = SECURITY
    proved_by_head = True
    body = ALERTMANAGER_BODY
    errors = (401, 403, 413, 415, 422, 503)
    too_large = "group by more labels, or set max_alerts in the webhook receiver"

    def __init__(self, services: WebServices) -> None:
        super().__init__(services)
        self.limit = services.limits.alertmanager_bytes

    def sender(self, headers: Headers) -> str:
        """The token's name."""
        return caller(self.services.access, headers, auth.Scope.INGEST).name

    def delivery(self, body: bytes, sender: str) -> Delivery:
        """Alertmanager's, Mimir's or Grafana's body. Raises BadInput."""
        now = self.services.clock.now()
        return alertmanager.parse(body, received_at=now, sender=sender, max_bytes=self.limit)


class PagerDutyWebhook(Webhook):
    """POST /webhooks/pagerduty: signed over the raw body with one of the active secrets."""

    path = "/webhooks/pagerduty"
    source = Source.PAGERDUTY
    passes_on = True
    summary = "Events of PagerDuty (V3)"
    security: ClassVar[list[dict[str, list[str]]]] = [{"pagerduty": []}]

    def sender(self, headers: Headers) -> str:
        """PagerDuty, once the signature holds; without a configured secret only the open API accepts anything."""
        if not self.services.access.pagerduty_secrets:
            if not self.services.access.open:
                raise NotAuthenticated(
                    "REMEDIATOR_PAGERDUTY_WEBHOOK_SECRETS is not set", code="not_configured"
                )
            return caller(self.services.access, headers, auth.Scope.INGEST).name
        return "pagerduty"

    def prove(self, headers: Headers, body: bytes) -> None:
        """By one of the active secrets."""
        secrets = self.services.access.pagerduty_secrets
        signature = headers.get(b"x-pagerduty-signature", b"").decode("latin-1")
        if secrets and not auth.pagerduty_signed(secrets, signature, body):
            raise NotAuthenticated("no valid signature", where="X-PagerDuty-Signature")

    def delivery(self, body: bytes, sender: str) -> Delivery:
        """One V3 event."""
        return pagerduty.parse(
            body,
            received_at=self.services.clock.now(),
            sender=sender,
            own_agents=self.services.pagerduty_agents,
            own_page=self._own_page,
        )


class OrchestrationWebhook(Webhook):
    """POST /webhooks/pagerduty/orchestration: a secret header, because nothing is signed there."""

    path = "/webhooks/pagerduty/orchestration"
    source = Source.ORCHESTRATION
    passes_on = True
    summary = "Automation actions of PagerDuty Event Orchestration"
    security: ClassVar[list[dict[str, list[str]]]] = [{"orchestration": []}]
    proved_by_head = True

    def sender(self, headers: Headers) -> str:
        """Event Orchestration, when the secret is right."""
        secret = self.services.access.orchestration_secret
        if not secret and self.services.access.open:
            return caller(self.services.access, headers, auth.Scope.INGEST).name
        if not auth.same_secret(secret, headers.get(b"x-remediator-token", b"").decode("latin-1")):
            raise NotAuthenticated("the secret is missing or wrong", where="X-Remediator-Token")
        return "orchestration"

    def delivery(self, body: bytes, sender: str) -> Delivery:
        """One automation action."""
        now = self.services.clock.now()
        return orchestration.parse(body, received_at=now, sender=sender, own_page=self._own_page)


WEBHOOKS: tuple[type[Webhook], ...] = (AlertmanagerWebhook, PagerDutyWebhook, OrchestrationWebhook)


def router(services: WebServices) -> APIRouter:
    """The webhooks as routes, with what the document says of each."""
    found = APIRouter(tags=["webhooks"])
    for kind in WEBHOOKS:
        hook = kind(services)
        # With a slash behind it too: senders add one, and a redirect would lose the body.
        found.add_api_route(f"{hook.path}/", hook.__call__, methods=["POST"], include_in_schema=False)
        found.add_api_route(
            hook.path,
            hook.__call__,
            methods=["POST"],
            name=kind.__name__,
            description=hook.summary,
            status_code=202,
            response_model=Accepted,
            response_description="Committed to disk.",
            responses=answers(*hook.errors),
            openapi_extra={"security": hook.security, "requestBody": json_body(hook.body)},
        )
    return found
