"""Who has PagerDuty's own incidents, as its messages tell: they hold what would be done by itself, and whoever has a part or what was less severe is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code
from app.domain.json import canonical
from app.intake import pagerduty
from app.policy.model import Policy, Rule
from tests.crash.worlds import flood
from tests.scenario.moments import during
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, body, born, closed, decision, the_incident, writes
from tests.scenario.test_a_persons_hand_wins import rules

DETAILS = {
    "alerts": [
        {
            "body": {
                "details": {"alertname": "HighLatency", "namespace": "rag7", "deployment": "langgraph-api"}
            }
        }
    ]
}


async def _pagerduty(
    rig: Rig,
    kind: str,
    number: int,
    incident: str = "Q0",
    *,
    ago: float = 0,
    details: dict[str, str] | None = None,
    **data: Any,
) -> None:
    """One event of PagerDuty, delivered so many seconds later; the labels of its alert were fetched where it fires."""
    occurred = rig.clock.now() - timedelta(seconds=ago)
    started = (
        (rig.clock.now() - timedelta(seconds=20)).isoformat() if number == 0 else "2026-03-04T02:59:40+00:00"
    )
    about = {
        "id": incident,
        "type": "incident",
        "title": "HighLatency langgraph-api",
        "created_at": started,
        **data,
    }
    event = {"id": f"{incident}-{number}", "event_type": kind, "occurred_at": occurred.isoformat(), "data": about,
             "agent": {"type": "user_reference", "summary": "Ann Ops"}}  # fmt: skip
    delivery = pagerduty.parse(canonical({"event": event}).encode(), received_at=rig.clock.now())
    told = {"alerts": [{"body": {"details": details}}]} if details else DETAILS
    alerts = tuple(pagerduty.enriched(a, told) for a in delivery.alerts)
    await rig.store.ingest(replace(delivery, alerts=alerts))


async def test_d_pagerdutys_message_alone_holds_automatic_steps_until_the_next_one(tmp_path: Path) -> None:
    """Nobody gave a token for its API: who has the incident is known from its events."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    await _pagerduty(rig, "incident.triggered", 0, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged")
    await rig.run(120, alerts=False)
    assert writes(rig) == []
    assert closed(await decision(rig)) == {"hands": Code.ACKNOWLEDGED}
    assert "acknowledged in PagerDuty by Ann Ops" in rig.notebook.text
    await _pagerduty(rig, "incident.annotated", 2, status="acknowledged")
    await _pagerduty(rig, "incident.priority_updated", 3, status="acknowledged")
    await rig.run(60, alerts=False)
    assert writes(rig) == []
    await _pagerduty(rig, "incident.reassigned", 4, status="triggered")
    await rig.run(15, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


def _with_odd() -> Policy:
    """Another alert has a rule like that of the first one."""
    ours = rules()
    late = next(rule for rule in ours.rules if "HighLatency" in str(rule.when))
    odd = Rule.from_json({**late.to_json(), "name": "odd", "when": ['alertname="Odd"']})
    return ours.model_copy(update={"rules": (*ours.rules, odd)})


@pytest.mark.parametrize("back", ["HighLatency", "Odd"])
async def test_d_whoever_took_pagerdutys_own_incident_has_the_target_when_it_went_a_moment_ago(
    tmp_path: Path, back: str
) -> None:
    """Whichever way they said so: the same alert is theirs, and another one of the target is asked about."""
    rig = await born(tmp_path, rules=_with_odd(), world=flood(), use_api=False, stride=15.0)
    await rig.operations.pause("all", "x", "ops", None)
    await _pagerduty(rig, "incident.triggered", 0, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged")
    await rig.operations.resume("all", "ops")
    await rig.run(30, alerts=False)
    await _pagerduty(rig, "incident.resolved", 2, status="resolved")
    await rig.run(15, alerts=False)
    if back == "Odd":
        await rig.send(body(alert(rig, started=1, alertname="Odd", deployment="langgraph-api")))
    else:
        await _pagerduty(rig, "incident.triggered", 0, "Q1", status="triggered")
    await rig.run(60, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert found.code is (Code.TAKEN_BESIDE if back == "Odd" else Code.ACKNOWLEDGED), found.text
    assert "acknowledged through PagerDuty by Ann Ops" in found.text
    assert writes(rig) == []
    await rig.close()


@pytest.mark.parametrize("name", ["HighLatency", "Odd", "Odd, once both have gone"])
async def test_d_who_has_one_of_two_incidents_of_pagerduty_is_asked_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    """Two of them are one incident here; one acknowledgement of two keeps nobody from being called, and is somebody at work."""
    rig = await born(tmp_path, rules=_with_odd(), world=flood(), use_api=False, stride=15.0)
    await rig.operations.pause("all", "both first", "kim", None)
    for incident in ("Q1", "Q2"):
        await _pagerduty(rig, "incident.triggered", 0, incident, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, "Q1", status="acknowledged")
    if name.startswith("Odd"):
        await rig.operations.pause("rule:slow answers", "by hand", "kim", None)
    await rig.operations.resume("all", "kim")
    if name.endswith("gone"):
        for number, incident in enumerate(("Q1", "Q2"), 2):
            await _pagerduty(rig, "incident.resolved", number, incident, status="resolved")
            await rig.run(15, alerts=False)
    if name.startswith("Odd"):
        await rig.send(body(alert(rig, started=1, alertname="Odd", deployment="langgraph-api")))
    await rig.run(60, alerts=False)
    found = await decision(rig, (await all_incidents(rig))[-1].id)
    assert (found.code, "through PagerDuty by Ann Ops" in found.text) == (Code.TAKEN_BESIDE, True), found.text
    assert ("for a part of it" in found.text) == (name == "HighLatency")
    assert writes(rig) == []
    await rig.close()


async def test_d_who_has_pagerdutys_warning_does_not_have_what_is_critical(tmp_path: Path) -> None:
    """People are asked, and called when nobody agrees, as after any word for less."""
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False, stride=15.0)
    await rig.operations.pause("all", "both first", "kim", None)
    about = {"severity": "warning", **DETAILS["alerts"][0]["body"]["details"]}
    await _pagerduty(rig, "incident.triggered", 0, details=about, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged")
    await rig.operations.resume("all", "kim")
    await rig.run(30, alerts=False)
    assert (await decision(rig, (await the_incident(rig)).id)).code is Code.ACKNOWLEDGED
    await rig.send(
        body(alert(rig, started=1, severity="critical", alertname="HighLatency", deployment="langgraph-api"))
    )
    await rig.run(60, alerts=False)
    found = await decision(rig, (await the_incident(rig)).id)
    assert found.code is Code.TAKEN_BESIDE, found.text
    assert "by Ann Ops at 2026-03-04T03:00:00Z, for what was less severe" in found.text
    assert writes(rig) == []
    await rig.close()


async def test_d_what_was_given_back_in_pagerduty_is_nobodys_in_whichever_order_it_is_told(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False, stride=15.0)
    await rig.operations.pause("all", "all of it first", "kim", None)
    await _pagerduty(rig, "incident.triggered", 0, ago=20, status="triggered")
    await _pagerduty(rig, "incident.unacknowledged", 2, ago=5, status="triggered")
    await _pagerduty(rig, "incident.acknowledged", 1, ago=10, status="acknowledged")
    await rig.operations.resume("all", "kim")
    await rig.run(60, alerts=False)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


async def test_d_an_acknowledgement_between_decision_and_write_stops_it(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=rules(), world=flood(), use_api=False)
    done = during(rig, "patch", lambda: _pagerduty(rig, "incident.acknowledged", 1, status="acknowledged"))
    await _pagerduty(rig, "incident.triggered", 0, status="triggered")
    await rig.run(60, alerts=False)
    assert done == ["patch"]
    assert writes(rig) == []
    await rig.close()
