"""Answers of other servers that are JSON and yet none: one error that says so, never a defect of ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.domain.errors import ProbeUnavailable
from app.observe.alertmanager import Alertmanager
from app.observe.pagerduty_rest import PagerDutyRest
from app.observe.prometheus import Prometheus
from tests.unit.observe.test_prometheus import NOW, Waits

DEEP = b"[" * 200_000
ODD = [
    DEEP,
    b'{"a":' * 100_000,
    b"null",
    b'"x"',
    b"[[]]",
    b'{"status":"success","data":{"result":[]}}',
    b"\xff",
    b"1" * 5_000,
]


def _client(body: bytes) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body)))


@pytest.mark.parametrize("body", ODD)
@pytest.mark.parametrize("question", ["instant", "window", "alerts", "incident", "status"])
async def test_an_odd_answer_is_no_answer(question: str, body: bytes) -> None:
    client, clock = _client(body), Waits()
    asked: Any
    match question:
        case "instant":
            asked = Prometheus(client, "http://p.test", clock).instant("up")
        case "window":
            asked = Prometheus(client, "http://p.test", clock).window("up", NOW - timedelta(hours=1), NOW, 60)
        case "alerts":
            asked = Alertmanager(client, "http://a.test", clock).firing_matching(['a="b"'])
        case "incident":
            asked = PagerDutyRest(client, "http://d.test", "token", clock).incident_alerts("P1")
        case _:
            asked = PagerDutyRest(client, "http://d.test", "token", clock).incident_status("P1")
    with pytest.raises(ProbeUnavailable):
        await asked


@pytest.mark.parametrize(
    "row",
    [
        "1",
        "{}",
        '{"metric":{}}',
        '{"metric":{},"value":1,"values":1}',
        '{"metric":{},"value":{},"values":[1]}',
    ],
)
async def test_a_series_without_values_is_no_answer(row: str) -> None:
    body = '{"status":"success","data":{"resultType":"%s","result":[%s]}}'
    clock = Waits()
    with pytest.raises(ProbeUnavailable):
        await Prometheus(_client((body % ("vector", row)).encode()), "http://p.test", clock).instant("up")
    client = _client((body % ("matrix", row)).encode())
    with pytest.raises(ProbeUnavailable):
        await Prometheus(client, "http://p.test", clock).window("up", NOW - timedelta(hours=1), NOW, 60)
