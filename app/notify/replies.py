"""Replies: a word to the one who clicked a button, which only they see.

Called by `app.flow.people.clicks` after the click was dealt with. Goes to the click's own reply address only when its host is
Slack's or the configured Slack API's: any other address in a payload is never fetched. Losing a reply loses nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import structlog

from app.domain.errors import RemediatorError
from app.notify import limits
from app.notify.limits import shorten
from app.notify.text import escape

HOOKS = "https://hooks.slack.com"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """To whom and where: the user, the channel and thread of the message, and the reply address of the click."""

    user: str
    channel: str
    thread: str = ""
    url: str = ""


class Whisperer(Protocol):
    """Posts a message that one person sees. Raises RemediatorError kinds."""

    async def whisper(self, channel: str, user: str, text: str, thread_ts: str | None) -> None:
        """Post it; `text` is mrkdwn."""
        ...


class Replies(Protocol):
    """A client for replies. Never raises."""

    async def reply(self, place: Place, text: str) -> None:
        """Tell it to this person."""
        ...


@dataclass(frozen=True, slots=True)
class SlackReplies:
    """`api_url` is the configured Slack Web API; `client` is None without a bot token."""

    http: httpx.AsyncClient
    api_url: str
    client: Whisperer | None

    async def reply(self, place: Place, text: str) -> None:
        """By the reply address when its host may be used and answers, else by chat.postEphemeral."""
        shown = shorten(escape(text), limits.SECTION)
        if self._ours(place.url) and await self._respond(place.url, shown):
            return
        if self.client is None or not place.channel:
            log.info("reply_not_sent", user=place.user)
            return
        try:
            await self.client.whisper(place.channel, place.user, shown, place.thread or None)
        except RemediatorError as error:
            log.warning("reply_not_sent", user=place.user, code=error.code)

    def _ours(self, url: str) -> bool:
        try:
            return _origin(url) in (_origin(HOOKS), _origin(self.api_url))
        except ValueError:  # no port, or brackets that are no address
            return False

    async def _respond(self, url: str, text: str) -> bool:
        body = {"response_type": "ephemeral", "replace_original": False, "text": text}
        try:
            answer = await self.http.post(url, json=body, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.info("reply_address_failed", error=type(error).__name__)  # the address itself is a secret
            return False
        return answer.is_success


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; an address with user and password in it is nobody's."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or not parts.hostname:
        return "", url, 0
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
