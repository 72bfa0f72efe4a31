"""Secrets that are none: nothing in them that anybody could see, too little, a text that stands in their place, or one that anybody
would try first.

Asked by the settings at the start and by the authentication for each token; `is_digest_of_none` is the same notion for those of whom only a
digest is known. Says what is wrong in words that show nothing of the value. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
import unicodedata
import urllib.parse
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import product

from app.domain.text import CONTROL

LEAST = 8
"""Visible characters of a secret that somebody else made; the shortest that Slack and PagerDuty give have 20."""
_FEWEST = 4
"""Different characters of a secret."""

_TEMPLATE = re.compile(
    r"\$\{.*\}|\$\(.*\)|\$(?:env:)?[A-Z_][A-Z0-9_]*|(?:(?:os\.)?(?:get)?env(?:iron)?|process\.env|secrets?|vault|lookup|var|ref)[.(\[].*[)\]]|(?:process\.env|secrets|var|env)\.[A-Z_]\w*|\{\{.*\}\}|<.*>|%[A-Z_]+%|@@?[A-Z_]+@@?|\[\]|\{\}|null|nil|none|undefined|no value"
    r"|(?:ref\+)?(?:vault|bao|op|sm|ssm|awssm|aws-sm|awsssm|awssecrets|gcpsecrets|gcpsm|gsm|azurekeyvault|akv|keyvault|doppler|infisical|bws|keeper|secretref|env|file|sops)"
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
          "hello", "helloworld", "opensesame", "hunter2", "changeit", "bearer", "remediator", "qwerty", "asdf", "asdfgh", "zxcvbn", "abc", "abcd", "alertremediator", "alertmanager", "prometheus",
          "kubernetes", "geheim", "passwort", "contrase\u00f1a", "contrasena", "motdepasse", "senha", "\u043f\u0430\u0440\u043e\u043b\u044c", "winter", "summer", "spring", "autumn", "superman", "batman", "master",
          "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december", "monday", "friday", "sunday", "bob", "alice", "john",
          "wachtwoord", "salasana", "haslo", "has\u0142o", "tajnehaslo", "losenord", "l\u00f6senord", "parola", "heslo", "jelszo", "adgangskode", "kodeord", "sifre", "clave", "parol", "michael", "shadow", "baseball", "correcthorsebatterystaple", "letmeinnow", "donottellanyone", "keepitsecret", "mysecretpassword", "hunter")  # fmt: skip
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
         "1qaz2wsx3edc4rfv", "qazwsxedcrfv", "a1b2c3d4e5f6g7h8", "abc123abc123", "abcd1234", "q1w2e3r4t5y6", "password123456", "deadbeefdeadbeef", "123123123123", "112233445566",
         "01234567890abcdef", "0123456789abcdefghijklmnopqrstuvwxyz", "zaq12wsxcde34rfv", "!qaz2wsx", "zaq1@wsx", "asdfghjkl;", "qweasdzxcrfv", "qweasdzxc123")  # fmt: skip
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
_FILLERS = (
    "an", "not", "no", "is", "so", "it", "be", "to", "by", "at", "from", "see", "here", "goes", "with", "this", "that", "value", "string", "random", "generate", "generated",
    "replaced", "replace", "defined", "later", "real", "valid", "example", "sample", "placeholder", "unsafe", "keep", "bot", "app", "access", "signing", "webhook", "slack",
    "pagerduty", "alert", "oidc", "grafana", "alertmanager", "runtime", "injected", "vault", "encryption", "database", "routing", "audit", "do", "use", "never", "please",
    "change", "changed", "changeme", "me", "input", "text", "word", "where", "should", "before", "deploy", "production", "object", "redacted", "hidden", "removed",
    "undefined", "null", "none", "empty", "unset", "provide", "provided", "add",
    "must", "will", "shall", "can", "been", "being", "was", "are", "need", "needs", "needed", "done", "strong", "secure", "unique", "long", "own", "something", "anything", "else", "of", "on", "for", "and", "or",
    "auto", "automatically", "install", "installed", "installation", "setup", "during", "build", "start", "startup", "time", "override", "overridden", "overwritten", "overwrite", "stored", "store", "kept", "found", "lives", "managed", "manager",
    "aws", "gcp", "azure", "sops", "sealed", "lastpass", "onepassword", "password", "keepass", "bitwarden", "env", "environment", "variable", "config", "configmap", "helm", "terraform", "ansible", "kubernetes",
    "cluster", "development", "ingest", "operate", "operator", "ops", "trigger", "readonly", "write", "viewer", "editor", "superuser", "service", "account", "name", "next", "release", "rotate", "rotated", "supplied", "supply", "given", "give", "assigned", "assign",
    "missing", "required", "optional", "todo", "fixme", "tbd", "later", "before", "after", "use", "using", "only", "ignore", "ignored", "nothing", "blank", "left", "intentionally",
)  # fmt: skip
_SPOKEN = frozenset((*_OWNERS, *_THINGS, *_KINDS, *_VERBS, *_WHAT, *_MORE, *_FILLERS)) - {""}
"""Words that say what belongs there: a text of nothing else holds no secret."""
_LONGEST_WORD = max(map(len, _SPOKEN))
_POINTS = re.compile(
    r"/(?:run|var|etc|mnt|opt|home|tmp|secrets?|vault|srv|usr|root)/\S*|file://.*|https?://[^/\s]*vault[^/\s]*/.*|(?:secrets?|kv)/[\w.-]+/[\w./#-]*|(?:system|java)\.[\w.]+(?:\[\])?"
    r"|#\{.*\}|[a-z0-9+/]{6,60}example(?:key)?|(?:xox[a-z]|xapp)-(?:[\dx.]{0,2}-?)?[x.*-]{0,80}",
    re.IGNORECASE | re.DOTALL,
)
"""What points to where a secret is kept, and keys of documents."""
_DOCUMENTED = re.compile(
    r"123e4567-e89b-12d3-a456-42661417400\d|550e8400-e29b-41d4-a716-446655440000|6ba7b81\d-9dad-11d1-80b4-00c04fd430c8|f47ac10b-58cc-4372-a567-0e02b2c3d479"
    r"|(?:dead(?:beef|c0de|babe|fa11)?|beef|cafe(?:babe|d00d|f00d)?|babe|face(?:feed)?|feed(?:face)?|f00d|c0ffee|coffee|badc?0?ffee|ba?ad(?:f00d)?|0?ff1ce|decaf|0x)+",
    re.IGNORECASE,
)
"""Ids that specifications print, and words that are spelled in hex."""
_LEADS = re.compile(
    r"(?:(?:xox[a-z]|xapp(?:-\d)?)-|u\+|\A(?:basic|token)\s+|bearer\s+|\A[srpw]k[-_](?:(?:test|live|proj)[-_])?|\A(?:gh[opsu]_|glpat-|npm_|hf_|whsec_|github_pat_|pypi-|hv[sb]\.))(?=[^a-z]*[a-z])",
    re.IGNORECASE,
)
"""What tokens of a kind begin with."""
_ASSIGNED = re.compile(
    r"\s*(?:(?:export|set|setx|env|let|const|var)\s+)?[\"']?\$?(?:env:)?(?:[A-Z_]{3,60}|[a-z][a-z_.-]{2,60})[\"']?\s*(?::?=|:\s)\s*+(?P<value>(?=(?:\W*\w){4}|\W{5,}\Z)\S.{3,})|\{\s*[\"']?[A-Za-z_.-]{1,60}[\"']?\s*[:=]\s*(?P<member>.{4,}?)\s*\}",
    re.DOTALL,
)
"""The name of a variable before its value, as files and shells write it."""
_AROUND = "*#_-.~+=|!:;, \t\r\n"
"""Signs that people put around a word so that it is seen."""
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2}|[^%\s])*%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2}|[^%\s])*")
_BASE32 = re.compile(r"(?:[A-Z2-7]{8})*[A-Z2-7]{2,8}={0,6}")
_LOOKS_LIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0455\u0458\u043a\u043c\u043d\u0442\u0432\u0501\u03bf\u03b1\u03b5\u03c1\u03c5\u03b9\u03ba\u03bd\u03c4$@013457",
    "aeopcxyisjkmhtbdoaepuikvtsaoieast",
)
"""Letters of other scripts and signs that people write in the place of a Latin letter."""
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){4,}")
_DECODED = 2
_READ = 1_024
"""Characters of a text that is read otherwise: strangers show tokens too."""


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


def _readings(text: str) -> Iterator[str]:
    """`text` as it stands, and as it reads without styles, brackets and what tokens begin with, decoded, and of what repeats one part."""
    seen, left = {text}, [(text, 0)]
    while left:
        read, decoded = left.pop()
        yield read
        plain = unicodedata.normalize("NFKC", read).lower()
        others = [plain, plain.translate(_LOOKS_LIKE), _without_brackets(read), _LEADS.sub("", read, count=1)]
        others += (_without_frame(read), html.unescape(read))
        if given := _ASSIGNED.fullmatch(read):
            others.append(given["value"] or given["member"])
        together = "".join(read.split())
        others.append(together[: _period(together)] if together == read else together)
        found = [(each, decoded) for each in others]
        if decoded < _DECODED:
            found += [(each, decoded + 1) for each in _decodings(read)]
        new = {each: depth for each, depth in found if each.strip() and each not in seen}
        seen |= set(new)
        left += new.items()


def _without_frame(text: str) -> str:
    """Without the signs that people put around a word so that it is seen; as it is where little would be left."""
    inner = text.strip(_AROUND)
    framed = text[:1] in _AROUND and text[-1:] in _AROUND
    return inner if framed and len(inner) >= LEAST - 2 else text


def _without_brackets(text: str) -> str:
    """Without brackets and quotes of any script around it."""
    start, end = 0, len(text)
    while start < end and _opens_or_closes(text[start]):
        start += 1
    while end > start and _opens_or_closes(text[end - 1]):
        end -= 1
    return text[start:end]


def _opens_or_closes(sign: str) -> bool:
    return sign.isspace() or sign in "\"'`<>" or unicodedata.category(sign) in ("Ps", "Pe", "Pi", "Pf")


def _period(text: str) -> int:
    """The length of the shortest part that the text repeats twice or more; its own length when it repeats none."""
    fits, matched = [0] * len(text), 0
    for at in range(1, len(text)):
        while matched and text[at] != text[matched]:
            matched = fits[matched - 1]
        matched += text[at] == text[matched]
        fits[at] = matched
    shortest = len(text) - matched
    return shortest if 0 < shortest <= len(text) // 2 else len(text)


def _decodings(text: str) -> Iterator[str]:
    """The texts that it is the hex, the base64, the base32 or the percent-encoding of."""
    raw: list[bytes] = []
    if _PERCENT.fullmatch(text):
        raw.append(urllib.parse.unquote_to_bytes(text))
    if _BASE32.fullmatch(text):
        bare = text.rstrip("=")
        with suppress(binascii.Error):
            raw.append(base64.b32decode(bare + "=" * (-len(bare) % 8)))
    if _HEX.fullmatch(text):
        raw.append(bytes.fromhex(text))
    if _ENCODED.fullmatch(text):
        padded = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        with suppress(binascii.Error):
            raw.append(base64.b64decode(padded + "=" * (-len(padded) % 4)))
    for each in raw:
        try:
            read = each.decode("utf-8").strip()
        except UnicodeDecodeError:
            continue
        if len(read) >= LEAST - 2 and read.isprintable():
            yield read


def _is_spoken(text: str) -> bool:
    """Whether it is nothing but words that say what belongs there, with signs between them or without."""
    letters = re.sub(r"[^a-z]", "", text.lower())
    if len(letters) < len(re.sub(r"[-_ .:/!]", "", text)) - _TAIL // 2 or not letters:
        return False
    parted = re.search(r"[A-Za-z][-_ .:/]+[A-Za-z]", text) is not None
    ends, told = {0}, set[int]()  # where words end, and where one of them is more than chance
    for end in range(1, len(letters) + 1):
        sizes = [
            size
            for size in range(1, _LONGEST_WORD + 1)
            if end - size in ends and letters[end - size : end] in _SPOKEN
        ]
        if sizes:
            ends.add(end)
            if parted or max(sizes) >= _NO_CHANCE or any(end - size in told for size in sizes):
                told.add(end)
        elif end - max(ends) >= _LONGEST_WORD:
            return False
    return len(letters) in told


_NO_CHANCE = 4
"""Letters of a word that hex and other texts made by chance rarely spell."""


def _is_known(text: str, least: int) -> bool:
    """Whether anybody would try it, or knows where it comes from, however it is written."""
    if len(text) > _READ:
        return _is_guessed(text)
    short = _period(text) < min(least, LEAST)
    return short or any(
        _is_guessed(read)
        or _is_spoken(read)
        or is_left(read)
        or _UNDONE.fullmatch(_bare(read)) is not None
        or _POINTS.fullmatch(read) is not None
        or _DOCUMENTED.fullmatch(read) is not None
        for read in _readings(text)
    )


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
    if _is_known(text, least):
        return "is a placeholder, or one that anybody would try; give it a value that was made by chance"
    return ""


def is_digest_of_none(digest: str) -> bool:
    """Whether `digest`, a SHA-256 in hex, is that of a text that is no secret: the ones above as people and templates write them. A line end
    behind them is what `echo` gives. What is not among them is refused when it is shown."""
    known, sought = _digests_of_none(), int(digest[:16], 16)
    at = bisect_left(known, sought)
    return at < len(known) and known[at] == sought


@lru_cache(maxsize=1)
def _digests_of_none() -> Sequence[int]:
    """The first 64 bits of each, sorted. As texts they would hold 13 MiB; that another secret shares them is as good as impossible."""
    heads = (
        int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass") + end).digest()[:8], "big")
        for text in _texts_of_none()
        for end in (b"", b"\n")
    )
    return array("Q", sorted(heads))


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
