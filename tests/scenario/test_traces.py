"""Traces: one incident is one trace, from the webhook to the write and the message, whoever does what part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from app.domain.outcome import RunState
from app.observe.metrics import Metrics
from app.observe.tracing import OpenTelemetryTracer, TracedHistogram, trace_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, writes
from tests.scenario.web import app_of, client_of

SECRET = "password=hunter2-of-the-team"


def traced() -> tuple[OpenTelemetryTracer, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return OpenTelemetryTracer(SimpleSpanProcessor(exporter), version="1", replica="rig"), exporter


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Where all spans of a test go."""
    _, exporter = traced()
    yield exporter
    exporter.clear()


async def ended(rig: Rig) -> bool:
    return any(r.state.ended or r.state is RunState.FIXED for r in await all_runs(rig))


async def by_webhook(rig: Rig, **labels: Any) -> None:
    async with client_of(app_of(rig)) as http:
        answer = await http.post("/webhooks/alertmanager", json=body(alert(rig, **labels)))
    assert answer.status_code == 202


def traces(spans: InMemorySpanExporter) -> dict[int, list[ReadableSpan]]:
    found: dict[int, list[ReadableSpan]] = {}
    for span in spans.get_finished_spans():
        assert span.context is not None
        found.setdefault(span.context.trace_id, []).append(span)
    return found


async def test_one_trace_goes_from_the_webhook_to_the_write_and_the_message(tmp_path: Path) -> None:
    tracer, spans = traced()
    rig = await born(tmp_path, tracer=tracer)
    await by_webhook(rig, runbook=SECRET, team="x" * 3_000)
    await rig.until(lambda: ended(rig))
    assert writes(rig)
    (incident,) = await all_incidents(rig)
    found = traces(spans)
    assert set(found) == {trace_of(incident.id)}
    whole = found[trace_of(incident.id)]
    names = {span.name for span in whole}
    stages = {"match the rule", "resolve the target", "look at the target", "gather facts"}
    assert {"receive", "decide", "apply", "dry run", "write", "verify", "notify"} | stages <= names
    by_id = {span.context.span_id: span.name for span in whole if span.context}
    parents = {span.name: by_id[span.parent.span_id] for span in whole if span.parent}
    assert {parents["look at the target"], parents["dry run"], parents["write"]} == {"decide", "apply"}
    assert {"receive", "decide", "notify", "verify"} & set(parents) == set()
    told = [value for span in whole for value in (span.attributes or {}).values()]
    assert all(len(str(value)) <= 201 for value in told)
    assert "hunter2" not in str([span.to_json() for span in whole])
    assert spans.get_finished_spans()[0].attributes == {
        "remediator.incident": incident.id,
        "remediator.source": "alertmanager",
    }
    await rig.close()


async def test_after_a_restart_the_spans_join_the_same_trace(tmp_path: Path) -> None:
    first, before = traced()
    rig = await born(tmp_path, tracer=first)
    await by_webhook(rig)

    async def asked() -> bool:
        return bool(await all_runs(rig))

    await rig.until(asked)
    await rig.die()
    rig.tracer, after = traced()
    await rig.born()
    await rig.until(lambda: ended(rig))
    (incident,) = await all_incidents(rig)
    assert set(traces(before)) == set(traces(after)) == {trace_of(incident.id)}
    assert "decide" in {s.name for s in before.get_finished_spans()}
    assert "verify" in {s.name for s in after.get_finished_spans()}
    await rig.close()


async def test_a_delivery_of_many_incidents_begins_few_traces(tmp_path: Path) -> None:
    tracer, spans = traced()
    rig = await born(tmp_path, tracer=tracer)
    alerts = [alert(rig, deployment=f"d{n}") for n in range(60)]
    async with client_of(app_of(rig)) as http:
        assert (await http.post("/webhooks/alertmanager", json=body(*alerts))).status_code == 202
    assert len(traces(spans)) == 20
    await rig.close()


async def test_metrics_say_in_which_trace_they_were_made_to_whoever_can_read_it(tmp_path: Path) -> None:
    tracer, _ = traced()
    rig = await born(tmp_path, tracer=tracer)
    rig.services = replace(rig.services, metrics=Metrics(CollectorRegistry(), TracedHistogram))
    rig.loops.services = rig.services
    await by_webhook(rig)
    await rig.run(20, alerts=False)
    (incident,) = await all_incidents(rig)
    async with client_of(app_of(rig)) as http:
        plain = await http.get("/metrics")
        asked = await http.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert "trace_id" not in plain.text
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    (line,) = [
        x for x in asked.text.splitlines() if x.startswith("remediator_decide_seconds_bucket") and "#" in x
    ]
    assert f'trace_id="{trace_of(incident.id):032x}"' in line
    await rig.close()
