"""The escalation path: whom it asks, in which order and when; who stops it, whichever way; and that each step is told once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain import page_marks
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.outcome import IncidentState
from app.flow.notifying.record import taken
from app.flow.services import Reach
from app.intake import pagerduty
from app.notify.buttons import Click
from app.store import incidents, people
from tests.scenario.calling import MANAGER, MINUTE, ON_CALL, SECOND, CallingRig, calling_rig, policy, steps
from tests.scenario.scenes import alert, all_incidents, body, the_incident, trail

NOBODY = [f"Asked {ON_CALL}", f"Asked {SECOND}", f"Asked {MANAGER}", "Nobody answered"]


def begins(rig: CallingRig) -> list[str]:
    """What was told of the escalation, in two or three words each."""
    return [next((n for n in NOBODY if head.startswith(n)), head) for head in rig.heads]


async def test_nobody_answers_and_each_step_is_asked_once_in_its_time(tmp_path: Path) -> None:
    """And after the last one's time it is said that nobody answered."""
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    began = rig.clock.now()
    for minutes in (14, 1, 29, 1, 59, 1, 300):
        await rig.later(minutes)
    assert begins(rig) == NOBODY
    (row,) = await rig.rounds()
    waited = [round((a.at - began).total_seconds() / MINUTE) for a in row.asked]
    assert waited == [0, 15, 45]
    assert (row.due_at, row.answered_at, row.over_at) == (None, None, None)
    assert [r.data["step"] for r in await trail(rig, EventKind.STEP_ASKED)] == [ON_CALL, SECOND, MANAGER]
    assert len(await trail(rig, EventKind.UNANSWERED)) == 1
    assert rig.pagerduty.woken == [row.subject]
    text = rig.notebook.text
    assert "On call in PagerDuty (schedule PSCHED1): Ann Ops, Ben Backup" in text
    shown = rig.said
    assert "<@U0ANA>" in shown
    assert "<!subteam^S0SRE>" in shown
    await rig.close()


@pytest.mark.parametrize("way", ["slack", "pagerduty", "api", "page"])
@pytest.mark.parametrize("step", [0, 1, 2])
async def test_an_answer_at_each_step_from_each_channel_stops_it(tmp_path: Path, way: str, step: int) -> None:
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    for minutes in (15, 30)[:step]:
        await rig.later(minutes)
    match way:
        case "slack":
            assert await rig.click(Click.ACKNOWLEDGE, "U0BEN") == ""
        case "pagerduty":
            await rig.pagerduty_says("incident.acknowledged")
        case "api":
            assert (await rig.operations.acknowledge(incident.id, "kim"))["answer"] == "acknowledged"
        case _:
            assert (await rig.operations.acknowledge(incident.id, "kim", through="the web page"))[
                "by"
            ] == "kim"
    for _ in range(4):
        await rig.later(60)
    (head,) = [h for h in begins(rig) if h.startswith("Acknowledged")]
    by, through = {
        "slack": ("slack:U0BEN", "Slack"),
        "pagerduty": ("pagerduty:Ann Ops", "PagerDuty"),
        "api": ("kim", "API"),
        "page": ("kim", "the web page"),
    }[way]
    assert head == f"Acknowledged by {by.removeprefix('pagerduty:')} through {through}: nobody else is asked"
    assert begins(rig)[:-1] == NOBODY[: step + 1]
    (record,) = await trail(rig, EventKind.ACKNOWLEDGED)
    assert (record.actor, record.data["through"], record.data["asked"]) == (by, through, step + 1)
    assert rig.pagerduty.acknowledged == ([] if way == "pagerduty" else [incident.id])
    assert f"through {through}" in rig.parent.readable()
    holder = await rig.store.read(lambda conn: people.holder_of(conn, incident.id))
    assert holder is not None
    assert (holder.by, holder.through) == (by, through)
    await rig.close()


async def test_a_repeated_answer_changes_nothing_and_says_who_has_it(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    await rig.operations.acknowledge(incident.id, "kim")
    again = await rig.operations.acknowledge(incident.id, "lee")
    assert (again["answer"], again["by"]) == ("already", "kim")
    assert await rig.click(Click.ACKNOWLEDGE, "U0EVE", incident.id) != ""  # nobody asked her
    assert len(await trail(rig, EventKind.ACKNOWLEDGED)) == 1
    await rig.close()


async def test_unacknowledged_in_pagerduty_starts_it_anew_and_says_so(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    await rig.pagerduty_says("incident.acknowledged")
    await rig.pagerduty_says("incident.unacknowledged", by="Ben Backup", status="triggered")
    anew = "(anew: Ann Ops no longer has it, by Ben Backup in PagerDuty)"
    assert [head for head in rig.heads if anew in head] == [rig.heads[-1]]
    assert await rig.store.read(lambda conn: people.holder_of(conn, incident.id)) is None
    assert rig.pagerduty.woken == [incident.id], "PagerDuty calls again by itself"
    await rig.later(15)
    assert begins(rig)[-1] == f"Asked {SECOND}"
    await rig.close()


async def test_an_answer_from_before_it_was_taken_back_is_late(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    await rig.later(1)
    key = rig.pagerduty.woken[-1]
    await rig.pagerduty_says("incident.acknowledged", by="Ann")
    before = rig.clock.now().isoformat()
    await rig.later(2)
    await rig.pagerduty_says("incident.unacknowledged", of=key, by="Ann", status="triggered")
    page = next(e for e in rig.pagerduty.events if e["dedup_key"] == key and "payload" in e)
    data = {"id": "Q", "type": "incident", "title": page["payload"]["summary"], "created_at": before}
    event = {
        "id": "late",
        "event_type": "incident.acknowledged",
        "occurred_at": before,
        "data": data,
        "agent": {"type": "user_reference", "id": "P2", "summary": "Ben"},
    }
    own = page_marks.reader(rig.store.vault.key)
    body = canonical({"event": event}).encode()
    await rig.store.ingest(pagerduty.parse(body, received_at=rig.clock.now(), own_page=own))
    await rig.later(15)
    assert begins(rig)[-1] == f"Asked {SECOND}", "the steps that began anew go on"
    await rig.close()


async def test_stuck_again_after_an_answer_starts_it_anew_with_a_new_page(tmp_path: Path) -> None:
    """An event that joins a page which somebody has taken would call nobody."""
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.turn()
    await rig.again(incident.id, "its undo failed", stuck=True)
    await rig.step(5)
    assert rig.pagerduty.woken == [incident.id, f"{incident.id}~2"]
    assert rig.pagerduty.resolved == [incident.id]
    assert rig.heads[-1].endswith("(anew: a person is needed again)")
    await rig.close()


async def test_the_page_is_resolved_when_the_incident_is_over_and_nobody_else_is_asked(
    tmp_path: Path,
) -> None:
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    await rig.later(1)
    assert (list(rig.pagerduty.pages), rig.pagerduty.resolved) == ([], [incident.id])
    await rig.later(120)
    assert begins(rig) == [f"Asked {ON_CALL}"]
    with pytest.raises(Refused, match="it is over"):
        await rig.operations.acknowledge(incident.id, "kim")
    await rig.close()


async def test_events_of_our_own_page_come_back_as_no_alert(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    for kind in (
        "incident.triggered",
        "incident.annotated",
        "incident.escalated",
        "incident.priority_updated",
    ):
        await rig.pagerduty_says(kind, by="", status="triggered")
    await rig.pagerduty_says("incident.resolved", by="", status="resolved")  # our own end of it is no answer
    assert len(await all_incidents(rig)) == 1
    (row,) = await rig.rounds()
    assert row.answered_at is None
    await rig.close()


async def test_an_answer_holds_automatic_steps_of_an_incident_that_called_nobody(tmp_path: Path) -> None:
    """The word of a person counts for alerts of Alertmanager too."""
    rig = await calling_rig(tmp_path)
    await rig.send(body(alert(rig, alertname="HighErrorRate")))
    incident = await the_incident(rig)
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.turn()
    facts = await rig.store.read(lambda conn: people.holder_of(conn, incident.id))
    assert facts is not None
    assert facts.text.startswith("acknowledged through API by kim at ")
    assert rig.heads == ["Acknowledged by kim through API: nobody else is asked"]
    await rig.close()


async def test_a_clock_that_is_set_back_puts_no_step_off(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    await rig.later(1)
    rig.clock._start -= timedelta(hours=6)
    await rig.later(1)
    await rig.later(14)
    assert begins(rig) == [f"Asked {ON_CALL}", f"Asked {SECOND}"]
    await rig.close()


async def test_a_clock_that_jumps_ahead_asks_one_step_early_at_most(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    await rig.later(600)
    assert begins(rig) == [f"Asked {ON_CALL}", f"Asked {SECOND}"]
    await rig.close()


async def test_a_pause_silences_no_call(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.operations.pause("all", "a move", "kim", None)
    await rig.handed_over()
    await rig.later(15)
    assert begins(rig) == [f"Asked {ON_CALL}", f"Asked {SECOND}"]
    assert len(rig.pagerduty.woken) == 1
    await rig.close()


async def test_a_reload_makes_it_stricter_only_and_whoever_was_asked_stays_asked(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    await rig.handed_over()
    await rig.later(2)
    sooner = steps(
        {"name": ON_CALL, "who": ["slack:U0ANA"], "answer_within": "5m"},
        {"name": SECOND, "who": ["slack:U0NEW"], "answer_within": "9h"},
    )
    rig.policy = policy(sooner, "two")
    await rig.later(3)
    assert begins(rig) == [f"Asked {ON_CALL}", f"Asked {SECOND}"]
    assert "slack:U0NEW" in rig.heads[-1]
    await rig.later(30)  # not nine hours: the policy that it began under says 30 min
    assert begins(rig)[-1] == f"Asked {MANAGER}", "a step that the new policy dropped is asked all the same"
    await rig.close()


async def test_without_a_pager_a_step_that_only_pages_is_said_and_passed_over(tmp_path: Path) -> None:
    only = steps({"name": ON_CALL, "page": True}, {"name": SECOND, "who": ["slack:U0BEN"]})
    rig = await calling_rig(tmp_path, policy(only))
    object.__setattr__(rig.services, "reach", Reach())
    await rig.handed_over()
    await rig.later(1)
    assert begins(rig) == [f"Asked {ON_CALL}", f"Asked {SECOND}"]
    assert "Nobody was asked: PagerDuty is not configured" in rig.notebook.text
    await rig.close()


async def test_who_is_on_call_is_said_to_be_unknown(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    rig.pagerduty.forbids_on_call = True
    await rig.handed_over()
    assert "is not known: PagerDuty answered 403: the token lacks a permission" in rig.notebook.text
    assert rig.pagerduty.woken, "the page does not wait for it"
    await rig.close()


async def test_who_orders_something_is_the_answer_and_holds_nothing(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    incident = await rig.handed_over()
    for _ in range(2):
        await rig.store.write(lambda tx: taken(tx, rig.services, incident.id, "kim"))
    await rig.later(60)
    assert rig.heads[1:] == ["Acknowledged by kim through an order: nobody else is asked"]
    assert rig.pagerduty.acknowledged == [incident.id]
    assert await rig.store.read(lambda conn: people.holder_of(conn, incident.id)) is None
    await rig.close()
