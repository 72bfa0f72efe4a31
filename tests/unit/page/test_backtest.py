"""A proposed policy against the stored alerts: told on the policy's page, with the differences first, and without any effect."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from app.cli.serve import backtest
from app.domain.errors import BadInput
from app.page import uploads
from app.page.backtest import _played, texts_of
from app.page.requests import MAX_UPLOAD
from app.policy.model import Policy
from app.store import records
from app.store.records import Heard
from tests.scenario import inline
from tests.scenario.rig import POLICIES, Rig, shipped_policy
from tests.scenario.scenes import all_runs, writes
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, Page, access
from tests.unit.page.html import Element
from tests.unit.page.test_pages import expect_sound
from tests.unit.served import PROPOSED

Sent = dict[str, tuple[str | None, str]]


@pytest.fixture
async def tries(rig: Rig) -> AsyncIterator[Browser]:
    """A browser on a service that can replay."""
    made = Browser(app_of(rig, access(), replay=backtest))
    yield made
    await made.close()


async def tried(browser: Browser, policy: str = PROPOSED, *, days: str = "7", **files: str) -> Page:
    """Send the form as a browser does."""
    form = (await browser.get("/policy")).form("/policy/backtest")
    fields: list[tuple[str, tuple[str | None, str]]] = [
        ("form", (None, form.one("input", name="form").get("value"))),
        ("policy", (None, policy.replace("\n", "\r\n"))),  # as browsers do
        ("days", (None, days)),
        *(("files", (name, text)) for name, text in files.items()),
    ]
    sent = {"origin": browser.base}
    answer = await browser.http.post("/policy/backtest", files=fields, headers=sent)
    return Page(answer, "/policy/backtest")


def cells(document: Element, caption: str) -> list[list[str]]:
    """The rows of the table whose caption has this in it."""
    (table,) = [t for t in document.all("table") if caption in t.one("caption").text]
    return [[cell.text for cell in row.all("td")] for row in table.all("tr")[1:]]


async def test_a_pasted_policy_is_played_over_the_stored_alerts_with_the_differences_first(
    rig: Rig, tries: Browser, asked: str
) -> None:
    await tries.login("reader")
    before = [(run.id, run.state) for run in await all_runs(rig)]
    page = await tried(tries)
    assert page.status == 200
    expect_sound(page)
    part = page.document.one(id="backtest")
    assert part.all("table")[0].one("caption").text.endswith("decided differently, the most frequent first")
    (row,) = cells(part, "decided differently")
    assert row[1:3] == ["HighErrorRate", "rag7"]
    assert (row[3].startswith("asked by"), row[4]) == (True, "acted by by itself")
    assert "1 x HighErrorRate on rag7/Deployment/langgraph" in part.text
    assert {r[0] for r in cells(part, "All records")} >= {"acted", "asked"}
    assert part.one("textarea").raw == PROPOSED, "what was pasted stays to be corrected"
    assert [(run.id, run.state) for run in await all_runs(rig)] == before
    assert writes(rig) == []
    assert rig.services.policy().rules[0].name != "by itself"
    assert asked


async def test_the_policy_in_force_as_files_decides_nothing_differently(
    tries: Browser, rig: Rig, asked: str
) -> None:
    rig.policy = shipped_policy()
    await tries.login("reader")
    texts = {f.name: f.read_text("utf-8") for f in POLICIES.glob("*.yaml")}
    page = await tried(tries, "", **texts)
    assert page.status == 200
    expect_sound(page)
    told = page.document.one(id="backtest").text
    assert f"last: {', '.join(sorted(texts))}" in told
    assert "No record is decided differently." in told
    assert asked


@pytest.mark.parametrize(
    ("policy", "days", "words"),
    [
        ("", "7", "paste a policy or choose its files"),
        ("version: 1\nrules: [", "7", "pasted.yaml:"),
        ("version: 1\nrules: []", "7", 'no file has a "scope"'),
        (PROPOSED.replace("high-error-rate", "<b>none</b>"), "7", "<b>none</b>"),
    ],
)
async def test_what_is_wrong_with_it_is_told_with_its_place(
    tries: Browser, policy: str, days: str, words: str
) -> None:
    await tries.login("reader")
    page = await tried(tries, policy, days=days)
    assert page.status == 422
    expect_sound(page)
    assert words in page.document.one(role="alert").text
    assert page.document.one("textarea").raw == policy


@pytest.mark.parametrize("days", ["", "0", "365", "x"])
async def test_days_that_are_not_offered_are_refused(tries: Browser, days: str) -> None:
    await tries.login("reader")
    assert (await tried(tries, days=days)).status == 422


async def test_only_a_form_of_this_page_is_taken(tries: Browser) -> None:
    await tries.login("reader")
    fields: Sent = {"form": (None, "forged"), "policy": (None, PROPOSED), "days": (None, "7")}
    forged = await tries.http.post("/policy/backtest", files=fields, headers={"origin": tries.base})
    assert forged.status_code == 403
    assert "form_refused" in forged.text
    elsewhere = await tries.http.post("/policy/backtest", files=fields, headers={"origin": "http://evil"})
    assert "cross_site" in elsewhere.text
    plain = await tries.http.post("/policy/backtest", data={"a": "b"}, headers={"origin": tries.base})
    assert (plain.status_code, "media_type_refused" in plain.text) == (415, True)
    huge = await tried(tries, "#" * MAX_UPLOAD)
    assert huge.status == 413


async def test_one_is_under_way_at_a_time_and_none_is_in_the_way_of_the_event_loop(rig: Rig) -> None:
    begun, ends = asyncio.Event(), asyncio.Event()

    async def slow(
        texts: Mapping[str, str], in_force: Policy, heard: Sequence[Heard], over: Callable[[], bool]
    ) -> Mapping[str, Any]:
        begun.set()
        await ends.wait()
        return await backtest(texts, in_force, heard, over)

    browser = Browser(app_of(rig, access(), replay=slow))
    await browser.login("reader")
    first = asyncio.create_task(tried(browser))
    await begun.wait()
    second = await tried(browser)
    assert (second.status, second.document.one("code").text) == (503, "overloaded")
    ends.set()
    assert (await first).status == 200
    assert (await tried(browser)).status == 200
    await browser.close()


async def test_what_takes_too_long_is_ended_and_told_and_its_place_is_free(
    tries: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before the next alert is played, as no thread can be ended from outside."""
    await tries.login("reader")
    monkeypatch.setattr("app.page.backtest.MAX_SECONDS", 0)
    page = await tried(tries)
    assert page.status == 422
    assert "took more than 0 s and was ended" in page.document.one(id="backtest").text
    monkeypatch.setattr("app.page.backtest.MAX_SECONDS", 40)
    after = await tried(tries)
    assert (after.status, "was ended" in after.text) == (200, False)
    assert asked


async def test_who_waits_no_longer_ends_it() -> None:
    begun, ended = asyncio.Event(), list[bool]()

    async def endless(
        texts: Mapping[str, str], in_force: Policy, heard: Sequence[Heard], over: Callable[[], bool]
    ) -> Mapping[str, Any]:
        begun.set()
        while not over():  # noqa: ASYNC110 - as a thread asks
            await asyncio.sleep(0)
        ended.append(True)
        raise TimeoutError

    waiting = asyncio.ensure_future(_played(endless, {}, cast("Policy", None), []))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [True]


async def test_more_alerts_than_are_played_are_told(
    rig: Rig, tries: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "AT_ONCE", 7)
    await tries.login("reader")
    assert "Older ones were left out" not in (await tried(tries)).text
    monkeypatch.setattr(records, "REPLAYED", 0)
    assert "Older ones were left out" in (await tried(tries)).text
    assert asked


async def test_in_parts_it_hears_what_it_hears_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    async def all_of() -> list[Heard]:
        found: list[Heard] = []
        part = await rig.store.read(lambda conn: records.heard(conn, 0))
        found += part.rows
        while before := part.following:
            part = await rig.store.read(lambda conn, before=before: records.heard(conn, before))  # type: ignore[misc]
            found += part.rows
        return found

    whole = await all_of()
    monkeypatch.setattr(records, "AT_ONCE", 3)
    assert await all_of() == whole != []
    assert {one.kind for one in whole} <= {"alert.fired", "alert.resolved"}
    assert asked


async def test_a_service_without_a_replay_has_no_form(browser: Browser) -> None:
    await browser.login("reader")
    page = await browser.get("/policy")
    assert page.document.all("form", action="/policy/backtest") == []


def test_a_form_with_files_is_taken_apart_as_it_was_sent() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="policy"\r\n\r\na: 1\r\n--no\r\n'
        b'\r\n--x\r\nContent-Disposition: form-data; name="files"; filename="C:\\new\\10-a.yaml"\r\n'
        b"Content-Type: application/yaml\r\n\r\nb: \xc3\xa4\r\n"
        b'\r\n--x\r\nContent-Disposition: form-data; name="files"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n"
    )
    sent = uploads.parse("multipart/form-data; boundary=x", body)
    assert sent == uploads.Upload({"policy": "a: 1\r\n--no\r\n"}, {"10-a.yaml": "b: ä\r\n"})


def _form(*parts: tuple[str, str, str]) -> tuple[str, bytes]:
    """A multipart body of these fields: name, name of the file, content."""
    told = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"'
        + (f'; filename="{file}"' if file else "")
        + f"\r\n\r\n{content}\r\n"
        for name, file, content in parts
    )
    return "multipart/form-data; boundary=x", f"{told}--x--\r\n".encode()


@pytest.mark.parametrize(
    "name", ["my policy.yaml", "richtlinien-für-alle.yaml", "_draft.yaml", ".hidden.yaml", "policy"]
)
def test_a_chosen_file_keeps_its_name_so_that_none_is_lost(name: str) -> None:
    sent = uploads.parse(
        *_form(("files", name, "a: 1"), ("files", "policy.yaml", "b: 2"), ("files", "other one.yaml", "c: 3"))
    )
    assert sent.files == {name: "a: 1", "policy.yaml": "b: 2", "other one.yaml": "c: 3"}
    assert texts_of(sent) == dict(sent.files)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/rules.yaml", "b\\rules.yaml"), ("f\u00fcr.yaml", "fu\u0308r.yaml"), ("x.yaml", "x.yaml")],
)
def test_two_chosen_files_of_one_name_are_refused_with_the_name(first: str, second: str) -> None:
    with pytest.raises(BadInput, match=r"two files are called (rules|für|x)\.yaml") as caught:
        uploads.parse(*_form(("files", first, "a: 1"), ("files", second, "b: 2")))
    assert caught.value.code == "same_name"


def test_what_is_pasted_stands_beside_a_file_of_its_name() -> None:
    sent = uploads.Upload({"policy": "a: 1"}, {"pasted.yaml": "b: 2", "pasted-2.yaml": "c: 3"})
    assert texts_of(sent) == {"pasted.yaml": "b: 2", "pasted-2.yaml": "c: 3", "pasted-3.yaml": "a: 1"}


async def test_a_refused_upload_names_the_file_on_a_page(tries: Browser) -> None:
    await tries.login("reader")
    form = (await tries.get("/policy")).form("/policy/backtest")
    token = form.one("input", name="form").get("value")
    kind, sent = _form(
        ("form", "", token), ("days", "", "7"), ("files", "a b.yaml", "a: 1"), ("files", "a b.yaml", "b: 2")
    )
    answer = await tries.http.post(
        "/policy/backtest", content=sent, headers={"origin": tries.base, "content-type": kind}
    )
    assert (answer.status_code, "two files are called a b.yaml" in answer.text) == (422, True)


async def test_what_is_wrong_with_a_policy_is_searched_beside_the_event_loop(
    tries: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faults quote what was sent. The tests' executor runs what it is given at once, so its frame tells that it was given."""
    await tries.login("reader")
    given: list[bool] = []

    def searched(text: str) -> str:
        given.append(any(frame.filename == inline.__file__ for frame in inspect.stack(0)))
        return text

    monkeypatch.setattr("app.page.backtest.redact", searched)
    page = await tried(tries, "version: 1\nmode: sometimes\nscope: {namespaces: [rag7]}\n")
    assert "sometimes" in page.document.one(id="backtest").text
    assert given
    assert all(given)
