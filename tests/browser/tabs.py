"""Owns one person's browser: its tabs, and what a page must never do while they look at it.

Every tab writes down what the console says, what the policy of the page (CSP) refused, and where requests went. What a test does
not expect there fails it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

from tests.browser.world import PEOPLE, World

DESKTOP, PHONE, NARROW = (1280, 800), (375, 740), (320, 640)
SIZES = {"desktop": DESKTOP, "phone": PHONE}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
_ANSWERED = re.compile(r"the server responded with a status of (\d+)")
_AXE = Axe()
STANDARDS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS = ("color-contrast", "link-in-text-block")
"""What axe judges by colour alone."""
_OVERFLOW = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""
_STANDS_OUT = """() => {
  const width = document.documentElement.clientWidth;
  return Array.from(document.querySelectorAll('main *')).filter(e => !e.closest('.scroll, pre') && e.getBoundingClientRect().right > width + 1)
    .slice(0, 5).map(e => e.outerHTML.slice(0, 120));
}"""


@dataclass
class Tab:
    """One tab, and what went on in it."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def watch(self) -> Tab:
        """Begin to write down."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        return self

    def open(self, path: str) -> Page:
        """Go to a page of the service."""
        self.page.goto(self.url + path, wait_until="load")
        return self.page

    def require_quiet(self, *statuses: int) -> None:
        """Nothing was said, nothing refused, nobody else asked. `statuses` are the errors that the test wants to see."""
        assert self.said == []
        assert self.elsewhere == []
        assert [s for s in self.failed if s not in statuses] == []

    def require_fits(self) -> None:
        """Nothing makes the page wider than the screen."""
        over = self.page.evaluate(_OVERFLOW)
        assert over <= 0, (over, self.page.evaluate(_STANDS_OUT))
        assert self.page.evaluate(_STANDS_OUT) == []

    def require_accessible(self, rules: Sequence[str] = STANDARDS) -> None:
        """axe-core finds nothing against these sets of rules."""
        found = _AXE.run(self.page, options={"runOnly": list(rules)}).response["violations"]
        summary = [(v["id"], v["help"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found]
        assert summary == [], summary

    def _console(self, message: ConsoleMessage) -> None:
        # A browser reports each answer above 399 as an error; which one it was is judged by its status.
        if message.type in ("error", "warning") and not _ANSWERED.search(message.text):
            self.said.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.elsewhere.append(request.url)

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(response.status)


@dataclass(frozen=True)
class Person:
    """Somebody at a browser of their own."""

    context: BrowserContext
    world: World

    def tab(self) -> Tab:
        """Another tab."""
        return Tab(self.context.new_page(), self.world.url).watch()

    def login(self, who: str = "anna", onward: str = "/") -> Tab:
        """A tab that is logged in, by the form."""
        tab = self.tab()
        page = tab.open(f"/login?next={onward}")
        page.get_by_label("Token").fill(PEOPLE[who][0])
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.world.url}{onward}")
        return tab


@contextmanager
def person(
    browser: Browser,
    world: World,
    *,
    size: tuple[int, int] = DESKTOP,
    scripts: bool = True,
    scheme: Scheme = "light",
    zone: str = "UTC",
) -> Iterator[Person]:
    """A browser with nothing in it, for the time of the block."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=scripts,
        color_scheme=scheme,
        reduced_motion="reduce",
        timezone_id=zone,
        locale="en-GB",
    )
    context.set_default_timeout(60_000)
    try:
        yield Person(context, world)
    finally:
        context.close()
