"""An alert that always fires and is no longer heard of: the way from Prometheus to this service is broken, and a person is called."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from app.domain.alert import Source
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.flow.upkeep.heartbeats import MISSING
from app.policy.model import Heartbeat
from app.store import facts as counts
from app.store.incidents import Incident
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, body, born, decision, policy, trail
from tests.scenario.test_audit_head import EMPTY

WATCHDOG = Heartbeat(alertname="Watchdog", missing_after=timedelta(minutes=15))
RULES = policy({"heartbeats": (WATCHDOG,)})


async def _service(path: Path, **changes: Any) -> Rig:
    return await born(path, rules=RULES, world=EMPTY, stride=15.0, **changes)


async def _beat(rig: Rig, began: Any) -> None:
    """Alertmanager repeats it with the start that it had at first."""
    beats = alert(rig, alertname="Watchdog", namespace="", deployment="", severity="none")
    await rig.send(body({**beats, "startsAt": began.isoformat()}))


async def _beats(rig: Rig, minutes: int) -> None:
    """The Watchdog is repeated every 5 minutes."""
    began = rig.clock.now()
    for _ in range(minutes // 5):
        await _beat(rig, began)
        await rig.run(300, alerts=False)


async def _missing(rig: Rig) -> list[Incident]:
    return [i for i in await all_incidents(rig) if i.alertname == MISSING]


async def test_a_heartbeat_that_is_heard_of_calls_nobody(tmp_path: Path) -> None:
    rig = await _service(tmp_path)
    await _beats(rig, 120)
    (watchdog,) = await all_incidents(rig)
    assert watchdog.state is IncidentState.OBSERVED
    said = await decision(rig, watchdog.id)
    assert said.text == (
        "Only observing: Watchdog is a heartbeat; a person is called when it is not heard of for 15m"
    )
    await rig.close()


async def test_promise_8_a_heartbeat_that_is_missing_calls_a_person_once_and_closes_when_it_is_back(
    tmp_path: Path,
) -> None:
    rig = await _service(tmp_path)
    await _beats(rig, 30)
    began, heard = rig.clock.now() - timedelta(minutes=30), rig.clock.now() - timedelta(minutes=5)
    await rig.run(14 * 60 - 300, alerts=False)
    assert await _missing(rig) == []
    await rig.run(240, alerts=False)
    (missing,) = await _missing(rig)
    assert missing.state is IncidentState.ESCALATED
    said = await decision(rig, missing.id)
    assert f"nothing was heard of Watchdog since {heard:%Y-%m-%d %H:%M:%S}" in said.text
    assert "Alertmanager" in said.text
    await rig.run(5 * 3_600, alerts=False)
    assert [e.incident_id for e in await trail(rig, EventKind.ESCALATED)] == [missing.id]
    await _beat(rig, began)
    await rig.run(120, alerts=False)
    (missing,) = await _missing(rig)
    assert missing.state is IncidentState.RESOLVED
    await rig.close()


async def test_a_heartbeat_that_was_never_heard_of_is_missing_too(tmp_path: Path) -> None:
    rig = await _service(tmp_path)
    await rig.run(14 * 60, alerts=False)
    assert await _missing(rig) == []
    await rig.run(180, alerts=False)
    (missing,) = await _missing(rig)
    assert "since this service watches" in (await decision(rig, missing.id)).text
    await rig.close()


async def test_promise_6_time_that_nobody_watched_is_no_silence(tmp_path: Path) -> None:
    """The service was down for hours, or its machine slept: the heartbeat has the same time as ever to come."""
    rig = await _service(tmp_path)
    await _beats(rig, 30)
    began = rig.clock.now() - timedelta(minutes=30)
    await rig.die()
    rig.clock.advance(3 * 3_600)
    await rig.born()
    await rig.run(600, alerts=False)
    rig.clock.advance(3 * 3_600)
    await rig.run(600, alerts=False)
    await _beat(rig, began)
    await rig.run(600, alerts=False)
    assert await _missing(rig) == []
    await rig.close()


async def test_what_is_missing_stays_missing_over_a_restart_and_is_told_once(tmp_path: Path) -> None:
    rig = await _service(tmp_path)
    await rig.run(20 * 60, alerts=False)
    await rig.die()
    await rig.born()
    await rig.run(3_600, alerts=False)
    (missing,) = await _missing(rig)
    assert missing.state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_a_heartbeat_that_the_policy_no_longer_names_is_missed_no_longer(tmp_path: Path) -> None:
    rig = await _service(tmp_path)
    await rig.run(20 * 60, alerts=False)
    rig.policy = policy()
    await rig.run(180, alerts=False)
    (missing,) = await _missing(rig)
    assert missing.state is IncidentState.RESOLVED
    await rig.close()


async def test_who_sends_an_alert_of_this_name_calls_nobody(tmp_path: Path) -> None:
    """Only the service's own alert is about a heartbeat: a sender of alerts wakes nobody by a name."""
    rig = await _service(tmp_path)
    await rig.send(body(alert(rig, alertname=MISSING, namespace="", deployment="", heartbeat="Watchdog")))
    await rig.run(120, alerts=False)
    (foreign,) = await _missing(rig)
    assert foreign.state is IncidentState.OBSERVED
    await rig.run(16 * 60, alerts=False)
    own = [e for e in await trail(rig, EventKind.ALERT_FIRED) if e.data.get("source") == Source.HEARTBEAT]
    assert len(own) == 1
    await rig.close()


async def test_only_time_in_which_the_heartbeats_are_heard_of_counts_as_watched(tmp_path: Path) -> None:
    rig = await _service(tmp_path)
    await rig.run(300, alerts=False)
    assert await rig.store.read(counts.watched) == []  # the Watchdog was not heard of yet
    began = rig.clock.now()
    await _beats(rig, 30)
    last = rig.clock.now() - timedelta(minutes=5)
    await rig.run(3_600, alerts=False)
    back = rig.clock.now()
    await _beats(rig, 10)
    spans = await rig.store.read(counts.watched)
    assert [[began <= begun < ended <= last, back <= begun] for begun, ended in spans] == [
        [True, False],
        [False, True],
    ]
    assert (spans[0][1] - spans[0][0]) >= timedelta(minutes=20)
    await rig.close()


async def test_time_in_which_this_service_was_away_is_not_watched(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(), world=EMPTY, stride=15.0)
    await rig.run(600, alerts=False)
    away = rig.clock.now()
    rig.clock.advance(3_600)
    await rig.run(600, alerts=False)
    (first, second) = await rig.store.read(counts.watched)
    assert first[1] <= away < second[0]
    assert second[1] - second[0] >= timedelta(minutes=8)
    await rig.close()
