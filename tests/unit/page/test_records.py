"""The audit trail and one target as pages."""

from __future__ import annotations

import json
import sqlite3
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from app.domain.events import EventKind
from app.domain.json import canonical
from app.store import records
from app.store import trail as whole
from app.web.expensive import OF_ONE
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident, the_run, trail
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, access, filled
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


async def test_it_is_searched_by_words_target_and_time(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL is the state: what was asked stands in the form again, in the link to what is older, and in the export."""
    monkeypatch.setattr(records, "_CLOCKS", timedelta(seconds=1))
    rig.clock.advance(600)
    await rig.operations.approve(asked, "alice")
    await rig.run(600)  # to its end: nothing is added below
    await browser.login("reader")
    told = await trail(rig)
    approved = next(r for r in told if r.kind is EventKind.APPROVED)
    incident = (await the_incident(rig)).id
    moment = approved.at - timedelta(minutes=5)
    before = moment.isoformat().replace("+00:00", "Z")
    fits = {
        f"since={before}": [r.seq for r in told if r.at >= moment],
        f"until={before}": [r.seq for r in told if r.at < moment],
        f"since={before}&until={before}": [],
        "words=ALICE": [r.seq for r in told if "alice" in (r.actor + canonical(r.data)).lower()],
        "words=alice+nowhere%25": [],
        "words=%25": [r.seq for r in told if "%" in r.actor + canonical(r.data)],
        "target=rag7/Deployment/langgraph": [r.seq for r in told if r.incident_id == incident],
        "target=rag7/Deployment/lang": [],
        f"target=rag7/Deployment/langgraph&since={before}&words=alice": [
            r.seq
            for r in told
            if r.at >= moment and "alice" in (r.actor + canonical(r.data)).lower() and r.incident_id
        ],
    }
    assert fits["words=ALICE"]
    assert approved.seq in fits[f"since={before}"]
    for query, wanted in fits.items():
        page = await browser.get(f"/audit?{query}")
        expect_sound(page)
        found = cells(page.document) if page.document.all("table") else []
        assert [int(row[0]) for row in found] == wanted[::-1], query
        form = filled(page.form("/audit/export"))
        assert {k: v for k, v in form.items() if k != "first"} == dict(parse_qsl(query)), query
        answer = await browser.http.get("/audit/export", params=form)
        assert [one["seq"] for one in lines(answer)] == wanted, query
        assert "did nothing" not in page.text, query


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


@pytest.mark.parametrize(
    "query",
    ["kind=odd", "cursor=%21", "cursor=MTp4", "since=yesterday", "until=2026", "words=a+b+c+d+e+f+g+h+i"],
)
async def test_what_cannot_be_searched_for_is_refused(browser: Browser, query: str) -> None:
    await browser.login("reader")
    page = await browser.get(f"/audit?{query}")
    assert page.status == 422
    expect_sound(page)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    """The records of an export."""
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_the_trail_is_exported_as_the_command_exports_it(
    rig: Rig, browser: Browser, asked: str
) -> None:
    await browser.login("reader")
    page = await browser.get("/audit")
    form = page.form("/audit/export")
    answer = await browser.http.get(form.get("action"), params=filled(form))
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert lines(answer) == await rig.store.read(lambda conn: list(whole.export(conn)))
    last = lines(answer)[-1]["seq"]
    assert answer.headers["content-disposition"] == f'attachment; filename="audit-1-{last}.jsonl"'
    assert "link" not in answer.headers
    assert asked in answer.text


async def test_an_export_has_what_the_search_finds(rig: Rig, browser: Browser, asked: str) -> None:
    await rig.operations.approve(asked, "alice")
    await rig.run(10)  # what it begins is written by then, and not between two looks
    await browser.login("reader")
    for query in ("actor=alice", f"run={asked}", f"incident={(await the_incident(rig)).id}", "actor=nobody"):
        page = await browser.get(f"/audit?{query}")
        expect_sound(page)
        found = cells(page.document) if page.document.all("table") else []
        answer = await browser.http.get("/audit/export", params=filled(page.form("/audit/export")))
        assert [str(one["seq"]) for one in lines(answer)] == [row[0] for row in found[::-1]], query


@pytest.mark.parametrize("field", ["kind", "incident"])
async def test_a_long_export_comes_in_parts_that_name_the_next(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setattr(records, "EXPORTED", 3)
    monkeypatch.setattr(whole, "_CHUNK", 2)
    await browser.login("reader")
    value = {"kind": "incident.opened", "incident": (await the_incident(rig)).id}[field]
    url, seen, parts = f"/audit/export?{field}={value}", [], 0
    while url:
        answer = await browser.http.get(url)
        seen += [one["seq"] for one in lines(answer)]
        url, parts = answer.headers.get("link", "").partition(">")[0].lstrip("<"), parts + 1
    of = {"kind": "kind", "incident": "incident_id"}[field]
    assert seen == [r.seq for r in await trail(rig) if str(getattr(r, of)) == value]
    assert parts > 1
    assert asked


async def test_an_export_has_a_place_among_the_expensive_reads_until_its_end(
    rig: Rig, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(rig, access())
    browser, reads = Browser(app), app.state.services.expensive
    held = []
    read = records.rows_of

    def rows_of(*given: Any, **named: Any) -> Any:
        held.append(reads._under_way["reader"])
        return read(*given, **named)

    monkeypatch.setattr(records, "rows_of", rows_of)
    await browser.login("reader")
    await browser.http.get("/audit/export")
    assert (set(held), reads._under_way["reader"]) == ({1}, 0)
    with ExitStack() as places:
        for _ in range(OF_ONE):
            places.enter_context(reads.place("reader"))
        refused = await browser.get("/audit/export")
    assert (refused.status, refused.document.one("code").text) == (503, "overloaded")
    await browser.close()
    assert asked


@pytest.mark.parametrize("query", ["kind=odd", "first=x", "first=-1", "first=" + "9" * 16])
async def test_what_cannot_be_exported_is_refused(browser: Browser, query: str) -> None:
    assert "login" in (await browser.get(f"/audit/export?{query}")).path, (
        "who may not read is sent to the login"
    )
    await browser.login("reader")
    page = await browser.get(f"/audit/export?{query}")
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
    told = {
        t.one("caption").text: [[c.text for c in r.all("td")] for r in t.all("tr")[1:]]
        for t in page.document.all("table")
    }
    assert ["this target", "2", "3", "1h"] in told["What is left of the limits that hold for it"]
    assert [row[0] for row in told["Incidents on this target, newest first"]] == ["FIXED"]
    ran = told["Runs on this target, newest first"]
    assert [row[:3] for row in ran] == [["fixed", "high-error-rate", "roll-back"]]
    assert run.result in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/targets/rag7/NoKind/x", 422),
        ("/targets/rag7/Secret/x", 200),  # which is not read
        ("/targets/rag7/Deployment/unheard-of", 200),
    ],
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
    assert (page.status, page.document.one(id="a-actor").get("value")) == (200, "a\ufffdb")
    answer = await browser.get("/audit?" + "actor=a&" * 60)
    assert (answer.status, answer.document.one("code").text) == (422, "invalid_parameter")
