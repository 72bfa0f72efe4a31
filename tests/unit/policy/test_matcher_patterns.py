"""Regular expressions of matchers: RE2's, anchored, linear in the length of a label's value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.matchers import MAX_MATCHERS, compile_anchored, parse_matchers, parse_when
from tests.unit.work import measured


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("critical|warning", "warning", True),
        ("critical|warning", "warnings", False),
        ("(?i)critical", "CRITICAL", True),
        ("(?P<team>a|b)-x", "b-x", True),
        ("(a|ab)*", "aba", True),
        ("[[:alpha:]]+", "abc", True),
        (r"\pL", "é", True),
        (r"\d", "٣", False),
        ("a.b", "a\nb", False),
        ("", "", True),
    ],
)
def test_an_expression_means_what_it_means_to_alertmanager(pattern: str, text: str, expected: bool) -> None:
    assert (compile_anchored(pattern).fullmatch(text) is not None) is expected


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "a(?=b)", "(?<=a)b", "(?>a)", "a++b**", "a{1001}", "(a", "a)", "*a", "[a", "a\\"]
)
def test_what_re2_does_not_accept_is_refused_with_the_expression(pattern: str) -> None:
    with pytest.raises(ValueError, match="bad regular expression"):
        compile_anchored(pattern)


@pytest.mark.parametrize("pattern", ["a*a*a*b", ".*.*.*.*x", "(a+)+x", "(a?){30}a{30}x", ".*Error.*Rate.*"])
def test_no_expression_takes_long_on_a_long_value(pattern: str) -> None:
    compiled = compile_anchored(pattern)
    with measured() as work:
        assert compiled.fullmatch("a" * 100_000) is None
    assert work.units < 200


def test_a_value_with_a_lone_surrogate_is_compared_and_not_a_fault() -> None:
    assert parse_matchers('a=~"x.*"')[0].matches({"a": "x\ud800"})


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_an_escaped_text_matches_itself(text: str) -> None:
    pattern = "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)
    assert compile_anchored(pattern).fullmatch(text)


@pytest.mark.parametrize("text", ["a=\udce9", 'a="\udce9"', "\udce9=b", 'a=~"\udce9"'])
def test_a_matcher_that_is_no_utf8_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="valid UTF-8"):
        parse_when(text)


def test_a_list_has_a_bounded_number_of_matchers() -> None:
    assert len(parse_matchers(",".join(["a=b"] * MAX_MATCHERS))) == MAX_MATCHERS
    with pytest.raises(ValueError, match="more than 100 matchers"):
        parse_matchers(",".join(["a=b"] * (MAX_MATCHERS + 1)))
