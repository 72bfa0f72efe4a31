"""News: how much is new, told while a page is open; bounded, and over with the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from app.domain.errors import BadInput
from app.page import news, streams
from app.page.session import LIFETIME
from app.web.cookies import SESSION
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, the_incident
from tests.scenario.web import URL, app_of
from tests.unit.page.browser import Browser, access
from tests.unit.page.html import parse


class Stream:
    """One open stream: what came so far, as (event, data)."""

    def __init__(self, app: FastAPI, path: str, cookie: str = "") -> None:
        self.events: list[tuple[str, str]] = []
        self.raw = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self._task = asyncio.ensure_future(self._read(app, path, cookie))

    async def _read(self, app: FastAPI, path: str, cookie: str) -> None:
        raw_path, _, query = path.partition("?")
        headers = [(b"host", b"127.0.0.1:8080"), (b"cookie", cookie.encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
        }
        self.gone = asyncio.Event()

        async def receive() -> dict[str, object]:
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            self._take(message)

        await app(scope, receive, send)  # type: ignore[arg-type]

    def _take(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            self.status = int(str(message["status"]))
            pairs: list[tuple[bytes, bytes]] = message["headers"]  # type: ignore[assignment]
            self.headers = {k.decode(): v.decode() for k, v in pairs}
            return
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        self.raw += body.decode()
        self.events = []
        for block in self.raw.split("\n\n"):
            fields = [line.partition(": ") for line in block.splitlines()]
            name = "".join(v for k, _, v in fields if k == "event")
            if name:
                self.events.append((name, "\n".join(v for k, _, v in fields if k == "data")))

    def over(self) -> bool:
        """It has ended."""
        return self._task.done()

    async def leave(self) -> None:
        """The browser goes away."""
        self.gone.set()
        await asyncio.wait({self._task})


async def turns(rig: Rig, seconds: float = 0.0) -> None:
    """Let what can run at this moment run, then so much time pass for the streams, step by step."""
    await rig.quiet()
    for _ in range(int(seconds / news.EVERY)):
        rig.clock.advance(news.EVERY)
        await rig.quiet()


@pytest.fixture
async def app(rig: Rig) -> FastAPI:
    """The application with logins."""
    return app_of(rig, access())


@pytest.fixture
async def logged_in(app: FastAPI) -> AsyncIterator[Browser]:
    """Somebody who is logged in."""
    browser = Browser(app)
    await browser.login()
    yield browser
    await browser.close()


def cookie_of(browser: Browser) -> str:
    """What their browser sends."""
    return f"{SESSION}={browser.http.cookies[SESSION]}"


async def stream_of(app: FastAPI, browser: Browser, path: str) -> Stream:
    """The stream that a page asks for."""
    page = await browser.get(path)
    (place,) = [e for e in page.document.walk() if "sse-connect" in e.attrs]
    assert (place.get("role"), place.get("sse-close")) == ("status", "over")
    return Stream(app, place.get("sse-connect"), cookie_of(browser))


async def test_the_list_tells_how_many_came_and_moves_no_row(
    rig: Rig, app: FastAPI, logged_in: Browser
) -> None:
    stream = await stream_of(app, logged_in, "/incidents")
    await turns(rig, 4)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (stream.headers["cache-control"], stream.events) == ("no-store", [])
    for number in range(3):
        await rig.send(body(alert(rig, deployment=f"app{number}")))
    await turns(rig, 2)
    ((name, html),) = stream.events
    link = parse(html).one("a")
    assert (name, link.text, link.get("href")) == ("news", "3 new incidents: show", "/incidents")
    assert len(parse(html).all("tr", "table")) == 0
    await stream.leave()


async def test_the_list_tells_only_what_its_filter_wants(rig: Rig, app: FastAPI, logged_in: Browser) -> None:
    stream = await stream_of(app, logged_in, "/incidents?alertname=Mine&state=open")
    await rig.send(body(alert(rig, alertname="Others")))
    await turns(rig, 4)
    assert stream.events == []
    await rig.send(body(alert(rig, alertname="Mine")))
    await turns(rig, 2)
    ((_, html),) = stream.events
    assert parse(html).one("a").get("href") == "/incidents?state=open&alertname=Mine"
    await stream.leave()


@pytest.mark.parametrize("where", ["overview", "incident"])
async def test_a_page_tells_of_changes(
    rig: Rig, app: FastAPI, logged_in: Browser, asked: str, where: str
) -> None:
    await rig.run(5)
    path = "/" if where == "overview" else f"/incidents/{(await the_incident(rig)).id}"
    stream = await stream_of(app, logged_in, path)
    await turns(rig, 4)
    assert stream.events == []
    await rig.operations.approve(asked, "bob")
    await rig.run(15)
    await turns(rig, 2)
    name, html = stream.events[-1]
    assert name == "news"
    assert parse(html).one("a").get("href") == path
    assert "change" in parse(html).text
    await stream.leave()


async def test_a_stream_ends_before_any_request_has_to(rig: Rig, app: FastAPI, logged_in: Browser) -> None:
    """And the browser asks again."""
    stream = await stream_of(app, logged_in, "/")
    await turns(rig, news.SECONDS - 5)
    assert not stream.over()
    await turns(rig, 8)
    assert stream.over()
    assert stream.raw.startswith("retry: 2000\n\n")


async def test_a_logout_ends_the_stream_for_good(rig: Rig, app: FastAPI, logged_in: Browser) -> None:
    page = await logged_in.get("/")
    stream = await stream_of(app, logged_in, "/")
    await turns(rig, 2)
    await logged_in.press(page, "/logout")
    await turns(rig, 4)
    assert stream.over()
    name, html = stream.events[-1]
    assert (name, parse(html).one("a").get("href")) == ("over", "/login")


async def test_the_end_of_the_session_ends_the_stream(rig: Rig, app: FastAPI, logged_in: Browser) -> None:
    rig.clock.advance(LIFETIME.total_seconds() - 10)
    stream = await stream_of(app, logged_in, "/")
    await turns(rig, 4)
    assert not stream.over()
    await turns(rig, 8)
    assert stream.over()
    assert stream.events[-1][0] == "over"


async def test_nobody_hears_anything_and_does_not_ask_again(rig: Rig, app: FastAPI) -> None:
    """They are told so by the word after which the page closes its stream."""
    stream = Stream(app, "/news?since=0&path=/")
    await turns(rig, 2)
    assert (stream.over(), stream.status) == (True, 200)
    ((name, html),) = stream.events
    assert (name, parse(html).one("a").get("href")) == ("over", "/login")


async def test_only_so_many_at_once_and_each_gives_its_place_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 2)
    app = app_of(rig)
    path = "/news?since=0&path=/"
    first, second, third = (Stream(app, path) for _ in range(3))
    await turns(rig, 2)
    assert [s.over() for s in (first, second, third)] == [False, False, True]
    assert third.raw == "retry: 30000\n\n"
    await first.leave()
    fourth = Stream(app, path)
    await turns(rig, 2)
    assert not fourth.over()
    await second.leave()
    await fourth.leave()


async def test_an_answer_that_the_store_refuses_ends_the_stream_quietly(
    rig: Rig, app: FastAPI, logged_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun with 200, so nothing else can be told; the browser asks again later."""

    def refuse(*_: object) -> int:
        raise BadInput("the store cannot hold a value", code="unstorable")

    monkeypatch.setattr("app.page.news.standing.changes", refuse)
    stream = Stream(app, "/news?since=0", cookie_of(logged_in))
    await turns(rig, 2)
    assert (stream.status, stream.over(), stream.events) == (200, True, [])
    assert stream.raw.endswith("retry: 30000\n\n")


@pytest.mark.parametrize("query", ["x=1&" * 60, "newest=x&path=" + quote("/incidents?" + "state=open&" * 60)])
async def test_more_fields_than_a_page_has_are_refused(rig: Rig, query: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(rig)), base_url=URL) as client:
        assert (await client.get(f"/news?{query}")).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "",
        "since=-1",
        "since=x",
        "since=99999999999999999999",
        "newest=x&path=" + quote("/incidents?state=odd"),
    ],
)
async def test_what_no_page_asks_is_refused(rig: Rig, query: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(rig)), base_url=URL) as client:
        assert (await client.get(f"/news?{query}")).status_code == 422


async def test_the_link_leads_to_our_own_pages_only(rig: Rig) -> None:
    stream = Stream(app_of(rig), "/news?since=0&path=" + quote("https://evil.example/"))
    await rig.send(body(alert(rig)))
    await turns(rig, 2)
    assert parse(stream.events[-1][1]).one("a").get("href") == "/"
    await stream.leave()
