"""Button clicks of Slack: from the raw form or a Socket Mode payload to `Click`.

Owns the shape of what Slack sends and the memory of signatures seen. Called by `app.web` and, for Socket Mode, by the
composition root. Never decides what a click may do: a click only says who, where and which button; its value carries no
rights. Unknown fields are ignored; Slack adds some now and then.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from app.domain.errors import BadInput
from app.intake.auth import SLACK_WINDOW
from app.intake.body import decode

MAX_BYTES = 256 * 1024
"""A click carries the whole message it stands under: at most 50 blocks of 3,000 characters."""
_ACTIONS = 5  # one click is one action; more is not Slack
_USER = re.compile(r"[UW][A-Z0-9]{2,30}", re.ASCII)
_SEEN_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Click:
    """One click. `at` is Slack's own time of it as a text, unique for a user; `url` is where a reply may be sent, which is
    shown or used only when its host is the configured one."""

    user: str
    action: str
    value: str
    at: str
    channel: str = ""
    message: str = ""
    thread: str = ""
    url: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """The same for every delivery of this click, whichever way it comes."""
        return f"{self.at}/{self.user}/{self.channel}/{self.message}/{self.action}"


def payload_of(body: bytes) -> Any:
    """The JSON in the form field `payload`. Raises BadInput."""
    try:
        form = parse_qs(body.decode("ascii"), max_num_fields=10, strict_parsing=True)
    except ValueError as error:
        raise BadInput("expected a form with the field payload", code="bad_form", where="body") from error
    fields = form.get("payload", [])
    if len(fields) != 1:
        raise BadInput("expected the field payload once", code="bad_form", where="payload")
    return decode(fields[0].encode("utf-8", "surrogatepass"), max_bytes=MAX_BYTES)


def clicks(payload: Any) -> tuple[Click, ...]:
    """The clicks in an interaction; none for another kind of interaction. Raises BadInput with the place."""
    top = _object(payload, "")
    if top.get("type") != "block_actions":
        return ()
    user = _text(_object(top.get("user"), "/user").get("id"), "/user/id")
    if _USER.fullmatch(user) is None:
        raise BadInput("expected a Slack user's id", code="invalid_field", where="/user/id")
    actions = top.get("actions")
    if not isinstance(actions, list) or len(actions) > _ACTIONS:
        raise BadInput(f"expected up to {_ACTIONS} actions", code="invalid_field", where="/actions")
    place = _object(top.get("container") or {}, "/container")
    channel = _object(top.get("channel") or {}, "/channel")
    return tuple(
        Click(
            user=user,
            action=_text(act.get("action_id"), f"/actions/{number}/action_id"),
            value=_text(act.get("value") or "", f"/actions/{number}/value"),
            at=_text(act.get("action_ts"), f"/actions/{number}/action_ts"),
            channel=_text(channel.get("id") or place.get("channel_id") or "", "/channel/id"),
            message=_text(place.get("message_ts") or "", "/container/message_ts"),
            thread=_text(place.get("thread_ts") or "", "/container/thread_ts"),
            url=_text(top.get("response_url") or "", "/response_url"),
        )
        for number, act in ((n, _object(a, f"/actions/{n}")) for n, a in enumerate(actions))
    )


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadInput("expected an object", code="invalid_field", where=where)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 3_000:
        raise BadInput("expected a text", code="invalid_field", where=where)
    return value


@dataclass(slots=True)
class Signatures:
    """The signatures of the last minutes, so that a recorded request is not taken a second time.

    Bounded: beyond its size the oldest are forgotten; a click itself is remembered in the store for longer.
    """

    _seen: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def first_time(self, signature: str, timestamp: str, now: datetime) -> bool:
        """True once for a signature that was checked already; `timestamp` in seconds as Slack sent it."""
        moment = now.timestamp()
        while self._seen and next(iter(self._seen.values())) < moment:
            self._seen.popitem(last=False)
        if signature in self._seen:
            return False
        # It stays acceptable until its timestamp is too old; a clock ahead of ours makes that later than 300 s from now.
        self._seen[signature] = max(moment, float(timestamp)) + SLACK_WINDOW
        if len(self._seen) > _SEEN_KEPT:
            self._seen.popitem(last=False)
        return True
