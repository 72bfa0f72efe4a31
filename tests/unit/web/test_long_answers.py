"""An answer has a bounded length whatever strangers wrote into what it shows, tells what it leaves out, and is made beside the event loop."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from app.domain.free_text import MAX_DETAIL, MAX_WHERE, told_of
from app.domain.text import size_spelled, spelled
from app.intake import alertmanager
from app.intake import body as bodies
from app.web import answers, reading
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
