"""Who may send: tokens with scopes, and the signatures of PagerDuty and Slack over the raw bytes.

Called by `app.web` with what stands in the request. Every comparison takes the same time wherever the difference is.
Tokens are known only by their SHA-256, so neither settings nor memory dumps of this table give one away. Nothing here
raises for odd input of a caller: it is simply not authenticated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.domain.errors import BadInput
from app.domain.no_secret import fault_in_secret, is_digest_of_none

SETTING = "REMEDIATOR_TOKENS"
SLACK_WINDOW = 300
"""Seconds that a Slack request may be old or ahead (Slack's own rule against replays)."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)


class Scope(StrEnum):
    """What a token is good for; no scope contains another."""

    INGEST = "ingest"  # send alerts
    TRIGGER = "trigger"  # order a remediation
    OPERATE = "operate"  # approve, reject, undo, pause, resume
    READ = "read"  # see incidents, runs, audit


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller; `name` goes into the audit trail."""

    name: str
    scopes: frozenset[Scope]


ANYONE = Principal("anonymous", frozenset(Scope))
"""The caller when no authentication is configured, which the settings allow on loopback only."""


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Principals by the SHA-256 of their token."""

    entries: tuple[tuple[str, Principal], ...] = field(repr=False)
    _no_secrets: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of the tokens that were shown and are known, by their SHA-256: whether they are none. To tell takes longer than all else here."""

    def find(self, token: str) -> Principal | None:
        """The owner of `token`, None when nobody's, and for one that is no secret, whatever digests are configured."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for known, principal in self.entries:  # no early end: the time must not tell the position
            if hmac.compare_digest(known, digest):
                found = principal
        return None if found is None or self._is_no_secret(digest, token) else found

    def _is_no_secret(self, digest: str, token: str) -> bool:
        if digest not in self._no_secrets:
            self._no_secrets[digest] = bool(fault_in_secret(token))
        return self._no_secrets[digest]

    def named(self, name: str) -> tuple[str, Principal] | None:
        """The SHA-256 of the token of this name, and its owner; None when there is no such token any more."""
        return next((entry for entry in self.entries if entry[1].name == name), None)

    def authenticate(self, authorization: str) -> Principal | None:
        """The caller behind an Authorization header: `Bearer TOKEN`, or Basic with the token as the password."""
        scheme, _, rest = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return self.find(rest.strip())
            case "basic":
                return self._basic(rest.strip())
            case _:
                return None

    def _basic(self, encoded: str) -> Principal | None:
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):  # not base64; not UTF-8
            return None
        _user, colon, password = pair.partition(":")
        return self.find(password) if colon else None


def parse_tokens(text: str) -> TokenTable:
    """Read `name:scope[+scope]:sha256-of-token`, separated by commas or newlines.

    Raises BadInput (`bad_setting`) that names the entry by its number and shows nothing of it: whoever mixes up the
    fields has a token where a name or a scope belongs.
    """
    entries: list[tuple[str, Principal]] = []
    parts = [part.strip() for part in re.split(r"[,\n]", text)]
    for number, part in enumerate((p for p in parts if p and not p.startswith("#")), start=1):
        entry = _entry(part, f"{SETTING} entry {number}")
        if any(entry[0] == known for known, _ in entries):
            raise _bad(f"{SETTING} entry {number}", "the same token is given twice")
        if any(entry[1].name == other.name for _, other in entries):
            raise _bad(f"{SETTING} entry {number}", "the same name is given twice")
        entries.append(entry)
    if not entries:
        raise _bad(SETTING, "no token in it")
    return TokenTable(tuple(entries))


def _entry(text: str, where: str) -> tuple[str, Principal]:
    fields = text.split(":")
    if len(fields) != 3:
        raise _bad(where, "expected name:scope[+scope]:sha256-of-token")
    name, scopes, digest = (f.strip() for f in fields)
    if _NAME.fullmatch(name) is None:
        raise _bad(where, "a name has up to 64 letters, digits, dots, dashes and underscores")
    known = {scope.value for scope in Scope}
    wanted = scopes.split("+")
    if not known.issuperset(wanted):
        raise _bad(where, f"a scope is one of {', '.join(sorted(known))}, several are joined by +")
    if _SHA256.fullmatch(digest.lower()) is None:
        raise _bad(where, "expected the SHA-256 of the token in 64 hex digits, not the token itself")
    if is_digest_of_none(digest):
        raise _bad(where, "that is the SHA-256 of an empty token, or of one that anybody would try")
    return digest.lower(), Principal(name, frozenset(Scope(s) for s in wanted))


def _bad(where: str, reason: str) -> BadInput:
    return BadInput(reason, code="bad_setting", where=where)


def pagerduty_signed(secrets: Sequence[str], header: str, body: bytes) -> bool:
    """True when one `v1=` signature of the header is that of `body` under one of the active secrets.

    The key is the secret's text. Other versions in the header are ignored, so a rotation can overlap.
    """
    given = [part.strip()[3:] for part in header.split(",") if part.strip().startswith("v1=")]
    valid = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        for signature in given:
            valid |= _same(expected, signature)
    return valid


def slack_signed(secret: str, *, timestamp: str, signature: str, body: bytes, now: datetime) -> bool:
    """True when the request was signed by Slack with `secret` not more than 300 s from `now`.

    `v0=` + hex HMAC-SHA256 of `v0:timestamp:body`. An empty secret, a timestamp that is no number and a signature
    beyond ASCII are False; Slack's own verifier raises for these.
    """
    if not secret or _TIMESTAMP.fullmatch(timestamp) is None:
        return False
    if abs(now.timestamp() - int(timestamp)) > SLACK_WINDOW:
        return False
    signed = b"v0:%b:%b" % (timestamp.encode(), body)
    return _same("v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest(), signature)


def same_secret(expected: str, given: str) -> bool:
    """Compare a shared secret header in constant time; an empty secret matches nothing."""
    return bool(expected) and _same(expected, given)


def _same(expected: str, given: str) -> bool:
    # As bytes: compare_digest raises TypeError for text beyond ASCII.
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Access:
    """How callers prove who they are. Without `tokens` the API is open, which the settings allow on loopback only."""

    tokens: TokenTable | None = None
    pagerduty_secrets: tuple[str, ...] = field(default=(), repr=False)
    orchestration_secret: str = field(default="", repr=False)
    slack_secret: str = field(default="", repr=False)

    @property
    def open(self) -> bool:
        """No token is configured."""
        return self.tokens is None


def parse_secrets(text: str) -> tuple[str, ...]:
    """Comma-separated signing secrets, without blanks and empty parts."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
