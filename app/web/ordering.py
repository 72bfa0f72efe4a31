"""The part of the API that changes something: manual triggers (scope `trigger`), approvals, undo, pauses (`operate`).

Every order is passed on with the caller's name; whether it is allowed now is decided by the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.domain.errors import BadInput
from app.domain.free_text import one_line
from app.intake import manual
from app.intake.auth import Principal, Scope
from app.intake.body import decode, rfc3339, validated
from app.store.approvals import Click
from app.web.callers import require
from app.web.documented import answers, secured
from app.web.paging import Id
from app.web.placing import place
from app.web.reading import RunId, Using
from app.web.requests import read_body
from app.web.services import WebServices
from app.web.views import Ordered

M = TypeVar("M", bound=BaseModel)
_LONGEST = 500
_ERRORS = answers(401, 403, 404, 409, 413, 415, 422, 503)
_ScopeText = Annotated[
    str,
    Field(
        pattern=r"^(all|(namespace|target|rule|remediation):.{1,300})$",
        description="all, namespace:NAME, target:NAMESPACE/KIND/NAME, rule:NAME or remediation:NAME",
    ),
]


class WhyBody(BaseModel):
    """Why somebody orders something, in their own words: it stands in the thread and the audit trail. It may be left out."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=_LONGEST)] = ""

    @property
    def click(self) -> Click:
        """The reason as the flow takes it; no button was clicked."""
        return Click(reason=one_line(self.reason, _LONGEST))


class AnswerBody(WhyBody):
    """An answer to a request for approval. With `plan_hash` it is for that very plan only."""

    plan_hash: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


class PauseBody(BaseModel):
    """A pause. Without `until` it stays until it is lifted."""

    model_config = ConfigDict(extra="forbid")
    scope: _ScopeText = "all"
    reason: Annotated[str, Field(min_length=1, max_length=_LONGEST, pattern=r"\S")]
    until: Annotated[str | None, Field(description="RFC 3339", json_schema_extra={"format": "date-time"})] = (
        None
    )


class ResumeBody(WhyBody):
    """Lifts a pause."""

    scope: _ScopeText = "all"


class TrustBody(BaseModel):
    """Moves a trust level by one level. `key` is as the list of trust levels has it."""

    model_config = ConfigDict(extra="forbid")
    key: Annotated[str, Field(min_length=1, max_length=2_000)]
    reason: Annotated[str, Field(min_length=1, max_length=_LONGEST, pattern=r"\S")]


BODIES: tuple[type[BaseModel], ...] = (
    manual.ManualBody,
    WhyBody,
    AnswerBody,
    PauseBody,
    ResumeBody,
    TrustBody,
)

router = APIRouter(prefix="/api/v1", tags=["ordering"])
Operator = Annotated[Principal, Depends(require(Scope.OPERATE))]
Trigger = Annotated[Principal, Depends(require(Scope.TRIGGER))]


async def json_bytes(request: Request) -> bytes:
    """The raw JSON body within the limits, empty when there is none. Raises BadInput, TryLater."""
    limits = request.app.state.services.limits
    body = await read_body(
        request.scope, request.receive, limit=manual.MAX_BYTES, seconds=limits.body_seconds
    )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise BadInput("send application/json", code="media_type_refused", where="Content-Type")
    return body


def json_of(
    model: type[M], *, empty: bytes = b""
) -> Callable[[Request, WebServices, Principal], Coroutine[Any, Any, M]]:
    """A dependency: the body as `model`; `empty` stands in for no body. Callers are authenticated before it is read, and it is read as long as
    other bodies are: where that takes long, beside the event loop."""

    async def read(request: Request, using: Using, operator: Operator) -> M:
        body = await json_bytes(request)
        parse = partial(_parsed, model, body or empty)
        return await using.long_bodies.read(operator.name, body, parse)

    return read


def _parsed(model: type[M], body: bytes) -> M:
    return validated(model, decode(body, max_bytes=manual.MAX_BYTES))


Answer = Annotated[AnswerBody, Depends(json_of(AnswerBody, empty=b"{}"))]
Why = Annotated[WhyBody, Depends(json_of(WhyBody, empty=b"{}"))]


@router.post("/remediations", status_code=202, responses=_ERRORS, openapi_extra=secured(manual.ManualBody))
async def trigger_remediation(
    using: Using,
    by: Trigger,
    request: Request,
    idempotency_key: Annotated[
        str, Header(description="a repeat under the same key gives the same answer, another body 409")
    ] = "",
) -> Ordered:
    """Order a remediation. The policy's gates hold for it too."""
    body, now = await json_bytes(request), using.clock.now()
    parse = partial(manual.parse, body, received_at=now, by=by, idempotency_key=idempotency_key)
    order = await using.long_bodies.read(by.name, body, parse)
    receipt = await place(using, order)
    return Ordered(incident=receipt.incident_ids[0], run=receipt.run_ids[0])


@router.post(
    "/runs/{run_id}/approve",
    status_code=202,
    responses=_ERRORS,
    openapi_extra=secured(AnswerBody, required=False),
)
async def approve_run(using: Using, by: Operator, run_id: RunId, body: Answer) -> dict[str, Any]:
    """Approve the waiting plan of a run."""
    return await using.operations.approve(run_id, by.name, body.plan_hash, body.click)


@router.post(
    "/runs/{run_id}/reject",
    status_code=202,
    responses=_ERRORS,
    openapi_extra=secured(AnswerBody, required=False),
)
async def reject_run(using: Using, by: Operator, run_id: RunId, body: Answer) -> dict[str, Any]:
    """Reject the waiting plan of a run, or take back an order to undo it that has not begun."""
    return await using.operations.reject(run_id, by.name, body.plan_hash, body.click)


@router.post(
    "/runs/{run_id}/undo", status_code=202, responses=_ERRORS, openapi_extra=secured(WhyBody, required=False)
)
async def undo_run(
    using: Using,
    by: Operator,
    run_id: RunId,
    body: Why,
    despite: Annotated[
        bool,
        Query(
            description="Undo although a pause, a ceiling or a freeze holds it, or rows written since are lost, knowing of it."
        ),
    ] = False,
) -> dict[str, Any]:
    """Undo what a run changed, where its values are still in place."""
    return await using.operations.undo(run_id, by.name, body.click, despite=despite)


@router.post(
    "/runs/{run_id}/keep", status_code=202, responses=_ERRORS, openapi_extra=secured(WhyBody, required=False)
)
async def keep_run(using: Using, by: Operator, run_id: RunId, body: Why) -> dict[str, Any]:
    """Keep the temporary change of a run: it is not taken back."""
    return await using.operations.keep(run_id, by.name, body.click)


@router.post(
    "/incidents/{incident_id}/acknowledge", responses=_ERRORS, openapi_extra=secured(WhyBody, required=False)
)
async def acknowledge_incident(
    using: Using,
    by: Operator,
    incident_id: Annotated[Id, Path(description="an incident, or a storm as its message names it")],
    body: Why,
) -> dict[str, Any]:
    """Take an incident: nobody else is asked, and nothing is done on it by itself. Repeating it changes nothing."""
    return await using.operations.acknowledge(incident_id, by.name, body.click)


@router.post("/pause", responses=_ERRORS, openapi_extra=secured(PauseBody))
async def pause(
    using: Using, by: Operator, body: Annotated[PauseBody, Depends(json_of(PauseBody))]
) -> dict[str, Any]:
    """Stop all action inside a scope; looking and telling go on."""
    return await using.operations.pause(body.scope, body.reason, by.name, _until(body.until))


@router.post("/resume", responses=_ERRORS, openapi_extra=secured(ResumeBody, required=False))
async def resume(
    using: Using, by: Operator, body: Annotated[ResumeBody, Depends(json_of(ResumeBody, empty=b"{}"))]
) -> dict[str, Any]:
    """Lift a pause."""
    return await using.operations.resume(body.scope, by.name, body.click)


@router.post("/trust/promote", responses=_ERRORS, openapi_extra=secured(TrustBody))
async def promote(
    using: Using, by: Operator, body: Annotated[TrustBody, Depends(json_of(TrustBody))]
) -> dict[str, Any]:
    """Raise a trust level by one level; also the confirmation of a promotion that waits."""
    return await using.operations.promote(body.key, body.reason, by.name)


@router.post("/trust/demote", responses=_ERRORS, openapi_extra=secured(TrustBody))
async def demote(
    using: Using, by: Operator, body: Annotated[TrustBody, Depends(json_of(TrustBody))]
) -> dict[str, Any]:
    """Lower a trust level by one level."""
    return await using.operations.demote(body.key, body.reason, by.name)


def _until(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = rfc3339(text)
    if time is None:
        raise BadInput("expected an RFC 3339 time", code="invalid_field", where="/until")
    return time
