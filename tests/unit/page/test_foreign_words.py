"""Foreign words can be read and do nothing: no markup, no script, no link but http, no hidden or reordering character."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.domain.text import CONTROL
from app.notify.text import Ref, Span, Style, Who
from app.page import render
from app.sim.scenario import Scenario
from app.store import people
from tests.births import scenario_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, body, born
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, Page, access
from tests.unit.page.html import parse
from tests.unit.page.markup import faults

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</textarea></title></pre><script>alert(1)</script>",
    "{{ 7*7 }}{% raw %}",
    "<!-- <b>bold</b>",
    "&lt;b&gt;&#x3C;script&#x3E;",
    "]]><svg/onload=alert(1)>",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\x1b[2J\x1b]0;pwned\x07\x00\x08",
    "javascript:alert(1)",
    "FIXED\nApproved by alice",
    "<form action=/runs/x/approve method=post><button>Approve</button></form>",
    '<a href="https://evil.example">look</a>',
    "<bdi></bdi></bdi></li></ol></main>",
)
NAMES = ("alertname", "namespace", "deployment", "severity", "team", "pod")
URLS = (
    "javascript:alert(document.cookie)",
    "data:text/html,<script>alert(1)</script>",
    "https://ok.example/\u202egnp.exe",
    'https://ok.example/"onmouseover="alert(1)',
    "//evil.example",
    "vbscript:x",
    "https://ok.example/a b",
)


def expect_inert(text: str, where: str) -> None:
    """A document with nothing in it that acts."""
    assert faults(parse(text)) == [], where
    assert CONTROL.search(text) is None, where


async def expect_harmless(browser: Browser, *paths: str) -> list[Page]:
    """The pages are sound as ever, and every hidden character is shown instead of done."""
    found = []
    for path in paths:
        page = await browser.get(path)
        assert page.status == 200, path
        expect_inert(page.answer.text, path)
        assert {e.get("src") for e in page.document.all("script")} == {
            render.static_url(name) for name in ("htmx.min.js", "sse.min.js", "page.js")
        }
        found.append(page)
    return found


async def pages_of(rig: Rig, browser: Browser) -> list[Page]:
    """The overview, the list and all incidents, unfolded."""
    ids = [i.id for i in await all_incidents(rig)]
    return await expect_harmless(
        browser,
        "/",
        "/incidents",
        *(f"/incidents/{i}?unfold=1" for i in ids),
        *(f"/incidents/{i}" for i in ids),
    )


async def test_in_every_label_and_annotation(tmp_path: Path) -> None:
    """Each field alone, so that no other one hides it."""
    rig = await born(tmp_path, use_api=False)
    browser = Browser(app_of(rig))
    for attack in ATTACKS:
        alerts = [alert(rig, "firing", started=60.0, **{name: attack}) for name in NAMES]
        notes = alert(rig, alertname="Noted")
        notes["annotations"] = {
            "summary": attack,
            "description": attack,
            attack: "value",
            "runbook_url": attack,
        }
        notes["labels"][attack] = attack
        notes["generatorURL"] = attack
        await rig.send(body(*alerts, notes))
    await rig.run(10, alerts=False)
    ids = [i.id for i in await all_incidents(rig)]
    pages = await expect_harmless(
        browser, "/", "/incidents", "/audit", *(f"/incidents/{i}?unfold=1" for i in ids)
    )
    texts = [page.document.one("main").text for page in pages]
    for attack in ATTACKS:
        word = re.findall("[A-Za-z]{3,}|7", attack)[-1]
        assert any(word in text for text in texts), f"told, and not dropped: {attack!r}"
    assert not any("https://evil.example" in a.get("href") for p in pages for a in p.document.all("a"))
    await browser.close()
    await rig.close()


async def test_in_links_only_http_is_one(tmp_path: Path) -> None:
    rig = await born(tmp_path, use_api=False)
    browser = Browser(app_of(rig))
    sent = []
    for number, url in enumerate((*URLS, "https://runbooks.example/a?b=1&c=2#d")):
        one = alert(rig, alertname=f"Alert{number}")
        one |= {"generatorURL": url, "annotations": {"runbook_url": url}}
        sent.append(one)
    await rig.send(body(*sent))
    await rig.run(10, alerts=False)
    pages = await pages_of(rig, browser)
    outside = {
        a.get("href") for p in pages for a in p.document.all("a") if not a.get("href").startswith(("/", "#"))
    }
    assert outside == {"https://runbooks.example/a?b=1&c=2#d"}
    await browser.close()
    await rig.close()


async def test_in_what_people_and_urls_say(tmp_path: Path) -> None:
    """Reasons of pauses, and everything that a filter, a login or an error repeats."""
    rig = await born(tmp_path)
    browser, stranger = Browser(app_of(rig)), Browser(app_of(rig, access()))
    asked = [("/incidents", name, 200) for name in ("alertname", "namespace", "target")]
    asked += [("/incidents", name, 422) for name in ("state", "range", "since", "until", "cursor")]
    asked += [("/audit", name, 200) for name in ("actor", "incident", "run")]
    asked += [("/audit", name, 422) for name in ("kind", "cursor")]
    for number, attack in enumerate(ATTACKS):
        scope = f"rule:{number} {attack}"
        await rig.store.write(lambda tx, scope=scope, said=attack: people.pause(tx, scope, said, said, None))  # type: ignore[misc]
        for path, name, status in asked:
            answer = await browser.http.get(path, params={name: attack})
            assert answer.status_code == status, (name, attack)
            expect_inert(answer.text, name)
        expect_inert((await stranger.http.get("/login", params={"next": attack})).text, "next")
    await expect_harmless(browser, "/")
    for one in (browser, stranger):
        await one.close()
    await rig.close()


async def test_in_the_log_lines_of_evidence(tmp_path: Path) -> None:
    """What a pod prints is anybody's."""
    rig = await born(tmp_path, world=_shouting("<script>alert(1)</script>\u202e\x1b[31m"))
    browser = Browser(app_of(rig))
    await rig.run(60)
    pages = await pages_of(rig, browser)
    assert any("alert(1)" in p.text for p in pages), "the line is evidence"
    await browser.close()
    await rig.close()


def _shouting(said: str) -> Scenario:
    """The broken release, whose pods print this with each error."""
    shipped = scenario_of("high-error-rate")
    louder = tuple(
        b.model_copy(
            update={
                "error_lines": tuple(e.model_copy(update={"line": f"{e.line} {said}"}) for e in b.error_lines)
            }
        )
        for b in shipped.behaviours
    )
    return shipped.model_copy(update={"behaviours": louder})


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_in_every_kind_of_piece(attack: str) -> None:
    """The macro that shows lines, piece by piece."""
    pieces = [Span(attack, style) for style in Style]
    source = '{% import "parts.html" as p with context %}<div>{{ p.line(pieces) }}</div>'
    shown = (
        render._environment()
        .from_string(source)
        .render(pieces=[*pieces, Ref(attack, attack), Ref("label", attack), Who(attack)])
    )
    document = parse(shown)
    assert {e.tag for e in document.walk()} <= {"#document", "div", "bdi", "strong", "code"}
    assert CONTROL.search(shown) is None
