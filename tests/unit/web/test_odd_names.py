"""Names of strangers in our own words: an answer tells of them whatever they are made of, and costs no neighbour."""

from __future__ import annotations

import json

import pytest

from app.domain.text import CONTROL
from tests.unit.web.rig import ORCHESTRATION, Rig, bearer

ODD = ["\ud800", "\udfff/~", "\u202e", "\x9b31m", "\x00", "\U000e0041", "\u3164" * 200]
WRONG = [[1], {"a": 1}, "\ud800"]


@pytest.mark.parametrize("value", WRONG, ids=["list", "object", "half"])
@pytest.mark.parametrize("name", ODD, ids=ascii)
async def test_an_alert_with_an_odd_name_is_told_and_costs_no_neighbour(
    rig: Rig, name: str, value: object
) -> None:
    fine = {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-03-04T10:15:22Z"}
    spoilt = {**fine, "labels": {"alertname": "B", name: value}}
    body = json.dumps({"version": "4", "alerts": [spoilt, fine]}).encode()
    async with rig.client() as client:
        answer = await client.post("/webhooks/alertmanager", content=body, headers=bearer("ingest"))
    assert answer.status_code == 202
    [rejected] = answer.json()["rejected"]
    assert rejected["where"].startswith("/alerts/0/labels")
    assert CONTROL.search(answer.text) is None
    assert len(answer.json()["incidents"]) == 1


@pytest.mark.parametrize("name", ODD, ids=ascii)
async def test_a_field_with_an_odd_name_is_refused_in_words(rig: Rig, name: str) -> None:
    order = json.dumps(
        {"remediation": "restart", "target": "a/Deployment/b", name: 1, "params": {name: [name]}}
    )
    async with rig.client("trigger") as client:
        answers = [
            await client.post("/api/v1/remediations", content=order.encode()),
            await client.post(
                "/webhooks/pagerduty/orchestration",
                content=json.dumps({name: {name: [name]}, "alertname": name}).encode(),
                headers={"x-remediator-token": ORCHESTRATION},
            ),
        ]
    for answer in answers:
        assert answer.status_code < 500
        assert CONTROL.search(answer.text) is None
