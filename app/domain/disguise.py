"""Another way to read a text: as somebody sees it, and as a program that undoes its escapes reads it.

Used by `app.domain.redact`, because a name with an invisible character or an escaped letter in it is the same name to whoever
reads it. What is read is only searched and never shown: each character knows where it stands in the text itself. Costs time in
proportion to the text, and a text without disguises costs one look. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.domain.text import CONTROL

ROUNDS = 3
"""Escapes inside escapes that are undone, such as `%253D` or a colour in a JSON text."""
_ANY = re.compile(r"[^\x20-\x7e\n]|[\\%&]")
_UNSEEN = re.compile(
    rf"\x1b\[[0-9;:?]{{0,32}}[A-Za-z]|\x1b\][^\x07\x1b]{{0,512}}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|{CONTROL.pattern}"
)
_STYLED = re.compile(
    "[\u00a0-\u00bf\u2000-\u2bff\u3000-\u303f\ufb00-\uffef\U0001d400-\U0001d7ff\U0001f100-\U0001f2ff]"
)
"""Where Unicode has full-width, styled, circled and combined forms of ASCII characters."""
_ESCAPED = re.compile(
    r"\\{1,8}(?P<c>[nrt])|(?P<utf8>(?:%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){1,3}){1,64}|(?:\\{1,8}x[c-fC-F][0-9A-Fa-f](?:\\{1,8}x[89abAB][0-9A-Fa-f]){1,3}){1,64})|(?P<oct8>(?:\\{1,8}3[0-7]{2}(?:\\{1,8}2[0-7]{2}){1,3}){1,64})|\\{1,8}(?:o\{0{0,4}(?P<o>0?4[0-7]|0?[5-7][0-7]|1[0-6][0-7]|17[0-6])\}|0?(?P<o3>0[4-7][0-7]|1[0-6][0-7]|17[0-6]))|\\{1,8}u\{(?P<b>[0-9A-Fa-f]{2,5})\}|\\{1,8}u(?P<u>[0-9A-Fa-f]{4})|\\{1,8}x(?P<x>[0-7][0-9A-Fa-f])|%(?P<p>[2-7][0-9A-Fa-f])"
    r"|&(?:amp;)?(?:#0{0,8}(?P<d>[3-9][0-9]|1[01][0-9]|12[0-6])|#[xX]0{0,8}(?P<h>[2-7][0-9A-Fa-f])|(?P<n>quot|apos|lt|gt|amp|equals|colon));"
)
"""A character as JSON, programs, shells (in octal), URLs and HTML escape it; beyond ASCII as JSON does, and as the bytes of UTF-8."""
_OCTAL = re.compile(r"[23][0-7]{2}")
_HEX = re.compile(r"[%x]([0-9A-Fa-f]{2})")
_BREAKS = re.compile(r"\\{1,8}(?=[nrt])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_NAMED = {"quot": '"', "apos": "'", "lt": "<", "gt": ">", "amp": "&", "equals": "=", "colon": ":"}

_Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as it reads. `places` has for each of its characters, and for its end, where that stands in the text itself; `edits` is
    how many of its signs read otherwise, which is what the reading cost."""

    text: str
    places: Sequence[int]
    edits: int = 0

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of the reading stands in the text itself."""
        return self.places[start], self.places[end]


def undisguised(text: str) -> Reading | None:
    """`text` without what nobody sees, with styled letters as plain ones and its escapes undone; None where it has none of that."""
    if _ANY.search(text) is None:
        return None
    read = Reading(text, range(len(text) + 1))
    depth = min(map(len, _BREAKS.findall(text)), default=0)
    for _ in range(ROUNDS):
        before = read.text
        read = _edited(read, _unseen(read.text))
        read = _edited(read, _plain_letters(read.text))
        read = _edited(read, _look_alikes(read.text))
        read = _edited(read, _unescaped(read.text, depth))
        if read.text == before:
            break
    return None if read.text == text else read


def without_unseen(text: str) -> Reading | None:
    """`text` without what nobody sees, colours above all; None where it has none of that."""
    if text.isascii() and text.isprintable():
        return None
    read = _edited(Reading(text, range(len(text) + 1)), _unseen(text))
    return read if read.edits else None


def _edited(read: Reading, edits: Iterator[_Edit]) -> Reading:
    parts: list[str] = []
    places: list[int] = []
    at = count = 0
    for start, end, new in edits:
        count += 1
        parts += read.text[at:start], new
        places += read.places[at:start]
        places += [read.places[start]] * len(new)
        at = end
    if not parts:
        return read
    text = "".join([*parts, read.text[at:]])
    return Reading(text, [*places, *read.places[at:]], read.edits + count)


def _unseen(text: str) -> Iterator[_Edit]:
    return ((*match.span(), "") for match in _UNSEEN.finditer(text))


def _plain_letters(text: str) -> Iterator[_Edit]:
    if text.isascii():
        return
    for match in _STYLED.finditer(text):
        if plain := _plain_letter(match[0]):
            yield (*match.span(), plain)


_LIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u043a\u0501\u051d\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0405\u03bf\u03b1\u03c1\u039f\u0391\u03a1\u0395\u039a\u03a4\u039d",
    "aeopcyxijskdwABEKMHOPCTYXISoapOAPEKTN",
)
_SIGNS_LIKE = "".join(map(chr, _LIKE))
_BESIDE_ASCII = re.compile(f"(?<=[A-Za-z])[{_SIGNS_LIKE}]{{1,32}}|[{_SIGNS_LIKE}]{{1,32}}(?=[A-Za-z])")
"""Letters of Cyrillic and Greek that look as ASCII's do, in a word with such."""


def _look_alikes(text: str) -> Iterator[_Edit]:
    if text.isascii():
        return
    for match in _BESIDE_ASCII.finditer(text):
        yield (*match.span(), match[0].translate(_LIKE))


@lru_cache(maxsize=4_096)
def _plain_letter(letter: str) -> str:
    """The ASCII form of a letter; empty when it has none of at most three characters. A line of a drawn table is the sign that stands for
    it in a plain one."""
    if "\u2500" <= letter <= "\u257f":
        name = unicodedata.name(letter)
        return "|" if name.endswith("VERTICAL") else "-" if name.endswith("HORIZONTAL") else "+"
    plain = unicodedata.normalize("NFKC", letter)
    return plain if plain.isascii() and len(plain) <= 3 else ""


def _unescaped(text: str, depth: int) -> Iterator[_Edit]:
    """`depth` backslashes make a line break; more of them are a text of their own that was escaped again."""
    for match in _ESCAPED.finditer(text):
        if control := match["c"]:
            if len(match[0]) - 1 != depth:
                continue
            yield (*match.span(), _CONTROLS[control])
            continue
        if name := match["n"]:
            yield (*match.span(), _NAMED[name])
            continue
        if encoded := match["utf8"]:
            yield (*match.span(), bytes.fromhex("".join(_HEX.findall(encoded))).decode("utf-8", "replace"))
            continue
        if encoded := match["oct8"]:
            octets = bytes(int(octet, 8) for octet in _OCTAL.findall(encoded))
            yield (*match.span(), octets.decode("utf-8", "replace"))
            continue
        code = _code_of(match)
        if not 0xD800 <= code < 0xE000:
            yield (*match.span(), chr(code))


def _code_of(match: re.Match[str]) -> int:
    if decimal := match["d"]:
        return int(decimal)
    if octal := match["o"] or match["o3"]:
        return int(octal, 8)
    return int(match["u"] or match["b"] or match["x"] or match["p"] or match["h"], 16)
