"""Two incidents that become one: whose steps go on, who has it, which page stays; and what the status page is told in the end."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.flow.notifying import merging
from app.policy.escalation import EscalationPolicy
from app.store import escalations, hands, incidents, people
from app.store.escalations import StoredEscalation
from app.store.people import Holder
from tests.doubles.pagerduty import Fault
from tests.scenario.calling import ON_CALL, SECOND, CallingRig, calling_rig, policy, steps
from tests.scenario.scenes import alert, body, trail

PAGED = {"name": ON_CALL, "who": ["slack:U0ANA"], "page": True, "answer_within": "15m"}
TEAM: dict[str, Any] = {"name": "team", "who": ["slack:U0TEAM"], "page": True, "answer_within": "4h"}
BY_SEVERITY = policy(steps(PAGED, paths=[{"severity": ["warning", "info"], "steps": [TEAM]}]))
PUBLIC = policy(steps(PAGED, status_page={"fields": {"incident": "id", "state": "status"}}))


async def holder(rig: CallingRig, incident_id: str) -> Holder | None:
    """Who has the incident."""
    return await rig.store.read(lambda conn: people.holder_of(conn, incident_id))


async def rounds(rig: CallingRig, incident_id: str) -> list[StoredEscalation]:
    """All rounds of this incident."""
    return await rig.store.read(lambda conn: escalations.of_incident(conn, incident_id))


# Two incidents become one.


async def two(rig: CallingRig, gone: str, into: str) -> tuple[str, str]:
    """Two incidents of these severities that turn out to have one target."""
    first = await rig.send(body(alert(rig, alertname="Odd", deployment="svc-1", severity=gone)))
    second = await rig.send(body(alert(rig, alertname="Odd", deployment="svc-2", severity=into)))
    await rig.turn()
    return first.incident_ids[0], second.incident_ids[0]


async def stand(rig: CallingRig, incident_id: str, how: str) -> None:
    """Bring it into this standing before the merge: nothing, called for, answered, or taken by a word alone."""
    if how in ("called", "answered"):
        await rig.again(incident_id, f"why {incident_id}")
    if how in ("answered", "taken"):
        await rig.operations.acknowledge(incident_id, f"who has {incident_id}")
    await rig.turn()


async def merged(rig: CallingRig, gone: str, into: str) -> None:
    """They become one."""
    await rig.store.write(lambda tx: merging.merge(tx, gone, into))
    await rig.later(1)


@pytest.mark.parametrize(
    ("gone", "into", "expected"),
    [
        (("critical", "called"), ("critical", "nothing"), "gone called"),
        (("critical", "answered"), ("critical", "nothing"), "gone answered"),
        (("critical", "taken"), ("critical", "nothing"), "gone taken"),
        (("warning", "taken"), ("critical", "nothing"), "nothing"),
        (("critical", "nothing"), ("critical", "answered"), "into answered"),
        (("critical", "nothing"), ("warning", "taken"), "nothing"),
        (("warning", "nothing"), ("critical", "taken"), "into taken"),
        (("critical", "called"), ("critical", "called"), "into called"),
        (("critical", "called"), ("warning", "called"), "gone called"),
        (("critical", "called"), ("critical", "answered"), "into answered"),
        (("critical", "answered"), ("critical", "called"), "gone answered"),
        (("critical", "called"), ("warning", "answered"), "gone called"),
        (("warning", "answered"), ("critical", "called"), "into called"),
        (("warning", "called"), ("critical", "answered"), "into answered"),
        (("warning", "called"), ("critical", "taken"), "into answered"),
        (("critical", "taken"), ("warning", "called"), "gone answered"),
        (("critical", "called"), ("warning", "taken"), "gone called"),
    ],
)
async def test_of_two_that_become_one_the_more_severe_counts_then_an_answer_then_the_one_that_stays(
    tmp_path: Path, gone: tuple[str, str], into: tuple[str, str], expected: str
) -> None:
    one_list: EscalationPolicy = steps()
    rig = await calling_rig(tmp_path, policy(one_list))
    ids = dict(zip(("gone", "into"), await two(rig, gone[0], into[0]), strict=True))
    await stand(rig, ids["gone"], gone[1])
    await stand(rig, ids["into"], into[1])
    due: dict[str, datetime | None] = {}
    for name, incident_id in ids.items():
        found = await rounds(rig, incident_id)
        due[name] = found[-1].due_at if found else None
    await merged(rig, ids["gone"], ids["into"])
    assert [r for r in await rounds(rig, ids["gone"]) if r.over_at is None] == []
    live = [r for r in await rounds(rig, ids["into"]) if r.over_at is None]
    has = await holder(rig, ids["into"])
    of, _, how = expected.partition(" ")
    if how in ("called", "answered"):
        (walk,) = live
        assert [a.step for a in walk.asked] == [ON_CALL]
        assert walk.answered_by == (f"who has {ids[of]}" if how == "answered" else "")
        assert walk.due_at == (due[of] if how == "called" else None)
        assert list(rig.pagerduty.pages) == [walk.page_key]
    else:
        assert live == []
    assert (has.by if has else "") == (f"who has {ids[of]}" if how in ("answered", "taken") else "")
    known = rig.clock.now()
    at_work = await rig.store.read(lambda conn: hands.on(conn, [ids["into"]], known))
    took = any(stood in ("answered", "taken") for _, stood in (gone, into))
    assert (ids["into"] in at_work) == took, "whose word does not stand may be at work all the same"
    if how == "called":
        await rig.later(15)
        assert rig.heads[-1].startswith(f"Asked {SECOND}")
    await rig.close()


async def test_what_was_asked_is_said_in_the_thread_that_stays_and_answered_there(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    gone, into = await two(rig, "critical", "critical")
    await stand(rig, gone, "called")
    await merged(rig, gone, into)
    assert rig.heads[1:] == [f"Asked {ON_CALL} (about {gone}, which was merged into this incident)"]
    await rig.pagerduty_says("incident.acknowledged", of=gone)
    assert rig.heads[-1] == "Acknowledged by Ann Ops through PagerDuty: nobody else is asked"
    has = await holder(rig, into)
    assert has is not None
    await rig.store.write(lambda tx: incidents.move(tx, into, IncidentState.RESOLVED))
    await rig.later(1)
    assert (rig.pagerduty.resolved, rig.pagerduty.pages) == ([gone], {})
    await rig.close()


async def test_a_page_that_is_not_out_when_they_become_one_is_made_there(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path)
    gone, into = await two(rig, "critical", "critical")
    rig.pagerduty.fail(*[Fault(status=503)] * 4)
    await stand(rig, gone, "called")
    await merged(rig, gone, into)
    for _ in range(4):
        await rig.later(2)
    assert rig.pagerduty.woken == [into]
    assert list(rig.pagerduty.pages) == [into]
    await rig.close()


async def test_a_word_on_a_warning_that_called_nobody_does_not_silence_what_is_critical_once_they_are_one(
    tmp_path: Path,
) -> None:
    """No round of steps is there that could begin anew: what was said of the warning does not stand, and the thread says so."""
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    gone, into = await two(rig, "critical", "warning")
    await stand(rig, into, "taken")
    await merged(rig, gone, into)
    await rig.later(2)
    text = f"Not acknowledged any more: it is critical now, warning before; who has {into} had it"
    assert text in rig.notebook.text
    assert [e.actor for e in await trail(rig, EventKind.RELEASED)] == ["service"]
    await rig.close()


@pytest.mark.parametrize("later", ["critical", "warning"])
async def test_a_word_on_a_warning_does_not_silence_a_critical_alert_that_joins(
    tmp_path: Path, later: str
) -> None:
    """Nobody was called for it, so no round of steps drops it: the gate `hands` asks whether it stands for what fires now."""
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    first = await rig.send(body(alert(rig, alertname="Odd", deployment="svc-1", severity="warning")))
    await rig.turn()
    (incident_id,) = first.incident_ids
    await rig.operations.acknowledge(incident_id, "kim")
    await rig.turn()
    joins = alert(rig, alertname="Odd", deployment="svc-1", severity=later, pod="svc-1-0")
    assert (await rig.send(body(joins))).incident_ids == (incident_id,)
    await rig.later(1)
    has = await holder(rig, incident_id)
    assert (has.by if has else "") == ("" if later == "critical" else "kim")
    await rig.close()


async def test_an_answer_to_a_warning_does_not_silence_what_is_critical_once_they_are_one(
    tmp_path: Path,
) -> None:
    """Nobody was called for the critical one yet: its steps begin."""
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    gone, into = await two(rig, "warning", "critical")
    await stand(rig, gone, "answered")
    await merged(rig, gone, into)
    assert rig.heads[-1].endswith("(anew: it is critical now, warning before)")
    assert await holder(rig, into) is None
    await rig.close()


@pytest.mark.parametrize("into_is", ["nothing", "called"])
async def test_nor_what_is_critical_by_an_alert_that_joined_just_before(tmp_path: Path, into_is: str) -> None:
    """No sweep came between."""
    rig = await calling_rig(tmp_path, BY_SEVERITY)
    gone, into = await two(rig, "warning", "warning")
    await stand(rig, gone, "answered")
    await stand(rig, into, into_is)
    joins = alert(rig, alertname="Odd", deployment="svc-1", severity="critical", pod="svc-1-0")
    assert (await rig.send(body(joins))).incident_ids == (gone,)
    await merged(rig, gone, into)
    assert rig.heads[-1].endswith("(anew: it is critical now, warning before)")
    assert await holder(rig, into) is None
    await rig.close()


# The status page.


def told(rig: CallingRig) -> list[tuple[str, str]]:
    """What the status page was told."""
    return [(str(post["incident"]), str(post["state"])) for post in rig.status.posts]


@pytest.mark.parametrize("both", [False, True])
async def test_the_entry_of_a_merged_incident_is_resolved_when_its_target_is_over(
    tmp_path: Path, both: bool
) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    gone, into = await two(rig, "critical", "critical")
    await stand(rig, gone, "called")
    await stand(rig, into, "called" if both else "nothing")
    entries = [gone, into] if both else [gone]
    await merged(rig, gone, into)
    await rig.later(30)
    assert told(rig) == [(i, "investigating") for i in entries]
    await rig.operations.acknowledge(into, "kim")
    await rig.later(1)
    await rig.store.write(lambda tx: incidents.move(tx, into, IncidentState.RESOLVED))
    await rig.later(1)
    later = told(rig)[len(entries) :]
    assert sorted(later[: len(entries)]) == sorted((i, "identified") for i in entries)
    assert sorted(later[len(entries) :]) == sorted((i, "resolved") for i in entries)
    await rig.close()


async def test_a_setback_after_it_was_resolved_is_told_as_another_problem(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    incident = await rig.handed_over()
    for number in range(3):
        await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
        await rig.later(1)
        await rig.again(incident.id, f"setback {number}")
        await rig.later(1)
    assert [state for _, state in told(rig)] == ["investigating", "resolved"] * 3 + ["investigating"]
    await rig.close()


async def test_a_setback_is_not_told_before_the_end_that_came_before_it(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, PUBLIC)
    incident = await rig.handed_over()
    await rig.later(1)
    rig.status.fails = [503]
    await rig.store.write(lambda tx: incidents.move(tx, incident.id, IncidentState.RESOLVED))
    await rig.turn()
    await rig.again(incident.id, "a setback")
    for _ in range(4):
        await rig.later(2)
    assert [state for _, state in told(rig)] == ["investigating", "resolved", "investigating"]
    await rig.close()
