"""The audit trail and one target as pages."""

from __future__ import annotations

import sqlite3

import pytest

from app.domain.events import EventKind
from app.store import records
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident, the_run, trail
from tests.unit.page.browser import Browser
from tests.unit.page.html import Element
from tests.unit.page.test_pages import expect_sound

TARGET = "/targets/rag7/Deployment/langgraph"


def cells(document: Element, table: int = 0) -> list[list[str]]:
    """The text of each row's cells."""
    rows = document.all("table")[table].all("tr")[1:]
    return [[c.text for c in row.all("td")] for row in rows]


async def test_the_trail_is_listed_newest_first_with_the_head_of_its_chain(
    rig: Rig, browser: Browser, asked: str
) -> None:
    await browser.login("reader")
    page = await browser.get("/audit")
    expect_sound(page)
    told = await trail(rig)
    shown = cells(page.document)
    assert [int(row[0]) for row in shown] == [r.seq for r in told[::-1]]
    assert f"The chain's head is record {told[-1].seq}, {told[-1].hash}" in page.text
    link = page.document.all("tr")[1].one("a")
    assert link.get("href").startswith("/incidents/")
    assert asked in page.text


@pytest.mark.parametrize(
    ("change", "which", "why"),
    [
        ("UPDATE audit SET actor = 'mallory' WHERE seq = 3", 3, "was changed"),
        ("DELETE FROM audit WHERE seq = 2", 3, "record 2 is missing"),
        ("UPDATE audit_chain SET hash = 'f00'", 0, "is not the one that the chain's head names"),
    ],
)
async def test_a_record_that_does_not_fit_the_chain_is_marked(
    rig: Rig, browser: Browser, asked: str, change: str, which: int, why: str
) -> None:
    await browser.login("reader")
    whole = await browser.get("/audit")
    assert "Each record shown fits the one before it" in whole.text
    newest = (await trail(rig))[-1].seq
    with sqlite3.connect(rig.path) as conn:
        for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute(change)
    page = await browser.get("/audit")
    expect_sound(page)
    assert "1 of the records shown does not fit the chain" in page.text
    marked = [row[0] for row in cells(page.document) if not row[0].isdigit()]
    assert [int(text.split()[0]) for text in marked] == [which or newest]
    assert why in marked[0]
    assert asked in page.text


@pytest.mark.parametrize("field", ["kind", "actor", "incident", "run"])
async def test_it_is_searched_by_what_a_record_has(
    rig: Rig, browser: Browser, asked: str, field: str
) -> None:
    await rig.operations.approve(asked, "alice")
    await browser.login("reader")
    wanted = {
        "kind": EventKind.APPROVED.value,
        "actor": "alice",
        "incident": (await the_incident(rig)).id,
        "run": asked,
    }[field]
    page = await browser.get(f"/audit?{field}={wanted}")
    expect_sound(page)
    names = {"kind": "kind", "actor": "actor", "incident": "incident_id", "run": "run_id"}
    fits = [r.seq for r in await trail(rig) if str(getattr(r, names[field])) == wanted]
    assert fits
    assert [int(row[0]) for row in cells(page.document)] == fits[::-1]
    nothing = await browser.get("/audit?actor=nobody-of-this-name")
    assert "No record fits." in nothing.text


async def test_its_pages_follow_each_other_each_look_bounded(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LOOKED_AT", 5)
    await browser.login("reader")
    page, seen, looks = await browser.get("/audit?kind=incident.opened"), [], 1
    while links := page.document.all("a", rel="next"):
        assert links[0].text == "Look further back"
        seen += cells(page.document) if page.document.all("table") else []
        page, looks = await browser.get(links[0].get("href")), looks + 1
    seen += cells(page.document)
    assert [row[2] for row in seen] == ["incident.opened"]
    assert looks > 2
    assert asked


@pytest.mark.parametrize("query", ["kind=odd", "cursor=%21", "cursor=MTp4"])
async def test_what_cannot_be_searched_for_is_refused(browser: Browser, query: str) -> None:
    await browser.login("reader")
    page = await browser.get(f"/audit?{query}")
    assert page.status == 422
    expect_sound(page)


async def test_a_target_tells_what_happened_to_it_and_what_holds_it(
    rig: Rig, browser: Browser, asked: str
) -> None:
    await browser.login()
    incident = await browser.get(f"/runs/{asked}")
    page = await browser.get(incident.document.one("a", href=TARGET).get("href"))
    expect_sound(page)
    assert "Run at work high-error-rate: waiting" in page.text
    await rig.operations.approve(asked, "bob")
    await rig.run(400)
    await rig.operations.pause("namespace:rag7", "upgrade", "bob", None)
    page = await browser.get(TARGET)
    run = await the_run(rig)
    assert "Run at work none" in page.text
    assert "Paused namespace:rag7 by bob: upgrade" in page.text
    assert "Its own budget 2 of 3 left within 1h" in page.text
    assert [row[0] for row in cells(page.document)] == ["FIXED"]
    assert [row[:3] for row in cells(page.document, 1)] == [["fixed", "high-error-rate", "roll-back"]]
    assert run.result in page.text


@pytest.mark.parametrize(
    ("path", "status"), [("/targets/rag7/Secret/x", 422), ("/targets/rag7/Deployment/unheard-of", 200)]
)
async def test_a_target_that_nothing_happened_to(browser: Browser, path: str, status: int) -> None:
    await browser.login("reader")
    page = await browser.get(path)
    assert page.status == status
    expect_sound(page)
    assert status == 422 or "None." in page.text


async def test_the_trail_is_asked_only_for_what_the_store_can_hold(browser: Browser) -> None:
    """Postgres refuses a NUL in a question; where one was kept it stands as U+FFFD."""
    await browser.login("reader")
    page = await browser.get("/audit?actor=a%00b")
    assert (page.status, page.document.one(name="actor").get("value")) == (200, "a\ufffdb")
    answer = await browser.get("/audit?" + "actor=a&" * 60)
    assert (answer.status, answer.document.one("code").text) == (422, "invalid_parameter")
