"""An answer has a bounded length whatever strangers wrote into what it shows, tells what it leaves out, is made beside the event loop, and keeps
nobody waiting but who asked for it."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from app.domain.free_text import MAX_DETAIL, MAX_WHERE, told_of
from app.domain.lines import ASKED_BY, EXPENSIVE, NOBODY, Asker, Lines
from app.domain.text import size_spelled, spelled
from app.intake import alertmanager
from app.intake import body as bodies
from app.store import shown
from app.store.database import Store
from app.store.portions import Portion
from app.store.runs import Run
from app.web import answers, reading
from app.web.callers import CALLER
from app.web.expensive import ANSWERS_OF_ONE
from tests.unit.web.rig import ALL, NOW, Rig, problem_of

MAX_ANSWER = 2 * 1024 * 1024
ALERTS = 40
TEXT = "lorem ipsum dolor " * 500
TARGET = {"namespace": "rag7", "kind": "Deployment", "name": "langgraph"}
DEAR = "passw\u200bord=a <password>failed to verify token 'a' curl -u \"a:b\" "


async def long_incident(rig: Rig) -> str:
    """An incident of 40 alerts with 60 KB of labels and as much of annotations each."""
    found = ""
    for number in range(ALERTS):
        labels = {"alertname": "Long", "namespace": "rag7", "deployment": "langgraph", "n": str(number)}
        labels |= {f"l{at}": "x" * 4_000 for at in range(15)}
        notes = {f"a{at}": TEXT for at in range(6)}
        one = {"status": "firing", "labels": labels, "annotations": notes, "startsAt": "2026-03-04T10:15:22Z"}
        body = json.dumps({"version": "4", "alerts": [one]}).encode()
        receipt = await rig.store.ingest(alertmanager.parse(body, received_at=NOW, sender="am"))
        found = receipt.incident_ids[0]
    return found


@pytest.mark.parametrize(
    "character",
    ["\U000e0041", "\u200b", '"', "\n", "\U0001f600"],
    ids=["tag", "blank", "quote", "line", "astral"],
)
async def test_an_answer_is_bounded_in_what_is_sent_whatever_its_characters_are(
    rig: Rig, character: str
) -> None:
    """A character that nobody sees is sent as six bytes, or as twelve."""
    incident = ""
    for number in range(12):
        labels = {"alertname": "Long", "namespace": "rag7", "deployment": "langgraph", "n": str(number)}
        labels |= {f"l{at}": character * 4_000 for at in range(15)}
        one = {"status": "firing", "labels": labels, "startsAt": "2026-03-04T10:15:22Z"}
        body = json.dumps({"version": "4", "alerts": [one]}).encode()
        receipt = await rig.store.ingest(alertmanager.parse(body, received_at=NOW, sender="am"))
        incident = receipt.incident_ids[0]
    async with rig.client("read") as client:
        whole = await _all_of(client, f"/api/v1/incidents/{incident}/alerts")
        await _all_of(client, "/api/v1/audit")
        for path in (f"incidents/{incident}", f"runs/{incident}/explain"):
            answer = await client.get(f"/api/v1/{path}")
            assert (answer.status_code, len(answer.content) < MAX_ANSWER) == (200, True), path
    assert {one["labels"]["n"] for one in whole} == {str(number) for number in range(12)}
    assert whole[0]["labels"]["l3"] == character * 4_000


async def _all_of(client: Any, path: str) -> list[dict[str, Any]]:
    """Every entry of a list, page by page, none of which is long."""
    entries, cursor = list[dict[str, Any]](), ""
    while True:
        answer = await client.get(path, params={"limit": "200", "cursor": cursor})
        assert answer.status_code == 200
        assert len(answer.content) < MAX_ANSWER
        entries += answer.json()["items"]
        cursor = answer.json()["next"] or ""
        if not cursor:
            return entries


async def test_an_incident_with_long_alerts_is_shown_within_a_bound_and_its_lists_have_all(rig: Rig) -> None:
    incident = await long_incident(rig)
    async with rig.client("read") as client:
        answer = await client.get(f"/api/v1/incidents/{incident}")
        whole = await _all_of(client, f"/api/v1/incidents/{incident}/alerts")
        trail = await _all_of(client, "/api/v1/audit")
    assert len(answer.content) < MAX_ANSWER
    shown, left_out = answer.json()["alerts"], answer.json()["left_out"]
    assert len(shown) + left_out["alerts"] == ALERTS == len(whole)
    assert len(shown) > 0
    assert all(len(text) <= 1_010 for one in shown for text in one["annotations"].values())
    assert {one["labels"]["n"] for one in whole} == {str(number) for number in range(ALERTS)}
    assert whole[0]["labels"]["l3"] == "x" * 4_000
    assert [one["seq"] for one in trail] == list(range(1, len(trail) + 1))


async def test_answers_are_made_beside_the_event_loop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = answers.document

    def document(content: Any) -> bytes:
        made.append(threading.current_thread().name)
        return real(content)

    monkeypatch.setattr(answers, "document", document)
    monkeypatch.setattr(reading, "document", document)
    async with rig.client("read") as client:
        for path in ("incidents", "runs", "audit", "policies", "scorecard", "runs/inc_1/explain"):
            assert (await client.get(f"/api/v1/{path}")).status_code == 200, path
    assert len(made) == 6
    assert threading.current_thread().name not in made


async def test_so_many_long_answers_are_under_way_at_once(rig: Rig) -> None:
    incident = await long_incident(rig)
    places = rig.services.answers
    async with rig.client("read") as client:
        with ExitStack() as taken:
            for _ in range(ANSWERS_OF_ONE):
                taken.enter_context(places.place("read"))
            refused = await client.get(f"/api/v1/incidents/{incident}")
            assert (await client.get("/api/v1/runs")).status_code == 200, "a short one needs no place"
        assert (await client.get(f"/api/v1/incidents/{incident}")).status_code == 200
    problem_of(refused, 503, "overloaded")


async def test_a_long_answer_has_its_place_until_it_was_taken(rig: Rig) -> None:
    taken, body = asyncio.Event(), bytearray()
    places = rig.services.answers

    async def send(message: Any) -> None:
        if body:
            await taken.wait()
        body.extend(message.get("body", b""))

    async def receive() -> Any:
        raise AssertionError("nothing is received")

    answer = answers.JSONAnswer(b"x" * (5 * answers.LONG + 1))
    scope = {"type": "http", "app": rig.app, CALLER: "read"}
    sending = asyncio.create_task(answer(scope, receive, send))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(body), places._under_way.total()) == (answers.LONG, 1)
    taken.set()
    await sending
    assert (bytes(body), places._under_way.total()) == (answer.body, 0)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A list of the runs of `inc_slow` takes until this is set."""
    ended, real = threading.Event(), shown.runs_listed

    def runs_listed(
        conn: Any, before: str | None, limit: int, incident: str | None, state: Any
    ) -> Portion[Run]:
        if incident == "inc_slow":
            ended.wait(20)
        return real(conn, before, limit, incident, state)

    monkeypatch.setattr(shown, "runs_listed", runs_listed)
    yield ended
    ended.set()


async def test_what_one_caller_reads_keeps_neither_others_nor_the_service_waiting(
    rig: Rig, slow: threading.Event
) -> None:
    async with rig.client("read") as client, rig.client(*ALL) as other:
        asked = [asyncio.create_task(client.get("/api/v1/runs?incident=inc_slow")) for _ in range(20)]
        await asyncio.wait(asked, timeout=0.1)
        async with asyncio.timeout(10):
            assert (await other.get("/api/v1/runs")).status_code == 200
            assert (await other.get("/api/v1/incidents")).status_code == 200
            assert (await other.post("/api/v1/runs/run_1/approve", json={})).status_code == 202
            assert await rig.store.read(lambda _: "the service's own") == "the service's own"
        slow.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_ten_browsers_behind_one_token_that_load_ten_things_each_have_all_of_them(rig: Rig) -> None:
    async with rig.client("read") as client:
        found = await asyncio.gather(*(client.get("/api/v1/runs?limit=10") for _ in range(100)))
    assert {answer.status_code for answer in found} == {200}


async def test_who_waits_for_long_in_their_own_line_is_told_to_come_again(
    rig: Rig, slow: threading.Event
) -> None:
    rig.store._lines = Lines(2, 1, rig.store._lookers, 0.05)
    async with rig.client("read") as client:
        first = asyncio.create_task(client.get("/api/v1/runs?incident=inc_slow"))
        await asyncio.wait([first], timeout=0.1)
        refused = await client.get("/api/v1/runs")
        slow.set()
        assert (await first).status_code == 200
    problem_of(refused, 503, "overloaded")
    assert refused.headers["retry-after"] == "1"


async def test_whoever_only_looks_has_lines_and_what_is_ordered_has_none(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, real = list[Asker](), Store.read

    async def read(store: Store, fn: Any) -> Any:
        seen.append(ASKED_BY.get())
        return await real(store, fn)

    monkeypatch.setattr(Store, "read", read)
    order = {"remediation": "high-error-rate", "target": TARGET, "reason": "x"}
    ASKED_BY.set(Asker("whoever came before on this connection"))
    async with rig.client(*ALL) as client:
        await client.get("/api/v1/runs")
        await client.get("/api/v1/audit")
        answer = await client.post("/api/v1/remediations", json=order, headers={"Idempotency-Key": "k-1"})
    assert answer.status_code == 202
    name = "-".join(ALL)
    assert seen == [Asker(name), Asker(name, EXPENSIVE), NOBODY]


@pytest.mark.parametrize("path", ["/api/v1/pause", "/api/v1/remediations"])
async def test_an_error_repeats_little_of_what_was_sent(rig: Rig, path: str) -> None:
    name = (DEAR * 17_000)[:17_000]
    order = {"remediation": "high-error-rate", "target": TARGET} if path.endswith("s") else {}
    body = json.dumps({**order, "reason": "x", name: 1}, ensure_ascii=False).encode()
    async with rig.client(*ALL) as client:
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
    told = problem_of(answer, 422, "invalid_field")
    assert len(told["where"]) <= MAX_WHERE + 10
    assert len(told["detail"]) <= MAX_DETAIL + 10


def test_little_work_is_done_on_an_error() -> None:
    """Of one that is dear to look through nothing is told; of an ordinary one all."""
    assert told_of((DEAR * 2_000)[:17_000]) == "[redacted]"
    assert told_of("there are high-error-rate, high-latency") == "there are high-error-rate, high-latency"
    long = "word " * 1_000
    assert told_of(long, 50).startswith("word word")
    assert len(told_of(long, 50)) <= 52


async def test_a_body_is_read_as_long_bodies_are(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    real = bodies.validated

    def validated(*given: Any) -> Any:
        threads.append(threading.current_thread().name)
        return real(*given)

    monkeypatch.setattr("app.web.ordering.validated", validated)
    body = json.dumps({"reason": "x", "more": ["y" * 60] * 700}).encode()
    async with rig.client("operate") as client:
        answer = await client.post(
            "/api/v1/pause", content=body, headers={"content-type": "application/json"}
        )
    problem_of(answer, 422, "invalid_field")
    assert threads
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize(
    "text", ["\u200b", "\U000e0041b", '"\\', "\n\t", "\x1b\x85", "\udc80", "ä\U0001f600", "plain"]
)
def test_the_size_of_a_text_is_what_it_takes_in_an_answer(text: str) -> None:
    document = spelled(json.dumps(text * 50_000, ensure_ascii=False))
    assert json.loads(document) == text * 50_000
    assert len(document.encode()) == size_spelled(text * 50_000) + 2


def test_no_character_of_a_document_costs_a_call() -> None:
    calls = list[str]()

    def counted(frame: object, event: str, arg: object) -> None:
        del frame, arg
        calls.append(event)

    text = "\u200b\U000e0041" * 50_000
    spelled(text)
    sys.setprofile(counted)
    try:
        spelled(text)
    finally:
        sys.setprofile(None)
    assert len(calls) < 200


def test_a_document_is_spelled_in_parts_as_in_one() -> None:
    text = ("a\u200bb\x85" * 50_000)[:131_073]
    assert spelled(text) == text.replace("\u200b", "\\u200b").replace("\x85", "\\u0085")
