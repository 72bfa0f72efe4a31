"""Numbers as they are shown."""

from __future__ import annotations

import pytest

from remediations.evidence.usage import count, joined, millicores, percent, seconds, short, span


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (45.4, "45 s"),
        (99, "99 s"),
        (100, "2 min"),
        (840, "14 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (172_799, "2 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_span_has_two_units_at_most(length: float, text: str) -> None:
    assert span(length) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0854, "85 ms"), (0.9996, "1000 ms"), (1.84, "1.84 s"), (12.4, "12 s")]
)
def test_a_response_time_has_the_unit_that_fits(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.004, "0.4 %"), (0.05, "5 %"), (0.123, "12 %"), (2.76, "276 %")]
)
def test_a_share_is_in_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(250, "250m"), (1000, "1 core"), (1500, "1.5 cores"), (2000, "2 cores")]
)
def test_cpu_is_in_millicores_or_cores(value: int, text: str) -> None:
    assert millicores(value) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"), [(1, "pod", "1 pod"), (0, "pod", "0 pods"), (12_345, "pod", "12,345 pods")]
)
def test_a_count_agrees_with_its_noun(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


def test_a_count_takes_an_irregular_plural() -> None:
    assert count(2, "query", "queries") == "2 queries"


def test_a_long_text_is_cut_on_one_line() -> None:
    assert short("one\n two   three", 9) == "one two…"
    assert short("one\ntwo", 9) == "one two"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["Revision 2 came", "", "Memory grows"], "Revision 2 came; memory grows"),
        (["A", "ConfigMap x is missing"], "A; ConfigMap x is missing"),
        (["", ""], ""),
    ],
)
def test_sentences_are_joined_into_one(parts: list[str], text: str) -> None:
    assert joined(parts) == text
