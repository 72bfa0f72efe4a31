"""The console door prints everything, and foreign text stays text."""

from __future__ import annotations

import threading
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from app.notify.console import ConsoleClient
from app.notify.entries import thread_entry
from app.notify.message import Message, Section
from app.notify.parent import parent
from app.notify.text import line
from app.notify.timeline import Topic
from tests.unit.notify import timelines


def _client(width: int = 200) -> tuple[ConsoleClient, StringIO]:
    out = StringIO()
    return ConsoleClient(Console(file=out, width=width, force_terminal=False)), out


@pytest.mark.parametrize("name", timelines.TIMELINES)
async def test_a_parent_is_printed_in_full(name: str) -> None:
    client, out = _client()
    message = parent(timelines.TIMELINES[name])
    await client.post("#incidents", message, None, "t")
    for row in (
        replace(message, buttons=()).readable().splitlines()
    ):  # a terminal has none; it has the commands
        assert row in out.getvalue()


async def test_a_narrow_console_wraps_a_card_inside_its_frame_and_cuts_nothing() -> None:
    out = StringIO()
    client = ConsoleClient(Console(file=out, width=60, force_terminal=False, soft_wrap=True))
    words = " ".join(f"word{n}" for n in range(60))
    posted = await client.post("#incidents", Message("inc_1", line(words), ()), None, "t")
    await client.update(posted, Message("inc_1", line(f"again {words}"), ()), "t")
    assert out.getvalue().count("word59") == 2
    assert max(map(len, out.getvalue().splitlines())) == 60


async def test_a_thousand_lines_are_all_printed() -> None:
    client, out = _client()
    lines = tuple(line(f"log line {n}") for n in range(1000))
    await client.post("#incidents", Message("inc_1", line("head"), (Section(lines),)), "1", "t")
    assert out.getvalue().count("log line") == 1000


async def test_terminal_markup_and_escapes_in_labels_are_shown_not_obeyed() -> None:
    client, out = _client()
    await client.post(
        "#incidents", parent(replace(timelines.OPEN, alertname="[red]x[/red]\x1b[2J")), None, "t"
    )
    assert "[red]x[/red]\N{REPLACEMENT CHARACTER}[2J" in out.getvalue()


async def test_an_edit_prints_the_new_state_once() -> None:
    client, out = _client()
    posted = await client.post("#incidents", parent(timelines.OPEN), None, "t")
    before = out.getvalue()
    assert await client.update(posted, parent(timelines.OPEN), "t") == posted
    assert out.getvalue() == before
    for _ in range(2):
        await client.update(posted, parent(timelines.TIMELINES["fixed"]), "t")
    assert out.getvalue().count("FIXED in 3m12s") == 1


async def test_thread_entries_follow_under_a_rule() -> None:
    client, out = _client()
    first = await client.post("#incidents", parent(timelines.OPEN), None, "t")
    told = thread_entry(Topic.VERIFIED, timelines.OPEN, timelines.FIXED)
    assert told is not None
    second = await client.post("#incidents", told, first.ts, "t")
    assert (first.ts, second.ts) == ("1", "2")
    assert "─" * 20 in out.getvalue()


async def test_a_console_cannot_be_searched_and_says_so() -> None:
    client, _ = _client()
    found = await client.find("#incidents", None, "t", timelines.OPENED)
    assert found.posted is None
    assert found.unknown


async def test_each_thread_entry_names_its_incident() -> None:
    client, out = _client()
    for incident in ("inc_1", "inc_2"):
        await client.post("#incidents", Message(incident, line("Verified"), ()), "1", "t")
    rows = out.getvalue().splitlines()
    assert [r.split()[0] for r in rows if "inc_" in r] == ["inc_1", "inc_2"]


async def test_nothing_is_printed_on_the_event_loop() -> None:
    """A terminal may be slow, and texts of strangers long."""

    class Out(StringIO):
        threads: set[int]

        def write(self, text: str, /) -> int:
            self.threads.add(threading.get_ident())
            return super().write(text)

    out = Out()
    out.threads = set()
    client = ConsoleClient(Console(file=out, width=200, force_terminal=False))
    posted = await client.post("#incidents", Message("inc_1", line("head"), ()), None, "t")
    await client.post("#incidents", Message("inc_1", line("entry"), ()), posted.ts, "t")
    await client.update(posted, Message("inc_1", line("head, again"), ()), "t")
    assert out.threads
    assert threading.get_ident() not in out.threads
