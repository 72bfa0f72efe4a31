"""What an incident's page tells on demand: what an undo would find before it is ordered, the whole object, and the entries that have a word."""

from __future__ import annotations

from urllib.parse import urlencode

from app.domain.target import Kind
from app.page.closer import masked
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_run, writes
from tests.unit.page.browser import Browser, Page
from tests.unit.page.test_clicks import REASON, ended
from tests.unit.page.test_pages import expect_sound

API = (Kind.DEPLOYMENT, "rag7", "langgraph")
HAND = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "langgraph:by-hand"}]


async def acted(rig: Rig, browser: Browser, asked: str) -> Page:
    """The page of the incident after the plan was approved and carried out."""
    page = await browser.press(await browser.login(), f"/runs/{asked}/approve", reason=REASON)
    await ended(rig)
    return await browser.get(page.path.partition("#")[0])


def fields(page: Page) -> dict[str, str]:
    """How each field stands that the undo would write."""
    part = page.document.one(id="afterwards")
    rows = [[cell.text for cell in row.all("td")] for row in part.all("tr") if row.all("td")]
    return {path: f"{now} {by}".strip() for path, now, by in rows}


async def test_what_an_undo_would_take_back_is_told_before_it_is_pressed(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    before = writes(rig)
    (way,) = [a.get("href") for a in page.document.all("a") if "See now what the undo" in a.text]
    looked = await browser.get(way)
    expect_sound(looked)
    assert "taken back" in looked.document.one(id="afterwards").text
    assert set(fields(looked).values()) == {"still ours"}
    assert writes(rig) == before, "a look writes nothing"


async def test_a_field_that_somebody_else_changed_is_named_with_them_before_the_press(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    rig.cluster.edit(*API, HAND, manager="kubectl-edit")
    before = writes(rig)
    looked = await browser.get(f"{page.path}?see=undo")
    told = fields(looked)
    assert [
        text for text in told.values() if "not ours any more" in text and "last set by kubectl-edit" in text
    ]
    assert "not written" in looked.document.one(id="afterwards").text
    assert writes(rig) == before


async def test_the_whole_object_is_read_on_demand_and_hides_what_may_be_secret(
    rig: Rig, browser: Browser, asked: str
) -> None:
    await browser.login("reader")
    run = await the_run(rig)
    page = await browser.get(f"/incidents/{run.incident_id}")
    assert page.document.one(id="object").all("pre") == [], "nothing is read before somebody asks"
    looked = await browser.get(f"/incidents/{run.incident_id}?see=object")
    expect_sound(looked)
    shown = looked.document.one(id="object").one("pre").text
    assert "containers:" in shown
    assert "managedFields" not in shown


def test_of_a_whole_object_values_that_may_be_secret_are_hidden() -> None:
    manifest = {
        "metadata": {"name": "x", "annotations": {"a": "geheim"}, "managedFields": [{}]},
        "data": {"password": "Z2VoZWlt"},
        "spec": {
            "replicas": 3,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "image": "r/x:1",
                            "env": [{"name": "PASSWORD", "value": "geheim"}],
                            "args": ["--password=geheim"],
                            "resources": {"limits": {"memory": "1Gi"}},
                        }
                    ]
                }
            },
        },
    }
    shown = masked(manifest)
    assert "geheim" not in str(shown)
    assert "Z2VoZWlt" not in str(shown)
    (container,) = shown["spec"]["template"]["spec"]["containers"]
    assert (shown["spec"]["replicas"], container["image"]) == (3, "r/x:1")
    assert container["resources"] == {"limits": {"memory": "1Gi"}}


async def test_what_the_policy_keeps_away_is_not_read(rig: Rig, browser: Browser, asked: str) -> None:
    page = await acted(rig, browser, asked)
    elsewhere = rig.policy.scope.model_copy(update={"namespaces": ("other",)})
    rig.policy = rig.policy.model_copy(update={"scope": elsewhere})
    for see, place in (("undo", "afterwards"), ("object", "object")):
        looked = await browser.get(f"{page.path}?see={see}")
        assert "nothing is read of what is off limits" in looked.document.one(id=place).text


async def test_the_timeline_is_searched_also_in_what_is_folded(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    every = page.document.one("ol").all("li")
    found = await browser.get(f"{page.path}?{urlencode({'find': 'BLAST radius'})}")
    expect_sound(found)
    entries = [li for li in found.document.one("ol").all("li") if li.get("id")]
    assert 0 < len(entries) < len(every)
    assert all("blast radius" in li.text.casefold() for li in entries)
    assert found.document.one(id="f-find").get("value") == "BLAST radius"
    told = next(p.text for p in found.document.all("p", role="status") if "BLAST" in p.text)
    assert ("1 entry has" in told) == (len(entries) == 1)
    assert "1 entries" not in told
    nothing = await browser.get(f"{page.path}?find=no-such-word-anywhere")
    assert [li for li in nothing.document.one("ol").all("li") if li.get("id")] == []
