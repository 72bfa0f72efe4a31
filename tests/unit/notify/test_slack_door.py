"""Slack's door through the real slack_sdk against the double on loopback: posting, finding, and every kind of failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from app.domain.redact import redact
from app.notify import slack_errors
from app.notify.client import Away, BadToken, Never, NoAccess, PostAnew, Posted, Retry, Unclear
from app.notify.message import Message, Section
from app.notify.parent import parent
from app.notify.slack import SlackClient
from app.notify.text import line
from tests.doubles.slack import ALL_SCOPES, TOKEN, Fault, SlackDouble, Stored, serving
from tests.unit.notify import timelines
from tests.unit.notify.clock import SteppingClock

CHANNEL = "#incidents"
NOTE = Message("inc_1", line("Checked: fixed"), (Section((line("3 of 3 pods ready"),)),))
SINCE = timelines.OPENED


@dataclass(frozen=True)
class Rig:
    client: SlackClient
    slack: SlackDouble
    clock: SteppingClock
    url: str


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    clock = SteppingClock()
    slack = SlackDouble(clock.now, pace=1)
    async with serving(slack) as url:
        yield Rig(SlackClient(token=TOKEN, base_url=url, clock=clock, timeout=1), slack, clock, url)


async def test_a_message_stands_in_the_channel_as_the_story_tells_it(rig: Rig) -> None:
    posted = await rig.client.post(CHANNEL, parent(timelines.TIMELINES["fixed"]), None, "tag-1")
    assert posted.channel == "C0INCIDENTS"
    told = rig.slack.timeline(posted.ts)
    assert told.startswith("*FIXED in 3m12s* · HighErrorRate · rag7/langgraph\nRolled back revision 8")
    assert rig.slack.roots()[0].metadata == {
        "event_type": "remediator_message",
        "event_payload": {"tag": "tag-1", "incident": "inc_0k3m"},
    }


async def test_entries_go_into_the_thread(rig: Rig) -> None:
    first = await rig.client.post(CHANNEL, parent(timelines.OPEN), None, "tag-1")
    await rig.client.post(first.channel, NOTE, first.ts, "tag-2")
    assert rig.slack.timeline(first.ts).endswith("    Checked: fixed\n    3 of 3 pods ready")
    assert len(rig.slack.roots()) == 1


async def test_an_edit_keeps_the_blocks_and_the_place(rig: Rig) -> None:
    first = await rig.client.post(CHANNEL, parent(timelines.OPEN), None, "tag-1")
    again = await rig.client.update(first, parent(timelines.TIMELINES["fixed"]), "tag-1")
    assert again == first
    assert rig.slack.roots()[0].edits == 1
    assert "FIXED in 3m12s" in rig.slack.timeline(first.ts)


async def test_posts_to_one_channel_keep_slacks_pace(rig: Rig) -> None:
    for n in range(4):
        await rig.client.post(CHANNEL, NOTE, None, f"tag-{n}")
    # The first call goes by the channel's name, the others by the id that it brought.
    assert rig.clock.slept == [1.0, 1.0, 1.0]
    assert len(rig.slack.roots()) == 4


async def test_different_channels_do_not_wait_for_each_other(rig: Rig) -> None:
    rig.slack.channels["C0OTHERONE"] = type(rig.slack.channels["C0INCIDENTS"])("other")
    await rig.client.post("C0INCIDENTS", NOTE, None, "a")
    await rig.client.post("C0OTHERONE", NOTE, None, "b")
    assert rig.clock.slept == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=429, retry_after=17, error="ratelimited"), Away),
        (Fault(error="service_unavailable"), Away),
        (Fault(error="no_text"), Never),
        (Fault(error="invalid_auth"), BadToken),
        (Fault(error="some_new_error"), Never),
        (Fault(error="is_archived"), NoAccess),
        (Fault(error="restricted_action_read_only_channel"), NoAccess),
        (Fault(error="thread_not_found"), PostAnew),
        (Fault(error="internal_error"), Unclear),
        (Fault(error="fatal_error", stored=True), Unclear),
        (Fault(status=500, error="x"), Unclear),
        (Fault(status=502, body="<html>bad gateway</html>"), Unclear),
        (Fault(status=200, body="<html>a proxy</html>"), Unclear),
        (Fault(status=404, body="<html>not here</html>"), Never),
        (Fault(cut=True), Unclear),
        (Fault(cut=True, stored=True), Unclear),
        (Fault(hang=1.5, stored=True), Unclear),
    ],
)
async def test_each_failure_says_what_to_do(rig: Rig, fault: Fault, expected: type[Exception]) -> None:
    rig.slack.fail("chat.postMessage", fault)
    with pytest.raises(expected) as caught:
        await rig.client.post(CHANNEL, NOTE, None, "tag")
    assert type(caught.value) is expected
    # Never a second POST by itself, whatever happened.
    assert rig.slack.count("chat.postMessage") == 1


async def test_a_refused_connection_is_safe_to_repeat(rig: Rig) -> None:
    client = SlackClient(token=TOKEN, base_url="http://127.0.0.1:9/api/", clock=rig.clock, timeout=1)
    with pytest.raises(Retry, match="could not be reached"):
        await client.post(CHANNEL, NOTE, None, "tag")


async def test_slacks_own_waiting_time_is_kept_and_holds_for_the_next_call(rig: Rig) -> None:
    rig.slack.fail("chat.postMessage", Fault(status=429, retry_after=17, error="ratelimited"))
    with pytest.raises(Retry) as caught:
        await rig.client.post(CHANNEL, NOTE, None, "tag")
    assert caught.value.retry_after == 17
    with pytest.raises(Retry):
        await rig.client.post("C0INCIDENTS", NOTE, None, "tag")
    assert rig.slack.count("chat.postMessage") == 1
    rig.clock.forward(17)
    await rig.client.post("C0INCIDENTS", NOTE, None, "tag")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("member", "invite the bot"),
        ("scope", "channels:history"),
        ("channel", "REMEDIATOR_SLACK_CHANNEL"),
        ("token", "REMEDIATOR_SLACK_BOT_TOKEN"),
    ],
)
async def test_missing_access_tells_a_person_what_to_change(rig: Rig, change: str, hint: str) -> None:
    rig.slack.channels["C0INCIDENTS"].member = change != "member"
    rig.slack.scopes = (
        {} if change == "token" else {TOKEN: ALL_SCOPES - ({"chat:write"} if change == "scope" else set())}
    )
    with pytest.raises(NoAccess, match=hint):
        await rig.client.post("#nowhere" if change == "channel" else CHANNEL, NOTE, None, "tag")


async def test_the_token_is_in_no_error(rig: Rig) -> None:
    for fault in (
        Fault(error="invalid_auth"),
        Fault(cut=True),
        Fault(status=500, body="<html>"),
        Fault(error=TOKEN[:3]),
    ):
        rig.slack.fail("chat.postMessage", fault)
        with pytest.raises((Never, Unclear)) as caught:
            await rig.client.post(CHANNEL, NOTE, None, "tag")
        error: BaseException | None = caught.value
        while error is not None:
            assert TOKEN not in f"{error} {error!r} {vars(error).get('message', '')}"
            error = error.__cause__


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_a_message_that_cannot_be_edited_is_posted_anew(rig: Rig, error: str) -> None:
    rig.slack.fail("chat.update", Fault(error=error))
    with pytest.raises(PostAnew):
        await rig.client.update(Posted("C0INCIDENTS", "1.1"), NOTE, "tag")


async def test_an_edit_of_somebody_elses_or_a_missing_message_is_posted_anew(rig: Rig) -> None:
    rig.slack.channels["C0INCIDENTS"].messages.append(
        Stored("C0INCIDENTS", "5.000001", "hi", [], None, None, "B0OTHER")
    )
    for ts in ("5.000001", "6.000001"):
        with pytest.raises(PostAnew):
            await rig.client.update(Posted("C0INCIDENTS", ts), NOTE, "tag")


async def test_an_edit_with_a_lost_answer_may_simply_be_repeated(rig: Rig) -> None:
    first = await rig.client.post(CHANNEL, NOTE, None, "tag")
    rig.slack.fail("chat.update", Fault(cut=True, stored=True))
    with pytest.raises(Retry):
        await rig.client.update(first, NOTE, "tag")


async def test_a_message_stored_before_the_connection_broke_is_found(rig: Rig) -> None:
    rig.slack.fail("chat.postMessage", Fault(cut=True, stored=True))
    with pytest.raises(Unclear):
        await rig.client.post(CHANNEL, NOTE, None, "tag-7")
    found = await rig.client.find(CHANNEL, None, "tag-7", SINCE)
    assert found.posted == Posted("C0INCIDENTS", rig.slack.roots()[0].ts)


async def test_a_message_that_never_arrived_is_certainly_not_there(rig: Rig) -> None:
    await rig.client.post(CHANNEL, NOTE, None, "tag-6")
    found = await rig.client.find(CHANNEL, None, "tag-7", SINCE)
    assert (found.posted, found.unknown) == (None, "")


async def test_entries_are_found_in_their_thread_only(rig: Rig) -> None:
    first = await rig.client.post(CHANNEL, NOTE, None, "tag-1")
    entry = await rig.client.post(first.channel, NOTE, first.ts, "tag-2")
    assert (await rig.client.find(CHANNEL, first.ts, "tag-2", SINCE)).posted == entry
    assert (await rig.client.find(CHANNEL, None, "tag-2", SINCE)).posted is None
    assert (await rig.client.find(CHANNEL, "1.000001", "tag-2", SINCE)).unknown == ""


async def test_a_search_reads_all_pages_and_only_from_its_time_on(rig: Rig) -> None:
    rig.slack.page_size = 2
    for n in range(7):
        await rig.client.post(CHANNEL, NOTE, None, f"tag-{n}")
    assert (await rig.client.find(CHANNEL, None, "tag-0", SINCE)).posted is not None
    calls = rig.slack.count("conversations.history")
    assert calls == 4
    later = await rig.client.find(CHANNEL, None, "tag-0", SINCE + timedelta(hours=1))
    assert later.posted is None


async def test_somebody_elses_metadata_is_not_ours(rig: Rig) -> None:
    await rig.client.post(CHANNEL, NOTE, None, "tag-1")
    rig.slack.roots()[0].metadata = {"event_type": "other_app", "event_payload": {"tag": "tag-1"}}
    assert (await rig.client.find(CHANNEL, None, "tag-1", SINCE)).posted is None


@pytest.mark.parametrize("scope", ["channels:history", "channels:read"])
async def test_without_the_right_to_read_nobody_can_tell(rig: Rig, scope: str) -> None:
    rig.slack.scopes = {TOKEN: ALL_SCOPES - {scope}}
    found = await rig.client.find(CHANNEL, None, "tag-1", SINCE)
    assert found.posted is None
    assert "scope" in found.unknown


async def test_a_channel_that_is_in_no_list_cannot_be_searched(rig: Rig) -> None:
    assert "#nowhere" in (await rig.client.find("#nowhere", None, "t", SINCE)).unknown


@pytest.mark.parametrize(
    "fault",
    [Fault(cut=True), Fault(status=500, error="x"), Fault(status=429, retry_after=3, error="ratelimited")],
)
async def test_a_search_that_fails_is_repeated_later(rig: Rig, fault: Fault) -> None:
    # aiohttp itself repeats a GET once after a lost connection.
    rig.slack.fail("conversations.history", fault, fault)
    with pytest.raises(Retry):
        await rig.client.find("C0INCIDENTS", None, "t", SINCE)


def test_the_door_knows_its_own_messages() -> None:
    client = SlackClient(token=TOKEN, base_url="http://127.0.0.1:9/", clock=SteppingClock())
    assert client.knows(Posted("C0INCIDENTS", "1.1"))
    assert not client.knows(Posted("console", "3"))


@pytest.mark.parametrize(
    "word", [*slack_errors._TOKEN, *slack_errors._ACCESS, *slack_errors._MISFIT, *slack_errors._HINTS]
)
def test_no_hint_is_cut_by_the_redaction_of_the_logs(word: str) -> None:
    failure = slack_errors.classify(word, what="chat.postMessage")
    assert redact(failure.message) == failure.message
