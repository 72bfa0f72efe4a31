"""An OpenID provider on loopback: discovery, authorization, token, keys, UserInfo. It checks what a provider checks, and can do each wrong thing.

Like the real ones it takes a code once, for the redirect and the PKCE challenge it was asked with, and of a client that proves itself.
Everybody who is sent to it is logged in at once as `claims` says.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc.jwk import RSAKey

from app.domain.ports import Clock

CLIENT, SECRET = "remediator", "s3cret:of/the client+1"
Answer = Callable[[web.Request], "web.StreamResponse | None"]


@cache
def key(number: int) -> RSAKey:
    """A key pair; made once a process."""
    return RSAKey.generate_key(2048, {"kid": f"key-{number}", "use": "sig", "alg": "RS256"})


@dataclass
class Provider:
    """One provider. What a test changes is what it does wrong."""

    clock: Clock
    redirect_uri: str
    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    user_info: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    ahead: int = 0
    signs_with: int = 1
    publishes: tuple[int, ...] = (1,)
    sign: Callable[[Provider, dict[str, Any]], str] | None = None
    instead: dict[str, Answer] = field(default_factory=dict)
    slow: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    returned: dict[str, str] = field(default_factory=dict)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(one.endswith(path) for one in self.asked)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        self.asked.append(f"{request.method} {request.path}")
        if self.slow == request.path:
            await asyncio.Event().wait()
        if (wrong := self.instead.get(request.path)) is not None and (answer := wrong(request)) is not None:
            return answer
        match request.path:
            case "/.well-known/openid-configuration":
                return web.json_response(self._metadata())
            case "/keys":
                return web.json_response({"keys": [key(n).as_dict(private=False) for n in self.publishes]})
            case "/authorize":
                return self._authorize(request)
            case "/token":
                return await self._token(request)
            case "/userinfo" if self.user_info is not None:
                known = request.headers.get("authorization", "").removeprefix("Bearer ") in self.given
                return web.json_response(self.user_info) if known else web.Response(status=401)
        return web.Response(status=404)

    def _metadata(self) -> dict[str, Any]:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.user_info is not None else {}),
            **self.metadata,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _authorize(self, request: web.Request) -> web.StreamResponse:
        asked = dict(request.query)
        sound = asked.get("client_id") == CLIENT and asked.get("redirect_uri") == self.redirect_uri
        if (
            not sound
            or asked.get("code_challenge_method") != "S256"
            or "openid" not in asked.get("scope", "")
        ):
            return web.Response(status=400, text=str(sorted(asked)))
        code = f"code-{len(self.codes)}-of-this-login"
        self.codes[code] = asked
        self.given.append(code)
        back = {"code": code, "state": asked["state"], "iss": self.issuer, **self.returned}
        sent = urlencode({name: value for name, value in back.items() if value})
        raise web.HTTPFound(f"{self.redirect_uri}?{sent}")

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        basic = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if [unquote_plus(part) for part in basic.split(":")] != [CLIENT, SECRET]:
            return web.json_response({"error": "invalid_client"}, status=401)
        asked = self.codes.pop(str(form["code"]), None)
        digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != self.redirect_uri:
            return web.json_response(
                {"error": "invalid_grant", "error_description": str(form["code"])}, status=400
            )
        access = f"access-{len(self.given)}-of-this-login"
        token = self.id_token(asked["nonce"], access)
        self.given += [access, token]
        return web.json_response({"access_token": access, "token_type": "Bearer", "id_token": token})

    def id_token(self, nonce: str, access: str) -> str:
        """A signed ID token with the claims that the test wants."""
        now = int(self.clock.now().timestamp()) + self.ahead
        half = base64.urlsafe_b64encode(hashlib.sha256(access.encode()).digest()[:16]).decode().rstrip("=")
        claims = {
            "iss": self.issuer,
            "sub": "sub-1",
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "at_hash": half,
            "email": "Alice@Example.com",
            "email_verified": True,
            "groups": ["sre"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if name not in self.drop}
        if self.sign is not None:
            return self.sign(self, claims)
        header = {"alg": "RS256", "kid": f"key-{self.signs_with}", **self.header}
        header = {name: value for name, value in header.items() if value is not None}
        private = key(self.signs_with).raw_value
        assert isinstance(private, RSAPrivateKey)
        text = f"{_part(header)}.{_part(claims)}"
        return f"{text}.{encoded(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def unsigned(provider: Provider, claims: dict[str, Any]) -> str:
    """A token of nobody: `alg` none."""
    del provider
    return f"{_part({'alg': 'none', 'kid': 'key-1'})}.{_part(claims)}."


def hmac_with_the_public_key(provider: Provider, claims: dict[str, Any]) -> str:
    """A token that anybody can make who takes the provider's public key for a shared secret."""
    private = key(provider.signs_with).raw_value
    assert isinstance(private, RSAPrivateKey)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"{_part({'alg': 'HS256', 'kid': 'key-1'})}.{_part(claims)}"
    return f"{text}.{encoded(hmac.new(public, text.encode(), hashlib.sha256).digest())}"


def changed_after_signing(provider: Provider, claims: dict[str, Any]) -> str:
    """A sound signature under other claims."""
    good = Provider(provider.clock, "", provider.issuer).id_token("n", "a").split(".")
    return f"{good[0]}.{_part(claims)}.{good[2]}"


def _part(value: dict[str, Any]) -> str:
    return encoded(json.dumps(value).encode())


def encoded(data: bytes) -> str:
    """Base64 as JWTs have it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@asynccontextmanager
async def serving(clock: Clock, redirect_uri: str) -> AsyncIterator[Provider]:
    """A provider on a free loopback port."""
    provider = Provider(clock, redirect_uri)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    provider.issuer = f"http://{host}:{port}"
    try:
        yield provider
    finally:
        await runner.cleanup()
