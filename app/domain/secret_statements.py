"""Where the secrets stand in statements of databases, commands of Redis, lines of files that hold passwords, before their names,
and beside them in an object.

Used by `app.domain.secret_classes`; each function takes a match and its text. Every reader walks forward. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_places import place
from app.domain.secret_quotes import end_of_line
from app.domain.secret_refusals import A_TYPE
from app.domain.secret_values import read_line, read_quoted, read_tuples, read_value, read_word
from app.domain.secret_words import is_id, made_up

Span = tuple[int, int]


def columns(match: Any, text: str) -> Span | None:
    """All values of an INSERT or a COPY that has a column for a secret."""
    columns = match["columns"] or match["copied"] or ""
    if not any(is_secret_name(name.strip(' `"[]\n\t')) for name in columns.split(",")):
        return None
    if match[0].endswith("("):
        return read_tuples(text, match.end() - 1)
    end = text.find("\n\\.", match.end() - 1)
    return (
        read_line(text, match.end())
        if "\n" not in match[0][-2:]
        else (match.end(), end if end >= 0 else len(text))
    )


def compared(match: Any, text: str) -> Span | None:
    """What a statement compares with a column for a secret."""
    start = place(match, "open")[0]
    if not is_secret_name(match["name"]):
        return None
    return read_tuples(text, start) if text[start] == "(" else read_quoted(text, start)


def sql_literal(match: Any, text: str) -> Span | None:
    """The literal behind `PASSWORD` or `IDENTIFIED BY`, which a statement about a user holds."""
    before = text[max(0, match.start() - 300) : match.start()]
    if match[0][:1] in "iI" and _STATEMENT.search(before) is None:
        return None
    return read_quoted(text, place(match, "open")[0])


_STATEMENT = re.compile(r"\b(?:create|alter|grant|user|role|link|identified)\b", re.IGNORECASE)


def crypt(match: Any, _text: str) -> Span | None:
    """The argument of a function that encrypts."""
    return place(match, "secret" if match["secret"] else "first")


def redis(match: Any, text: str) -> Span | None:
    """One word or two behind AUTH, and nothing else on the line unless the command is known by what stands before it."""
    start, end, behind = read_word(text, match.end())
    if start == end or harmless_word(text[start:end]):
        return None
    known = match["known"]
    second, stop, after = read_word(text, _skip_comma(text, behind))
    if stop > second and (known is None or match[0].rstrip("\"', \t").endswith(("AUTH2", "AUTH"))):
        quoted = text[start - 1] in "\"'" and text[second - 1] in "\"'"
        ended = known is not None or quoted or _ends_line(text, after)
        if ended and not harmless_word(text[second:stop]):
            return (start, stop) if known else (second, stop)
        return None
    about = text[start:end].isalpha() and text[start:end].isupper()
    return None if about or not _ends_line(text, behind) else (start, end)


def _ends_line(text: str, at: int) -> bool:
    """Whether the line ends there, or the quote that the line stands in."""
    return _ENDED.match(text, at) is not None


_ENDED = re.compile(r"[ \t\r]*(?:[\]\"'\\]|$|\n)")


def _skip_comma(text: str, at: int) -> int:
    while at < len(text) and text[at] in "\"' ,\t" and text[at - 1 : at] != " ":
        at += 1
    return at - 1 if text[at - 1 : at] in ('"', "'") and text[at - 2 : at - 1] in (" ", ",") else at


def strange(match: Any, text: str) -> Span | None:
    """A word that is no word of a language: not of small letters alone, and nothing about the state."""
    start, end, _ = read_word(text, match.end())
    word = text[start:end].rstrip(".,;:!?)'\"")
    plain = (
        not word
        or (word.isalpha() and word.islower())
        or harmless_word(word)
        or "/" in word
        or word.startswith("Test")
    )
    return None if plain else (start, end)


def given(match: Any, text: str) -> Span | None:
    """The word that a file gives behind such words; one of small letters alone where it ends its line, and is not about the state."""
    if found := strange(match, text):
        return found
    start, end, behind = read_word(text, match.end())
    word = text[start:end]
    last = not text[behind : end_of_line(text, behind)].strip(" \t\r\"'")
    about = harmless_word(word) or says_state("", word) or word.startswith("Test") or "/" in word
    return (start, end) if last and len(word) >= 4 and not about else None


def of_a_login(match: Any, text: str) -> Span | None:
    """The same behind a user and `password`; `username or password` names nobody."""
    return (
        None
        if match["user"].lower() in ("or", "and", "nor", "&", "/", "and/or", "with")
        else given(match, text)
    )


def column_of_two(match: Any, text: str) -> Span | None:
    """The second of two columns, when the first speaks of a secret."""
    start, end = place(match, "secret")
    word = text[start:end]
    if not is_secret_name(match["name"]) or harmless_word(word.lower()) or says_state(match["name"], word):
        return None
    if is_id(word):
        return None
    if match["between"] == " ":
        strange = made_up(word) and word != word.lower()
        return (
            (start, end)
            if strange or _BEHIND_LOGIN.search(text[max(0, match.start() - 160) : match.start()])
            else None
        )
    plain = word.isalpha() and len(word) >= 4 and _SURE.search(match["name"]) is not None
    return (start, end) if _strange_word(word) or plain else None


_SURE = re.compile(r"pass|pwd|secret", re.IGNORECASE)
"""What only a secret's own name holds: a token or a key may be another's."""
_BEHIND_LOGIN = re.compile(r"(?:^|\n)[ \t]*(?:login|user|username|account)[ \t]+\S{1,120}[ \t]*\r?\n\Z")


def _strange_word(word: str) -> bool:
    return any(c.isdigit() for c in word) and any(c.isalpha() for c in word) and len(word) >= 6


def line_of_pgpass(match: Any, _text: str) -> Span | None:
    """The last part of `host:port:database:user:S`; the parts of an address of IPv6 are none."""
    hexadecimal = all(_HEX.fullmatch(match[each]) for each in ("database", "user"))
    return None if hexadecimal else place(match, "secret")


_HEX = re.compile(r"[0-9a-fA-F]*")


def unless_said(match: Any, text: str) -> Span | None:
    """The next word, unless it is about the state."""
    start, end, _ = read_word(text, match.end())
    word = text[start:end]
    about = not word or word in ("is", "was") or harmless_word(word) or (word.isupper() and word.isalpha())
    return None if about else (start, end)


_THEN_NAME = re.compile(
    r"\\{0,31}[\"']?(?:\s*,?\s*|[ \t]*,[^{}\[\]\n]{0,80}?,[ \t]*)\\{0,31}[\"']?\b(?:name|key|field|path|property|setting|variable|option|param(?:eter)?|argument)\\{0,31}[\"']?\s*[:=]\s*\\{0,31}[\"']?(?P<name>[A-Za-z_./-][\w./-]*)",
    re.IGNORECASE,
)


def value_then_name(match: Any, text: str) -> Span | list[Span] | None:
    """`value: S, name: DB_PASSWORD`."""
    if text[match.end() : match.end() + 1] in ("[", "{", "("):
        return None
    found = read_value(text, match.end())
    if found is None:
        return None
    named = _THEN_NAME.match(text, found[1]) or _THEN_NAME.search(
        text[found[0] : min(found[1], found[0] + _NEAR)]
    )
    if named is not None and is_secret_name(named["name"].rpartition("/")[2]):
        return found
    return [(found[1], found[1])]


_NEAR = 400


def beside_path(match: Any, text: str) -> list[Span]:
    """What an object holds beside the path of a secret's name, before or behind it: `"path":["password"],"received":…`."""
    names = [match["name"].rpartition("/")[2]] if match["name"] else _QUOTED_WORD.findall(match["names"])
    if not any(is_secret_name(name) for name in names):
        return []
    begin = max(text.rfind("{", max(0, match.start() - _BESIDE), match.start()) + 1, match.start() - _BESIDE)
    end = text.find("}", match.end(), match.end() + _BESIDE)
    end = end if end >= 0 else min(len(text), match.end() + _BESIDE)
    found = [read_value(text, each.end()) for each in _RECEIVED.finditer(text, max(begin, 0), end)]
    return [span for span in found if span and not A_TYPE.fullmatch(text[slice(*span)])]


_BESIDE = 1_000
_QUOTED_WORD = re.compile(r"[\"']([\w./:-]{1,128})\\{0,16}[\"']")
_RECEIVED = re.compile(
    r"\\{0,16}[\"'](?:received|input|value|got|actual|given|data|rejectedValue|rejected_value)\\{0,16}[\"']\s*:\s*"
)
