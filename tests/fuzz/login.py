"""Fuzz targets of the login at an OpenID provider: tokens with any header and claims, and whatever a provider answers."""

from __future__ import annotations

import json
import string
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey

from app.domain.errors import NotAuthenticated, NotPermitted, ProbeUnavailable
from app.intake.auth import Scope
from app.intake.id_token import Expected, claims_in, usable_keys
from app.intake.oidc import OidcTerms, principal_of
from app.observe.identity_provider import IdentityProvider, Registration, read_metadata
from tests.doubles.oidc import encoded
from tests.fuzz.answers import _ask, _client, _Clock
from tests.fuzz.bodies import JSON_WORDS, NOW
from tests.fuzz.target import FuzzTarget, parts_of

_ISSUER = "https://id.example.com"
_KEY = ECKey.generate_key("P-256", {"kid": "k"})
_JWKS = {"keys": [_KEY.as_dict(private=False)]}
_EXPECTED = Expected(_ISSUER, "c", "n", "a")
_AT = int(NOW.timestamp())
_NAME = frozenset(string.ascii_letters + string.digits + "._~@|:/%-")


def _terms(name: str) -> OidcTerms:
    groups = {"sre": frozenset({Scope.READ, Scope.OPERATE})}
    return OidcTerms(_ISSUER, "c", "s", "https://us", ("openid",), name, "/a/groups", groups)


def _signed(header: dict[str, Any], payload: bytes) -> str:
    """A sound signature over whatever there is."""
    text = f"{encoded(json.dumps(header).encode())}.{encoded(payload)}"
    private = _KEY.raw_value
    assert isinstance(private, EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(text.encode(), ECDSA(SHA256())))
    return f"{text}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"


def _recognise(token: str) -> None:
    try:
        claims = claims_in(token, _JWKS, _EXPECTED, NOW)
    except NotAuthenticated as error:
        assert len(error.message) < 200
        return
    assert claims["iss"] == _ISSUER
    assert claims["nonce"] == "n"
    for name in ("email", "sub"):
        try:
            known = principal_of(claims, _terms(name))
        except (NotAuthenticated, NotPermitted):
            continue
        assert set(known.name.removeprefix("oidc:")) <= _NAME
        assert len(known.name) <= 255


def _id_token(data: bytes) -> None:
    """A token as it comes, and one that is signed soundly over any header and claims."""
    header, payload = parts_of(data, 2)
    _recognise(data.decode("utf-8", "replace"))
    try:
        given = json.loads(header)
    except (ValueError, RecursionError):
        given = {}
    extra = given if isinstance(given, dict) else {}
    _recognise(_signed({**extra, "alg": "ES256", "kid": "k"}, payload))


def _provider(data: bytes) -> None:
    provider = IdentityProvider(_client(data), _ISSUER, Registration("c", "s", "https://us/cb"), _Clock())
    metadata = read_metadata(_METADATA, _ISSUER)
    _ask(provider.metadata())
    _ask(_keys(provider))
    try:
        _ask(provider.exchange(metadata, "code", "v" * 64))
    except NotAuthenticated as error:
        assert error.code == "login_refused"


async def _keys(provider: IdentityProvider) -> None:
    try:
        usable_keys(await provider.keys(read_metadata(_METADATA, _ISSUER)))
    except NotAuthenticated as error:
        raise ProbeUnavailable(error.message) from error


_METADATA = {
    "issuer": _ISSUER, "authorization_endpoint": f"{_ISSUER}/a", "token_endpoint": f"{_ISSUER}/t", "jwks_uri": f"{_ISSUER}/k",
    "userinfo_endpoint": f"{_ISSUER}/u", "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_post"],
}  # fmt: skip
_CLAIMS = {
    "iss": _ISSUER, "aud": "c", "sub": "s", "nonce": "n", "iat": _AT, "exp": _AT + 60, "email": "A@x.io",
    "email_verified": True, "a": {"groups": ["sre"]},
}  # fmt: skip


def _said(value: Any, status: int = 200) -> bytes:
    return f"{status}".encode() + b"\0" + json.dumps(value).encode()


TARGETS = (
    FuzzTarget(
        "id-token", _id_token,
        (b"{}\0" + json.dumps(_CLAIMS).encode(), b'{"crit": ["b64"], "b64": false}\0' + json.dumps(_CLAIMS).encode(), b"a.b.c"),
        (b'"crit"', b'"b64"', b'"zip"', b'"azp"', b'"at_hash"', b'"nbf"', b'"jwk"', b"NaN", b"1e999", b"%2B", *JSON_WORDS),
    ),
    FuzzTarget(
        "provider-answer", _provider,
        (_said(_METADATA), _said(_JWKS), _said({"access_token": "a", "id_token": "x.y.z"}), _said({"error": "invalid_grant"}, 400)),
        (b'"keys"', b'"kty"', b'"RSA"', b'"n"', b'"oct"', b'"error"', b'"issuer"', b"https://[", b"400", *JSON_WORDS),
    ),
)  # fmt: skip
