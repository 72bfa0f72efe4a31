"""Secrets in sentences and calls without quotes: the old and the new one, a login, an argument of a function, a code; and what a wrapper holds.

Used by `app.domain.secret_classes`; the forms are as in `secret_forms`. Only words that somebody made up count, digits among letters, and numbers
where the sentence says that they are a code; what a type with the name of a secret holds in quotes counts whatever it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from app.domain import secret_places as places
from app.domain.secret_names import harmless_word, is_secret_name
from app.domain.secret_values import read_quoted
from app.domain.secret_words import CHANGED, THING, made_up

Span = tuple[int, int]
_WORD = r"""[^\s,;()\[\]"'`]"""
_BEFORE = r"(?:[\w.@/-]{1,64}\s*,\s*)"
_LOGINS = r"log_?in|log_?on|sign_?in|authenticate|auth|connect|bind|simple_?bind|kinit|open_?session"
_GIVEN = r"(?:set|change|check|verify|validate|reset|update|compare|encode|hash|rotate|refresh|revoke|decode|parse|introspect)_?"
_NOUNS = r"(?:password|passwd|pwd|pass|token|jwt|api_?key|secret|passphrase|pin|otp|credentials?)"


def _old_and_new(match: Any, _text: str) -> list[Span]:
    """Both values of an exchange; where one was made up the other is one too."""
    found = [places.place(match, name) for name in ("old", "new") if match[name]]
    words = [match[name].rstrip(".:!?") for name in ("old", "new") if match[name]]
    spans = [(start, start + len(word)) for (start, _), word in zip(found, words, strict=True)]
    return spans if any(made_up(word) and not places.ALGORITHM.search(word) for word in words) else []


_FRAME = re.compile(r"[\w$-]+\.[A-Za-z]{1,5}:\d+")


def _argument(match: Any, text: str) -> Span | None:
    """An argument that somebody made up; in a trace the file and the line stand there."""
    return None if _FRAME.fullmatch(match["secret"]) else places.made_up_behind(match, text)


def _mixed(match: Any, text: str) -> Span | None:
    """A word of letters and digits where the sentence leaves no doubt what it is."""
    word = match["secret"].rstrip(".,;:!?")
    start, _ = places.place(match, "secret")
    mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    if not mixed or places.ALGORITHM.search(word) or harmless_word(word):
        return None
    behind = text[start + len(word) : start + len(word) + 2]
    return None if behind.startswith("(") else (start, start + len(word))


def _held(match: Any, text: str) -> Span | None:
    """What is quoted in a wrapper with the name of a secret."""
    found = read_quoted(text, match.end()) if is_secret_name(match["name"]) else None
    return None if found is None or " " in text[found[0] : found[1]] else found


Sentence = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]
SENTENCES: tuple[Sentence, ...] = (
    ("sentence", rf"(?i)\b{THING}s?\b[^\n\"'=:]{{0,60}}\b{CHANGED}\s+from\s+(?P<old>{_WORD}+)\s+(?:to|into)\s+(?P<new>{_WORD}+)", _old_and_new),
    ("sentence", rf"(?i)\b{THING}s?\b[^\n\"']{{0,60}}\b(?:old|previous|before)(?:_?value)?[=:]\s?(?P<old>{_WORD}+)[,;]?\s+(?:new|current|now|after)(?:_?value)?[=:]\s?(?P<new>{_WORD}+)", _old_and_new),
    ("sentence", rf"(?i)\bbasic[ _-]?auth\w*\b[^\n:=]{{0,24}}\s\(?[\w.@+-]{{1,64}}:(?P<secret>{_WORD}{{4,}})", places.made_up_behind),
    ("sentence", rf"(?i)\b(?:credentials?|creds|login)\s*\(\s*{_BEFORE}(?P<secret>{_WORD}{{4,}})\s*\)", places.made_up_behind),
    ("sentence", rf"(?i)\b{THING}s?\s+[\[(<](?P<secret>{_WORD}{{4,}})[\])>]", places.made_up_behind),
    ("sentence", r"(?i)\b(?:otp|2fa|mfa|totp|one[- ]time|verification|security|confirmation|recovery)\s*(?:code|pass\w*|pin)?\s+(?:for|of|to)\s+[\w.@+-]{1,64}\s+(?:is|was|=|:)\s*(?P<secret>\d{4,10})\b", places.whole),
    ("sentence", rf"\b(?:[A-Z][A-Z0-9]*_)+(?:PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|SECRET|TOKEN|KEY)\b['\"`]?\s+(?:is|was|now|=>|->)\s+(?:now\s+|set to\s+)?(?P<secret>{_WORD}{{6,}})", _mixed),
    ("sentence", rf"(?i)(?:^|[\s(=])[\w.@+-]{{1,64}}:(?P<secret>{_WORD}{{6,}})\s+(?:(?:as|by|for|in|using|via|with)\s+)?(?:the\s+)?basic[ _-]?auth", _mixed),
    ("sentence", rf"(?i)\bbasic[ _-]?auth\w*\s+(?:as|for|of|with)?\s*[\w@+-]{{1,64}}:(?P<secret>{_WORD}{{6,}})", _mixed),
    ("sentence", rf"(?i)[\"'`](?P<secret>{_WORD}{{6,}})[\"'`]\s+(?:is|was|are)\s+(?:(?:not|no|an?|the)\s+){{0,2}}(?:\w+\s+)?{THING}\b", _mixed),
    ("sentence", rf"(?i)\b(?:log[- ]?in|log[- ]?on|sign[- ]?in)\s+(?:with|using|as)\s+[\w.@+-]{{1,64}}/(?P<secret>{_WORD}{{6,}})", places.made_up_behind),
    ("code", r"""\b(?P<name>[A-Z]\w*)\s*\(\s*(?:(?:Some|Just|Ok|Right|Value|String|Secret)\s*\(\s*){1,2}""", _held),
    ("code", r"""\b(?P<name>[A-Z]\w*)\s*\{\s*(?:(?:pub\s+)?(?:key|value|val|v|inner|raw|data|text|plain|bytes|content|0)\s*[:=]\s*)?(?:(?:Some|Just)\s*\(\s*)?""", _held),
    ("call", rf"(?i)\b(?:\w*[._])?(?:{_LOGINS})\s*\(\s*{_BEFORE}{{1,3}}(?P<secret>{_WORD}{{4,}})\s*[,)]", _argument),
    ("call", rf"(?i)\b\w*{_GIVEN}{_NOUNS}\s*\(\s*{_BEFORE}{{0,3}}(?P<secret>{_WORD}{{4,}})\s*[,)]", _argument),
    ("Redis", r"(?i)\bconfig[\"',\s\\]{1,12}set[\"',\s\\]{1,12}(?:requirepass|masterauth|masteruser)[\"',\s\\]{1,12}(?P<secret>[^\s\"',\\\])}]+)", places.whole),
)  # fmt: skip
