"""Health and metrics, open to everybody as is custom: kubelets and Prometheus bring no token, nothing here is secret."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from pydantic import BaseModel, Field

from app.web.documented import answers
from app.web.reading import Using

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process serves requests."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether alerts are taken; `problems` says by part what keeps them out, `degraded` what else does not work as it should."""

    ready: bool
    problems: dict[str, str] = Field(default_factory=dict)
    degraded: dict[str, str] = Field(default_factory=dict)


@router.get("/healthz", responses=answers())
async def healthz() -> Alive:
    """Alive: nothing outside of the process is asked, so that an outage elsewhere restarts nobody."""
    return Alive()


@router.get(
    "/readyz",
    responses={
        **answers(),
        503: {"description": "The store cannot write, so no alert can be taken.", "model": Readiness},
    },
)
async def readyz(using: Using, response: Response) -> Readiness:
    """Ready to take alerts, which needs the store alone. A cluster that is away, a missing right, a task that fails or a policy
    that was refused is `degraded`."""
    found = await using.ready()
    if found.problems:
        response.status_code = 503
    return Readiness(ready=not found.problems, problems=dict(found.problems), degraded=dict(found.degraded))


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **answers(),
    },
)
async def metrics(using: Using, request: Request) -> Response:
    """Metrics. Whoever asks in the same moment is answered with the same text."""
    registry = using.metrics.registry
    if using.tracer.on and "application/openmetrics-text" in request.headers.get("accept", ""):
        # Only this format has exemplars.
        text = await using.together.get("openmetrics", lambda: _open_text(registry))
        return Response(text, media_type=openmetrics.CONTENT_TYPE_LATEST)
    text = await using.together.get("text", lambda: generate_latest(registry))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _open_text(registry: CollectorRegistry) -> bytes:
    text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return text
