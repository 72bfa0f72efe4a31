"""Values whose name stands apart from them: in the heading of a table, in the kind of an object, in the statement that they are bound to.

Used by `app.domain.secret_classes`; each form is a name, an expression for RE2 and what tells where the secrets stand. Every reader
walks forward, and looks a bounded way back. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import READ, closing, end_of_line
from app.domain.secret_refusals import A_TYPE, is_name
from app.domain.secret_words import ALGORITHM, any_no_object, made_up, no_object

Span = tuple[int, int]
Form = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]

_NEAR = 1_500
_CELL = re.compile(r"[A-Za-z_][\w.-]{0,63}(?: [A-Za-z_][\w.-]{0,63})?")
_BORDER = re.compile(r"(?:[\s|+:*]|[-=](?![-=]))*+[-=]{2}[\s|+:=*-]*+")
_NAMES_OF_OBJECTS = frozenset({"secret", "token", "key", "auth", "credential"})
"""Headings under which tools list names of objects."""


_OF_A_ROW = 16
"""What a row costs, as so many characters."""


def _lines_from(text: str, at: int) -> Iterator[Span]:
    while at <= len(text):
        end = end_of_line(text, at)
        READ.work += _OF_A_ROW
        yield at, end
        at = end + 1


def _cells(text: str, line: Span, separator: str) -> list[Span]:
    found, at = list[Span](), line[0]
    for part in text[line[0] : line[1]].split(separator):
        inner = part.strip()
        start = at + (len(part) - len(part.lstrip()) if inner else 0)
        found.append((start, start + len(inner)))
        at += len(part) + 1
    return found


def _of_secrets(headings: Sequence[str]) -> list[int]:
    """The numbers of the columns that hold secrets; none where a heading is no name."""
    words = [word.strip("\"' ") for word in headings]
    if not all(not word or _CELL.fullmatch(word) for word in words):
        return []
    return [
        number
        for number, word in enumerate(words)
        if is_secret_name(word.replace(" ", "_")) and word.lower() not in _NAMES_OF_OBJECTS
    ]


def _below_headings(match: Any, text: str) -> list[Span] | None:
    """The cells below the heading of a secret, in a table with bars."""
    line = (match.start(), end_of_line(text, match.start()))
    if line[1] - line[0] > _NEAR:
        return None
    heads = _cells(text, line, "|")
    columns = _of_secrets([text[start:end] for start, end in heads])
    if not columns:
        return None
    found: list[Span] = []
    bordered = len(heads) > 2 and not text[line[0] : line[1]].lstrip().startswith("|")
    for row in _lines_from(text, line[1] + 1):
        said = text[row[0] : row[1]]
        if _BORDER.fullmatch(said):
            bordered = True
            continue
        if not bordered or said.count("|") != len(heads) - 1:
            break
        cells = _cells(text, row, "|")
        found += (cells[number] for number in columns)
    return found


def _beside_bars(match: Any, text: str) -> list[Span] | None:
    """The cell behind one that is the name of a secret, in a row with bars that is no heading, and no description of a column."""
    start, end = match.start(), end_of_line(text, match.start())
    if end - start > _NEAR:
        return None
    cells = _cells(text, (start, end), "|")
    below = text[end + 1 : end_of_line(text, end + 1)] if end < len(text) else ""
    if _BORDER.fullmatch(below) and "|" in below + text[start:end].lstrip()[:1]:
        return [(end, end)]
    found: list[Span] = []
    for name, value in pairwise(cells):
        word, said = text[slice(*name)].strip("\"'"), text[slice(*value)]
        if not (_A_WORD.fullmatch(word) and is_name(word)) or not said or " " in said:
            continue
        other = (
            A_TYPE.fullmatch(said) or _OF_A_COLUMN.match(said) or is_secret_name(said) or says_state("", said)
        )
        several = _SEVERAL.search(word) is not None
        if not other and not harmless_word(said) and (several or made_up(said)):
            found.append(value)
    return [*found, (end, end)]


_A_WORD = re.compile(r"[A-Za-z_][\w.-]{2,80}")
_SEVERAL = re.compile(r"\w[_.-]\w")
_OF_A_COLUMN = re.compile(
    r"(?i)(?:(?:var)?char(?:acter)?|n?varchar2?|text|string|bytea|blob|int\w*|bigint|uuid|jsonb?|boolean|bool|timestamp\w*|date|not null|null|yes|no|nullable|required|optional|-+|\*+|\d{1,5})(?:\W|\Z)"
)


def _below_names(match: Any, text: str) -> list[Span] | None:
    """The same in rows with commas, semicolons or tabs between their parts, when every part of the first is a heading."""
    line = (match.start(), end_of_line(text, match.start()))
    if line[1] - line[0] > _NEAR:
        return None
    said = text[line[0] : line[1]].rstrip("\r")
    separator = next((sign for sign in ",;\t" if sign in said), "")
    words = [word.strip("\"' ") for word in said.split(separator)] if separator else []
    plain = all(word.islower() or word.isupper() or word[:1].isupper() for word in words)
    columns = _of_secrets(words) if plain and not any(c.isdigit() for c in said) else []
    if not columns:
        return None
    found: list[Span] = []
    for row in _lines_from(text, line[1] + 1):
        if text[row[0] : row[1]].count(separator) < len(words) - 1 or row[1] == row[0]:
            break
        cells = _cells(text, row, separator)
        found += (cells[number] for number in columns)
    return found


def _below_column(match: Any, text: str) -> list[Span] | None:
    """The same where headings in capitals stand over their columns."""
    line = (match.start(), end_of_line(text, match.start()))
    heads = [found.span() for found in _HEADING.finditer(text[line[0] : line[1]])]
    words = [text[line[0] + start : line[0] + end] for start, end in heads]
    columns = _of_secrets(words) if len(words) > 1 else []
    if not columns:
        return None
    found: list[Span] = []
    for row in _lines_from(text, line[1] + 1):
        said = text[row[0] : row[1]]
        if "  " not in said.strip() and "\t" not in said.strip():
            break
        for number in columns:
            first = heads[number][0]
            last = heads[number + 1][0] if number + 1 < len(heads) else len(said)
            cell = said[first:last]
            if cell.strip():
                start = row[0] + first + len(cell) - len(cell.lstrip())
                found.append((start, start + len(cell.strip())))
    return found


_HEADING = re.compile(r"\S+(?: \S+)*")
_OF_SECRET = re.compile(
    r"(?i:kind)\\{0,31}[\"']?\s{0,8}[:=]\s{0,8}\\{0,31}[\"']?Secret(?![\w.-])|\bSecret\s{0,4}[{(]"
)


def _is_of_a_secret(text: str, start: int, end: int) -> bool:
    """Whether the object around it is a Secret, by what stands near it in the same document."""
    before, behind = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    before = before[before.rfind("\n---") + 1 :]
    cut = behind.find("\n---")
    behind = behind if cut < 0 else behind[:cut]
    return any("Secret" in part and _OF_SECRET.search(part) is not None for part in (before, behind))


def _mapping_below(match: Any, text: str) -> list[Span] | None:
    """The values of a mapping that stands below its name, further in than that."""
    indent = len(match["indent"])
    rows, end = list[Span](), match.end()
    for start, stop in _lines_from(text, match.end() + 1):
        said = text[start:stop]
        if said.strip() and len(said) - len(said.lstrip()) <= indent:
            break
        rows, end = [*rows, (start, stop)] if said.strip() else rows, stop
        if len(rows) > _MAX_ROWS:
            break
    if match["name"] != "stringData" and not _is_of_a_secret(text, match.start(), end):
        return None
    found = list[Span]()
    for start, stop in rows:
        key = _KEY.match(text, start, stop)
        first = key.end() if key else start + len(text[start:stop]) - len(text[start:stop].lstrip())
        found.append((first, stop))
    return [span for span in found if text[span[0] : span[1]].strip()]


def _members_below(match: Any, text: str) -> list[Span] | None:
    """The values of a mapping or a list of pairs below the plural of a secret's name; no counts, times and words about them."""
    name, indent = match["name"].lower(), len(match["indent"])
    if not is_secret_name(name.removesuffix("s")):
        return None
    found, inner = list[Span](), -1
    for number, (start, stop) in enumerate(_lines_from(text, match.end() + 1)):
        said = text[start:stop]
        member = _MEMBER.match(said)
        depth = len(said) - len(said.lstrip())
        if not said.strip() or depth < indent or (depth == indent and not said.lstrip().startswith("- ")):
            break
        inner = depth if inner < 0 else inner
        if number > _MAX_MEMBERS:
            break
        if member is None or depth != inner or _OF_A_MEMBER.fullmatch(member["key"]):
            continue
        value = member["value"].strip("\"'")
        if made_up(value) or not _NO_MEMBER.fullmatch(value):
            found.append((start + member.start("value"), start + member.end("value")))
    return found


_AMONG_NAMES = r"""(?i)(?P<name>[\w.-]*secrets)(?:(?:\\{0,16}["'])?\]?(?:\[\w{0,32}\])?[ \t]*(?:=>|:=|[:=]{1,2}|>)[ \t]*)|(?:\B--?|\b(?:ENV|ARG|setenv|setx)[ \t]+)[\w-]*secrets(?:[ \t]+|\\{0,16}["'][ \t]*,\s*)"""


def _among_names(match: Any, text: str) -> list[Span]:
    """Under a name that ends in `secrets` the words that nobody would call an object; names of Secrets stay. What was read is not read
    again for a name that stands in it."""
    at, sentence = match.end(), False
    if opened := _OPENED.match(text, at):
        end = closing(text, opened.end() - 1)
    elif _NOTHING_BESIDE.match(text, at):
        end = _end_of_all_below(match, text)
    else:
        first = _FIRST.match(text, at)
        sentence = first is not None and text[first.end() : first.end() + 1] in (" ", "\t")
        near = text[at : at + _NEAR].partition("\n")[0]
        if first and sentence and len(first[0]) < 8 and says_state("", near):
            return [(at, at)]
        last = (_LINE_END if _PAIR.match(text, at) else _ANOTHER_NAME).search(text, at)
        end = last.start() if last else len(text)
    return [*_no_names(text, at, end, is_secret_name(match["name"] or ""), sentence), (end, end)]


def _no_names(text: str, at: int, end: int, sure: bool, sentence: bool) -> list[Span]:
    READ.work += (end - at) // _SEARCHED
    found = list[Span]()
    for one in _WORD.finditer(text, at, end):
        word = one[0].rstrip(".:!?\\")
        told = made_up(word) if sure else no_object(word)
        if told and not ALGORITHM.search(word) and not (sentence and _UUID.fullmatch(word)):
            found.append((one.start(), one.start() + len(word)))
    found += (one.span("said") for one in _QUOTED.finditer(text, at, end) if any_no_object(one["said"]))
    return sorted(found)


def _end_of_all_below(match: Any, text: str) -> int:
    """Where the lines end that are further in than the one of a name, or items of a list under it."""
    start = text.rfind("\n", max(0, match.start() - _NEAR), match.start()) + 1
    lead = text[start : match.start()]
    indent, item = len(lead) - len(lead.lstrip()), lead.lstrip().startswith("- ")
    last = end_of_line(text, match.end())
    for begin, stop in _lines_from(text, last + 1):
        said = text[begin:stop]
        depth = len(said) - len(said.lstrip())
        if (
            said.strip()
            and depth <= indent
            and (item or depth < indent or not said.lstrip().startswith("- "))
        ):
            break
        last = stop
    return last


_SEARCHED = 16
_OPENED = re.compile(r"(?:\\{0,16}[\"'`])?(?:map)?[\[{(]")
_NOTHING_BESIDE = re.compile(r"(?:[|>][+-]?\d?[+-]?|[&!][\w.-]{0,64})?[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_FIRST = re.compile(r"[A-Za-z]{1,24}+[.:]?")
_PAIR = re.compile(r"[\"']?[\w.-]{1,64}(?:=|:[ \t])")
_LINE_END = re.compile(r"\n")
_ANOTHER_NAME = re.compile(
    r"[\n\]}]|[ \t][\w.-]{1,64}(?:=|:[ \t])|;[ \t]{0,8}[\w.-]{1,64}=|[,;][ \t]{0,8}\\{0,16}[\"'][\w.-]{1,64}\\{0,16}[\"'][ \t]{0,8}[:=]"
)
"""Where a list on one line ends: with the bracket around it, or before what is called otherwise."""
_WORD = re.compile(r"[^\s\"'`\[\]{}<>,;$(\\][^\s\"'`\[\]{}<>,;]{7,}+")
_QUOTED = re.compile(r"(?P<mark>[\"'])(?P<said>[^\"'\s]{8,512})(?P=mark)")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MAX_MEMBERS = 200
_MEMBER = re.compile(
    r"\s*(?:- )?[\"']?(?P<key>[\w./-]{1,128})[\"']?(?:[ \t]*:[ \t]+|=)(?P<value>[^\s\[{|>&*!#]\S*)[ \t\r]*$"
)
_OF_A_MEMBER = re.compile(
    r"(?i)(?:.*(?:name|file|path|dir|ref|type|kind|mode|count|ttl|enabled|namespace|provider|description|version|driver|source|target|(?:expir|creat|updat|us|issu)\w*|expires?.*|limit|max|min|total|user|owner|env|uid|gid|id|url|key|algorithm|length|policy|rotation|interval|description|status|state))"
)
"""Keys under which something is said of a secret."""
_NO_MEMBER = re.compile(
    r"(?i)-?\d[\d._,]*(?:[a-z]{1,4}|%)?|true|false|yes|no|on|off|null|none|~|[\w-]+://\S*|[./~]\S*|\$\S*|\{\{.*|enabled|disabled|strict|required|optional|default|unlimited|<.*"
)
_MAX_ROWS = 2_000
_KEY = re.compile(r"\s*[\"']?[\w./-]{1,253}[\"']?\s*:(?:\s+|\Z)")


def _mapping(match: Any, text: str) -> Span | list[Span]:
    """All that the brackets behind its name hold, in a Secret or around one. What was read is not read again for what stands in it."""
    at = match.end() - 1
    mark = _MARK.search(match[0])
    end = _closing_escaped(text, at, mark[0]) if mark else closing(text, at)
    inner = (at + 1, max(at + 1, end - 1 if end < len(text) or text[-1:] in "}])" else end))
    named = "string" in match[0].lower().partition("data")[0]
    said = text[inner[0] : inner[1]]
    around = "Secret" in said and _OF_SECRET.search(said) is not None
    if not said.strip() or not (named or around or _is_of_a_secret(text, match.start(), end)):
        return [(end, end)]
    return inner


_MARK = re.compile(r"\\{1,16}[\"']")
_SIGNS = re.compile(r"\\{0,63}[\"']|[{}]")


def _closing_escaped(text: str, at: int, mark: str) -> int:
    """Behind the bracket that closes the one at `at`, in a text whose quotes are written as `mark`. Unclosed: the end."""
    depth, quoted = 0, False
    for sign in _SIGNS.finditer(text, at):
        if sign[0] == mark:
            quoted = not quoted
        elif sign[0] in "{}" and not quoted:
            depth += 1 if sign[0] == "{" else -1
            if not depth:
                return sign.end()
    return len(text)


_WORDS = re.compile(r"[A-Za-z_][\w.]{2,127}")
_VERBS = re.compile(
    r"\b(?:select|insert|update|delete|merge|replace|call|exec|execute|create|alter|with)\b", re.IGNORECASE
)


def _bound(match: Any, text: str) -> Span | None:
    """What is bound to a statement that names a secret."""
    before = text[max(0, match.start() - _NEAR) : match.start()]
    verb = _VERBS.search(before)
    if verb is None or not any(is_secret_name(word) for word in _WORDS.findall(before, verb.end())):
        return None
    end = end_of_line(text, match.end())
    return (match.end(), end) if text[match.end() : end].strip() else None


_BINDING = (
    r"(?i)\bbinding parameter (?:\[\d+\] as \[[\w.]+\] - |\(\d+:[\w.]+\) <- )"
    r"""|\b(?:parameters|params|args|arguments|bindings|binds|values)(?:\\{0,16}["'])?\s*[:=]\s*"""
    r"|\[(?:generated in|cached since|no key|raw sql|dialect)[^\]\n]*\]\s+"
)
"""How Hibernate, MyBatis, JDBC, SQLAlchemy, Django and others write down what they bind."""
TABLES: tuple[Form, ...] = (
    ("table", r"(?m)^[^|\n]*\|", _below_headings),
    ("table", r"(?m)^[^|\n]*\|", _beside_bars),
    ("table", r"""(?m)^[ \t]*["']?[A-Za-z_][\w .-]*["']?[,;\t]""", _below_names),
    ("table", r"(?m)^[ \t]*[A-Z][A-Z0-9_ -]*(?:  |\t)[ \t]*[A-Z][A-Z0-9_ \t-]*$", _below_column),
    ("Secret", r"""(?m)^(?P<indent>[ \t]*)["']?(?P<name>stringData|data|binaryData)["']?:[ \t]*\r?$""", _mapping_below),
    (
        "Secret",
        r"""(?m)^(?P<indent>[ \t]*)(?:- )?["']?(?P<name>[\w.-]*(?i:tokens|passwords|passphrases|credentials|keys|otps|jwts|pwds|psks))["']?:[ \t]*\r?$""",
        _members_below,
    ),
    ("assignment", _AMONG_NAMES, _among_names),
    (
        "Secret",
        r"""(?i)\b(?:string|binary)?data(?:\\{0,16}["'])?\s*[:=]\s*(?:map\[string\](?:\[\])?\w+)?(?:\{|map\[)""",
        _mapping,
    ),
    (
        "bound to a statement",
        _BINDING,
        _bound,
    ),
)  # fmt: skip
