"""What people do on the pages, by real clicks: each press counts once, whatever they and their browsers do."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from playwright.sync_api import Browser, Page, expect

from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from tests.browser.tabs import PHONE, Person, Tab, person
from tests.browser.world import PEOPLE, WELL, World

REASON = "Reason, for the record"
ELSEWHERE = "http://elsewhere.example/"


def question(tab: Tab, site: World, deployment: str) -> Page:
    """The incident's page, with the question filled in."""
    page = tab.open(site.path(f"/incidents/{{{deployment}}}"))
    page.locator("#question").get_by_label(REASON).fill("the dashboard says the same")
    return page


def test_a_plan_is_approved_with_a_reason_by_a_double_click_once_and_undone(
    anybody: Person, site: World
) -> None:
    tab = anybody.login()
    page = question(tab, site, "checkout")
    page.get_by_role("button", name="Approve this plan").dblclick()
    expect(page.locator("main")).not_to_contain_text("Waits for your answer")
    site.until("checkout", *WELL)
    (given,) = site.records("checkout", EventKind.APPROVED)
    assert (given.actor, given.data["reason"]) == ("anna", "the dashboard says the same")
    assert len(site.records("checkout", EventKind.ACTION_INTENDED)) == 1
    page.go_back()  # the page as it was, with its button
    page.go_forward()
    page.reload()
    expect(page.locator("h1")).to_contain_text("FIXED")
    page.locator("#afterwards").get_by_label(REASON).fill("the older release has a defect too")
    page.get_by_role("button", name="Undo").dblclick()
    site.until_recorded("checkout", EventKind.UNDO_ENDED)
    assert len(site.records("checkout", EventKind.UNDO_REQUESTED)) == 1
    page.reload()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    tab.require_quiet()


def test_a_press_without_a_reason_goes_nowhere(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = tab.open(site.path("/incidents/{sessions}"))
    where = page.url
    page.get_by_role("button", name="Approve this plan").click()
    expect(page.locator("#question").get_by_label(REASON)).to_be_focused()
    page.locator("#question").get_by_label(REASON).fill("yes")
    page.keyboard.press("Enter")  # no key decides anything
    assert page.url == where
    assert site.records("sessions", EventKind.APPROVED) == []


def test_whoever_rejects_a_plan_has_the_incident(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = question(tab, site, "gateway")
    page.get_by_role("button", name="Reject").click()
    site.until("gateway", IncidentState.ESCALATED)
    assert [r.actor for r in site.records("gateway", EventKind.REJECTED)] == ["anna"]
    page.reload()
    expect(page.locator("#take")).to_contain_text("anna, who rejected its plan")
    tab.require_quiet()


def test_an_incident_is_acknowledged_once_however_often_it_is_pressed(anybody: Person, site: World) -> None:
    tab = anybody.login()
    incident = site.of_alert("DiskFillsUp")
    page = tab.open(f"/incidents/{incident}")
    page.locator("#take").get_by_label(REASON).fill("I look at it")
    page.get_by_role("button", name="Acknowledge").dblclick()
    expect(page.locator("#take")).to_contain_text("anna")
    assert len(site.records_of(incident, EventKind.ACKNOWLEDGED)) == 1
    tab.require_quiet()


def test_of_two_tabs_the_second_is_told_that_it_came_too_late(anybody: Person, site: World) -> None:
    first, second = anybody.login(), anybody.tab()
    one, other = question(first, site, "payments"), question(second, site, "payments")
    one.get_by_role("button", name="Reject").click()
    one.wait_for_url("**#now")
    other.get_by_role("button", name="Approve this plan").click()
    expect(other.get_by_role("heading", level=1)).to_have_text("This did not count")
    other.get_by_role("link", name="Back").click()
    other.wait_for_url(f"**{site.path('/incidents/{payments}')}")
    assert site.records("payments", EventKind.APPROVED) == []
    second.require_quiet(409)


def test_the_back_button_brings_no_second_press(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = tab.open("/")
    card = page.get_by_role("article").filter(has_text="rag7/Deployment/search")
    card.get_by_label(REASON).fill("seen on the dashboard")
    card.get_by_role("button", name="Approve this plan").click()
    page.wait_for_url("**#now")
    page.go_back()
    if card.count():  # as it was loaded, from the browser's memory: the very same form
        card.get_by_label(REASON).fill("seen on the dashboard")
        card.get_by_role("button", name="Approve this plan").click()
        page.wait_for_url("**#now")
    site.until("search", *WELL)
    assert len(site.records("search", EventKind.APPROVED)) == 1
    tab.require_quiet()


def test_without_scripts_a_phone_logs_in_filters_and_approves(browser: Browser, site: World) -> None:
    with person(browser, site, size=PHONE, scripts=False) as somebody:
        tab = somebody.login("ben", "/incidents")
        page = tab.page
        page.get_by_label("Part of the target").fill("catalog")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("[data-row]")).to_have_count(1)
        page.locator("[data-row]").get_by_role("link").click()
        page.locator("#question").get_by_label(REASON).fill("from the bus")
        page.get_by_role("button", name="Approve this plan").click()
        page.wait_for_url("**#now")
        site.until("catalog", *WELL)
        assert [r.actor for r in site.records("catalog", EventKind.APPROVED)] == ["ben"]
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        tab.require_quiet()


def test_a_procedure_begins_as_a_dry_run_and_is_ordered_once(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = tab.open("/procedures")
    page.get_by_role("link", name="scale", exact=True).click()
    expect(page.get_by_label("Dry run")).to_be_checked()
    page.get_by_label("Namespace").fill("rag7")
    page.get_by_label("Name", exact=True).fill("sessions")
    page.get_by_label(re.compile("^replicas")).fill("5")
    page.get_by_label(REASON).fill("try the size")
    page.get_by_role("button", name="Order it").dblclick()
    page.wait_for_url("**/incidents/inc_*")
    expect(page.locator("#timeline")).to_contain_text("dry run", ignore_case=True)
    assert site.orders("try the size") == 1
    tab.require_quiet()


def test_a_pause_is_set_and_lifted(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = tab.open("/")
    page.get_by_text("Set a pause").click()
    page.get_by_label(re.compile("^Scope")).fill("target:rag7/Deployment/quiet")
    page.get_by_label("For", exact=True).select_option("4")
    held = page.locator("form[action='/pause']")
    held.get_by_label(REASON).fill("cluster upgrade")
    held.get_by_role("button", name="Pause").dblclick()
    told = page.get_by_role("region", name="Not everything is done by itself now")
    expect(told).to_contain_text("Paused: target:rag7/Deployment/quiet by anna")
    expect(page.get_by_role("region", name="Pauses")).to_contain_text("expires in 3h")
    page.locator("form[action='/resume']").get_by_label(REASON).fill("the upgrade is over")
    page.get_by_role("button", name="Lift this pause").dblclick()
    expect(page.get_by_role("region", name="Pauses")).to_contain_text("None.")
    tab.require_quiet()


def test_what_is_left_for_an_answer_counts_down_by_the_services_clock(anybody: Person, site: World) -> None:
    """Whatever the browser's own says."""
    tab = anybody.login()
    tab.page.clock.install(time=datetime(2031, 1, 1, tzinfo=UTC))
    page = tab.open(site.path("/incidents/{sessions}"))
    left = page.locator("#question .until")
    page.clock.run_for(2_000)
    begun = left.inner_text()
    assert re.fullmatch(r"expires in 2[0-3]h\d+m", begun), begun
    page.clock.fast_forward("01:00:00")
    page.clock.run_for(2_000)
    later = left.inner_text()
    assert _minutes(begun) - 62 <= _minutes(later) <= _minutes(begun) - 58, (begun, later)
    page.clock.fast_forward("24:00:00")
    page.clock.run_for(2_000)
    expect(left).to_have_text("expired")


def test_a_session_that_was_ended_elsewhere_is_told_so_and_presses_nothing(
    anybody: Person, site: World
) -> None:
    tab, other = anybody.login(), anybody.tab()
    page = question(tab, site, "sessions")
    other.open("/").get_by_role("button", name="Log out").click()
    other.page.wait_for_url("**/login")
    expect(page.locator(".news")).to_contain_text("Your session is over: log in again")
    page.get_by_role("button", name="Approve this plan").click()
    expect(page.get_by_role("alert")).to_contain_text("log in first")
    page.get_by_role("link", name="Back").click()
    page.wait_for_url("**/login")
    assert site.records("sessions", EventKind.APPROVED) == []
    tab.require_quiet(401)


def test_a_form_from_elsewhere_and_one_of_another_session_press_nothing(anybody: Person, site: World) -> None:
    tab = anybody.login()
    page = question(tab, site, "sessions")
    form = page.locator("#question form")
    hidden = {
        e.get_attribute("name"): e.get_attribute("value") for e in form.locator("input[type=hidden]").all()
    }
    page.locator("#question input[name=form]").evaluate("e => { e.value = 'a'.repeat(64) }")
    page.get_by_role("button", name="Approve this plan").click()
    expect(page.locator("main")).to_contain_text("form_refused")
    fields = "".join(f'<input name="{n}" value="{v}">' for n, v in {**hidden, "reason": "theirs"}.items())
    action = f"{site.url}/runs/{site.run('sessions')}/approve"
    trap = f'<form method="post" action="{action}">{fields}<button>Win</button></form>'
    stranger = anybody.context.new_page()
    stranger.route(f"{ELSEWHERE}**", lambda route: route.fulfill(body=trap, content_type="text/html"))
    stranger.goto(ELSEWHERE)
    with stranger.expect_response(action) as answer:
        stranger.get_by_role("button", name="Win").click()
    assert answer.value.status in (401, 403)
    assert site.records("sessions", EventKind.APPROVED) == []
    tab.require_quiet(403)


def test_a_wrong_token_is_told_and_the_right_one_leads_where_one_wanted_to_go(
    anybody: Person, site: World
) -> None:
    tab = anybody.tab()
    page = tab.open("/incidents?state=fixed")
    page.wait_for_url("**/login?next=**")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("the token is not known")
    page.get_by_label("Token").fill(PEOPLE["anna"][0])
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/incidents?state=fixed")
    tab.require_quiet(401)


def _minutes(text: str) -> int:
    found = re.search(r"(\d+)h(\d+)m", text)
    assert found is not None, text
    return int(found[1]) * 60 + int(found[2])
