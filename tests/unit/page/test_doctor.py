"""The page of the doctor: what is wrong with the set-up, for operators, with the fix of each finding and never a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.cli.serve import examine
from app.doctor.findings import Level
from app.page.doctor import WORDS
from app.web.expensive import OF_ONE
from tests.scenario.rig import POLICIES, Rig
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, access
from tests.unit.page.test_pages import expect_sound

FOUND = [
    {"area": "store", "code": "store_ok", "level": "ok", "text": "the store is written", "fix": ""},
    {"area": "slack", "code": "slack_scope", "level": "warn", "text": "<b>few</b> scopes", "fix": "add one"},
    {
        "area": "rights",
        "code": "rights_lack",
        "level": "fail",
        "text": "may not patch",
        "fix": "apply the role",
    },
]
SECRETS = ("xoxb-1234567890-abcdefghijkl", "pd-key-0123456789abcdef", "hook-secret-0123456789abcdef")


class Examiner:
    """A doctor that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> list[dict[str, str]]:
        """What stands above."""
        self.asked += 1
        return FOUND


@pytest.fixture
def examiner() -> Examiner:
    return Examiner()


@pytest.fixture
async def operator(rig: Rig, examiner: Examiner) -> AsyncIterator[Browser]:
    """A browser on a service with a doctor, not logged in."""
    made = Browser(app_of(rig, access(), examine=examiner))
    yield made
    await made.close()


async def test_an_operator_sees_each_finding_with_its_fix_the_worst_first(
    operator: Browser, examiner: Examiner
) -> None:
    await operator.login("alice")
    page = await operator.get("/doctor")
    expect_sound(page)
    assert (examiner.asked, page.document.all("table")) == (0, []), "it looks when it is asked to"
    assert "Doctor" in [a.text for a in page.document.all("nav")[0].all("a")]
    looked = await operator.get("/doctor?look=1")
    expect_sound(looked)
    rows = [[cell.text for cell in row.all("td")] for row in looked.document.one("table").all("tr")[1:]]
    assert [row[1] for row in rows] == ["rights", "slack", "store"]
    assert rows[0] == ["does not work", "rights", "may not patch", "apply the role", "rights_lack"]
    assert rows[1][2] == "<b>few</b> scopes"
    assert "1: does not work; 1: works, and will disappoint; 1: works." in looked.text


def test_each_level_of_the_doctor_has_words() -> None:
    assert set(WORDS) == {level.value for level in Level}


async def test_who_may_not_operate_gets_nothing_from_the_doctor(
    operator: Browser, examiner: Examiner
) -> None:
    assert (await operator.get("/doctor?look=1")).path.startswith("/login")
    await operator.login("reader")
    page = await operator.get("/doctor?look=1")
    expect_sound(page)
    assert (page.status, page.document.one("code").text, examiner.asked) == (403, "scope_missing", 0)
    assert "/doctor" not in (await operator.get("/audit")).answer.text


async def test_a_service_without_a_doctor_has_no_page_of_it(browser: Browser) -> None:
    await browser.login("alice")
    assert (await browser.get("/doctor")).status == 404
    assert "/doctor" not in (await browser.get("/audit")).answer.text


async def test_a_look_of_the_doctor_takes_a_place_among_the_expensive_reads(
    rig: Rig, examiner: Examiner
) -> None:
    app = app_of(rig, access(), examine=examiner)
    browser = Browser(app)
    await browser.login("alice")
    with ExitStack() as places:
        for _ in range(OF_ONE):
            places.enter_context(app.state.services.expensive.place("alice"))
        page = await browser.get("/doctor?look=1")
    await browser.close()
    assert (page.status, page.document.one("code").text, examiner.asked) == (503, "overloaded", 0)


async def test_the_real_doctor_shows_no_secret_on_the_page(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a set-up in which nothing answers, so that everything is told."""
    given = {
        "CLUSTER": "simulated",
        "POLICY_DIR": str(POLICIES),
        "STATE_DIR": str(tmp_path / "state"),
        "SLACK_BOT_TOKEN": SECRETS[0],
        "SLACK_API_URL": "http://127.0.0.1:1/api/",
        "PAGERDUTY_API_TOKEN": SECRETS[1],
        "PAGERDUTY_API_URL": "http://127.0.0.1:1",
        "PAGERDUTY_WEBHOOK_SECRETS": SECRETS[2],
        "PROMETHEUS_URL": f"http://ann:{SECRETS[2]}@127.0.0.1:1",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"REMEDIATOR_{name}", value)
    browser = Browser(app_of(rig, access(), examine=lambda: examine(rig.clock)))
    await browser.login("alice")
    page = await browser.get("/doctor?look=1")
    await browser.close()
    expect_sound(page)
    told = {row.all("td")[1].text for row in page.document.one("table").all("tr")[1:]}
    assert {"settings", "policy", "slack", "pagerduty", "prometheus"} <= told
    assert not [secret for secret in SECRETS if secret in page.answer.text]
