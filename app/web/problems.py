"""The one error shape: RFC 9457 problem details with a stable `code`, for every status and every route.

Owns the way from our error tree to HTTP. Alertmanager repeats at once only what is answered with 5xx, so everything
that may pass by itself is 503 with Retry-After. Never shows an internal message, a traceback or a secret.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import (
    BadInput,
    Missing,
    NotAuthenticated,
    NotPermitted,
    Refused,
    RemediatorError,
    TryLater,
)
from app.domain.free_text import MAX_WHERE, told_of
from app.domain.text import spelled
from app.intake.body import pointer
from app.web.failures import TooManyFailuresError, counted

_log = structlog.get_logger("app.web")

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "remediator.request_id"
"""Key of the request's id in the ASGI scope."""
MAX_PATH = 200
"""Characters of a stranger's path that a log line shows."""
_DEFAULT_RETRY = 5  # seconds
_BY_CODE = {
    "body_too_large": 413,
    "encoding_refused": 415,
    "media_type_refused": 415,
    TooManyFailuresError.code: 429,
}
_BY_TYPE: tuple[tuple[type[RemediatorError], int], ...] = (
    (BadInput, 422),
    (NotAuthenticated, 401),
    (NotPermitted, 403),
    (Missing, 404),
    (Refused, 409),
    (TryLater, 503),
)
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(default="about:blank", description="always about:blank; `code` tells the kind")
    title: str
    status: int
    code: str = Field(description="stable and machine-readable")
    detail: str = ""
    where: str = Field(
        default="", description="the place of the fault: a JSON pointer, a parameter or a header"
    )
    request_id: str = Field(default="", description="stands in the log of the service")


class SpelledJSON(JSONResponse):
    """JSON of which no character of a stranger moves anything where it is printed."""

    def render(self, content: Any) -> bytes:
        """The document in UTF-8."""
        document = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return spelled(document).encode()


def problem(
    scope: Scope,
    status: int,
    code: str,
    detail: str,
    *,
    where: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response in the one error shape."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=told_of(detail),
        where=told_of(where, MAX_WHERE),
        request_id=str(scope.get(REQUEST_ID, "")),
    )
    return SpelledJSON(body.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def of_error(scope: Scope, error: RemediatorError) -> Response:
    """The answer to one of our errors; what has no place in the contract is a 500 that tells only its code."""
    status = status_of(error)
    if status == 500:
        _log.error(
            "fault", request=str(scope.get(REQUEST_ID, "")), code=error.code, reason=told_of(error.message)
        )
        return internal(scope, error.code)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="alert-remediator", Basic realm="alert-remediator"'
    if isinstance(error, TooManyFailuresError):
        headers["Retry-After"] = str(error.seconds)
    if isinstance(error, TryLater):
        headers["Retry-After"] = retry_after(error)
    return problem(scope, status, error.code, error.message, where=error.where, headers=headers)


def retry_after(error: TryLater) -> str:
    """The value of Retry-After, in whole seconds."""
    return str(max(1, math.ceil(error.retry_after or _DEFAULT_RETRY)))


def status_of(error: RemediatorError) -> int:
    """The HTTP status of one of our errors."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((status for kind, status in _BY_TYPE if isinstance(error, kind)), 500)


def internal(scope: Scope, code: str = "internal") -> Response:
    """A fault of ours: the request id leads to the log, nothing else is told."""
    return problem(scope, 500, code, "an unexpected error; the service's log has it under the request_id")


async def handle_ours(request: Request, error: Exception) -> Response:
    """Exception handler for RemediatorError. Whoever proves nothing too often is told to wait."""
    assert isinstance(error, RemediatorError)  # noqa: S101 - registered for this type only
    if isinstance(error, NotAuthenticated):
        error = counted(request, error)
    return of_error(request.scope, error)


async def handle_http(request: Request, error: Exception) -> Response:
    """Exception handler for what the framework itself raises: no such route, wrong method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    code = _HTTP_CODES.get(error.status_code, f"http_{error.status_code}")
    return problem(request.scope, error.status_code, code, str(error.detail), headers=error.headers)


async def handle_validation(request: Request, error: Exception) -> Response:
    """Exception handler for parameters that do not fit; the first fault is told."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    faults: Sequence[Any] = error.errors()
    first = faults[0]
    where = pointer(*first["loc"])
    return problem(request.scope, 422, "invalid_parameter", str(first["msg"]), where=where)


async def guarded(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, begun: Callable[[], bool]
) -> None:
    """Serve one request; the HTTP boundary, where whatever was not foreseen becomes a log line and a 500.

    `begun` tells whether the answer has begun, so that nothing more can be said.
    """
    try:
        await app(scope, receive, send)
    except ClientDisconnect:
        _log.info("client gone", request=scope[REQUEST_ID], path=scope["path"][:MAX_PATH])
    except Exception:  # noqa: BLE001 - the HTTP boundary
        _log.exception(
            "request failed", request=scope[REQUEST_ID], method=scope["method"], path=scope["path"][:MAX_PATH]
        )
        if not begun():
            await internal(scope)(scope, receive, send)
