"""Login by OpenID Connect: its terms, and who somebody is by the claims that their provider makes.

Owns what the settings of the login mean, under which name a person is audited, and which scopes their groups give. Pure; tokens
are checked in `app.intake.id_token`. Nobody has a scope that no group gives them, and no text here repeats a claim's value but
the name of who was recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from app.domain.errors import BadInput, NotAuthenticated, NotPermitted
from app.domain.json import canonical, decoded
from app.domain.urls import fault_in, is_loopback
from app.intake.auth import Principal, Scope

PREFIX = "oidc:"
"""Before the names of people who come by this login, so that no token has such a name."""
CALLBACK = "/login/oidc/callback"
EMAIL = "email"
NAME = r"oidc:[A-Za-z0-9._~@|:/%-]{1,250}"
"""Their audited names: what stands elsewhere in a URL's path, everything else percent-encoded."""
_NAME = re.compile(NAME, re.ASCII)
_SAFE = "@|:/"
_ANY = "surrogatepass"
_SCOPE_WORD = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+", re.ASCII)  # RFC 6749, section 3.3
_GROUPS_AT_MOST = 20_000
_POINTER_DEPTH = 8
_SETTING = "REMEDIATOR_"


@dataclass(frozen=True, slots=True)
class OidcTerms:
    """One provider, this service's registration there, and what its claims are worth."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    external_url: str
    scopes: tuple[str, ...]
    name_claim: str
    groups_claim: str
    groups: Mapping[str, frozenset[Scope]]

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to; it has to be registered there."""
        return self.external_url + CALLBACK

    @property
    def place(self) -> str:
        """The provider's host, for people."""
        return urlsplit(self.issuer).netloc

    @property
    def told(self) -> str:
        """All that a session depends on, in one text: when it changes, sessions of before have ended."""
        groups = {name: sorted(scopes) for name, scopes in self.groups.items()}
        return canonical([self.issuer, self.client_id, self.name_claim, self.groups_claim, groups])


def read_terms(given: Mapping[str, str]) -> OidcTerms | None:
    """The terms of the settings `oidc_...` and `external_url`, by their names; None when there is no issuer.

    Raises BadInput (`bad_setting`) that names the setting, and never shows a value.
    """
    if not given["oidc_issuer"]:
        lonely = next((n for n in ("oidc_client_id", "oidc_client_secret", "oidc_groups") if given[n]), None)
        if lonely:
            raise _bad(lonely, f"means nothing without {_SETTING}OIDC_ISSUER")
        return None
    for name in ("oidc_client_id", "oidc_client_secret", "external_url", "oidc_groups"):
        if not given[name]:
            raise _bad(name, f"is needed with {_SETTING}OIDC_ISSUER")
    for name in ("oidc_issuer", "external_url"):
        if fault := fault_in_place(given[name]):
            raise _bad(name, fault)
    external = given["external_url"].rstrip("/")
    if urlsplit(external).path:
        raise _bad("external_url", "has no path: the page is served at the root of its host")
    scopes = tuple(given["oidc_scopes"].split())
    if "openid" not in scopes or not all(_SCOPE_WORD.fullmatch(scope) for scope in scopes):
        raise _bad("oidc_scopes", "expected words separated by blanks, openid among them")
    for name in ("oidc_name_claim", "oidc_groups_claim"):
        if not given[name] or given[name].strip() != given[name]:
            raise _bad(name, "expected the name of a claim")
    if given["oidc_name_claim"] == f"/{EMAIL}":
        raise _bad("oidc_name_claim", f"the claim is {EMAIL}, which counts only when it is verified")
    return OidcTerms(
        issuer=given["oidc_issuer"],
        client_id=given["oidc_client_id"],
        client_secret=given["oidc_client_secret"],
        external_url=external,
        scopes=scopes,
        name_claim=given["oidc_name_claim"],
        groups_claim=given["oidc_groups_claim"],
        groups=_mapping(given["oidc_groups"]),
    )


def fault_in_place(url: str) -> str:
    """Why `url` is no address of a provider or of ours, as one clause; empty when it is. Plain http is for loopback alone."""
    if fault := fault_in(url):
        return fault
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "it is no URL"
    if not host or parts.username is not None or "?" in url or "#" in url:
        return "it has a host, and no user, query or fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return ""
    return "it has to begin with https://; http:// is for a loopback address only"


def _mapping(text: str) -> dict[str, frozenset[Scope]]:
    try:
        found = decoded(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found or "" in found:
        raise _bad("oidc_groups", 'must be a JSON object of group to scopes: {"sre": "read+operate"}')
    known = {scope.value for scope in Scope if scope is not Scope.INGEST}  # alerts come from no browser
    for number, scopes in enumerate(found.values(), start=1):
        if not isinstance(scopes, str) or not known.issuperset(scopes.split("+")):
            allowed = ", ".join(sorted(known))
            raise _bad("oidc_groups", f"group {number}: a scope is one of {allowed}; several are joined by +")
    return {group: frozenset(Scope(s) for s in scopes.split("+")) for group, scopes in found.items()}


def _bad(name: str, reason: str) -> BadInput:
    return BadInput(reason, code="bad_setting", where=f"{_SETTING}{name.upper()}")


def audited_name(claims: Mapping[str, Any], claim: str) -> str:
    """Under which name this person is audited. Raises NotAuthenticated.

    The claim `email` counts only when the provider verified it, and never in another case than the lower one: one address is one
    person. There is no second claim to fall back on: whoever could choose between two would be two people.
    """
    value = value_of(claims, claim)
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise NotAuthenticated("the provider does not tell who you are", code="name_missing", where=claim)
    if claim == EMAIL and claims.get("email_verified") is not True:
        text = "the provider has not verified your email address"
        raise NotAuthenticated(text, code="email_not_verified", where="email_verified")
    name = _named(value, claim)
    if _NAME.fullmatch(name) is None:
        raise NotAuthenticated("the provider's name for you is too long", code="name_missing", where=claim)
    return name


def is_audited_name(name: str, claim: str) -> bool:
    """Whether a login makes exactly this name for somebody. Another spelling of theirs is nobody, so that a setting with it would tell
    one person apart from themselves."""
    try:
        return _named(unquote(name.removeprefix(PREFIX), errors=_ANY), claim) == name
    except UnicodeDecodeError:
        return False


def _named(value: str, claim: str) -> str:
    """One name for one value: what differs in a blank or a sign that no encoding has stays apart."""
    return PREFIX + quote(_small(value) if claim == EMAIL else value, safe=_SAFE, errors=_ANY)


def _small(value: str) -> str:
    """In small letters, but never a foreign letter as one of ours: the sign for kelvin is no k, and its owner nobody else."""
    return "".join(c.lower() if c.isascii() or not c.lower().isascii() else c for c in value)


def principal_of(claims: Mapping[str, Any], terms: OidcTerms) -> Principal:
    """Who this is and what their groups allow. Raises NotAuthenticated without a name, NotPermitted (`no_group`, `scope_missing`)."""
    name = audited_name(claims, terms.name_claim)
    groups = mapped_groups(claims, terms)
    scopes = frozenset[Scope]().union(*(terms.groups[group] for group in groups))
    if not scopes:
        text = f"{name} is in none of the groups that may do anything here: ask for a group of {_SETTING}OIDC_GROUPS"
        raise NotPermitted(text, code="no_group", where=terms.groups_claim)
    if Scope.READ not in scopes:
        raise NotPermitted(f"{name} lacks the scope read", code="scope_missing", where=terms.groups_claim)
    return Principal(name, scopes)


def mapped_groups(claims: Mapping[str, Any], terms: OidcTerms) -> tuple[str, ...]:
    """The groups of this person that the terms know, sorted. One text is one group; whatever is neither a text nor a list of texts
    is none."""
    value = value_of(claims, terms.groups_claim)
    told: Sequence[Any] = [value] if isinstance(value, str) else value if isinstance(value, list) else ()
    return tuple(sorted({g for g in told[:_GROUPS_AT_MOST] if isinstance(g, str) and g in terms.groups}))


def value_of(claims: Mapping[str, Any], claim: str) -> Any:
    """A claim by its name, or by the JSON Pointer (RFC 6901) that begins with a slash: `/realm_access/roles`. None when missing."""
    if claim in claims or not claim.startswith("/"):
        return claims.get(claim)
    found: Any = claims
    for part in claim[1:].split("/", _POINTER_DEPTH):
        if not isinstance(found, dict):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found
