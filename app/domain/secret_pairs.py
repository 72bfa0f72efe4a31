"""Names and values that stand apart as clouds, debuggers and older formats write them, and what mail servers, caches and proxies are told in
a dialog.

Used by `app.domain.secret_classes`. Each form is a name, an expression for RE2 and what tells where the secret stands. Every reader walks
forward. Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from app.domain import secret_places as places
from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import end_of_line
from app.domain.secret_refusals import A_TYPE
from app.domain.secret_values import read_quoted, read_word
from app.domain.secret_words import made_up

Span = tuple[int, int]
Form = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]
MAX_ENCODED: Final = 4_096
"""Characters of Base64 that are decoded to see what they are."""


def _decoded(word: str) -> bytes:
    """What Base64 holds; empty for what is none."""
    padded = word[:MAX_ENCODED].rstrip("=")
    try:
        return base64.b64decode(padded + "=" * (-len(padded) % 4), altchars=b"-_")
    except (binascii.Error, ValueError):
        return b""


def _of_basic(match: Any, _text: str) -> Span | None:
    """A user and a password in Base64 (RFC 7617): what it holds tells it from a word."""
    try:
        user, colon, password = (
            _decoded(match["secret"].replace("+", "-").replace("/", "_")).decode().partition(":")
        )
    except UnicodeDecodeError:
        return None
    said = colon and password and (user + password).isprintable()
    return places.place(match, "secret") if said else None


def _of_sasl(match: Any, _text: str) -> Span | None:
    """The first answer of a login (RFC 4954, RFC 3501): Base64, no word."""
    word = match["secret"]
    plain = word.isalpha() and (word.islower() or word.isupper() or word.istitle())
    known = _decoded(word.replace("+", "-").replace("/", "_"))
    return None if not known or (plain and b"\0" not in known) else places.place(match, "secret")


def _quoted_of_name(match: Any, text: str) -> Span | None:
    found = read_quoted(text, match.end()) if is_secret_name(match["name"]) else None
    return None if found and harmless_word(text[found[0] : found[1]]) else found


def _of_a_type(match: Any, text: str) -> Span | None:
    """What stands behind a name and a bare type: in quotes, or a word that somebody made up. What goes on as a sentence describes a column."""
    if not is_secret_name(match["name"]):
        return None
    if found := read_quoted(text, match.end()):
        return None if harmless_word(text[found[0] : found[1]]) else found
    start, end, behind = read_word(text, match.end())
    word = text[start:end]
    about = harmless_word(word) or A_TYPE.fullmatch(word) or says_state(match["name"], word)
    alone = match["sign"] and not text[behind : end_of_line(text, behind)].strip()
    return (start, end) if not about and (made_up(word) or (alone and len(word) >= 4)) else None


def _alone(match: Any, text: str) -> Span | None:
    """What was typed behind a prompt: the last word of its line, and no word about what went wrong."""
    start, end = match.end(), end_of_line(text, match.end())
    word = text[start:end].strip(" \t\r\"'")
    return None if not word or " " in word or harmless_word(word) or says_state("", word) else (start, end)


_Q: Final = r"""(?:\\{0,16}["'])"""
_B64: Final = r"(?P<secret>[A-Za-z0-9+/_-]{8,}={0,2})"
_KEY: Final = (
    r"(?:parameter|option|setting|variable|config|secret|env|field|property|attribute)[_-]?(?:key|name)"
)
_VALUE: Final = (
    r"(?:(?:parameter|option|setting|variable|config|secret|env|field|property|attribute)[_-]?)?value"
)
_NAMED: Final = rf"{_Q}?[ \t]*[:=][ \t]*{_Q}?(?P<name>[\w./:-]+){_Q}?"
_A_VALUE: Final = rf"{_Q}[ \t]*:[ \t]*{_Q}(?P<secret>[^\"'\\\n]+){_Q}"
_VAULT: Final = rf"{_Q}id{_Q}[ \t]*:[ \t]*{_Q}https://[\w.-]+\.vault\.[\w.-]{{1,60}}/secrets/"
_VERSION: Final = rf"{_Q}name{_Q}[ \t]*:[ \t]*{_Q}[\w./-]*secrets/[\w-]+/versions/"
_TYPE: Final = r"(?i:string|str|n?varchar2?|n?char|text|bytes|secretstr)(?:[ \t]?\(\d{1,5}\)|\[\d{1,5}\])?|(?i:len|length|size)[=:][ \t]?\d{1,6}"

PAIRS: tuple[Form, ...] = (
    ("pair", rf"(?i)\b{_KEY}{_NAMED}\s*,(?:[^{{}}]*?[\s,\"'])??\s*{_Q}?{_VALUE}{_Q}?[ \t]*[:=][ \t]*", places.named_value),
    ("pair", rf"(?i){_Q}{_VALUE}{_A_VALUE}[^{{}}]*?{_Q}{_KEY}{_NAMED}", places.named_group),
    ("pair", r"\bKeyValuePair\w{0,20}:?[ \t]*[\[(](?P<name>[\w.-]+),[ \t]*(?P<secret>[^\])\n]+)[\])]", places.named_group),
    ("pair", rf"(?i){_Q}value{_A_VALUE}[^{{}}]*?{_VAULT}", places.whole),
    ("pair", rf"(?i){_VAULT}[^{{}}]*?{_Q}value{_A_VALUE}", places.whole),
    ("pair", rf"{_Q}payload{_Q}\s*:\s*\{{[^{{}}]*?{_Q}data{_A_VALUE}[^{{}}]*\}}[^{{}}]*?{_VERSION}", places.whole),
    ("pair", rf"{_VERSION}[^{{}}]*{_Q}payload{_Q}\s*:\s*\{{[^{{}}]*?{_Q}data{_A_VALUE}", places.whole),
    ("pair", r"\([ \t]*:?[\"|]?(?P<name>[A-Za-z_][\w-]*)[\"|]?[ \t]+\.[ \t]+", _quoted_of_name),
    ("XML entry", rf"<void\s+(?:property|method)={_Q}(?P<name>[\w.-]+){_Q}\s*>\s*<\w{{1,40}}>(?P<secret>[^<\s][^<]*)</", places.named_group),
    ("typed", rf"\b(?P<name>[A-Za-z_.][\w.-]*)[ \t]+(?:{_TYPE})(?:(?P<sign>[ \t]*:?=[ \t]*)|[ \t]+)", _of_a_type),
    ("typed", r"\((?:gdb|lldb)\)[ \t]+(?:p|po|print|output|x/s|printf|call|inspect|frame variable|v)\b(?:/\w{1,3})?[ \t]+(?:[^\n]*?(?:->|[.*&:( ]))?(?P<name>[A-Za-z_]\w*)\)?[ \t]*\r?\n[^\n\"]*", _quoted_of_name),
    # Dialogs
    ("scheme", rf"(?i)\bbasic\b(?:[ \t]+(?:auth\w{{0,12}}|credentials?|header|token)){{0,2}}(?:[ \t]*[:=])?(?:[ \t]|\\{{1,4}}[ \t]?|{_Q}|%20){{1,4}}{_B64}", _of_basic),
    ("mail", rf"(?i)\bauth(?:enticate)?[ \t]+(?:plain|login|xoauth2|oauthbearer|ntlm|cram-md5)[ \t]+{_B64}", _of_sasl),
    ("mail", r"(?im)\b334[ -](?:UGFzc3dvcmQ6?|cGFzc3dvcmQ6?)=?(?:\\+r)?(?:\\+n)?[\"']?[ \t\r]*\n[^\n]*?(?P<secret>[A-Za-z0-9+/]{4,}={0,2})(?:\\+r)?(?:\\+n)?[\"']?[ \t\r]*$", places.whole),
    ("Redis", r"\b\d{9,10}\.\d{1,6} \[[^\]\n]+\] [^\n]*?\"(?i:auth)\"[ ]+(?:\"[^\"\n]*\"[ ]+)?\"(?P<secret>[^\"\n]+)\"", places.whole),
    ("said", r"(?i)\bpassword for ['\"][^'\"\n]+['\"]:[ \t]+", _alone),
    ("said", r"(?i)\blogin attempt:? \[b?['\"]?[^/\]\n]*[A-Za-z][^/\]\n]*/(?P<secret>[^\]\n]+)\]", places.whole),
    ("SQL", r"(?i)\bsecret_access_key[ \t]+(?:as[ \t]+)?'(?P<secret>[^'\n]+)'", places.whole),
    ("SQL", r"(?i)\baes_(?:en|de)crypt[ \t]*\([^()'\n]+,[ \t]*(?:unhex[ \t]*\([ \t]*)?'(?P<secret>[^'\n]+)'", places.whole),
    ("word of a tool", r"\bcomposer\s+(?:global\s+)?config\s+(?:--\S+\s+)*http-basic\.\S+\s+\S+\s+(?P<secret>[^\s-]\S*)", places.whole),
    # Hashes by their form
    ("hash", r"(?:^|[\s'\"=:,(])(?P<secret>\*[0-9A-F]{40})(?:$|[\s'\",;)])", places.whole),
    ("hash", r"[\w.$-]+::[\w.-]*:(?P<secret>[0-9a-fA-F]{16}:[0-9a-fA-F]{32}:[0-9a-fA-F]{8,})", places.whole),
)  # fmt: skip
