"""Login at an OpenID provider: an attempt counts once, keys are exchanged, sessions end, and what is done bears a name."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.domain.events import EventKind
from app.intake import id_token
from app.observe.identity_provider import KEYS_AGAIN
from app.page.oidc import WAIT
from app.page.requests import SignIn
from app.page.session import LIFETIME
from app.web.cookies import ATTEMPT, SESSION
from app.web.failures import LOGIN_TRIES
from tests.doubles.oidc import CLIENT, Provider
from tests.scenario import inline
from tests.scenario.rig import Rig
from tests.scenario.scenes import trail
from tests.scenario.web import URL, app_of
from tests.unit.page.browser import Browser, access
from tests.unit.page.login_there import GROUPS, NAME, login, sign_in_of, there, why


async def test_exchanged_keys_are_read_again_once(
    rig: Rig, person: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, judge = list[bool](), id_token.claims_in

    def claims_in(*given: Any) -> dict[str, Any]:
        beside.append(any(frame.filename == inline.__file__ for frame in inspect.stack(0)))
        return judge(*given)

    monkeypatch.setattr(id_token, "claims_in", claims_in)
    assert (await login(person)).status == 200
    provider.signs_with, provider.publishes = 2, (2,)
    assert (await login(person)).status == 200
    assert provider.count("/keys") == 2
    provider.signs_with = 3
    assert why(await login(person)) == "login_refused"
    assert provider.count("/keys") == 2, "not again so soon"
    rig.clock.advance(KEYS_AGAIN)
    assert why(await login(person)) == "login_refused"
    assert provider.count("/keys") == 3
    provider.signs_with = 1
    assert why(await login(person)) == "login_refused", "a key that was taken back"
    assert len(beside) == 9
    assert all(beside), "in a thread: who reads a stranger's keys answers nobody meanwhile"


async def test_an_answer_counts_once_and_in_the_browser_that_asked(
    rig: Rig, person: Browser, provider: Provider
) -> None:
    path = await there(person)
    cookie = f"{ATTEMPT}={person.http.cookies[ATTEMPT]}"
    other = Browser(person.http._transport.app)  # type: ignore[attr-defined]
    assert why(await other.get(path)) == "login_not_begun"
    assert (await person.get(path)).status == 200
    exchanged = provider.count("/token")
    again = await other.get(path, cookie=cookie)
    assert why(again) == "login_repeated"
    assert provider.count("/token") == exchanged, "a code is presented once"
    await other.close()


async def test_a_callback_that_was_not_begun_here_locks_nobody_out_and_ends_no_login_under_way(
    person: Browser, provider: Provider
) -> None:
    """Any site can send a browser there, with an image too; and whoever logs in in two tabs comes back from both."""
    first, second = await there(person), await there(person)
    for path in (first, *["/login/oidc/callback?state=x&code=y"] * LOGIN_TRIES):
        assert why(await person.get(path)) == "login_not_begun"
    assert provider.count("/token") == 0
    assert (await person.get(second)).status == 200
    assert NAME in (await person.get("/")).text


async def test_a_session_of_before_is_not_the_one_that_a_login_begins(
    rig: Rig, person: Browser, provider: Provider, http: httpx.AsyncClient
) -> None:
    """Whoever plants a cookie in a browser does not look along after its login."""
    other = Browser(app_of(rig, access(), sign_in=sign_in_of(rig, provider, http)))
    await other.login("reader")
    planted = other.http.cookies[SESSION]
    person.http.cookies.set(SESSION, planted, domain="127.0.0.1", path="/")
    await login(person)
    assert [c.value for c in person.http.cookies.jar if c.name == SESSION and c.value == planted] == []
    assert NAME in (await person.get("/")).text
    assert NAME not in (await other.get("/")).text
    await other.close()


async def test_the_cookies_of_a_login_are_for_https_alone_whatever_a_proxy_says(
    rig: Rig, provider: Provider, http: httpx.AsyncClient
) -> None:
    """A browser that comes back from the provider tells no Origin, so the external address says it."""
    outside = "https://remediator.example.com"
    provider.redirect_uri = f"{outside}/login/oidc/callback"
    for said in ({}, {"x-forwarded-proto": "http"}, {"x-forwarded-host": "evil.example"}):
        browser = Browser(
            app_of(rig, access(), sign_in=sign_in_of(rig, provider, http, external_url=outside))
        )
        left = await browser.http.get("/login/oidc", headers=said)
        asked = parse_qs(urlsplit(left.headers["location"]).query)
        assert asked["redirect_uri"] == [provider.redirect_uri], said
        async with httpx.AsyncClient(timeout=60) as there_:
            back = urlsplit((await there_.get(left.headers["location"])).headers["location"])
        attempt = left.headers["set-cookie"].partition(";")[0]
        come = await browser.http.get(f"{back.path}?{back.query}", headers={"cookie": attempt, **said})
        assert come.status_code == 200, said
        made = left.headers.get_list("set-cookie") + come.headers.get_list("set-cookie")
        ours = [one for one in made if one.startswith((ATTEMPT, SESSION))]
        assert [one.endswith("; Secure") for one in ours] == [True] * 3, said
        await browser.close()


async def test_a_login_that_takes_too_long_begins_anew(rig: Rig, person: Browser) -> None:
    path = await there(person)
    cookie = f"{ATTEMPT}={person.http.cookies[ATTEMPT]}"
    rig.clock.advance(WAIT.total_seconds())
    assert why(await person.get(path, cookie=cookie)) == "login_expired"


async def test_a_login_leads_nowhere_but_to_our_own_pages(person: Browser) -> None:
    for onward in (
        *("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\\\\evil"),
        *("/\t/evil.example", "/\n/evil.example", " //evil.example", "evil.example", "/\u2044evil", ""),
    ):
        page = await login(person, onward)
        (refresh,) = [m for m in page.document.all("meta") if m.get("http-equiv") == "refresh"]
        assert refresh.get("content") == "0;url=/"


async def test_after_failed_logins_an_address_has_to_wait_for_either_way_in(
    rig: Rig, person: Browser, provider: Provider
) -> None:
    path = await there(person)
    provider.returned = {"code": "made-up"}
    for _ in range(LOGIN_TRIES):
        assert (await login(person)).status == 401
    late = await person.get(path)
    assert (late.status, late.answer.headers["retry-after"]) == (429, "60")
    assert (await person.get("/login/oidc")).status == 429
    assert provider.count("/token") == LOGIN_TRIES
    assert (await person.press(await person.get("/login"), "/login", token="x")).status == 429


async def test_a_session_ends_with_its_time_its_logout_and_other_terms(
    rig: Rig, person: Browser, provider: Provider, http: httpx.AsyncClient
) -> None:
    await login(person)
    cookie = f"{SESSION}={person.http.cookies[SESSION]}"

    async def seen(sign_in: SignIn | None) -> int:
        browser = Browser(app_of(rig, access(), sign_in=sign_in))
        status = (await browser.http.get("/", headers={"cookie": cookie})).status_code
        await browser.close()
        return status

    assert await seen(sign_in_of(rig, provider, http)) == 200, "another replica"
    assert await seen(None) == 303, "the login was switched off"
    for changes in ({"groups": {"sre": GROUPS["dev"]}}, {"client_id": "other"}, {"groups_claim": "roles"}):
        assert await seen(sign_in_of(rig, provider, http, **changes)) == 303, changes
    rig.clock.advance((LIFETIME - timedelta(seconds=5)).total_seconds())
    assert await seen(sign_in_of(rig, provider, http)) == 200
    rig.clock.advance(6)
    assert await seen(sign_in_of(rig, provider, http)) == 303


async def test_a_logout_ends_the_session_here_and_leads_to_the_providers_own(
    rig: Rig, person: Browser, provider: Provider
) -> None:
    provider.metadata = {"end_session_endpoint": f"{provider.issuer}/end?a=b"}
    await login(person)
    cookie = f"{SESSION}={person.http.cookies[SESSION]}"
    page = await person.press(await person.get("/"), "/logout")
    assert page.document.one("h1").text == "Logged out"
    link = urlsplit(page.document.one("a").get("href"))
    assert f"{link.scheme}://{link.netloc}{link.path}" == f"{provider.issuer}/end"
    assert parse_qs(link.query) == {
        "a": ["b"],
        "client_id": [CLIENT],
        "post_logout_redirect_uri": [f"{URL}/login"],
    }
    assert (await person.http.get("/", headers={"cookie": cookie})).status_code == 303


async def test_a_provider_without_a_logout_of_its_own_leads_back_to_the_login(person: Browser) -> None:
    await login(person)
    assert (await person.press(await person.get("/"), "/logout")).path == "/login"


async def test_claims_that_only_userinfo_has_are_read_there(
    rig: Rig, person: Browser, provider: Provider
) -> None:
    provider.drop = ("email", "email_verified", "groups")
    told = {"sub": "sub-1", "email": "bob@example.com", "email_verified": True, "groups": ["dev"]}
    provider.user_info = told
    assert (await login(person)).status == 200
    assert "oidc:bob@example.com (may only look)" in (await person.get("/")).text
    provider.user_info = {**told, "sub": "sub-2"}
    assert why(await login(person)) == "login_refused", "of somebody else"
    provider.drop = ("email_verified", "groups")
    provider.user_info = told
    assert why(await login(person)) == "email_not_verified", "verified is another address"


async def test_the_login_page_offers_both_ways_and_only_where_there_are_two(
    person: Browser, browser: Browser
) -> None:
    page = await person.get("/login?next=/audit")
    assert page.document.one(id="login-oidc").get("href") == "/login/oidc?next=%2Faudit"
    assert (await person.login("reader")).status == 200, "with a token, as before"
    assert "login-oidc" not in (await browser.get("/login")).answer.text
    assert (await browser.http.get("/login/oidc")).status_code == 404


async def test_what_a_person_presses_bears_their_name(rig: Rig, person: Browser, asked: str) -> None:
    await login(person)
    page = await person.get(f"/runs/{asked}")
    await person.press(page, f"/runs/{asked}/approve", reason="looks right")
    given = await trail(rig, EventKind.APPROVED)
    assert [r.actor for r in given] == [NAME]
