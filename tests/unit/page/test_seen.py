"""The pages that answer "how does it stand now" and "what was it worth": diagnosis and scorecard."""

from __future__ import annotations

import pytest

from app.web import expensive
from tests.scenario.rig import Rig
from tests.scenario.scenes import writes
from tests.unit.page.browser import Browser
from tests.unit.page.test_pages import expect_sound


async def test_the_diagnosis_of_a_workload_shows_every_section_and_leads_on(
    rig: Rig, browser: Browser
) -> None:
    await browser.login("reader")
    asked = await browser.get("/diagnosis")
    expect_sound(asked)
    assert [s.get("name") for s in asked.document.all("select")] == ["kind"]
    page = await browser.get("/diagnosis?namespace=rag7&kind=Deployment&name=langgraph")
    expect_sound(page)
    assert page.document.one(id="screen-title").text == "rag7/Deployment/langgraph"
    titles = [h.text for h in page.document.all("h3")]
    assert {"Status", "Pods", "Errors, last 5 min", "Cause"} <= set(titles)
    assert any(a.get("href") == "/targets/rag7/Deployment/langgraph" for a in page.document.all("a"))
    target = await browser.get("/targets/rag7/Deployment/langgraph")
    ways = [a.get("href") for a in target.document.all("a") if a.text == "Diagnosis now"]
    assert ways == ["/diagnosis?namespace=rag7&kind=Deployment&name=langgraph"]
    assert writes(rig) == []


async def test_a_namespace_is_diagnosed_without_a_name(browser: Browser) -> None:
    await browser.login("reader")
    page = await browser.get("/diagnosis?namespace=rag7&kind=Deployment&name=")
    expect_sound(page)
    assert page.document.one(id="screen-title").text == "rag7"
    assert "langgraph" in page.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("namespace=kube-system", "keeps the namespace kube-system away"),
        ("namespace=elsewhere", "keeps the namespace elsewhere away"),
        ("namespace=rag7&kind=Deployment&name=nobody", '"nobody" not found'),
        ("namespace=Rag7", "a namespace has lower case letters"),
        ("namespace=rag7&kind=Secret&name=postgres", "and a kind"),
        ("name=langgraph&kind=Deployment", "a namespace has lower case letters"),
        ("namespace=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "a namespace has lower case letters"),
    ],
)
async def test_what_cannot_be_diagnosed_is_said_on_the_page(browser: Browser, query: str, words: str) -> None:
    await browser.login("reader")
    page = await browser.get(f"/diagnosis?{query}")
    assert page.status == 200
    expect_sound(page)
    assert words in page.document.one(role="alert").text
    assert page.document.all("h3") == []


async def test_the_scorecard_has_the_numbers_of_the_span_and_the_worst_targets(
    rig: Rig, browser: Browser
) -> None:
    await rig.run(600)
    await browser.login("reader")
    page = await browser.get("/scorecard")
    expect_sound(page)
    facts = {d.one("dt").text: d.one("dd").text for d in page.document.one("main").one("dl").all("div")}
    assert (facts["Alerts"], facts["Verified fixed"]) == ("1", "0")
    assert "No target had more than one incident" in page.text
    month = await browser.get("/scorecard?days=30")
    assert "30 days" in month.document.one("main").text


@pytest.mark.parametrize("days", ["", "0", "-1", "367", "9999999", "1e3", "²", "7;"])
async def test_a_span_that_is_none_is_refused_in_words(browser: Browser, days: str) -> None:
    await browser.login("reader")
    page = await browser.get(f"/scorecard?days={days}")
    assert page.status == 422
    assert "from 1 to 366" in page.text


@pytest.mark.parametrize("path", ["/diagnosis", "/scorecard"])
async def test_who_may_not_read_sees_neither(browser: Browser, path: str) -> None:
    page = await browser.get(f"{path}?namespace=rag7")
    assert page.document.one("h1").text == "Log in"


async def test_pages_beyond_the_places_of_their_reader_are_told_to_come_again(
    rig: Rig, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that follows the news (overview, incident) has places of its own, and more."""
    await browser.login("reader")
    monkeypatch.setattr(expensive, "OF_ONE", 0)
    for path in ("/diagnosis", "/scorecard", "/policy", "/audit"):
        page = await browser.get(path)
        assert (page.status, page.answer.headers["retry-after"]) == (503, "2")
        assert "overloaded" in page.text
    assert (await browser.get("/")).status == 200
    assert writes(rig) == []
