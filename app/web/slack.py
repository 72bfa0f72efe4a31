"""Slack's button clicks: signature over the raw bytes first, then 200 within Slack's 3 seconds, whatever the click does.

Whoever clicked is told by a reply that only they see when a click does not count;
an HTTP error would only show them a warning sign. Answers 5xx only while there is no place for one more body, and never trusts anything in the payload for
rights.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from app.domain.errors import BadInput, NotAuthenticated, RemediatorError, TryLater
from app.domain.pieces import PIECE
from app.intake import auth, slack
from app.web.callers import Headers, headers_of
from app.web.documented import answers, json_body
from app.web.requests import read_body
from app.web.services import WebServices

log = structlog.get_logger("app.web")

ANSWER_WITHIN = 2.0
"""Seconds after which the 200 goes out although the click is still being dealt with; Slack gives up at 3."""


class SlackInteractions:
    """POST /webhooks/slack/interactions."""

    path: ClassVar[str] = "/webhooks/slack/interactions"

    def __init__(self, services: WebServices) -> None:
        services.metrics.expect(self.path)
        self._services = services
        self._signatures = slack.Signatures()

    async def __call__(self, request: Request) -> Response:
        """Serve one POST. Raises BadInput, NotAuthenticated."""
        try:
            body = await self._signed_body(request.scope, request.receive)
        except RemediatorError as error:
            result = "replayed" if error.code == "replayed" else "not_accepted"
            self._services.metrics.clicks.labels("unknown", result).inc()
            raise
        await self._hand_on(body)
        return Response(status_code=200)

    async def _signed_body(self, scope: Scope, receive: Receive) -> bytes:
        """Raises BadInput for a body beyond the limits, NotAuthenticated (also `replayed`), before anything is read where no secret is set,
        and TryLater while there is no place for it."""
        services = self._services
        headers = headers_of(scope)
        secret = services.access.slack_secret
        if not secret or services.interactions is None:
            raise NotAuthenticated("REMEDIATOR_SLACK_SIGNING_SECRET is not set", code="not_configured")
        with services.unproved.body() as unproved:
            try:
                body = await read_body(
                    scope,
                    receive,
                    limit=slack.MAX_BYTES,
                    seconds=services.limits.body_seconds,
                    take=unproved.take,
                )
            except TryLater as late:
                if late.code != "body_timeout":
                    raise
                raise BadInput(late.message, code=late.code, where=late.where) from late
            self._prove(secret, headers, body)
        return body

    def _prove(self, secret: str, headers: Headers, body: bytes) -> None:
        timestamp = headers.get(b"x-slack-request-timestamp", b"").decode("latin-1")
        signature = headers.get(b"x-slack-signature", b"").decode("latin-1")
        now = self._services.clock.now()
        if not auth.slack_signed(secret, timestamp=timestamp, signature=signature, body=body, now=now):
            raise NotAuthenticated("no valid signature, or one too old", where="X-Slack-Signature")
        if not self._signatures.first_time(signature, timestamp, now):
            raise NotAuthenticated(
                "this request was taken already", code="replayed", where="X-Slack-Signature"
            )

    async def _hand_on(self, body: bytes) -> None:
        """Signed by Slack, so it gets its 200 even when nobody can make sense of it."""
        try:
            long = len(body) > PIECE  # beside the event loop, as it takes its time
            payload = await asyncio.to_thread(slack.payload_of, body) if long else slack.payload_of(body)
        except BadInput as error:
            log.warning("click_not_understood", where=error.where, error=error.message)
            self._services.metrics.clicks.labels("unknown", "ignored").inc()
            return
        if self._services.interactions is not None:
            # Not cancelled when the time is up: it goes on, and the clicker gets a reply.
            await asyncio.wait({self._services.interactions.begin(payload)}, timeout=ANSWER_WITHIN)


def router(services: WebServices) -> APIRouter:
    """The endpoint as a route."""
    found, endpoint = APIRouter(tags=["webhooks"]), SlackInteractions(services)
    form = {"type": "object", "required": ["payload"], "properties": {"payload": {"type": "string"}}}
    found.add_api_route(
        endpoint.path,
        endpoint.__call__,
        methods=["POST"],
        name="SlackInteractions",
        description="Buttons clicked in Slack; what a click did is told in Slack",
        response_class=Response,
        response_description="Taken, or not understood and ignored.",
        responses=answers(401, 413, 415, 422, 503),
        openapi_extra={
            "security": [{"slack": []}],
            "requestBody": json_body(form, "application/x-www-form-urlencoded"),
        },
    )
    return found
