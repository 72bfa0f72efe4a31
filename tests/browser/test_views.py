"""Every view in a real browser: it renders, fits, is quiet and accessible at both widths and in both schemes, with the keyboard alone and
without scripts.

One tab is led from view to view; widths and schemes change on the loaded page, as they do when somebody turns a phone. The
pictures are kept in `screenshots/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.tabs import COLOURS, DESKTOP, NARROW, PHONE, SCHEMES, SIZES, STANDARDS, Person, Tab, person
from tests.browser.world import World
from tests.unit.page.html import parse
from tests.unit.page.markup import faults

KEPT = Path(__file__).resolve().parents[2] / "screenshots"
VIEWS: dict[str, tuple[str, str]] = {
    "overview": ("/", "What needs you now"),
    "incidents": ("/incidents", "CertificateExpiresSoon"),
    "incident-waiting": ("/incidents/{sessions}", "Waits for your answer"),
    "incident-ended": ("/incidents/{langgraph}?unfold=1", "Afterwards"),
    "incident-undo-foreseen": ("/incidents/{langgraph}?see=undo", "What the undo would do now"),
    "incident-object": ("/incidents/{sessions}?see=object", "containers:"),
    "incident-found": ("/incidents/{langgraph}?find=healthy", "entries have"),
    "incident-escalated": ("/incidents/{reports}", "Who has it"),
    "target": ("/targets/rag7/Deployment/langgraph", "Runs of 30 days"),
    "policy": (
        "/policy?labels=alertname%3DHighErrorRate%2C+namespace%3Drag7%2C+severity%3Dcritical",
        "Told only at the time",
    ),
    "target-now": ("/targets/rag7/Deployment/langgraph?now=1", "Rollouts of 30 days"),
    "doctor": ("/doctor?look=1", "Findings, the worst first"),
    "audit": ("/audit?incident={langgraph}", "Records, newest first"),
    "scorecard": ("/scorecard?days=1", "What was done"),
    "procedures": ("/procedures", "database-restore"),
    "procedure": ("/procedures/database-restore", "Order it"),
    "diagnosis": ("/diagnosis?namespace=rag7&kind=Deployment&name=sessions", "rag7/Deployment/sessions"),
    "error": ("/incidents/inc_that_is_none", "Not found"),
}
ERRORS = {"error": 404}
_FOCUSABLE = """() => {
  const shown = e => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.type !== 'hidden';
  return Array.from(document.querySelectorAll('a[href], button, input, select, textarea, summary')).filter(shown).length;
}"""
_FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) { return null; }
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  e.dataset.seen = (e.dataset.seen || '') + 'x';
  return {again: e.dataset.seen.length > 1, outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    inside: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.left >= -1 && box.right <= innerWidth + 1,
    what: e.outerHTML.slice(0, 120)};
}"""
_KEYS_PRESSED = 400


@pytest.fixture(scope="module")
def tab(browser: Browser, site: World) -> Iterator[Tab]:
    """A tab of somebody who may do everything."""
    with person(browser, site) as somebody:
        yield somebody.login()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_is_quiet_and_accessible_on_every_screen(tab: Tab, site: World, view: str) -> None:
    path, seen = VIEWS[view]
    forget(tab)
    page = tab.open(site.path(path))
    expect(page.locator("main")).to_contain_text(seen)
    settled(page)
    on_every_screen(tab, view)
    tab.require_quiet(ERRORS.get(view, 200))


def test_the_login_too(anybody: Person) -> None:
    tab = anybody.tab()
    page = tab.open("/login")
    page.get_by_label("Token").fill("nobody-s-token")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("the token is not known")
    expect(page.get_by_label("Token")).to_be_focused()
    on_every_screen(tab, "login")
    tab.require_quiet(401)


@pytest.mark.parametrize("view", VIEWS)
def test_tab_reaches_every_control_of_a_view_and_shows_where_it_is(tab: Tab, site: World, view: str) -> None:
    page = tab.open(site.path(VIEWS[view][0]))
    page.set_viewport_size(size(DESKTOP))
    settled(page)
    wanted, reached = page.evaluate(_FOCUSABLE), 0
    for _ in range(_KEYS_PRESSED):
        page.keyboard.press("Tab")
        now: dict[str, Any] | None = page.evaluate(_FOCUSED)
        if now is None or now["again"]:
            break
        assert now["outline"], now["what"]
        assert now["inside"], now["what"]
        reached += 1
    assert reached == wanted > 0


@pytest.mark.parametrize("view", VIEWS)
def test_without_scripts_a_view_says_the_same(site: World, plain: Tab, view: str) -> None:
    """And its document has none of the faults that can be told from its structure."""
    path, seen = VIEWS[view]
    page = plain.open(site.path(path))
    expect(page.locator("main")).to_contain_text(seen)
    for width in SIZES.values():
        page.set_viewport_size(size(width))
        plain.require_fits()
    page.set_viewport_size(size(NARROW))
    plain.require_fits()
    assert faults(parse(page.content())) == []


_LONG_WORD = """() => {
  const word = 'Long' + 'x'.repeat(4000);
  const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walk.nextNode()) { if (walk.currentNode.parentElement.closest('bdi')) { texts.push(walk.currentNode); } }
  for (const one of texts) { one.data = word; }
  return texts.length;
}"""


@pytest.mark.parametrize("view", [view for view in VIEWS if view not in ("error", "scorecard")])
def test_foreign_words_of_any_length_make_no_view_wider(tab: Tab, site: World, view: str) -> None:
    """Each foreign word on the page is made one of 4,000 letters."""
    page = tab.open(site.path(VIEWS[view][0]))
    settled(page)
    assert page.evaluate(_LONG_WORD) > 0
    for width in (DESKTOP, PHONE):
        page.set_viewport_size(size(width))
        tab.require_fits()


@pytest.fixture(scope="module")
def plain(browser: Browser, site: World) -> Iterator[Tab]:
    """The same with scripts turned off."""
    with person(browser, site, size=PHONE, scripts=False) as somebody:
        yield somebody.login()


def test_on_a_phone_how_many_need_whom_is_seen_before_anything_is_scrolled(tab: Tab) -> None:
    page = tab.open("/")
    page.set_viewport_size(size(PHONE))
    box = page.locator("#counts").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE[1]


def test_question_mark_shows_the_keys_and_they_lead_where_they_say(tab: Tab, site: World) -> None:
    page = tab.open("/")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_be_hidden()
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    told = [text.split() for text in keys.locator("dt").all_inner_texts()]
    tab.require_accessible()
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    pairs = [pair for pair in told if pair[0] == "g"]
    for first, second in pairs:
        page.wait_for_load_state("load")  # the keys are the script's
        page.keyboard.press(first)
        page.keyboard.press(second)
        link = page.locator(f"header a[data-key={second}]")
        expect(link).to_have_attribute("aria-current", "page")
    assert len(pairs) == page.locator("header a[data-key]").count()


def test_keys_walk_the_rows_and_open_one_but_never_while_somebody_types(tab: Tab) -> None:
    page = tab.open("/incidents")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    at = page.locator("tr.at")
    expect(at).to_have_count(1)
    link = at.locator("a[href]").first
    expect(link).to_be_focused()
    where = link.get_attribute("href")
    page.keyboard.press("/")
    expect(page.get_by_label("Alert", exact=True)).to_be_focused()
    page.keyboard.type("?j")
    expect(page.get_by_label("Alert", exact=True)).to_have_value("?j")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{where}")


def test_who_may_only_look_sees_no_button(browser: Browser, site: World) -> None:
    with person(browser, site) as guest:
        tab = guest.login("guest", "/")
        for view in ("overview", "incident-waiting", "incident-ended", "procedure"):
            page = tab.open(site.path(VIEWS[view][0]))
            assert page.locator("form[method=post]:not([action='/logout'])").count() == 0, view
        expect(page.locator("header")).to_contain_text("guest (may only look)")
        tab.require_accessible()
        tab.require_quiet()


def settled(page: Page) -> None:
    """Wait for the parts that are loaded after the page."""
    expect(page.locator("[hx-trigger=load]")).to_have_count(0)


def forget(tab: Tab) -> None:
    """What went on before is another test's."""
    for kept in (tab.said, tab.elsewhere, tab.failed):
        kept.clear()


def on_every_screen(tab: Tab, view: str) -> None:
    """Judge a loaded page at every width and in every scheme, and keep its pictures. Schemes differ by their colours alone."""
    KEPT.mkdir(exist_ok=True)
    for name, width in SIZES.items():
        tab.page.set_viewport_size(size(width))
        for scheme in SCHEMES:
            tab.page.emulate_media(color_scheme=scheme)
            shot(tab.page, f"{view}-{name}-{scheme}")
            tab.require_fits()
            tab.require_accessible(STANDARDS if scheme == SCHEMES[0] else COLOURS)


def shot(page: Page, name: str) -> None:
    """Keep a picture."""
    page.screenshot(path=KEPT / f"{name}.png", full_page=True)


def size(of: tuple[int, int]) -> Any:
    """A width and height as the driver wants them."""
    return {"width": of[0], "height": of[1]}
