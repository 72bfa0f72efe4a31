"""What the OpenAPI document says beyond what the framework finds by itself.

Owns the error responses of each kind of route, the security schemes, and bodies that routes read themselves.
A test walks the document: every status that a route can answer stands in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from app.web.problems import MEDIA_TYPE, Problem

SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
_REFERENCE = "#/components/schemas/{model}"
_TEXTS = {
    400: "The head says no single Host, or its query has too many fields.",
    401: "No or wrong credentials.",
    403: "The caller lacks the scope, or the request came from another site.",
    404: "What was named does not exist.",
    409: "The present state does not allow it.",
    413: "The body is too large.",
    414: "The query is too long.",
    415: "A content encoding or media type that is not accepted.",
    422: "The request is not acceptable; `where` names the place.",
    429: "Too many requests from this address proved nothing; one that does passes all the same.",
    431: "The head is too large; the connection ends.",
    500: "An unexpected error; the service's log has it under the request id.",
    503: "Nothing was stored or changed; repeat after Retry-After.",
}
_EVERYWHERE = (400, 414, 431, 500)
_WITHOUT_A_BODY = (431,)
"""What a connection answers by itself, before it is a request."""
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of REMEDIATOR_TOKENS."},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user name; the token is the password."},
    "pagerduty": {
        "type": "apiKey",
        "in": "header",
        "name": "X-PagerDuty-Signature",
        "description": "`v1=` and the hex HMAC-SHA256 of the raw body.",
    },
    "slack": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Slack-Signature",
        "description": "`v0=` and the hex HMAC-SHA256 of `v0:`, X-Slack-Request-Timestamp, `:` and the raw body; not older "
        "than 300 s, and each only once.",
    },
    "orchestration": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Remediator-Token",
        "description": "The value of REMEDIATOR_ORCHESTRATION_SECRET.",
    },
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer these error statuses; 429 can wherever 401 can, and what the door answers
    before any route (`app/web/requests.py`, `app/web/connections.py`) everywhere: 400, 414, 431 and 500."""
    waits = (429,) if 401 in statuses else ()
    return {status: _problem(status) for status in sorted({*statuses, *waits, *_EVERYWHERE})}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    if status in _WITHOUT_A_BODY:
        return {"description": _TEXTS[status]}
    found: dict[str, Any] = {"description": _TEXTS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
    if status in (429, 503):
        found["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return found


def secured(body: type[BaseModel] | None = None, *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route behind a token, with the JSON body that it reads itself."""
    extra: dict[str, Any] = {"security": SECURITY}
    if body is not None:
        schema = {"$ref": _REFERENCE.format(model=body.__name__)}
        extra["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return extra


def json_body(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """A required request body that the route reads itself."""
    return {"required": True, "content": {media_type: {"schema": schema}}}


def document(app: FastAPI, models: tuple[type[BaseModel], ...]) -> Callable[[], Any]:
    """The function that makes the OpenAPI document, once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            components = schema.setdefault("components", {})
            components["securitySchemes"] = _SCHEMES
            known = components.setdefault("schemas", {})
            shown: tuple[type[BaseModel], ...] = (Problem, *models)
            for model in shown:
                _add_model(known, model)
            for unused in ("HTTPValidationError", "ValidationError"):
                known.pop(unused, None)
            app.openapi_schema = schema
        return app.openapi_schema

    return openapi


def _add_model(known: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    known.update(schema.pop("$defs", {}))
    known[model.__name__] = schema


ALERTMANAGER_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["version", "alerts"],
    "description": "Alertmanager's webhook body. Unknown fields are ignored; an alert that cannot be understood is kept "
    "with the reason and does not stop its neighbours.",
    "properties": {
        "version": {"const": "4"},
        "groupKey": {},
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "alerts": {"type": "array", "items": {}},
    },
}
