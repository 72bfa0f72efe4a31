"""Login at an OpenID provider: to it, back from it, and out of it (authorization code flow with PKCE).

Owns the attempt: a signed cookie for ten minutes, from whose mark state, nonce and code verifier are derived, so that no replica
has to remember anything and neither nonce nor verifier is ever in a browser's cookie. An attempt counts once, which the store says.
Codes and tokens are dropped as soon as the person is known; a session has their name and scopes alone.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import Missing, NotAuthenticated, NotPermitted, ProbeUnavailable, RemediatorError
from app.domain.events import EventKind
from app.intake import id_token
from app.intake.auth import Principal
from app.intake.oidc import EMAIL, OidcTerms, mapped_groups, principal_of, value_of
from app.observe.identity_provider import Metadata, Tokens
from app.page import render
from app.page.requests import SignIn, Site, is_https, local_path, onward_of, query_of
from app.page.session import LIFETIME, Visitor, cookie
from app.store import approvals
from app.store.approvals import Repeated
from app.web.cookies import ATTEMPT, SESSION
from app.web.problems import status_of

log = structlog.get_logger("app.page")

WAIT = timedelta(minutes=10)
"""From leaving to coming back: a password, a second factor."""
_LONGEST = 4_096  # characters of a code
_LONGEST_ONWARD = 1_000  # it travels in a cookie
_NOT_BEGUN = "login_not_begun"
# RFC 6749, section 4.1.2.1, and OpenID Connect Core, section 3.1.2.6: what a provider may say instead of a code.
_SAID = frozenset(
    [
        "access_denied",
        "interaction_required",
        "login_required",
        "account_selection_required",
        "consent_required",
        "invalid_request",
        "unauthorized_client",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
    ]
)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One login under way."""

    mark: str
    onward: str
    state: str
    nonce: str
    verifier: str


async def leave(site: Site, request: Request, visitor: Visitor) -> Response:  # noqa: ARG001 - a handler's signature
    """Send a browser to the provider."""
    sign_in, onward = _sign_in(site), onward_of(request)
    onward = onward if len(onward) <= _LONGEST_ONWARD else "/"
    site.failures.require_room(_address(request), site.web.clock.monotonic())
    metadata = await sign_in.provider.metadata()
    attempt = _attempt(site, site.web.ids.new("login"), onward)
    secrets = {"state": attempt.state, "nonce": attempt.nonce, "verifier": attempt.verifier}
    answer = render.see(sign_in.provider.authorization_url(metadata, sign_in.terms.scopes, secrets))
    ends = int((site.web.clock.now() + WAIT).timestamp())
    sealed = site.sessions.sealed("login", [attempt.mark, ends, onward])
    _set(answer, request, sign_in, sealed, int(WAIT.total_seconds()))
    return answer


async def arrive(site: Site, request: Request, visitor: Visitor) -> Response:  # noqa: ARG001 - a handler's signature
    """Take a browser that comes back from the provider. What does not prove who it is counts against its address, unless nothing was
    begun: any site can send a browser here so, which locks nobody out and ends no login that is under way."""
    sign_in, address = _sign_in(site), _address(request)
    site.failures.require_room(address, site.web.clock.monotonic())
    try:
        attempt = await _taken(site, request, sign_in)
        principal, groups = await _recognised(site, request, sign_in, attempt)
    except (NotAuthenticated, NotPermitted) as error:
        log.warning("login_refused", code=error.code, reason=error.message, address=address)
        if error.code == _NOT_BEGUN:
            return _told(error)
        site.failures.count(address, site.web.clock.monotonic())
        return _refused(request, sign_in, error)
    except ProbeUnavailable as error:
        log.warning("login_failed", code=error.code, reason=error.message)
        return _refused(request, sign_in, error)
    begun, sealed = site.sessions.begin_for(principal, site.web.ids.new("session"), site.web.clock.now())
    data = {"scopes": sorted(principal.scopes), "groups": list(groups), "provider": sign_in.terms.place}
    await site.web.store.write(
        lambda tx: tx.audit(EventKind.SESSION_BEGUN, actor=begun.principal.name, data=data)
    )
    log.info("logged_in", name=begun.principal.name, provider=sign_in.terms.place)
    # Not a redirect: the browser comes from another site, and would leave the session's cookie out.
    answer = render.page("again.html", path=attempt.onward)
    seconds, secure = int(LIFETIME.total_seconds()), _is_secure(request, sign_in)
    answer.headers.append("set-cookie", cookie(SESSION, sealed, seconds=seconds, secure=secure))
    _set(answer, request, sign_in, "", 0)
    return answer


async def goodbye(sign_in: SignIn) -> Response | None:
    """After a logout here: a page that leads on to the provider's own; None where it has none, or does not answer."""
    try:
        metadata = await sign_in.provider.metadata()
    except ProbeUnavailable:
        return None
    if not metadata.end_session:
        return None
    terms = sign_in.terms
    # RP-Initiated Logout 1.0, section 2. No id_token_hint: no token is kept, so the provider asks the person.
    fields = {"client_id": terms.client_id, "post_logout_redirect_uri": f"{terms.external_url}/login"}
    parts = urlsplit(metadata.end_session)
    query = "&".join(part for part in (parts.query, urlencode(fields)) if part)
    return render.page("logged_out.html", url=urlunsplit(parts._replace(query=query)), place=terms.place)


def _sign_in(site: Site) -> SignIn:
    if site.sign_in is None:
        raise Missing("no login by OpenID Connect is configured")
    return site.sign_in


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _attempt(site: Site, mark: str, onward: str) -> _Attempt:
    sign = site.sessions.signature
    return _Attempt(
        mark, onward, sign("login state", mark), sign("login nonce", mark), sign("login verifier", mark)
    )


async def _taken(site: Site, request: Request, sign_in: SignIn) -> _Attempt:
    """The attempt that this answer belongs to, from now on used up. Raises NotAuthenticated."""
    fields = site.sessions.opened("login", request.cookies.get(ATTEMPT, ""))
    if not fields:
        text = f"this browser has not begun a login here: begin at {sign_in.terms.external_url}"
        raise NotAuthenticated(text, code=_NOT_BEGUN)
    mark, ends, onward = fields
    attempt = _attempt(site, str(mark), local_path(str(onward)))
    given = _once(request, "state").encode("utf-8", "replace")
    if not hmac.compare_digest(given, attempt.state.encode()):
        raise NotAuthenticated("this answer belongs to another login: log in again", code=_NOT_BEGUN)
    if site.web.clock.now().timestamp() >= int(ends):
        raise NotAuthenticated("it took more than ten minutes: log in again", code="login_expired")
    try:
        await site.web.store.write(lambda tx: approvals.take(tx, f"login:{attempt.mark}"))
    except Repeated:
        raise NotAuthenticated("this login was used already: log in again", code="login_repeated") from None
    return attempt


def _code(request: Request, metadata: Metadata) -> str:
    """The code of the answer. Raises NotAuthenticated when the provider says no, or somebody else answers (RFC 9207)."""
    issuer = _once(request, "iss")
    if issuer != metadata.issuer and (metadata.names_itself or "iss" in request.query_params):
        raise NotAuthenticated("another provider answered", code="login_refused")
    if error := _once(request, "error"):
        said = error if error in _SAID else "an error"
        raise NotAuthenticated(f"the provider says {said}", code="login_refused")
    code = _once(request, "code")
    if not code or len(code) > _LONGEST:
        raise NotAuthenticated("the provider gave no code", code="login_refused")
    return code


def _once(request: Request, name: str) -> str:
    """A field of the query; nothing when it is there twice."""
    values = [value for field, value in query_of(request.url.query) if field == name]
    return values[0] if len(values) == 1 else ""


async def _recognised(
    site: Site, request: Request, sign_in: SignIn, attempt: _Attempt
) -> tuple[Principal, tuple[str, ...]]:
    """Who it is, and the groups that say what they may. Raises NotAuthenticated, NotPermitted, ProbeUnavailable."""
    metadata = await sign_in.provider.metadata()
    code = _code(request, metadata)
    tokens = await sign_in.provider.exchange(metadata, code, attempt.verifier)
    claims = await _claims(site, sign_in, metadata, tokens, attempt.nonce)
    if metadata.user_info and _missing(claims, sign_in.terms):
        # Core, section 5.4: beside an access token these claims may stand in the UserInfo answer alone.
        more = await sign_in.provider.user_info(metadata, tokens.access_token)
        if more.get("sub") != claims["sub"]:
            raise NotAuthenticated("the provider tells of somebody else", code="login_refused")
        claims = _joined(claims, more)
    return principal_of(claims, sign_in.terms), mapped_groups(claims, sign_in.terms)


async def _claims(
    site: Site, sign_in: SignIn, metadata: Metadata, tokens: Tokens, nonce: str
) -> dict[str, Any]:
    expected = id_token.Expected(
        metadata.issuer, sign_in.terms.client_id, nonce, tokens.access_token, metadata.algorithms
    )
    now = site.web.clock.now()
    keys = await sign_in.provider.keys(metadata)
    # In a thread: a hundred large keys and a token of a megabyte take long to read, and are somebody else's.
    try:
        return await asyncio.to_thread(id_token.claims_in, tokens.id_token, keys, expected, now)
    except id_token.UnknownKeyError:
        keys = await sign_in.provider.keys(metadata, unknown=True)
        return await asyncio.to_thread(id_token.claims_in, tokens.id_token, keys, expected, now)


def _missing(claims: Mapping[str, Any], terms: OidcTerms) -> bool:
    return any(value_of(claims, name) is None for name in (terms.name_claim, terms.groups_claim))


def _joined(claims: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both answers; of a claim that stands in both, that of the signed one. An address is verified by the answer that it is from."""
    whose = claims if EMAIL in claims else more
    return {**more, **claims, "email_verified": whose.get("email_verified")}


def _refused(request: Request, sign_in: SignIn, error: RemediatorError) -> Response:
    answer = _told(error)
    _set(answer, request, sign_in, "", 0)
    return answer


def _told(error: RemediatorError) -> Response:
    return render.page("login_failed.html", status_of(error), text=error.message, why=error.code)


def _set(answer: Response, request: Request, sign_in: SignIn, value: str, seconds: int) -> None:
    made = cookie(ATTEMPT, value, seconds=seconds, secure=_is_secure(request, sign_in), site="Lax")
    answer.headers.append("set-cookie", made)


def _is_secure(request: Request, sign_in: SignIn) -> bool:
    """Whether the cookies of a login are for https alone. A browser that is led on tells no Origin, and not every proxy says by what it
    was asked; but the provider sends people back to our external address and nowhere else."""
    return sign_in.terms.external_url.startswith("https://") or is_https(request)
