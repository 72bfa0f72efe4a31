"""Quotes, escapes and brackets in a line that no parser knows: where a quote closes at any depth, and where a bare word ends.

Used by `app.domain.secret_values`. Walks forward, and looks a bounded way back. Counts what the readers of a thread have read (`READ`), so
that who asks them can tell what that cost; else pure.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

Span = tuple[int, int]
_NEXT_NAME = re.compile(r"[&,;]\s{0,16}\\{0,31}[\"']?[\w.-]{1,64}\\{0,31}[\"']?\s{0,16}[=:]")
_NEW_LINE = re.compile(
    r"\\+[nrt](?:\s|$|[}\])]|-\s|\\*[\"'](?!\w)|\\+[nrt]|[\w.-]{1,64}\\{0,31}[\"']?\s{0,4}[=:])"
)
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_PLAIN = re.compile(r"[^\s\\\"'&,;]+")
_ENDS = ",;&)]}>|<:=\\\"'"
"""Signs behind a quote that say that it was the last of its value."""
_ENDS_BUT_QUOTES = ",;&)]}>|<:=\\"
_LOOK_BACK = 1_000
LOOK_AHEAD = 2_000
_DEEPEST = 64


class _Read(threading.local):
    """What the readers of this thread have read, in characters: one that is looked at by itself counts one, of those that are only
    searched for a sign _SEARCHED together do."""

    work = 0


READ = _Read()
_SEARCHED = 64


def end_of_line(text: str, at: int) -> int:
    """Where the line of `at` ends."""
    end = text.find("\n", at)
    end = end if end >= 0 else len(text)
    READ.work += 1 + max(0, end - at) // _SEARCHED
    return end


def closing_quote(text: str, at: int, depth: int, quote: str) -> Span | None:
    """Where the value ends and where its closing mark does, which is `quote` behind `depth` backslashes. In a text inside a text
    an escaped quote has more of them. One with fewer closes the text around it; one of which nobody can tell ends the line."""
    unit, escaped = (2 * depth + 4, 2) if depth and not depth & 1 else (2 * depth + 2, 1)
    position = searched = at
    while (position := text.find(quote, position)) >= 0:
        run = _backslashes_before(text, at, position)
        READ.work += 4 + run + (position - searched) // _SEARCHED
        searched = position
        if run <= depth:
            return position - run, position + 1 if run == depth else position - run
        if run % unit != unit - escaped or (
            not depth and quote == "'" and text[position + 1 : position + 2] in ("'", '"')
        ):
            end = end_of_line(text, position)
            return end, end
        position += 1
    READ.work += (len(text) - searched) // _SEARCHED
    return None


def backslashes(text: str, at: int) -> int:
    """How many stand at `at`, 64 at most."""
    number = 0
    while number < _DEEPEST and text.startswith("\\", at + number):
        number += 1
    return number


def _backslashes_before(text: str, least: int, at: int) -> int:
    number = 0
    while number < _DEEPEST and at - number - 1 >= least and text[at - number - 1] == "\\":
        number += 1
    return number


def line_end(text: str, at: int, end: int) -> int:
    """`end`, or the end of its line when that is not the line of `at`."""
    return end if "\n" not in text[at:end] else end_of_line(text, end)


def closing(text: str, at: int) -> int:
    """Behind the bracket that closes the one at `at`; brackets inside quotes do not count. Unclosed: the end."""
    end = _closing(text, at)
    READ.work += end - at
    return end


def _closing(text: str, at: int) -> int:
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
        elif char in "[{(":
            stack.append(_BRACKETS[char])
        elif stack and char == stack[-1]:
            stack.pop()
            if not stack:
                return position + 1
        position += 1
    return len(text)


_TEMPLATE = re.compile(r"[$%#@]\{|\$\[|\$?\{[{%]|<%")
_BLOCK = re.compile(r"(?:\{\{|\{%|<%)[-~+#]?[ \t]{0,8}#?(?:if|unless|with|range|for|case)\b")
_BLOCK_ENDS = re.compile(
    r"\{\{[-~]?[ \t]{0,8}(?:end|/\w{1,16})[ \t]{0,8}[-~]?\}\}|\{%[-+]?[ \t]{0,8}end\w{0,16}[ \t]{0,8}[-+]?%\}|<%-?[ \t]{0,8}end[ \t]{0,8}-?%>"
)


def through_templates(text: str, at: int, end: int) -> int:
    """`end`, or where the last bracket of a template closes that opens before it: what stands in one has blanks. One that closes nowhere on its line
    takes the rest of it."""
    while opened := _TEMPLATE.search(text, at, end):
        line = end_of_line(text, opened.start())
        within = text[opened.start() : min(line, opened.start() + LOOK_AHEAD)]
        if _BLOCK.match(within):
            closed = max((found.end() for found in _BLOCK_ENDS.finditer(within)), default=0)
        elif within.startswith("<%"):
            closed = within.find("%>") + 2 if "%>" in within else 0
        else:
            begun = within.index("[" if within.startswith("$[") else "{")
            closed = begun + closing(within[begun:], 0)
            closed = closed if within[closed - 1] in "}]" else 0
        at = opened.start() + closed if closed else line
        if at > end:
            end = max(at, bare(text, at))
        READ.work += len(within) // _SEARCHED
    return end


def is_open(text: str, at: int, mark: str) -> bool:
    """Whether a quote that is written as `mark` is open at `at`, going by their number before it on the line."""
    least = max(0, at - _LOOK_BACK)
    return bool(text.count(mark, text.rfind("\n", least, at) + 1 or least, at) % 2)


def goes_on(text: str, at: int) -> bool:
    """Whether a value goes on at `at`, right behind a quote."""
    return bool(text[at : at + 1].strip()) and text[at] not in _ENDS


def bare(text: str, at: int, *, alone: bool = False) -> int:
    """The end of an unquoted value: a blank, a quote that closes what the value stands in, or a separator before the next
    `name=`. What a backslash escapes belongs to it, and what is quoted within. `alone`: no other name follows."""
    return _word(text, at, 0, _Place(at, behind=False, alone=alone))


def joined(text: str, at: int, depth: int) -> int:
    r"""Where a shell's word ends whose first quote has closed before `at`: `'ab'\''cd'`, `"ab"'cd'ef`."""
    return _word(text, at, depth, _Place(at, behind=True))


@dataclass(slots=True)
class _Place:
    """Where a reader is in a word. `behind`: right behind a quote that has closed. `sure`: the next quote opens one, as the last
    piece was a quote that had to be written by itself."""

    at: int
    behind: bool
    sure: bool = False
    alone: bool = False


def _word(text: str, start: int, depth: int, place: _Place) -> int:
    while place.at < len(text):
        READ.work += 4
        if not place.behind and (plain := _PLAIN.match(text, place.at)):
            READ.work += (plain.end() - place.at) // 8
            place.at, place.sure = plain.end(), False
            continue
        at = place.at
        run = backslashes(text, at)
        sign = text[at + run : at + run + 1]
        if sign and sign in "\"'":
            if not _past_quote(text, start, (depth, run, sign), place):
                return at
        elif run:
            if not sign or (sign in "nrtu" and place.behind) or (sign in "nrt" and _NEW_LINE.match(text, at)):
                return at
            place.at, place.behind, place.sure = at + run + 1, False, False
        elif (
            sign.isspace()
            or (place.behind and not _goes_on_with(text, at))
            or (sign in "&,;" and not place.alone and _NEXT_NAME.match(text, at))
        ):
            return at
        else:
            place.at, place.behind, place.sure = at + 1, False, False
    return place.at


def _goes_on_with(text: str, at: int) -> bool:
    """Whether a word goes on with this sign, right behind a quote."""
    return text[at].isalnum() or (text[at] in ".:/-_%+@~!?*#^$=" and text[at + 1 : at + 2].isalnum())


def _past_quote(text: str, start: int, quote: tuple[int, int, str], place: _Place) -> bool:
    """Whether the word goes on with the quote at this place; then the place is behind it, or behind what it holds."""
    depth, run, sign = quote
    at, after = place.at, place.at + run + 1
    following = text[after : after + 1]
    ended = _ended(text, after)
    if not place.sure:
        if place.behind and run and sign == "'" and run >= depth and (not ended or following == "'"):
            place.at, place.behind, place.sure = after, True, True
            return True
        if place.behind and (
            run < depth or not following or following.isspace() or following in _ENDS_BUT_QUOTES
        ):
            return False
        literal = run and sign == "'"
        ended = ended and not (literal and following == "\\")
        if not place.behind and (
            at == start or not following or literal or is_open(text, at, text[at:after])
        ):
            more = (at > start or literal) and not ended and (run or following.isalnum())
            return _past(place, after) if more else False
    closed = closing_quote(text, after, run, sign)
    if closed is None or text.find("\n", at, closed[1]) >= 0:
        if not place.behind and not place.sure:
            return _past(place, after) if run or following.isalnum() else False
        place.at = end_of_line(text, at)
        return True
    place.sure = not text[after : closed[0]].strip("\"'\\")
    place.at, place.behind = closed[1], True
    return True


def _ended(text: str, at: int) -> bool:
    """Whether what stands behind a quote says that it was the last of its value."""
    sign = text[at : at + 1]
    if sign != "\\":
        return not sign or sign.isspace() or sign in _ENDS
    behind = at + backslashes(text, at)
    return not text[behind : behind + 1] or text[behind] in "\"'nrt"


def _past(place: _Place, at: int) -> bool:
    place.at, place.behind, place.sure = at, False, False
    return True
