"""Replies to pressers and user groups, through the real clients against the double on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from app.domain.errors import ProbeUnavailable, RemediatorError
from app.notify.groups import KEPT, Groups
from app.notify.replies import Place, SlackReplies
from app.notify.slack import SlackClient
from tests.doubles.slack import TOKEN, SlackDouble, serving
from tests.unit.notify.clock import SteppingClock


@dataclass(frozen=True)
class Rig:
    slack: SlackDouble
    client: SlackClient
    http: httpx.AsyncClient
    url: str
    clock: SteppingClock

    @property
    def replies(self) -> SlackReplies:
        return SlackReplies(self.http, self.url, self.client)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    clock = SteppingClock()
    slack = SlackDouble(clock.now)
    async with serving(slack) as url, httpx.AsyncClient(timeout=2) as http:
        yield Rig(slack, SlackClient(token=TOKEN, base_url=url, clock=clock, timeout=2), http, url, clock)


async def test_a_reply_goes_to_the_address_of_the_click_when_its_host_is_the_configured_one(rig: Rig) -> None:
    await rig.replies.reply(Place("U0ANA", "C0INCIDENTS", url=f"{rig.url}actions/T/1/U0ANA"), "no <!channel>")
    assert rig.slack.hooks.got == [
        {"response_type": "ephemeral", "replace_original": False, "text": "no &lt;!channel&gt;"}
    ]
    assert rig.slack.count("chat.postEphemeral") == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://hooks.slack.com/actions/T/1/x",
        "https://hooks.slack.com.evil.example/actions",
        "https://user:pw@hooks.slack.com/actions",
        "http://169.254.169.254/latest/meta-data",
        "https://[::1",
        "file:///etc/passwd",
    ],
)
async def test_any_other_address_is_never_fetched(rig: Rig, url: str) -> None:
    asked: list[str] = []

    def never(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(never)) as http:
        replies = SlackReplies(http, rig.url, rig.client)
        await replies.reply(Place("U0ANA", "C0INCIDENTS", url=url), "told")
    assert asked == []
    assert rig.slack.whispers == [("U0ANA", "told")]


async def test_a_used_up_address_falls_back_to_a_message_only_they_see(rig: Rig) -> None:
    await rig.replies.reply(Place("U0ANA", "C0INCIDENTS", url=f"{rig.url}actions/gone"), "told")
    assert rig.slack.whispers == [("U0ANA", "told")]


async def test_losing_a_reply_raises_nothing(rig: Rig) -> None:
    rig.slack.scopes[TOKEN] = frozenset()
    await rig.replies.reply(Place("U0ANA", "C0INCIDENTS"), "told")
    await SlackReplies(rig.http, rig.url, None).reply(Place("U0ANA", "C0INCIDENTS"), "told")
    assert rig.slack.whispers == []


async def test_a_group_is_read_once_in_five_minutes(rig: Rig) -> None:
    rig.slack.usergroups["S0ONCALL"] = ["U0ANA"]
    groups = Groups(rig.client, rig.clock)
    assert await groups.members("S0ONCALL") == await groups.members("S0ONCALL") == {"U0ANA"}
    assert rig.slack.count("usergroups.users.list") == 1
    rig.slack.usergroups["S0ONCALL"] = ["U0BEN"]
    await rig.clock.sleep(KEPT)
    assert await groups.members("S0ONCALL") == {"U0BEN"}


async def test_a_group_that_cannot_be_read_raises_and_is_asked_again(rig: Rig) -> None:
    groups = Groups(rig.client, rig.clock)
    for _ in range(2):
        with pytest.raises(RemediatorError):
            await groups.members("S0GONE")
    assert rig.slack.count("usergroups.users.list") == 2
    with pytest.raises(ProbeUnavailable):
        await Groups(None, rig.clock).members("S0ONCALL")
