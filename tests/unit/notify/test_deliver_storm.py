"""Delivering in a storm: one digest that is edited, one page, and threads only for what needs one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Code
from app.domain.outcome import IncidentState
from app.flow.notifying.fan_out import refresh_digests
from app.notify.timeline import Topic
from app.store import digests, escalations, incidents
from tests.unit.notify import timelines
from tests.unit.notify.outbox_rig import CHANNEL, Rig, rig_at


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_at(tmp_path) as made:
        yield made


async def test_a_storm_is_one_digest_instead_of_many_messages(rig: Rig) -> None:
    many = [await rig.incident(f"svc-{n:02d}", timelines.TIMELINES["observed"]) for n in range(30)]
    for incident in many:
        await rig.put(incident, Topic.FIRED)
        await rig.put(incident, Topic.DECIDED, timelines.OBSERVES)
    await rig.deliver()
    (root,) = rig.slack.roots()
    assert root.readable().startswith("*STORM* · 30 incidents since ")
    assert ": 30 looking" in root.readable()
    assert rig.slack.count("chat.postMessage") == 1


async def test_in_a_storm_what_needs_a_person_still_has_its_own_thread(rig: Rig) -> None:
    many = [await rig.incident(f"svc-{n:02d}", timelines.TIMELINES["observed"]) for n in range(25)]
    for incident in many:
        await rig.put(incident, Topic.FIRED)
    rig.move(many[7], timelines.TIMELINES["escalated"])
    await rig.store.write(lambda tx: incidents.move(tx, many[7], IncidentState.ESCALATED))
    await rig.put(many[7], Topic.ESCALATED, timelines.ESCALATION)
    await rig.deliver()
    digest, own = sorted(rig.slack.roots(), key=lambda m: "STORM" not in m.readable())
    assert "ESCALATED · HighErrorRate · rag7/svc-07" in digest.readable().replace("*", "")
    assert own.readable().startswith("*ESCALATED* · HighErrorRate · rag7/svc-07")
    assert len(rig.slack.thread(own.ts)) == 1


async def test_what_was_decided_in_a_storm_joins_the_digest_however_few_wait(rig: Rig) -> None:
    """Below the limit too: a storm that trickles in would else be one thread after the other."""
    stormy = replace(timelines.OBSERVES, code=Code.STORM)
    for n in range(3):
        incident = await rig.incident(f"svc-{n:02d}", timelines.TIMELINES["observed"])
        await rig.put(incident, Topic.FIRED)
        await rig.put(incident, Topic.DECIDED, stormy)
        await rig.deliver()
    assert [m.readable().splitlines()[0][:24] for m in rig.slack.roots()] == ["*STORM* · 1 incident sin"]
    rig.clock.forward(20)
    await refresh_digests(rig.store, rig.clock.now())
    await rig.deliver()
    (root,) = rig.slack.roots()
    assert root.readable().startswith("*STORM* · 3 incidents since ")
    assert root.edits == 1


async def test_a_storm_calls_one_person_for_all_of_it(rig: Rig) -> None:
    stormy = replace(timelines.OBSERVES, code=Code.STORM)
    for n in range(30):
        incident = await rig.incident(f"svc-{n:02d}", timelines.TIMELINES["observed"])
        await rig.put(incident, Topic.DECIDED, stormy)
    await rig.deliver()
    (digest,) = await rig.store.read(
        lambda conn: digests.growing(conn, rig.clock.now() + timedelta(minutes=1), 10)
    )
    (storm,) = await rig.store.read(lambda conn: escalations.waiting(conn, rig.clock.now(), "any", 10))
    assert storm.subject == digest.id
    assert str(storm.why["reason"]).startswith("a storm: many targets are in trouble at once")


async def test_many_waiting_messages_without_a_storm_call_nobody(rig: Rig) -> None:
    for n in range(30):
        await rig.put(await rig.incident(f"svc-{n:02d}"), Topic.FIRED)
    await rig.deliver()
    assert await rig.store.read(lambda conn: escalations.waiting(conn, rig.clock.now(), "any", 10)) == []


async def test_a_digest_that_was_deleted_in_slack_is_posted_anew(rig: Rig) -> None:
    many = [await rig.incident(f"svc-{n:02d}") for n in range(25)]
    for incident in many:
        await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    rig.slack.channels[CHANNEL].messages.clear()
    await rig.store.write(lambda tx: incidents.move(tx, many[3], IncidentState.RESOLVED))
    rig.clock.forward(20)
    await refresh_digests(rig.store, rig.clock.now())
    await rig.deliver()
    (root,) = rig.slack.roots()
    assert ": 24 looking, 1 resolved" in root.readable()


async def test_up_to_the_limit_every_incident_has_its_own_message(rig: Rig) -> None:
    for n in range(20):
        await rig.put(await rig.incident(f"svc-{n:02d}"), Topic.FIRED)
    await rig.deliver()
    assert len(rig.slack.roots()) == 20


async def test_a_digested_incident_that_merely_moves_opens_no_thread(rig: Rig) -> None:
    many = [await rig.incident(f"svc-{n:02d}") for n in range(25)]
    for incident in many:
        await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    await rig.put(many[3], Topic.MOVED)
    await rig.deliver()
    assert len(rig.slack.roots()) == 1


async def test_incidents_with_a_thread_are_never_digested(rig: Rig) -> None:
    many = [await rig.incident(f"svc-{n:02d}") for n in range(22)]
    for incident in many[:11]:
        await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    for incident in many[11:]:
        await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    for incident in many:
        rig.move(incident, timelines.TIMELINES["refused"])
        await rig.put(incident, Topic.DECIDED, timelines.DENIED)
    await rig.deliver()
    assert {len(rig.slack.thread(r.ts)) for r in rig.slack.roots()} == {2}
    assert all(r.readable().startswith("*REFUSED*") for r in rig.slack.roots())
