"""The application: routes, error handlers and the outermost layer, put together for given services.

Called by the composition root and by tests. Never opens a connection or a file.
"""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.domain.errors import RemediatorError
from app.web import health, ordering, reading, reference, slack, webhooks
from app.web.documented import document
from app.web.problems import SpelledJSON, handle_http, handle_ours, handle_validation
from app.web.requests import RequestLog
from app.web.services import WebServices

_ABOUT = (
    "Alert-driven auto-remediation for Kubernetes. Every error is RFC 9457 problem details with a stable `code`; "
    "every list is paged by an opaque cursor; a parameter that a route does not know is refused."
)


def create_app(services: WebServices) -> FastAPI:
    """The whole HTTP side over `services`."""
    app = FastAPI(
        title="alert-remediator",
        version=version("alert-remediator"),
        description=_ABOUT,
        docs_url=None,  # the framework's page loads a script from somewhere else; ours is plain
        redoc_url=None,
        openapi_url=None,  # the framework's route renders the document for each request
        default_response_class=SpelledJSON,
        redirect_slashes=False,  # a redirected webhook would lose its body
        exception_handlers={
            RemediatorError: handle_ours,
            HTTPException: handle_http,
            RequestValidationError: handle_validation,
        },
    )
    app.state.services = services
    routers = (
        webhooks.router(services),
        slack.router(services),
        reading.router,
        ordering.router,
        health.router,
        reference.router,
    )
    for router in routers:
        app.include_router(router)
    app.add_middleware(RequestLog, clock=services.clock, ids=services.ids, metrics=services.metrics)
    app.openapi = document(app, ordering.BODIES)  # type: ignore[method-assign]
    app.state.documents = reference.Documents(app.openapi)
    return app
