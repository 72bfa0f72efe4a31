"""A Slack of our own on loopback: keeps messages per channel and thread, enforces the documented limits and errors.

Used by tests through the real slack_sdk. Faults are ordered per method with `fail`: an error word, an HTTP status, a
429, a slow answer, or a connection cut before or after the message was stored. `story` reads a thread as text.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.doubles import slack_click
from tests.doubles.slack_limits import fault_of
from tests.doubles.slack_socket import SocketDouble

TOKEN = "xoxb-4Kq9vT2m-double"
ALL_SCOPES = frozenset({"chat:write", "channels:history", "channels:read", "usergroups:read", "users:read"})
_SCOPE = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.list": "channels:read",
    "chat.postEphemeral": "chat:write",
    "usergroups.users.list": "usergroups:read",
    "users.info": "users:read",
}
_PING = re.compile(r"<(?:!(?:channel|here|everyone|subteam)|@)")


@dataclass(slots=True)
class Stored:
    """One message as Slack keeps it."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str | None
    metadata: dict[str, Any] | None
    bot_id: str
    edits: int = 0

    def readable(self) -> str:
        """What the channel shows: the blocks' texts, or the text where there are no blocks."""
        shown = [t for b in self.blocks for t in _texts(b)]
        return "\n".join(shown) if shown else self.text


@dataclass(slots=True)
class Channel:
    """A channel; the bot is a member unless told otherwise."""

    name: str
    member: bool = True
    archived: bool = False
    messages: list[Stored] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call. `stored`: the call has its effect first, and then goes wrong."""

    error: str = ""
    status: int = 0
    retry_after: int | None = None
    hang: float = 0.0
    cut: bool = False
    body: str = ""
    stored: bool = False


class SlackDouble:
    """State and handlers. `now` gives the time that ts are made from; `pace` is the number of posts a second and
    channel that are taken before 429 (None: no limit)."""

    def __init__(self, now: Callable[[], datetime], *, pace: int | None = None) -> None:
        self._now = now
        self._pace = pace
        self._numbers = 0
        self._faults: dict[str, deque[Fault | None]] = {}
        self._refused: list[tuple[str, str, str]] = []
        self._posted_at: dict[str, list[float]] = {}
        self.scopes: dict[str, frozenset[str]] = {TOKEN: ALL_SCOPES}
        self.bots: dict[str, str] = {TOKEN: "B0REMEDIATOR"}
        self.channels: dict[str, Channel] = {"C0INCIDENTS": Channel("incidents")}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.page_size = 1000
        self.usergroups: dict[str, list[str]] = {}
        self.users: set[str] = set()
        self.deactivated: set[str] = set()
        self.whispers: list[tuple[str, str]] = []
        self.hooks = slack_click.Hooks()

    def fail(self, method: str, *faults: Fault | None) -> None:
        """The next calls of `method` go wrong in this order; None is a call that goes well."""
        self._faults.setdefault(method, deque()).extend(faults)

    def refuse(self, method: str, word: str, error: str) -> None:
        """Every call of `method` whose body has this word is answered with this error."""
        self._refused.append((method, word, error))

    def count(self, method: str) -> int:
        """How often `method` was called, whatever the answer."""
        return sum(m == method for m, _ in self.calls)

    def roots(self, channel: str = "C0INCIDENTS") -> list[Stored]:
        """Messages of the channel itself, in order."""
        return [m for m in self.channels[channel].messages if m.thread_ts is None]

    def thread(self, ts: str, channel: str = "C0INCIDENTS") -> list[Stored]:
        """Replies in the thread of a message, in order."""
        return [m for m in self.channels[channel].messages if m.thread_ts == ts]

    def timeline(self, ts: str, channel: str = "C0INCIDENTS") -> str:
        """A message and its thread as text, as a person would scroll through it."""
        told = [m.readable() for m in self.channels[channel].messages if m.ts == ts]
        told += [_indented(m.readable()) for m in self.thread(ts, channel)]
        return "\n".join(told)

    @property
    def pings(self) -> list[str]:
        """Messages that would have notified people by a mention."""
        texts = [m.text + m.readable() for c in self.channels.values() for m in c.messages]
        return [t for t in texts if _PING.search(t)]

    def click(
        self, message: Stored, action_id: str, user: str = "U07ABCD1234", *, value: str | None = None
    ) -> slack_click.Signed:
        """The signed request that Slack sends when `user` clicks a button that `message` shows now."""
        url = f"{self.hooks.base}actions/T01EXAMPLE/1/{user}" if self.hooks.base else ""
        now = self._now()
        body = slack_click.payload(message, action_id, user, now=now, response_url=url, value=value)
        return slack_click.signed(body, now=now)

    async def respond(self, request: web.Request) -> web.Response:
        """A reply to a click."""
        body = await request.json()
        user = request.path.rpartition("/")[2]
        self.hooks.got.append(body)
        self.whispers.append((user, body["text"]))
        return web.Response(text="ok")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One Web API call."""
        method = request.match_info["method"]
        body = await _body(request)
        self.calls.append((method, body))
        queue = self._faults.get(method)
        fault = queue.popleft() if queue else None
        if fault and not fault.stored:
            return await _fail(request, fault)
        for refused, word, error in self._refused:
            if method == refused and word in str(body):
                return await _fail(request, Fault(error=error))
        answer = self._answer(method, request.headers, body)
        if fault:
            return await _fail(request, fault)
        if (wait := answer.pop("retry_after", None)) is not None:
            return web.json_response(answer, status=429, headers={"Retry-After": str(wait)})
        return web.json_response(answer, headers=self._told_scopes(request.headers))

    def _told_scopes(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Every answer says which scopes the token has."""
        scopes = self.scopes.get(headers.get("Authorization", "").removeprefix("Bearer "))
        return {} if scopes is None else {"X-OAuth-Scopes": ",".join(sorted(scopes))}

    def _answer(self, method: str, headers: Mapping[str, str], body: dict[str, Any]) -> dict[str, Any]:
        authorization = headers.get("Authorization", "")
        if not authorization.startswith("Bearer "):
            return _no("not_authed")
        token = authorization.removeprefix("Bearer ")
        if token not in self.scopes:
            return _no("invalid_auth")
        if method == "auth.test":  # needs no scope
            return {"ok": True, "user": "alert-remediator", "bot_id": self.bots[token]}
        if method not in _SCOPE:
            return _no("unknown_method")
        if _SCOPE[method] not in self.scopes[token]:
            return {
                **_no("missing_scope"),
                "needed": _SCOPE[method],
                "provided": ",".join(self.scopes[token]),
            }
        match method:
            case "chat.postMessage":
                return self._post(self.bots[token], body)
            case "chat.update":
                return self._update(self.bots[token], body)
            case "conversations.list":
                return self._list(body)
            case "chat.postEphemeral":
                self.whispers.append((body["user"], body["text"]))
                return {"ok": True, "message_ts": self._new_ts()}
            case "users.info":
                known = body["user"] in self.users
                user = {"id": body["user"], "deleted": body["user"] in self.deactivated}
                return {"ok": True, "user": user} if known else _no("user_not_found")
            case "usergroups.users.list":
                found = self.usergroups.get(body["usergroup"])
                return _no("no_such_subteam") if found is None else {"ok": True, "users": found}
            case _:
                return self._read(method, body)

    def _post(self, bot: str, body: dict[str, Any]) -> dict[str, Any]:
        channel_id = self._channel_id(body.get("channel", ""))
        if channel_id is None:
            return _no("channel_not_found")
        channel = self.channels[channel_id]
        if not channel.member:
            return _no("not_in_channel")
        if channel.archived:
            return _no("is_archived")
        if self._too_fast(channel_id):
            return {**_no("ratelimited"), "retry_after": 1}
        if word := fault_of(body, update=False):
            return _no(word)
        thread_ts = body.get("thread_ts")
        if thread_ts and not any(m.ts == thread_ts for m in channel.messages):
            return _no("thread_not_found")
        if not _metadata_fits(body.get("metadata")):
            return _no("metadata_must_be_sent_from_app")
        stored = Stored(
            channel_id,
            self._new_ts(),
            body.get("text", "")[:40_000],
            body.get("blocks") or [],
            thread_ts,
            body.get("metadata"),
            bot,
        )
        channel.messages.append(stored)
        return {"ok": True, "channel": channel_id, "ts": stored.ts, "message": _shown(stored, metadata=True)}

    def _update(self, bot: str, body: dict[str, Any]) -> dict[str, Any]:
        # chat.update takes ids only, unlike chat.postMessage.
        channel = self.channels.get(body.get("channel", ""))
        if channel is None:
            return _no("channel_not_found")
        stored = next((m for m in channel.messages if m.ts == body.get("ts")), None)
        if stored is None:
            return _no("message_not_found")
        if stored.bot_id != bot:
            return _no("cant_update_message")
        if word := fault_of(body, update=True):
            return _no(word)
        # Text without blocks takes the blocks away.
        stored.text, stored.blocks = body.get("text", ""), body.get("blocks") or []
        stored.metadata = body.get("metadata", stored.metadata)
        stored.edits += 1
        return {"ok": True, "channel": body["channel"], "ts": stored.ts, "text": stored.text}

    def _read(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        channel = self.channels.get(body.get("channel", ""))
        if channel is None:
            return _no("channel_not_found")
        if not channel.member:
            return _no("not_in_channel")
        if method == "conversations.replies":
            found = [m for m in channel.messages if body["ts"] in (m.ts, m.thread_ts)]
            if not found:
                return _no("thread_not_found")
        else:
            found = [m for m in reversed(channel.messages) if m.thread_ts is None]
        oldest = float(body.get("oldest", 0))
        found = [m for m in found if float(m.ts) >= oldest or m.ts == body.get("ts")]
        with_metadata = str(body.get("include_all_metadata", "0")) in ("1", "true")
        return self._page("messages", [_shown(m, metadata=with_metadata) for m in found], body)

    def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        listed = [
            {"id": i, "name": c.name, "is_member": c.member, "is_archived": c.archived}
            for i, c in self.channels.items()
        ]
        return self._page("channels", listed, body)

    def _page(self, key: str, rows: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
        start = int(body.get("cursor") or 0)
        end = start + min(int(body.get("limit", 100)), self.page_size)
        after = str(end) if end < len(rows) else ""
        return {"ok": True, key: rows[start:end], "response_metadata": {"next_cursor": after}}

    def _channel_id(self, named: str) -> str | None:
        if named in self.channels:
            return named
        return next((i for i, c in self.channels.items() if c.name == named.lstrip("#")), None)

    def _too_fast(self, channel: str) -> bool:
        if self._pace is None:
            return False
        now = self._now().timestamp()
        recent = [t for t in self._posted_at.get(channel, []) if now - t < 1]
        self._posted_at[channel] = [*recent, now]
        return len(recent) >= self._pace

    def _new_ts(self) -> str:
        self._numbers += 1
        return f"{int(self._now().timestamp())}.{self._numbers:06d}"


async def _body(request: web.Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(request.query)
    body: dict[str, Any] = json.loads(await request.text())
    return body


async def _fail(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.hang:
        await asyncio.sleep(fault.hang)
    if fault.cut and request.transport is not None:
        request.transport.abort()
        return web.Response()
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.body:
        return web.Response(text=fault.body, content_type="text/html", status=fault.status or 200)
    return web.json_response(
        _no(fault.error or "internal_error"), status=fault.status or 200, headers=headers
    )


def _no(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _metadata_fits(metadata: dict[str, Any] | None) -> bool:
    return metadata is None or (
        bool(re.fullmatch(r"[A-Za-z0-9_]+", metadata.get("event_type", "")))
        and isinstance(metadata.get("event_payload"), dict)
    )


def _shown(message: Stored, *, metadata: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "message",
        "ts": message.ts,
        "text": message.text,
        "blocks": message.blocks,
        "bot_id": message.bot_id,
    }
    if message.thread_ts:
        shown["thread_ts"] = message.thread_ts
    if metadata and message.metadata:
        shown["metadata"] = message.metadata
    return shown


def _texts(block: dict[str, Any]) -> list[str]:
    if block["type"] == "actions":
        return [" ".join(f"[{e['text']['text']}]" for e in block["elements"])]
    parts = [block["text"]] if "text" in block else block.get("elements", [])
    return [p["text"] for p in parts]


def _indented(text: str) -> str:
    return "\n".join(f"    {row}" for row in text.splitlines())


@asynccontextmanager
async def serving(double: SlackDouble, socket: SocketDouble | None = None) -> AsyncIterator[str]:
    """Serve on a free loopback port, Socket Mode too when it is given; gives the base URL for
    `REMEDIATOR_SLACK_API_URL`."""
    app = web.Application()
    if socket is not None:
        app.router.add_post("/api/apps.connections.open", socket.open)
        app.router.add_get("/link", socket.link)
    app.router.add_route("*", "/api/{method}", double.handle)
    app.router.add_post("/api/actions/{team}/{number}/{user}", double.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        double.hooks = slack_click.Hooks(f"http://{host}:{port}/api/")
        if socket is not None:
            socket.url = f"ws://{host}:{port}"
        yield f"http://{host}:{port}/api/"
    finally:
        await runner.cleanup()
