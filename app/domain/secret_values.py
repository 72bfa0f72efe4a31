"""Where a value begins and ends in a line that no parser knows: quoted, in brackets, or bare.

Used by `app.domain.redact`. Every reader walks forward once from where it is told to begin. Pure.
"""

from __future__ import annotations

import re

_OPEN = re.compile(r"[bBuUrRfF]?(\\{0,16})([\"'])")
_EMPTY = re.compile(
    r"(?:null|none|nil|<nil>|<none>|true|false|undefined|\*{3,}|<redacted>)(?![^\s\"'\\,;&}\])])",
    re.IGNORECASE,
)
_COUNT = re.compile(r"[\"']?\d{1,9}(?:\.\d+)?(?![\w.-])")
_NEXT_NAME = re.compile(r"[&,;]\s{0,16}\\{0,16}[\"']?[\w.-]{1,64}\\{0,16}[\"']?\s{0,16}[=:]")
_BLOCK = re.compile(r"[|>][+-]?[ \t]*\r?\n(?P<indent>[ \t]+)")
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_SCHEMES = re.compile(r"(?:digest|aws4-hmac-sha256|hawk|oauth|ntlm|negotiate)\b[^\r\n]*", re.IGNORECASE)
_LINE = re.compile(r"[^\"'\\\r\n]*")
_WORD = re.compile(r"\"[^\"\r\n]*\"?|'[^'\r\n]*'?|[^\s\"'|;]+")

Span = tuple[int, int]


def read_value(text: str, at: int, *, counts: bool = False) -> Span | None:
    """The span of the value that begins at `at`, without its quotes; None when it is empty, or a count if `counts`."""
    if counts and _COUNT.match(text, at):
        return None
    if _EMPTY.match(text, at):
        return None
    if opened := _OPEN.match(text, at):
        return _quoted(text, opened)
    if block := _BLOCK.match(text, at):
        return block.end(), _end_of_block(text, block.end(), block["indent"])
    if text[at : at + 1] in _BRACKETS and at < len(text):
        return at, _line_end(text, at, _bare(text, _closing(text, at)))
    end = _bare(text, at)
    return (at, end) if end > at else None


def _quoted(text: str, opened: re.Match[str]) -> Span | None:
    """Up to the same quote; one that is escaped or doubled belongs to the value. Unclosed it ends with the text. When it
    closes on another line, the rest of that line and the opening quote belong to it too: perhaps nobody closed it, and the
    quote was the first of a pair that holds another secret."""
    at, (escape, quote) = opened.end(), opened.groups()
    mark = escape + quote
    end = at
    while (end := text.find(mark, end)) >= 0:
        escaped = end > at and _odd_backslashes(text, at, end)
        doubled = end > at and not escape and text.startswith(quote, end + 1)
        goes_on = not escape and end > at and text[end + 1 : end + 2].isalnum()
        if escaped or goes_on:
            end += len(mark)
        elif doubled:
            end += 2
        else:
            if (line_end := _line_end(text, at, end)) != end:
                return opened.start(), line_end
            return (at, end) if end > at else None
    return (at, len(text)) if at < len(text) else None


def _line_end(text: str, at: int, end: int) -> int:
    """`end`, or the end of its line when that is not the line of `at`."""
    if "\n" not in text[at:end]:
        return end
    newline = text.find("\n", end)
    return newline if newline >= 0 else len(text)


def _odd_backslashes(text: str, at: int, end: int) -> bool:
    number = 0
    while number < 64 and end - number - 1 >= at and text[end - number - 1] == "\\":
        number += 1
    return number % 2 == 1


def _closing(text: str, at: int) -> int:
    """Behind the bracket that closes the one at `at`; brackets inside quotes do not count. Unclosed: the end."""
    stack: list[str] = []
    quote = ""
    position = at
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in _BRACKETS:
            stack.append(_BRACKETS[char])
        elif stack and char == stack[-1]:
            stack.pop()
            if not stack:
                return position + 1
        position += 1
    return len(text)


def _bare(text: str, at: int) -> int:
    """The end of an unquoted value: a blank, a quote that closes, a backslash, or a separator before the next `name=`."""
    position = at
    while position < len(text):
        char = text[position]
        if char.isspace() or char == "\\":
            break
        if char in "\"'" and not (position > at and text[position + 1 : position + 2].isalnum()):
            break
        if char in "&,;" and _NEXT_NAME.match(text, position):
            break
        position += 1
    return position


def _end_of_block(text: str, at: int, indent: str) -> int:
    end = at
    while True:
        newline = text.find("\n", end)
        if newline < 0:
            return len(text)
        if not text.startswith(indent, newline + 1):
            return newline
        end = newline + 1


def read_header(text: str, at: int) -> Span | None:
    """The value of a header: inside its quotes, else up to a quote, or the whole line for schemes with quoted parts."""
    if opened := _OPEN.match(text, at):
        return _quoted(text, opened)
    if text[at : at + 1] in ("[", "("):
        return at, _line_end(text, at, _closing(text, at))
    found = _SCHEMES.match(text, at) or _LINE.match(text, at)
    return found.span() if found and found.end() > at else None


def read_word(text: str, at: int) -> Span:
    """One word of a command line, without its quotes; empty when there is none."""
    while at < len(text) and text[at] in " \t":
        at += 1
    found = _WORD.match(text, at)
    if found is None or found[0].startswith("-"):
        return at, at
    quoted = found[0][0] in "\"'"
    closed = quoted and len(found[0]) > 1 and found[0][-1] == found[0][0]
    return at + int(quoted), found.end() - int(closed)


def random_looking(word: str) -> bool:
    """Whether a user name in a URL is rather a token: long, with digits between letters."""
    has = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    return len(word) >= 24 or (len(word) >= 12 and has)
