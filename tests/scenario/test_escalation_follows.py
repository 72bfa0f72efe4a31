"""What an escalation follows: the page that really went out, the most severe alert that fires, and the policy in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.outcome import IncidentState
from app.flow.notifying import record
from app.intake import pagerduty
from app.store import escalations, incidents, people
from app.store.escalations import StoredEscalation
from app.store.people import Holder
from tests.doubles.pagerduty import Fault
from tests.scenario.calling import MANAGER, ON_CALL, SECOND, CallingRig, calling_rig, policy, steps
from tests.scenario.scenes import alert, body, trail

PAGED = {"name": ON_CALL, "who": ["slack:U0ANA"], "page": True, "answer_within": "15m"}
TEAM: dict[str, Any] = {"name": "team", "who": ["slack:U0TEAM"], "page": True, "answer_within": "4h"}
BY_SEVERITY = policy(steps(PAGED, paths=[{"severity": ["warning", "info"], "steps": [TEAM]}]))


async def holder(rig: CallingRig, incident_id: str) -> Holder | None:
    """Who has the incident."""
    return await rig.store.read(lambda conn: people.holder_of(conn, incident_id))


async def rounds(rig: CallingRig, incident_id: str) -> list[StoredEscalation]:
    """All rounds of this incident."""
    return await rig.store.read(lambda conn: escalations.of_incident(conn, incident_id))


async def own_incident(rig: CallingRig, kind: str, status: str) -> str:
    """An event of an incident of PagerDuty's own; the incident here."""
    about = {"id": "QOWN", "type": "incident", "title": "Odd thing", "status": status, "created_at": OPENED}
    event = {
        "id": rig.services.ids.new("evt"),
        "event_type": kind,
        "occurred_at": rig.clock.now().isoformat(),
        "data": about,
        "agent": {"type": "user_reference", "id": "PUSER", "summary": "Ann Ops"},
    }
    raw = canonical({"event": event}).encode()
    receipt = await rig.store.ingest(pagerduty.parse(raw, received_at=rig.clock.now()))
    await rig.turn()
    return receipt.incident_ids[0]


async def out(rig: CallingRig) -> None:
    """Let what is to be sent be tried, with its attempts."""
    for _ in range(8):
        await rig.step(2)


OPENED = "2026-01-01T00:00:00Z"


async def test_a_page_that_never_went_out_is_made_when_its_answer_is_taken_back(tmp_path: Path) -> None:
    """It was dropped, as somebody had answered elsewhere meanwhile; its key is no page that calls again by itself."""
    rig = await calling_rig(tmp_path, policy(steps(PAGED)))
    incident_id = await own_incident(rig, "incident.triggered", "triggered")
    rig.pagerduty.fail(*[Fault(status=503)] * 20)
    await rig.again(incident_id, "nothing helped")
    await out(rig)
    await own_incident(rig, "incident.acknowledged", "acknowledged")
    await out(rig)
    rig.pagerduty._faults.clear()
    await rig.later(10)
    assert rig.pagerduty.woken == [], "nobody has to be paged any more"
    await own_incident(rig, "incident.unacknowledged", "triggered")
    await rig.later(1)
    now = (await rounds(rig, incident_id))[-1]
    assert rig.pagerduty.woken == [now.page_key] == [f"{incident_id}~2"]
    assert ", paged through PagerDuty (anew: Ann Ops no longer has it" in rig.heads[-1]
    assert [a.paged for a in now.asked] == [True]
    await rig.close()


async def test_a_page_that_is_still_tried_when_the_answer_is_taken_back_is_not_lost(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, policy(steps(PAGED)))
    incident_id = await own_incident(rig, "incident.triggered", "triggered")
    rig.pagerduty.fail(*[Fault(status=503)] * 30)
    await rig.again(incident_id, "nothing helped")
    await out(rig)
    await own_incident(rig, "incident.acknowledged", "acknowledged")
    assert [r.answered_by for r in await rounds(rig, incident_id)] == ["pagerduty:Ann Ops"], (
        "its page is still tried"
    )
    await own_incident(rig, "incident.unacknowledged", "triggered")
    rig.pagerduty._faults.clear()
    for _ in range(4):
        await rig.later(2)
    assert rig.pagerduty.woken == [f"{incident_id}~2"]
    assert list(rig.pagerduty.pages) == rig.pagerduty.woken
    await rig.close()


@pytest.mark.parametrize("answered", [False, True])
async def test_the_steps_of_a_more_severe_alert_begin_with_a_page_of_their_own(
    tmp_path: Path, answered: bool
) -> None:
    """Also when somebody had answered for what it was before."""
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    incident = await rig.handed_over(severity="warning")
    assert rig.heads == ["Asked team slack:U0TEAM, paged through PagerDuty"]
    if answered:
        await rig.operations.acknowledge(incident.id, "kim")
    await rig.send(body(alert(rig, alertname="Odd", severity="info")))
    await rig.later(1)
    assert len(rig.heads) == 1 + answered, "what is less severe is no news"
    await rig.send(body(alert(rig, alertname="Odd", severity="critical")))
    await rig.later(1)
    head = f"Asked {ON_CALL} slack:U0ANA, paged through PagerDuty (anew: it is critical now, warning before)"
    assert rig.heads[1 + answered :] == [head]
    assert rig.pagerduty.woken == [incident.id, f"{incident.id}~2"]
    assert (rig.pagerduty.resolved, list(rig.pagerduty.pages)) == ([incident.id], [f"{incident.id}~2"])
    assert rig.pagerduty.pages[f"{incident.id}~2"]["payload"]["severity"] == "critical"
    assert await holder(rig, incident.id) is None
    await rig.close()


@pytest.mark.parametrize(
    ("answers", "stands"),
    [
        (("kim",), True),
        (("ann", "kim"), True),
        (("an order",), True),
        (("PagerDuty",), False),
        (("ann",), False),
    ],
)
async def test_who_answers_once_a_more_severe_alert_has_joined_has_it_before_the_next_sweep_as_well(
    tmp_path: Path, answers: tuple[str, ...], stands: bool
) -> None:
    """The last one answers for what fires then, whatever people were asked about; not with a page that was made for a warning."""
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    incident = await rig.handed_over(severity="warning")
    if "ann" in answers:
        await rig.operations.acknowledge(incident.id, "ann")
        await rig.later(1)
    await rig.send(body(alert(rig, alertname="Odd", severity="critical")))
    if answers[-1] == "an order":
        await rig.store.write(lambda tx: record.taken(tx, rig.services, incident.id, "kim"))
    elif answers[-1] == "PagerDuty":
        await rig.pagerduty_says("incident.acknowledged")
    elif answers[-1] == "kim":
        await rig.operations.acknowledge(incident.id, "kim")
    await rig.later(1)
    await rig.later(1)
    assert len(rig.pagerduty.woken) == (1 if stands else 2)
    last = (await rounds(rig, incident.id))[-1]
    assert (last.answered_by, last.severity) == ("kim" if stands else "", "critical")
    has = await holder(rig, incident.id)
    assert (has.severity if has else None) == ("critical" if answers[-1] == "kim" else None)
    await rig.close()


async def test_the_steps_stay_those_of_the_most_severe_when_it_ends_and_begin_once(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    incident = await rig.handed_over(severity="warning")
    loud = alert(rig, alertname="Odd", severity="critical")
    await rig.send(body(loud))
    await rig.later(1)
    await rig.send(body({**loud, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.send(body(alert(rig, alertname="Odd", severity="critical", pod="other")))
    await rig.later(1)
    rig.policy = policy(BY_SEVERITY.escalation, "two")
    await rig.later(1)
    (before, now) = await rounds(rig, incident.id)
    assert (before.severity, now.severity) == ("warning", "critical")
    assert [a.step for a in now.asked] == [ON_CALL]
    await rig.close()


async def test_a_round_begins_with_the_steps_of_the_most_severe_alert_not_the_first(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    first = alert(rig, alertname="Odd", severity="warning")
    found = await rig.send(body(first, alert(rig, alertname="Odd", severity="critical")))
    await rig.again(found.incident_ids[0], "nothing helped")
    assert rig.heads == [f"Asked {ON_CALL} slack:U0ANA, paged through PagerDuty"]
    assert "critical" in rig.parent.readable()
    await rig.close()


async def test_who_had_it_has_to_say_so_again_when_a_person_is_needed_again(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.again(incident.id, "its undo failed", stuck=True)
    assert await holder(rig, incident.id) is None
    assert rig.heads[-1].endswith("(anew: a person is needed again)")
    await rig.close()


async def test_who_has_pagerdutys_own_incident_reads_why_people_are_called_all_the_same(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path)
    incident_id = await own_incident(rig, "incident.triggered", "triggered")
    await own_incident(rig, "incident.acknowledged", "acknowledged")
    await rig.again(incident_id, "nothing helped")
    assert "(anew: it is acknowledged in PagerDuty by Ann Ops at " in rig.heads[-1]
    assert rig.heads[-1].endswith(", and a person is needed again)")
    await rig.close()


# The policy changes.


async def test_steps_that_a_new_policy_adds_are_asked_when_nobody_had_answered(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, policy(steps(PAGED)))
    incident = await rig.handed_over()
    await rig.later(15)
    assert rig.heads[-1].startswith("Nobody answered: 1 step asked since ")
    rig.policy = policy(steps(PAGED), "the same")
    await rig.later(1)
    assert len(rig.heads) == 2
    rig.policy = policy(steps(PAGED, {"name": SECOND, "who": ["slack:U0BEN"], "answer_within": "5m"}), "more")
    await rig.later(1)
    assert rig.heads[2:] == [f"Asked {SECOND} slack:U0BEN"]
    await rig.later(5)
    assert len(rig.heads) == 4
    assert rig.heads[3].startswith("Nobody answered: 2 steps asked since ")
    await rig.operations.acknowledge(incident.id, "kim")
    rig.policy = policy(steps(PAGED, {"name": MANAGER, "who": ["slack:U0MGR"]}), "late")
    await rig.later(1)
    assert rig.heads[-1].startswith("Acknowledged by kim")
    await rig.close()


async def test_a_renamed_step_is_asked_and_not_said_to_have_paged_once_more(tmp_path: Path) -> None:
    """An event that joins an open page wakes nobody, so none is sent."""
    rig = await calling_rig(tmp_path, policy(steps(PAGED)))
    incident = await rig.handed_over()
    rig.policy = policy(steps({**PAGED, "name": "pilot", "answer_within": "20m"}), "two")
    await rig.later(15)
    assert rig.heads[-1] == "Asked pilot slack:U0ANA, its page is open in PagerDuty already"
    (row,) = await rounds(rig, incident.id)
    assert [a.paged for a in row.asked] == [True, False]
    assert [r.data["paged"] for r in await trail(rig, EventKind.STEP_ASKED)] == [True, False]
    assert rig.pagerduty.woken == [incident.id]
    await rig.close()


@pytest.mark.parametrize("state", escalations.BUSY)
async def test_while_the_service_is_at_it_no_step_is_asked_by_a_reload_either(
    tmp_path: Path, state: IncidentState
) -> None:
    sooner: list[dict[str, Any]] = [
        {**PAGED, "answer_within": "1m"},
        {"name": SECOND, "who": ["slack:U0BEN"]},
    ]
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, state))
    now = rig.clock.now

    async def looked_at(version: str) -> list[str]:
        return [
            w.subject for w in await rig.store.read(lambda conn: escalations.waiting(conn, now(), version, 9))
        ]

    rig.policy = policy(steps(*sooner), "two")
    await rig.later(5)
    assert await looked_at("two") == []
    assert len(rig.heads) == 1
    await rig.pagerduty_says("incident.annotated")
    await rig.store.write(lambda tx: escalations.heard(tx, incident.id))
    await rig.later(1)
    assert len(rig.heads) == 1, "news that is no answer asks nobody either"
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.ESCALATED))
    assert await looked_at("two") == [incident.id]
    await rig.later(1)
    assert rig.heads[1:] == [f"Asked {SECOND} slack:U0BEN"]
    assert await looked_at("two") == [], "it was looked at under this policy"
    assert await looked_at("three") == [incident.id]
    await rig.close()
