"""A section of the screen: its lines, or why it could not be read.

Every section is read by itself, side by side with the others and within its own limit: what fails is said in its place and takes
nothing else with it. Texts of strangers are bounded and cleaned here, before anybody sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.domain.errors import RemediatorError
from app.domain.json import JsonValue
from app.domain.redact import in_one_line
from app.domain.text import visible

LIMIT = 1.5
"""Seconds that one section may take."""
_LONGEST = 300
_MAX_LINES = 20


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a name. `unread` says why there are none, or why some are missing; empty when all was read."""

    name: str
    lines: tuple[str, ...] = ()
    unread: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """As the API gives it."""
        return {"name": self.name, "lines": list(self.lines), "unread": self.unread}


def said(text: str) -> str:
    """One line that may be shown, whoever wrote it."""
    return visible(in_one_line(text, _LONGEST))


def shown(lines: Sequence[str]) -> tuple[str, ...]:
    """A bounded number of lines; how many are left out is said."""
    kept = tuple(said(line) for line in lines[:_MAX_LINES])
    return kept if len(lines) <= _MAX_LINES else (*kept, f"and {len(lines) - _MAX_LINES} more")


async def section(name: str, read: Callable[[], Awaitable[Sequence[str]]], none: str = "none") -> Section:
    """Read one section. Raises nothing of ours."""
    try:
        async with asyncio.timeout(LIMIT):
            lines = await read()
    except RemediatorError as error:
        return Section(name, unread=said(error.message))
    except TimeoutError:
        return Section(name, unread=f"it took longer than {LIMIT:g} s")
    return Section(name, shown(lines) if lines else (none,))
