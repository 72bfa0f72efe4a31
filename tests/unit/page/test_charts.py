"""The charts of a verification: what its looks read, as a picture, as a sentence and as numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from app.domain.plan import Symptom
from app.domain.verification import READINGS, Reading
from app.page.charts import HEIGHT, WIDTH, Charts, charts_of
from app.store.runs import Run
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_run
from tests.unit.page.browser import Browser
from tests.unit.page.test_pages import expect_sound

SYMPTOM = Symptom("Share of errors", "errors", 0.12, "requests")


async def verified(rig: Rig, browser: Browser, asked: str) -> Run:
    """The run, once it was approved and found to have helped."""
    await rig.run(10)
    await browser.press(await browser.login(), f"/runs/{asked}/approve", reason="the graph shows it")
    await rig.run(400)
    return await the_run(rig)


def drawn(run: Run, *readings: Reading, symptom: Symptom | None = None) -> Charts | None:
    """The charts of a run whose looks read this."""
    step = replace(run.step, symptom=symptom)
    return charts_of(replace(run, step=step, life={READINGS: [r.to_json() for r in readings]}), ())


async def test_an_incident_shows_what_its_verification_read_as_picture_sentence_and_numbers(
    rig: Rig, browser: Browser, asked: str
) -> None:
    run = await verified(rig, browser, asked)
    page = await browser.get(f"/runs/{asked}")
    expect_sound(page)
    part = page.document.one(id="verification")
    pictures = part.all("svg")
    names = [p.get("aria-label") for p in pictures]
    assert [n.partition(":")[0] for n in names] == [
        "5xx",
        "Replicas",
        "Memory of the fullest pod",
    ]
    assert "before the step" in names[0]
    assert names[1].endswith("3 of 3 at the last")
    captions = [f.text for f in part.all("figcaption")]
    assert captions == names, "who does not see the picture is told the same"
    readings = run.life[READINGS]
    tables = part.all("table")
    assert [len(t.all("tr")) - 1 for t in tables] == [len(readings)] * 3
    assert all(len(p.all("path", class_="acted")) == 1 for p in pictures), "when it did something"
    assert f"{len(readings)} looks over" in part.text


async def test_before_anything_was_verified_there_is_no_chart(browser: Browser, asked: str) -> None:
    await browser.login("reader")
    assert (await browser.get(f"/runs/{asked}")).document.all("svg") == []


async def test_the_readings_stay_with_the_run_when_it_has_ended_and_is_undone(
    rig: Rig, browser: Browser, asked: str
) -> None:
    before = (await verified(rig, browser, asked)).life[READINGS]
    page = await browser.get(f"/runs/{asked}")
    await browser.press(page, f"/runs/{asked}/undo", reason="the graph shows it")
    await rig.run(60)
    assert (await the_run(rig)).state.value == "undone"
    assert (await the_run(rig)).life[READINGS] == before


async def test_what_could_not_be_read_is_a_gap_and_no_zero(rig: Rig, asked: str) -> None:
    run = await the_run(rig)
    assert run.id == asked
    at = run.requested_at
    values = (0.1, 0.08, None, 0.02, None, 0.0)
    looks = [Reading(at + timedelta(seconds=15 * n), 1, 3, value) for n, value in enumerate(values)]
    charts = drawn(run, *looks, symptom=SYMPTOM)
    assert charts is not None
    errors, replicas = charts.shown
    (curve,) = errors.curves
    assert [len(part.split()) for part in curve.parts] == [2]
    assert len(curve.dots) == 2
    assert [cells[0] for _, cells in errors.rows] == ["0.1", "0.08", "not read", "0.02", "not read", "0"]
    assert errors.words == "0.12 before the step, 0.1 at the first look, 0 at the last"
    assert replicas.words == "1 of 3 ready at the first look, 1 of 3 at the last"
    for chart in charts.shown:
        places = [p.split(",") for c in chart.curves for part in c.parts for p in part.split()]
        assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in places)


async def test_without_anything_read_there_is_no_chart(rig: Rig, asked: str) -> None:
    run = await the_run(rig)
    assert run.id == asked
    unread = [Reading(run.requested_at + timedelta(seconds=n)) for n in range(3)]
    assert drawn(run, *unread, symptom=SYMPTOM) is None
    assert drawn(run, Reading(run.requested_at, 1, 1)) is None
