"""Spans, escaping, cutting and units."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.notify.limits import length
from app.notify.text import Line, Ref, Span, Style, When, bold, clean, code, cut, joined, line, mrkdwn, plain

AT = datetime(2026, 3, 4, 3, 12, 5, tzinfo=UTC)
_PIECES = st.one_of(
    st.builds(Span, st.text(max_size=80), st.sampled_from(Style)),
    st.builds(Ref, st.text(max_size=20), st.text(max_size=40) | st.just("https://example.org/?a=b&c=<d>")),
    st.just(When(AT)),
)
LINES: st.SearchStrategy[Line] = st.lists(_PIECES, max_size=6).map(tuple)
# Everything between < and > that Slack would act on.
_TOKENS = re.compile(r"<[^<>]*>")
_OURS = re.compile(
    r"<(!date\^[0-9]+\^\{date_short_pretty\} \{time\}\|[0-9: -]+ UTC|https?://[^<>|]+\|[^<>|]*)>"
)


@pytest.mark.parametrize(
    "hostile",
    [
        "<!channel>",
        "<!here|here>",
        "<@U123>",
        "<!subteam^S1>",
        "<https://evil.example|runbook>",
        "<!date^1^x|y>",
    ],
)
@pytest.mark.parametrize("style", list(Style))
def test_foreign_text_never_becomes_a_mention_or_link(hostile: str, style: Style) -> None:
    assert "<" not in mrkdwn((Span(f"pod {hostile} x", style),))


# What Slack formats: marks around a word, emoji, a quoted line.
_FORMATTED = re.compile(
    r"(?<![^\W_])([*_~])(?=[^\s*_~]).*?(?<=\S)\1(?![^\W_])|`|:[\w'+-]*[^\W\d][\w'+-]*:|^\s*&gt;|@(?:channel|here|everyone)\b"
)


@pytest.mark.parametrize(
    "foreign",
    [
        "*FIXED* in 3m",
        "_now_",
        "~old~",
        "`code`",
        "x :white_check_mark: y",
        "@channel",
        "> quoted",
        "*a* _b_ ~c~",
        "_*x*_",
        ":+1:",
    ],
)
def test_foreign_marks_are_shown_as_characters_that_format_nothing(foreign: str) -> None:
    shown = mrkdwn((Span(foreign),))
    assert _FORMATTED.search(shown) is None
    assert len(clean(foreign)) <= len(shown)
    assert shown != mrkdwn(line(bold("FIXED"), " in 3m"))


@given(
    st.text("ab1 *_~`:@>&<+-'\n")
    | st.lists(st.sampled_from(["*", "_", "~", "`", ":", "x", " ", "tada", "@here", ">"])).map("".join)
)
@example("x__x__x")
def test_no_foreign_text_is_formatted(text: str) -> None:
    assert _FORMATTED.search(mrkdwn((Span(text),))) is None


@pytest.mark.parametrize(
    "text", ["max_tokens", "a__b", "10:15:22", "ops@example.org", "a~b", "https://x.example/a_b"]
)
def test_names_times_and_addresses_stay_as_they_can_be_copied(text: str) -> None:
    assert mrkdwn((Span(text),)) == text


@given(LINES)
def test_only_our_own_dates_and_links_are_tokens(content: Line) -> None:
    assert all(_OURS.fullmatch(token) for token in _TOKENS.findall(mrkdwn(content)))


@given(LINES, st.integers(1, 300))
def test_a_cut_line_fits_and_says_that_it_was_cut(content: Line, limit: int) -> None:
    short = cut(content, limit)
    assert length(mrkdwn(short)) <= limit
    if length(mrkdwn(content)) <= limit:
        assert short == content
    else:
        assert plain(short).endswith("…")


@given(LINES, st.integers(1, 300))
def test_a_cut_never_splits_an_escape_or_a_token(content: Line, limit: int) -> None:
    text = mrkdwn(cut(content, limit))
    assert re.search(r"&(?!amp;|lt;|gt;)", text) is None
    assert text.count("<") == text.count(">")


@given(st.text())
def test_cleaned_text_is_one_printable_encodable_line(text: str) -> None:
    cleaned = clean(text)
    assert "\n" not in cleaned
    assert "\x1b" not in cleaned
    cleaned.encode()


def test_lone_surrogates_and_terminal_escapes_are_replaced() -> None:
    assert (
        clean("a\ud800b\x1b[31mred\u2028c")
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}c"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (line("a & b"), "a &amp; b"),
        (line(bold("FIXED"), " now"), "*FIXED* now"),
        (line(bold("a*b")), "*a\N{ASTERISK OPERATOR}b*"),
        (line(code("remediator undo run_1")), "`remediator undo run_1`"),
        (line(code("a`b")), "`a'b`"),
        (line(bold("")), ""),
        (line(Ref("Runbook", "https://r.example/x?a=1&b=2")), "<https://r.example/x?a=1&amp;b=2|Runbook>"),
        (line(Ref("a|b", "https://r.example")), "<https://r.example|a/b>"),
        (line(Ref("Graph", "javascript:alert(1)")), "Graph javascript:alert(1)"),
        (line(Ref("Graph", "https://r.example|x> <!channel")), "Graph https://r.example|x&gt; &lt;!channel"),
        (line(When(AT)), "<!date^1772593925^{date_short_pretty} {time}|2026-03-04 03:12:05 UTC>"),
    ],
)
def test_mrkdwn_of_a_line(content: Line, expected: str) -> None:
    assert mrkdwn(content) == expected


def test_lists_read_as_english() -> None:
    assert [joined(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_length_counts_as_utf16_does() -> None:
    assert length("aé") == 2
    assert length("\N{ROCKET}") == 2


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\x9b", "\u2066"])
def test_a_link_with_a_hidden_character_in_its_address_is_shown_as_text(hidden: str) -> None:
    shown = mrkdwn(line(Ref("runbook", f"https://a.test/{hidden}x")))
    assert hidden not in shown
    assert not shown.startswith("<")
