"""Sessions: who looks at the pages, told by a signed cookie that a token, or a login at an OpenID provider, was exchanged for.

Owns the cookies, their signature, their end, and the tokens in forms that only our own pages can have. The key is derived from
that of the installation, so that all replicas agree; the cookie has the token's name and a keyed digest of it, so that a token
that is removed or exchanged ends its sessions. For a login at a provider it has the scopes that the person's groups gave then,
and a keyed digest of the terms, so that other terms end it. Never holds a token, and gives nobody more rights than the API gives
its owner, or their groups gave them at the login.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.errors import NotAuthenticated, NotPermitted
from app.domain.json import canonical, decoded
from app.intake.auth import Access, Principal, Scope
from app.intake.oidc import PREFIX, OidcTerms
from app.web.cookies import MAX_COOKIE, SESSION, VISIT

LIFETIME = timedelta(hours=12)
"""From login to the end of a session, whatever is done meanwhile: one shift."""
_MARK = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. `mark` names this session, or this browser where nobody logs in; `ends` is None there."""

    principal: Principal
    mark: str
    ends: datetime | None = None

    def may(self, scope: Scope) -> bool:
        """Whether they have this scope."""
        return scope in self.principal.scopes


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes and reads cookies. `secret` is the installation's; it never leaves this object but through HMACs."""

    secret: bytes = field(repr=False)
    access: Access
    terms: OidcTerms | None = None

    def begin(self, token: str, mark: str, now: datetime) -> tuple[Visitor, str]:
        """A session for a token's owner under a new `mark`, and its cookie. Raises NotAuthenticated for nobody's token, NotPermitted without the
        scope `read`, which is what pages need."""
        principal = self.access.tokens.find(token.strip()) if self.access.tokens else None
        if principal is None:
            raise NotAuthenticated("the token is not known", where="token")
        if Scope.READ not in principal.scopes:
            raise NotPermitted(f"{principal.name} lacks the scope read", code="scope_missing", where="token")
        return self.begin_for(principal, mark, now)

    def begin_for(self, principal: Principal, mark: str, now: datetime) -> tuple[Visitor, str]:
        """A session for somebody who has proved who they are, and its cookie."""
        visitor = Visitor(principal, mark, _seconds(now + LIFETIME))
        return visitor, self._sealed(visitor)

    def visitor(self, cookies: Mapping[str, str], now: datetime) -> Visitor | None:
        """Who a request's cookies are; None for nobody: no cookie, a changed one, one that is over, a token that is gone."""
        return self._opened(cookies.get(SESSION, ""), now)

    def form_token(self, visitor: Visitor) -> str:
        """What a form has to bring back to count as one of ours for this session or browser.

        Marks are no secrets, and a browser that is not logged in chooses its own: that of a session never gives it the
        session's token.
        """
        return self.signature(
            "form of a browser" if visitor.ends is None else "form of a session", visitor.mark
        )

    def is_form_token(self, given: str, visitor: Visitor) -> bool:
        """Whether a form brought it back. Takes the same time wherever the difference is."""
        return bool(visitor.mark) and hmac.compare_digest(
            given.encode("utf-8", "replace"), self.form_token(visitor).encode()
        )

    def _sealed(self, visitor: Visitor) -> str:
        ends = int(visitor.ends.timestamp()) if visitor.ends else 0
        name, scopes = visitor.principal.name, sorted(visitor.principal.scopes)
        kept = scopes if name.startswith(PREFIX) else []
        return self.sealed("session", [name, visitor.mark, ends, self._proof_of(name), kept])

    def _opened(self, cookie: str, now: datetime) -> Visitor | None:
        name, mark, ends, proof, scopes = _session(self.opened("session", cookie))
        principal = self._principal(name, scopes)
        if principal is None or not hmac.compare_digest(proof, self._proof_of(name)):
            return None
        until = datetime.fromtimestamp(ends, UTC)
        return Visitor(principal, mark, until) if now < until and Scope.READ in principal.scopes else None

    def _principal(self, name: str, scopes: Sequence[str]) -> Principal | None:
        if name.startswith(PREFIX):
            return Principal(name, frozenset(s for s in Scope if s in scopes)) if self.terms else None
        known = self.access.tokens.named(name) if self.access.tokens else None
        return known[1] if known else None

    def _proof_of(self, name: str) -> str:
        """What the session hangs on: a token, or the terms of the provider."""
        if name.startswith(PREFIX):
            return self.signature("terms", self.terms.told if self.terms else "")
        known = self.access.tokens.named(name) if self.access.tokens else None
        return self.signature("token", known[0] if known else "")

    def sealed(self, use: str, fields: Sequence[Any]) -> str:
        """A text for a cookie: readable by its browser, and changed by nobody without being found out."""
        text = base64.urlsafe_b64encode(canonical(list(fields)).encode()).decode().rstrip("=")
        return f"{text}.{self.signature(use, text)}"

    def opened(self, use: str, cookie: str) -> list[Any]:
        """The fields of a text that was sealed for the same use; nothing of any other."""
        text, _, signature = cookie[:MAX_COOKIE].rpartition(".")
        signed = self.signature(use, text).encode()
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), signed):
            return []
        try:
            fields = decoded(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError):
            return []
        return fields if isinstance(fields, list) else []

    def signature(self, use: str, text: str) -> str:
        """A keyed digest of a text, another one for each use: 64 hex digits that nobody can guess."""
        key = hmac.new(self.secret, f"web page: {use}".encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def visit_of(cookies: Mapping[str, str]) -> str:
    """The mark of this browser, where nobody is logged in; empty when it has none yet."""
    mark = cookies.get(VISIT, "")
    return mark if _MARK.fullmatch(mark) else ""


def signed_out(mark: str) -> str:
    """Under which key a session's end is remembered among what counts once."""
    return f"signed-out:{mark}"


def cookie(name: str, value: str, *, seconds: int, secure: bool, site: str = "Strict") -> str:
    """The value of a Set-Cookie header: not for scripts, not for other sites; `seconds` 0 removes it. With `site` Lax it comes along
    when a browser is sent here by a link of another site."""
    parts = [f"{name}={value}", "Path=/", f"Max-Age={seconds}", "HttpOnly", f"SameSite={site}"]
    return "; ".join([*parts, "Secure"] if secure else parts)


def _session(fields: Sequence[Any]) -> tuple[str, str, int, str, Sequence[str]]:
    """The fields of a session that we signed; of one that was signed before there were providers, too."""
    if not fields:
        return "", "", 0, "", ()
    name, mark, ends, proof, *scopes = fields
    return str(name), str(mark), int(ends), str(proof), scopes[0] if scopes else ()


def _seconds(at: datetime) -> datetime:
    return at.replace(microsecond=0)
