"""Whether what stands behind a name and its sign says something of the secret, or is something else by how it is written.

Used by `app.domain.secret_places`. Looks a bounded way around. Pure.
"""

from __future__ import annotations

import re

from app.domain.secret_names import (
    harmless_word,
    is_part_of_a_system,
    is_place,
    is_secret_name,
    is_told_of_another,
    says_state,
)
from app.domain.secret_plain import tells_no_secret
from app.domain.secret_types import TYPED
from app.domain.secret_words import made_up, only_faults

Span = tuple[int, int]
_LINE = 400


def is_unexpected(name: str, text: str, at: int) -> bool:
    """A parser says what it did not want: `unexpected token: …`."""
    if name.lower() != "token":
        return False
    parsed = _PARSED.match(text, at)
    refused = text[max(0, at - 11) : at].lower().endswith(("invalid ", "illegal ", "bad ", "stray "))
    return text[max(0, at - 11) : at].lower() == "unexpected " or (
        refused and parsed is not None and not made_up(parsed["said"])
    )


_PARSED = re.compile(
    r"token:? [\"'`]?(?P<said>[^\"'`\s]{1,24})[\"'`]? (?:at|on|near|in) (?:line|position|column|offset|char|JSON)\b",
    re.IGNORECASE,
)


def is_said_of(name: str, text: str, place: Span, behind: str) -> bool:
    """Whether what stands behind a name and its sign says something of the secret, or is none by how it is written."""
    start, after = place
    said = text[after : after + _LINE].partition("\n")[0]
    told = "=" not in behind and behind[-1:] in " \t"
    line = said if told or name.lower().endswith("dsn") else ""
    if (
        ">" in behind
        and TYPED.match(text, after) is None
        and harmless_word(said[:64].partition(" ")[0].strip())
    ):
        return True
    if behind == ":" and is_place(name, text, start, after):
        return True
    if behind.strip(" \t") == ":" != behind and is_part_of_a_system(name, said):
        return True
    if (usual := _PLAIN_VALUES.get(name.lower())) and usual.match(text, after):
        return True
    if (
        only_faults(text, after)
        or tells_no_secret(name, said)
        or is_told_of_another(text, start, after, behind)
    ):
        return True
    named = behind == ":" and _ARN.search(text[max(0, start - 80) : start])
    if named or (text[max(0, start - 1) : start] == "/" and _STATUS.match(text, after)):
        return True  # a name, or a path
    if ":" in behind and (given := _GIVEN_NAME.match(text, after)) and is_secret_name(given["name"]):
        return True  # a name, and its value behind it
    if told and _GOT.match(line):
        return True  # a sentence, as `refused_beside` reads it
    return (told and says_state(name, line)) or (
        name.lower().endswith("dsn") and _PAIRS.match(line) is not None
    )


_GIVEN_NAME = re.compile(r"(?P<name>[A-Z][A-Z0-9_]{2,80})[ \t]+=[ \t]+(?=\S)")


_GOT = re.compile(r"(?:got|received|given|found|actual|expected)\b:?\s")
_PATH = re.compile(r"/(?:[a-z._-]{1,64}/){0,16}[a-z._-]{0,64}(?=$|[\s:;,\"'])")
_OAUTH = r"invalid_(?:grant|client|request|scope|token)|unauthorized_client|access_denied"
_PLAIN_VALUES = {
    **dict.fromkeys(("pwd", "oldpwd"), _PATH),
    "pass": re.compile(
        r"\d{1,6}[,;]?\s+\W{0,2}(?:fail|skip|err|warn|total|pend|ignore|xfail|todo)\w*\s?[:=]", re.IGNORECASE
    ),
    "credentials": re.compile(r"[\"']?(?:omit|include|same-origin)\b"),
    **dict.fromkeys(("oauth", "oauth2"), re.compile(rf"(?:{_OAUTH})\b")),
    "auth": re.compile(
        rf"(?:(?:method|mechanism|type|mode|scheme)=[A-Za-z][A-Za-z-]{{0,24}}(?:-\d{{1,3}}(?:-plus)?)?(?:[ ](?:user|username|host|db|database|realm|port|client|role|status|result)=[\w.-]{{1,64}}){{0,8}}[ \r]*(?:\n|\Z))"
        rf"|[\"']?(?:off|on|{_OAUTH}|handshake failed|failed|failure|ok|success|denied|required|none|disabled|enabled|ldaps?|basic|digest|bearer|oauth2?|oidc|saml2?|kerberos|krb5|gssapi|ntlm|spnego|sspi"
        r"|negotiate|plain|login|cram-md5|scram(?:-sha-\d+(?:-plus)?)?|md5|trust|peer|ident|cert|mtls|tls|ssl|radius|pam|iam|jwt|anonymous|internal|external|local|native)(?=$|[\s,;\"'])"
    ),
}
"""What names that rarely mean a secret hold else: the directory of a shell, the outcome of a login."""
_ARN = re.compile(r"arn:aws[a-z-]{0,12}:secretsmanager:[\w-]{0,20}:\d{0,12}:\Z")
_STATUS = re.compile(r"[1-5]\d\d(?![\w.-])")
_PAIRS = re.compile(r"\w+=")
