"""Login at an OpenID provider: who gets in and as whom, what is no way in whatever the provider does wrong, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from aiohttp import web as aio
from structlog.testing import capture_logs

from app.domain.events import EventKind
from app.observe.identity_provider import FAILED_FOR, KEYS_AGAIN, LIMIT
from app.web.cookies import ATTEMPT, SESSION
from app.web.failures import WINDOW
from tests.doubles import oidc
from tests.doubles.oidc import CLIENT, SECRET, Provider
from tests.scenario.rig import Rig
from tests.scenario.scenes import trail
from tests.scenario.web import URL, app_of
from tests.unit.page.browser import Browser, access
from tests.unit.page.login_there import NAME, login, sign_in_of, why


async def test_a_person_of_a_mapped_group_gets_in_with_the_scopes_of_their_groups(
    rig: Rig, person: Browser, provider: Provider
) -> None:
    page = await login(person, "/incidents?state=open")
    (refresh,) = [m for m in page.document.all("meta") if m.get("http-equiv") == "refresh"]
    assert (page.status, refresh.get("content")) == (200, "0;url=/incidents?state=open")
    assert {"HttpOnly", "SameSite=Strict", "Max-Age=43200"} <= set(
        page.answer.headers.get_list("set-cookie")[0].split("; ")
    )
    seen = await person.get("/incidents")
    assert NAME in seen.text
    assert "may only look" not in seen.text
    records = await trail(rig, EventKind.SESSION_BEGUN)
    assert [(r.actor, r.data["scopes"], r.data["groups"]) for r in records] == [
        (NAME, ["operate", "read"], ["sre"])
    ]
    assert ATTEMPT not in person.http.cookies


async def test_the_provider_is_asked_with_pkce_state_and_nonce_that_are_new_each_time(
    person: Browser,
) -> None:
    asked = []
    for _ in range(2):
        left = await person.http.get("/login/oidc")
        asked.append({k: v[0] for k, v in parse_qs(urlsplit(left.headers["location"]).query).items()})
        sealed = left.headers.get_list("set-cookie")[0]
        assert {"HttpOnly", "SameSite=Lax", "Max-Age=600"} <= set(sealed.split("; "))
    first, second = asked
    fixed = ("response_type", "client_id", "redirect_uri", "scope", "code_challenge_method")
    assert {k: first[k] for k in fixed} == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": f"{URL}/login/oidc/callback",
        "scope": "openid email",
        "code_challenge_method": "S256",
    }
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name]) >= 43


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another nonce": ({"claims": {"nonce": "x"}}, "login_refused"),
    "no nonce": ({"drop": ("nonce",)}, "login_refused"),
    "another issuer": ({"claims": {"iss": "https://evil.example"}}, "login_refused"),
    "another audience": ({"claims": {"aud": "other"}}, "login_refused"),
    "two audiences, nobody authorized": ({"claims": {"aud": [CLIENT, "other"]}}, "login_refused"),
    "another authorized party": ({"claims": {"azp": "other"}}, "login_refused"),
    "expired": ({"claims": {"exp": 1}}, "login_refused"),
    "never expires": ({"drop": ("exp",)}, "login_refused"),
    "expires at no number": ({"claims": {"exp": float("nan")}}, "login_refused"),
    "made in an hour": ({"claims": {"iat": 99_999_999_999}}, "login_refused"),
    "made long ago": ({"claims": {"iat": 1}}, "login_refused"),
    "made in two minutes": ({"ahead": 120}, "login_refused"),
    "expired two minutes ago": ({"ahead": -420}, "login_refused"),
    "without a time": ({"drop": ("iat",)}, "login_refused"),
    "not yet valid": ({"claims": {"nbf": 99_999_999_999}}, "login_refused"),
    "of nobody": ({"drop": ("sub",)}, "login_refused"),
    "another access token's": ({"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}, "login_refused"),
    "unsigned": ({"sign": oidc.unsigned}, "login_refused"),
    "hmac with the public key": ({"sign": oidc.hmac_with_the_public_key}, "login_refused"),
    "changed after signing": ({"sign": oidc.changed_after_signing}, "login_refused"),
    "no token": ({"sign": lambda *_: "nonsense"}, "login_refused"),
    "a critical extension": ({"header": {"crit": ["x"], "x": 1}}, "login_refused"),
    "unknown key": ({"signs_with": 2}, "login_refused"),
    "the email is not verified": ({"claims": {"email_verified": False}}, "email_not_verified"),
    "nobody says that the email is verified": ({"drop": ("email_verified",)}, "email_not_verified"),
    "verified as a text": ({"claims": {"email_verified": "true"}}, "email_not_verified"),
    "no email": ({"drop": ("email",)}, "name_missing"),
    "no groups": ({"drop": ("groups",)}, "no_group"),
    "unknown groups": ({"claims": {"groups": ["marketing", "SRE", "sre "]}}, "no_group"),
    "groups in groups": ({"claims": {"groups": [["sre"], {"sre": 1}, 7, None]}}, "no_group"),
    "groups in an object": ({"claims": {"groups": {"sre": True}}}, "no_group"),
    "a group without read": ({"claims": {"groups": ["bots"]}}, "scope_missing"),
    "the provider says no": ({"returned": {"code": "", "error": "access_denied"}}, "login_refused"),
    "another provider answers": ({"returned": {"iss": "https://evil.example"}}, "login_refused"),
    "nobody says who answers": ({"returned": {"iss": ""}}, "login_refused"),
    "another state": ({"returned": {"state": "0" * 64}}, "login_not_begun"),
    "a code that was never given": ({"returned": {"code": "made-up"}}, "login_refused"),
    "no code": ({"returned": {"code": ""}}, "login_refused"),
}


async def test_whatever_is_wrong_with_the_answer_is_no_way_in_and_nothing_of_it_is_told(
    rig: Rig, person: Browser, provider: Provider
) -> None:
    sound = dict(vars(provider))
    for name, (faults, code) in REFUSED.items():
        vars(provider).update(sound, codes={}, given=[], **faults)
        with capture_logs() as logs:
            page = await login(person)
        assert (page.status in (401, 403), why(page)) == (True, code), name
        assert SESSION not in person.http.cookies, name
        assert (await person.get("/")).path == "/login", name
        told = page.answer.text + json.dumps(logs, default=str)
        assert not [one for one in (*provider.given, SECRET) if one in told], name
        rig.clock.advance(WINDOW + KEYS_AGAIN)
    assert not await trail(rig, EventKind.SESSION_BEGUN)


ACCEPTED: dict[str, tuple[dict[str, Any], str]] = {
    "several audiences and this one authorized": ({"claims": {"aud": [CLIENT, "x"], "azp": CLIENT}}, ""),
    "the clock is a little ahead": ({"ahead": 30}, ""),
    "the clock is a little behind": ({"ahead": -330}, ""),
    "one group as a text": ({"claims": {"groups": "dev"}}, "may only look"),
    "ten thousand groups": (
        {"claims": {"groups": [f"a-group-with-number-{n}" for n in range(10_000)] + ["dev"]}},
        "may only look",
    ),
    "one key that is not named": ({"header": {"kid": None}}, ""),
}


async def test_what_the_standard_allows_is_taken(rig: Rig, person: Browser, provider: Provider) -> None:
    sound = dict(vars(provider))
    for name, (faults, text) in ACCEPTED.items():
        vars(provider).update(sound, **faults)
        assert (await login(person)).status == 200, name
        page = await person.get("/")
        assert NAME in page.text, name
        assert text in page.text, name
        person.http.cookies.clear()


AWAY: dict[str, tuple[str, Callable[[aio.Request], aio.StreamResponse]]] = {
    "discovery is a page": ("/.well-known/openid-configuration", lambda _: aio.Response(text="<html>", content_type="text/html")),
    "discovery leads elsewhere": ("/.well-known/openid-configuration", lambda _: aio.Response(status=302, headers={"location": "/keys"})),
    "discovery is huge": ("/.well-known/openid-configuration", lambda _: aio.Response(text=json.dumps(["x" * LIMIT]))),
    "discovery is a list": ("/.well-known/openid-configuration", lambda _: aio.json_response([])),
    "the keys are a page": ("/keys", lambda _: aio.Response(text="<html>")),
    "the keys are away": ("/keys", lambda _: aio.Response(status=503)),
    "the tokens are a page": ("/token", lambda _: aio.Response(text="<html>", content_type="text/html")),
    "the tokens lead elsewhere": ("/token", lambda _: aio.Response(status=307, headers={"location": "/token2"})),
    "the tokens are huge": ("/token", lambda _: aio.Response(text=json.dumps({"id_token": "x" * LIMIT}))),
    "no ID token": ("/token", lambda _: aio.json_response({"access_token": "a"})),
    "ID token is a number": ("/token", lambda _: aio.json_response({"access_token": "a", "id_token": 1})),
    "our secret is wrong": ("/token", lambda _: aio.json_response({"error": "invalid_client"}, status=401)),
    "the keys are none": ("/keys", lambda _: aio.json_response({"keys": "none"})),
}  # fmt: skip


async def test_a_provider_that_does_not_answer_properly_is_told_and_lets_nobody_in(
    rig: Rig, provider: Provider, http: httpx.AsyncClient
) -> None:
    for name, (path, answer) in AWAY.items():
        browser = Browser(app_of(rig, access(), sign_in=sign_in_of(rig, provider, http)))
        provider.instead = {path: answer}
        page = await browser.get("/login/oidc") if "well" in path else await login(browser)
        expected = (401, "login_refused") if "none" in name else (503, "provider_unavailable")
        assert (page.status, why(page)) == expected, name
        assert SESSION not in browser.http.cookies, name
        await browser.close()
        rig.clock.advance(WINDOW + 1)


async def test_a_slow_provider_is_given_up_and_not_asked_again_at_once(
    rig: Rig, provider: Provider, http: httpx.AsyncClient
) -> None:
    for path in ("/.well-known/openid-configuration", "/token"):
        provider.slow = path
        browser = Browser(app_of(rig, access(), sign_in=sign_in_of(rig, provider, http, deadline=0.05)))
        page = await browser.get("/login/oidc") if "well" in path else await login(browser)
        assert (page.status, why(page)) == (503, "provider_unavailable")
        assert "did not answer within 0.05 s" in page.text
        if "well" in path:
            await browser.get("/login/oidc")
            assert provider.count(path) == 1
            rig.clock.advance(FAILED_FOR)
            provider.slow = ""
            assert (await login(browser)).status == 200
        await browser.close()


DISCOVERY = "/.well-known/openid-configuration"
BAD_METADATA: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example"},
    "a slash more": {"issuer": "/"},
    "no authorization endpoint": {"authorization_endpoint": None},
    "plain http to elsewhere": {"token_endpoint": "http://evil.example/token"},
    "keys in a file": {"jwks_uri": "file:///etc/passwd"},
    "a user in a URL": {"token_endpoint": "https://a@evil.example/token"},
    "an unfinished address": {"token_endpoint": "https://[::1/token"},
    "no code flow": {"response_types_supported": ["id_token"]},
    "no S256": {"code_challenge_methods_supported": ["plain"]},
    "no secret taken": {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    "a number for a list": {"response_types_supported": 7},
}


async def test_metadata_that_does_not_fit_is_refused_before_anybody_is_sent_there(
    rig: Rig, provider: Provider, http: httpx.AsyncClient
) -> None:
    for name, wrong in BAD_METADATA.items():
        provider.metadata = {k: provider.issuer + v if v == "/" else v for k, v in wrong.items()}
        browser = Browser(app_of(rig, access(), sign_in=sign_in_of(rig, provider, http)))
        page = await browser.get("/login/oidc")
        assert (page.status, why(page)) == (503, "provider_unavailable"), name
        asked = provider.count(DISCOVERY)
        assert why(await browser.get("/login/oidc")) == "provider_unavailable", name
        assert provider.count(DISCOVERY) == asked, "it is not asked again at once"
        rig.clock.advance(FAILED_FOR)
        await browser.get("/login/oidc")
        assert provider.count(DISCOVERY) == asked + 1
        await browser.close()


async def test_what_a_provider_says_beside_its_refusal_gets_out_nowhere(rig: Rig, person: Browser) -> None:
    left = await person.http.get("/login/oidc")
    (state,) = parse_qs(urlsplit(left.headers["location"]).query)["state"]
    said = {"error": "password=hunter2-error", "error_description": "Bearer hunter2-token", "state": state}
    with capture_logs() as logged:
        page = await person.get(f"/login/oidc/callback?{urlencode(said)}")
    assert any(entry["event"] in ("login_refused", "login_failed") for entry in logged)
    assert "hunter2" not in page.text + json.dumps(logged, default=str)
    assert not await trail(rig, EventKind.SESSION_BEGUN)
