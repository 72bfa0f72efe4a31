"""Findings H3 and H6, through the HTTP routes: what Grafana says beside the alert's state, and whom an alert of it is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.domain.decision import Code
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.observe.alert_sources import Sources
from app.observe.alertmanager import Alertmanager
from tests.scenario.scenes import (
    all_incidents,
    all_runs,
    born,
    decision,
    policy,
    the_incident,
    the_run,
    trail,
    writes,
)
from tests.scenario.sender_bodies import SENDERS, Story, grafana, raw
from tests.scenario.test_ordinary_senders import Service

GRAFANA = SENDERS["Grafana 12"]


async def _service(path: Path) -> Service:
    return Service(await born(path, rules=policy(), use_api=False))


async def _tell(door: Service, story: Story, said: Mapping[str, str]) -> None:
    def body(of: Story) -> dict[str, Any]:
        found = grafana(of)
        found["alerts"][0]["annotations"] |= said
        return found

    sender = replace(GRAFANA, body=body)
    await door.post(sender, raw(sender, story))


@pytest.mark.parametrize("reason", ["Error", "NoData, KeepLast"])
async def test_an_alert_of_which_nothing_was_measured_is_a_persons_and_its_end_is_no_fix(
    tmp_path: Path, reason: str
) -> None:
    door = await _service(tmp_path)
    fired = door.rig.clock.now() - timedelta(seconds=60)
    await _tell(door, Story("HighErrorRate", fired), {"grafana_state_reason": reason})
    await door.rig.run(40, alerts=False)
    assert (await decision(door.rig)).code is Code.PERSON_NEEDED
    assert f"Grafana could not evaluate the alert's rule ({reason})" in door.rig.notebook.text
    assert (writes(door.rig), await all_runs(door.rig)) == ([], [])
    await door.rig.close()


@pytest.mark.parametrize("reason", ["MissingSeries", "Paused"])
async def test_an_end_that_was_not_measured_is_no_fix(tmp_path: Path, reason: str) -> None:
    door = await _service(tmp_path)
    fired = door.rig.clock.now() - timedelta(seconds=60)
    await _tell(door, Story("HighErrorRate", fired), {})
    await door.rig.run(20, alerts=False)
    assert writes(door.rig) == ["patch langgraph"]
    await _tell(door, Story("HighErrorRate", fired, door.rig.clock.now()), {"grafana_state_reason": reason})
    await door.rig.run(400, alerts=False)
    run, incident = await the_run(door.rig), await the_incident(door.rig)
    assert (run.state, incident.state) == (RunState.INCONCLUSIVE, IncidentState.ESCALATED)
    assert f"its source vanished: Grafana says {reason}" in run.result
    await door.rig.close()


async def test_without_a_run_such_an_end_is_told_as_one(tmp_path: Path) -> None:
    door = await _service(tmp_path)
    fired = door.rig.clock.now() - timedelta(seconds=60)
    await _tell(door, Story("SomethingElse", fired), {})
    await door.rig.run(10, alerts=False)
    ended = Story("SomethingElse", fired, door.rig.clock.now())
    await _tell(door, ended, {"grafana_state_reason": "MissingSeries"})
    await door.rig.run(10, alerts=False)
    assert (await the_incident(door.rig)).state is IncidentState.RESOLVED
    moved = (await trail(door.rig, EventKind.INCIDENT_MOVED))[-1]
    assert "its source vanished: Grafana says MissingSeries" in str(moved.data)
    await door.rig.close()


async def test_grafana_beside_an_alertmanager_is_acted_upon_and_closed_by_its_own_messages(
    tmp_path: Path,
) -> None:
    door = await _service(tmp_path)
    rig = door.rig
    watchdog = {
        "labels": {"alertname": "Watchdog"},
        "startsAt": "2026-03-04T01:00:00Z",
        "fingerprint": "0000000000000001",
        "generatorURL": "http://prometheus-0:9090/graph?g0.expr=vector",
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[] if request.url.params.get_list("filter") else [watchdog])

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    sources = Sources(Alertmanager(client, "http://alertmanager:9093", rig.clock), None)
    rig.services = replace(rig.services, alert_sources=sources)
    rig.loops = replace(rig.loops, services=rig.services)
    fired = rig.clock.now() - timedelta(seconds=60)
    await _tell(door, Story("HighErrorRate", fired), {})
    await rig.run(20, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    await _tell(door, Story("HighErrorRate", fired, rig.clock.now()), {})
    await rig.run(400, alerts=False)
    assert [i.state for i in await all_incidents(rig)] == [IncidentState.FIXED]
    await rig.close()
    await client.aclose()
