"""What an escalation tells outside of the thread: a storm's page, the status page, notes; and that nothing of an alert's text gets out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.flow.notifying.fan_out import join
from app.flow.notifying.record import taken
from app.notify.buttons import Click
from app.store import incidents
from tests.doubles.pagerduty import Fault
from tests.scenario import scenes
from tests.scenario.calling import ON_CALL, SECOND, STATUS_TOKEN, STATUS_URL, calling_rig, policy, steps
from tests.scenario.scenes import alert, body, trail

PAGED = {"name": ON_CALL, "who": ["slack:U0ANA"], "page": True}
PUBLIC = policy(
    steps(
        PAGED,
        status_page={
            "fields": {"incident": "id", "state": "status", "text": "message", "level": "severity"},
            "constants": {"page": "rag7"},
        },
    )
)
CANARY = "canary-5ecre7-7f3a"


async def test_a_storms_page_is_resolved_when_the_storm_is_over_and_its_answer_stops_the_steps(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path)
    alerts = [alert(rig, alertname=f"Odd{n}", deployment=f"svc-{n}") for n in range(3)]
    found = (await rig.send(body(*alerts))).incident_ids
    digest_id = await rig.store.write(lambda tx: join(tx, found, storm=True))
    await rig.turn()
    await rig.step(5)
    assert rig.pagerduty.woken == [digest_id]
    assert rig.heads == [f"Asked {ON_CALL} slack:U0ANA, paged through PagerDuty"]
    await rig.later(15)
    assert [h.split(" slack")[0] for h in rig.heads[1:]] == [f"Asked {SECOND}"]
    await rig.pagerduty_says("incident.acknowledged")
    assert rig.heads[-1] == "Acknowledged by Ann Ops through PagerDuty: nobody else is asked"
    await rig.later(60)
    assert len(rig.heads) == 3
    assert rig.pagerduty.resolved == []
    for incident_id in found:
        await rig.store.write(lambda tx, i=incident_id: incidents.move(tx, i, IncidentState.RESOLVED))  # type: ignore[misc]
    await rig.later(6)
    assert (rig.pagerduty.resolved, list(rig.pagerduty.pages)) == ([digest_id], [])
    await rig.close()


async def test_a_storm_is_taken_by_its_id(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    found = (await rig.send(body(alert(rig, alertname="Odd")))).incident_ids
    digest_id = await rig.store.write(lambda tx: join(tx, found, storm=True))
    await rig.turn()
    await rig.step(5)
    assert (await rig.operations.acknowledge(digest_id, "kim"))["answer"] == "acknowledged"
    assert (await rig.operations.acknowledge(digest_id, "lee"))["by"] == "kim"
    await rig.step(5)
    assert rig.pagerduty.acknowledged == [digest_id]
    await rig.close()


async def test_the_status_page_gets_fixed_fields_once_a_state_and_nothing_of_the_alert(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    incident = await rig.handed_over(severity=CANARY, why=f"pod {CANARY} is down")
    await rig.step(5)
    await rig.click(Click.ACKNOWLEDGE)
    await rig.again(incident.id, "again")
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    await rig.later(1)
    common = {"incident": incident.id, "level": "error", "page": "rag7"}
    assert rig.status.posts == [
        {**common, "state": "investigating", "text": "We are looking into a problem."},
        {**common, "state": "identified", "text": "Our team is working on a problem."},
        {**common, "state": "resolved", "text": "The problem is over."},
    ]
    sent = rig.status.seen[0]
    assert str(sent.url) == STATUS_URL
    assert sent.headers["authorization"] == f"Bearer {STATUS_TOKEN}"
    assert CANARY not in json.dumps(rig.status.posts)
    assert STATUS_TOKEN not in rig.notebook.text + json.dumps([r.data for r in await trail(rig)])
    await rig.close()


async def test_a_status_whose_answer_is_lost_is_not_posted_again_and_that_is_said(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    rig.status.fails = [0]
    incident = await rig.handed_over()
    await rig.later(5)
    assert [p["state"] for p in rig.status.posts] == ["investigating"]
    (told,) = [r for r in await trail(rig, EventKind.NOTIFY_FAILED) if r.incident_id == incident.id]
    assert "answer was lost" in str(told.data["error"])
    rig.status.fails = [503, 200]  # certainly not taken: tried again
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    for _ in range(2):
        await rig.later(1)
    assert [p["state"] for p in rig.status.posts] == ["investigating", "resolved"]
    await rig.close()


async def test_a_page_that_could_not_go_out_before_the_end_calls_nobody_afterwards(tmp_path: Path) -> None:
    """The end waits for the page, and the page is not made any more."""
    rig = await calling_rig(tmp_path)
    rig.pagerduty.fail(*[Fault(status=503)] * 4)
    incident = await rig.handed_over()
    await rig.step(5)
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    for _ in range(3):
        await rig.later(2)
    assert (rig.pagerduty.woken, rig.pagerduty.pages) == ([], {})
    await rig.close()


@pytest.mark.parametrize("left", ["steps alone", "no escalation"])
async def test_an_entry_is_ended_as_it_began_when_the_policy_has_no_status_page_any_more(
    tmp_path: Path, left: str
) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    incident = await rig.handed_over()
    await rig.step(5)
    rig.policy = policy(steps(PAGED), "two") if left == "steps alone" else scenes.policy({"version": "two"})
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    await rig.later(1)
    common = {"incident": incident.id, "level": "critical", "page": "rag7"}
    assert rig.status.posts == [
        {**common, "state": "investigating", "text": "We are looking into a problem."},
        {**common, "state": "resolved", "text": "The problem is over."},
    ]
    await rig.close()


async def test_an_order_that_answers_the_call_is_told_as_identified(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    incident = await rig.handed_over()
    await rig.step(5)
    await rig.store.write(lambda tx: taken(tx, rig.services, incident.id, "kim"))
    await rig.step(5)
    assert [p["state"] for p in rig.status.posts] == ["investigating", "identified"]
    await rig.close()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_status_that_the_page_did_not_take_is_posted_again_under_its_key(
    tmp_path: Path, status: int
) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    rig.status.fails = [status]
    await rig.handed_over()
    await rig.later(1)
    assert [p["state"] for p in rig.status.posts] == ["investigating"]
    first, second = (request.headers["idempotency-key"] for request in rig.status.seen)
    assert first == second
    await rig.close()
