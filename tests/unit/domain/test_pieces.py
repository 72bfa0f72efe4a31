"""Long JSON in pieces: the same values and the same refusals as in one go, and never much at once."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from pydantic_core import from_json

from app.domain import pieces
from app.domain.json import ANSWER, beginning, canonical, decoded
from app.domain.pieces import Bounds, TooDeep, TooManyValues

MIB = 1024 * 1024
_LEAVES = (
    b"1",
    b'"a"',
    b"null",
    b'"x, [ y"',
    b'"q\\"w\\\\"',
    b" true ",
    b"-1.5e3",
    b'"' + b"z" * 30 + b'"',
    '"ü"'.encode(),
)
_NAMES = (b'"a"', b'"bb"', b'"ccccccccccccccc"', b'"d\\""')
_BITS = (b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b" ", b'"k":', b"[1,2,3,4,5,6]", b'{"a":1}')  # fmt: skip


def _text(random: Random, depth: int = 0) -> bytes:
    kind = random.random()
    if depth > 4 or kind < 0.4:
        return random.choice(_LEAVES)
    children = [_text(random, depth + 1) for _ in range(random.randint(0, 5))]
    if kind < 0.7:
        return b"[" + random.choice((b",", b" , ")).join(children) + b"]"
    return b"{" + b",".join(random.choice(_NAMES) + b" : " + child for child in children) + b" }"


def _damaged(random: Random, text: bytes) -> bytes:
    found = bytearray(text)
    for _ in range(random.randint(1, 3)):
        at = random.randint(0, len(found))
        if random.random() < 0.5:
            found[at:at] = random.choice(_BITS)
        else:
            del found[at : at + random.randint(1, 3)]
    return bytes(found)


def _said(text: bytes, how: Any) -> Any:
    try:
        return how(text)
    except ValueError:
        return ValueError


def test_in_pieces_a_text_has_the_same_value_or_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 8)
    monkeypatch.setattr(pieces, "_WINDOW", 6)
    random, bounds = Random("pieces"), Bounds(depth=50)
    values = 0
    for number in range(6_000):
        text = _text(random)
        text = _damaged(random, text) if number % 2 else text
        expected = _said(text, from_json)
        values += expected is not ValueError
        assert _said(text, lambda t: pieces.decode(t, from_json, bounds)) == expected, text
    assert values > 3_000


def _filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    return before + unit * ((2 * MIB) // len(unit)) + after


HOSTILE: dict[str, tuple[bytes, type[ValueError] | None]] = {
    "lists": (_filled(b'{"x":[', b"[],", b"0]}"), TooManyValues),
    "nested": (_filled(b'{"x":[', b"[" * 28 + b"]" * 28 + b",", b"0]}"), TooManyValues),
    "keys": (b'{"x":{' + b",".join(b'"%d":0' % n for n in range(150_000)) + b"}}", TooManyValues),
    "numbers": (_filled(b"[", b"1,", b"0]"), TooManyValues),
    "deep": (b"[" * MIB + b"]" * MIB, TooDeep),
    "escapes": (_filled(b'{"a":"', rb"\u0301", b'"}'), None),
    "backslashes": (_filled(b'{"a":"', rb"\\.", b'"}'), None),
    "halves": (_filled(b'{"a":"', rb"\ud800", b'"}'), None),
    "one name": (_filled(b'{"', b"a", b'":1}'), None),
    "blanks": (_filled(b'{"a":1', b" ", b"}"), None),
    "blanks around": (_filled(b" ", b" ", b"[1] "), None),
    "one number": (_filled(b'{"a":', b"1", b"}"), ValueError),
    "no end": (_filled(b'["', b"a", b""), ValueError),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_no_piece_is_long_whatever_the_text_is_made_of(case: str) -> None:
    text, refused = HOSTILE[case]
    bounds = Bounds(values=200_000, containers=50_000, depth=32, string=64 * 1024)
    sizes = []

    def parse(piece: bytes) -> Any:
        sizes.append(len(piece))
        return json.loads(piece)

    if refused is None:
        assert pieces.decode(text, parse, bounds) is not None
    else:
        with pytest.raises(refused):
            pieces.decode(text, parse, bounds)
    # What has too many values is refused before anything is made of it.
    assert max(sizes, default=0) <= (0 if refused in (TooManyValues, TooDeep) else 64 * 1024 + 2)


def test_a_cut_string_is_a_beginning_of_the_whole_one() -> None:
    for unit in ("ü", "\U0001f600", '\\"', "\\u00e4", "\\ud83d\\ude00", "a"):
        text = f'["{unit * 40_000}"]'.encode()
        (found,) = pieces.decode(text, from_json, Bounds(string=50_001))
        assert json.loads(text)[0].startswith(found)
        assert len(found) >= 4_000


def test_answers_of_sources_have_bounds_and_lists_of_the_cluster_wider_ones() -> None:
    text = json.dumps({"items": [{"n": [[]] * 10} for _ in range(25_000)]}).encode()
    assert len(decoded(text)["items"]) == 25_000
    with pytest.raises(TooManyValues):
        decoded(text, ANSWER)


@pytest.mark.parametrize("value", ["x" * 900, {"b": [1, {"c": "y"}], "a": None}, [], 1.5, {"k": "v" * 90}])
def test_the_beginning_of_a_short_value_is_its_canonical_text(value: Any) -> None:
    assert beginning(value, 1_000) == canonical(value)


@pytest.mark.parametrize(
    "value", ["x" * 9_000, {str(n): n for n in range(9_000)}, [[]] * 9_000, {"k" * 9_000: ["v" * 9_000] * 50}]
)
def test_of_a_long_value_the_beginning_is_enough(value: Any) -> None:
    found = beginning(value, 100)
    assert 100 <= len(found) < 500
