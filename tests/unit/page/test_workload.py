"""The page of a target: its rollouts and owners from the cluster when they are asked for, its rules, trust and limits from the store."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.flow.diagnosing import rollouts
from app.sim.faults import Fault, FaultKind
from app.web.expensive import OF_ONE
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, policy, writes
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, access
from tests.unit.page.html import Element
from tests.unit.page.test_pages import expect_sound

TARGET = "/targets/rag7/Deployment/langgraph"
NOW = f"{TARGET}?now=1"


def rows(document: Element, caption: str) -> list[list[str]]:
    """The cells of the table with this caption."""
    (table,) = [t for t in document.all("table") if t.one("caption").text.startswith(caption)]
    return [[cell.text for cell in row.all("td")] for row in table.all("tr")[1:]]


async def test_the_page_asks_the_cluster_only_on_demand(rig: Rig, browser: Browser, asked: str) -> None:
    """And so it never waits for it; its script asks for that one section, and without scripts a link does."""
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, times=10**6))
    await browser.login("reader")
    page = await browser.get(TARGET)
    expect_sound(page)
    assert (page.status, "Not read" in page.text) == (200, False)
    part = page.document.one(id="now")
    (loads,) = [e for e in part.walk() if e.get("hx-trigger") == "load"]
    assert loads.get("hx-get") == NOW
    assert [a.get("href") for a in part.all("a")] == [f"{NOW}#now"]
    whole = await browser.get(NOW)
    assert whole.status == 200
    expect_sound(whole)
    assert "Not read" in whole.document.one(id="now").text
    assert asked


async def test_its_rollouts_tell_when_what_changed_and_how_good_each_is_known_to_be(
    rig: Rig, browser: Browser, asked: str
) -> None:
    await browser.login()
    page = await browser.get(NOW)
    expect_sound(page)
    before = rows(page.document, "Rollouts of 30 days")
    assert before[0][0].endswith("present")
    assert "v1.4.2 -> v1.5.0" in before[0][1]
    assert before[1][-1].startswith("good")
    await rig.operations.approve(asked, "bob")
    await rig.run(400)
    after = rows((await browser.get(NOW)).document, "Rollouts of 30 days")
    assert "v1.5.0 -> v1.4.2" in after[0][1]
    assert "HighErrorRate fired while revision" in after[1][-1]
    assert after[1][-1].startswith("bad")


async def test_who_manages_it_is_told(rig: Rig, browser: Browser) -> None:
    await browser.login("reader")
    part = (await browser.get(NOW)).document.one(id="now")
    terms = {t.text for t in part.all("dt")}
    assert terms == {"Status", "Managed by"}
    assert writes(rig) == []


async def test_the_script_gets_the_section_alone_and_never_a_login(browser: Browser) -> None:
    asks = {"hx-request": "true"}
    refused = await browser.get(NOW, **asks)
    assert (refused.status, "Log in" in refused.document.one("h1").text) == (401, False)
    await browser.login("reader")
    part = await browser.get(NOW, **asks)
    assert part.status == 200
    assert part.document.all("html", "main", "h1") == []
    assert rows(part.document, "Rollouts of 30 days") != []
    assert part.answer.headers["content-security-policy"]


async def test_asking_the_cluster_takes_a_place_among_the_expensive_reads(rig: Rig) -> None:
    app = app_of(rig, access())
    browser, reads = Browser(app), app.state.services.expensive
    await browser.login("reader")
    with ExitStack() as places:
        for _ in range(OF_ONE):
            places.enter_context(reads.place("reader"))
        refused = await browser.get(NOW)
        assert (refused.status, refused.document.one("code").text) == (503, "overloaded")
        assert (await browser.get(TARGET)).status == 200
    await browser.close()


async def test_what_is_off_limits_is_not_read(rig: Rig, browser: Browser) -> None:
    await browser.login("reader")
    page = await browser.get("/targets/kube-system/Deployment/coredns?now=1")
    assert page.status == 200
    assert "keeps the namespace kube-system away" in page.document.one(id="now").text


async def test_what_is_no_workload_has_a_page_with_its_incidents_and_is_not_read(
    rig: Rig, browser: Browser
) -> None:
    """An alert can be about a Job, and its incident leads there."""
    await browser.login("reader")
    for path in ("/targets/rag7/Job/nightly", "/targets/rag7/Job/nightly?now=1"):
        page = await browser.get(path)
        assert page.status == 200
        expect_sound(page)
    assert "kubectl describe job/nightly -n rag7" in page.document.one(id="now").text
    for path in ("/targets/rag7/Widget/nightly", "/targets/rag7/Job/%20/x", "/targets/rag7/job/nightly"):
        assert (await browser.get(path)).status in (404, 422)


async def test_a_slow_cluster_is_told_in_its_place(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object) -> tuple[tuple[rollouts.Rollout, ...], str]:
        return (), "it took longer than 1.5 s"

    monkeypatch.setattr("app.flow.diagnosing.look.rollouts.read", late)
    await browser.login("reader")
    page = await browser.get(NOW)
    assert "Rollouts not read: it took longer than 1.5 s" in page.document.one(id="now").text


async def test_its_rules_limits_and_trust_levels_are_those_in_force(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.EARNED))
    browser = Browser(app_of(rig, access()))
    await rig.run(60)
    await browser.login("reader")
    page = await browser.get(TARGET)
    expect_sound(page)
    (rule,) = rows(page.document, "Rules in force")
    assert rule[1:] == ["high-error-rate", "earned"]
    trust = rows(page.document, "Trust levels")
    listed = await browser.http.get("/api/v1/trust", headers=bearer())
    keys = {
        (one["alertname"], one["remediation"], one["class"], one["level"]) for one in listed.json()["items"]
    }
    assert {tuple(row[:4]) for row in trust} == keys != set()
    limits = [row[0] for row in rows(page.document, "What is left")]
    assert "this target" in limits
    assert "cluster" in limits
    await browser.close()
    await rig.close()


def bearer() -> dict[str, str]:
    """Who may read the API."""
    return {"authorization": "Bearer reader-s-token-0123456789"}
