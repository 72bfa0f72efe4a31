"""Login at an OpenID provider in Chromium, from another site and back: what a browser does with cookies, redirects and refreshes.

The provider stands under another host name than the service, so that it is another site for the browser.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from app.observe.system import SystemClock
from tests.doubles.oidc import CLIENT, SECRET, Provider, serving
from tests.live.process import free_ports
from tests.unit.served import TOKENS, Served, served

PATIENCE = 60.0


@dataclass(frozen=True)
class Place:
    """The service, and the provider that knows its people."""

    service: Served
    provider: Provider


@contextmanager
def _provider(redirect_uri: str) -> Iterator[Provider]:
    """A provider with a loop of its own."""
    found: list[Provider] = []
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(SystemClock(), redirect_uri) as provider:
            provider.issuer = f"http://localhost:{urlsplit(provider.issuer).port}"
            found.append(provider)
            up.set()
            await asyncio.to_thread(down.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="provider")
    thread.start()
    try:
        assert up.wait(PATIENCE)
        yield found[0]
    finally:
        down.set()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def place(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service whose people log in at a provider; its time runs as the browser's."""
    del browser  # without one nothing is started
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (
        _provider(f"{url}/login/oidc/callback") as provider,
        served(
            tmp_path_factory.mktemp("oidc"),
            speed=1.0,
            port=port,
            tokens=TOKENS,
            external_url=url,
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT,
            oidc_client_secret=SECRET,
            oidc_groups='{"sre": "read+operate", "dev": "read"}',
        ) as service,
    ):
        yield Place(service, provider)


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(request: pytest.FixtureRequest, browser: Browser, place: Place) -> Iterator[Page]:
    """A browser with nothing in it."""
    context = browser.new_context(java_script_enabled=request.param)
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()
    place.provider.claims.clear()


def _log_in(page: Page, place: Place, onward: str = "/") -> None:
    page.goto(f"{place.service.url}{onward}")
    page.get_by_role("link", name="Log in at").click()


def test_a_person_is_logged_in_where_they_wanted_to_go_and_stays_it(page: Page, place: Place) -> None:
    _log_in(page, place, "/incidents?state=waiting")
    page.wait_for_url(f"{place.service.url}/incidents?state=waiting")
    expect(page.get_by_text("oidc:alice@example.com").first).to_be_visible()
    page.goto(f"{place.service.url}/audit")
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()


def test_after_the_logout_the_page_asks_again(page: Page, place: Place) -> None:
    _log_in(page, place)
    page.wait_for_url(f"{place.service.url}/")
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{place.service.url}/audit")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_whoever_is_in_no_group_is_told_so_and_sees_nothing(page: Page, place: Place) -> None:
    place.provider.claims["groups"] = ["sales"]
    _log_in(page, place)
    expect(page.get_by_text("no_group")).to_be_visible()
    page.goto(f"{place.service.url}/audit")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
