"""Command lines of common tools: which of their words are secrets, as a shell, a list of JSON or YAML writes them.

Used by `app.domain.secret_classes`. One walk over the words of a command, also when it names several tools. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

from app.domain import secret_places as places
from app.domain.linear import Linear
from app.domain.secret_names import is_secret_name
from app.domain.secret_quotes import READ
from app.domain.secret_tools import TOOLS, Tool
from app.domain.secret_values import read_in_quote, read_word

Span = tuple[int, int]
_Word = tuple[int, int, str]
"""Where a word stands without its quotes, and what it says."""

_MAX_WORDS = 400
_OF_A_WORD = 100
"""What a word of a command costs, as so many characters."""


_ANY_NAME = "|".join(dict.fromkeys(name for name, _ in TOOLS))
TOOL = rf"\b(?P<tool>{_ANY_NAME})(?:\.exe|\.sh|\.bat)?[\s\"'\\,]"
"""A tool's name, and what stands behind it."""
_NAMED: list[tuple[Any, Tool]] = [
    (re.compile(rf"(?:{name})(?:\.exe|\.sh|\.bat)?"), tool) for name, tool in TOOLS
]
_ANY_TOOL: Any = Linear(rf"(?:{_ANY_NAME})(?:\.exe|\.sh|\.bat)?")
_COMMA = re.compile(
    r"(?:\\{0,31}[\"'])?[ \t]*,(?:\s*(?P<mark>\\{0,31}[\"'])|[ \t]*(?=[^\s\"'\\]))|(?P<closed>\\{0,31}[\"'])[ \t]+(?P<opened>(?P=closed))"
)
"""What stands between two items of a list: a comma, or between two quotes of the same kind nothing, as Go prints one."""
_ITEM = re.compile(r"(?:\\{0,31}[\"'])?[ \t]*(?:#[^\n]*)?\r?\n[ \t]*-[ \t]+")
_FLAG = re.compile(r"-[A-Za-z]{0,3}|--[a-z-]*(?:=.*)?")
_SLASHED = re.compile(r"/[A-Za-z]{1,24}(?::.*)?", re.DOTALL)
_HARMLESS_PASS = re.compile(r"(?:stdin|env:.*|file:.*|fd:.*|fd0)")


def secrets_of_command(match: Any, text: str) -> list[Span]:
    """Where the secrets of the command stand whose tool was found; the last span is empty and tells how far was read."""
    tools = list(_tools_called(match["tool"]))
    found: list[Span] = []
    end = match.end() - 1
    words: list[_Word] = []
    for start, stop, behind in words_behind(text, end):
        end = behind
        READ.work += _OF_A_WORD
        word = text[start:stop]
        words.append((start, stop, word))
        base = word.rpartition("/")[2]
        if len(base) < 40 and _ANY_TOOL.fullmatch(base):
            tools += _tools_called(base)
    for tool in {id(tool): tool for tool in tools}.values():
        if _holds(tool.only, words) and _holds(tool.also, words):
            found += _in_words(tool, words)
    return [*sorted(set(found)), (max(end, match.end()), max(end, match.end()))]


@lru_cache(maxsize=512)
def _tools_called(name: str) -> tuple[Tool, ...]:
    return tuple(tool for named, tool in _NAMED if named.fullmatch(name))


def _holds(wanted: tuple[str, ...], words: list[_Word]) -> bool:
    """Whether one of these words is among those of the command, alone or before a slash; true when none is wanted."""
    return not wanted or any(word.partition("/")[0] in wanted for _, _, word in words)


def words_behind(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    """The words behind a tool's name, as the list, the lines of YAML or the shell writes them."""
    if _COMMA.match(text, at):
        yield from _listed(text, at)
    elif _ITEM.match(text, at):
        for _ in range(_MAX_WORDS):
            item = _ITEM.match(text, at)
            if item is None:
                return
            start, stop, at = read_word(text, item.end())
            if stop == start:
                return
            yield start, stop, at
    else:
        for _ in range(_MAX_WORDS):
            start, stop, behind = read_word(text, at)
            if behind <= at or behind == start:
                return
            yield start, stop, behind
            at = behind


def _listed(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    """The words of a list of JSON or YAML, each in quotes or bare."""
    for _ in range(_MAX_WORDS):
        comma = _COMMA.match(text, at)
        if comma is None:
            return
        if mark := comma["mark"] or comma["opened"]:
            start, at = read_in_quote(text, comma.end(), mark)
            yield start, at, at + len(mark)
        else:
            start = at = comma.end()
            while at < len(text) and text[at] not in ",]}\n":
                at += 1
            yield start, at, at


def _in_words(tool: Tool, words: list[_Word]) -> Iterator[Span]:
    plain = [(number, word) for number, word in _plain(tool, words)]
    yield from _at_places(tool, words, plain)
    yield from _of_pairs(tool, plain)
    yield from _of_names(tool, plain)
    for number, word in enumerate(words):
        if not word[2].startswith(("-", "/") if tool.slashes else "-"):
            continue
        following = words[number + 1] if number + 1 < len(words) else None
        for flag in tool.secrets:
            value = _of_flag(flag, tool, word, following)
            if value and _is_secret(tool, flag, value[2]):
                yield value[0], value[1]
        for flag in tool.users:
            if value := _of_flag(flag, tool, word, following):
                yield from _behind_user(tool, value)


def _plain(tool: Tool, words: list[_Word]) -> Iterator[tuple[int, _Word]]:
    """The words that are neither options nor values of those that take one, and where they stand among all."""
    of_option = False
    for number, word in enumerate(words):
        skipped, of_option = of_option, word[2] in tool.takes
        option = word[2].startswith("-") or (tool.slashes and _SLASHED.fullmatch(word[2]) is not None)
        if not skipped and not option:
            yield number, word


def _at_places(tool: Tool, words: list[_Word], plain: list[tuple[int, _Word]]) -> Iterator[Span]:
    numbers = [at for at, _ in plain] if tool.places else []
    for number, (_, _, word) in [(-1, (0, 0, "")), *enumerate(words)] if tool.places else ():
        if (those := tool.places.get(word)) is None or (not word and number >= 0):
            continue
        first = bisect_right(numbers, number)
        for place in those:
            for _, (start, end, said) in plain[first + place - 1 : first + place]:
                if "=" not in said.rstrip("="):
                    yield start, end


def _of_pairs(tool: Tool, plain: list[tuple[int, _Word]]) -> Iterator[Span]:
    begins: tuple[str, ...] | None = None
    for at, (_, (start, end, word)) in enumerate(plain):
        if (wanted := tool.pairs.get(word)) is not None:
            following = plain[at + 1][1][2] if at + 1 < len(plain) else ""
            begins = wanted if following.startswith(wanted) else begins
        elif begins is not None and "=" in word:
            yield start + word.index("=") + 1, end


def _of_names(tool: Tool, plain: list[tuple[int, _Word]]) -> Iterator[Span]:
    """What stands behind the name of a secret, which may be the last part of a path or of a key."""
    named = False
    for (_, (_, _, word)), (_, (start, end, value)) in pairwise(plain) if tool.named else ():
        named = named or word in tool.named
        last = word[max(word.rfind("/"), word.rfind(":")) + 1 :]
        if named and word not in tool.named and is_secret_name(last) and value:
            yield start, end


def _of_flag(flag: str, tool: Tool, word: _Word, following: _Word | None) -> _Word | None:
    """The value of an option, in its own word or in the next."""
    start, end, said = word
    if said[:2] != flag[:2] and not tool.before:
        return None
    letter = flag[1:] if len(flag) == 2 else ""
    own = said[1 : 1 + len(said[1:]) - len(said[1:].lstrip(tool.before))] if letter and tool.before else ""
    if own and letter in own:
        own = own[: own.index(letter)]
    head = f"{flag[0]}{own}{letter}" if letter else flag
    if said == head:
        other = _SLASHED if flag[0] == "/" else _FLAG
        takes = following is not None and following[2] and not other.fullmatch(following[2])
        return following if takes else None
    if (letter or flag in tool.attached) and said.startswith(head) and not said.startswith("--"):
        skip = len(head) + (said[len(head) : len(head) + 1] in ("=", ":"))
        return (start + skip, end, said[skip:]) if flag[0] == "-" or skip > len(head) else None
    if said.startswith((f"{flag}=", f"{flag}:")):
        return start + len(flag) + 1, end, said[len(flag) + 1 :]
    return None


def _is_secret(tool: Tool, flag: str, said: str) -> bool:
    if flag in tool.jars:
        return "=" in said  # else it is a file of them
    if flag in ("-p", "-P", "-N", "-s", "-t", "-c", "-k") and said.isdigit() and len(said) < 6:
        return False  # a port or a number
    return bool(said) and _HARMLESS_PASS.fullmatch(said) is None


def _behind_user(tool: Tool, value: _Word) -> Iterator[Span]:
    start, end, said = value
    at = said.find(tool.between)
    if 0 <= at < len(said) - 1:
        yield start + at + 1, end


def _of_windows(match: Any, text: str) -> Span | None:
    """The value of `/p:` where it is no property of a build: letters with digits, or any word beside a user."""
    start, end = match.span(match.re.groupindex["secret"])
    word = text[start:end]
    if text.startswith("=", end) or word.isdigit():
        return None
    mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    begin = max(0, start - _AROUND, text.rfind("\n", max(0, start - _AROUND), start))
    last = text.find("\n", end, end + _AROUND)
    around = text[begin : last if last >= 0 else end + _AROUND]
    return (start, end) if mixed or _A_USER.search(around) is not None else None


_AROUND = 200
_A_USER = re.compile(r"/u(?:ser)?:", re.IGNORECASE)


Form = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]
COMMANDS: tuple[Form, ...] = (
    ("command", TOOL, secrets_of_command),
    ("word of a tool", r"""(?i)(?:^|[\s"'])/pw?:["']?(?P<secret>[^\s"'=,;]{4,})""", _of_windows),
    ("word of a tool", r"\bopen\s+-u\s+[^,\s]+,(?P<secret>[^\s\"',;]+)", places.whole),
    ("word of a tool", r"\bftp\b[^\n<]{0,200}<<[^\n]{0,200}?\buser\s+[\w.@-]+\s+(?P<secret>[^\s\"',;]+)", places.whole),
)  # fmt: skip
