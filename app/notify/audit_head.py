"""The head of the audit trail in words: what a person keeps, where nobody who can write the database can reach it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.notify.message import Context, Message
from app.notify.text import bold, code, line


def head_message(data: Mapping[str, Any]) -> Message:
    """The day's message. Raises KeyError for what is no head."""
    head = line(bold("AUDIT TRAIL"), f" · {data['day']}, {int(data['seq']):,} records")
    small = [
        line("Head: ", code(str(data["head"]))),
        line("Check: ", code(f"remediator audit verify --head {data['head']}")),
    ]
    return Message(str(data["day"]), head, (Context(tuple(small)),))
