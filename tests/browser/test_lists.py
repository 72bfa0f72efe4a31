"""The list of incidents as people use it: its filter is the URL, and what is new waits until somebody asks for it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

from tests.browser.tabs import Person
from tests.browser.world import World

_ROWS = """() => Array.from(document.querySelectorAll('[data-row]')).map(e => [e.innerText.split('\\n')[0], e.getBoundingClientRect().top])"""


def test_a_filter_is_the_url_and_goes_back_with_it(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = tab.open("/incidents")
    page.get_by_role("complementary", name="Counts").get_by_role("link", name="HighErrorRate").click()
    page.wait_for_url("**alertname=HighErrorRate")
    every = page.locator("[data-row]").count()
    page.get_by_label("Part of the target").fill("sessions")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("[data-row]")).to_have_count(1)
    asked = parse_qs(urlsplit(page.url).query)
    assert (asked["alertname"], asked["target"]) == (["HighErrorRate"], ["sessions"])
    shared = anybody.tab()
    expect(shared.open(page.url.removeprefix(site.url)).locator("[data-row]")).to_have_count(1)
    page.go_back()
    expect(page.locator("[data-row]")).to_have_count(every)
    expect(page.get_by_label("Part of the target")).to_have_value("")
    page.get_by_role("navigation", name="Presets").get_by_role("link", name="Needs me").click()
    expect(page.get_by_role("navigation", name="Presets").locator("[aria-current=page]")).to_have_text(
        "Needs me"
    )
    assert parse_qs(urlsplit(page.url).query) == {"state": ["waiting", "stuck", "escalated"]}
    tab.require_quiet()


def test_news_says_how_much_and_moves_no_row(anybody: Person, site: World) -> None:
    """Over several streams too: at the service's pace one lasts less than a second of the browser's time."""
    tab = anybody.login()
    page = tab.open("/incidents?namespace=news")
    expect(page.locator("main")).to_contain_text("Nothing here fits this filter.")
    site.alert("FirstOfNews", namespace="news")
    fresh = page.locator("#fresh")
    expect(fresh).to_have_text("1 new incident: show", timeout=60_000)
    page.keyboard.press("n")
    expect(page.locator("[data-row]")).to_have_count(1)
    assert parse_qs(urlsplit(page.url).query) == {"namespace": ["news"]}
    before = page.evaluate(_ROWS)
    site.alert("Unrelated", namespace="elsewhere")
    site.alert("SecondOfNews", namespace="news")
    site.alert("ThirdOfNews", namespace="news")
    expect(fresh).to_have_text("2 new incidents: show", timeout=60_000)
    assert page.evaluate(_ROWS) == before
    tab.require_accessible()
    fresh.click()
    expect(page.locator("[data-row]")).to_have_count(3)
    expect(fresh).to_have_count(0)
    tab.require_quiet()
