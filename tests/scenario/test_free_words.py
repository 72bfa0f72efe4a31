"""What people and other systems say in free words is kept, told and shown without secrets and hidden characters, whichever door it
comes through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import BadInput
from app.intake import alertmanager, orchestration, pagerduty
from tests.scenario.canaries import answers, rows_with, told
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, born
from tests.scenario.test_trust import KEY, earned
from tests.scenario.web import app_of, client_of

SAID = "because password=ZQcanary \u202e\u200b\x1b[31m ghp_" + "ZQ" * 18 + "\nand more"
ORDER = {
    "remediation": "high-error-rate",
    "target": {"namespace": "rag7", "kind": "Deployment", "name": "langgraph"},
    "reason": SAID,
    "dry_run": True,
}


async def _kept(rig: Rig) -> dict[str, list[str]]:
    return rows_with(rig.path, "ZQ", "\u202e", "\u200b", "\x1b", "\\u202e", "\\u200b", "\\u001b")


async def test_a_reason_given_over_the_api_is_kept_and_shown_without_its_secret(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    client = client_of(app_of(rig))
    pause: dict[str, Any] = {"scope": "target:rag7/Deployment/elsewhere", "reason": SAID}
    for path, sent, status in (("/api/v1/pause", pause, 200), ("/api/v1/remediations", ORDER, 202)):
        answer = await client.post(path, json=sent)
        assert (answer.status_code, "ZQ" in answer.text) == (status, False), answer.text
    await rig.run(60, alerts=False)
    assert await _kept(rig) == {}
    shown = {**await answers(rig), "messages": told(rig), "page": (await client.get("/")).text}
    assert {name for name, text in shown.items() if "ZQ" in text} == set()
    assert any("because password=[redacted]" in text for text in shown.values())
    await client.aclose()
    await rig.close()


async def test_a_reason_for_a_trust_level_is_kept_without_its_secret(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=earned())
    await rig.run(60)
    await rig.operations.promote(KEY, SAID, "alice")
    await rig.operations.demote(KEY, SAID, "alice")
    assert await _kept(rig) == {}
    for door in (rig.operations.promote, rig.operations.demote):
        with pytest.raises(BadInput, match="say why"):
            await door(KEY, "\u200b\u3164", "alice")
    await rig.close()


@pytest.mark.parametrize("scope", ["rule:password=ZQcanary", "remediation:a\u202eb", "rule:\u3164"])
async def test_a_pause_on_a_name_with_a_secret_or_nothing_to_see_is_refused(
    tmp_path: Path, scope: str
) -> None:
    rig = await born(tmp_path)
    with pytest.raises(BadInput) as refused:
        await rig.operations.pause(scope, "release", "alice", None)
    assert (refused.value.code, "ZQ" in str(refused.value)) == ("bad_scope", False)
    await rig.close()


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("rule:error after a deployment", "no such rule is there; did you mean errors after a deployment"),
        ("remediation:high-latncy", "no such remediation is there; did you mean high-latency"),
        ("namespace:rag8", "no such namespace is in the policy's scope"),
    ],
)
async def test_a_slip_in_the_name_of_what_is_paused_is_told_and_pauses_nothing(
    tmp_path: Path, scope: str, told: str
) -> None:
    """Else it would look like a pause and stop nothing."""
    rig = await born(tmp_path)
    with pytest.raises(BadInput) as refused:
        await rig.operations.pause(scope, "release", "alice", None)
    assert refused.value.code == "bad_scope"
    assert told in str(refused.value)
    assert await rig.operations.pauses() == []
    await rig.close()


async def test_what_other_systems_say_beside_their_labels_is_kept_without_secrets_and_short(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    now = rig.clock.now()
    long = "password=ZQcanary " + "x" * 100_000
    group = {
        "version": "4",
        "receiver": long,
        "notification_reason": long,
        "groupKey": f'{{}}:{{a="{long}"}}',
        "alerts": [alert(rig)],
    }
    data = {"id": "P1", "type": "incident", "title": "down: password=ZQcanary", "service": {"summary": SAID}}
    event = {
        "id": "E1",
        "event_type": "incident.acknowledged",
        "occurred_at": now.isoformat(),
        "agent": {"summary": SAID},
        "data": {**data, "status": "acknowledged"},
    }
    fired = {**event, "id": "E2", "event_type": "incident.triggered"}
    odd = {**event, "id": "E3", "event_type": f"incident.{long}"}
    free = {"alertname": "Down", "custom_details": {"a": SAID, "password": "ZQcanary"}, "source": SAID}
    for delivery in (
        alertmanager.parse(json.dumps(group).encode(), received_at=now, sender="am"),
        *(
            pagerduty.parse(json.dumps({"event": e}).encode(), received_at=now)
            for e in (
                fired,
                event,
                odd,
                {**odd, "id": "E4", "event_type": "incident.triggered", "data": long},
            )
        ),
        orchestration.parse(json.dumps(free).encode(), received_at=now),
    ):
        assert len(delivery.note) <= 1_000
        assert len(delivery.group_key) <= alertmanager.MAX_VALUE
        assert len(json.dumps([r.raw for r in delivery.rejected])) <= 5_000
        await rig.store.ingest(delivery)
    assert rows_with(rig.path, "ZQ") == {}
    await rig.close()
