"""Secrets that are none: nothing in them that anybody could see, too little, a text that stands in their place, or one that anybody
would try first.

Asked by the settings at the start and by the authentication for each token; `digests_of_none` is the same notion for those of whom only a
digest is known. Says what is wrong in words that show nothing of the value. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from app.domain.text import CONTROL

LEAST = 8
"""Visible characters of a secret that somebody else made; the shortest that Slack and PagerDuty give have 20."""
_FEWEST = 4
"""Different characters of a secret."""

_TEMPLATE = re.compile(
    r"\$\{.*\}|\$\(.*\)|\$[A-Z_][A-Z0-9_]*|\{\{.*\}\}|<.*>|%[A-Z_]+%|@@?[A-Z_]+@@?|\[\]|\{\}|null|nil|none|undefined|no value"
    r"|(?:ref\+)?(?:vault|bao|op|sm|ssm|awssm|aws-sm|awsssm|awssecrets|gcpsecrets|gcpsm|gsm|azurekeyvault|akv|keyvault|doppler|infisical|bws|keeper|secretref|env|file)"
    r":[^\s:]*[/#A-Z].*|arn:aws[a-z-]*:(?:secretsmanager|ssm):.*|projects/[^/]+/secrets/.*|@microsoft\.keyvault\(.*|!vault.*|\$ansible_vault.*|enc\[.*\]|\{cipher\}.*",
    re.IGNORECASE | re.DOTALL,
)
"""What a template leaves where it was not filled in, and what somebody else should have put a value in the place of."""
_UNDONE = re.compile(r"(?:todo|fixme|tbd)\b.*|[x*._#?-]+", re.IGNORECASE | re.DOTALL)
_OWNERS = ("your", "my", "the", "some", "a")
_THINGS = ("secret", "password", "passwd", "pass", "token", "key", "apikey", "credential", "credentials", "secrets", "tokens", "keys", "value")  # fmt: skip
_KINDS = ("test", "testing", "dev", "demo", "default", "admin", "root", "user", "example", "sample", "dummy", "fake", "temp", "super", "very", "top",
          "bearer", "initial", "new", "insecure", "local", "prod", "staging", "ci", "api", "auth", "read", "remediator")  # fmt: skip
_VERBS = ("change", "replace", "fill", "insert", "set", "put", "enter", "update")
_WHAT = ("", "me", "this", "it", "in", "your", "the")
_MORE = ("", "in", "please", "now", "here", "secret", "password", "token", "key", "value")
_WORDS = ("passphrase", "passwords", "accesskey", "secretkey", "secrettoken", "secretpassword", "accesstoken", "bearertoken", "unset", "empty", "false", "true", "todo", "fixme", "tbd", "placeholder", "redacted", "null", "nil", "none", "undefined", "novalue",
          "test", "testing", "tester", "testtest", "dev", "demo", "default", "admin", "administrator", "adminadmin", "root", "toor", "user", "guest",
          "example", "sample", "dummy", "fake", "temp", "supersecret", "topsecret", "passw0rd", "p@ssw0rd", "p@ssword", "pa55word", "letmein",
          "welcome", "monkey", "dragon", "iloveyou", "sunshine", "princess", "football", "trustno1", "foobar", "foobarbaz", "foo", "bar", "baz",
          "hello", "helloworld", "opensesame", "hunter2", "changeit", "bearer", "remediator", "qwerty", "asdf", "asdfgh", "zxcvbn", "abc", "abcd", "alertremediator", "alertmanager", "prometheus")  # fmt: skip
_TAILS = (
    "",
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "123456",
    "12345678",
    "!",
    "1!",
    "123!",
    "01",
    "2024",
    "2025",
    "2026",
)
_ROWS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertyuiopasdfghjklzxcvbnm", "1q2w3e4r5t6y7u8i9o0p",
         "1qaz2wsx3edc4rfv", "qazwsxedcrfv", "a1b2c3d4e5f6g7h8", "abc123abc123", "abcd1234", "q1w2e3r4t5y6", "password123456", "deadbeefdeadbeef", "123123123123", "112233445566")  # fmt: skip
"""What somebody types who needs any sign at all: each part of these, either way round."""


def _phrases() -> Iterator[tuple[str, ...]]:
    """What placeholders and first guesses are made of, in their parts."""
    yield from ((word,) for word in (*_WORDS, *_THINGS))
    yield from product((*_OWNERS, *_KINDS), _THINGS)
    yield from product(_THINGS, ("here",))
    yield from product(_OWNERS, _THINGS, ("here",))
    yield from product(_VERBS, _WHAT, _MORE)


_BEHIND = "0123456789!?@#$%"
_TAIL = 9
_GUESSED = frozenset("".join(phrase) for phrase in _phrases())


def visible_characters(text: str) -> str:
    """Those characters of `text` that somebody could see."""
    return "".join(c for c in CONTROL.sub("", text) if not c.isspace() and c.isprintable())


def is_left(text: str) -> bool:
    """Whether nothing is in `text`, or what a template leaves where a value belongs; with its quotes or without. Of passwords that
    others check, so that any word may be one."""
    bare = _bare(text)
    return not bare or _TEMPLATE.fullmatch(bare) is not None


def _bare(text: str) -> str:
    return " ".join(text.split()).strip("\"'` ")


def _is_guessed(text: str) -> bool:
    """Whether it is among what anybody would try: such words with what people put behind them, few signs, or a row of them."""
    plain = re.sub(r"[-_ .]", "", _bare(text).lower())
    rows = any(plain in row or plain in row[::-1] for row in _ROWS)
    words = max(len(plain.rstrip(_BEHIND)), len(plain) - _TAIL)
    guessed = any(plain[:end] in _GUESSED for end in range(words, len(plain) + 1))
    return rows or guessed or len(set(plain)) < _FEWEST


def fault_in_secret(text: str, least: int = LEAST) -> str:
    """What is wrong with a secret, as one clause; empty when nothing is."""
    seen = visible_characters(text)
    if not seen.strip(","):
        return "is empty; give it a value or unset it"
    if is_left(text) or _UNDONE.fullmatch(_bare(text)):
        return "is a placeholder; give it a value or unset it"
    if CONTROL.search(text):
        return "has characters that nobody sees"
    if len(seen) < least:
        return f"must have {least} visible characters or more"
    if _is_guessed(text):
        return "is a placeholder, or one that anybody would try; give it a value that was made by chance"
    return ""


@lru_cache(maxsize=1)
def digests_of_none() -> frozenset[str]:
    """The SHA-256 of texts that are no secret: the ones above as people and templates write them. A line end behind them is what `echo`
    gives. What is not among them is refused when it is shown."""
    return frozenset(
        hashlib.sha256(text.encode("utf-8", "surrogatepass") + end).hexdigest()
        for text in _texts_of_none()
        for end in (b"", b"\n")
    )


def _texts_of_none() -> Iterator[str]:
    yield from ("", "\r", "  ", "[]", "{}", '""', "''")
    yield from map(chr, (*range(0x3000), 0x3164, *range(0xFE00, 0x10000), *range(0xE0000, 0xE0200)))
    for word in ("null", "none", "None", "nil", "undefined", "<no value>", "<nil>", "changeme"):
        yield from (f"{quote}{word}{quote}" for quote in ("", '"', "'"))
    for phrase in _phrases():
        for sign in ("", "-", "_", " ") if len(phrase) > 1 else ("",):
            yield from _in_cases(sign.join(part for part in phrase if part))
    for word, tail in product(
        (*_WORDS, *_THINGS, "changeme", "testtoken", "admintoken", "mysecret", "mytoken"), _TAILS
    ):
        yield from _in_cases(word + tail)
    for thing in (
        *_THINGS[:8],
        "remediator_token",
        "remediator_tokens",
        "api_token",
        "api_key",
        "auth_token",
    ):
        for name in (thing, thing.upper()):
            yield from (f"${name}", f"${{{name}}}", f"$({name})", f"<{name}>", f"<your-{name}>", f"<your-{name}-here>", f"%{name}%", f"{{{{ .Values.{name} }}}}", f"{{{{ {name} }}}}", f"{{{{{name}}}}}")  # fmt: skip
    for row in _ROWS:
        for text in (row, row[::-1]):
            yield from (
                text[at : at + size] for size in range(1, len(text) + 1) for at in range(len(text) - size + 1)
            )
    for sign in map(chr, range(0x21, 0x7F)):
        yield from (sign * number for number in range(2, 65))


def _in_cases(text: str) -> tuple[str, str, str]:
    return text, text.upper(), text.capitalize()
