"""The list: its filter is the URL, whatever leads there, and it shows what fits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from app.domain.decision import Code, Decision, GateResult, Verdict
from app.domain.outcome import IncidentState, RunState
from app.page import lists, records, requests
from app.store import incidents, runs, work
from app.store.tx import Tx
from tests.contract.stores import new_run
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, body, born
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, Page, filled
from tests.unit.page.markup import faults
from tests.unit.page.test_pages import expect_sound


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


async def stopped(rig: Rig, number: int, gate: str) -> None:
    """The incident is refused because of this gate, by the rule `calm`."""
    one = (await all_incidents(rig))[number]
    gates = (GateResult(gate, Verdict.DENY, Code.COOLING_DOWN, "1m", "5m"),)
    said = Decision(Verdict.DENY, Code.COOLING_DOWN, "", "calm", "scale", "add", gates).to_json()

    def decide(tx: Tx) -> None:
        work.put_decision(tx, f"dec_{number}", one.id, None, said)
        incidents.move(tx, one.id, IncidentState.REFUSED, reopen=True)

    await rig.store.write(decide)


async def test_what_a_gate_stopped_has_a_preset_and_a_rule_its_field(many: tuple[Rig, Browser]) -> None:
    rig, browser = many
    for number, gate in ((3, "cooldown"), (7, "cooldown"), (9, "storm")):
        await stopped(rig, number, gate)
    page = await browser.get("/incidents")
    expect_sound(page)
    presets = {a.text: a.get("href") for a in page.document.all("nav")[1].all("a")}
    blocked = await browser.get(presets["Blocked by cooldown"])
    expect_sound(blocked)
    assert len(rows(blocked)) == 2
    assert filled(blocked.document.one("form", role="search"))["gate"] == "cooldown"
    assert len(rows(await browser.get(presets["Blocked by storm"]))) == 1
    form = page.document.one("form", role="search")
    answer = await browser.http.get(f"/incidents?{urlencode(filled(form, rule='calm', gate='cooldown'))}")
    assert len(rows(Page(answer, "/incidents"))) == 2
    assert len(rows(await browser.get("/incidents?rule=calm"))) == 3
    assert rows(await browser.get("/incidents?rule=calm&namespace=nowhere")) == []


async def test_undone_is_a_preset(many: tuple[Rig, Browser]) -> None:
    rig, browser = many
    one = (await all_incidents(rig))[5]
    run = replace(new_run("run_5_1", one.id, "team1/Deployment/app5"), state=RunState.UNDONE)
    await rig.store.write(lambda tx: runs.request(tx, run))
    page = await browser.get("/incidents")
    presets = {a.text: a.get("href") for a in page.document.all("nav")[1].all("a")}
    undone = await browser.get(presets["Undone"])
    expect_sound(undone)
    assert len(rows(undone)) == 1
    assert one.id in undone.answer.text


@pytest.mark.parametrize("field", ["gate", "run", "state", "range"])
async def test_a_word_of_a_filter_that_is_none_is_refused_with_its_name(
    many: tuple[Rig, Browser], field: str
) -> None:
    _, browser = many
    answer = await browser.get(f"/incidents?{field}=nonsense")
    assert (answer.status, answer.document.one("code").text) == (422, "invalid_parameter")
    assert field in answer.text


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
        [
            ("utm_source", "slack"),
            ("alertname", " A "),
            ("target", ""),
            ("namespace", "x" * 900),
            ("utm_source", "y" * 9_000),
        ]
    )
    assert (chosen.alertname, len(chosen.namespace)) == ("A", 900)
    assert "utm_source" not in chosen.url()


async def test_counts_narrow_by_rule_and_gate_as_the_list_does(many: tuple[Rig, Browser]) -> None:
    """Each number is what a press on it shows, also where only the decision says what fits."""
    rig, browser = many
    for number in range(8):
        await stopped(rig, number, "cooldown" if number % 2 else "storm")
    assert sum(_counts(await browser.get("/incidents"))["Alert"].values()) == 60
    page = await browser.get("/incidents?gate=cooldown&rule=calm")
    expect_sound(page)
    counts = _counts(page)["Alert"]
    assert sum(counts.values()) == len(rows(page)) == 4
    assert _counts(await browser.get("/incidents?rule=wild")) == {}
    for name, number in counts.items():
        narrower = await browser.get(f"/incidents?gate=cooldown&rule=calm&alertname={name}")
        assert len(rows(narrower)) == number
        assert _counts(narrower)["Alert"] == counts, "what another choice would give"


def _counts(page: Page) -> dict[str, dict[str, int]]:
    """The facets: by their heading, values with their numbers."""
    aside = page.document.one("aside")
    found = [
        {li.one("a").text: int(li.text.rsplit(" ", 1)[1]) for li in u.all("li")} for u in aside.all("ul")
    ]
    return dict(zip([h.text for h in aside.all("h3")], found, strict=True))


async def test_a_link_of_a_long_value_leads_to_what_it_counts(tmp_path: Path) -> None:
    rig = await born(tmp_path, use_api=False)
    name = f"A{'b' * 900}"
    await rig.send(
        body(alert(rig, "firing", started=60.0, alertname=name, namespace="rag7", deployment="app"))
    )
    browser = Browser(app_of(rig))
    page = await browser.get("/incidents")
    (link,) = [a for a in page.document.one("aside").all("a") if a.text.startswith(name[:200])]
    found = await browser.get(link.get("href"))
    assert len(rows(found)) == 1
    longer = await browser.http.get(f"/incidents?alertname={'x' * 5_000}")
    assert (longer.status_code, "longer than 4,096 characters" in longer.text) == (422, True), (
        "never cut unseen"
    )
    await browser.close()
    await rig.close()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/incidents?alertname=Alert1&alert=Alert1&severity=critical", ["alert", "severity"]),
        ("/audit?kind=&who=ana", ["who"]),
        ("/scorecard?days=7&day=1", ["day"]),
        ("/policy?label=x", ["label"]),
        ("/?nonsense=1", ["nonsense"]),
        ("/incidents?alertname=Alert1&state=open&since=&cursor=", []),
    ],
)
async def test_a_page_says_what_of_its_query_it_does_not_know(
    many: tuple[Rig, Browser], path: str, names: list[str]
) -> None:
    _, browser = many
    page = await browser.get(path)
    expect_sound(page)
    notes = page.document.all("p", role="note")
    assert [code.text for note in notes for code in note.all("code")] == names


async def test_what_the_filter_reads_is_what_the_page_knows() -> None:
    fields = {f.name for f in dataclass_fields(lists.Filter)} - {"states"} | {"state", "cursor"}
    assert requests._QUERIES["/incidents"] == fields
    assert requests._QUERIES["/audit"] == {*records.read({}), "cursor"}


async def test_back_from_a_fault_in_the_filter_keeps_the_rest_of_it(many: tuple[Rig, Browser]) -> None:
    _, browser = many
    page = await browser.get("/incidents?namespace=team1&since=yesterday&state=open")
    assert page.status == 422
    (back,) = [a for a in page.document.all("a") if a.text == "Back"]
    assert back.get("href") == "/incidents?namespace=team1&state=open"
    assert len(rows(await browser.get(back.get("href")))) > 0
