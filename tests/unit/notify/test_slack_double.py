"""The double behaves as Slack's documentation says, seen through the official client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.doubles.slack import TOKEN, Channel, Fault, SlackDouble, serving
from tests.unit.notify.clock import SteppingClock

CHANNEL = "C0INCIDENTS"
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}


@pytest.fixture
def slack() -> SlackDouble:
    return SlackDouble(SteppingClock().now)


@pytest.fixture
async def client(slack: SlackDouble) -> AsyncIterator[AsyncWebClient]:
    async with serving(slack) as url:
        yield AsyncWebClient(token=TOKEN, base_url=url, retry_handlers=[])


async def _error(client: AsyncWebClient, method: str, **body: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(method, json=body)
    return str(caught.value.response["error"])


async def test_a_post_gives_channel_id_and_a_ts_that_is_text(client: AsyncWebClient) -> None:
    answer = await client.chat_postMessage(channel="#incidents", text="hello")
    assert answer["channel"] == CHANNEL
    assert answer["ts"] == "1772593925.000001"


async def test_text_without_blocks_takes_the_blocks_away(client: AsyncWebClient, slack: SlackDouble) -> None:
    posted = await client.chat_postMessage(channel=CHANNEL, text="t", blocks=[SECTION])
    assert slack.roots()[0].readable() == "hello"
    await client.chat_update(channel=CHANNEL, ts=posted["ts"], text="only text")
    assert slack.roots()[0].blocks == []
    assert slack.roots()[0].readable() == "only text"


def _section(length: int) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "x" * length}}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "no_text"),
        ({"text": "t", "blocks": [SECTION] * 51}, "invalid_blocks"),
        ({"text": "t", "blocks": [_section(3_001)]}, "invalid_blocks"),
        ({"text": "t", "blocks": [_section(0)]}, "invalid_blocks"),
        ({"text": "t", "blocks": [{"type": "hologram"}]}, "invalid_blocks"),
        ({"text": "t", "blocks": [{"type": "context", "elements": []}]}, "invalid_blocks"),
        (
            {"text": "t", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]},
            "invalid_blocks",
        ),
        ({"text": "t", "blocks": [_section(2_700)] * 5}, "msg_blocks_too_long"),
        ({"text": "t", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "t", "channel": "#nowhere"}, "channel_not_found"),
    ],
)
async def test_what_slack_refuses_the_double_refuses(
    client: AsyncWebClient, slack: SlackDouble, body: dict[str, Any], error: str
) -> None:
    assert await _error(client, "chat.postMessage", **{"channel": CHANNEL, **body}) == error
    assert slack.roots() == []


async def test_a_text_of_4001_may_be_posted_but_not_edited_in(client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel=CHANNEL, text="x" * 4_001)
    assert (
        await _error(client, "chat.update", channel=CHANNEL, ts=posted["ts"], text="x" * 4_001)
        == "msg_too_long"
    )
    await client.chat_update(channel=CHANNEL, ts=posted["ts"], text="x" * 4_000)


async def test_membership_archive_and_token_are_checked(client: AsyncWebClient, slack: SlackDouble) -> None:
    slack.channels["C0OUTSIDE"] = Channel("outside", member=False)
    slack.channels["C0ARCHIVE"] = Channel("archive", archived=True)
    assert await _error(client, "chat.postMessage", channel="C0OUTSIDE", text="t") == "not_in_channel"
    assert await _error(client, "chat.postMessage", channel="C0ARCHIVE", text="t") == "is_archived"
    client.token = "xoxb-other"
    assert await _error(client, "chat.postMessage", channel=CHANNEL, text="t") == "invalid_auth"


async def test_an_edit_by_channel_name_is_refused(client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="#incidents", text="t")
    assert (
        await _error(client, "chat.update", channel="#incidents", ts=posted["ts"], text="u")
        == "channel_not_found"
    )


async def test_metadata_comes_back_only_when_asked_for(client: AsyncWebClient) -> None:
    metadata = {"event_type": "remediator_message", "event_payload": {"tag": "x"}}
    await client.chat_postMessage(channel=CHANNEL, text="t", metadata=metadata)
    plain = await client.conversations_history(channel=CHANNEL)
    full = await client.conversations_history(channel=CHANNEL, include_all_metadata=True)
    assert "metadata" not in plain["messages"][0]
    assert full["messages"][0]["metadata"] == metadata


async def test_replies_are_in_the_thread_and_not_in_the_history(client: AsyncWebClient) -> None:
    root = await client.chat_postMessage(channel=CHANNEL, text="root")
    await client.chat_postMessage(channel=CHANNEL, text="reply", thread_ts=root["ts"])
    history = await client.conversations_history(channel=CHANNEL)
    replies = await client.conversations_replies(channel=CHANNEL, ts=root["ts"])
    assert [m["text"] for m in history["messages"]] == ["root"]
    assert [m["text"] for m in replies["messages"]] == ["root", "reply"]


async def test_too_many_posts_in_a_second_are_answered_429_with_a_wait(
    client: AsyncWebClient, slack: SlackDouble
) -> None:
    paced = SlackDouble(SteppingClock().now, pace=1)
    async with serving(paced) as url:
        quick = AsyncWebClient(token=TOKEN, base_url=url, retry_handlers=[])
        await quick.chat_postMessage(channel=CHANNEL, text="one")
        with pytest.raises(SlackApiError) as caught:
            await quick.chat_postMessage(channel=CHANNEL, text="two")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "1"


async def test_the_clients_default_handlers_do_post_twice(slack: SlackDouble) -> None:
    """Why the door switches them off."""
    async with serving(slack) as url:
        slack.fail("chat.postMessage", Fault(cut=True, stored=True))
        await AsyncWebClient(token=TOKEN, base_url=url).chat_postMessage(channel=CHANNEL, text="once?")
    assert len(slack.roots()) == 2


async def test_a_mention_would_be_noticed(client: AsyncWebClient, slack: SlackDouble) -> None:
    await client.chat_postMessage(channel=CHANNEL, text="&lt;!channel&gt; <https://example.org|x>")
    assert slack.pings == []
    await client.chat_postMessage(channel=CHANNEL, text="<!channel> fire")
    assert len(slack.pings) == 1
