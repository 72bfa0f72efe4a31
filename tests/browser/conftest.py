"""Owns the fixtures of the browser tier: one Chromium and one service for all of it.

A missing Chromium skips the tier loudly, or fails it with --require-browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import chromium
from tests.browser.tabs import Person, person
from tests.browser.world import World, world

_HERE = Path(__file__).parent
expect.set_options(timeout=60_000)  # a machine may be busy; nothing is waited for longer than it takes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tier."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Until the last test of this folder, and not of the run: the driver leaves a running loop behind in this thread.
@pytest.fixture(scope="package")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Chromium."""
    path = chromium.found()
    if path is None:
        if request.config.getoption("--require-browser", default=False):
            pytest.fail(chromium.MISSING)
        pytest.skip(chromium.MISSING)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, headless=True, args=list(chromium.FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="package")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The service with something to see on every page."""
    del browser  # without one nothing is started
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def anybody(browser: Browser, site: World) -> Iterator[Person]:
    """Somebody who is not logged in."""
    with person(browser, site) as made:
        yield made
