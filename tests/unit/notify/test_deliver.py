"""Delivering from the real store to Slack: one thread an incident, each entry once, broken rows apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from app.flow.notifying.deliver import deliver_once
from app.notify.console import ConsoleClient
from app.notify.timeline import Topic
from app.store.tx import MessageState
from tests.doubles.slack import ALL_SCOPES, TOKEN, Fault
from tests.unit.notify import timelines
from tests.unit.notify.outbox_rig import CHANNEL, Rig, rig_at


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_at(tmp_path) as made:
        yield made


async def test_an_incident_is_one_message_that_is_edited_and_one_thread(rig: Rig) -> None:
    incident = await rig.incident(timeline=timelines.OPEN)
    await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    rig.move(incident, timelines.TIMELINES["verifying"])
    await rig.put(incident, Topic.DECIDED, timelines.ALLOWED)
    await rig.put(incident, Topic.ACTION, timelines.ROLLED_BACK)
    rig.move(incident, timelines.TIMELINES["fixed"])
    await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
    await rig.put(incident, Topic.MOVED)
    await rig.deliver()
    (root,) = rig.slack.roots()
    assert root.readable().startswith("*FIXED in 3m12s*")
    heads = [m.readable().splitlines()[0] for m in rig.slack.thread(root.ts)]
    assert heads == [
        "*Fired*: 3 alerts, <!date^1772593925^{date_short_pretty} {time}|2026-03-04 03:12:05 UTC>",
        '*Allowed by rule "errors after a deployment": 5 of 5 gates*',
        "*Done*: Rolled back revision 8 (v1.5.0, deployed 14 min before) to revision 7 (v1.4.2)",
        "*Checked*: fixed",
    ]
    assert rig.slack.pings == []
    assert await rig.thread_of(incident) == (CHANNEL, root.ts)


async def test_a_parent_that_already_shows_the_state_is_not_edited_again(rig: Rig) -> None:
    incident = await rig.incident()
    for topic in (Topic.FIRED, Topic.MOVED):
        await rig.put(incident, topic)
    await rig.deliver()
    assert rig.slack.count("chat.update") == 0


async def test_every_message_is_audited_with_its_place(rig: Rig) -> None:
    incident = await rig.incident()
    await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    assert await rig.audited(incident) == [f"message.sent: {CHANNEL}"]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("call", [0, 1])  # the parent message's answer, or the entry's
async def test_a_lost_answer_gives_no_second_message(rig: Rig, stored: bool, call: int) -> None:
    incident = await rig.incident()
    row = await rig.put(incident, Topic.FIRED)
    rig.slack.fail("chat.postMessage", *[None] * call, Fault(cut=True, stored=stored))
    await rig.deliver()
    for _ in range(3):
        rig.clock.forward(600)
        await rig.deliver()
    assert (await rig.row(row)).state is MessageState.SENT
    assert [len(rig.slack.thread(r.ts)) for r in rig.slack.roots()] == [1]


async def test_an_answer_that_says_maybe_is_looked_up_before_posting_again(rig: Rig) -> None:
    incident = await rig.incident()
    await rig.put(incident, Topic.FIRED)
    rig.slack.fail("chat.postMessage", Fault(error="internal_error", stored=True))
    await rig.deliver()
    rig.clock.forward(600)
    await rig.deliver()
    assert len(rig.slack.roots()) == 1
    assert rig.slack.count("conversations.history") == 1


async def test_without_the_right_to_read_a_second_message_beats_none(rig: Rig) -> None:
    rig.slack.scopes = {TOKEN: ALL_SCOPES - {"channels:history"}}
    incident = await rig.incident()
    row = await rig.put(incident, Topic.FIRED)
    rig.slack.fail("chat.postMessage", Fault(cut=True, stored=True))
    await rig.deliver()
    rig.clock.forward(600)
    await rig.deliver()
    assert (await rig.row(row)).state is MessageState.SENT
    assert len(rig.slack.roots()) == 2


async def test_slack_asking_to_wait_delays_and_loses_nothing(rig: Rig) -> None:
    incident = await rig.incident()
    row = await rig.put(incident, Topic.FIRED)
    rig.slack.fail("chat.postMessage", Fault(status=429, retry_after=30, error="ratelimited"))
    await rig.deliver()
    waiting = await rig.row(row)
    assert waiting.state is MessageState.PENDING
    assert waiting.retry_at == rig.clock.now() + timedelta(seconds=30)
    rig.clock.forward(31)
    await rig.deliver()
    assert len(rig.slack.roots()) == 1
    assert rig.attempts == [("chat", "later"), ("chat", "sent")]


async def test_waits_grow_while_a_message_fails_in_an_unclear_way(rig: Rig) -> None:
    incident = await rig.incident()
    row = await rig.put(incident, Topic.FIRED)
    waits = []
    for _ in range(6):
        rig.slack.fail("chat.postMessage", Fault(error="fatal_error"))
        before = rig.clock.now()
        await deliver_once(rig.services)
        retry_at = (await rig.row(row)).retry_at
        assert retry_at is not None
        waits.append(round((retry_at - before).total_seconds()))
        rig.clock.forward(61)
    assert waits == [5, 10, 20, 40, 60, 60]


async def test_one_refused_message_does_not_hold_up_its_own_or_other_incidents(rig: Rig) -> None:
    first, second = await rig.incident("a"), await rig.incident("b")
    broken = await rig.put(first, Topic.FIRED)
    await rig.put(first, Topic.DECIDED, timelines.ALLOWED)
    await rig.put(second, Topic.FIRED)
    rig.slack.fail("chat.postMessage", Fault(error="no_text"))
    await rig.deliver()
    assert (await rig.row(broken)).state is MessageState.FAILED
    assert rig.attempts[0] == ("chat", "refused")
    assert [len(rig.slack.thread(r.ts)) for r in rig.slack.roots()] == [1, 1]
    assert "message.failed: Slack answered no_text" in (await rig.audited(first))[0]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"event": "unheard.of"},
        {"event": "action", "data": {"surprise": 1}},
        {"event": "decided", "data": {"a": 1}},
    ],
)
async def test_a_row_that_cannot_be_read_is_given_up_at_once(rig: Rig, payload: dict[str, object]) -> None:
    incident = await rig.incident()
    await rig.store.write(lambda tx: tx.put("odd", incident, "odd", payload))
    await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    assert (await rig.row("odd")).state is MessageState.FAILED
    assert len(rig.slack.roots()) == 1


async def test_a_story_that_cannot_be_told_is_given_up(rig: Rig) -> None:
    incident = await rig.incident()
    del rig.told[incident]
    row = await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    assert "no such incident" in (await rig.row(row)).error


async def test_a_bot_outside_the_channel_waits_for_its_invitation(rig: Rig) -> None:
    rig.slack.channels[CHANNEL].member = False
    incident = await rig.incident()
    row = await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    waiting = await rig.row(row)
    assert waiting.state is MessageState.PENDING
    assert "invite the bot" in waiting.error
    rig.slack.channels[CHANNEL].member = True
    rig.clock.forward(20)  # whoever invites the bot waits for its message
    await rig.deliver()
    assert len(rig.slack.roots()) == 1


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_a_parent_that_cannot_be_edited_is_posted_anew_with_the_entry_under_it(
    rig: Rig, error: str
) -> None:
    incident = await rig.incident(timeline=timelines.OPEN)
    await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    rig.move(incident, timelines.TIMELINES["fixed"])
    rig.slack.fail("chat.update", Fault(error=error))
    await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
    await rig.deliver()
    old, new = rig.slack.roots()
    assert [len(rig.slack.thread(r.ts)) for r in (old, new)] == [1, 1]
    assert await rig.thread_of(incident) == (CHANNEL, new.ts)


async def test_a_deleted_thread_is_begun_anew(rig: Rig) -> None:
    incident = await rig.incident()
    await rig.put(incident, Topic.FIRED)
    await rig.deliver()
    rig.slack.channels[CHANNEL].messages.clear()
    row = await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
    await rig.deliver()
    rig.clock.forward(60)
    await rig.deliver()
    assert (await rig.row(row)).state is MessageState.SENT
    (root,) = rig.slack.roots()
    assert len(rig.slack.thread(root.ts)) == 1


async def test_without_a_token_the_console_tells_everything(rig: Rig) -> None:
    out = StringIO()
    services = replace(rig.services, client=ConsoleClient(Console(file=out, width=250)), pager=None)
    incident = await rig.incident(timeline=timelines.TIMELINES["escalated"])
    await rig.put(incident, Topic.FIRED)
    await rig.put(incident, Topic.ESCALATED, timelines.ESCALATION)
    await rig.deliver(services)
    assert "ESCALATED · HighErrorRate · rag7/langgraph" in out.getvalue()
    assert "Look at: pool size in ConfigMap langgraph-config" in out.getvalue()
    assert rig.slack.calls == []
    assert (await rig.thread_of(incident))[0] == "console"


async def test_an_incident_begun_on_the_console_gets_a_thread_when_slack_comes(rig: Rig) -> None:
    services = replace(rig.services, client=ConsoleClient(Console(file=StringIO())))
    incident = await rig.incident()
    await rig.put(incident, Topic.FIRED)
    await rig.deliver(services)
    await rig.put(incident, Topic.VERIFIED, timelines.FIXED)
    await rig.deliver()
    (root,) = rig.slack.roots()
    assert len(rig.slack.thread(root.ts)) == 1


async def test_nothing_to_send_is_no_call_at_all(rig: Rig) -> None:
    assert await deliver_once(rig.services) == 0
    assert rig.slack.calls == []
