"""An OpenID provider over HTTP: its metadata, its keys, and a code for tokens. Bounded in time and size, no redirect is followed.

Owns what is remembered of the provider and when it is asked again. Protocol parameters are made by Authlib. Never judges a token
(`app.intake.id_token` does), and no error repeats a URL, a code, a token, a secret or the provider's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from app.domain.errors import NotAuthenticated, ProbeUnavailable
from app.domain.ports import Clock
from app.observe.http_json import JsonSource

T = TypeVar("T")
METADATA_FOR, KEYS_FOR = 3600.0, 600.0
"""Seconds that metadata and keys are used before they are read again. A key that the provider took back is trusted so long."""
KEYS_AGAIN = 30.0
"""Seconds between two readings of the keys because of a token with an unknown one."""
FAILED_FOR = 5.0
"""Seconds that a provider which did not answer, or answered what cannot be used, is not asked again: a login page may be asked for by anybody."""
DEADLINE = 8.0
"""Seconds for one answer, from connect to its last byte."""
LIMIT = 2 * 1024 * 1024
_NAME, _CODE = "OpenID provider", "provider_unavailable"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Registration:
    """This service as the provider knows it."""

    client_id: str
    secret: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the provider says of itself (OpenID Connect Discovery 1.0, section 3; RFC 9207 for `names_itself`)."""

    issuer: str
    authorization: str
    token: str
    keys: str
    user_info: str
    end_session: str
    algorithms: tuple[str, ...]
    token_auth: str
    names_itself: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer of the token endpoint, so far as a login needs it."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


class IdentityProvider:
    """One provider. `deadline` is seconds for one answer."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        issuer: str,
        registration: Registration,
        clock: Clock,
        *,
        deadline: float = DEADLINE,
    ) -> None:
        self._client = client
        self._issuer = issuer
        self._registration = registration
        self._clock = clock
        self._deadline = deadline
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None
        self._forced = float("-inf")
        self._failed: dict[str, tuple[float, ProbeUnavailable | None]] = {}
        self._asking = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """What the provider says of itself; remembered for an hour. Raises ProbeUnavailable."""
        async with self._asking:
            now = self._clock.monotonic()
            if self._metadata is None or now >= self._metadata[0] + METADATA_FOR:
                url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
                self._metadata = (
                    now,
                    await self._read(url, lambda found: read_metadata(found, self._issuer)),
                )
            return self._metadata[1]

    async def keys(self, metadata: Metadata, *, unknown: bool = False) -> dict[str, Any]:
        """The provider's JWK set, remembered for ten minutes. `unknown`: a token named a key that is not in it, so it is read anew,
        once in 30 s. Raises ProbeUnavailable."""
        async with self._asking:
            now = self._clock.monotonic()
            again = unknown and now >= self._forced + KEYS_AGAIN
            if self._keys is None or again or now >= self._keys[0] + KEYS_FOR:
                self._forced = now if again else self._forced
                self._keys = (now, await self._read(metadata.keys, dict))
            return self._keys[1]

    async def _read(self, url: str, use: Callable[[dict[str, Any]], T]) -> T:
        """What `use` makes of a document that everybody may read. One that could not be read, or not be used, is left alone for a moment."""
        at, failure = self._failed.get(url, (0.0, None))
        if failure is not None and self._clock.monotonic() < at + FAILED_FOR:
            raise failure
        try:
            return use(await self._get(url))
        except ProbeUnavailable as error:
            self._failed[url] = (self._clock.monotonic(), error)
            raise

    def authorization_url(
        self, metadata: Metadata, scopes: tuple[str, ...], secrets: Mapping[str, str]
    ) -> str:
        """Where a browser logs in; `secrets` has state, nonce and the code verifier, of which only the challenge is sent."""
        url: str = prepare_grant_uri(
            metadata.authorization,
            client_id=self._registration.client_id,
            response_type="code",
            redirect_uri=self._registration.redirect_uri,
            scope=" ".join(scopes),
            state=secrets["state"],
            nonce=secrets["nonce"],
            code_challenge=create_s256_code_challenge(secrets["verifier"]),
            code_challenge_method="S256",
        )
        return url

    async def exchange(self, metadata: Metadata, code: str, verifier: str) -> Tokens:
        """A code for tokens, once: never repeated. Raises NotAuthenticated when the provider refuses it, ProbeUnavailable."""
        registered = self._registration
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=registered.redirect_uri, code_verifier=verifier
        )
        known = [registered.client_id, registered.secret]
        if metadata.token_auth == "client_secret_basic":
            known = [quote_plus(text) for text in known]  # RFC 6749, section 2.3.1
        auth = ClientAuth(*known, metadata.token_auth)
        _, headers, body = auth.prepare("POST", metadata.token, {"Content-Type": _FORM}, body)
        status, answer = await self._bounded("POST", metadata.token, content=body, headers=headers)
        if status in (400, 401) and isinstance(answer, dict):
            if answer.get("error") == "invalid_grant":
                raise NotAuthenticated(
                    "the provider does not take its own code: log in again", code="login_refused"
                )
            if answer.get("error") in ("invalid_client", "unauthorized_client"):
                raise _fault("refuses the client id or secret of this service")
        found = _object(status, answer)
        tokens = (found.get("id_token"), found.get("access_token"))
        if not isinstance(tokens[0], str) or not isinstance(tokens[1], str):
            raise _fault("gave no ID token or no access token")
        return Tokens(tokens[0], tokens[1])

    async def user_info(self, metadata: Metadata, access_token: str) -> dict[str, Any]:
        """What the provider tells of the person beside their ID token. Raises ProbeUnavailable."""
        return await self._get(metadata.user_info, {"Authorization": f"Bearer {access_token}"})

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return _object(*await self._bounded("GET", url, headers=dict(headers or {})))

    async def _bounded(self, method: str, url: str, **request: Any) -> tuple[int, Any]:
        """Status and decoded body of one answer; None for a body that is no JSON."""
        source = JsonSource(self._client, "", self._clock, name=_NAME, limit=LIMIT)
        try:
            async with asyncio.timeout(self._deadline):
                status, body = await source.ask(method, url, **request)
        except TimeoutError:
            raise _fault(f"did not answer within {self._deadline:g} s") from None
        except ProbeUnavailable as error:
            raise ProbeUnavailable(error.message, code=_CODE, where="oidc") from error
        try:
            return status, await source.decode(body)
        except ProbeUnavailable:
            return status, None


def _object(status: int, answer: Any) -> dict[str, Any]:
    if not 200 <= status < 300:
        raise _fault(f"answered {status}")
    if not isinstance(answer, dict):
        raise _fault("gave an answer that is no JSON object")
    return answer


def read_metadata(found: Mapping[str, Any], issuer: str) -> Metadata:
    """Metadata that can be used for a login at `issuer`. Raises ProbeUnavailable."""
    if found.get("issuer") != issuer:
        raise _fault("names another issuer than the setting: they have to be the same, to the last slash")
    if "code" not in _listed(found, "response_types_supported", "code"):
        raise _fault("does not offer the authorization code flow")
    if "S256" not in _listed(found, "code_challenge_methods_supported", "S256"):
        raise _fault("does not offer PKCE with S256")
    ways = _listed(found, "token_endpoint_auth_methods_supported", "client_secret_basic")
    way = next((w for w in ("client_secret_basic", "client_secret_post") if w in ways), "")
    if not way:
        raise _fault("takes no client secret at its token endpoint")
    return Metadata(
        issuer=issuer,
        authorization=_place(found, "authorization_endpoint", issuer),
        token=_place(found, "token_endpoint", issuer),
        keys=_place(found, "jwks_uri", issuer),
        user_info=_place(found, "userinfo_endpoint", issuer, optional=True),
        end_session=_place(found, "end_session_endpoint", issuer, optional=True),
        algorithms=_listed(found, "id_token_signing_alg_values_supported"),
        token_auth=way,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _place(found: Mapping[str, Any], name: str, issuer: str, *, optional: bool = False) -> str:
    """An address of the provider: https, or, as its issuer itself, http on loopback."""
    url = found.get(name)
    if optional and url is None:
        return ""
    if isinstance(url, str) and url.isascii() and url.isprintable() and " " not in url:
        try:
            parts, ours = urlsplit(url), urlsplit(issuer)
        except ValueError:
            raise _fault(f"has no usable {name}") from None
        same = parts.scheme == ours.scheme == "http" and parts.hostname == ours.hostname
        if parts.hostname and parts.username is None and (parts.scheme == "https" or same):
            return url
    raise _fault(f"has no usable {name}: it has to be an https URL")


def _listed(found: Mapping[str, Any], name: str, missing: str = "") -> tuple[str, ...]:
    values = found.get(name)
    if values is None:
        return (missing,) if missing else ()
    if not isinstance(values, list):
        raise _fault(f"has a {name} that is no list")
    return tuple(value for value in values[:100] if isinstance(value, str))


def _fault(text: str) -> ProbeUnavailable:
    return ProbeUnavailable(f"the OpenID provider {text}", code=_CODE, where="oidc")
