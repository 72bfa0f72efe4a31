"""The removal of recognised secrets from any text: log lines, error texts, URLs.

Called wherever foreign text comes in that may be shown in messages, pages, answers and audit records, and by the log's last
processor. Pure. It recognises forms; a value without one is the business of whoever knows where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.text import bounded, visible

REDACTED = "[redacted]"
MAX_TEXT = 16_000
"""Characters of one text that are looked at and kept; a traceback fits, a body of megabytes does not."""

_SECRET_WORD = (
    r"passwords?|passwd|passphrase|secret(?!-?_?(?:key_?)?(?:name|ref)\b)|(?<!unexpected )token(?!-?_?(?:review|izer))"
    r"|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key|routing[_-]?key|encryption[_-]?key"
    r"|credentials?|session[_-]?(?:id|key)|\bpwd|(?<=[_.-])pwd|\bpass(?=[\"'\\\s]*[=:])|(?<=[_.-])pass(?=[\"'\\\s]*[=:])"
)
# The name may go on after the word (`secret_access_key`, `token_v2`). What stands before the word is not matched at
# all, which keeps the search linear in long runs of letters.
_ASSIGNED = rf"(?P<key>(?:{_SECRET_WORD})[\w.-]{{0,40}}(?:\\{{0,16}}[\"'])?\s{{0,4}}(?:=>|[=:])\s{{0,4}})"
# An unquoted value ends at a blank, a quote or a backslash, and at a separator that starts the next `name=`.
_BARE = r"(?:[^\s\"'\\&,;]|[&,;](?!\s{0,16}\\{0,16}[\"']?[\w.-]{1,64}\\{0,16}[\"']?\s{0,16}[=:]))+"
_VALUE = rf"(?:(?P<quote>\\{{0,16}}[\"'])(?:(?!(?P=quote)).|(?<=\\)(?P=quote))*(?P=quote)?|{_BARE})"

_HEADER = re.compile(
    r"(?P<key>\b(?:proxy-)?authorization(?:\\*[\"'])?\s{0,4}[=:]\s{0,4}|\b(?:set-)?cookie(?:\\*[\"'])?\s{0,4}[=:]\s{0,4})"
    r"(?P<quote>\\*[\"'])?[^\"'\\\r\n]+",
    re.IGNORECASE,
)
_PAIR = re.compile(_ASSIGNED + _VALUE, re.IGNORECASE | re.DOTALL)
_FLAG = re.compile(
    rf"(?P<key>(?<!\S)--?[\w-]{{0,40}}(?:{_SECRET_WORD})[\w-]{{0,20}}\s+)(?!-)\S+", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(?P<key>[Bb]earer\s+|Basic\s+(?=[a-z]*[A-Z0-9=])|Token\s+token=)[\w.~+/=-]{8,}")
_USERINFO = re.compile(
    r"(?P<key>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@\"']{0,256}:)(?!\d+(?:[/?#\s]|$))[^\s\"'\\<>]{0,256}(?=@)",
    re.IGNORECASE,
)
_LONGEST_USERINFO = 600
"""Characters that _USERINFO matches at most, and the @ behind it."""
_KNOWN = re.compile(
    r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}|\bxapp-[\w-]{8,}|\bgh[opusr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bsk-[\w-]{16,}|\bhvs\.[\w-]{20,}|\bpypi-[\w-]{16,}|\bnpm_\w{20,}"
    r"|\beyJ[\w-]{8,1000}\.[\w-]{8,4000}\.[\w-]*"
    r"|(?<=hooks\.slack\.com/)(?:services|workflows|triggers|actions)/[\w/-]+"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_SECRET_NAME = re.compile(rf"{_SECRET_WORD}|authorization|cookie|\bdsn\b|\bpass\b", re.IGNORECASE)
_NUMBERS = re.compile(r"tokens?[\w.-]{0,40}(?:\\*[\"'])?\s*[=:]\s*\d{1,9}(?:\.\d+)?(?![\w.-])", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with every recognised secret replaced by `[redacted]`; names, hosts and users stay readable.

    Recognises assignments (`password=x`, `"apiKey": "x"`, also inside escaped JSON), HTTP authorization and cookies,
    passwords in URLs and DSNs, command-line flags, private keys and well-known token formats. Rather hides too much
    than too little; plain counts such as `max_tokens=4096` stay. Of a longer text the first MAX_TEXT characters stay, so
    that a stranger's text costs a bounded time.
    """
    if not text:
        return text
    text = bounded(text, MAX_TEXT)
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _USERINFO.sub(rf"\g<key>{REDACTED}", text)
    text = _HEADER.sub(_keep_quote_open, text)
    text = _SCHEME.sub(rf"\g<key>{REDACTED}", text)
    text = _PAIR.sub(_keep_quotes, text)
    text = _FLAG.sub(rf"\g<key>{REDACTED}", text)
    return _KNOWN.sub(REDACTED, text)


def without_userinfo(text: str, longest: int) -> str:
    """A sender's text without passwords in its URLs, at most `longest` characters; cheap where there is none, as it is done
    for every alert."""
    if "@" in text and "://" in text:
        # A password that the cut would part from its "@" is still seen as one.
        text = _USERINFO.sub(rf"\g<key>{REDACTED}", text[: longest + _LONGEST_USERINFO])
    return text[:longest]


def _keep_quote_open(match: re.Match[str]) -> str:
    return f"{match['key']}{match['quote'] or ''}{REDACTED}"


def _keep_quotes(match: re.Match[str]) -> str:
    if _NUMBERS.fullmatch(match[0]):
        return match[0]
    quote = match["quote"] or ""
    return f"{match['key']}{quote}{REDACTED}{quote}"


def redact_value(value: Any, name: str = "") -> Any:
    """`value` with secrets removed at any depth; everything under a name that speaks of a secret is replaced whole."""
    if name and _SECRET_NAME.search(name) and not isinstance(value, bool | int | float | None):
        return REDACTED
    if isinstance(value, str):
        return visible(redact(value))
    if isinstance(value, Mapping):
        return {k: redact_value(v, str(k)) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [redact_value(v) for v in value]
    return value
