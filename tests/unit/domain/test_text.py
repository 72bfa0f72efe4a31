"""Text of strangers is cut before it is searched and cannot control what shows it."""

from __future__ import annotations

import asyncio
import json
import threading
import unicodedata
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.text import CONTROL, LONG, beside, bounded, spelled, visible
from app.notify.text import clean

CONTROLS = [
    "\x1b[2J",
    "\x9b31m",
    "\x9d0;x",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\ud800",
]


@pytest.mark.parametrize("text", CONTROLS)
def test_a_control_character_is_shown_as_its_escape_and_leaves_messages(text: str) -> None:
    assert visible(text).isascii()
    assert visible(text).startswith("\\")
    assert text[0] not in clean(text)


@given(st.text(st.characters(), max_size=100))
def test_no_control_bidi_or_surrogate_character_survives(text: str) -> None:
    for shown in (visible(text).replace("\n", "").replace("\t", ""), clean(text).replace("\t", "")):
        assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
        assert not [
            c for c in shown if unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI")
        ]


@given(
    st.text(st.characters(), max_size=100) | st.text(st.sampled_from("".join(CONTROLS) + '\U000e0001"\\a'))
)
def test_a_json_document_says_the_same_with_its_control_characters_spelled(text: str) -> None:
    document = spelled(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(document.encode()) == {text: [text]}
    assert CONTROL.search(document) is None


@given(st.text(max_size=300), st.integers(1, 300))
def test_a_text_is_cut_to_its_limit(text: str, limit: int) -> None:
    assert len(bounded(text, limit)) <= limit + 2


def test_a_cut_leaves_no_half_of_a_secret() -> None:
    assert "hunter" not in bounded("connecting to redis://u:hunter2@cache", 32)
    assert "hunter" not in bounded(f"redis://u:hunter{'2' * 600}@cache", 500)


async def test_long_texts_are_read_beside_the_event_loop_and_short_ones_on_it() -> None:
    assert await beside(LONG, threading.get_ident) == threading.get_ident()
    assert await beside(LONG + 1, threading.get_ident) != threading.get_ident()


async def test_of_many_long_texts_one_is_read_at_a_time_and_short_ones_wait_for_none() -> None:
    """Threads share one interpreter: six of them left whoever answers requests every seventh turn at it."""
    under_way, most = 0, 0
    go_on = threading.Event()

    def read(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        go_on.wait(60)
        under_way -= 1
        return number

    reading = [asyncio.ensure_future(beside(LONG + 1, partial(read, n))) for n in range(6)]
    await asyncio.sleep(0)
    assert await beside(LONG, lambda: 7) == 7
    go_on.set()
    assert await asyncio.gather(*reading) == [0, 1, 2, 3, 4, 5]
    assert most == 1


async def test_who_stops_waiting_for_a_reading_leaves_its_turn_to_nobody_before_it_has_ended() -> None:
    """A look that took too long left its thread behind: the next one began beside it, and the event loop got every fifth turn."""
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def read() -> str:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        return "read"

    given_up = asyncio.ensure_future(beside(LONG + 1, read))
    await begun.wait()
    given_up.cancel()
    following = asyncio.ensure_future(beside(LONG + 1, go_on.is_set))
    await asyncio.wait((given_up,))
    for _ in range(20):
        await asyncio.sleep(0)
    assert given_up.cancelled()
    assert not following.done()
    go_on.set()
    assert await following is True


async def test_a_reading_that_fails_after_nobody_waits_for_it_gives_its_turn_back() -> None:
    def fail() -> None:
        raise ValueError("unreadable")

    given_up = asyncio.ensure_future(beside(LONG + 1, fail))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await beside(LONG + 1, lambda: 1) == 1
