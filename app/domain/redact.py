"""Secrets in text, by class: what a secret looks like in each, and its removal.

Called by logs, evidence, HTTP problems and messages, before a text is shown or kept. Every expression runs on RE2 and
every reader walks forward, so that a stranger's text costs time in proportion to its length. Never decides what is
logged and never looks outside the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from app.domain.secret_names import harmless_word, is_secret_name
from app.domain.secret_values import random_looking, read_header, read_value, read_word
from app.domain.text import bounded, visible

REDACTED = "[redacted]"
MAX_TEXT = 16_000
"""Characters of one text that are looked at and kept; a traceback fits, a body of megabytes does not."""

Span = tuple[int, int]
Locate = Callable[[Any, str], Span | None]
"""Given a match and its text: where the secret stands, or None when the match is no secret."""


@dataclass(frozen=True, slots=True)
class SecretClass:
    """One way in which secrets are written."""

    name: str
    pattern: Any
    locate: Locate


_Q = r"""(?:\\{0,16}["'])"""
_NAME = r"(?P<name>[A-Za-z_][\w.-]*)"


def _place(match: Any, group: str) -> Span:
    start, end = match.span(match.re.groupindex[group])  # RE2's match takes numbers alone
    return start, end


def _whole(match: Any, _text: str) -> Span:
    start, end = match.span()
    return _place(match, "secret") if "secret" in match.re.groupindex else (start, end)


def _named_group(match: Any, text: str) -> Span | None:
    start, end = _place(match, "secret")
    named = is_secret_name(match["name"]) and start < end
    return (start, end) if named and text[start:end].strip() else None


def _named_value(match: Any, text: str) -> Span | None:
    """The value behind a name that speaks of a secret; a count such as `max_tokens=4096` and an empty value stay."""
    name = match["name"]
    if not is_secret_name(name) or text[max(0, match.start() - 11) : match.start()].lower() == "unexpected ":
        return None
    return read_value(text, match.end(), counts="token" in name.lower())


def _value(match: Any, text: str) -> Span | None:
    return read_value(text, match.end())


def _header(match: Any, text: str) -> Span | None:
    return read_header(text, match.end())


def _flag(match: Any, text: str) -> Span | None:
    if not is_secret_name(match["name"]) or text.startswith("-", match.end()):
        return None
    return read_value(text, match.end())


def _password_of_user(match: Any, text: str) -> Span | None:
    start, end = read_word(text, match.end())
    colon = text.find(":", start, end)
    return (colon + 1, end) if 0 <= colon < end - 1 else None


def _word(match: Any, text: str) -> Span | None:
    start, end = read_word(text, match.end())
    return (start, end) if start < end else None


def _lone_userinfo(match: Any, _text: str) -> Span | None:
    return _place(match, "secret") if random_looking(match["secret"]) else None


def _parameter(match: Any, _text: str) -> Span | None:
    # A status such as `?code=404` is no secret.
    return None if match["secret"].isdigit() and len(match["secret"]) < 5 else _place(match, "secret")


def _said(match: Any, text: str) -> Span | None:
    start, end = _place(match, "secret")
    word = text[start:end].rstrip(".,;:!?)'\"")
    return None if not word or harmless_word(word) else (start, start + len(word))


_TOKENS = (
    r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}|\bxapp-[\w-]{8,}|\bgh[opusr]_\w{20,}|\bgithub_pat_\w{20,}"
    r"|\bgl(?:pat|dt|rt|ptt|soat|cbt)-[\w-]{16,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}"
    r"|\b[sr]k_(?:live|test)_\w{10,}|\bwhsec_[\w+/=]{16,}|\bsk-[\w-]{16,}|\bgsk_\w{20,}|\bhf_[A-Za-z0-9]{16,}"
    r"|\bSG\.[\w-]{12,}\.[\w-]{12,}|\bya29\.[\w-]{12,}|\bshp(?:at|ca|pa|ss)_[0-9A-Za-z]{16,}|\bhv[sb]\.[\w-]{20,}"
    r"|\bpypi-[\w-]{16,}|\bnpm_\w{20,}|\bdckr_pat_[\w-]{16,}|\bdop_v1_\w{32,}|\bATATT3[\w=-]{20,}|\bNRAK-\w{20,}"
    r"|\bPMAK-[\w-]{20,}|\blin_api_\w{20,}|\brubygems_\w{20,}|\bsntrys_[\w=+/]{20,}|\bdapi[0-9a-f]{32}\b"
    r"|\bAGE-SECRET-KEY-1\w{20,}|\b\d{8,10}:AA[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
_PARAMETERS = (
    r"key|code|sig|sign|signature|auth|token|jwt|sas|otp|assertion|ticket"
    r"|x-(?:amz|goog)-(?:signature|security-token|credential)"
)
_SQL = (
    r"(?i)\b(?:password|identified(?:\s+with\s+\S{1,64})?\s+(?:by|as)(?:\s+password)?)(?:\s+|\s*[(]\s*)[EN]?"
)
_SAID = r"(?i)\b(?:password|passwd|passphrase|pwd|pin|secret|token|(?:api|access|secret|private)[ -]key)s?(?: for \S{1,64})?"


def _class(name: str, pattern: str, locate: Locate = _whole) -> SecretClass:
    return SecretClass(name, re2.compile(pattern), locate)  # type: ignore[no-untyped-call]


CLASSES: tuple[SecretClass, ...] = (
    _class(
        "armour",
        r"(?s)-----BEGIN [A-Z ]*(?:PRIVATE KEY|PGP)[A-Z ]*-----.*?(?:-----END [A-Z ]*-----|\z)",
    ),
    _class(
        "password in a URL",
        r"""(?i)\b[a-z][a-z0-9+.-]*://[^\s:/@"']*:(?P<secret>\d*(?:[^\d/?#\s"'\\<>@][^\s"'\\<>]*)?)@""",
    ),
    _class("token in a URL", r"""(?i)\b[a-z][a-z0-9+.-]*://(?P<secret>[^\s:/@"'\\<>?#]+)@""", _lone_userinfo),
    _class(
        "webhook",
        r"(?i)hooks\.slack(?:-gov)?\.com/(?P<secret>(?:services|workflows|triggers|actions)/[\w/-]+)",
    ),
    _class("webhook", r"(?i)discord(?:app)?\.com/api/(?:v\d+/)?webhooks/(?P<secret>\d+/[\w-]+)"),
    _class("webhook", r"(?i)(?:webhook\.office|outlook\.office)\.com/(?P<secret>webhook\w*/[\w@/-]+)"),
    _class(
        "header",
        rf"""(?i)\b(?:(?:proxy-)?authorization|(?:set-)?cookie2?){_Q}?(?:[ \t]*[=:]|[ \t]*,[ \t]*(?:\[[ \t]*)?b?["'])[ \t]*""",
        _header,
    ),
    _class(
        "scheme",
        r"(?:\b[Bb](?:earer|EARER)\s+|\bBasic\s+|\bToken\s+token=)(?P<secret>[\w.~+/=-]*[A-Z0-9=_.~+/-][\w.~+/=-]*)",
        lambda match, _text: _place(match, "secret") if len(match["secret"]) >= 8 else None,
    ),
    _class(
        "name and value",
        rf"(?i)\b(?:name|key|id|variable|k){_Q}?[ \t]*[:=][ \t]*{_Q}?{_NAME}{_Q}?\s*[,;]?\s*{_Q}?\b(?:value|val|v){_Q}?\s*[:=]\s*",
        _named_value,
    ),
    _class(
        "value and name",
        rf"""(?i)\bvalue{_Q}?\s*[:=]\s*\\*"(?P<secret>[^"\\]+)\\*"\s*,?\s*{_Q}?(?:name|key){_Q}?\s*[:=]\s*{_Q}?{_NAME}""",
        _named_group,
    ),
    _class("tuple", rf"""[(\[]\s*[bu]?{_Q}{_NAME}{_Q}\s*,\s*""", _named_value),
    _class(
        "XML element",
        r"<(?:[\w-]+:)?(?P<name>[\w.-]+)(?:\s[^<>]*)?>\s*(?:<!\[CDATA\[)?(?P<secret>[^<]+?)(?:\]\]>)?\s*</",
        _named_group,
    ),
    _class("SQL", _SQL + r"""(?P<open>["'])""", lambda match, text: read_value(text, _place(match, "open")[0])),
    _class("assignment", rf"{_NAME}{_Q}?[\])]?[ \t]*(?::=|=>|[=:])[ \t]*", _named_value),
    _class("flag", rf"""(?:^|[\s"'\[,])--?{_NAME}(?:[ \t]+|{_Q}[ \t]*,[ \t]*)""", _flag),
    _class("user of a tool", r"""\b(?:curl|wget|http|https)\b[^\n|;]*?\s(?:-u|--user|-U|--proxy-user)[ =]?""", _password_of_user),
    _class("password of a tool", r"\b(?:mysql|mariadb)[\w-]*\b[^\n|;]*?\s-p", _word),
    _class("password of a tool", r"\b(?:sshpass|docker login|podman login|mongo|mongosh|mongodump)\b[^\n|;]*?\s-p[ =]?", _word),
    _class("password of a tool", r"\bredis-cli\b[^\n|;]*?\s-a[ =]?", _word),
    _class("query parameter", rf"""(?i)[?&;](?:amp;)?(?:{_PARAMETERS})=(?P<secret>[^&\s"'#<>\\]+)""", _parameter),
    _class("token", _TOKENS),
    _class("said", _SAID + r"""\s+(?:is|was|now|were|(?:(?:re)?set |changed |updated )?to)(?: now| set to)?:?\s+["'`]?(?P<secret>[^\s"'`]+)""", _said),
)  # fmt: skip
"""In the order in which they are looked for: what holds a whole block first, what needs a guess last."""


def redact(text: str) -> str:
    """`text` with every recognised secret replaced by `[redacted]`; names, hosts and users stay readable.

    Rather hides too much than too little; plain counts such as `max_tokens=4096` stay. Of a longer text the first
    MAX_TEXT characters stay, so that a stranger's text costs a bounded time. Half a surrogate pair becomes its escape.
    """
    if not text:
        return text
    text = given = _encodable(bounded(text, MAX_TEXT))
    present = _present(text)
    for number, kind in enumerate(CLASSES):
        # What is taken away can bring forth what another class finds, so after that all are asked.
        if number in present or text != given:
            text = _without(text, _spans(kind, text))
    return text


def _set_of_all() -> Any:
    options = re2.Options()
    options.max_mem = _SET_MEMORY
    found = re2.Set.SearchSet(options)  # type: ignore[no-untyped-call]
    for kind in CLASSES:
        found.Add(kind.pattern.pattern)
    found.Add("")
    found.Compile()
    return found


_SET_MEMORY = 4 * 1024 * 1024
_ALL = frozenset(range(len(CLASSES)))
_SET = _set_of_all()


def _present(text: str) -> frozenset[int]:
    """The numbers of the classes whose expression is found in `text`, all in one look: most texts have none or one.

    A set of expressions says nothing when it has no memory left; the empty one, which is found in every text, tells that.
    """
    found = frozenset(_SET.Match(text) or ())
    return found if len(CLASSES) in found else _ALL


_IN_URLS = tuple(kind for kind in CLASSES if kind.name.endswith("in a URL"))
_LONGEST_USERINFO = 600


def without_userinfo(text: str, longest: int) -> str:
    """A sender's text without passwords in its URLs, at most `longest` characters; cheap where there is none, as it is done
    for every alert."""
    if "@" in text and "://" in text:
        # A password that the cut would part from its "@" is still seen as one.
        text = _encodable(text[: longest + _LONGEST_USERINFO])
        for kind in _IN_URLS:
            text = _without(text, _spans(kind, text))
    return text[:longest]


def annotation(name: str, text: str, longest: int) -> str:
    """What a sender says for people under `name`, without what looks like a secret, at most `longest` characters: templates
    of alerts put log lines and URLs there. Nothing is decided by it."""
    return REDACTED if is_secret_name(name) and text else redact(without_userinfo(text, longest))[:longest]


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _spans(kind: SecretClass, text: str) -> Iterable[Span]:
    end = 0
    for match in kind.pattern.finditer(text):
        if match.start() < end:
            continue  # inside a value that is gone already
        found = kind.locate(match, text)
        if found is not None and found[1] > found[0]:
            end = found[1]
            yield found


def _without(text: str, spans: Iterable[Span]) -> str:
    kept: list[str] = []
    at = 0
    for start, end in spans:
        kept += text[at:start], REDACTED
        at = end
    return "".join([*kept, text[at:]]) if kept else text


def _shown_key(key: Any) -> Any:
    # Names in a stranger's JSON are a stranger's text; most are plain words, and no known token is as short.
    plain = not isinstance(key, str) or (len(key) < 16 and key.isascii() and key.isidentifier())
    return key if plain else visible(redact(key))


def redact_value(value: Any, name: str = "") -> Any:
    """`value` with secrets removed at any depth, from names too; everything under a name that speaks of a secret is replaced whole."""
    if name and is_secret_name(name) and not isinstance(value, bool | int | float | None):
        return REDACTED
    if isinstance(value, str):
        return visible(redact(value))
    if isinstance(value, Mapping):
        return {_shown_key(k): redact_value(v, str(k)) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [redact_value(v) for v in value]
    return value
