"""A browser without scripts: it keeps cookies, fills in forms, presses buttons and goes where it is sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx
from fastapi import FastAPI

from app.intake.auth import Access, parse_tokens
from tests.scenario.web import URL, client_of
from tests.unit.page.html import Element, parse

TOKENS = {
    "alice": ("alice-s-token-0123456789", "read+operate"),
    "bob": ("bob-s-token-0123456789", "read+operate"),
    "reader": ("reader-s-token-0123456789", "read"),
    "carol": ("carol-s-token-0123456789", "read+trigger+operate"),
    "dave": ("dave-s-token-0123456789", "read+trigger"),
    "sender": ("sender-s-token-0123456789", "ingest"),
}


def access(**others: tuple[str, str]) -> Access:
    """The tokens above, some of them exchanged."""
    known = {**TOKENS, **others}
    entries = [f"{n}:{s}:{hashlib.sha256(t.encode()).hexdigest()}" for n, (t, s) in known.items()]
    return Access(tokens=parse_tokens(",".join(entries)))


@dataclass
class Page:
    """One answer, and its document where it is one."""

    answer: httpx.Response
    path: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.answer.status_code

    @property
    def document(self) -> Element:
        """The tree."""
        return parse(self.answer.text)

    @property
    def text(self) -> str:
        """All that can be read."""
        return self.document.text

    def form(self, action: str) -> Element:
        """The form that has a way to this action."""
        found = [
            f
            for f in self.document.all("form")
            if f.get("action") == action or any(b.get("formaction") == action for b in f.all("button"))
        ]
        assert len(found) == 1, (action, [f.get("action") for f in self.document.all("form")])
        return found[0]


class Browser:
    """One person's browser on an application; `base` is the address they typed."""

    def __init__(self, app: FastAPI, base: str = URL) -> None:
        self.base = base
        self.http = client_of(app, base)

    async def get(self, path: str, **headers: str) -> Page:
        """Open a page and go where it sends."""
        return await self._follow(await self.http.get(path, headers=headers), path)

    async def login(self, name: str = "alice", onward: str = "/") -> Page:
        """Log in with this person's token."""
        page = await self.get(f"/login?next={onward}")
        return await self.press(page, "/login", token=TOKENS[name][0])

    async def press(self, page: Page, action: str, **fields: str) -> Page:
        """Fill in the form that leads to `action` and press its button."""
        return await self.post(action, filled(page.form(action), **fields))

    async def post(self, action: str, data: dict[str, str], **headers: str) -> Page:
        """Send a form as a browser does, with the Origin of the page."""
        sent = {"origin": self.base, **headers}
        return await self._follow(await self.http.post(action, data=data, headers=sent), action)

    async def _follow(self, answer: httpx.Response, path: str) -> Page:
        for _ in range(5):
            if answer.status_code != 303:
                return Page(answer, path)
            path = urljoin(path, answer.headers["location"])
            assert urlsplit(path).netloc in ("", urlsplit(self.base).netloc), path
            answer = await self.http.get(path)
        raise AssertionError("it leads in circles")

    async def close(self) -> None:
        """Close it."""
        await self.http.aclose()


def filled(form: Element, **fields: str) -> dict[str, str]:
    """What a browser sends: hidden and filled-in fields; an unknown or forgotten one fails the test."""
    data: dict[str, str] = {}
    known = {e.get("name") for e in form.all("input", "select", "textarea")}
    assert set(fields) <= known, (set(fields) - known, known)
    for element in form.all("input", "select"):
        name = element.get("name")
        if element.tag == "select":
            first = next(
                (o for o in element.all("option") if "selected" in o.attrs), element.all("option")[0]
            )
            data[name] = fields.get(name, first.get("value"))
        elif element.get("type") != "checkbox" or name in fields or "checked" in element.attrs:
            data[name] = fields.get(name, element.get("value"))
        assert data.get(name) or "required" not in element.attrs, f"{name} has to be filled in"
    return data
