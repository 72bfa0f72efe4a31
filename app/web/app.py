"""The application: routes, error handlers and the outermost layer, put together for given services.

Called by the composition root and by tests. Never opens a connection or a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from types import MappingProxyType

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import RemediatorError
from app.web import health, ordering, reading, slack, webhooks
from app.web.documented import document, webhook_documents
from app.web.problems import handle_http, handle_ours, handle_validation
from app.web.requests import RequestLog
from app.web.services import WebServices

_ABOUT = (
    "Alert-driven auto-remediation for Kubernetes. Every error is RFC 9457 problem details with a stable `code`; "
    "every list is paged by an opaque cursor."
)


class _App(FastAPI):
    """The framework's application, with a way around it: its layers cost more than storing an alert does.

    POSTs to the webhooks get the outermost layer of ours and nothing else; whatever is not such a POST goes the usual
    way, where the same webhooks stand as routes.
    """

    webhooks_at: Mapping[str, ASGIApp] = MappingProxyType({})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        hook = self.webhooks_at.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        await (hook(scope, receive, send) if hook else super().__call__(scope, receive, send))


def create_app(services: WebServices) -> FastAPI:
    """The whole HTTP side over `services`."""
    app = _App(
        title="alert-remediator",
        version=version("alert-remediator"),
        description=_ABOUT,
        redoc_url=None,
        redirect_slashes=False,  # a redirected webhook would lose its body
        exception_handlers={
            RemediatorError: handle_ours,
            HTTPException: handle_http,
            RequestValidationError: handle_validation,
        },
    )
    app.state.services = services
    hooks = [*webhooks.routes(services), *slack.routes(services)]
    app.router.routes[:0] = hooks
    for router in (reading.router, ordering.router, health.router):
        app.include_router(router)
    layer = partial(RequestLog, clock=services.clock, ids=services.ids, metrics=services.metrics)
    app.add_middleware(layer)
    app.webhooks_at = {hook.path: layer(hook.endpoint) for hook in hooks}
    app.openapi = document(app, webhook_documents(), ordering.BODIES)  # type: ignore[method-assign]
    return app
