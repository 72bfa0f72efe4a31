"""A time of a schedule that was passed over, as one line for the channel. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.notify.message import Message
from app.notify.text import bold, line

_WHY = {
    "skipped": "nothing ran then",
    "too_late": "nothing ran then, and it is too late to make up for it",
    "busy": "the order before it is still under way",
    "changed": "the rule was changed around that time",
    "removed": "the rule was removed around that time",
}


def skipped_message(data: Mapping[str, Any]) -> Message:
    """`Not started: rule nightly, due 2026-03-29 03:00 CEST: nothing ran then`."""
    why = _WHY.get(str(data["fate"]), str(data["fate"]))
    head = line(bold("Not started"), f": schedule of rule {data['rule']}, due {data['told']}: {why}")
    return Message(str(data["rule"]), head)
