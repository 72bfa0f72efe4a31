"""What the readers of secrets read is in proportion to the text, counted and not timed; a reader that reads on and on has the rest hidden."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import re2

from app.domain import redact as redaction
from app.domain.linear import Linear
from app.domain.redact import Effort, redact
from app.domain.secret_classes import SecretClass
from app.domain.secret_quotes import READ, end_of_line
from app.domain.secret_words import made_up

_CORPUS = Path(__file__).parents[2] / "data" / "redaction" / "secrets.txt"
_TAILS = ("", "x ", '"', "'", "(", "[{", ", ", "\n", '\\"', 'x", "')
_KNOWN = (
    '("a_token", "', "('password', '", '["api_key", "x', '"AUTH" "', ': PSK ""', "password='ab'\"\"", 'the token "\'', '+ app --password \'ab\'"\'"\' \'',
    'Cookie: sid=x", "', 'jwt.encode(payload, ""', "set app.jwt_secret to ''", "DB_PASSWORD was changed from ", "password mismatch: got ",
    "tokens:\n- x\n", "- x\ntokens:\n", "The following token can be used: (", 'Token { value: Some("\n', "pwd=/a1 ",
    "secrets: is x ", "secrets:abcd0001,", "secrets: a b=", "x-secrets: {a: ", "secrets:\n  - ", "- secrets:\n", "secrets: '", "--secrets a ", "pins: 1, ",
)  # fmt: skip
"""Openings that had readers read to the end of the text again and again."""


def _openings() -> list[str]:
    """What stands before the secrets of the corpus, each shape once, with each of the tails in turn."""
    found: dict[str, str] = {}
    for line in _CORPUS.read_text(encoding="utf-8").splitlines():
        opening = line.partition("«")[0].replace("⏎", "\n")[-60:]
        if opening and not line.startswith("# "):
            found.setdefault(re.sub(r"[\w.-]+", "w", opening), opening)
    return [f"{opening}{_TAILS[n % len(_TAILS)]}" for n, opening in enumerate(found.values())][::3]


def _work(unit: str, length: int) -> int:
    before = READ.work
    redact((unit * (length // len(unit) + 1))[:length])
    return READ.work - before


@pytest.mark.parametrize("unit", [*_KNOWN, *_openings()])
def test_what_is_read_of_a_text_is_in_proportion_to_its_length(unit: str) -> None:
    short, long = _work(unit, 5_000), _work(unit, 5_000 + 5_000 // len(unit) * len(unit))  # with the same end
    assert long <= 3 * short + 6_000, "four times as much would be by its square"


def _reads_on(_match: Any, text: str) -> None:
    """A reader that counts all signs of the text for each match, and declines."""
    READ.work += len(text)
    end_of_line(text, 0)


def test_of_a_text_that_has_a_reader_read_on_and_on_the_rest_is_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pattern = Linear("@")
    kinds = (SecretClass("reads on", pattern, _reads_on, far=True), *redaction.CLASSES[1:])
    monkeypatch.setattr(redaction, "CLASSES", kinds)
    monkeypatch.setattr(redaction, "_present", lambda _: frozenset({0}))
    text = "begin " + "@ " * 5_000 + "end"
    before = READ.work
    shown = redact(text)
    assert shown.startswith("begin @ ")
    assert shown.endswith("[redacted]")
    assert READ.work - before < 300 * len(text)
    assert redact("begin @ end") == "begin @ end"


def test_a_sender_pays_for_what_is_read_and_not_for_places_alone() -> None:
    text, places = '"AUTH" "' * 400, Effort(1_000_000)
    before = READ.work
    redact(text, places)
    read = READ.work - before
    assert read > 10_000
    assert 1_000_000 - places.left >= read // 256


def test_of_a_long_word_the_beginning_tells_whether_it_was_made_up() -> None:
    assert made_up("aB3d" * 200)
    assert not made_up("a" * 600 + "B3d")


@pytest.mark.parametrize("text", ["", "a=1;b=22", "\u200ba=1 \u00e9b=22\u2003c=3", "aaa", "b"])
@pytest.mark.parametrize("pattern", [r"(?P<name>\w)=(?P<value>\d+)?", r"a*", r"(x)|(?P<name>b)"])
def test_a_linear_pattern_finds_what_the_library_finds(pattern: str, text: str) -> None:
    ours, theirs = Linear(pattern), re2.compile(pattern)  # type: ignore[no-untyped-call]
    for at in range(len(text) + 2):
        found = [(m.span(), m.groups(), m.groupdict(), m[0]) for m in ours.finditer(text, at)]
        assert found == [(m.span(), m.groups(), m.groupdict(), m[0]) for m in theirs.finditer(text, at)]
        for way in ("search", "match", "fullmatch"):
            one, other = getattr(ours, way)(text, at), getattr(theirs, way)(text, at)
            assert (one and (one.span(), one.groups())) == (other and (other.span(), other.groups()))
