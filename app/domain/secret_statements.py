"""Where the secrets stand in statements of databases, commands of Redis, lines of files that hold passwords, before their names,
beside them in an object, and in sentences that tell what became of them.

Used by `app.domain.secret_classes`; each function takes a match and its text. Every reader walks forward. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from app.domain.linear import Linear
from app.domain.secret_names import harmless_word, holds_names, is_secret_name, says_state
from app.domain.secret_places import made_up_behind, place
from app.domain.secret_quotes import end_of_line
from app.domain.secret_refusals import A_TYPE
from app.domain.secret_values import read_line, read_quoted, read_tuples, read_value, read_word
from app.domain.secret_words import CHANGED, REFUSED, TAKEN, THING, any_no_object, is_id, made_up, well_mixed

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
    own_line = not before[before.rfind("\n") + 1 :].strip()  # of a statement of several
    begins = own_line and _BY.match(match[0]) is not None
    if match[0][:1] in "iI" and not begins and _STATEMENT.search(before) is None:
        return None
    return read_quoted(text, place(match, "open")[0])


_BY = re.compile(r"identified(?:\s+with\s+\S{1,64})?\s+(?:by|as)\b", re.IGNORECASE)
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
        if text[start:end].lower() == "user" and _MAIL.fullmatch(text[second:stop]):
            return None
        if ended and not harmless_word(text[second:stop]):
            return (start, stop) if known else (second, stop)
        return None
    about = text[start:end].isalpha() and text[start:end].isupper()
    return None if about or not _ends_line(text, behind) else (start, end)


_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5}")


def of_auth(match: Any, text: str) -> Span | None:
    """A word behind AUTH that nobody would say of it; whose login it is stays."""
    mail = match["who"] == "user" and _MAIL.fullmatch(match["secret"].rstrip(".,;:!?"))
    return None if mail else made_up_behind(match, text)


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
    if is_id(word) or _VERSION.fullmatch(word) or not any(c.isascii() or c.isalnum() for c in word):
        return None
    if match["name"].lower() in _HEADINGS and word.isalpha() and _BORDER_BELOW.match(text, match.end()):
        return None
    if (held := _HELD.fullmatch(word)) and _SURE.search(match["name"]) and _SEVERAL.search(match["name"]):
        said = held["value"]
        return None if is_secret_name(said) or harmless_word(said) else (start + 1, end - 1)
    if match["between"] == " ":
        strange = made_up(word) and word != word.lower()
        return (
            (start, end)
            if strange or _BEHIND_LOGIN.search(text[max(0, match.start() - 160) : match.start()])
            else None
        )
    plain = word.isalpha() and len(word) >= 4 and _SURE.search(match["name"]) is not None
    return (start, end) if _strange_word(word) or plain else None


_VERSION = re.compile(r"v?\d{1,5}(?:\.\d{1,6}){1,3}")
_HEADINGS = frozenset({"secret", "token", "key", "auth", "credential"})
_BORDER_BELOW = re.compile(r"\r?\n[ \t]{0,8}[|+:-][-+|: \t=]{0,8}--")
_HELD = re.compile(r"(?P<mark>[\"'])(?P<value>[^\"']{4,200})(?P=mark)")
_SEVERAL = re.compile(r"\w[_.-]\w")
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
    r"\\{0,31}[\"']?(?:\s*+,?\s*+|[ \t]*,[^{}\[\]\n]{0,80}?,[ \t]*)\\{0,31}[\"']?\b(?:name|key|field|path|property|setting|variable|option|param(?:eter)?|argument)\\{0,31}[\"']?\s*[:=]\s*\\{0,31}[\"']?(?P<name>[A-Za-z_./-][\w./-]*)",
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
    name = named["name"].rpartition("/")[2] if named else ""
    if is_secret_name(name) or (holds_names(name) and any_no_object(text[found[0] : found[1]])):
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


def to_end_of_element(match: Any, text: str) -> Span | None:
    """What an element holds, comments and elements inside of it too."""
    name, at = match["name"], match.end()
    if not is_secret_name(name) or match[0].endswith("/>"):
        return None
    end = text.find(f"{name}>", at, at + _ELEMENT)
    end = text.rfind("</", at, end) if end >= 0 else -1
    return (at, end) if end > at and text[at:end].strip() else None


def attribute(match: Any, text: str) -> Span | None:
    """The value of an element whose name, or whose attribute `name`, `key`, `id` or `type`, speaks of a secret."""
    start, end = match.span()
    speaks = is_secret_name(match["tag"])
    value: Span | None = None
    for found in _ATTRIBUTE.finditer(text[start:end]):
        name = found["name"].lower()
        speaks = speaks or (name in ("name", "key", "id", "type") and is_secret_name(found["value"]))
        if name in ("value", "connectionstring"):
            value = place(found, "value")
    return (start + value[0], start + value[1]) if speaks and value and value[0] < value[1] else None


_ELEMENT = 2_000
_ATTRIBUTE = Linear(
    r"""(?P<name>[\w:.-]+)\s*=\s*\\{0,16}["'](?P<value>[^"'\\]*(?:\\+[^"'\\]+)*)\\{0,16}["']"""
)


def of_a_webhook(match: Any, _text: str) -> Span | None:
    """The last part of a webhook's path, where that was made by chance."""
    word = match["secret"]
    mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    long = len(word) >= _LONG_ENOUGH and word.isalnum()
    sure = mixed and (long or made_up(word) or _A_UUID.fullmatch(word) is not None)
    return place(match, "secret") if sure else None


_LONG_ENOUGH = 13
_A_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def of_a_scheme(match: Any, _text: str) -> Span | None:
    """What stands behind `Bearer` and its like; no `name=value` of its own."""
    word = match["secret"]
    return (
        None if len(word) < 8 or _A_PAIR.match(word) or word.startswith("HTTP/") else place(match, "secret")
    )


_A_PAIR = re.compile(r"[a-z]+(?:_[a-z]+)*=[^=]")


def long_word(match: Any, text: str) -> Span | None:
    """A word that was made by chance, and is no part of a key's fingerprint."""
    start, end = place(match, "secret")
    printed = _FINGERPRINT.search(text[max(0, start - _PRINTED) : end + _PRINTED])
    return (start, end) if well_mixed(match["secret"]) and printed is None else None


_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
_PRINTED = 64


TOLD_OF = rf"(?i){THING}s?(?:$|[^\w-])"
"""The noun of a sentence about a secret; `told_of` looks for its verb and for what it gives."""
_VERB = re.compile(rf"\b(?:{REFUSED}|{CHANGED}|{TAKEN}|not)\b", re.IGNORECASE)
_GIVEN = re.compile(
    r"(?:\b(?P<sure>expected|expecting|expects|got|have|had|wanted|want|received|given|actual|provided|instead of|found)\b(?:[ \t]+(?:value|password|token|secret|key))?(?:[ \t]*[:=])?|\b(?:vs\.?|versus|was|is)\b|!=|<>|==|:|\("
    rf"|\b{THING})[ \t]+(?=\S)|\((?=\S)",
    re.IGNORECASE,
)
"""What stands before a value that a sentence gives."""
_GIVEN_WORD = re.compile(r"[^\s\"'`()\[\]{}<>,;]{1,512}")
_PASS = re.compile(
    r"\bpass(?:word|wd|phrase|code)s?(?! ?(?:encod|type|polic|hash|algo|field|length|reset|manager))",
    re.IGNORECASE,
)
_OF_NAMES = re.compile(
    r"[a-z0-9]+(?:[-.:][a-z0-9]+)+|[./~].*|[\w.-]+[:/].*|sha\d.*|[\w.]+\(.*|\w+=.*", re.IGNORECASE
)
"""Pods, files, images, addresses and digests, whose names have digits between letters too."""
_SENTENCE_BEFORE, _SENTENCE_BEHIND = 120, 320


def told_of(match: Any, text: str) -> list[Span]:
    """What a sentence gives that says of a secret that it was refused, or is another than was expected. The last span is empty and tells how
    far was read, so that each line is read once."""
    begin = text.rfind("\n", max(0, match.start() - _SENTENCE_BEFORE), match.start()) + 1
    begin = begin or max(0, match.start() - _SENTENCE_BEFORE)
    end = max(match.end(), min(end_of_line(text, match.start()), match.end() + _SENTENCE_BEHIND))
    line, at = text[begin:end], match.start() - begin
    found: list[Span] = []
    if _VERB.search(line) is not None:
        password = _PASS.search(line) is not None
        for given in _GIVEN.finditer(line, 0 if given_before(line, at) else at):
            span = _value_given(line, given, password=password)
            if span and (not found or begin + span[0] >= found[-1][1]):
                found.append((begin + span[0], begin + span[1]))
    return [*found, (end, end)]


def given_before(line: str, at: int) -> bool:
    """Whether a sentence gives something before its noun: `expected "S" as password`."""
    return _GIVEN.search(line, 0, at) is not None


def _value_given(line: str, given: re.Match[str], *, password: bool) -> Span | None:
    if quoted := read_quoted(line, given.end()):
        said = line[slice(*quoted)]
        if (
            quoted[1] - quoted[0] > _LONGEST_GIVEN
            or A_TYPE.fullmatch(said)
            or harmless_word(said)
            or is_secret_name(said)
        ):
            return None
        plain = password and given["sure"] is not None and not says_state("", said)
        return quoted if plain or any(made_up(word) for word in said.split()) else None
    word = _GIVEN_WORD.match(line, given.end())
    if word is None or _OF_NAMES.fullmatch(word[0]):
        return None
    said = word[0].rstrip(".:!?\\")
    return (word.start(), word.start() + len(said)) if made_up(said) and not is_secret_name(said) else None


_LONGEST_GIVEN = 200


def in_url(match: Any, _text: str) -> Span | None:
    """Not the port and the path of a URL that has an `@` further on; of other schemes than these that is a password."""
    secret = match["secret"]
    if not _WEB.match(match[0]):
        return place(match, "secret")
    if not _PORT.match(secret):
        return place(match, "secret")
    start, end = place(match, "secret")
    inner = _INNER.search(secret)
    if inner is None:
        return (start, end) if "@" in secret else None
    return start + inner.end(), end


_WEB = re.compile(r"(?:https?|wss?|git|ssh|grpcs?|tcp|udp|ipfs|file|oci|docker)://|//", re.IGNORECASE)
_INNER = re.compile(r"[A-Za-z][\w+.-]{0,30}://[^\s:/@]*:(?=[^/]*\Z)")
_PORT = re.compile(r"\d{2,5}[/?#]")
