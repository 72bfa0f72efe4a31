"""A storm calls one person, once, as long as it lasts: also beside other messages, beside many other storms, for days, and after its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Code
from app.domain.outcome import IncidentState
from app.flow.notifying.fan_out import join
from app.flow.notifying.record import escalate
from app.notify.timeline import Escalation
from app.store import digests, escalations, incidents, runs, work
from tests.doubles.pagerduty import PagerDutyDouble
from tests.scenario.calling import CallingRig, calling_rig, policy, steps
from tests.scenario.scenes import alert, body
from tests.unit.notify import timelines

PUBLIC = policy(steps(status_page={"fields": {"incident": "id", "state": "status", "level": "severity"}}))
STORMY = replace(timelines.OBSERVES, code=Code.STORM)


async def _fired(rig: CallingRig, *names: str, severity: str = "critical", ago: float = 0.0) -> Sequence[str]:
    """One incident of each name, whose alert fires since so many seconds ago."""
    alerts = [
        alert(rig, alertname=name, deployment=f"svc-{name}", severity=severity, started=60 + ago)
        for name in names
    ]
    return (await rig.send(body(*alerts))).incident_ids


async def _storm(rig: CallingRig, *names: str, severity: str = "critical") -> tuple[str, Sequence[str]]:
    """A storm of one incident of each name, each decided in it; its digest and the incidents."""
    found = await _fired(rig, *names, severity=severity)
    for incident_id in found:
        await rig.store.write(
            lambda tx, i=incident_id: work.put_decision(tx, f"{i}/storm", i, None, STORMY.to_json())  # type: ignore[misc]
        )
    digest_id = await rig.store.write(lambda tx: join(tx, found, storm=True))
    await rig.turn()
    await rig.step(5)
    return digest_id, found


async def _move(rig: CallingRig, found: Sequence[str], state: IncidentState) -> None:
    for incident_id in found:
        await rig.store.write(lambda tx, i=incident_id: incidents.move(tx, i, state))  # type: ignore[misc]


def _severities(pagerduty: PagerDutyDouble) -> list[str]:
    return [event["payload"]["severity"] for event in pagerduty.events if "payload" in event]


async def test_a_storm_that_begins_in_the_digest_of_other_messages_calls_a_person_once(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path)
    waiting = await _fired(rig, "A", "B")
    quiet = await rig.store.write(lambda tx: join(tx, waiting, storm=False))
    await rig.turn()
    assert rig.pagerduty.woken == [], "messages that wait are no storm"
    rig.clock.advance(60)
    first, _ = await _storm(rig, "C", "D")
    second, _ = await _storm(rig, "E")
    assert quiet == first == second
    assert rig.pagerduty.woken == [quiet]
    await rig.close()


async def test_a_storm_of_days_is_over_when_nothing_of_it_is_open_and_its_message_says_so(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    digest_id, found = await _storm(rig, "A", "B", severity="info")
    assert _severities(rig.pagerduty) == ["critical"], "of the storm, not of its first alert"
    for hours in range(3, 31, 3):
        await rig.later(3 * 60)
        await _fired(rig, "A", "B", severity="info", ago=hours * 3600)  # Alertmanager repeats them
    assert rig.pagerduty.resolved == []
    await _move(rig, found, IncidentState.RESOLVED)
    await rig.later(6)
    assert rig.pagerduty.resolved == [digest_id]
    assert [(p["state"], p["level"]) for p in rig.status.posts] == [
        ("investigating", "critical"),
        ("resolved", "critical"),
    ]
    await rig.later(5 * 60)
    assert (await rig.store.read(lambda conn: digests.get(conn, digest_id))).told == "resolved=2"
    await rig.close()


@pytest.mark.parametrize(("ran", "paged"), [(False, 0), (True, 1)])
async def test_who_has_the_storm_is_not_called_for_each_of_its_targets(
    tmp_path: Path, ran: bool, paged: int
) -> None:
    """What the service itself wrote and left in a state that needs a person calls all the same; a plan of which nothing was begun does not."""
    rig = await calling_rig(tmp_path)
    digest_id, found = await _storm(rig, "A", "B")
    await rig.operations.acknowledge(digest_id, "ann")
    await rig.later(2)
    fact = Escalation("no rule is for it")
    run_id = "run_1"
    if ran:
        await rig.store.write(lambda tx: runs.begin_entry(tx, run_id, "s0a0", {"entry": "action"}))
    await rig.store.write(
        lambda tx: escalate(tx, incidents.get(tx.conn, found[0]), fact, once="later", run_id=run_id)
    )
    await rig.later(2)
    assert len(rig.pagerduty.woken) - 1 == paged
    said = "ann has the storm it is part of, so nobody is called for it alone"
    assert (said in rig.said) is not ran
    await rig.pagerduty_says("incident.acknowledged", of=digest_id)
    await rig.pagerduty_says("incident.unacknowledged", of=digest_id)
    await rig.later(1)
    (round_,) = await rig.store.read(
        lambda conn: [w for w in [escalations.get(conn, f"{digest_id}~2")] if w is not None]
    )
    assert round_.asked, "given back: people are asked for all of it"
    await rig.close()


async def test_a_storm_that_nobody_has_answered_yet_pages_once_and_not_for_each_target(
    tmp_path: Path,
) -> None:
    """Its gate opens after five minutes; then each target would be handed over for itself."""
    rig = await calling_rig(tmp_path)
    digest_id, found = await _storm(rig, "A", "B")
    for number, incident_id in enumerate(found):
        await rig.again(incident_id, f"nothing helped {number}")
    assert rig.pagerduty.woken == [digest_id]
    assert "people are asked for the storm it is part of, so nobody is called for it alone" in rig.said
    await rig.close()


async def test_what_only_shares_a_digest_with_a_storm_calls_for_itself(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    (alone,) = await _fired(rig, "Alone")
    await rig.store.write(lambda tx: join(tx, [alone], storm=False))
    digest_id, _ = await _storm(rig, "A", "B")
    await rig.operations.acknowledge(digest_id, "ann")
    await rig.again(alone, "nothing helped")
    assert rig.pagerduty.woken == [digest_id, alone]
    await rig.close()


async def test_beside_many_storms_that_last_everybody_is_asked_and_each_message_is_kept_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than one look takes: each look goes on where the last one ended."""
    monkeypatch.setattr(digests, "LULL", timedelta(seconds=1))
    rig = await calling_rig(tmp_path)
    found = await _fired(rig, *(f"S{n}" for n in range(55)))
    storms = []
    for incident_id in found:
        storms.append(await rig.store.write(lambda tx, i=incident_id: join(tx, [i], storm=True)))  # type: ignore[misc]
        await rig.operations.acknowledge(storms[-1], "ann")
        rig.clock.advance(2)
    assert len(set(storms)) == 55
    for _ in range(3):
        await rig.turn()
    (odd,) = await _fired(rig, "Odd")
    await rig.turn()
    await rig.again(odd, "nothing helped")
    (round_,) = await rig.store.read(lambda conn: escalations.of_incident(conn, odd))
    assert len(round_.asked) == 1
    await _move(rig, found[:1], IncidentState.RESOLVED)
    for _ in range(12):
        await rig.step(15)
    told = await rig.store.read(lambda conn: [digests.get(conn, storm).told for storm in storms])
    assert (told[0], set(told[1:])) == ("resolved=1", {"observed=1"})
    await rig.close()
