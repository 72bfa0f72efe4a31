"""Traces by OpenTelemetry: what was done for one incident, on whichever replica and after however many restarts, is one trace.

Imported only when the setting asks for it, since its packages are an extra. The trace's id is derived from the incident's, so nothing has to
be stored or handed on. Spans wait in a bounded queue and are sent by a thread of their own: a collector that is away costs
spans and never time. The environment variables of OpenTelemetry hold for what our settings do not say (sampler, queue,
resource, endpoint). Never puts a text into a span that is not cut and searched for secrets.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import structlog
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, StatusCode, format_span_id, format_trace_id, get_current_span
from opentelemetry.util.types import AttributeValue
from prometheus_client import Histogram

from app.domain.ports import SpanFact
from app.domain.redact import redact
from app.domain.text import visible

NAME = "alert-remediator"
CLOSE = 2.0
"""Seconds that the last spans have to get out when the process ends."""
_LONGEST = 200  # characters of a fact
_SPAN: ContextVar[dict[str, str] | None] = ContextVar("span", default=None)
_TRACE_ID: ContextVar[int] = ContextVar("trace_id", default=0)


class TracedHistogram(Histogram):
    """A histogram whose measurements say in which span they were made."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """One measurement."""
        super().observe(amount, exemplar or _SPAN.get())


class _Ids(RandomIdGenerator):
    """The trace that is wanted, where one is."""

    def generate_trace_id(self) -> int:
        return _TRACE_ID.get() or super().generate_trace_id()


def trace_of(incident_id: str) -> int:
    """The id of an incident's trace: the same wherever and whenever it is asked for."""
    return int.from_bytes(hashlib.sha256(f"incident:{incident_id}".encode()).digest()[:16])


class OpenTelemetryTracer:
    """The port over OpenTelemetry."""

    on = True

    def __init__(self, processor: SpanProcessor, *, version: str, replica: str) -> None:
        named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        own = {} if named else {"service.name": NAME}
        resource = Resource.create({"service.version": version, "service.instance.id": replica, **own})
        # Not the process's global provider: no library's spans get in beside ours.
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(NAME, version)

    def span(self, name: str, incident: str = "", **facts: SpanFact) -> AbstractContextManager[None]:
        """What is done within it is part of this incident's trace; without an incident, of the span around it."""
        return self._span(name, incident, facts)

    @contextmanager
    def _span(self, name: str, incident: str, facts: Mapping[str, SpanFact]) -> Iterator[None]:
        with self._context(incident) as context:
            if context is None:
                yield
                return
            with (
                self._tracer.start_as_current_span(
                    name,
                    context,
                    attributes=_attributes(incident, facts),
                    record_exception=False,
                    set_status_on_exception=False,
                ) as span,
                _known(span),
            ):
                try:
                    yield
                except BaseException as error:
                    span.set_status(StatusCode.ERROR, type(error).__name__)
                    raise

    def past(self, name: str, seconds: float, incident: str = "", **facts: SpanFact) -> None:
        """A span that ends now and began `seconds` ago."""
        now = time.time_ns()
        with self._context(incident) as context:
            if context is not None:
                attributes = _attributes(incident, facts)
                began = now - round(seconds * 1e9)
                self._tracer.start_span(name, context, attributes=attributes, start_time=began).end(now)

    @contextmanager
    def _context(self, incident: str) -> Iterator[Context | None]:
        """Where a span belongs: below the present one of the same trace, or as one more beginning of the incident's. None: nowhere."""
        around = get_current_span().get_span_context()
        wanted = trace_of(incident) if incident else around.trace_id
        if around.is_valid and around.trace_id == wanted:
            yield get_current()
        elif incident:
            token = _TRACE_ID.set(wanted)
            try:
                yield Context()
            finally:
                _TRACE_ID.reset(token)
        else:
            yield None

    async def close(self, seconds: float = CLOSE) -> None:
        """Send what waits, for `seconds` at most."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, seconds)


@contextmanager
def _known(span: Span) -> Iterator[None]:
    """Within a span each log line and each measurement says which one it is."""
    context = span.get_span_context()
    told = {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}
    token = _SPAN.set(told if span.is_recording() else None)
    try:
        with structlog.contextvars.bound_contextvars(**told):
            yield
    finally:
        _SPAN.reset(token)


def _attributes(incident: str, facts: Mapping[str, SpanFact]) -> dict[str, AttributeValue]:
    given = {"incident": incident, **facts} if incident else facts
    return {
        f"remediator.{name}": redact(visible(value), longest=_LONGEST) if isinstance(value, str) else value
        for name, value in given.items()
    }


def over_http(endpoint: str, headers: Mapping[str, str]) -> SpanProcessor:
    """Sends spans in batches by OTLP over HTTP; where `endpoint` is empty, as OpenTelemetry's own variables say. Raises ValueError for
    such a variable that cannot be read."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint or None, headers=dict(headers) or None))
