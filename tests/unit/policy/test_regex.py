"""Regular expressions: what RE2 and Python read alike, and nothing that can take forever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.regex import compile_anchored


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("critical|warning", "warning", True),
        ("critical|warning", "warnings", False),
        ("(?i)critical", "CRITICAL", True),
        ("(?P<team>a|b)-x", "b-x", True),
        ("(?:a|b)?c", "c", True),
        ("[a-z]{2,3}", "abc", True),
        ("[^]a]", "b", True),
        (r"[\[\]]", "[", True),
        (r"\d+\.\d*", "12.", True),
        (r"\d", "٣", False),
        ("a.*?b", "axxb", True),
        ("(ab)+", "abab", True),
        ("a{", "a{", True),
        ("", "", True),
        ("a|", "", True),
    ],
)
def test_the_common_part_of_both_engines_is_accepted(pattern: str, text: str, expected: bool) -> None:
    assert (compile_anchored(pattern).fullmatch(text) is not None) is expected


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a)\1", "backreferences"),
        ("(?P=team)x", "lookaround"),
        ("a(?=b)", "lookaround"),
        ("a(?!b)", "lookaround"),
        ("(?<=a)b", "lookaround"),
        ("(?>a)", "atomic"),
        ("(a)?(?(1)b|c)", "conditional"),
        ("a++", "possessive"),
        ("a**", "double quantifiers"),
        ("a*?+", "possessive|nothing|multiple repeat"),
        ("a(?i)b", "flags belong at the start"),
        ("(?x)a", "not accepted"),
        ("[[:alpha:]]", "POSIX"),
        ("[a&&b]", "backslashes"),
        (r"\pL", "escape"),
        (r"\Za", "escape"),
        (r"[\b]", "escape"),
        ("a{,3}", r"\{0,n\}"),
        ("a{1001}", "1000"),
        ("(a+)+", "varies in length"),
        ("(a|ab)*", "varies in length"),
        ("((a?)b)*", "varies in length"),
        ("(a*){2,}", "varies in length"),
        ("(a", "unterminated|missing"),
        ("a)", "unbalanced"),
        ("*a", "nothing to repeat"),
        ("[a", "unterminated"),
        ("a\\", "bad escape"),
    ],
)
def test_everything_else_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_anchored(pattern)


@given(st.text(alphabet="ab(|)*+?{},[]^-\\.$dw1 ", max_size=10))
def test_what_is_accepted_answers_soon(pattern: str) -> None:
    try:
        compiled = compile_anchored(pattern)
    except ValueError:
        return
    begun = time.monotonic()
    compiled.fullmatch("ab" * 20 + "!")
    assert time.monotonic() - begun < 1


@given(st.text(max_size=20))
def test_an_escaped_text_matches_itself_as_in_python(text: str) -> None:
    pattern = "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)
    assert compile_anchored(pattern).fullmatch(text)
    assert re.fullmatch(re.escape(text), text)
