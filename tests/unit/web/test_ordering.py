"""The ordering API: manual triggers and what people may tell a run; the caller's name goes with every order."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.domain.errors import (
    AccessDenied,
    BadInput,
    ClusterUnavailable,
    CommitUnclear,
    Missing,
    OutcomeUnclear,
    Refused,
    RemediatorError,
)
from app.store import incidents
from tests.unit.web.rig import Rig, problem_of

TRIGGER = "/api/v1/remediations"
ORDER = {
    "remediation": "high-error-rate",
    "target": {"namespace": "rag7", "kind": "Deployment", "name": "langgraph"},
    "reason": "drill",
}
OPERATIONS = [
    "/api/v1/runs/run_1/approve", "/api/v1/runs/run_1/reject", "/api/v1/runs/run_1/undo", "/api/v1/incidents/inc_1/acknowledge", "/api/v1/pause", "/api/v1/resume",
    "/api/v1/trust/promote", "/api/v1/trust/demote",
]  # fmt: skip
HASH = "a" * 64
KEY = "HighErrorRate/high-error-rate/rag7/Deployment"


async def test_an_order_opens_an_incident_and_promises_a_run(rig: Rig) -> None:
    async with rig.client("trigger") as client:
        response = await client.post(TRIGGER, json=ORDER)
    assert response.status_code == 202
    answer = response.json()
    assert set(answer) == {"incident", "run"}
    assert answer["run"].startswith("run_")
    incident = await rig.store.read(lambda conn: incidents.get(conn, answer["incident"]))
    assert incident.manual is not None
    assert (incident.manual.requested_by, incident.manual.reason) == ("trigger", "drill")
    assert not incident.manual.may_approve, "its token may only order"
    assert len(rig.nudges) == 1


async def test_a_repeat_under_one_key_gives_the_same_answer(rig: Rig) -> None:
    async with rig.client("trigger") as client:
        first, second = [
            (await client.post(TRIGGER, json=ORDER, headers={"idempotency-key": "k1"})).json()
            for _ in range(2)
        ]
        third = (await client.post(TRIGGER, json=ORDER, headers={"idempotency-key": "k2"})).json()
        fourth = (await client.post(TRIGGER, json=ORDER)).json()
    assert first == second
    assert len({first["incident"], third["incident"], fourth["incident"]}) == 3
    assert len(rig.nudges) == 3


async def test_a_repeat_has_its_answer_whatever_the_rules_say_by_then(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"idempotency-key": "k1"}

    async with rig.client("trigger") as client:
        first = await client.post(TRIGGER, json=ORDER, headers=headers)
        monkeypatch.setattr("tests.unit.web.rig.ALLOWED", frozenset[str]())  # a reload
        again = await client.post(TRIGGER, json=ORDER, headers=headers)
        other = await client.post(TRIGGER, json=ORDER, headers={"idempotency-key": "k2"})
    assert (again.status_code, again.json()) == (202, first.json())
    problem_of(other, 422, "unknown_remediation")


async def test_another_body_under_the_same_key_is_a_conflict(rig: Rig) -> None:
    headers = {"idempotency-key": "k1"}
    async with rig.client("trigger") as client:
        await client.post(TRIGGER, json=ORDER, headers=headers)
        response = await client.post(TRIGGER, json={**ORDER, "reason": "other"}, headers=headers)
    problem_of(response, 409, "idempotency_conflict")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({**ORDER, "remediation": "no-such"}, "unknown_remediation", "/remediation"),
    ({**ORDER, "target": {"namespace": "rag7"}}, "invalid_field", "/target/kind"),
    ({**ORDER, "mode": "auto"}, "invalid_field", "/mode"),
    ({}, "invalid_field", "/remediation"),
]


@pytest.mark.parametrize(("body", "code", "where"), REFUSED)
async def test_an_order_that_does_not_fit_is_422_and_stores_nothing(
    rig: Rig, body: dict[str, Any], code: str, where: str
) -> None:
    async with rig.client("trigger") as client:
        assert problem_of(await client.post(TRIGGER, json=body), 422, code)["where"] == where
    assert await rig.store.read(lambda conn: incidents.page(conn, None, 10)) == []


async def test_an_odd_key_is_refused(rig: Rig) -> None:
    async with rig.client("trigger") as client:
        response = await client.post(TRIGGER, json=ORDER, headers={"idempotency-key": "a b"})
    problem_of(response, 422, "bad_idempotency_key")


@pytest.mark.parametrize("path", [TRIGGER, *OPERATIONS])
async def test_an_order_without_credentials_is_401_before_its_body_is_looked_at(rig: Rig, path: str) -> None:
    async with rig.client() as client:
        problem_of(await client.post(path, content=b"not json"), 401, "not_authenticated")
    assert rig.orders.asked == []


@pytest.mark.parametrize(
    ("path", "scope"),
    [(TRIGGER, "operate"), (TRIGGER, "ingest"), *((p, s) for p in OPERATIONS for s in ("trigger", "read"))],
)
async def test_an_order_needs_its_scope(rig: Rig, path: str, scope: str) -> None:
    async with rig.client(scope) as client:
        problem_of(await client.post(path, json={}), 403, "scope_missing")
    assert rig.orders.asked == []


@pytest.mark.parametrize("path", [TRIGGER, *OPERATIONS])
async def test_an_order_from_a_web_page_of_another_site_is_refused(open_rig: Rig, path: str) -> None:
    async with open_rig.client() as client:
        problem_of(await client.post(path, headers={"origin": "https://evil.example"}), 403, "cross_site")
        problem_of(await client.post(path, headers={"origin": "null"}), 403, "cross_site")
    assert open_rig.orders.asked == []


async def test_a_page_of_this_service_may_order(open_rig: Rig) -> None:
    async with open_rig.client() as client:
        response = await client.post("/api/v1/runs/run_1/undo", headers={"origin": "http://127.0.0.1:8080"})
    assert response.status_code == 202
    assert open_rig.orders.asked == [("undo", "run_1", "anonymous")]


ORDERS: list[tuple[str, Any, int, tuple[Any, ...]]] = [
    ("/api/v1/runs/run_1/approve", None, 202, ("approve", "run_1", "operate", "")),
    ("/api/v1/runs/run_1/approve", {}, 202, ("approve", "run_1", "operate", "")),
    ("/api/v1/runs/run_1/approve", {"plan_hash": HASH}, 202, ("approve", "run_1", "operate", HASH)),
    ("/api/v1/runs/run_1/reject", {"plan_hash": HASH}, 202, ("reject", "run_1", "operate", HASH)),
    ("/api/v1/runs/run_1/undo", None, 202, ("undo", "run_1", "operate")),
    ("/api/v1/runs/run_1/keep", None, 202, ("keep", "run_1", "operate")),
    (
        "/api/v1/runs/run_1/approve",
        {"reason": " it is\nthe  release "},
        202,
        ("approve", "run_1", "operate", "", "it is the release"),
    ),
    (
        "/api/v1/runs/run_1/reject",
        {"reason": "password=Kr8vTq2"},
        202,
        ("reject", "run_1", "operate", "", "password=[redacted]"),
    ),
    ("/api/v1/runs/run_1/undo", {"reason": "r"}, 202, ("undo", "run_1", "operate", "r")),
    ("/api/v1/runs/run_1/keep", {"reason": "r"}, 202, ("keep", "run_1", "operate", "r")),
    (
        "/api/v1/incidents/inc_1/acknowledge",
        {"reason": "r"},
        200,
        ("acknowledge", "inc_1", "operate", "API", "r"),
    ),
    ("/api/v1/pause", {"reason": "r"}, 200, ("pause", "all", "r", "operate", None)),
    (
        "/api/v1/pause",
        {"scope": "namespace:rag7", "reason": "release", "until": "2026-03-04T12:00:00+01:00"},
        200,
        ("pause", "namespace:rag7", "release", "operate", datetime(2026, 3, 4, 11, tzinfo=UTC)),
    ),
    ("/api/v1/trust/promote", {"key": KEY, "reason": "r"}, 200, ("promote", KEY, "r", "operate")),
    ("/api/v1/trust/demote", {"key": KEY, "reason": "r"}, 200, ("demote", KEY, "r", "operate")),
    ("/api/v1/incidents/inc_1/acknowledge", None, 200, ("acknowledge", "inc_1", "operate", "API")),
    ("/api/v1/incidents/dig_1/acknowledge", None, 200, ("acknowledge", "dig_1", "operate", "API")),
    ("/api/v1/resume", None, 200, ("resume", "all", "operate")),
    (
        "/api/v1/resume",
        {"scope": "target:a/Deployment/b"},
        200,
        ("resume", "target:a/Deployment/b", "operate"),
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "asked"), ORDERS)
async def test_an_order_is_passed_on_with_the_name_of_the_caller(
    rig: Rig, path: str, body: Any, status: int, asked: tuple[Any, ...]
) -> None:
    async with rig.client("operate") as client:
        response = await client.post(path) if body is None else await client.post(path, json=body)
    assert response.status_code == status
    assert response.json() == {"order": asked[0]}
    assert rig.orders.asked == [asked]


BAD: list[tuple[str, Any, str]] = [
    ("/api/v1/runs/run_1/approve", {"plan_hash": "short"}, "/plan_hash"),
    ("/api/v1/runs/run_1/approve", {"by": "somebody else"}, "/by"),
    ("/api/v1/runs/run_1/reject", [], "body"),
    ("/api/v1/runs/run_1/reject", {"reason": "r" * 501}, "/reason"),
    ("/api/v1/runs/run_1/undo", {"reason": 5}, "/reason"),
    ("/api/v1/runs/run_1/keep", {"why": "r"}, "/why"),
    ("/api/v1/pause", {}, "/reason"),
    ("/api/v1/pause", {"reason": " "}, "/reason"),
    ("/api/v1/pause", {"reason": "r", "scope": "everything"}, "/scope"),
    ("/api/v1/pause", {"reason": "r", "scope": "namespace:"}, "/scope"),
    ("/api/v1/pause", {"reason": "r", "until": "tomorrow"}, "/until"),
    ("/api/v1/pause", {"reason": "r", "until": 5}, "/until"),
    ("/api/v1/resume", {"scope": ""}, "/scope"),
    ("/api/v1/trust/promote", {"key": KEY}, "/reason"),
    ("/api/v1/trust/promote", {"key": KEY, "reason": " "}, "/reason"),
    ("/api/v1/trust/promote", {"key": "", "reason": "r"}, "/key"),
    ("/api/v1/trust/demote", {"key": KEY, "reason": "r", "level": "auto"}, "/level"),
]


@pytest.mark.parametrize(("path", "body", "where"), BAD)
async def test_a_body_that_does_not_fit_is_422_and_is_not_passed_on(
    rig: Rig, path: str, body: Any, where: str
) -> None:
    async with rig.client("operate") as client:
        assert problem_of(await client.post(path, json=body), 422, "invalid_field")["where"] == where
    assert rig.orders.asked == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
async def test_a_body_of_another_media_type_is_refused(rig: Rig, kind: str) -> None:
    async with rig.client("operate") as client:
        response = await client.post(
            "/api/v1/pause", content=b'{"reason":"r"}', headers={"content-type": kind}
        )
    problem_of(response, 415, "media_type_refused")


async def test_json_with_a_charset_is_json(rig: Rig) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    async with rig.client("operate") as client:
        response = await client.post("/api/v1/pause", content=b'{"reason":"r"}', headers=headers)
    assert response.status_code == 200


async def test_a_large_order_is_413(rig: Rig) -> None:
    body = json.dumps({"reason": "x" * 70_000}).encode()
    async with rig.client("operate") as client:
        response = await client.post(
            "/api/v1/pause", content=body, headers={"content-type": "application/json"}
        )
    problem_of(response, 413, "body_too_large")


ERRORS: list[tuple[RemediatorError, int, str]] = [
    (Missing("no such run", where="run_1"), 404, "not_found"),
    (Refused("answered already", code="answered"), 409, "answered"),
    (BadInput("the end lies in the past", code="bad_until"), 422, "bad_until"),
    (ClusterUnavailable("no answer", retry_after=3), 503, "cluster_unavailable"),
    (CommitUnclear("it is not known whether this was taken"), 503, "commit_unclear"),
    (AccessDenied("patch deployments: secret detail"), 500, "access_denied"),
    (OutcomeUnclear("secret detail"), 500, "outcome_unclear"),
    (RemediatorError("secret detail"), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
async def test_each_kind_of_error_has_its_status(
    rig: Rig, error: RemediatorError, status: int, code: str
) -> None:
    rig.orders.error = error
    async with rig.client("operate") as client:
        response = await client.post("/api/v1/runs/run_1/undo")
    problem_of(response, status, code)
    assert ("retry-after" in response.headers) is (status == 503)
    assert "secret detail" not in response.text


async def test_the_log_has_the_cause_of_a_fault_under_its_request(rig: Rig) -> None:
    rig.orders.error = RemediatorError("no column postgresql://app:hunter2@db/x", code="store_fault")
    with capture_logs() as logs:
        async with rig.client("operate") as client:
            response = await client.post("/api/v1/runs/run_1/undo")
    told = problem_of(response, 500, "store_fault")
    (line,) = [line for line in logs if line["event"] == "fault"]
    assert (line["log_level"], line["request"]) == ("error", told["request_id"])
    assert line["reason"] == "no column postgresql://app:[redacted]@db/x"


async def test_secrets_in_error_texts_are_redacted(rig: Rig) -> None:
    rig.orders.error = Refused("cannot use postgresql://app:hunter2@db/x")
    async with rig.client("operate") as client:
        response = await client.post("/api/v1/runs/run_1/undo")
    assert problem_of(response, 409, "refused")["detail"] == "cannot use postgresql://app:[redacted]@db/x"


async def test_an_order_for_a_workload_that_is_not_there_is_refused_at_once_and_stores_nothing(
    rig: Rig,
) -> None:
    body = {**ORDER, "target": {"namespace": "rag7", "kind": "Deployment", "name": "gone"}}
    async with rig.client("trigger") as http:
        answer = await http.post("/api/v1/remediations", json=body)
    problem_of(answer, 409, "no_such_target")
    assert rig.nudges == []


async def test_a_repeat_of_a_taken_order_gives_its_answer_whatever_became_of_the_workload(rig: Rig) -> None:
    key = {"Idempotency-Key": "one"}
    async with rig.client("trigger") as http:
        first = await http.post("/api/v1/remediations", json=ORDER, headers=key)

        async def gone(request: object) -> None:
            raise Refused("gone", code="no_such_target")

        object.__setattr__(rig.services, "check_target", gone)
        again = await http.post("/api/v1/remediations", json=ORDER, headers=key)
        other = await http.post("/api/v1/remediations", json=ORDER)
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert first.json() == again.json()
