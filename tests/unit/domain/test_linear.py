"""Patterns on RE2 find what `re` finds, where it finds it, whatever the text is made of."""

from __future__ import annotations

import re

import pytest

from app.domain.linear import Linear

TEXTS = ["Error: a", "é Error: b", "x\udcb5 Error: c\ud800", "\udcb5", "", "漢字 Error: 漢 Error: d"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_any_characters_is_searched_as_by_the_standard_library(text: str) -> None:
    """Also one with halves of characters, which no encoding has: bytes of a log that were no UTF-8."""
    pattern = r"(?P<kind>Error): (?P<what>\S)"
    linear, plain = Linear(pattern), re.compile(pattern)
    assert [(m.span(), m.groupdict()) for m in linear.finditer(text)] == [
        (m.span(), m.groupdict()) for m in plain.finditer(text)
    ]
    for way in ("search", "match", "fullmatch"):
        found, expected = getattr(linear, way)(text), getattr(plain, way)(text)
        assert (found and found.span("what")) == (expected and expected.span("what"))
