"""Answers of other servers that are JSON and yet none: one error that says so, never a defect of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app.domain import json as domain_json
from app.domain.errors import ProbeUnavailable
from app.domain.pieces import PIECE
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


def _only(loads: Callable[[bytes], Any]) -> SimpleNamespace:
    """The parser of our own reading alone: another service may run in this process."""
    return SimpleNamespace(**{**vars(json), "loads": loads})


LONG = {
    "lists": b'{"status":"success","data":{"result":[' + b"[]," * 2_000_000 + b"[]]}}",
    "nested": b'{"status":"success","data":{"result":[' + (b"[" * 28 + b"]" * 28 + b",") * 100_000 + b"[]]}}",
    "an object": b'{"data":{' + b",".join(b'"%d":0' % n for n in range(400_000)) + b"}}",
}


@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("source", ["prometheus", "pagerduty"])
async def test_a_long_answer_is_read_beside_the_loop_in_pieces_and_has_bounds(
    monkeypatch: pytest.MonkeyPatch, source: str, case: str
) -> None:
    pieces: list[tuple[int, str]] = []
    real = json.loads

    def loads(text: bytes) -> Any:
        pieces.append((len(text), threading.current_thread().name))
        return real(text)

    monkeypatch.setattr(domain_json, "json", _only(loads))
    client = _client(LONG[case])
    asked: Any
    if source == "prometheus":
        asked = Prometheus(client, "http://p.test", Waits()).instant("up")
    else:
        asked = PagerDutyRest(client, "http://d.test", "token", Waits()).incident_alerts("P1")
    with pytest.raises(ProbeUnavailable):
        await asked
    assert pieces == []


async def test_a_long_ordinary_answer_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    real = json.loads

    def loads(text: bytes) -> Any:
        assert len(text) <= PIECE + 2
        threads.add(threading.current_thread().name)
        return real(text)

    monkeypatch.setattr(domain_json, "json", _only(loads))
    rows = [{"metric": {"pod": f"pod-{n}"}, "value": [1.5, str(n)]} for n in range(20_000)]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()
    found = await Prometheus(_client(body), "http://p.test", Waits()).instant("up")
    assert len(found) == 20_000
    assert threading.current_thread().name not in threads
