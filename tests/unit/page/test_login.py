"""Login by token: whose cookie it is, what it is worth, when it ends, and what is no way in."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from app.page.session import LIFETIME
from app.web.cookies import SESSION
from app.web.failures import LOGIN_TRIES, WINDOW, Failures, TooManyFailuresError
from tests.scenario.rig import Rig
from tests.scenario.web import URL, app_of
from tests.unit.page.browser import TOKENS, Browser, access
from tests.unit.web.rig import problem_of

PAGES = ("/", "/incidents", "/incidents/inc_1", "/runs/run_1", "/audit", "/targets/a/Deployment/b")


@pytest.mark.parametrize("path", PAGES)
async def test_nobody_sees_anything_without_a_login(browser: Browser, path: str) -> None:
    page = await browser.get(path)
    assert page.path.startswith("/login")
    assert page.document.one("h1").text == "Log in"


@pytest.mark.parametrize(
    ("asked", "onward"),
    [
        ("next=/" + "a" * 1_999, "/" + "a" * 1_999),
        ("next=/" + "a" * 2_001, "/"),
        ("next=/" + "%26" * 1_900, "/" + "&" * 1_900),
        ("next=/" + "%26" * 2_100, "/"),
    ],
)
async def test_a_long_way_onward_is_not_read(browser: Browser, asked: str, onward: str) -> None:
    """Whoever asks has proved nothing."""
    page = await browser.get(f"/login?{asked}")
    assert page.document.one("input", name="next").get("value") == onward


async def test_the_owner_of_a_token_with_the_scope_read_gets_in(browser: Browser) -> None:
    page = await browser.login("reader", "/incidents")
    assert (page.status, page.path) == (200, "/incidents")
    assert "reader (may only look)" in page.text


@pytest.mark.parametrize(
    ("token", "status", "text"),
    [
        ("nobody-s-token", 401, "the token is not known"),
        (TOKENS["sender"][0], 403, "sender lacks the scope read"),
        ("  ", 401, "the token is not known"),
    ],
)
async def test_other_tokens_do_not_and_are_told_why(
    browser: Browser, token: str, status: int, text: str
) -> None:
    page = await browser.press(await browser.get("/login"), "/login", token=token)
    assert (page.status, page.document.one(id="login-error").text) == (status, text)
    assert SESSION not in browser.http.cookies
    assert (await browser.get("/")).path == "/login"


async def test_the_cookie_is_for_this_site_and_no_script_and_has_no_token_in_it(browser: Browser) -> None:
    page = await browser.get("/login")
    data = {"form": page.document.one(name="form").get("value"), "token": TOKENS["alice"][0], "next": "/"}
    answer = await browser.http.post("/login", data=data, headers={"origin": URL})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    body = cookie.partition("=")[2].partition(".")[0]
    assert TOKENS["alice"][0] not in base64.urlsafe_b64decode(body + "==").decode()
    assert TOKENS["alice"][0] not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    ("base", "headers"),
    [("https://remediator.example", {}), ("http://remediator.example", {"x-forwarded-proto": "https"})],
)
async def test_behind_https_the_cookie_stays_on_https(rig: Rig, base: str, headers: dict[str, str]) -> None:
    """Also where TLS ends at a proxy, which speaks plain HTTP with the service."""
    browser = Browser(app_of(rig, access()), base)
    page = await browser.get("/login", **headers)
    assert "; Secure" in page.answer.headers["set-cookie"]
    visit = page.answer.headers["set-cookie"].partition(";")[0]
    data = {"form": page.document.one(name="form").get("value"), "token": TOKENS["alice"][0]}
    sent = {"origin": "https://remediator.example", "cookie": visit, **headers}
    answer = await browser.http.post("/login", data=data, headers=sent)
    assert "; Secure" in answer.headers["set-cookie"]
    await browser.close()


async def test_a_cookie_that_was_changed_anywhere_is_nobodys(browser: Browser) -> None:
    await browser.login()
    good = browser.http.cookies[SESSION]
    text, _, signature = good.partition(".")
    forged = base64.urlsafe_b64encode(b'["bob","session_00000001",99999999999,""]').decode().rstrip("=")
    changed = [
        good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in range(0, len(good), 7)
    ]
    others = [
        text,
        f"{text}.",
        f".{signature}",
        "",
        "x" * 5_000,
        f"{forged}.{signature}",
        f"{good}.{signature}",
    ]
    browser.http.cookies.clear()
    for cookie in (*changed, *others):
        answer = await browser.http.get("/", headers={"cookie": f"{SESSION}={cookie}"})
        assert answer.status_code == 303, cookie
    assert (await browser.http.get("/", headers={"cookie": f"{SESSION}={good}"})).status_code == 200


async def test_a_session_ends_with_its_time(rig: Rig, browser: Browser) -> None:
    await browser.login()
    rig.clock.advance((LIFETIME - timedelta(seconds=5)).total_seconds())
    assert (await browser.get("/")).status == 200
    rig.clock.advance(6)
    browser.http.cookies.clear()
    assert (await browser.get("/")).path == "/login"


async def test_an_expired_cookie_is_nobodys_even_if_a_browser_kept_it(rig: Rig, browser: Browser) -> None:
    await browser.login()
    good = browser.http.cookies[SESSION]
    rig.clock.advance(LIFETIME.total_seconds() + 1)
    assert (await browser.http.get("/", headers={"cookie": f"{SESSION}={good}"})).status_code == 303


@pytest.mark.parametrize(
    "changed",
    [("another-token-of-alice-0123", "read+operate"), (TOKENS["alice"][0], "ingest")],
    ids=["exchanged", "without read"],
)
async def test_a_token_that_is_exchanged_or_loses_its_scope_ends_its_sessions(
    rig: Rig, browser: Browser, changed: tuple[str, str]
) -> None:
    await browser.login()
    cookie = f"{SESSION}={browser.http.cookies[SESSION]}"
    other = Browser(app_of(rig, access(alice=changed)))
    assert (await other.http.get("/", headers={"cookie": cookie})).status_code == 303
    await other.close()


async def test_another_replica_knows_the_session_and_its_end(rig: Rig, browser: Browser) -> None:
    page = await browser.login()
    cookie = f"{SESSION}={browser.http.cookies[SESSION]}"
    replica = Browser(app_of(rig, access()))
    assert (await replica.http.get("/", headers={"cookie": cookie})).status_code == 200
    assert (await browser.press(page, "/logout")).path == "/login"
    assert SESSION not in browser.http.cookies
    assert (await replica.http.get("/", headers={"cookie": cookie})).status_code == 303, "a copied cookie"
    await replica.close()


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "/ x"],
)
async def test_a_login_leads_nowhere_but_to_our_own_pages(browser: Browser, onward: str) -> None:
    page = await browser.http.get("/login", params={"next": onward})
    data = {"token": TOKENS["alice"][0], "next": onward}
    data["form"] = page.text.partition('name="form" value="')[2].partition('"')[0]
    answer = await browser.http.post("/login", data=data, headers={"origin": URL})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_after_wrong_tokens_an_address_has_to_wait(rig: Rig, browser: Browser) -> None:
    page = await browser.get("/login")
    for _ in range(LOGIN_TRIES):
        assert (await browser.press(page, "/login", token="wrong-token")).status == 401
    late = await browser.press(page, "/login", token=TOKENS["alice"][0])
    assert (late.status, late.answer.headers["retry-after"]) == (429, "60")
    rig.clock.advance(WINDOW + 1)
    assert (await browser.press(page, "/login", token=TOKENS["alice"][0])).status == 200


def test_addresses_wait_for_themselves_and_few_are_remembered() -> None:
    failures = Failures()
    for _ in range(LOGIN_TRIES):
        failures.count("10.0.0.1", 0.0)
    with pytest.raises(TooManyFailuresError):
        failures.require_room("10.0.0.1", 1.0)
    failures.require_room("10.0.0.2", 1.0)
    failures.require_room("10.0.0.1", WINDOW)
    for number in range(3_000):
        failures.count(f"10.1.{number // 256}.{number % 256}", 1.0)
    assert len(failures._since) == 1_000


async def test_whoever_comes_by_a_link_from_elsewhere_is_led_on_by_our_own_page(browser: Browser) -> None:
    """A browser does not send the cookie along with a press in Slack; after our own page it does."""
    await browser.login()
    cookies = browser.http.cookies
    browser.http.cookies = type(cookies)()
    page = await browser.get("/incidents?state=waiting", **{"sec-fetch-site": "cross-site"})
    assert page.status == 200
    (refresh,) = [m for m in page.document.all("meta") if m.get("http-equiv") == "refresh"]
    assert refresh.get("content") == "0;url=/incidents?state=waiting"
    browser.http.cookies = cookies
    assert (await browser.get("/incidents?state=waiting", **{"sec-fetch-site": "same-origin"})).status == 200


async def test_the_open_mode_shows_without_a_login_what_the_api_shows(rig: Rig) -> None:
    browser = Browser(app_of(rig))
    page = await browser.get("/")
    assert page.status == 200
    assert "everybody on this machine may do everything" in page.text
    assert (await browser.get("/login")).path == "/"
    await browser.close()


async def test_the_open_mode_is_for_loopback_names_only(rig: Rig) -> None:
    browser = Browser(app_of(rig), "http://rebound.example:8080")
    page = await browser.get("/")
    assert page.status == 403
    assert "only requests to a loopback name are served" in page.text
    await browser.close()


async def test_the_api_takes_no_cookie(browser: Browser) -> None:
    """So no page of another site can make a browser order anything there."""
    await browser.login()
    problem_of(await browser.http.get("/api/v1/incidents"), 401, "not_authenticated")
