"""PagerDuty's door against the double on loopback: pages, notes, repeats and refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest

from app.notify.client import Never, Retry
from app.notify.limits import length
from app.notify.pagerduty import PagerDutyAccess, PagerDutyClient, note_for, page_for
from app.notify.timeline import Escalation
from tests.doubles.pagerduty import API_TOKEN, ROUTING_KEY, USER, Fault, Incident, PagerDutyDouble, serving
from tests.unit.notify import timelines
from tests.unit.notify.clock import SteppingClock

STORY = timelines.TIMELINES["escalated"]
KEY, MARK = "inc_0k3m", "0123456789abcdef"


def mark(_key: str, _text: str) -> str:
    return MARK


PAGE = page_for(STORY, timelines.ESCALATION, KEY, mark)


@dataclass(frozen=True)
class Rig:
    client: PagerDutyClient
    pagerduty: PagerDutyDouble
    clock: SteppingClock


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    pagerduty, clock = PagerDutyDouble(), SteppingClock()
    pagerduty.incidents["Q1ABC"] = Incident()
    async with serving(pagerduty) as url, httpx.AsyncClient(timeout=1) as http:
        access = PagerDutyAccess(url, url, ROUTING_KEY, API_TOKEN, USER)
        yield Rig(PagerDutyClient(access, http, clock), pagerduty, clock)


async def test_an_escalation_pages_with_the_incident_as_dedup_key(rig: Rig) -> None:
    await rig.client.trigger(PAGE)
    event = rig.pagerduty.pages["inc_0k3m"]
    assert event["payload"]["summary"] == (
        "ESCALATED: HighErrorRate on rag7/langgraph: the alert still fires after everything allowed was tried"
        f" [{KEY} {MARK}]"
    )
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["source"] == "rag7/Deployment/langgraph"
    assert event["payload"]["custom_details"]["tried"] == [
        "rollback: not fixed",
        "scale to 5: refused by the budget",
    ]


async def test_two_pages_of_one_incident_are_one(rig: Rig) -> None:
    await rig.client.trigger(PAGE)
    await rig.client.trigger(replace(PAGE, summary="again"))
    assert len(rig.pagerduty.pages) == 1


@pytest.mark.parametrize(
    ("severity", "stuck", "expected"),
    [
        ("critical", False, "critical"),
        ("warning", False, "warning"),
        ("Info", False, "info"),
        ("page", False, "error"),
        ("", False, "error"),
        ("warning", True, "critical"),
    ],
)
def test_the_alerts_severity_is_put_into_pagerdutys_words(severity: str, stuck: bool, expected: str) -> None:
    page = page_for(replace(STORY, severity=severity), Escalation("r", stuck=stuck), KEY, mark)
    assert page.severity == expected
    assert page.summary.startswith("STUCK" if stuck else "ESCALATED")


async def test_an_endless_reason_is_cut_to_what_pagerduty_takes(rig: Rig) -> None:
    endless = Escalation("r\N{ROCKET}" * 5_000, tried=("t" * 90_000,) * 50)
    page = page_for(replace(STORY, incident_id="i" * 400, target="t" * 900), endless, "k" * 400, mark)
    assert length(page.summary) == 1_024
    await rig.client.trigger(page)
    assert length(note_for(STORY, endless)) <= 4_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=500),
        Fault(status=503),
        Fault(cut=True),
        Fault(status=500, stored=True),
    ],
)
async def test_a_page_is_tried_three_times(rig: Rig, fault: Fault) -> None:
    rig.pagerduty.fail(fault, fault)
    await rig.client.trigger(PAGE)
    assert len(rig.pagerduty.calls) == 3
    assert rig.clock.slept == [1.0, 2.0]
    assert list(rig.pagerduty.pages) == ["inc_0k3m"]


async def test_after_three_tries_it_is_for_the_caller_to_come_back(rig: Rig) -> None:
    rig.pagerduty.fail(*[Fault(status=503)] * 3)
    with pytest.raises(Retry, match="HTTP 503"):
        await rig.client.trigger(PAGE)
    assert len(rig.pagerduty.calls) == 3


@pytest.mark.parametrize(
    ("header", "value", "waited"),
    [
        ("Retry-After", "7", 7.0),
        ("ratelimit-reset", "9", 9.0),
        ("Retry-After", "900", 30.0),
        ("Retry-After", "soon", 1.0),
    ],
)
async def test_the_wait_that_pagerduty_asks_for_is_kept_within_reason(
    rig: Rig, header: str, value: str, waited: float
) -> None:
    rig.pagerduty.fail(Fault(status=429, headers={header: value}))
    await rig.client.trigger(PAGE)
    assert rig.clock.slept == [waited]


async def test_a_refused_event_is_not_repeated_and_keeps_the_key_secret(rig: Rig) -> None:
    wrong = replace(rig.client.access, routing_key="f" * 32)
    async with httpx.AsyncClient(timeout=60) as http:
        with pytest.raises(Never, match="REMEDIATOR_PAGERDUTY_ROUTING_KEY") as caught:
            await PagerDutyClient(wrong, http, rig.clock).trigger(PAGE)
    assert len(rig.pagerduty.calls) == 1
    assert "f" * 32 not in str(caught.value)
    assert "[key] is not a valid integration key" in str(caught.value)
    assert "f" * 32 not in repr(wrong)


async def test_a_note_is_left_on_pagerdutys_own_incident(rig: Rig) -> None:
    note = note_for(STORY, timelines.ESCALATION)
    await rig.client.note("Q1ABC", note)
    assert rig.pagerduty.incidents["Q1ABC"].notes == [note]
    assert "Tried: rollback: not fixed" in note.splitlines()


async def test_a_note_whose_answer_was_lost_is_not_left_twice(rig: Rig) -> None:
    rig.pagerduty.fail(Fault(status=200), Fault(cut=True, stored=True))
    with pytest.raises(Retry):
        await rig.client.note("Q1ABC", "text")
    assert [c.split()[0] for c in rig.pagerduty.calls] == ["GET", "POST"]
    await rig.client.note("Q1ABC", "text")
    assert rig.pagerduty.incidents["Q1ABC"].notes == ["text"]


@pytest.mark.parametrize(
    ("access", "incident", "text"),
    [
        ({"from_email": "nobody@example.org"}, "Q1ABC", "From header"),
        ({"api_token": "wrong"}, "Q1ABC", "HTTP 401"),
        ({}, "QUNKNOWN", "HTTP 404"),
        ({}, "../users", "not an id"),
    ],
)
async def test_a_refused_note_says_what_to_check(
    rig: Rig, access: dict[str, str], incident: str, text: str
) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        client = PagerDutyClient(replace(rig.client.access, **access), http, rig.clock)
        with pytest.raises(Never, match=text):
            await client.note(incident, "text")
    assert rig.pagerduty.incidents["Q1ABC"].notes == []


def test_notes_need_a_token_and_a_user() -> None:
    assert not PagerDutyAccess(api_token="t").notes
    assert PagerDutyAccess(api_token="t", from_email=USER).notes
