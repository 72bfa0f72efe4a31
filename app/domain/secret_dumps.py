"""Secrets as debuggers and serialisers write them: behind a type or a length, in PHP's own form, in tuples, in Redis' protocol and its
monitor, in messages of protobuf.

Used by `app.domain.secret_classes`; the forms are as in `secret_forms`. Every reader walks forward a bounded way. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Any

from app.domain import secret_places as places
from app.domain.secret_commands import words_behind
from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import end_of_line
from app.domain.secret_refusals import A_TYPE
from app.domain.secret_types import OF_A_NAME
from app.domain.secret_values import read_quoted, read_value
from app.domain.secret_words import made_up

Span = tuple[int, int]
Form = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]
_Q = r"""(?:\\{0,16}["'])"""
_NAME = r"(?P<name>[A-Za-z_.][\w.-]*)"
_LINE = 400


def _behind_type(match: Any, text: str) -> Span | None:
    """The value behind a name and its type; a sentence about it stays."""
    said = match["type"].strip("()[]<> \t")
    if not is_secret_name(match["name"]) or not (match["bare"] or OF_A_NAME.fullmatch(said)):
        return None
    at = match.end()
    line = text[at : min(at + _LINE, end_of_line(text, at))]
    first = line.partition(" ")[0].rstrip(".,;:)")
    if says_state(match["name"], line) or harmless_word(first) or first.lower() in _ABOUT:
        return None
    return read_value(text, at)


def _beside_type(match: Any, text: str) -> Span | None:
    """The value behind a name and its type with nothing but space between: in quotes, or a word alone, or one that somebody made up. What
    goes on as a sentence describes an option."""
    said = match["type"] or match["round"] or match["square"]
    if not is_secret_name(match["name"]) or not OF_A_NAME.fullmatch(_CLASS.sub("", said).strip("'\"")):
        return None
    at = match.end()
    if found := read_quoted(text, at):
        return found
    line = text[at : min(at + _LINE, end_of_line(text, at))]
    word, space, rest = line.partition(" ")
    word = word.rstrip("\"'}])>.,;")
    about = harmless_word(word) or word.lower() in _ABOUT or is_secret_name(word) or A_TYPE.fullmatch(word)
    if not word or about or says_state(match["name"], line):
        return None
    alone = not space or line.startswith(f"{word},") or _ANOTHER_NAME.match(rest) is not None
    return (at, at + len(word)) if alone or made_up(word) else None


_CLASS = re.compile(r"^(?:class|type)[ \t]+")
_ANOTHER_NAME = re.compile(r"[A-Za-z_][\w.-]{0,60}[ \t]*(?:[=:]|[<(\[][a-z])")

_ABOUT = frozenset({"the", "a", "an", "your", "this", "its", "optional", "default", "min", "max", "minimum", "maximum", "length", "same", "if", "when", "used", "must"})  # fmt: skip
"""Words that begin a description."""


def _serialised(match: Any, text: str) -> Span | None:
    """What PHP serialised under the name of a secret: as long as it says, else what is quoted."""
    name = _BEFORE_NAME.split(match["name"])[-1]
    if not is_secret_name(name):
        return None
    at, length = match.end(), match["length"]
    if length is None:
        end = at
        while end < len(text) and end - at < _LINE and (text[end].isdigit() or text[end] in "-.eE"):
            end += 1
        return (at, end) if end > at else None
    mark = _MARK.match(text, at)
    if mark is None:
        return None
    end = mark.end() + int(length[:6])
    return (mark.end(), end) if end > mark.end() and text.startswith(mark[0], end) else read_quoted(text, at)


_BEFORE_NAME = re.compile(r"\\{1,16}(?:0|x00|u0000)|[\x00*]")
"""Before the name of a private member stand its class and signs that nobody sees."""
_MARK = re.compile(r"\\{0,16}[\"']")


def _in_a_tuple(match: Any, text: str) -> Span | None:
    """The second of two words in brackets, the first of which is a name: no arguments of a function, and no list of names."""
    start, end = places.place(match, "secret")
    word = text[start:end]
    if not is_secret_name(match["name"]) or is_secret_name(word) or A_TYPE.fullmatch(word):
        return None
    if harmless_word(word) or word.lower() in _OTHER_NAMES or (match["gap"] and not made_up(word)):
        return None
    return start, end


_OTHER_NAMES = frozenset({"user", "username", "email", "name", "id", "type", "value", "login", "host", "port", "role", "roles", "url", "salt", "hash", "key", "code", "state", "expiry", "ttl", "err", "error", "ctx", "req", "res", "next"})  # fmt: skip


def _named_line(match: Any, _text: str) -> Span | None:
    """A value of Redis' protocol behind the name of a secret, which may be the last part of a key."""
    return places.place(match, "secret") if is_secret_name(_last_part(match["name"])) else None


def _last_part(name: str) -> str:
    return name[max(name.rfind("/"), name.rfind(":")) + 1 :]


_MAX_WRITTEN = 64


def _written(match: Any, text: str) -> list[Span]:
    """The values that a command of Redis writes under names of secrets: fields of a hash, or keys."""
    command = (match["command"] or match["quoted"]).lower()
    first, step, value = _WRITES.get(command, (0, _MAX_WRITTEN, 1))
    words = list(islice(words_behind(text, match.end() - 1), _MAX_WRITTEN))
    found: list[Span] = []
    for at in range(first, len(words) - value, step):
        name = _last_part(text[slice(*words[at][:2])])
        start, end, _ = words[at + value]
        said = text[start:end]
        about = (said.isupper() and said.isalpha()) or harmless_word(said) or not any(map(str.isalnum, said))
        if _A_NAME.fullmatch(name) and is_secret_name(name) and not about:
            found.append((start, end))
    end = words[-1][2] if words else match.end()
    return [*found, (max(end, match.end()),) * 2]


_WRITES = {
    **dict.fromkeys(("hset", "hmset", "hsetnx"), (1, 2, 1)),
    **dict.fromkeys(("mset", "msetnx"), (0, 2, 1)),
    **dict.fromkeys(("setex", "psetex"), (0, _MAX_WRITTEN, 2)),
}
"""Which word is the first name, how far the next one is, and how far its value."""
_A_NAME = re.compile(r"[\w.-]{1,128}")
_END = r"(?:\r?\n|\\{1,8}r\\{1,8}n)"

DUMPS: tuple[Form, ...] = (
    ("typed", rf"""{_NAME}{_Q}?[ \t]*(?P<type>\([^()\n]{{1,48}}\)|\[[^\[\]\n]{{1,32}}\]|<[^<>\n]{{1,32}}>|(?P<bare>(?i:n?varchar2?|n?char|text|string|character varying)\b(?:[ \t]*\([^()\n]{{1,16}}\))?|(?i:len|length|size)[=:][ \t]?\d{{1,6}}[ \t]+(?i:value|val)))[ \t]*:?={{0,2}}[:=][ \t]*""", _behind_type),
    ("typed", rf"""{_NAME}{_Q}?[ \t]+(?:<(?P<type>[^<>\n]{{1,48}})>|\((?P<round>[^()\n]{{1,48}})\)|\[(?P<square>[^\[\]\n]{{1,32}})\])[ \t]+""", _beside_type),
    ("serialised", rf"""\bs:\d{{1,9}}:{_Q}(?P<name>[^"';\n]{{1,160}}?){_Q};(?:s:(?P<length>\d{{1,9}}):|[id]:)""", _serialised),
    ("serialised", r"""(?P<name>[A-Za-z_][\w.-]*)\|(?:s:(?P<length>\d{1,9}):|[id]:)""", _serialised),
    ("tuple", r"""(?:^|[\s(\[,={:>])\((?P<name>[A-Za-z_][\w.-]*),(?P<gap>[ ]?)(?P<secret>[^\s()"',]{3,})\)""", _in_a_tuple),
    ("message", rf"""(?i)\b(?:name|key){_Q}?[ \t]*:[ \t]*{_Q}{_NAME}{_Q}[ \t]*,?\s+{_Q}?value{_Q}?[ \t]*:?[ \t]*\{{\s*{_Q}?\w{{1,40}}{_Q}?[ \t]*:[ \t]*""", places.named_value),
    ("Redis", rf"""\$\d{{1,9}}{_END}(?P<name>[\w.:/-]{{1,128}}?){_END}\$\d{{1,9}}{_END}(?P<secret>[^\r\n\\]+)""", _named_line),
    ("Redis", r"""(?:["'](?P<quoted>(?i:hm?set|hsetnx|mset(?:nx)?|set|setex|psetex|setnx|getset))|\b(?P<command>(?i:hm?set|hsetnx|mset(?:nx)?|setex|psetex|setnx|getset)|SET))[\s"'\\,]""", _written),
)  # fmt: skip
