"""Marks of our own pages: the title that we made is known however it is spaced, and nothing else is."""

from __future__ import annotations

import pytest

from app.domain import page_marks
from app.domain.change import DigestKey

KEY = DigestKey(b"k" * 32)
TEXT = "ESCALATED: HighErrorRate on rag7/langgraph: nothing helped"


def title(key: str = "inc_1~2", text: str = TEXT, by: DigestKey = KEY) -> str:
    return f"{text} [{key} {page_marks.maker(by)(key, text)}]"


TAIL = title().removeprefix(TEXT)


@pytest.mark.parametrize(
    "ours", [title(), f"{title()}  ", title().replace(" on ", "  on\u00a0"), title("dig_7")]
)
def test_the_title_that_we_made_is_ours(ours: str) -> None:
    assert page_marks.reader(KEY)(ours) in ("inc_1~2", "dig_7")


@pytest.mark.parametrize(
    "foreign",
    [
        f"Disk full on db-1{TAIL}",
        f"{TEXT} and the disk is full{TAIL}",
        f"Re: {title()}",
        TAIL,
        title(by=DigestKey(b"x" * 32)),
        title().replace("inc_1~2", "inc_1~3"),
        TEXT,
    ],
)
def test_a_mark_that_is_put_behind_another_title_is_none(foreign: str) -> None:
    """So a foreign incident stays an alert, and its events answer no page of ours."""
    assert page_marks.reader(KEY)(foreign) == ""
