"""Forms from elsewhere: whatever another site, another session or a stale page sends changes nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.domain.lines import ASKED_BY, EXPENSIVE, NOBODY, Asker
from app.domain.outcome import RunState
from app.page.requests import MAX_FORM
from app.store import people
from app.web.cookies import SESSION, VISIT
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_run
from tests.scenario.web import URL, app_of
from tests.unit.page.browser import TOKENS, Browser, access, filled

REASON = "seen at the graph"


async def untouched(rig: Rig) -> bool:
    """Nobody has answered, and nothing is paused."""
    run = await the_run(rig)
    held = await rig.store.read(lambda conn: people.pauses_in_force(conn, rig.clock.now()))
    return run.state is RunState.WAITING and run.answer == "" and held == []


async def test_a_press_waits_in_no_line_of_those_who_look(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the service's own work; what a page shows is read in the line of whoever looks."""
    seen, real = list[Asker](), type(rig.store).read

    async def read(store: Any, fn: Any) -> Any:
        seen.append(ASKED_BY.get())
        return await real(store, fn)

    monkeypatch.setattr(type(rig.store), "read", read)
    page = await browser.login()
    assert set(seen) == {Asker("alice")}
    seen.clear()
    await browser.press(page, f"/runs/{asked}/approve", reason=REASON)
    assert seen[0] == NOBODY
    assert Asker("alice") in seen
    await browser.get("/audit")
    assert Asker("alice", EXPENSIVE) in seen


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8080", "http://["]
)
async def test_a_form_on_another_site_is_refused(rig: Rig, browser: Browser, asked: str, origin: str) -> None:
    """Even with a form token that was stolen."""
    page = await browser.login()
    for action in (f"/runs/{asked}/approve", "/pause"):
        data = filled(page.form(action), reason=REASON)
        answer = await browser.post(action, data, origin=origin)
        assert (answer.status, answer.document.one("code").text) == (403, "cross_site")
    assert await untouched(rig)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": ""},
        {"origin": "//127.0.0.1:8080"},
        {"origin": "ftp://127.0.0.1:8080"},
        {"origin": f"{URL}/path"},
        {"x-forwarded-proto": "https"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
    ids=str,
)
async def test_a_form_has_to_say_that_a_page_of_ours_sent_it(
    rig: Rig, browser: Browser, asked: str, headers: dict[str, str]
) -> None:
    """By host, port and scheme: a page that came over plain HTTP can be anybody's on the way."""
    page = await browser.login()
    for action in (f"/runs/{asked}/approve", "/pause", "/logout"):
        data = filled(page.form(action), **({} if action == "/logout" else {"reason": REASON}))
        answer = await browser.post(action, data, **headers)
        assert (answer.status, answer.document.one("code").text) == (403, "cross_site"), action
    assert await untouched(rig)
    assert (await browser.get("/")).path == "/", "still logged in"


async def test_a_form_without_an_origin_is_refused(rig: Rig, browser: Browser, asked: str) -> None:
    """Every browser sends one with a form."""
    page = await browser.login()
    data = filled(page.form(f"/runs/{asked}/approve"), reason=REASON)
    answer = await browser.http.post(f"/runs/{asked}/approve", data=data)
    assert answer.status_code == 403
    assert await untouched(rig)
    assert (await browser.post(f"/runs/{asked}/approve", data)).status == 200, "and with one it is taken"


async def test_whoever_guesses_a_sessions_mark_has_no_form_of_it(
    rig: Rig, browser: Browser, asked: str
) -> None:
    """Ids follow each other, so they can be guessed, and a browser chooses the mark that it brings to the login."""
    page = await browser.login()
    body = browser.http.cookies[SESSION].partition(".")[0]
    mark = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))[1]
    stranger = Browser(app_of(rig, access()))
    stranger.http.cookies.set(VISIT, mark, domain="127.0.0.1")
    made = (await stranger.get("/login")).document.one(name="form").get("value")
    data = {**filled(page.form(f"/runs/{asked}/approve"), reason=REASON), "form": made}
    answer = await browser.post(f"/runs/{asked}/approve", data)
    assert (answer.status, answer.document.one("code").text) == (403, "form_refused")
    assert await untouched(rig)
    await stranger.close()


@pytest.mark.parametrize("token", ["", "x", "0" * 64, "\u00e9" * 64])
async def test_a_form_without_its_token_is_refused(
    rig: Rig, browser: Browser, asked: str, token: str
) -> None:
    page = await browser.login()
    for action in (f"/runs/{asked}/approve", f"/runs/{asked}/reject", "/pause", "/resume", "/logout"):
        data = {"reason": REASON, "scope": "all", "once": "click_000001", "form": token}
        answer = await browser.post(action, data)
        assert (answer.status, answer.document.one("code").text) == (403, "form_refused"), action
    assert page.status == 200
    assert await untouched(rig)
    assert (await browser.get("/")).status == 200, "still logged in"


async def test_a_form_of_another_session_is_refused(rig: Rig, browser: Browser, asked: str) -> None:
    """Also of the same person's."""
    first = await browser.login()
    stale = filled(first.form(f"/runs/{asked}/approve"), reason=REASON)
    await browser.press(first, "/logout")
    await browser.login()
    answer = await browser.post(f"/runs/{asked}/approve", stale)
    assert answer.status == 403
    assert "load the page again" in answer.text
    assert await untouched(rig)


async def test_a_login_cannot_be_forced_on_somebody(browser: Browser) -> None:
    """Another site has neither this browser's mark nor our origin."""
    page = await browser.get("/login")
    data = {"token": TOKENS["bob"][0], "form": page.document.one(name="form").get("value")}
    assert (await browser.post("/login", data, origin="https://evil.example")).status == 403
    browser.http.cookies.clear()
    assert (await browser.post("/login", data)).status == 403
    assert (await browser.get("/")).path == "/login"


async def test_the_open_mode_checks_its_forms_too(rig: Rig, asked: str) -> None:
    """Any page in a browser on this machine can send requests here."""
    open_browser = Browser(app_of(rig))
    page = await open_browser.get("/")
    data = filled(page.form(f"/runs/{asked}/approve"), reason=REASON)
    refused = await open_browser.post(f"/runs/{asked}/approve", data, origin="https://evil.example")
    assert refused.status == 403
    open_browser.http.cookies.clear()
    assert (await open_browser.post(f"/runs/{asked}/approve", data)).status == 403
    assert await untouched(rig)
    await open_browser.close()


async def test_looking_never_changes_anything(rig: Rig, browser: Browser, asked: str) -> None:
    """A link, an image or a prefetch is a GET."""
    await browser.login()
    for path in (f"/runs/{asked}/approve", f"/runs/{asked}/undo", "/pause", "/logout"):
        answer = await browser.http.get(path, params={"reason": REASON, "scope": "all"})
        assert answer.status_code in (404, 405), path
    assert await untouched(rig)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x=" + b"y" * MAX_FORM, "application/x-www-form-urlencoded", 413),
        (b'{"form":"x"}', "application/json", 415),
        (b"x", "multipart/form-data; boundary=x", 415),
        (b"&".join(b"a=1" for _ in range(101)), "application/x-www-form-urlencoded", 422),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 422),
    ],
    ids=["too large", "json", "multipart", "too many fields", "not ascii"],
)
async def test_what_is_no_form_is_refused(browser: Browser, body: bytes, kind: str, status: int) -> None:
    await browser.login()
    headers = {"origin": URL, "content-type": kind}
    answer = await browser.http.post("/pause", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")


async def test_without_a_session_a_form_is_not_taken(rig: Rig, browser: Browser, asked: str) -> None:
    """And its owner is told where to log in."""
    page = await browser.login()
    data = filled(page.form(f"/runs/{asked}/approve"), reason=REASON)
    stranger = Browser(app_of(rig, access()))
    answer = await stranger.post(f"/runs/{asked}/approve", data)
    assert (answer.status, answer.document.one("a", href="/login").text) == (401, "Back")
    assert await untouched(rig)
    await stranger.close()
