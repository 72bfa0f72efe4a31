"""Fuzz targets of the intake: what senders put into the bodies of webhooks, orders and clicks."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from slack_sdk.socket_mode.request import SocketModeRequest

from app.domain.alert import Alert, AlertStatus, Delivery, Source
from app.domain.errors import BadInput
from app.intake import alertmanager, manual, orchestration, pagerduty, slack
from app.intake.auth import ANYONE
from app.notify.buttons import read_token
from app.notify.socket import SocketMode, _WithoutTickets
from app.page.uploads import parse
from app.store.connection import storable, to_json, to_text
from tests.bench.bodies import alert, message
from tests.fuzz.target import FuzzTarget, parts_of, text_of

NOW = datetime(2026, 3, 4, 10, 16, tzinfo=UTC)
JSON_WORDS = (
    *(b'"', b"{", b"}", b"[", b"]", b":", b",", b"null", b"true", b"1e999", b"-0.0", b"1" * 400, b"NaN"),
    *(b"\\ud800", b"\\u0000", b"\\u202e", b"\xff", b"[" * 40, b'{"a":' * 40),
)


def expect_storable(texts: Iterable[str]) -> None:
    """The database takes each of these texts."""
    for text in texts:
        assert "\0" not in storable(text)
        storable(text).encode()


def expect_kept(delivery: Delivery) -> None:
    """What was understood is bounded, and all of it can be stored and read back."""
    for each in delivery.alerts:
        assert each.fingerprint
        assert each.starts_at.tzinfo is not None
        assert all(len(k) <= 256 and len(v) <= 4_096 for k, v in each.labels.items())
        assert sum(map(len, each.annotations.values())) <= 3 * 1024 * 1024
        expect_storable((each.fingerprint, each.generator_url))
        to_json(to_text(dict(each.labels)))
        to_json(to_text(dict(each.annotations)))
    for bad in delivery.rejected:
        expect_storable((bad.code, bad.where, bad.reason))
        to_json(to_text(bad.raw))
    expect_storable((delivery.note, delivery.group_key, delivery.dedupe_key))


def _alertmanager(data: bytes) -> None:
    try:
        found = alertmanager.parse(data, received_at=NOW, sender="fuzz")
    except BadInput:
        return
    assert len(found.rejected) <= 21
    expect_kept(found)


def _pagerduty(data: bytes) -> None:
    found = pagerduty.parse(data, received_at=NOW)
    assert found.dedupe_key
    assert len(found.alerts) + len(found.rejected) <= 1
    expect_kept(found)


_BARE = Alert(
    Source.PAGERDUTY, "PGR0VU2", AlertStatus.FIRING, NOW, {"alertname": "HighErrorRate"}, {}, None, ""
)


def _pagerduty_alerts(data: bytes) -> None:
    try:
        answer: Any = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(answer, dict):
        found = pagerduty.enriched(_BARE, answer)
        assert found.fingerprint == _BARE.fingerprint
        assert found.name
        expect_storable(text for pair in found.labels.items() for text in pair)


def _orchestration(data: bytes) -> None:
    expect_kept(orchestration.parse(data, received_at=NOW))


def _manual(data: bytes) -> None:
    key, body = parts_of(data, 2)
    try:
        found = manual.parse(body, received_at=NOW, by=ANYONE, idempotency_key=text_of(key))
    except BadInput:
        return
    assert found.manual is not None
    to_json(to_text(asdict(found.manual)))


def _clicks(payload: Any) -> None:
    try:
        found = slack.clicks(payload)
    except BadInput as error:
        assert len(error.where) < 100
        return
    for click in found:
        expect_storable((click.key, click.channel, click.value))
        if token := read_token(click.value):
            assert read_token(str(token)) == token


def _slack_form(data: bytes) -> None:
    for body in (data, b"payload=" + quote(data).encode()):
        try:
            payload = slack.payload_of(body)
        except BadInput:
            continue
        _clicks(payload)


class _Acknowledging:
    async def send_socket_mode_response(self, response: Any) -> None:
        json.dumps(response.to_dict())


def _socket(data: bytes) -> None:
    """A frame as the library takes it apart, then what we make of it."""
    frame = text_of(data)
    record = logging.LogRecord(
        "socket", logging.ERROR, "", 0, f"failed: wss://x?ticket=CANARY&a={frame}", (), None
    )
    _WithoutTickets().filter(record)
    assert "CANARY" not in record.msg
    try:
        decoded = json.loads(frame)
        request = SocketModeRequest.from_dict(decoded) if isinstance(decoded, dict) else None
    except (ValueError, TypeError, RecursionError):
        return  # the library logs these (through the filter above) and goes on
    if request is None:
        return

    async def receive(payload: Any) -> None:
        _clicks(payload)

    mode = SocketMode.__new__(SocketMode)
    mode._receive = receive
    asyncio.run(mode._take(_Acknowledging(), request))  # type: ignore[arg-type]


_EVENT = {
    "event": {
        "id": "01BW", "event_type": "incident.triggered", "occurred_at": "2026-03-04T10:15:00Z",
        "agent": {"id": "PA"},
        "data": {"id": "PGR0VU2", "type": "incident", "title": "[FIRING:1] HighErrorRate", "number": 2,
                 "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2", "created_at": "2026-03-04T10:15:00Z",
                 "service": {"summary": "API"}, "urgency": "high", "priority": {"summary": "P1"}},
    }
}  # fmt: skip
_FIRING = "Labels:\n - alertname = HighErrorRate\n - namespace = rag7\nAnnotations:\n - summary = x\n"
_ALERTS = {
    "alerts": [
        {"status": "triggered", "severity": "critical", "body": {"details": {"firing": _FIRING}}},
        {"status": "resolved", "body": {"cef_details": {"details": '{"labels": {"namespace": "rag7"}}'}}},
        {"body": {"details": {"firing": [{"labels": {"a": "b"}}], "commonLabels": {"pod": "x"}}}},
    ]
}
_ORDER = {
    "remediation": "high-error-rate", "reason": "why", "dry_run": True, "params": {"scale_to": 5},
    "target": {"namespace": "rag7", "kind": "Deployment", "name": "langgraph"},
}  # fmt: skip
_CLICK = {
    "type": "block_actions", "user": {"id": "U0ALICE01"}, "channel": {"id": "C1"},
    "container": {"channel_id": "C1", "message_ts": "1.2", "thread_ts": "1.1"}, "response_url": "https://x.test/y",
    "actions": [{"action_id": "remediator.approve", "value": "run_1:0:0123456789abcdef", "action_ts": "1.3"}],
}  # fmt: skip
_FRAME = {"type": "interactive", "envelope_id": "e1", "payload": _CLICK, "accepts_response_payload": True}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_RESOLVED = {**alert(2, "2026-03-04T10:00:00Z"), "status": "resolved", "endsAt": "2026-03-04T10:10:00+02:00"}
_ODD = {
    "labels": {"a": "\ud800"},
    "status": "firing",
    "startsAt": "2026-03-04T10:00:00Z",
    "annotations": {"x": [1]},
}

_FILES = (
    b'--x\r\nContent-Disposition: form-data; name="policy"\r\n\r\nversion: 1\r\n--x\r\nContent-Disposition: form-data; '
    b'name="files"; filename="C:\\a\\b.yaml"\r\nContent-Type: application/yaml\r\n\r\nrules: []\r\n--x--\r\n'
)


_IN_FILE_NAME = re.compile(r"(?:[^/\\]|\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|r))+")
"""No path is left of it; a backslash only begins the escape of a character that nobody sees."""


def _upload(data: bytes) -> None:
    try:
        sent = parse("multipart/form-data; boundary=x", data)
    except BadInput as error:
        assert len(error.message) < 200
        return
    assert all(_IN_FILE_NAME.fullmatch(name) and 0 < len(name) <= 100 for name in sent.files)
    assert sum(map(len, (*sent.fields.values(), *sent.files.values()))) <= len(data)


TARGETS = (
    FuzzTarget(
        "alertmanager-body",
        _alertmanager,
        (message([alert(1, "2026-03-04T10:00:00.123456789Z"), _RESOLVED]), message([_ODD, {}]), b'{"alerts":[0,0]}'),
        (b'"labels"', b'"status"', b'"firing"', b'"startsAt"', b'"fingerprint"', b'"annotations"', *JSON_WORDS),
    ),
    FuzzTarget(
        "pagerduty-body",
        _pagerduty,
        (_json(_EVENT), _json({"event": {"event_type": "incident.resolved"}}), b"{}"),
        (b'"event"', b'"incident.reopened"', b'"occurred_at"', b'"reopened_at"', b'"incident"', *JSON_WORDS),
    ),
    FuzzTarget(
        "pagerduty-alerts",
        _pagerduty_alerts,
        (_json(_ALERTS), b'{"alerts": "x"}', b'{"alerts": [{"body": []}]}'),
        (b'"firing"', b"Labels:\\n", b" - a = b\\n", b'"details"', b'"cef_details"', *JSON_WORDS),
    ),
    FuzzTarget(
        "orchestration-body",
        _orchestration,
        (_json({"alertname": "A", "namespace": "rag7", "payload": {"summary": "s"}, "dedup_key": "k" * 300}),
         _json({"event_action": "resolve"})),
        (b'"alertname"', b'"dedup_key"', b'"starts_at"', b'"status"', *JSON_WORDS),
    ),
    FuzzTarget("manual-body", _manual, (b"key-1\0" + _json(_ORDER), b"\0{}"), (b'"params"', b"\0", *JSON_WORDS)),
    FuzzTarget(
        "slack-form",
        _slack_form,
        (_json(_CLICK), b"payload=%7B%7D", b"payload=%ff&payload=1", b'{"type":"view_submission"}'),
        (b"payload=", b"&", b"%22", b"%ED%A0%80", b'"actions"', b'"block_actions"', *JSON_WORDS),
    ),
    FuzzTarget(
        "slack-frame",
        _socket,
        (_json(_FRAME), b'{"type":"hello"}', b'{"type":"disconnect","envelope_id":1,"payload":null}'),
        (b'"envelope_id"', b'"payload"', b'"interactive"', b"ticket=", *JSON_WORDS),
    ),
    FuzzTarget(
        "form-with-files",
        _upload,
        (_FILES, b"--x--\r\n", b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n--x--'),
        (b"\r\n--x", b"--x--", b"\r\n\r\n", b'; name="', b'; filename="', b"../", b"content-disposition: form-data", b"\xc3", b"--"),
    ),
)  # fmt: skip
