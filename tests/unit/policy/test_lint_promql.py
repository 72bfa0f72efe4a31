"""Reading PromQL as far as the lint needs it: ranges that remember, labels that come out, and what stays unsure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policytools.lint_promql import parse_span, read_query


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate(x[5m]) > 1", ["rate 300 sure"]),
        ('sum by (pod) (increase(x{a="[9h]"}[1h30m]))', ["increase 5400 sure"]),
        ("max_over_time(rate(x[5m])[30m:1m])", ["rate 300 sure", "max_over_time 2100 unsure"]),
        ("irate(x[5m]) > 0", []),
        ("absent_over_time(x[10m])", []),
        ("last_over_time(x[10m]) == 0", []),
        ("up == 0 # rate(x[5m])", []),
        ("avg_over_time((a - b)[10m:])", ["avg_over_time 600 unsure"]),
        ("rate(x[$__rate_interval])", []),
    ],
)  # fmt: skip
def test_ranges_that_remember_a_fault(text: str, expected: list[str]) -> None:
    found = read_query(text).lookbacks
    said = [f"{f.function} {f.span.total_seconds():.0f} {'sure' if f.sure else 'unsure'}" for f in found]
    assert said == expected


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("up == 0", None),
        ('up{namespace="rag7"}', None),
        ("sum(rate(x[5m]))", set()),
        ("sum by (namespace, pod) (x)", {"namespace", "pod"}),
        ("sum(x) by (pod)", {"pod"}),
        ("SUM BY (pod) (x) > 3", {"pod"}),
        ("topk(3, sum by (pod) (x))", {"pod"}),
        ('count_values("version", x)', {"version"}),
        ('count_values by (job) ("version", x)', {"version", "job"}),
        ("sum by (a, b) (sum by (b, c) (x))", {"b"}),
        ("sum by (a) (x) / sum by (a) (y) > 0.05", {"a"}),
        ("100 * sum by (a) (x)", {"a"}),
        ("x / on (a) y", {"a"}),
        ("sum by (a) (x) / on (a) group_left (team) y", {"a", "team"}),
        ("x * on (a) group_right () sum by (b) (y)", {"b"}),
        ("sum by (a) (x) and on (a) y", {"a"}),
        ("sum by (a) (x) unless y", {"a"}),
        ("sum by (a, b) (x) / ignoring (b) sum by (a) (y)", {"a"}),
        ('label_replace(sum by (a) (x), "pod", "$1", "a", "(.*)")', {"a", "pod"}),
        ('absent(up{job="api"})', {"job"}),
        ("vector(1)", set()),
        ("sum by (a) (x offset 5m) > bool -1", {"a"}),
        ("(sum by (a) (x))", {"a"}),
        ("clamp_max(sum by (a) (x), 5)", {"a"}),
        ("x > scalar(sum(y))", None),
        ("sum by (a) (x @ 1609746000)", {"a"}),
    ],
)  # fmt: skip
def test_labels_that_can_come_out(text: str, kept: set[str] | None) -> None:
    shape = read_query(text).shape
    assert shape.sure
    assert shape.kept == kept


def test_labels_that_are_taken_away_or_fixed() -> None:
    without = read_query("sum without (pod) (x)").shape
    assert (without.lacks("pod"), without.lacks("namespace")) == (True, False)
    assert read_query("histogram_quantile(0.9, x)").shape.lacks("le")
    assert read_query('x{namespace="rag7", code=~"5.."}').shape.known == {"namespace": "rag7"}
    assert read_query('sum by (pod) (x{namespace="rag7"})').shape.known == {}
    assert read_query('sum by (pod) (x{pod="a"})').shape.known == {"pod": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "sum by (a) (x) or sum by (b) (y)",
        "sum by (",
        "x ! y",
        "{{ template }}",
        "",
        "sum(x) y",
        "f(x,,y)",
        "(" * 5000,
        "x" + " or x" * 5000,
        "-" * 100_000 + "x",
        "rate(x[9999999999y])",
        "info(sum by (a) (x))",
    ],
)
def test_what_is_not_understood_is_unsure(text: str) -> None:
    assert not read_query(text).shape.sure


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("increase(x[1h]) > 0", True),
        ("increase(x[1h]) >= 1", True),
        ("rate(x[1h]) > 0.5", False),
        ("x == 0", False),
    ],
)
def test_anything_above_zero_counts(text: str, counts: bool) -> None:
    assert read_query(text).counts is counts


@given(
    st.lists(
        st.sampled_from(
            [
                "sum",
                "by",
                "(",
                ")",
                "[",
                "5m",
                "]",
                "{",
                "}",
                "a",
                "=",
                '"x"',
                ",",
                "/",
                "on",
                "or",
                "1",
                ":",
                ">",
                "rate",
                "@",
                "-",
            ]
        )
    ).map(" ".join)
)
def test_no_text_breaks_the_reader(text: str) -> None:
    read_query(text)


@given(st.text())
def test_no_garbage_breaks_the_reader(text: str) -> None:
    read_query(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1h30m", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("2w", timedelta(weeks=2)),
        ("0", timedelta()),
        ("5", None),
        ("m", None),
        ("5m ", None),
    ],
)
def test_spans(text: str, span: timedelta | None) -> None:
    assert parse_span(text) == span
