"""Where the secrets stand in statements of databases, commands of Redis, lines of files that hold passwords, before their names, and in
what a program says of a value that it refuses.

Used by `app.domain.secret_classes`; each function takes a match and its text. Every reader walks forward. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_places import place
from app.domain.secret_quotes import end_of_line
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


QUOTES = "\"'`\u201c\u2018\u00ab"
_TOLD = (
    r"(?:\b(?:converting|parsing|convert|coerce|cast|decode|decoding|deserialize|from (?:string|text|number)(?: value)?|(?:literal for \w{1,16}\(\)|base) (?:with base )?\d{1,2}:"
    r"|input string:|unmarshal !{0,2}\w{1,16}|(?:value|argument|input|number|integer|int|boolean|bool|string|float|duration|syntax for type [\w ]{1,32})(?: (?:was|of|is))?"
    r"|received|got|given|found|actual|provided|but (?:was|is|got|found))(?:[ \t]*[:=,][ \t]*|[ \t]+)|\b(?:input|value|input_value|received|got)=)"
)
REFUSED_VALUE = (
    rf"(?i){_TOLD}\\{{0,16}}[{QUOTES}]|\binput(?:_value)?=|[{QUOTES}] (?:is|was|are|cannot|could not|can't) "
)
"""Where a program that refuses a value may quote it: behind such a word, or before what it says of it."""
_BEHIND_WORD = re.compile(rf"{_TOLD}(?=\\{{0,16}}[{QUOTES}])|\binput(?:_value)?=", re.IGNORECASE)
_SAID_OF = re.compile(
    rf"(?P<mark>[{QUOTES}])(?P<value>[^{QUOTES}\n]{{1,400}})[{QUOTES}\u201d\u2019\u00bb] (?:is|was|are|cannot|could not|can't) "
)
_REFUSES = re.compile(
    r"convert|unmarshal|deserializ|invalid|not (?:a |an )?valid|is not (?:an?|in|one) |should be|must be|expected|out of range|illegal|malformed"
    r"|coerc|cast|base \d|(?:to|of|expected) type|for input string|parse error|cannot parse",
    re.IGNORECASE,
)
_A_TYPE = re.compile(
    r"(?:u?int(?:eger)?\d*|number|numeric|str(?:ing)?|bool(?:ean)?|float\d*|double|decimal|object|array|list|dict|map|null|none|nil|undefined|nan|bytes?|date|datetime"
    r"|duration|bigint|symbol|function|unknown|any|yes|no|true|false|(?:java|system)\.[\w.]+)",
    re.IGNORECASE,
)
_NAMES = re.compile(r"(?P<before>(?:\b(?:field|argument|property|key|option|variable|setting|parameter|param|flag|column|attribute|env|assigning) )?(?:^|.)?)(?P<name>(?<![\w.-])-{0,2}[A-Za-z_][\w.:-]{0,127})(?P<after>.?)", re.IGNORECASE)  # fmt: skip
_BOUND = re.compile(
    r"(?m)reference chain: [^\n]{0,200}?\[\\{0,16}[\"'](?P<in>[A-Za-z_][\w.-]{0,127})\\{0,16}[\"']\]|\b(?:under|(?i:property|field|column|key|setting|variable|option|parameter)):? [\"'`]?(?P<of>[A-Za-z_][\w.:-]{0,127})|^[ \t]*(?P<alone>[A-Za-z_][\w.-]{0,127})[ \t]*$"
    r"|^[ \t>]*(?:\d{1,5}[ \t]*\|)?[ \t]*[\"']?(?P<key>[A-Za-z_][\w.-]{0,127})[\"']?:"
)
_LEAD, _REST, _AROUND = 400, 1_000, 400


def refused(match: Any, text: str) -> list[Span]:
    """All values that a program quotes which refuses one, on a line that bears a secret's name or stands right by one. The last span is
    empty and tells how far was read, so that each line is read once."""
    begin = max(text.rfind("\n", max(0, match.start() - _LEAD), match.start()) + 1, match.start() - _LEAD, 0)
    end = min(end_of_line(text, match.end()), match.end() + _REST)
    line = text[begin:end]
    values = _quoted_in(text, begin, end) if _REFUSES.search(line) else []
    if values and not (_bears_name(line, begin, values) or _by_a_name(text, begin, end)):
        values = [(s, e) for s, e in values if "unmarshal !!" in line and made_up(text[s:e])]
    return [*values, (end, end)] if end > match.start() else values


def _quoted_in(text: str, begin: int, end: int) -> list[Span]:
    found: list[Span] = []
    for word in _BEHIND_WORD.finditer(text, begin, end):
        if word.start() < (found[-1][1] if found else 0):
            continue
        bare = word[0].lower().startswith("input") and word[0].endswith("=")
        value = read_value(text, word.end()) if bare else read_quoted(text, word.end())
        if value and value[1] > value[0] and not _A_TYPE.fullmatch(text[slice(*value)]):
            found.append(value)
    for said in _SAID_OF.finditer(text, begin, end):
        if not any(s <= said.start("value") < e for s, e in found) and not _is_name(said["value"]):
            found.append(said.span("value"))
    return sorted(each for each in found if not _names_alone(text, each))


def _names_alone(text: str, value: Span) -> bool:
    """`cannot parse 'Password' as int`: what is quoted is the name."""
    word = text[slice(*value)]
    return word.isidentifier() and _is_name(word) and not made_up(word)


def _bears_name(line: str, begin: int, values: list[Span]) -> bool:
    """Whether a secret's name stands there beside the values: of several words, in quotes or brackets, or behind `field` and its like."""
    for found in _NAMES.finditer(line):
        start, name = found.start("name") + begin, found["name"]
        if any(s <= start < e for s, e in values) and not _names_alone(line, found.span("name")):
            continue
        word = name.strip("-.:")
        several = "_" in word or word.isupper() or name.startswith("-") or word[1:].lower() != word[1:]
        bound = (
            len(found["before"]) > 1
            or found["before"] in tuple("\"'`[(/")
            or found["after"] in tuple("\"'`])")
        )
        if (several or bound or word == line.lstrip().partition(":")[0]) and _is_name(word):
            return True
    return False


def _by_a_name(text: str, begin: int, end: int) -> bool:
    """Whether the lines right before or behind say to whose value the line belongs."""
    before = text[max(0, begin - _AROUND) : begin].split("\n")[-9:]
    behind = text[end + 1 : end_of_line(text, end + 1)][:_AROUND]
    near = [
        each
        for each in _BOUND.finditer("\n".join(before))
        if each["of"] or each["in"] or each.start() >= len("\n".join(before[:-3]))
    ]
    return any(
        _is_name(each["in"] or each["of"] or each["alone"] or each["key"])
        for each in (*near, *_BOUND.finditer(behind))
    )


def _is_name(word: str) -> bool:
    """Whether it names a secret itself, unlike `token-service` and `AuthFilter`, which name what deals with one."""
    if len(word) > 128 or "tokens" in word.lower() or not is_secret_name(word):
        return False
    tail = _TAIL.search(word)
    return tail is None or is_secret_name(tail[0]) or tail[0].lower() in _TAILS


_TAIL = re.compile(r"(?<=[.:-])[\w]+\Z|(?<=[a-z])[A-Z]+[a-z]*\Z")
_TAILS = frozenset(
    {"key", "keys", "phrase", "word", "code", "hash", "value", "string", "url", "uri", "id", "salt"}
)


def beside_path(match: Any, text: str) -> list[Span]:
    """What an object holds beside the path of a secret's name, before or behind it: `"path":["password"],"received":…`."""
    names = [match["name"].rpartition("/")[2]] if match["name"] else _QUOTED_WORD.findall(match["names"])
    if not any(is_secret_name(name) for name in names):
        return []
    begin = max(text.rfind("{", max(0, match.start() - _REST), match.start()) + 1, match.start() - _REST)
    end = text.find("}", match.end(), match.end() + _REST)
    end = end if end >= 0 else min(len(text), match.end() + _REST)
    found = [read_value(text, each.end()) for each in _RECEIVED.finditer(text, max(begin, 0), end)]
    return [span for span in found if span and not _A_TYPE.fullmatch(text[slice(*span)])]


_QUOTED_WORD = re.compile(r"[\"']([\w./:-]{1,128})\\{0,16}[\"']")
_RECEIVED = re.compile(
    r"\\{0,16}[\"'](?:received|input|value|got|actual|given|data|rejectedValue|rejected_value)\\{0,16}[\"']\s*:\s*"
)
