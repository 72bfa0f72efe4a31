"""The console door prints everything, and foreign text stays text."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from app.notify.console import ConsoleDoor
from app.notify.entries import thread_entry
from app.notify.message import Message, Section
from app.notify.parent import parent
from app.notify.story import Topic
from app.notify.text import line
from tests.unit.notify import stories


def _door(width: int = 200) -> tuple[ConsoleDoor, StringIO]:
    out = StringIO()
    return ConsoleDoor(Console(file=out, width=width, force_terminal=False)), out


@pytest.mark.parametrize("name", stories.STORIES)
async def test_a_parent_is_printed_in_full(name: str) -> None:
    door, out = _door()
    message = parent(stories.STORIES[name])
    await door.post("#incidents", message, None, "t")
    for row in (
        replace(message, buttons=()).readable().splitlines()
    ):  # a terminal has none; it has the commands
        assert row in out.getvalue()


async def test_a_narrow_console_wraps_a_card_inside_its_frame_and_cuts_nothing() -> None:
    out = StringIO()
    door = ConsoleDoor(Console(file=out, width=60, force_terminal=False, soft_wrap=True))
    words = " ".join(f"word{n}" for n in range(60))
    posted = await door.post("#incidents", Message("inc_1", line(words), ()), None, "t")
    await door.update(posted, Message("inc_1", line(f"again {words}"), ()), "t")
    assert out.getvalue().count("word59") == 2
    assert max(map(len, out.getvalue().splitlines())) == 60


async def test_a_thousand_lines_are_all_printed() -> None:
    door, out = _door()
    lines = tuple(line(f"log line {n}") for n in range(1000))
    await door.post("#incidents", Message("inc_1", line("head"), (Section(lines),)), "1", "t")
    assert out.getvalue().count("log line") == 1000


async def test_terminal_markup_and_escapes_in_labels_are_shown_not_obeyed() -> None:
    door, out = _door()
    await door.post("#incidents", parent(replace(stories.OPEN, alertname="[red]x[/red]\x1b[2J")), None, "t")
    assert "[red]x[/red]\N{REPLACEMENT CHARACTER}[2J" in out.getvalue()


async def test_an_edit_prints_the_new_state_once() -> None:
    door, out = _door()
    posted = await door.post("#incidents", parent(stories.OPEN), None, "t")
    before = out.getvalue()
    assert await door.update(posted, parent(stories.OPEN), "t") == posted
    assert out.getvalue() == before
    for _ in range(2):
        await door.update(posted, parent(stories.STORIES["fixed"]), "t")
    assert out.getvalue().count("FIXED in 3m12s") == 1


async def test_thread_entries_follow_under_a_rule() -> None:
    door, out = _door()
    first = await door.post("#incidents", parent(stories.OPEN), None, "t")
    told = thread_entry(Topic.VERIFIED, stories.OPEN, stories.FIXED)
    assert told is not None
    second = await door.post("#incidents", told, first.ts, "t")
    assert (first.ts, second.ts) == ("1", "2")
    assert "─" * 20 in out.getvalue()


async def test_a_console_cannot_be_searched_and_says_so() -> None:
    door, _ = _door()
    found = await door.find("#incidents", None, "t", stories.OPENED)
    assert found.posted is None
    assert found.unknown
