"""Promises 4 and 7: where nobody can look, nothing is done, and a person hears of it: once, and not of every alert that stands for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code, Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.flow.deciding import decide
from app.sim import Fault, FaultKind
from app.store import incidents
from tests.scenario import scenes
from tests.scenario.calling import MINUTE, CallingRig, calling_rig, steps
from tests.scenario.scenes import alert, all_incidents, body, decision, trail, writes

NAMES = [f"svc-{number}" for number in range(5)]


async def _blind(path: Path, mode: Mode = Mode.AUTO) -> CallingRig:
    """Alerts of several targets, and an API server that does not answer."""
    rig = await calling_rig(path, scenes.policy({"escalation": steps()}, mode=mode))
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, times=1_000_000))
    await _send(rig)
    return rig


async def _send(rig: CallingRig) -> None:
    await rig.send(body(*(alert(rig, deployment=name) for name in NAMES)))
    await rig.turn()


async def test_an_api_server_that_is_away_for_long_calls_one_person_for_all_alerts(tmp_path: Path) -> None:
    rig = await _blind(tmp_path)
    await rig.run(9 * MINUTE, alerts=False)
    assert rig.pagerduty.woken == []
    await rig.run(81 * MINUTE, alerts=False)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "connection refused" in called.data["reason"]
    assert rig.pagerduty.woken == [called.incident_id]
    assert {(await decision(rig, i.id)).code for i in await all_incidents(rig)} == {Code.UNKNOWN_FACT}
    assert writes(rig) == []
    await rig.close()


async def test_when_that_alert_ends_a_person_is_called_for_the_next(tmp_path: Path) -> None:
    rig = await _blind(tmp_path)
    await rig.run(20 * MINUTE, alerts=False)
    (first,) = await trail(rig, EventKind.ESCALATED)
    order = [incident.id for incident in await all_incidents(rig)]
    sent = rig.bodies[-1]["alerts"][order.index(first.incident_id)]
    await rig.send(body({**sent, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(20 * MINUTE, alerts=False)
    assert len(rig.pagerduty.woken) == 2
    await rig.close()


async def test_an_alert_that_is_read_before_its_ten_minutes_calls_nobody(tmp_path: Path) -> None:
    """Its namespace is gone: that is known, and no reason to call anybody."""
    rig = await _blind(tmp_path)
    await rig.run(5 * MINUTE, alerts=False)
    rig.cluster.faults.clear()
    await rig.run(60 * MINUTE, alerts=False)
    assert rig.pagerduty.woken == []
    assert {(await decision(rig, i.id)).code for i in await all_incidents(rig)} == {Code.TARGET_NOT_FOUND}
    await rig.close()


@pytest.mark.parametrize("who", ["rule", "service"])
async def test_nobody_is_called_for_what_would_only_be_observed(tmp_path: Path, who: str) -> None:
    rig = await calling_rig(
        tmp_path,
        scenes.policy({"escalation": steps()}, mode=Mode.OBSERVE if who == "rule" else Mode.AUTO),
        ceiling=Mode.OBSERVE if who == "service" else Mode.AUTO,
    )
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, times=1_000_000))
    await _send(rig)
    await rig.run(60 * MINUTE, alerts=False)
    assert rig.pagerduty.woken == []
    await rig.close()


@pytest.mark.parametrize("who", ["rule", "policy", "service", "nobody"])
@pytest.mark.parametrize("what", ["only a person can help", "it was not measured"])
async def test_nobody_is_called_for_what_only_a_person_can_do_while_it_is_only_observed(
    tmp_path: Path, who: str, what: str
) -> None:
    """The same alert calls somebody once the rule may act."""
    observes = {name: Mode.OBSERVE if name == who else Mode.AUTO for name in ("rule", "policy", "service")}
    rules = scenes.policy({"mode": observes["policy"]}, mode=observes["rule"])
    rig = await scenes.born(tmp_path, rules=rules, ceiling=observes["service"], use_api=False)
    told = alert(rig, deployment="redis") if what.startswith("only") else alert(rig)
    if what.startswith("it"):
        told["annotations"] = {"grafana_state_reason": "Error"}
    await rig.send(body(told))
    await rig.run(120, alerts=False)
    assert bool(await trail(rig, EventKind.ESCALATED)) is (who == "nobody")
    (incident,) = await all_incidents(rig)
    assert incident.state is (IncidentState.ESCALATED if who == "nobody" else IncidentState.OBSERVED)
    await rig.close()


async def test_a_defect_of_ours_that_stands_for_ten_minutes_calls_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes deciding fail each time would else be told in the channel alone, at night."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(decide, "_walk", broken)
    rig = await calling_rig(tmp_path, scenes.policy({"escalation": steps()}))
    await rig.send(body(alert(rig)))
    await rig.run(9 * MINUTE, alerts=False)
    assert rig.pagerduty.woken == []
    await rig.run(20 * MINUTE, alerts=False)
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "deciding failed: ZeroDivisionError" in called.data["reason"]
    assert rig.pagerduty.woken == [called.incident_id]
    monkeypatch.undo()
    await rig.run(10 * MINUTE, alerts=False)
    assert (await decision(rig)).code is Code.TARGET_NOT_FOUND, "it is decided all the same once it can be"
    await rig.close()


async def test_a_defect_in_a_look_at_what_people_were_called_for_takes_it_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays handed over: refused, it would be decided and acted upon anew beside whoever was called."""
    looked: list[bool] = []

    def broken(*_: Any) -> Any:
        looked.append(True)
        raise ZeroDivisionError

    rig = await calling_rig(tmp_path, scenes.policy({"escalation": steps()}))
    incident = await rig.handed_over()
    monkeypatch.setattr(decide, "_settled_by_silence", broken)
    await rig.store.write(lambda tx: incidents.schedule(tx, incident.id, tx.now))
    await rig.run(MINUTE, alerts=False)
    assert looked
    assert (await all_incidents(rig))[0].state is IncidentState.ESCALATED
    await rig.close()
