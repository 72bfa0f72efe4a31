"""Every page in every state: readable without scripts, for everybody, and under a policy that allows no foreign content."""

from __future__ import annotations

import re
from contextlib import ExitStack
from importlib.resources import files
from urllib.parse import urlencode

import pytest

from app.domain.change import HIDDEN
from app.domain.errors import Refused
from app.domain.outcome import IncidentState
from app.notify.wording import STATE_WORDS
from app.page import render
from app.store import incidents
from app.web.expensive import PAGES_OF_ONE
from app.web.requests import MAX_QUERY
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, the_incident, the_run
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, Page, access
from tests.unit.page.markup import faults

REASON = "the graph shows it"


def expect_sound(page: Page) -> None:
    """No fault, and the headers of a page."""
    assert faults(page.document) == [], page.path
    headers = page.answer.headers
    csp = headers["content-security-policy"]
    assert csp == render.CSP
    assert "unsafe" not in csp
    assert "*" not in csp
    assert "frame-ancestors 'none'" in csp
    assert headers.get_list("content-security-policy") == [csp], "said once"
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")


@pytest.mark.parametrize("state", list(IncidentState))
async def test_an_incident_is_shown_in_each_state(rig: Rig, browser: Browser, state: IncidentState) -> None:
    await rig.run(10)
    incident = await the_incident(rig)
    if state is not IncidentState.MERGED:
        await rig.store.write(
            lambda tx: incidents.move(tx, incident.id, state, reason="as it came", reopen=True)
        )
    else:
        await rig.send(body(alert(rig, alertname="Another")))
        await rig.turn()
        other = (await rig.store.read(lambda conn: incidents.page(conn, None, 1)))[0]
        await rig.store.write(lambda tx: incidents.merge(tx, other.id, incident.id))
        incident = other
    await browser.login("reader")
    page = await browser.get(f"/incidents/{incident.id}")
    assert page.status == 200
    expect_sound(page)
    assert page.document.one("h1").text.startswith(STATE_WORDS[state])
    if state is not IncidentState.MERGED:
        assert page.document.one(id="now").all("dl") != []
    listed = await browser.get(f"/incidents?state={state.value}")
    expect_sound(listed)
    assert incident.id in listed.answer.text
    expect_sound(await browser.get("/"))


async def test_a_real_incident_from_alert_to_undo_is_one_timeline(
    rig: Rig, browser: Browser, asked: str
) -> None:
    """Alert, evidence, decision with all gates, plan, steps, verification, messages, people; each with its place."""
    await rig.run(10)
    page = await browser.press(await browser.login(), f"/runs/{asked}/approve", reason=REASON)
    await rig.run(400)
    page = await browser.get(f"{page.path.partition('#')[0]}?unfold=1")
    await browser.press(page, f"/runs/{asked}/undo", reason=REASON)
    await rig.run(60)
    page = await browser.get(page.path)
    expect_sound(page)
    timeline = page.document.one("ol")
    told = [e.text for e in timeline.all("li") if e.get("class").startswith("entry")]
    wanted = (
        "Incident opened",
        "Alert fired: HighErrorRate, from alertmanager",
        "Planned: step roll-back of high-error-rate",
        "Evidence:",
        "Decided: ",
        "Approval needed: 1 action",
        "Approved by alice",
        "Looked again before touching",
        "Begins: Roll back",
        "Done: Roll back",
        "Measured",
        "Alert resolved",
        "Checked: fixed",
        "Undo ordered by alice",
        "Undone: Roll back",
        "message",
    )
    at = [next((n for n, text in enumerate(told) if word in text), -1) for word in wanted]
    assert -1 not in at, dict(zip(wanted, at, strict=True))
    assert "nothing for" in timeline.text, "quiet spans are written as text"
    heads = {tuple(h.text for h in table.all("th")) for table in timeline.all("table")}
    assert heads == {
        ("Field", "Before", "After"),
        ("Answer", "Gate", "Measured", "Allowed", "What would have to change"),
    }
    image = next(r for r in timeline.all("tr") if "image" in r.text)
    assert [c.text for c in image.all("td")][1:] == [
        "ghcr.io/stacey77/rag7:v1.5.0",
        "ghcr.io/stacey77/rag7:v1.4.2",
    ]
    rows = [[c.text for c in r.all("td")] for r in timeline.all("tr")]
    dark = [r[0] for r in rows if r[1:] == [HIDDEN, HIDDEN]]
    assert "/metadata/annotations/kubernetes.io~1change-cause" in dark, "free text"
    assert "/spec/template" not in dark, "the row of the whole template would say nothing"


async def test_each_gate_stands_with_value_threshold_and_what_would_have_to_change(
    rig: Rig, browser: Browser, asked: str
) -> None:
    await browser.login("reader")
    page = await browser.get(f"/runs/{asked}")
    rows = [t for t in page.document.all("table") if "Every gate" in t.one("caption").text][-1].all("tr")[1:]
    assert len(rows) >= 16
    cells = [[c.text for c in row.all("td")] for row in rows]
    assert all(len(c) == 5 and c[0] and c[1] and c[2] for c in cells)
    (approval,) = [c for c in cells if c[1] == "approval"]
    assert approval[0] == "ASK"
    assert approval[4]


async def test_each_entry_has_an_address_of_its_own(browser: Browser, asked: str) -> None:
    await browser.login("reader")
    page = await browser.get(f"/runs/{asked}")
    entries = [e for e in page.document.all("li") if e.get("id").startswith("e")]
    assert len(entries) > 5
    for entry in entries:
        assert [a.get("href") for a in entry.all("a") if a.get("href").startswith("#")] == [
            f"#{entry.get('id')}"
        ]


async def test_the_overview_says_what_needs_a_person_and_how_the_service_stands(rig: Rig, asked: str) -> None:
    browser = Browser(app_of(rig, access(), {"cluster": "patch deployments is not granted"}))
    page = await browser.login()
    expect_sound(page)
    assert page.document.one("title").text.startswith("1 needs you")
    text = page.text
    for wanted in (
        "WAITING FOR APPROVAL HighErrorRate on rag7/Deployment/langgraph",
        "expires in 30m",
        "Pauses None.",
        "cluster 10 10 1h",
        "acts as the policy's rules say",
        "Replicas at work rig (this one)",
        "Works less well: cluster patch deployments is not granted",
        "alertmanager am",
    ):
        assert wanted in text, wanted
    rig.clock.advance(3_600)
    assert "nothing heard since" in (await browser.get("/")).text
    assert (await the_run(rig)).id == asked
    await browser.close()


async def test_the_overview_begins_with_how_many_need_whom(rig: Rig, browser: Browser, asked: str) -> None:
    page = await browser.login()
    main = page.document.one("main")
    counts = main.one(id="counts")
    assert counts.text == "1 waits for an answer, 1 open"
    (link,) = counts.all("a")
    assert (await browser.get(link.get("href"))).text.count("HighErrorRate") > 0
    boxes = [one for one in main.walk() if one.tag in ("section", "p")]
    assert boxes[0] is counts, "before everything else"
    await browser.press(page, f"/runs/{asked}/reject", reason="we roll forward")
    rig.clock.advance(30)
    await rig.run(30)
    assert "waits for an answer" not in (await browser.get("/")).document.one(id="counts").text


async def test_each_button_that_answers_a_plan_is_told_from_the_others_by_its_name(
    browser: Browser, asked: str
) -> None:
    """Somebody who hears the page has several plans on it. What is read aloud begins with what is seen."""
    page = await browser.login()
    names = {b.text: b.get("aria-label") for b in page.form(f"/runs/{asked}/reject").all("button") if b.text}
    which = "for HighErrorRate on rag7/Deployment/langgraph"
    assert names == {"Reject": f"Reject {which}", "Approve this plan": f"Approve this plan {which}"}


async def test_before_the_first_alert_it_says_what_to_do(rig: Rig, browser: Browser) -> None:
    page = await browser.login()
    expect_sound(page)
    assert "No alert was heard yet" in page.text
    assert "/webhooks/alertmanager" in page.text
    assert "What needs you now" not in page.text
    listed = await browser.get("/incidents")
    expect_sound(listed)
    assert "No alert was heard yet" in listed.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/incidents/inc_unknown", 404),
        ("/runs/run_unknown", 404),
        ("/incidents?state=odd", 422),
        ("/incidents?range=9y", 422),
        ("/incidents?since=yesterday", 422),
        ("/incidents?cursor=%21", 422),
        ("/static/../site.py", 404),
        ("/static/nothing.js", 404),
    ],
)
async def test_an_error_is_a_page_too(browser: Browser, path: str, status: int) -> None:
    await browser.login("reader")
    page = await browser.get(path)
    if not page.answer.headers["content-type"].startswith("text/html"):
        assert (page.status, page.answer.headers["content-type"]) == (404, "application/problem+json")
        return
    assert page.status == status
    expect_sound(page)


async def test_a_store_that_is_away_is_told(rig: Rig, browser: Browser) -> None:
    await browser.login("reader")

    async def away(_look: object) -> None:
        raise Refused("closed", code="odd")

    rig.store.read = away  # type: ignore[method-assign,assignment]
    page = await browser.get("/")
    assert page.status == 409
    expect_sound(page)


async def test_login_and_error_need_no_script_at_all(browser: Browser) -> None:
    page = await browser.get("/login")
    expect_sound(page)
    assert page.document.all("script") == []


async def test_files_are_ours_named_by_their_content_and_kept(browser: Browser) -> None:
    page = await browser.login("reader")
    sources = [e.get("src") or e.get("href") for e in page.document.all("script", "link")]
    assert len(sources) == 4
    for source in sources:
        answer = await browser.http.get(source)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789abcdef"])
async def test_nobody_keeps_a_file_under_the_name_of_another_version(browser: Browser, query: str) -> None:
    """While versions are exchanged a page of the new one may be given the old one's file."""
    answer = await browser.http.get(f"/static/page.css{query}")
    assert answer.status_code == 200
    assert answer.headers.get("cache-control", "") in ("", "no-store")


def test_templates_escape_everything_and_put_nothing_into_a_bare_attribute() -> None:
    folder = files("app.page").joinpath("templates")
    for entry in folder.iterdir():
        text = entry.read_text(encoding="utf-8")
        assert re.findall(r"\|\s*safe|autoescape|Markup|javascript:|\{%-?\s*raw", text) == [], entry.name
        bare = re.findall(r"\s[\w-]+=\{\{", text)
        assert bare == [], entry.name
        assert re.findall(r"<(?:script|style)\b(?![^>]*\bsrc=)", text) == [], entry.name


def _colours(css: str) -> list[dict[str, str]]:
    """The palettes, light and dark."""
    return [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]


def _luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = (
    *((text, ground) for text in ("text", "dim", "link") for ground in ("ground", "panel")),
    ("ok", "ok-ground"),
    ("ask", "ask-ground"),
    ("no", "no-ground"),
    ("link", "ask-ground"),
    ("press-text", "press"),
)


def test_every_pair_of_colours_can_be_read_in_light_and_dark() -> None:
    """WCAG AA: 4.5 to 1."""
    css = render.statics()["page.css"][0].decode()
    palettes = _colours(css)
    assert len(palettes) == 2
    assert set(palettes[0]) == set(palettes[1])
    for palette in palettes:
        for text, ground in PAIRS:
            light, dark = sorted((_luminance(palette[text]), _luminance(palette[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_no_colour_stands_outside_of_the_palettes() -> None:
    css = render.statics()["page.css"][0].decode()
    rest = re.sub(r":root \{.*?\}", "", css, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", rest) == []
    assert re.findall(r"@import|url\(", css) == []


def test_what_is_not_ours_says_what_it_is_and_under_which_licence() -> None:
    told = files("app.page").joinpath("static", "LICENSE.txt").read_text("utf-8")
    foreign = sorted(name for name in render.statics() if name.endswith(".min.js"))
    assert foreign == ["htmx.min.js", "sse.min.js"]
    assert all(f"{name} is" in told for name in foreign)
    version = re.search(r'version:"([0-9.]+)"', render.statics()["htmx.min.js"][0].decode())
    assert version is not None
    assert f"htmx {version[1]} " in told


@pytest.mark.parametrize(
    "path", ["/", "/incidents", "/incidents/x", "/runs/x", "/targets/rag7/Deployment/web"]
)
async def test_a_page_that_folds_many_rows_is_told_to_come_again_beyond_its_visitor_s_places(
    rig: Rig, path: str
) -> None:
    """Those who look at once are answered; one who asks for hundreds of pages keeps nobody else waiting."""
    app = app_of(rig, access())
    browser, places = Browser(app), app.state.services.pages
    await browser.login("reader")
    with ExitStack() as held:
        for _ in range(PAGES_OF_ONE - 1):
            held.enter_context(places.place("reader"))
        assert (await browser.get(path)).status in (200, 404)
        held.enter_context(places.place("reader"))
        refused = await browser.get(path)
    assert (refused.status, refused.answer.headers["retry-after"]) == (503, "2")
    assert "overloaded" in refused.text
    assert (await browser.get(path)).status in (200, 404)
    await browser.close()


@pytest.mark.parametrize("path", ["/incident", "/incidents/", "/targets/a", "/favicon.svg/x"])
async def test_whoever_looks_for_a_page_that_is_not_there_sees_a_page_and_a_program_its_answer(
    browser: Browser, path: str
) -> None:
    """The framework alone would give a person JSON. What was asked for is not repeated."""
    seen = await browser.get(path, accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert seen.status == 404
    expect_sound(seen)
    assert seen.document.one("h1").text == "Not found"
    assert path not in seen.text
    for asked, headers in ((path, {"accept": "*/*"}), ("/api/v1/nothing", {"accept": "text/html"})):
        told = (await browser.get(asked, **headers)).answer
        assert (told.status_code, told.json()["code"]) == (404, "not_found")


async def test_names_in_a_query_that_nobody_knows_cost_a_bounded_amount(browser: Browser) -> None:
    """They are said to have done nothing; of hostile ones most are hidden instead of looked through."""
    dear = "['sh','-c','redis-cli -a  ping']|\n property \"auth.token\" holds ``, which is not a UR%22"
    await browser.login()
    query = urlencode({f"{dear}{number}": "x" for number in range(49)})
    assert len(query) < MAX_QUERY
    page = await browser.get(f"/incidents?{query}")
    assert page.status == 200
    assert page.answer.text.count("[redacted]") >= 10
