"""Messages of the API server and of admission without the values that they quote: an environment variable is a field's value too.

Called by `app.kube.faults` and whoever shows such a message. Knows how field errors are written (`Invalid value`, `Unsupported
value`, `Duplicate value`, `Not found`, `Too many`: a value as a Go string, JSON or a Go struct, then what is wrong with it), and that any other quoted
text may be a value unless a word before or behind it says that it is a name. Walks forward. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.domain.redact import MAX_TEXT, REDACTED, redact
from app.domain.secret_quotes import closing, closing_quote
from app.domain.secret_words import made_up
from app.domain.text import bounded

_SLACK = 1_000
_FIELD_ERROR = re.compile(
    r"\b((?:Invalid|Unsupported|Duplicate) value|Not found|Required value|Too (?:many|few|long|short)|Forbidden): (?=\S)"
)
_ABOUT = re.compile(r"[a-z][a-z0-9 ,.'`*-]*(?:$|[^a-z0-9 ,.'`*-])")
_WITHOUT = re.compile(r"(?:must|should|may|cannot|can) |supported values: ")
_GO = re.compile(r"[&*]?(?:map\[[^\]\n]{0,80}\])?(?:\[\])?[\w.*]*(?:interface \{\})?")
_DIFF = re.compile(r"\n[^\S\n]*+(?:[&+-][^\S\n]*+)?(?:\w+\.\w+\{|\(?\*?\w+\.\w+\)?\(?\{?|map\[|\{|\.\.\. //)")
_QUOTE = re.compile(r"(?<![A-Za-z0-9])[\"'`]|[\"`]")
_NAMES = re.compile(
    r"(?:^\S+|\b(?:webhook|resource|subresource|group|namespace|kind|field|user|quota|serviceaccount|account|secret|configmap|priorityclass|class|policy|binding|rule"
    r"|container|initcontainer|pod|node|volume|claim|image|driver|limit|gate|condition|metric|version|podsecurity|object|verb|manager|with|type|struct|is invalid:|owner|schema|api|scope|for key|key|service|runtime for|storageclass|ingressclass))\s\Z"
    r"|\bplugin type=\Z|\bprovide (?:labels|annotations): \{(?:\"[\w./-]{1,100}\", ?)*\Z",
    re.IGNORECASE,
)
"""What stands before a name in quotes."""
_DEMANDED = re.compile(
    r"validation (?:error|failure): (?:(?:[A-Z]?[a-z]{1,20}|[A-Z]{2,6})[,.:]? ){1,60}rule [\w.-]{1,100} failed at path [\w./-]{1,200}"
)
"""What a policy of Kyverno demands, in plain words alone: a value has a sign, a digit, a quote or capitals in it."""
_STANDARD = frozenset(
    {"ALL", "NET_BIND_SERVICE", "RuntimeDefault", "Localhost", "Unconfined", "True", "False", "Unknown"}
)
"""What the Pod Security Standards demand or forbid, which admission quotes, and how a condition stands: words of Kubernetes itself."""
_NAMED = re.compile(r"\s(?:is (?:invalid|forbidden)|not found|already exists|cannot\b)")
_NAME = re.compile(r"[\w.:/*@\[\]$-]{0,253}|[a-z]+(?: [a-z]+){1,8}")
_SUPPORTED = re.compile(r"supported values: (?:\"[^\"\n]{0,100}\"(?:, )?){1,100}")
_URL = re.compile(r"(https?://[^/?#\s\"]{1,253})[/?#]?.*", re.DOTALL)
_ENVIRONMENT = re.compile(rf"\b([A-Z][A-Z0-9_]{{0,100}}=)(?!{re.escape(REDACTED)})[^\s,;)\]\"']+")
_HOOK = ("hook ([", "]) for ")
"""How the kubelet names a lifecycle hook by its command, which is the pod template's."""
_SAID_VALUE = re.compile(r"\b(value|got|found|was|is|saw|received) ([^\s\"'`]+)")


def without_values(text: str) -> str:
    """A message of the API server without the values that it quotes, and redacted; at most some 16,000 characters. It is looked at a
    little further than it is kept and cut afterwards, so that a value that the cut would split is known for one."""
    cut = len(text) > MAX_TEXT
    text = text[: MAX_TEXT + _SLACK]
    first, last = (text.find(_HOOK[0]), text.rfind(_HOOK[1]))
    if 0 <= first < last:
        text = f"{text[:first]}hook ({REDACTED}){text[last + 2 :]}"
    if diff := _DIFF.search(text):
        text = f"{text[: diff.start()]} {REDACTED}"
    text = "".join(_unquoted("".join(_without_field_values(text)), cut=cut))
    text = _ENVIRONMENT.sub(rf"\1{REDACTED}", text)
    text = _SAID_VALUE.sub(lambda m: f"{m[1]} {REDACTED}" if made_up(m[2].rstrip(".,;:")) else m[0], text)
    return bounded(redact(text), max(0, min(MAX_TEXT, len(text) - _SLACK))) if cut else redact(text)


def told_by(text: object, longest: int = 200) -> str:
    """What a status, a condition or an annotation says, as a part of a sentence: one line of at most `longest` characters, without the values
    that admission quotes."""
    return bounded(" ".join(without_values(str(text or "")).split()), longest)


def _without_field_values(text: str) -> Iterator[str]:
    at = 0
    for error in _FIELD_ERROR.finditer(text):
        if error.start() < at:
            continue
        start = error.end()
        about = error[1][0] in "RFT"
        if (about and _ABOUT.match(text, start)) or _WITHOUT.match(text, start):
            continue  # no value, but what is wrong
        yield text[at : error.end(1)]
        at = _end_of_value(text, start)
    yield text[at:]


def _end_of_value(text: str, at: int) -> int:
    """Where the value ends that begins at `at`. What cannot be read as one ends with the text."""
    go = _GO.match(text, at)
    place = go.end() if go else at
    if text[at] in "\"'`":
        closed = closing_quote(text, at + 1, 0, text[at])
        end = closed[1] if closed else len(text)
    elif text[place : place + 1] in ("{", "[", "("):
        end = closing(text, place)
    else:
        end = min((found for sign in (": ", "\n") if (found := text.find(sign, at)) >= 0), default=len(text))
    return end if text[end : end + 1] in ("", ":", ",", "]", ";", ")", "\n") else len(text)


def _unquoted(text: str, *, cut: bool) -> Iterator[str]:
    """`text` without what stands in quotes, unless that is a name or one of the values that are supported. What is still open at the end
    of a text that was `cut` is a value too."""
    listed = [found.span() for found in _SUPPORTED.finditer(text)]
    at = 0
    for opened in _QUOTE.finditer(text):
        start = opened.start()
        if start < at or any(first <= start < last for first, last in listed):
            continue
        closed = closing_quote(text, opened.end(), 0, opened[0])
        if closed is None and opened[0] == "'" and not cut:
            continue
        end, behind = closed or (len(text), len(text))
        said = text[opened.end() : end]
        named = _NAMES.search(text[max(0, start - 64) : start]) or _NAMED.match(text, behind)
        if said in _STANDARD or (named and _NAME.fullmatch(said)) or _DEMANDED.fullmatch(said):
            shown = text[start:behind]
        elif "@" not in said and (url := _URL.fullmatch(said)):
            shown = f"{opened[0]}{url[1]}{opened[0]}"
        else:
            shown = REDACTED
        yield text[at:start] + shown
        at = behind
    yield text[at:]
