"""A login at an OpenID provider in the page's tests: the provider, the terms, and the way of a browser there and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.intake.auth import Scope
from app.intake.oidc import OidcTerms
from app.observe.identity_provider import IdentityProvider, Registration
from app.page.requests import SignIn
from tests.doubles.oidc import CLIENT, SECRET, Provider
from tests.scenario.rig import Rig
from tests.scenario.web import URL
from tests.unit.page.browser import Browser, Page

GROUPS = {
    "sre": frozenset({Scope.READ, Scope.OPERATE}),
    "dev": frozenset({Scope.READ}),
    "bots": frozenset({Scope.TRIGGER}),
}
NAME = "oidc:alice@example.com"


def terms_of(provider: Provider, **changes: Any) -> OidcTerms:
    """The terms at this provider."""
    terms = OidcTerms(provider.issuer, CLIENT, SECRET, URL, ("openid", "email"), "email", "groups", GROUPS)
    return replace(terms, **changes)


def sign_in_of(
    rig: Rig, provider: Provider, http: httpx.AsyncClient, deadline: float = 5.0, **changes: Any
) -> SignIn:
    """The login at this provider, as the composition root makes it."""
    terms = terms_of(provider, **changes)
    known = Registration(terms.client_id, terms.client_secret, terms.redirect_uri)
    return SignIn(terms, IdentityProvider(http, terms.issuer, known, rig.clock, deadline=deadline))


async def there(browser: Browser, onward: str = "/") -> str:
    """Go to the provider, log in, and give the path that it sends back to."""
    left = await browser.http.get("/login/oidc", params={"next": onward})
    assert left.status_code == 303, left.text
    async with httpx.AsyncClient(timeout=60) as outside:
        back = await outside.get(left.headers["location"])
    assert back.status_code == 302, back.text
    parts = urlsplit(back.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}" == URL
    return f"{parts.path}?{parts.query}"


async def login(browser: Browser, onward: str = "/") -> Page:
    """The whole way; the browser comes back from another site."""
    return await browser.get(await there(browser, onward), **{"sec-fetch-site": "cross-site"})


def why(page: Page) -> str:
    """The code of a refusal."""
    codes = page.document.all("code")
    return codes[-1].text if page.status >= 400 and codes else f"let in with {page.status}"
