"""Slack refuses a message's layout, its length or its words: every kind of message is told all the same, posted or edited, with
the commands in the place of buttons, and none holds up another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.outcome import IncidentState
from app.notify.audit_head import head_message
from app.notify.client import Never, NoAccess
from app.notify.digest import Digest, digest
from app.notify.entries import thread_entry
from app.notify.message import Message
from app.notify.parent import parent
from app.notify.slack import SlackClient
from app.notify.timeline import Topic
from app.store.tx import MessageState
from tests.doubles import slack as slack_double
from tests.doubles.slack import TOKEN, Fault, SlackDouble
from tests.unit.notify import timelines
from tests.unit.notify.clock import SteppingClock
from tests.unit.notify.outbox_rig import CHANNEL, Rig, rig_at
from tests.unit.notify.test_entries import ENTRIES

WORDS = ("invalid_blocks", "msg_too_long", "msg_blocks_too_long", "invalid_arguments", "block_mismatch")


def _messages() -> dict[str, Message]:
    found = {f"parent {name}": parent(timeline) for name, timeline in timelines.TIMELINES.items()}
    for name, (topic, timeline, fact) in ENTRIES.items():
        entry = thread_entry(topic, timeline, fact)
        assert entry is not None
        found[f"entry {name}"] = entry
    opened = datetime(2026, 3, 4, 10, 15, tzinfo=UTC)
    told = Digest(
        "dig_1",
        opened,
        [(IncidentState.OBSERVED, 3)],
        [("HighErrorRate", 3)],
        [("rag7", 3)],
        [timelines.OPEN],
    )
    found["digest"] = digest(told)
    found["audit head"] = head_message({"seq": 7, "day": "2026-03-04", "head": f"7:{'ab' * 32}"})
    return found


MESSAGES = _messages()


@pytest.fixture
async def slack() -> AsyncIterator[tuple[SlackDouble, SlackClient]]:
    clock = SteppingClock()
    double = SlackDouble(clock.now, pace=1)
    async with slack_double.serving(double) as url:
        yield double, SlackClient(token=TOKEN, base_url=url, clock=clock, timeout=1, interactive=True)


def _commands(message: Message) -> list[str]:
    found = [b.command for b in message.buttons if b.command]
    if message.incident_id.startswith("inc_"):
        found.append(f"remediator explain {message.incident_id}")
    return found


async def test_every_kind_of_message_is_posted_and_edited_in_plain_text_with_its_commands(
    slack: tuple[SlackDouble, SlackClient],
) -> None:
    double, client = slack
    for number, (name, message) in enumerate(MESSAGES.items()):
        word = WORDS[number % len(WORDS)]
        double.fail("chat.postMessage", Fault(error=word))
        posted = await client.post(CHANNEL, message, None, f"tag {number}")
        double.fail("chat.update", Fault(error=word))
        assert await client.update(posted, message, f"tag {number}") == posted
        told = double.roots()[-1]
        assert told.blocks == [], name
        assert all(f"`{command}`" in told.text for command in _commands(message)), (name, told.text)
        assert ("remediator explain" in told.text) == message.incident_id.startswith("inc_"), name
    assert f"remediator audit verify --head 7:{'ab' * 32}" in told.text, (
        "the last is the head, which is small print"
    )
    assert len(double.roots()) == len(MESSAGES) > 40


async def test_where_the_words_are_refused_too_the_commands_are_told(
    slack: tuple[SlackDouble, SlackClient],
) -> None:
    double, client = slack
    message = MESSAGES["parent waiting"]
    double.fail("chat.postMessage", Fault(error="invalid_blocks"), Fault(error="msg_too_long"))
    await client.post(CHANNEL, message, None, "tag")
    (told,) = double.roots()
    for command in ("approve", "reject"):
        assert f"`remediator {command} {timelines.RUN}`" in told.text
    assert "OperationalError" not in told.text


async def test_a_promotion_can_be_confirmed_from_the_plain_text() -> None:
    (command,) = [b.command for b in MESSAGES["parent promotion"].buttons if b.action_id.endswith("promote")]
    assert command == f"remediator trust promote {timelines.WAITS.key} --reason '...'"


async def test_a_missing_right_is_no_matter_of_layout(slack: tuple[SlackDouble, SlackClient]) -> None:
    double, client = slack
    double.fail("chat.postMessage", Fault(error="not_in_channel"))
    with pytest.raises(NoAccess):
        await client.post(CHANNEL, MESSAGES["parent waiting"], None, "tag")
    assert double.count("chat.postMessage") == 1


async def test_what_is_refused_in_every_form_is_given_up(slack: tuple[SlackDouble, SlackClient]) -> None:
    double, client = slack
    double.fail("chat.postMessage", *[Fault(error="msg_too_long")] * 3)
    with pytest.raises(Never):
        await client.post(CHANNEL, MESSAGES["parent waiting"], None, "tag")
    assert double.count("chat.postMessage") == 3


@pytest.mark.parametrize("known", [False, True], ids=["posted", "edited"])
async def test_a_parent_message_that_is_always_refused_holds_up_no_question(
    tmp_path: Path, *, known: bool
) -> None:
    async with rig_at(tmp_path) as rig:
        incident = await rig.incident(timeline=timelines.TIMELINES["open"])
        if known:
            await rig.put(incident, Topic.FIRED)
            await rig.deliver()
        rig.move(incident, timelines.TIMELINES["waiting"])
        row = await rig.put(incident, Topic.APPROVAL_ASKED, timelines.ASKED)
        method = "chat.update" if known else "chat.postMessage"
        rig.slack.fail(method, *[Fault(error="invalid_blocks")] * 3)
        await rig.deliver()
        assert (await rig.row(row)).state is MessageState.SENT
        (root,) = rig.slack.roots()
        asked = rig.slack.thread(root.ts)[-1] if known else root
        assert "remediator approve" in asked.readable() or "remediator approve" in asked.text


async def test_one_message_that_is_always_refused_holds_up_no_other(tmp_path: Path) -> None:
    async with rig_at(tmp_path) as rig:
        incidents = [await _incident(rig, n) for n in range(3)]
        rows = [await rig.put(incident, Topic.FIRED) for incident in incidents]
        for word in ("svc-0", incidents[0]):
            rig.slack.refuse("chat.postMessage", word, "invalid_blocks")
        await rig.deliver()
        states = [(await rig.row(row)).state for row in rows]
        assert states == [MessageState.FAILED, MessageState.SENT, MessageState.SENT]


async def _incident(rig: Rig, number: int) -> str:
    return await rig.incident(f"svc-{number}", replace(timelines.OPEN))
