"""Socket Mode through the real slack_sdk against Slack's side on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.notify.socket import SocketMode
from tests.doubles.slack_socket import APP_TOKEN, SocketDouble, serving

CLICK = {"type": "block_actions", "actions": []}


@asynccontextmanager
async def connected(slack: SocketDouble) -> AsyncIterator[SocketMode]:
    async def receive(payload: Any) -> None:
        slack.log.append(f"received {payload['type']}")

    async with serving(slack) as url:
        socket = SocketMode(app_token=APP_TOKEN, base_url=url, receive=receive, ping=0.05, timeout=2)
        socket.start()
        try:
            async with asyncio.timeout(10):
                await slack.connected()
                yield socket
        finally:
            await socket.stop()


async def told(slack: SocketDouble, word: str, times: int = 1) -> None:
    """Wait until the log has it."""
    while sum(word in row for row in slack.log) < times:  # noqa: ASYNC110 - the library gives no event
        await asyncio.sleep(0.005)


async def test_an_envelope_is_acknowledged_and_its_click_handed_on() -> None:
    slack = SocketDouble()
    async with connected(slack):
        envelope = await slack.send(CLICK)
        await told(slack, "received block_actions")
    assert f"acknowledged {envelope}" in slack.log


async def test_the_acknowledgement_does_not_wait_for_the_click() -> None:
    slack = SocketDouble()
    hold = asyncio.Event()

    async def receive(payload: Any) -> None:
        await hold.wait()
        slack.log.append("received")

    async with serving(slack) as url:
        socket = SocketMode(app_token=APP_TOKEN, base_url=url, receive=receive, ping=0.05, timeout=2)
        socket.start()
        async with asyncio.timeout(10):
            await slack.connected()
            await slack.send(CLICK)  # returns when it is acknowledged
            assert "received" not in slack.log
            hold.set()
            await told(slack, "received")
        await socket.stop()


async def test_what_is_no_interaction_is_acknowledged_and_left() -> None:
    slack = SocketDouble()
    async with connected(slack):
        await slack.send({"type": "event_callback"}, kind="events_api")
        await slack.send(CLICK)
        await told(slack, "received")
    assert [row for row in slack.log if row.startswith("received")] == ["received block_actions"]


@pytest.mark.parametrize("how", ["refresh", "cut"])
async def test_a_lost_or_renewed_connection_is_made_again(how: str) -> None:
    slack = SocketDouble()
    async with connected(slack):
        if how == "refresh":
            await slack.refresh()
        else:
            await slack.cut()
            await slack.connected()
        await slack.send(CLICK)
        await told(slack, "received")
    assert slack.opened >= 2


async def test_a_slack_that_is_away_at_the_start_is_tried_again_and_no_ticket_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slack = SocketDouble()
    slack.refusals = 2
    async with connected(slack) as socket:
        assert slack.opened == 1
        await slack.send(CLICK)
        assert socket.connected
    assert "Failed to connect" in caplog.text
    ours = [r.getMessage() for r in caplog.records if r.name != "aiohttp.access"]  # the double's own log
    assert "secret-" not in " ".join(ours)
    assert APP_TOKEN not in caplog.text
    assert not socket.connected


async def test_stopping_what_was_never_started_does_nothing() -> None:
    async def receive(payload: Any) -> None:
        raise AssertionError(payload)

    await SocketMode(app_token=APP_TOKEN, base_url="http://127.0.0.1:1/", receive=receive).stop()
