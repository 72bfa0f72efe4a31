"""What stands under the name of a secret and is none by its form: counts and states under plurals, and under the name of a key, a code or a signature
a file, a topic, a state or an algorithm.

Used by the readers of `app.domain.redact`. Looks at one name and at what stands right behind it. Pure.
"""

from __future__ import annotations

import re

from app.domain.secret_names import PARTS, STATES, is_secret_name
from app.domain.secret_words import made_up

_Q = r"\\{0,16}[\"'`]?"
_COUNT = r"\d{1,3}(?:/\d{1,5}| of \d{1,5})?"
_OF_NO_SECRET = r"[A-Za-z][a-z_-]{0,20}|(?=[^\s,]{0,39}[*/])[A-Za-z_.*/?!-]{1,40}|\d[\d_]{0,11}(?:\.\d{1,9})?|\d{1,5}(?:/| of )\d{1,5}|(?:oauth|saml|krb|v)\d"
_OF_PINS = r"\d{1,3}(?:-\d{1,3})?|(?:GPIO|gpio|IO|[A-D])\d{1,3}|[A-Za-z][A-Za-z_-]{0,40}==\d[\d.]{0,20}|/[a-z_/-]{2,80}"
_ENDED = r"(?=\s*(?:$|[\]})\"'<\\]|\.(?:\s|$))|[,;&]?\s{0,4}\\{0,16}[\"']?[\w.-]{1,64}\\{0,16}[\"']?\s?[:=]|\s{1,4}[a-z]{1,14}(?:[\s,.;:)!\"'\\\\]|$))"


_ITEM_ENDS = r"(?=$|[\s,;|\]})\"'<\\&]|\.(?:\s|$))(?!\s?[:=])"


def _under(item: str, most: int = 200) -> re.Pattern[str]:
    one = rf"{_Q}(?:{item}){_Q}{_ITEM_ENDS}"
    return re.compile(
        rf"(?>\[?\s{{0,4}}{one}(?:\s{{0,4}}[,;|]\s{{0,4}}{one}){{0,{most}}}(?:\s{{0,4}}\])?){_ENDED}"
    )


_ALWAYS_MADE_UP = frozenset({"toks", "tkns", "auths", "jwts", "dsns", "pats"})
_NO_SECRETS = {
    **dict.fromkeys(_ALWAYS_MADE_UP, _under(_OF_NO_SECRET)),
    **dict.fromkeys(("otps", "pws", "psws", "pswds", "psks", "codes"), _under(rf"{_COUNT}|{STATES}", 0)),
    "pins": _under(rf"{_COUNT}|{STATES}|{_OF_PINS}"),
}
"""What stands under plurals besides secrets: under those of what is always made up words, patterns and numbers, else counts and states."""
_IN_USE = r"(?:AWS4-)?(?i:hmac[-_]?)?(?i:sha)[-_]?(?:1|2|3|224|256|384|512)(?:-\d{3})?|(?i:md5|bcrypt|scrypt|argon2(?:id|i|d)?|pbkdf2(?:[-_:]?(?:hmac[-_]?)?sha\d{1,3})?|rsa|ecdsa|eddsa|ed25519)|[RHEP]S(?:256|384|512)|v\d"
_PIECE = r"(?:[a-z]{1,24}|v?\d{1,3}|[*#])"
_STEP = r"\.?(?:[a-z]{1,24}|v?\d{1,3}|x509|k8s|ed25519)(?:[_-]{1,2}(?:[a-z]{1,24}|v?\d{1,3}))*"
_OF_A_NAME = r"(?:[A-Za-z]{1,24}|\d{1,2})"
_TOPIC = _under(rf"{_PIECE}(?:[._-]{_PIECE}){{0,11}}", 0)
_OBJECT = re.compile(
    rf"(?:arn:aws[\w:-]{{1,80}}:secret:)?/?(?:{_OF_A_NAME}(?:[/_.-]{_OF_A_NAME}){{1,11}}|(?:[A-Z][a-z]{{2,23}}){{2,6}})(?=$|[\s\"'\\])"
)
_STATE_OR_FEW = _under(rf"\d{{1,2}}|{STATES}", 0)
_ALGORITHM = _under(rf"{_IN_USE}|{STATES}", 0)
_FILE = _under(
    rf"/(?:etc|var|run|usr|opt|home|root|mnt|srv|secrets?|certs?|ssl|tls|app|config|vault)(?:(?:/{_STEP}(?:\.{_STEP}){{0,4}}){{2,12}}|/{_STEP}(?:\.{_STEP}){{1,4}})",
    0,
)
_PLAIN_UNDER: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (re.compile(r"routing[_.-]?key$", re.IGNORECASE), _TOPIC),
    (re.compile(r"^secret-id$"), _OBJECT),
    (re.compile(r"(?:^|[_.-])(?:[th]?otp|mfa|pin)$", re.IGNORECASE), _STATE_OR_FEW),
    (
        re.compile(
            r"(?:attempts|retries|tries|failures|(?<=[_.-])(?:days|digits|history|rotations|rate))$",
            re.IGNORECASE,
        ),
        _under(rf"{_COUNT}|0\.\d{{1,3}}", 0),
    ),
    (re.compile(r"[_.-]key[_.-]bits$", re.IGNORECASE), _under(r"\d{3,5}", 0)),
    (re.compile(r"(?:hash|hasher|hashing|encoder|signature)$", re.IGNORECASE), _ALGORITHM),
    (re.compile(r"(?:key|cert|certificate|credentials?|token|jwt|secret)$", re.IGNORECASE), _FILE),
)
"""What stands under names by themselves besides secrets: the topic of a queue, the name of an object, a count of attempts, bits or days, a state, an algorithm, a file."""
_NUMBERS = re.compile(
    r"(?:tok|tkn|otp|jwt|auth|dsn|pin|pwd|pw|psk|pat|code)s[_.-]?(?:per[_.-]?\w{1,64}|sent|issued|configured|loaded|verified|expired|used|left|remaining|failed)$",
    re.IGNORECASE,
)
_NUMBER_UNDER = _under(r"\d{1,9}(?:\.\d{1,9})?", 0)
_MORE = re.compile(r"[\s,;&][\"']?[\w.-]{1,64}[\"']?\s?[:=]")


def tells_no_secret(name: str, said: str) -> bool:
    """Whether behind a plural such as `otps`, `pins` or `backup_codes` stands what is no secret: a count, a state, plain words; and whether behind
    the name of a key, a code or a signature stands a file, a topic, a state or an algorithm."""
    parts = [part.lower() for part in PARTS.findall(name[:256])]
    last = parts[-1] if parts else ""
    kind = (
        _NUMBER_UNDER
        if _NUMBERS.search(name[:256])
        else _NO_SECRETS.get("pws" if last.endswith("pwds") else last)
    )
    if (
        kind is not None
        and len(parts) > 1
        and last in _ALWAYS_MADE_UP
        and is_secret_name(name[: -len(last)].rstrip("_.- "))
    ):
        kind = _NO_SECRETS["pws"]
    if kind is None:
        kind = next((plain for named, plain in _PLAIN_UNDER if named.search(name[:256])), None)
    found = kind.match(said) if kind is not None else None
    if found is None:
        return False
    more = _MORE.search(said, found.end())
    return not any(map(made_up, said[found.end() : more.start() if more else len(said)].split()))
