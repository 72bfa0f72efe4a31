"""Clicks of buttons as Slack sends them: the payload under a stored message, and the signed form.

Written from Slack's documentation of interactions and request signing, apart from the code that reads them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any
from urllib.parse import quote_plus

SECRET = "slack-4Kq9vT2m"
TEAM = {"id": "T01EXAMPLE", "domain": "example-co"}
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Signed:
    """One request: headers and raw body."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where replies to clicks go: `base` is the double's own address; `got` is what came there."""

    base: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)


def payload(
    message: Any,
    action_id: str,
    user: str,
    *,
    now: datetime,
    response_url: str = "",
    value: str | None = None,
) -> dict[str, Any]:
    """A block_actions payload for a click under `message`, whose button must be there unless `value` is given."""
    if value is None:
        value = value_of(message, action_id)
    return {
        "type": "block_actions",
        "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM["id"]},
        "api_app_id": "A09REMEDIATE",
        "token": "deprecated-verification-token",
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": False,
        },
        "trigger_id": "7312.1055.b4f6a0c1d2",
        "team": TEAM,
        "enterprise": None,
        "channel": {"id": message.channel, "name": "incidents"},
        "message": {"type": "message", "ts": message.ts, "text": message.text, "blocks": message.blocks},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [
            {
                "action_id": action_id,
                "block_id": "b1",
                "type": "button",
                "value": value,
                "action_ts": f"{now.timestamp():.3f}{next(_NUMBERS):03d}",
            }
        ],
    }


def value_of(message: Any, action_id: str) -> str:
    """The value of a button that the message shows now. Raises KeyError when it shows none of that name."""
    for block in message.blocks:
        for element in block.get("elements", ()):
            if element.get("action_id") == action_id:
                return str(element["value"])
    raise KeyError(action_id)


def labels_of(message: Any) -> list[str]:
    """Labels of the buttons that the message shows now."""
    return [e["text"]["text"] for b in message.blocks if b["type"] == "actions" for e in b["elements"]]


def signed(body: dict[str, Any] | bytes, *, now: datetime, secret: str = SECRET) -> Signed:
    """The form with its signature at `now`; bytes go as they are."""
    raw = body if isinstance(body, bytes) else b"payload=" + quote_plus(json.dumps(body)).encode()
    stamp = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + raw, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }
    return Signed(headers, raw)
