"""The list: its filter is the URL, whatever leads there, and it shows what fits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from app.domain.outcome import IncidentState
from app.page import lists
from app.store import incidents
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, body, born
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, Page, filled
from tests.unit.page.markup import faults


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[tuple[Rig, Browser]]:
    """Sixty incidents of three alerts in two namespaces; each tenth is fixed."""
    rig = await born(tmp_path, use_api=False)
    for number in range(60):
        labels = {
            "alertname": f"Alert{number % 3}",
            "namespace": f"team{number % 2}",
            "deployment": f"app{number}",
        }
        await rig.send(body(alert(rig, "firing", started=60.0, **labels)))
    for number, one in enumerate(await all_incidents(rig)):
        if number % 10 == 0:
            await rig.store.write(lambda tx, i=one.id: incidents.move(tx, i, IncidentState.FIXED))  # type: ignore[misc]
    browser = Browser(app_of(rig))
    yield rig, browser
    await browser.close()
    await rig.close()


def rows(page: Page) -> list[str]:
    """The text of each row."""
    return [row.text for table in page.document.all("table") for row in table.all("tr")[1:]]


async def test_fifty_a_page_and_the_rest_on_the_next(many: tuple[Rig, Browser]) -> None:
    _, browser = many
    first = await browser.get("/incidents")
    assert len(rows(first)) == 50
    link = first.document.one("a", rel="next")
    assert link.text == "Older"
    second = await browser.get(link.get("href"))
    assert len(rows(second)) == 10
    assert second.document.all("a", rel="next") == []


async def test_a_filled_in_filter_is_a_url_that_fills_in_the_filter(many: tuple[Rig, Browser]) -> None:
    _, browser = many
    page = await browser.get("/incidents?state=fixed&state=open")
    form = page.document.one("form", role="search")
    data = filled(form, alertname="Alert1", namespace="team1", range="24h")
    states = [e.get("value") for e in form.all("input", name="state")]
    assert states == ["fixed", "open"]
    query = [*[("state", s) for s in states], *[(k, v) for k, v in data.items() if k != "state"]]
    answer = await browser.http.get(f"/incidents?{urlencode(query)}")
    found = Page(answer, "/incidents")
    assert faults(found.document) == []
    assert found.document.one(id="f-alertname").get("value") == "Alert1"
    (within,) = [o for o in found.document.all("option") if "selected" in o.attrs]
    assert within.get("value") == "24h"
    assert len(rows(found)) == 10
    assert all("Alert1" in row for row in rows(found))


async def test_facets_lead_to_narrower_and_back_to_wider_lists(many: tuple[Rig, Browser]) -> None:
    _, browser = many
    page = await browser.get("/incidents?namespace=team1")
    counts = {a.text: a for a in page.document.one("aside").all("a")}
    assert {"Alert0", "Alert1", "Alert2", "team0", "team1", "open"} <= set(counts)
    assert counts["team1"].get("aria-current") == "true"
    narrower = await browser.get(counts["Alert2"].get("href"))
    assert len(rows(narrower)) == 10
    wider = {a.text: a.get("href") for a in narrower.document.one("aside").all("a")}["team1"]
    assert dict(parse_qsl(urlsplit(wider).query)) == {"alertname": "Alert2"}


async def test_presets_are_filters(many: tuple[Rig, Browser]) -> None:
    _, browser = many
    page = await browser.get("/incidents")
    presets = {a.text: a for a in page.document.all("nav")[1].all("a")}
    assert presets["All"].get("aria-current") == "page"
    fixed = await browser.get(presets["Fixed today"].get("href"))
    assert len(rows(fixed)) == 6
    chosen = {a.text: a for a in fixed.document.all("nav")[1].all("a")}["Fixed today"]
    assert chosen.get("aria-current") == "page"
    needs = await browser.get(presets["Needs me"].get("href"))
    assert "Nothing here fits this filter." in needs.text


@pytest.mark.parametrize("name", [name for name, _ in lists.PRESETS])
def test_each_preset_can_be_read_back(name: str) -> None:
    fields = dict(lists.PRESETS)[name]
    url = lists.Filter().url(fields)
    assert lists.read(parse_qsl(urlsplit(url).query)).url() == url


async def test_times_are_rfc_3339_and_win_over_a_range(many: tuple[Rig, Browser]) -> None:
    rig, browser = many
    later = rig.clock.now().replace(microsecond=0).isoformat()
    until = later.replace("+00:00", "Z")
    assert rows(await browser.get(f"/incidents?until={until}")) == []
    assert len(rows(await browser.get(f"/incidents?since={until}"))) == 50
    page = await browser.get("/incidents?range=1h&since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z")
    assert rows(page) == []


async def test_more_fields_than_a_page_has_are_told_as_a_page(many: tuple[Rig, Browser]) -> None:
    _, browser = many
    answer = await browser.get("/incidents?" + "state=waiting&" * 60)
    assert (answer.status, answer.document.one("code").text) == (422, "invalid_parameter")


@pytest.mark.parametrize("field", ["alertname", "namespace", "target"])
async def test_a_filter_asks_the_store_only_for_what_it_can_hold(
    many: tuple[Rig, Browser], field: str
) -> None:
    """Postgres refuses a NUL in a question; where one was kept it stands as U+FFFD."""
    _, browser = many
    page = await browser.get(f"/incidents?{field}=a%00b")
    assert (page.status, page.document.one(id=f"f-{field}").get("value")) == (200, "a\ufffdb")


def test_a_filter_forgets_what_is_none_of_its_business() -> None:
    chosen = lists.read(
        [("utm_source", "slack"), ("alertname", " A "), ("target", ""), ("namespace", "x" * 900)]
    )
    assert (chosen.alertname, len(chosen.namespace)) == ("A", 300)
    assert "utm_source" not in chosen.url()
