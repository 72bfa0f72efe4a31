"""What the views show that a browser has a part in: charts, what the cluster says after the page is there, another policy, and local times."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.tabs import PHONE, SIZES, Person, person
from tests.browser.test_views import on_every_screen, size
from tests.browser.world import World
from tests.unit.served import POLICIES, PROPOSED

TARGET = "/targets/rag7/Deployment/langgraph"


def test_the_charts_of_a_verification_have_lines_in_sight_and_the_numbers_below(
    anybody: Person, site: World
) -> None:
    tab = anybody.login()
    page = tab.open(site.path("/incidents/{langgraph}"))
    charts = page.locator("#verification svg")
    assert charts.count() >= 2
    for width in SIZES.values():
        page.set_viewport_size(size(width))
        for chart in charts.all():
            box = chart.bounding_box()
            assert box is not None
            assert box["width"] > 150
            drawn = chart.locator("polyline").first.evaluate("e => getComputedStyle(e).stroke")
            ground = chart.evaluate("e => getComputedStyle(e).backgroundColor")
            assert drawn != ground
    page.get_by_text("The looks as numbers").click()
    expect(page.locator("#verification table").first).to_be_visible()
    on_every_screen(tab, "incident-verification")
    tab.require_quiet()


def test_what_the_cluster_says_comes_after_the_page_is_there(anybody: Person) -> None:
    tab = anybody.login()
    page = tab.open(TARGET)
    expect(page.locator("#now")).to_contain_text("Rollouts of 30 days")
    expect(page.locator("#now tbody tr").first).to_contain_text("present")
    tab.require_accessible()
    tab.require_quiet()


def test_without_scripts_a_link_asks_the_cluster(browser: Browser, site: World) -> None:
    with person(browser, site, size=PHONE, scripts=False) as somebody:
        tab = somebody.login()
        page = tab.open(TARGET)
        page.get_by_role("link", name="ask the cluster").click()
        expect(page.locator("#now")).to_contain_text("Rollouts of 30 days")
        tab.require_fits()


@pytest.mark.parametrize("scripts", [True, False])
def test_another_policy_is_pasted_or_chosen_and_its_differences_come_first(
    browser: Browser, site: World, scripts: bool
) -> None:
    with person(browser, site, scripts=scripts) as somebody:
        tab = somebody.login("guest")
        page = tab.open("/policy")
        part = page.locator("#backtest")
        part.get_by_label("A whole policy, pasted").fill(PROPOSED)
        part.get_by_role("button", name="Try it").click()
        expect(part.locator("caption").first).to_contain_text("decided differently, the most frequent first")
        if scripts:
            on_every_screen(tab, "policy-backtest")
        part.get_by_label("A whole policy, pasted").fill("")
        files: list[str | Path] = sorted(POLICIES.glob("*.yaml"))
        part.get_by_label("or its files").set_input_files(files)
        part.get_by_role("button", name="Try it").click()
        expect(part).to_contain_text("00-default.yaml")
        expect(part.get_by_role("status")).to_contain_text("words about alerts")
        if scripts:
            tab.require_quiet()


def test_a_policy_with_a_fault_stays_to_be_corrected(anybody: Person) -> None:
    tab = anybody.login()
    page = tab.open("/policy")
    part = page.locator("#backtest")
    part.get_by_label("A whole policy, pasted").fill("version: 1\nrules: [")
    part.get_by_role("button", name="Try it").click()
    expect(part.get_by_role("alert")).to_contain_text("pasted.yaml:")
    expect(part.get_by_label("A whole policy, pasted")).to_have_value("version: 1\nrules: [")
    tab.require_accessible()
    tab.require_quiet(422)


def test_local_times_are_those_of_the_browsers_zone_on_every_page(browser: Browser, site: World) -> None:
    with person(browser, site, zone="Asia/Kolkata") as somebody:
        tab = somebody.login()
        page = tab.open("/incidents")
        at = page.locator("main time").first
        before = at.inner_text()
        page.get_by_role("group", name="How times are shown").get_by_role("link", name="local").click()
        expect(at).to_contain_text("+05:30")
        assert at.get_attribute("title") == before
        tab.open(TARGET)
        expect(page.locator("#now table time").first).to_contain_text("+05:30")
        expect(page.locator("footer time")).to_contain_text("+05:30")
        page.get_by_role("group", name="How times are shown").get_by_role("link", name="relative").click()
        expect(page.locator("main table time").first).to_contain_text("ago")
        tab.require_accessible()
        tab.require_quiet()


def test_an_incident_prints_whole_and_without_what_is_pressed(browser: Browser, site: World) -> None:
    """For the review afterwards: what is folded is on the paper, in black on white, and nothing that only a screen can use."""
    with person(browser, site, scheme="dark") as somebody:
        page = somebody.login().open(site.path("/incidents/{langgraph}"))
        folded = page.locator("details:not([open]) > :not(summary)").first
        expect(folded).not_to_be_visible()
        page.emulate_media(media="print")
        expect(folded).to_be_visible()
        for gone in ("header", "footer", "main form", "main .anchor"):
            assert page.locator(gone).count() > 0, gone
            assert page.locator(gone).filter(visible=True).count() == 0, gone
        expect(page.locator("main .entry").first).to_be_visible()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.querySelector('main .entry')).color")
        assert _light(ink) < 100
        assert _light(paper) > 200
        assert page.pdf(format="A4").startswith(b"%PDF")


def _light(colour: str) -> float:
    """How light a computed colour is, 0 to 255; what is transparent is the paper."""
    numbers = [float(n) for n in re.findall(r"[0-9.]+", colour)]
    return 255 if numbers[3:] == [0.0] else sum(numbers[:3]) / 3
