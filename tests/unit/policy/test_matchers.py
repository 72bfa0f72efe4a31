"""Matchers: Alertmanager's grammar, compiled once, and nothing that only Python would understand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.matchers import parse_matchers, parse_when, quoted

words = st.text(min_size=0, max_size=20).filter(lambda t: not any(0xD800 <= ord(c) <= 0xDFFF for c in t))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{foo=bar}", ("foo", "=", "bar")),
        ("foo=bar", ("foo", "=", "bar")),
        ("{foo=bar,}", ("foo", "=", "bar")),
        ("foo=bar,", ("foo", "=", "bar")),
        (" { foo != bar } ", ("foo", "!=", "bar")),
        ("foo=~[a-z]+", ("foo", "=~", "[a-z]+")),
        ("foo!~[a-z]+", ("foo", "!~", "[a-z]+")),
        ('"foo"="bar"', ("foo", "=", "bar")),
        ('foo=""', ("foo", "=", "")),
        ("foo=🙂bar", ("foo", "=", "🙂bar")),
        (r'"foo"="\xf0\x9f\x99\x82"', ("foo", "=", "🙂")),
        (r'"foo"="\U0001f642é\101"', ("foo", "=", "🙂éA")),
        (r'foo="bar\n\t\"\\"', ("foo", "=", 'bar\n\t"\\')),
        ('"tëam name"="a,b}"', ("tëam name", "=", "a,b}")),
        ("foo=:bar", ("foo", "=", ":bar")),
    ],
)
def test_one_matcher_is_read_as_alertmanager_reads_it(text: str, expected: tuple[str, str, str]) -> None:
    (matcher,) = parse_matchers(text)
    assert (matcher.name, matcher.operator.value, matcher.value) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",", "column 1: expected a label name"),
        ("{,}", "column 2: expected a label name"),
        ("{", "column 2: expected a comma or a closing brace"),
        ("}", "expected an opening brace"),
        ("foo=bar}", "column 8: expected an opening brace"),
        ("{foo=bar", "expected a comma or a closing brace"),
        ('{foo=:"bar"}', "column 7: expected a comma or a closing brace"),
        ("foo=bar baz=qux", "column 9: expected a comma"),
        (r'foo="bar\w"', "column 9: expected a known escape"),
        (r'foo="bar\8"', "expected a known escape"),
        (r'foo="\ud800"', "expected a known escape"),
        (r'foo="\777"', "expected a known escape"),
        (r"foo=bar\n", r"column 8: expected a comma"),
        (r'"foo"="\xf0\x9f"', "column 7: expected valid UTF-8"),
        ('foo="bar', "column 5: expected a closing quote"),
        ('foo="a\nb"', "expected a closing quote"),
        ("foo", "column 4: expected one of ="),
        ("foo==bar", "column 5: expected a value, got '=bar'"),
        ("foo=", "column 5: expected a value, got the end"),
        ('""=x', "label name that is not empty"),
        ("", "no matcher in it"),
        ("{}", "no matcher in it"),
        ("{foo=bar} x", "nothing after the closing brace"),
        ("a=x, a=y", "can never match"),
        ("a=x, a!~x", "can never match"),
    ],
)
def test_a_faulty_list_is_refused_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_matchers(text)


@pytest.mark.parametrize(
    ("matcher", "labels", "expected"),
    [
        ('a="x"', {"a": "x"}, True),
        ('a="x"', {"a": "xy"}, False),
        ('a="x"', {}, False),
        ('a=""', {}, True),
        ('a!=""', {}, False),
        ('a!="x"', {}, True),
        ('a!="x"', {"a": "x"}, False),
        ('a=~"x|y"', {"a": "y"}, True),
        ('a=~"x|y"', {"a": "xy"}, False),
        ('a=~"x"', {"a": "prefix"}, False),
        ('a=~"x"', {"a": "x\n"}, False),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~"x.*"', {"a": "xyz"}, False),
        ('a!~"x.*"', {}, True),
        ('a="x", b!="y"', {"a": "x"}, True),
        ('a="x", b="y"', {"a": "x"}, False),
    ],
)
def test_labels_are_compared_anchored_and_missing_means_empty(
    matcher: str, labels: dict[str, str], expected: bool
) -> None:
    assert parse_when(matcher).matches(labels) is expected


@given(words.filter(bool), words)
def test_any_name_and_value_reads_back_when_quoted(name: str, value: str) -> None:
    (matcher,) = parse_matchers(f"{quoted(name)}={quoted(value)}")
    assert (matcher.name, matcher.value) == (name, value)
    assert parse_matchers(str(matcher)) == (matcher,)


@given(words.filter(bool), words, words)
def test_equal_and_not_equal_are_opposites(name: str, value: str, actual: str) -> None:
    labels = {name: actual}
    same = parse_when(f"{quoted(name)}={quoted(value)}").matches(labels)
    other = parse_when(f"{quoted(name)}!={quoted(value)}").matches(labels)
    assert same is (value == actual)
    assert other is not same


@given(words.filter(bool), words)
def test_a_literal_regular_expression_matches_exactly_its_text(name: str, value: str) -> None:
    escaped = "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in value)
    matcher = parse_when(f"{quoted(name)}=~{quoted(escaped)}")
    assert matcher.matches({name: value})
    assert not matcher.matches({name: value + "x"})


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        found: object = parse_matchers(text)
    except ValueError as error:
        found = str(error)
    assert found


def test_alternatives_match_when_one_of_them_does() -> None:
    when = parse_when(['alertname="A"', 'alertname="B", severity="critical"'])
    assert when.matches({"alertname": "A"})
    assert when.matches({"alertname": "B", "severity": "critical"})
    assert not when.matches({"alertname": "B"})
    assert str(when) == 'alertname="A" or alertname="B", severity="critical"'
    assert parse_when(when.as_written()) == when
    assert parse_when(when) is when
    assert when.filters == (('alertname="A"',), ('alertname="B"', 'severity="critical"'))


@pytest.mark.parametrize("value", [[], [1], None, 3, {"a": "x"}])
def test_matchers_must_be_text(value: object) -> None:
    with pytest.raises(ValueError, match="expected matchers"):
        parse_when(value)


@pytest.mark.parametrize(
    ("general", "special", "expected"),
    [
        ('a="x"', 'a="x", b="y"', True),
        ('a="x"', 'b="y", a="x"', True),
        ('a="x", b="y"', 'a="x"', False),
        ('a=~"x|y"', 'a="x"', False),
        (['a="x"', 'b="y"'], 'b="y", c="z"', True),
        ('a="x"', ['a="x"', 'b="y"'], False),
    ],
)
def test_one_list_covers_another_that_says_the_same_and_more(
    general: object, special: object, expected: bool
) -> None:
    assert parse_when(general).covers(parse_when(special)) is expected
