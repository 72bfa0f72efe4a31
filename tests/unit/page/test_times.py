"""How times are shown: a choice of the browser that is kept over all pages, and works without scripts as far as the service can know."""

from __future__ import annotations

import pytest

from tests.scenario.rig import Rig
from tests.unit.page.browser import Browser, Page
from tests.unit.page.test_pages import expect_sound


def shown(page: Page) -> list[str]:
    """The texts of all times of the page itself."""
    return [t.text for t in page.document.one("main").all("time")]


def ways(page: Page) -> dict[str, str]:
    """Where the choices in the header lead."""
    group = page.document.one("div", role="group", class_="times")
    return {a.text: a.get("href") for a in group.all("a")}


async def test_the_choice_is_kept_over_pages_and_leads_back_to_the_same_page(
    rig: Rig, browser: Browser
) -> None:
    await rig.run(30)
    await browser.login("reader")
    page = await browser.get("/incidents?range=24h&alertname=HighErrorRate")
    expect_sound(page)
    before = shown(page)
    assert before != []
    assert all(text.endswith(" UTC") for text in before)
    page = await browser.get(ways(page)["relative"])
    expect_sound(page)
    assert page.document.one(id="f-alertname").get("value") == "HighErrorRate"
    assert all(text.endswith(" ago") for text in shown(page))
    titles = [t.get("title") for t in page.document.one("main").all("time")]
    assert titles == before, "the moment itself is one look away"
    for path in ("/", "/audit", "/incidents"):
        other = await browser.get(path)
        expect_sound(other)
        assert shown(other) != []
        assert all(text.endswith(" ago") or text.startswith("in ") for text in shown(other)), path
    back = await browser.get(ways(page)["UTC"])
    assert shown(back) == before


async def test_local_times_stand_in_utc_until_the_pages_script_has_run(rig: Rig, browser: Browser) -> None:
    await rig.run(30)
    await browser.login("reader")
    page = await browser.get("/times?show=local&back=/incidents")
    expect_sound(page)
    assert page.document.one("html").get("data-times") == "local"
    assert all(text.endswith(" UTC") for text in shown(page))


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_no_choice_leads_elsewhere(browser: Browser, back: str) -> None:
    await browser.login("reader")
    answer = await browser.http.get("/times", params={"show": "utc", "back": back})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]


async def test_what_is_no_choice_is_refused_and_a_forged_cookie_is_none(browser: Browser) -> None:
    await browser.login("reader")
    assert (await browser.http.get("/times?show=%3Cb%3E&back=/")).status_code == 422
    browser.http.cookies.set("remediator_times", "<b>")
    page = await browser.get("/")
    expect_sound(page)
    current = [a.text for a in page.document.one("div", class_="times").all("a") if "aria-current" in a.attrs]
    assert current == ["UTC"]
