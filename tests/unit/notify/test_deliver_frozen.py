"""A replica that is stopped while it sends, and goes on after another one has taken its message over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.flow.calling import calls
from app.flow.notifying.deliver import deliver_once
from app.flow.notifying.sending import DeliverServices
from app.notify.client import Found, MessageClient, Posted
from app.notify.message import Message
from app.notify.pagerduty import Page, PagerDutyClient
from app.notify.timeline import Timeline, Topic
from app.store import escalations, outbox
from app.store.tx import MessageState, Tx
from tests.unit.notify import timelines
from tests.unit.notify.outbox_rig import Rig, rig_at

OLD, NEW = timelines.DECIDED, timelines.TIMELINES["fixed"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_at(tmp_path) as made:
        yield made


@dataclass
class Frozen:
    """A door before which the process is stopped once; `meanwhile` is what happens until it goes on."""

    client: MessageClient
    meanwhile: Callable[[], Awaitable[None]]
    stopped: bool = False

    def knows(self, posted: Posted) -> bool:
        return self.client.knows(posted)

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        await self._stop()
        return await self.client.post(channel, message, thread_ts, client_tag)

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        await self._stop()
        return await self.client.update(posted, message, client_tag)

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: object) -> Found:
        return Found()

    async def _stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            await self.meanwhile()


def other_of(rig: Rig) -> DeliverServices:
    return replace(rig.services, replica="remediator-1", shown={})


async def _shown(rig: Rig) -> str:
    (root,) = rig.slack.roots()
    return root.readable()


async def _told(rig: Rig) -> str:
    """An incident with a thread, whose next message is due."""
    incident = await rig.incident(timeline=timelines.TIMELINES["waiting"])
    await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    rig.move(incident, OLD)
    await rig.put(incident, Topic.DECIDED, timelines.ALLOWED)
    return incident


async def test_an_old_headline_that_overwrote_a_newer_one_is_overwritten_by_the_newest(rig: Rig) -> None:
    incident, other = await _told(rig), other_of(rig)

    async def meanwhile() -> None:
        rig.clock.forward(rig.services.lease.total_seconds() + 1)
        rig.move(incident, NEW)
        await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
        await rig.deliver(other)
        assert "FIXED" in await _shown(rig)

    frozen = replace(rig.services, client=Frozen(rig.services.client, meanwhile), shown={})
    await deliver_once(frozen)
    assert "FIXED" not in await _shown(rig), "what had gone out already cannot be held back"
    await rig.deliver(other)
    assert "FIXED" in await _shown(rig)
    (root,) = rig.slack.roots()
    heads = [m.readable().split("*")[1].split()[0] for m in rig.slack.thread(root.ts)]
    assert heads == ["Fired", "Allowed", "Checked"], "and nothing is told twice"


async def test_who_was_stopped_before_a_call_sends_nothing_when_its_lease_is_over(rig: Rig) -> None:
    """Nobody has taken it yet: it goes back, and is sent."""
    incident = await _told(rig)
    row = f"{incident}:{Topic.DECIDED.value}"
    render, calls_before = rig.services.timeline_of, len(rig.slack.calls)

    def stopped(conn: Connection, incident_id: str) -> Timeline:
        rig.clock.forward(rig.services.lease.total_seconds() - 10)
        return render(conn, incident_id)

    await deliver_once(replace(rig.services, timeline_of=stopped))
    assert len(rig.slack.calls) == calls_before
    assert (await rig.row(row)).state is MessageState.PENDING
    await rig.deliver()
    assert (await rig.row(row)).state is MessageState.SENT


async def test_who_was_stopped_before_a_call_sends_nothing_when_another_has_taken_it(rig: Rig) -> None:
    """Also where its own clock stood still with it."""
    incident, other = await _told(rig), other_of(rig)
    row = f"{incident}:{Topic.DECIDED.value}"
    taken: list[str] = []

    async def lost() -> None:
        await rig.store.write(lambda tx: outbox.failed(tx, row, calls.DIED, tx.now))
        await rig.store.write(
            lambda tx: taken.extend(m.id for m in outbox.claim(tx, tx.now, 9, other.owner, other.lease))
        )

    class Slow:
        """The store loses the row between the picture and the call."""

        knows = staticmethod(rig.services.client.knows)

        async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
            raise AssertionError("it is another's")

        post = update

    services = replace(rig.services, client=Slow(), shown={})  # type: ignore[arg-type]
    read = rig.store.read
    reads = []

    async def reading(of: Callable[[Connection], object]) -> object:
        found = await read(of)
        if getattr(of, "__qualname__", "").startswith("_tell"):
            reads.append(1)
            await lost()
        return found

    rig.store.read = reading  # type: ignore[method-assign, assignment]
    try:
        await deliver_once(services)
    finally:
        rig.store.read = read  # type: ignore[method-assign]
    assert (len(reads), taken) == (1, [row])
    held = await rig.row(row)
    assert (held.state, held.claimed_by) == (MessageState.SENDING, other.owner), "the other's claim stands"


async def test_a_thread_that_another_has_opened_meanwhile_stays_the_incidents_own(rig: Rig) -> None:
    incident, other = await rig.incident(timeline=OLD), other_of(rig)
    await rig.put(incident, Topic.FIRED)

    async def meanwhile() -> None:
        rig.clock.forward(rig.services.lease.total_seconds() + 1)
        await rig.deliver(other)

    frozen = replace(rig.services, client=Frozen(rig.services.client, meanwhile), shown={})
    await deliver_once(frozen)
    first = rig.slack.roots()[0]
    assert (await rig.thread_of(incident))[1] == first.ts
    assert len(rig.slack.thread(first.ts)) == 1


async def test_who_was_stopped_for_less_than_its_lease_goes_on(rig: Rig) -> None:
    incident, other = await _told(rig), other_of(rig)

    async def meanwhile() -> None:
        rig.clock.forward(60)
        assert await deliver_once(other) == 0

    await rig.deliver(replace(rig.services, client=Frozen(rig.services.client, meanwhile), shown={}))
    (root,) = rig.slack.roots()
    assert len(rig.slack.thread(root.ts)) == 2
    assert await rig.store.read(outbox.depth) == 0
    assert (await rig.row(f"{incident}:{Topic.DECIDED.value}")).attempts == 1


async def test_a_headline_that_another_replica_changed_is_written_again_although_this_one_remembers_it(
    rig: Rig,
) -> None:
    incident, other = await _told(rig), other_of(rig)
    await rig.deliver()
    first = await _shown(rig)
    rig.move(incident, NEW)
    await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
    await rig.deliver(other)
    rig.move(incident, OLD)
    await rig.put(incident, Topic.MOVED)
    await rig.deliver()
    assert await _shown(rig) == first


async def test_a_page_that_was_sent_late_and_is_needed_no_more_is_ended_again(rig: Rig) -> None:
    incident, other = await rig.incident(timeline=timelines.TIMELINES["escalated"]), other_of(rig)
    await rig.call(incident, timelines.ESCALATION)
    assert rig.services.pager is not None
    pager: PagerDutyClient = rig.services.pager

    class Late:
        access = pager.access
        end, note = staticmethod(pager.end), staticmethod(pager.note)

        async def trigger(self, page: Page) -> None:
            rig.clock.forward(rig.services.lease.total_seconds() + 1)
            await rig.deliver(other)
            await rig.store.write(over)
            await rig.deliver(other)
            assert incident not in rig.pagerduty.pages
            await pager.trigger(page)

    def over(tx: Tx) -> None:
        (of,) = escalations.of_incident(tx.conn, incident)
        calls.put_page(tx, of, incident, calls.Do.RESOLVE)
        escalations.change(tx, of.id, answered_at=tx.stamp, answered_by="kim", over_at=tx.stamp)

    late: PagerDutyClient = Late()  # type: ignore[assignment]
    await deliver_once(replace(rig.services, pager=late, shown={}))
    await rig.deliver(other)
    assert incident not in rig.pagerduty.pages
    assert rig.pagerduty.resolved == [incident, incident]
