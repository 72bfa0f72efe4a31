"""The tracer over OpenTelemetry: what is sent to a collector, what is dropped when there is none, and what holds for its variables."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import outside
from app.domain.errors import BadInput
from app.domain.ports import NO_TRACER
from app.observe import logs
from app.observe.tracing import OpenTelemetryTracer, over_http, trace_of
from app.settings import Settings, load_settings


@dataclass
class Collector:
    """Takes OTLP over HTTP."""

    url: str = ""
    hangs: bool = False
    headers: list[dict[str, str]] = field(default_factory=list)
    got: list[ExportTraceServiceRequest] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        if self.hangs:
            await asyncio.Event().wait()
        self.got.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    def names(self) -> list[str]:
        scopes = [s for r in self.got for resource in r.resource_spans for s in resource.scope_spans]
        return [span.name for scope in scopes for span in scope.spans]

    def resource(self) -> dict[str, str]:
        attributes = self.got[0].resource_spans[0].resource.attributes
        return {a.key: a.value.string_value for a in attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    collector.url = f"http://{host}:{port}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def in_memory() -> tuple[OpenTelemetryTracer, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return OpenTelemetryTracer(SimpleSpanProcessor(exporter), version="1", replica="r"), exporter


async def test_a_collector_gets_the_spans_with_our_headers_and_name() -> None:
    async with collecting() as collector, AsyncExitStack() as closing:
        settings = Settings(
            traces="otlp", traces_url=f"{collector.url}/v1/traces", traces_headers="X-Key=a%20b"
        )
        tracer = outside.tracer(settings, "replica-0", closing)
        with tracer.span("decide", "inc_1"), tracer.span("look"):
            pass
        await closing.aclose()
        assert collector.names() == ["look", "decide"]
        assert collector.headers[0]["x-key"] == "a b"
        found = collector.resource()
        assert (found["service.name"], found["service.instance.id"]) == ("alert-remediator", "replica-0")


async def test_what_our_settings_do_not_say_opentelemetrys_own_variables_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with collecting() as collector, AsyncExitStack() as closing:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=b")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=sre")
        tracer = outside.tracer(Settings(traces="otlp"), "r", closing)
        with tracer.span("decide", "inc_1"):
            pass
        await closing.aclose()
        assert collector.headers[0]["x-key"] == "b"
        assert collector.resource().items() >= {"service.name": "ours", "team": "sre"}.items()


async def test_a_dead_collector_costs_spans_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
    async with collecting() as collector:
        collector.hangs = True
        for url in (f"{collector.url}/v1/traces", "http://127.0.0.1:9/v1/traces"):
            tracer = OpenTelemetryTracer(over_http(url, {}), version="1", replica="r")
            began = time.perf_counter()
            for number in range(2_000):
                with tracer.span("decide", f"inc_{number}"):
                    pass
            assert (time.perf_counter() - began) / 2_000 < 0.005, "seconds for a span"
            began = time.perf_counter()
            await tracer.close(0.05)
            assert time.perf_counter() - began < 2.0


def test_off_is_off_and_makes_nothing() -> None:
    assert outside.tracer(Settings(), "r", AsyncExitStack()) is NO_TRACER
    with NO_TRACER.span("x", "inc_1", a=1):
        NO_TRACER.past("y", 1.0)


def test_without_the_packages_the_start_fails_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "app.observe.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(BadInput) as caught:
        outside.tracer(Settings(traces="otlp"), "r", AsyncExitStack())
    assert (caught.value.code, caught.value.where) == ("bad_setting", "REMEDIATOR_TRACES")
    assert "pip install 'alert-remediator[otel]'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRACES", "jaeger"),
        ("TRACES_URL", "collector:4318"),
        ("TRACES_URL", "ftp://collector"),
        ("TRACES_HEADERS", "geheim"),
        ("TRACES_HEADERS", "a=b,geheim"),
        ("TRACES_HEADERS", "a b=geheim"),
    ],
)
def test_settings_that_cannot_be_read_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"REMEDIATOR_{name}", value)
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert caught.value.where == f"REMEDIATOR_{name}"
    assert "geheim" not in str(caught.value)


def test_the_trace_of_an_incident_is_the_same_everywhere() -> None:
    assert trace_of("inc_1") == trace_of("inc_1") != trace_of("inc_2")
    assert 0 < trace_of("") < 2**128


def test_all_replicas_sample_the_same_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    kept = []
    for _ in range(2):
        tracer, spans = in_memory()
        for number in range(200):
            with tracer.span("decide", f"inc_{number}"), tracer.span("look"):
                pass
        kept.append([(s.name, s.context.trace_id) for s in spans.get_finished_spans() if s.context])
    assert kept[0] == kept[1]
    assert 60 < len({trace for _, trace in kept[0]}) < 140
    assert len(kept[0]) == 2 * len({trace for _, trace in kept[0]})


def test_log_lines_within_a_span_say_which_one_it_is() -> None:
    tracer, spans = in_memory()
    stream = io.StringIO()
    before = structlog.get_config()
    logs.configure(stream, as_json=True)
    try:
        log = structlog.get_logger("x")
        log.info("outside")
        with tracer.span("decide", "inc_1"):
            log.info("inside")
    finally:
        structlog.configure(**before)
    outside_, inside = stream.getvalue().splitlines()
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert "trace_id" not in outside_
    assert f'"trace_id": "{trace_of("inc_1"):032x}"' in inside
    assert f'"span_id": "{span.context.span_id:016x}"' in inside


def test_a_span_that_fails_tells_the_kind_of_error_and_not_its_words() -> None:
    tracer, spans = in_memory()
    with pytest.raises(ValueError, match="geheim"), tracer.span("decide", "inc_1"):
        raise ValueError("geheim")
    (span,) = spans.get_finished_spans()
    assert span.status.description == "ValueError"
    assert "geheim" not in span.to_json()


def test_facts_are_cut_and_searched_for_secrets() -> None:
    tracer, spans = in_memory()
    with tracer.span("decide", "inc_1", text="x" * 999, secret="password=geheim", hidden="a\u202eb", n=1):
        tracer.past("request", 2.0, code="200")
    past, span = spans.get_finished_spans()
    told = dict(span.attributes or {})
    assert len(str(told["remediator.text"])) <= 201
    assert "geheim" not in str(told)
    assert "\u202e" not in str(told)
    assert past.end_time is not None
    assert past.start_time is not None
    assert past.end_time - past.start_time == 2_000_000_000
    assert past.parent is not None


def test_what_belongs_to_no_incident_makes_no_span() -> None:
    tracer, spans = in_memory()
    with tracer.span("look"):
        tracer.past("request", 1.0)
    assert spans.get_finished_spans() == ()
    with tracer.span("decide", "inc_1"), tracer.span("decide", "inc_2"):
        pass
    second, first = spans.get_finished_spans()
    assert second.context is not None
    assert (second.context.trace_id, second.parent) == (trace_of("inc_2"), None), (
        "another incident's is not below"
    )
    assert first.parent is None
