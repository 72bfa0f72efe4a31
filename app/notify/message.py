"""The neutral form of a message, independent of where it is shown.

Built by `app.notify.parent` and `app.notify.entries`; shown by `app.notify.blocks` (Slack, cut to its limits) and
`app.notify.console` (in full). Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.notify.text import Line, plain


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together, one block in Slack. Cut from the end when there is no room."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """Small print: ids, times, links. At most ten lines are shown."""

    lines: tuple[Line, ...]


Part: TypeAlias = Section | Context


@dataclass(frozen=True, slots=True)
class Confirm:
    """What is asked once more after a click; `yes` is the word on the button that goes on."""

    title: str
    text: str
    yes: str


@dataclass(frozen=True, slots=True)
class Button:
    """A button: `value` is an opaque id that the service looks up; it never carries rights. `command` does the same where
    nobody can click; empty when there is none."""

    action_id: str
    label: str
    value: str
    style: str = ""
    confirm: Confirm | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `incident_id` names where `remediator explain` tells what did not fit."""

    incident_id: str
    headline: Line
    parts: tuple[Part, ...] = ()
    buttons: tuple[Button, ...] = ()

    def readable(self) -> str:
        """All of it as plain text, nothing cut."""
        blocks = [plain(self.headline)]
        blocks.extend("\n".join(plain(li) for li in part.lines) for part in self.parts)
        if self.buttons:
            blocks.append(" ".join(f"[{b.label}]" for b in self.buttons))
        return "\n".join(b for b in blocks if b)
