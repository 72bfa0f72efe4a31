"""ID tokens: whether one was made by the provider, for us, now, and for this very login (OpenID Connect Core 1.0, section 3.1.3.7).

Signatures are checked by joserfc and claims by Authlib; this module says which algorithms and keys count and how far clocks may be
apart. Pure. What is refused is told by the name of the check alone: nothing of a token stands in an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, JWKRegistry, KeySet, RSAKey

from app.domain.errors import NotAuthenticated

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures with a key pair. Never `none`, and no HMAC: its key would be the client's secret, or, for whoever confuses the two,
the provider's public key."""
LEEWAY = 60
"""Seconds that the provider's clock may be away from ours."""
OLDEST = 600
"""Seconds that a token may be old: it was asked for a moment ago."""
_KEYS_AT_MOST = 100
_MAX_NUMBERS: Final = {"n": 2_731, "e": 11, "x": 88, "y": 88}
"""Base64url characters of a key's numbers: 16,384 bits of a modulus, 64 of its exponent, a coordinate on P-521. What makes a number of longer
ones takes the square of their length."""
_MAX_MEMBERS, _MAX_OPERATIONS = 32, 16
_RSA_BITS = 2048  # RFC 7518, section 3.3


class UnknownKeyError(NotAuthenticated):
    """No key of the provider that we know signed this token: it may have exchanged its keys."""

    code = "login_refused"


class _Registry(jws.JWSRegistry):
    """Limits in bytes; a token of somebody in ten thousand groups is one of some 300 kB."""

    max_header_length = 4_096
    max_payload_length = 1024 * 1024
    max_signature_length = 2_048


@dataclass(frozen=True, slots=True)
class Expected:
    """What this login asked for. `algorithms` are those that the provider says it signs with; none: it does not say."""

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    access_token: str = field(repr=False)
    algorithms: Sequence[str] = ()


def usable_keys(jwks: Mapping[str, Any]) -> KeySet:
    """The provider's keys that may have signed an ID token; others, weak and unreadable ones are left out. Raises NotAuthenticated
    when there is none."""
    listed = jwks.get("keys")
    keys = [_key(entry) for entry in (listed if isinstance(listed, list) else [])[:_KEYS_AT_MOST]]
    usable = [key for key in keys if key is not None]
    if not usable:
        raise _refused("the provider publishes no key that we can check its signatures with")
    return KeySet(list(usable))


def _key(entry: Any) -> RSAKey | ECKey | None:
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC") or "d" in entry:
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
        return None
    if not _is_of_usual_size(entry):
        return None
    try:
        key = JWKRegistry.import_key(entry)
        weak = isinstance(key, RSAKey) and key.raw_value.key_size < _RSA_BITS
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return key if isinstance(key, RSAKey | ECKey) and not weak else None


def _is_of_usual_size(entry: Mapping[str, Any]) -> bool:
    """Whether none of its parts is longer than in any key that signs tokens: a set of keys within its own bound may be one number."""
    operations = entry.get("key_ops")
    few = not isinstance(operations, list) or len(operations) <= _MAX_OPERATIONS
    numbers = ((entry.get(name), most) for name, most in _MAX_NUMBERS.items())
    short = all(not isinstance(said, str) or len(said) <= most for said, most in numbers)
    return few and short and len(entry) <= _MAX_MEMBERS


def claims_in(token: str, jwks: Mapping[str, Any], expected: Expected, now: datetime) -> dict[str, Any]:
    """The claims of a token that holds in every respect. Raises NotAuthenticated, UnknownKeyError for a key that is not among them."""
    allowed = [a for a in ALGORITHMS if not expected.algorithms or a in expected.algorithms]
    if not allowed:
        raise _refused("the provider signs with no algorithm that we take")
    keys = usable_keys(jwks)
    try:
        registry = _Registry(algorithms=allowed, strict_check_header=False)
        signed = jwt.decode(token, keys, registry=registry)
        claims = CodeIDToken(signed.claims, signed.header, _options(expected), _params(expected))
        at = int(now.timestamp())
        claims.validate(now=at, leeway=LEEWAY)
    except InvalidKeyIdError:
        raise UnknownKeyError(
            "the ID token was signed with a key that the provider does not publish"
        ) from None
    except ClaimError as error:
        raise _refused(f"its ID token does not hold ({error.error}: {error.claim})") from None
    except JoseError as error:
        raise _refused(f"its ID token does not hold ({error.error})") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise _refused("its ID token is none") from None
    if claims["iat"] < at - OLDEST - LEEWAY:
        raise _refused("its ID token does not hold (invalid_claim: iat)")
    return dict(claims)


def _options(expected: Expected) -> dict[str, Any]:
    return {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
        "exp": {"essential": True},
        "iat": {"essential": True},
    }


def _params(expected: Expected) -> dict[str, Any]:
    return {
        "client_id": expected.client_id,
        "nonce": expected.nonce,
        "access_token": expected.access_token,
    }


def _refused(reason: str) -> NotAuthenticated:
    return NotAuthenticated(f"the provider's answer was refused: {reason}", code="login_refused")
