"""Death at every call of delivering, other replicas, and pages that wait for nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.flow.notifying.deliver import deliver_once
from app.notify.client import Found, MessageClient, Posted
from app.notify.message import Message
from app.notify.timeline import Escalation, Topic
from app.store.tx import MessageState
from tests.doubles.pagerduty import Fault as PagerFault
from tests.doubles.pagerduty import Incident as PagerIncident
from tests.doubles.slack import Fault
from tests.unit.notify import timelines
from tests.unit.notify.outbox_rig import Rig, rig_at


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_at(tmp_path) as made:
        yield made


class Death(BaseException):
    """The process ends here."""


@dataclass
class Mortal:
    """A door through which the process dies at the n-th call, before or after the call had its effect."""

    client: MessageClient
    dies_at: int
    after: bool
    calls: int = 0

    def knows(self, posted: Posted) -> bool:
        return self.client.knows(posted)

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        self._step(before=True)
        posted = await self.client.post(channel, message, thread_ts, client_tag)
        self._step(before=False)
        return posted

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        self._step(before=True)
        same = await self.client.update(posted, message, client_tag)
        self._step(before=False)
        return same

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: datetime) -> Found:
        return await self.client.find(channel, thread_ts, tag, since)

    def _step(self, *, before: bool) -> None:
        self.calls += before
        if self.calls == self.dies_at and before is not self.after:
            raise Death


async def _timeline(rig: Rig) -> str:
    incident = await rig.incident(timeline=timelines.TIMELINES["fixed"])
    await rig.put(incident, Topic.FIRED)
    await rig.put(incident, Topic.DECIDED, timelines.ALLOWED)
    await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
    return incident


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
async def test_whenever_the_process_dies_every_entry_is_there_once_and_in_order(
    rig: Rig, dies_at: int, after: bool
) -> None:
    await _timeline(rig)
    dying = replace(rig.services, client=Mortal(rig.services.client, dies_at, after))
    with pytest.raises(Death):
        await rig.deliver(dying)
    await rig.deliver(replace(rig.services, boot="boot-2", shown={}))
    (root,) = rig.slack.roots()
    heads = [m.readable().split("*")[1].split()[0] for m in rig.slack.thread(root.ts)]
    assert heads == ["Fired", "Allowed", "Checked"]


async def test_another_replica_waits_for_the_end_of_the_claim_and_then_takes_over(rig: Rig) -> None:
    await _timeline(rig)
    with pytest.raises(Death):
        await rig.deliver(replace(rig.services, client=Mortal(rig.services.client, 1, after=True)))
    other = replace(rig.services, replica="remediator-1", shown={})
    assert await deliver_once(other) == 0
    rig.clock.forward(rig.services.lease.total_seconds() + 1)
    await rig.deliver(other)
    (root,) = rig.slack.roots()
    assert len(rig.slack.thread(root.ts)) == 3


async def test_two_replicas_share_the_work_without_telling_anything_twice(rig: Rig) -> None:
    for n in range(8):
        await rig.put(await rig.incident(f"svc-{n}"), Topic.FIRED)
    other = replace(rig.services, replica="remediator-1", shown={}, batch=3)
    for _ in range(6):
        await deliver_once(replace(rig.services, batch=3))
        await deliver_once(other)
    assert [len(rig.slack.thread(r.ts)) for r in rig.slack.roots()] == [1] * 8


async def test_a_row_reached_too_late_is_given_back_unsent(rig: Rig) -> None:
    incident = await rig.incident()
    row = await rig.put(incident, Topic.FIRED)
    await deliver_once(replace(rig.services, lease=timedelta(seconds=20)))
    assert rig.slack.calls == []
    assert (await rig.row(row)).state is MessageState.PENDING
    await rig.deliver()
    assert len(rig.slack.roots()) == 1


async def test_an_escalation_pages_while_slack_is_down(rig: Rig) -> None:
    incident = await rig.incident(timeline=timelines.TIMELINES["escalated"])
    rig.slack.fail("chat.postMessage", *[Fault(status=500, error="x")] * 20)
    await rig.put(incident, Topic.FIRED)
    await rig.call(incident, timelines.ESCALATION)
    await rig.deliver()
    assert rig.slack.roots() == []
    assert list(rig.pagerduty.pages) == [incident]
    assert "message.sent: pagerduty" in await rig.audited(incident)


async def test_a_page_is_sent_once_however_often_it_is_delivered(rig: Rig) -> None:
    incident = await rig.incident(timeline=timelines.TIMELINES["escalated"])
    await rig.call(incident, timelines.ESCALATION)
    rig.pagerduty.fail(*[PagerFault(cut=True, stored=True)] * 3)
    await rig.deliver()
    rig.clock.forward(60)
    await rig.deliver()
    assert list(rig.pagerduty.pages) == [incident]
    page = await rig.row(f"{incident}:page")
    assert page.state is MessageState.SENT


async def test_stuck_pages_as_critical_and_says_so_in_the_thread(rig: Rig) -> None:
    incident = await rig.incident(timeline=timelines.TIMELINES["stuck"])
    await rig.call(incident, Escalation("the undo failed", stuck=True))
    await rig.deliver()
    assert rig.pagerduty.pages[incident]["payload"]["severity"] == "critical"
    (root,) = rig.slack.roots()
    assert "Stuck, a person must look" in rig.slack.timeline(root.ts)


async def test_an_alert_from_pagerduty_gets_a_note_there(rig: Rig) -> None:
    rig.pagerduty.incidents["Q1ABC"] = PagerIncident()
    timeline = replace(timelines.TIMELINES["escalated"], pagerduty_incident="Q1ABC")
    await rig.call(await rig.incident(timeline=timeline), timelines.ESCALATION)
    await rig.deliver()
    (note,) = rig.pagerduty.incidents["Q1ABC"].notes
    assert "Look at: pool size in ConfigMap langgraph-config" in note


async def test_a_page_that_pagerduty_refuses_is_in_the_incidents_audit(rig: Rig) -> None:
    incident = await rig.incident(timeline=timelines.TIMELINES["escalated"])
    await rig.call(incident, timelines.ESCALATION)
    rig.pagerduty.fail(PagerFault(status=400))
    await rig.deliver()
    told = await rig.audited(incident)
    assert any("PagerDuty refused the page with HTTP 400" in t for t in told)


async def test_without_pagerduty_an_escalation_is_told_in_slack_only(rig: Rig) -> None:
    incident = await rig.incident(timeline=timelines.TIMELINES["escalated"])
    await rig.call(incident, timelines.ESCALATION)
    await rig.deliver(replace(rig.services, pager=None))
    assert rig.pagerduty.calls == []
    (root,) = rig.slack.roots()
    called, corrected = rig.slack.thread(root.ts)
    assert "a person is needed" in called.text
    assert "The page was not sent*: PagerDuty is not configured any more" in corrected.text
