"""Slack as a message client: the only place that talks to Slack's Web API for messages.

Called by `app.flow.notifying.deliver`. Posts each message at most once a call: slack_sdk's default retry handlers post again
after a lost connection, so they are switched off and every lost answer is `Unclear`. Slack knows no idempotency key, so
each message carries a tag in its metadata, by which `find` tells whether a message of an unclear outcome is there.
Never lets a token into an error or a log.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from app.domain.ports import Clock
from app.notify.blocks import SlackBody, to_bare, to_plain, to_slack
from app.notify.client import Away, Found, Misfit, Never, PostAnew, Posted, Retry, Unclear
from app.notify.message import Message
from app.notify.slack_errors import classify, classify_status

log = structlog.get_logger(__name__)

EVENT_TYPE = "remediator_message"
"""`metadata.event_type` of all our messages. Metadata is readable by the whole workspace: it holds ids only."""

_PACE = 1.0  # seconds between two writes to one channel: Slack's documented rate of chat.postMessage
_SKEW = timedelta(minutes=1)  # our clock against Slack's, whose clock makes the ts
_PAGES = 20
_SEARCH_TIME = 30.0  # seconds; a claim on an outbox row must not run out meanwhile
_CHANNEL_ID = re.compile(r"[CDG][A-Z0-9]{7,}")


class SlackClient:
    """Posts, edits and finds messages. One for a process: it keeps the pace for its token.

    `timeout` is in seconds for a whole call. `base_url` comes from settings, never from a payload. Buttons are shown only
    when `interactive`: somebody has to receive their clicks.
    """

    def __init__(
        self, *, token: str, base_url: str, clock: Clock, timeout: int = 10, interactive: bool = False
    ) -> None:
        self._interactive = interactive
        # An empty list, not None: None brings the default handlers, and they may post twice.
        self._client = AsyncWebClient(token=token, base_url=base_url, timeout=timeout, retry_handlers=[])
        self._clock = clock
        self._next: dict[str, float] = {}
        self._blocked_until = 0.0
        self._ids: dict[str, str] = {}

    def knows(self, posted: Posted) -> bool:
        """Slack's channels have ids; a name is from another client."""
        return bool(_CHANNEL_ID.fullmatch(posted.channel))

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        """Post a message. Raises Retry, Never, Unclear, and PostAnew when the thread is gone."""

        async def send(body: SlackBody) -> AsyncSlackResponse:
            await self._pace(channel)
            return await self._call(
                "chat.postMessage",
                lambda: self._client.chat_postMessage(
                    channel=channel,
                    text=body.text,
                    blocks=list(body.blocks),
                    thread_ts=thread_ts,
                    metadata=_metadata(message, client_tag),
                    unfurl_links=False,
                    unfurl_media=False,
                ),
            )

        answer = await self._say(message, send)
        posted = Posted(str(answer["channel"]), str(answer["ts"]))
        if channel != posted.channel:
            # From now on name and id share one pace.
            turn = self._next[self._key(channel)]
            self._ids[channel.lstrip("#")] = posted.channel
            self._next[posted.channel] = max(self._next.get(posted.channel, 0.0), turn)
        return posted

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        """Edit a message. Raises Retry, Never and PostAnew; a lost answer is Retry too, as a second edit is harmless."""

        async def send(body: SlackBody) -> AsyncSlackResponse:
            await self._pace(posted.channel)
            return await self._call(
                "chat.update",
                lambda: self._client.chat_update(
                    channel=posted.channel,
                    ts=posted.ts,
                    text=body.text,
                    blocks=list(body.blocks),
                    metadata=_metadata(message, client_tag),
                ),
            )

        try:
            answer = await self._say(message, send)
        except Unclear as unclear:
            raise Retry(unclear.message, code=unclear.code) from unclear
        return Posted(str(answer["channel"]), str(answer["ts"]))

    async def _say(
        self, message: Message, send: Callable[[SlackBody], Awaitable[AsyncSlackResponse]]
    ) -> AsyncSlackResponse:
        """In blocks; where Slack refuses those, in plain text with the commands, and at last the commands alone, so that no
        question is lost to its layout or its words."""
        shown = message if self._interactive else replace(message, buttons=())
        for lay_out, told in ((to_slack, shown), (to_plain, message)):
            body = await asyncio.to_thread(lay_out, told)  # texts of strangers may be long
            try:
                return await send(body)
            except Misfit as refused:
                log.warning("message_told_more_simply", incident=message.incident_id, code=refused.code)
        return await send(to_bare(message))

    async def whisper(self, channel: str, user: str, text: str, thread_ts: str | None) -> None:
        """Post what only `user` sees; `text` is mrkdwn. Raises Retry, Never, Unclear."""
        await self._call(
            "chat.postEphemeral",
            lambda: self._client.chat_postEphemeral(
                channel=channel, user=user, text=text, thread_ts=thread_ts
            ),
        )

    async def members(self, group: str) -> frozenset[str]:
        """User ids of a user group. Raises Retry, Never, Unclear."""
        answer = await self._read("usergroups.users.list", {"usergroup": group})
        return frozenset(str(user) for user in answer.get("users") or ())

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: datetime) -> Found:
        """Look through the channel or thread. Unknown when the token may not read it or there is too much to read.

        Raises Retry when Slack does not answer.
        """
        try:
            async with asyncio.timeout(_SEARCH_TIME):
                channel_id = await self._channel_id(channel)
                if channel_id is None:
                    return Found(unknown=f"channel {channel} was not found by its name")
                return await self._search(channel_id, thread_ts, tag, since)
        except TimeoutError as late:
            raise Retry("looking for a message took too long", code="search_timeout") from late
        except (Never, PostAnew) as no:
            return Found() if no.code == "thread_not_found" else Found(unknown=no.message)
        except Unclear as unclear:
            raise Retry(unclear.message, code=unclear.code) from unclear

    async def _search(self, channel: str, thread_ts: str | None, tag: str, since: datetime) -> Found:
        window: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{(since - _SKEW).timestamp():.6f}",
            "inclusive": True,
            "include_all_metadata": True,
            "limit": 200,
        }
        method = "conversations.replies" if thread_ts else "conversations.history"
        if thread_ts:
            window["ts"] = thread_ts
        cursor = ""
        for _ in range(_PAGES):
            page = await self._read(method, {**window, "cursor": cursor} if cursor else window)
            messages: list[dict[str, Any]] = page.get("messages") or []
            for message in messages:
                if _tag(message) == tag:
                    return Found(Posted(channel, str(message["ts"])))
            cursor = _next_cursor(page)
            if not cursor:
                return Found()
        return Found(unknown="too many messages to look through")

    async def _channel_id(self, channel: str) -> str | None:
        """conversations.* want an id where chat.postMessage takes a name too."""
        name = channel.lstrip("#")
        if _CHANNEL_ID.fullmatch(name):
            return name
        cursor = ""
        for _ in range(_PAGES if name not in self._ids else 0):
            wanted = {"types": "public_channel,private_channel", "exclude_archived": True, "limit": 200}
            page = await self._read("conversations.list", {**wanted, "cursor": cursor} if cursor else wanted)
            channels: list[dict[str, Any]] = page.get("channels") or []
            self._ids.update({str(c["name"]): str(c["id"]) for c in channels})
            cursor = _next_cursor(page)
            if name in self._ids or not cursor:
                break
        return self._ids.get(name)

    async def _read(self, method: str, params: dict[str, Any]) -> AsyncSlackResponse:
        return await self._call(
            method, lambda: self._client.api_call(method, http_verb="GET", params=dict(params))
        )

    async def _pace(self, channel: str) -> None:
        """Wait for this channel's turn. Each caller takes its own second, so order and rate hold for several."""
        now = self._clock.monotonic()
        key = self._key(channel)
        turn = max(now, self._next.get(key, 0.0))
        self._next[key] = turn + _PACE
        if turn > now:
            await self._clock.sleep(turn - now)

    def _key(self, channel: str) -> str:
        return self._ids.get(channel.lstrip("#"), channel)

    async def _call(self, what: str, call: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        """One request, with every failure translated."""
        if (wait := self._blocked_until - self._clock.monotonic()) > 0:
            raise Away(f"Slack asked us to wait before {what}", code="ratelimited", retry_after=wait)
        try:
            return await call()
        except SlackApiError as error:
            failure = _failure(error, what)
            if isinstance(failure, Retry) and failure.retry_after:
                self._blocked_until = self._clock.monotonic() + failure.retry_after
            raise failure from error
        except aiohttp.ClientConnectorError as error:
            # No connection was made, so nothing was sent.
            raise Away(f"Slack could not be reached for {what}", code="unreachable") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unclear(f"the answer to {what} was lost ({type(error).__name__})") from error


def _failure(error: SlackApiError, what: str) -> Retry | Never | Unclear | PostAnew:
    answer = error.response
    if not isinstance(answer, AsyncSlackResponse):
        # The body could not be read as JSON; slack_sdk then hands over aiohttp's response itself.
        return classify_status(int(getattr(answer, "status", 200)), what=what)
    wait = _retry_after(answer.headers)
    word = answer.get("error") if isinstance(answer.data, dict) else None
    if answer.status_code == 429:
        return classify("ratelimited", what=what, retry_after=wait)
    if word and answer.status_code < 500:
        return classify(str(word), what=what, retry_after=wait)
    return classify_status(answer.status_code, what=what, retry_after=wait)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After; None when it is missing or not a number."""
    text = next((v for k, v in headers.items() if k.lower() == "retry-after"), "")
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text.strip()) else None


def _metadata(message: Message, tag: str) -> dict[str, Any]:
    return {"event_type": EVENT_TYPE, "event_payload": {"tag": tag, "incident": message.incident_id}}


def _tag(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") != EVENT_TYPE:
        return None
    tag = metadata.get("event_payload", {}).get("tag")
    return str(tag) if tag is not None else None


def _next_cursor(page: AsyncSlackResponse) -> str:
    return str((page.get("response_metadata") or {}).get("next_cursor") or "")
