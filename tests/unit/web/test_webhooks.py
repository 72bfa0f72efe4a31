"""Webhooks: authenticated, within limits, committed, and only then answered with 202."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from app.domain.alert import Delivery
from app.domain.errors import StoreUnavailable
from app.intake.auth import Access
from app.store.database import Store
from app.store.schema import deliveries, rejected_alerts
from app.web.services import Limits
from tests.unit.web.rig import ORCHESTRATION, PD_SECRET, Rig, bearer, problem_of, token

DATA = Path(__file__).parents[1] / "intake" / "data"
FIRING = (DATA / "alertmanager-firing.json").read_bytes()
TRIGGERED = (DATA / "pagerduty-incident-triggered.json").read_bytes()
ORCHESTRATED = json.dumps({"alertname": "HighErrorRate", "namespace": "shop", "dedup_key": "k"}).encode()
AM, PD, EO = "/webhooks/alertmanager", "/webhooks/pagerduty", "/webhooks/pagerduty/orchestration"


def signed(body: bytes, secret: str = PD_SECRET, **headers: str) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-pagerduty-signature": f"v1={mac}", **headers}


def good(path: str) -> tuple[bytes, dict[str, str]]:
    """A request that is accepted."""
    match path:
        case "/webhooks/alertmanager":
            return FIRING, bearer("ingest")
        case "/webhooks/pagerduty":
            return TRIGGERED, signed(TRIGGERED)
        case _:
            return ORCHESTRATED, {"x-remediator-token": ORCHESTRATION}


async def stored(store: Store) -> int:
    return await store.read(
        lambda conn: conn.execute(select(func.count()).select_from(deliveries)).scalar() or 0
    )


@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_an_accepted_delivery_is_committed_answered_and_wakes_the_decide_loop(
    rig: Rig, path: str
) -> None:
    body, headers = good(path)
    async with rig.client() as client:
        response = await client.post(path, content=body, headers=headers)
    assert response.status_code == 202
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert set(answer) == {"delivery", "incidents", "rejected"}
    assert (len(answer["incidents"]), answer["rejected"]) == (1, [])
    assert await stored(rig.store) == 1
    assert len(rig.nudges) == 1


@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_a_slash_behind_the_path_makes_no_difference(rig: Rig, path: str) -> None:
    body, headers = good(path)
    async with rig.client() as client:
        response = await client.post(f"{path}/", content=body, headers=headers)
        assert (await client.post(f"{path}/")).status_code == 401
    assert response.status_code == 202
    assert await stored(rig.store) == 1


async def test_alertmanager_may_use_basic_auth_with_the_token_as_password(rig: Rig) -> None:
    async with rig.client() as client:
        response = await client.post(AM, content=FIRING, auth=("anyone", token("ingest")))
    assert response.status_code == 202
    sender = await rig.store.read(lambda conn: conn.execute(select(deliveries.c.sender)).scalar())
    assert sender == "ingest"


async def test_a_repeat_touches_the_same_incident(rig: Rig) -> None:
    async with rig.client("ingest") as client:
        first, second = [(await client.post(AM, content=FIRING)).json() for _ in range(2)]
    assert first["incidents"] == second["incidents"]
    assert first["delivery"] != second["delivery"]


async def test_a_pagerduty_retry_gets_the_first_answer_again(rig: Rig) -> None:
    headers = signed(TRIGGERED, **{"x-webhook-id": "wh-1"})
    async with rig.client() as client:
        first, second = [(await client.post(PD, content=TRIGGERED, headers=headers)).json() for _ in range(2)]
    assert first == second
    assert await stored(rig.store) == 1
    assert len(rig.nudges) == 1
    assert rig.counted("deliveries_total", source="pagerduty", result="replayed") == 1


REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    (AM, {}, 401, "not_authenticated"),
    (AM, {"authorization": "Bearer wrong"}, 401, "not_authenticated"),
    (AM, {"authorization": "Basic !!"}, 401, "not_authenticated"),
    (AM, bearer("operate"), 403, "scope_missing"),
    (PD, {}, 401, "not_authenticated"),
    (PD, {"x-pagerduty-signature": "v1=00"}, 401, "not_authenticated"),
    (PD, bearer("ingest"), 401, "not_authenticated"),
    (PD, signed(TRIGGERED + b" "), 401, "not_authenticated"),
    (PD, signed(TRIGGERED, "other"), 401, "not_authenticated"),
    (EO, {}, 401, "not_authenticated"),
    (EO, {"x-remediator-token": "wrong"}, 401, "not_authenticated"),
    (EO, bearer("ingest"), 401, "not_authenticated"),
]


@pytest.mark.parametrize(("path", "headers", "status", "code"), REFUSED)
async def test_who_does_not_prove_who_it_is_stores_nothing(
    rig: Rig, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    async with rig.client() as client:
        response = await client.post(path, content=good(path)[0], headers=headers)
    problem_of(response, status, code)
    assert ("www-authenticate" in response.headers) is (status == 401)
    assert await stored(rig.store) == 0
    assert rig.nudges == []


async def test_an_old_secret_is_accepted_while_it_is_active(rig: Rig) -> None:
    async with rig.client() as client:
        response = await client.post(PD, content=TRIGGERED, headers=signed(TRIGGERED, "pd-secret-old"))
    assert response.status_code == 202


@pytest.mark.parametrize(("path", "code"), [(PD, "not_configured"), (EO, "not_authenticated")])
async def test_a_webhook_without_its_secret_is_closed_when_tokens_are_configured(
    store: Store, rig: Rig, path: str, code: str
) -> None:
    closed = Rig(store, access=Access(tokens=rig.access.tokens))
    async with closed.client() as client:
        response = await client.post(
            path, content=b"{}", headers={**signed(b"{}", ""), "x-remediator-token": ""}
        )
    problem_of(response, 401, code)


@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_without_any_authentication_local_requests_are_served(open_rig: Rig, path: str) -> None:
    async with open_rig.client() as client:
        assert (await client.post(path, content=good(path)[0])).status_code == 202


@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_without_any_authentication_a_foreign_host_is_refused(open_rig: Rig, path: str) -> None:
    async with open_rig.client(host="rebound.example:8080") as client:
        problem_of(await client.post(path, content=good(path)[0]), 403, "host_refused")


@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_a_web_page_of_another_site_is_refused(rig: Rig, path: str) -> None:
    body, headers = good(path)
    async with rig.client() as client:
        response = await client.post(
            path, content=body, headers={**headers, "origin": "https://evil.example"}
        )
    problem_of(response, 403, "cross_site")


BODIES = [
    (b"", "invalid_json", "body line 1 column 0"),
    (b"{}", "invalid_field", "/alerts"),
    (b'{"version":"4"}', "invalid_field", "/alerts"),
    (b'{"version":"4","alerts":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "json_too_deep", "body"),
]


@pytest.mark.parametrize(("body", "code", "where"), BODIES)
async def test_an_alertmanager_body_that_is_none_is_422_with_the_place(
    rig: Rig, body: bytes, code: str, where: str
) -> None:
    async with rig.client("ingest") as client:
        problem = problem_of(await client.post(AM, content=body), 422, code)
    assert problem["where"] == where
    assert rig.counted("deliveries_total", source="alertmanager", result="refused") == 1


async def test_one_bad_alert_is_kept_and_its_neighbours_proceed(rig: Rig) -> None:
    body = json.loads(FIRING)
    del body["alerts"][0]["labels"]
    async with rig.client("ingest") as client:
        with capture_logs() as logs:
            response = await client.post(AM, json=body)
    assert response.status_code == 202
    assert len(response.json()["incidents"]) == 1
    assert response.json()["rejected"] == [{"index": 0, "code": "no_labels", "where": "/alerts/0/labels"}]
    (line,) = [line for line in logs if line["event"] == "alerts rejected"]
    assert (line["log_level"], line["source"], line["count"]) == ("warning", "alertmanager", 1)
    assert (line["code"], line["where"]) == ("no_labels", "/alerts/0/labels")
    assert line["delivery"] == response.json()["delivery"]
    codes = await rig.store.read(lambda conn: list(conn.execute(select(rejected_alerts.c.code)).scalars()))
    assert codes == ["no_labels"]
    counts = [
        rig.counted("alerts_total", source="alertmanager", status=s)
        for s in ("firing", "resolved", "rejected")
    ]
    assert counts == [1, 1, 1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"{}",
        b'{"event":{"event_type":"pagey.ping"}}',
        b'{"event":{"event_type":"incident.new"}}',
    ],
)
async def test_a_signed_but_unwanted_event_is_never_answered_with_4xx(rig: Rig, body: bytes) -> None:
    async with rig.client() as client:
        response = await client.post(PD, content=body, headers=signed(body))
    assert response.status_code == 202
    assert response.json()["incidents"] == []
    assert await stored(rig.store) == 1
    assert rig.nudges == []


async def test_our_own_pagerduty_doing_opens_no_incident(store: Store) -> None:
    rig = Rig(store, agents=frozenset({"PINT042"}))
    async with rig.client() as client:
        response = await client.post(PD, content=TRIGGERED, headers=signed(TRIGGERED))
    assert response.json()["incidents"] == []


async def test_truncated_alerts_are_counted(rig: Rig) -> None:
    body = {**json.loads(FIRING), "truncatedAlerts": 7}
    async with rig.client("ingest") as client:
        await client.post(AM, json=body)
    assert rig.counted("alerts_truncated_total", source="alertmanager") == 7


class FullStore:
    """A store that cannot commit."""

    def __init__(self, retry_after: float | None) -> None:
        self.retry_after = retry_after

    async def ingest(self, delivery: Delivery) -> Any:
        raise StoreUnavailable("the store could not commit: disk full", retry_after=self.retry_after)


@pytest.mark.parametrize(("told", "header"), [(None, "5"), (2.0, "2"), (2.4, "3"), (0.01, "1")])
@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_what_cannot_be_stored_is_503_with_retry_after(
    rig: Rig, path: str, told: float | None, header: str
) -> None:
    full = rig.with_store(FullStore(told))
    body, headers = good(path)
    async with full.client() as client:
        response = await client.post(path, content=body, headers=headers)
    problem_of(response, 503, "store_unavailable")
    assert response.headers["retry-after"] == header
    assert full.nudges == []


@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_a_body_with_a_declared_length_beyond_the_limit_is_not_read(rig: Rig, path: str) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(path)
        yield b""

    headers = {**good(path)[1], "content-length": str(10**9)}
    async with rig.client() as client:
        response = await client.post(path, content=body(), headers=headers)
    problem_of(response, 413, "body_too_large")
    assert read == []


async def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(store: Store) -> None:
    rig = Rig(store, limits=Limits(alertmanager_bytes=1000))
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    async with rig.client("ingest") as client:
        response = await client.post(AM, content=body())
    problem_of(response, 413, "body_too_large")
    assert "set max_alerts in the webhook receiver" in response.json()["detail"]
    assert sent <= 1200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_a_compressed_body_is_refused(rig: Rig, encoding: str) -> None:
    async with rig.client("ingest") as client:
        response = await client.post(AM, content=FIRING, headers={"content-encoding": encoding})
    problem_of(response, 415, "encoding_refused")


async def test_the_encoding_identity_is_none(rig: Rig) -> None:
    async with rig.client("ingest") as client:
        response = await client.post(AM, content=FIRING, headers={"content-encoding": "Identity"})
    assert response.status_code == 202


async def test_a_body_in_pieces_is_put_together(rig: Rig) -> None:
    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(FIRING), 100):
            yield FIRING[start : start + 100]

    async with rig.client("ingest") as client:
        assert (await client.post(AM, content=body())).status_code == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", [AM, PD, EO])
async def test_other_methods_are_405_with_what_is_allowed(rig: Rig, path: str, method: str) -> None:
    async with rig.client("ingest") as client:
        response = await client.request(method, path)
    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


async def test_an_answer_never_shows_the_token(rig: Rig) -> None:
    async with rig.client() as client:
        response: httpx.Response = await client.post(AM, headers={"authorization": "Bearer hunter2-hunter2"})
    assert "hunter2" not in response.text


async def test_of_many_rejected_alerts_the_answer_names_the_first(rig: Rig) -> None:
    body: dict[str, object] = {"version": "4", "alerts": [{"labels": {"x" * 5_000: {}}}, *[0] * 50]}
    async with rig.client("ingest") as client:
        told = (await client.post(AM, json=body)).json()["rejected"]
    assert [t["index"] for t in told] == list(range(20))
    assert max(len(t["where"]) for t in told) == 200


async def test_a_captured_pagerduty_request_is_taken_once_whatever_its_unsigned_headers_say(rig: Rig) -> None:
    async with rig.client() as client:
        answers = [
            (
                await client.post(
                    PD, content=TRIGGERED, headers=signed(TRIGGERED, **{"x-webhook-id": f"wh-{n}"})
                )
            ).json()
            for n in range(3)
        ]
    assert answers[0] == answers[1] == answers[2]
    assert (await stored(rig.store), len(rig.nudges)) == (1, 1)


@pytest.mark.parametrize(
    ("path", "name"), [(AM, "authorization"), (PD, "x-pagerduty-signature"), (EO, "x-remediator-token")]
)
async def test_a_header_that_proves_something_is_refused_when_it_comes_twice(
    rig: Rig, path: str, name: str
) -> None:
    body, headers = good(path)
    for pair in ([("wrong", "good")], [("good", "wrong")])[0:2]:
        values = [headers[name] if which == "good" else "wrong" for which in pair[0]]
        async with rig.client() as client:
            response = await client.post(path, content=body, headers=[(name, value) for value in values])
        problem_of(response, 401, "repeated_header")
    assert await stored(rig.store) == 0


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil",
        "127.0.0.1.evil",
        "evil",
        "[::2]",
        "[::ffff:10.0.0.7]",
        "10.0.0.7",
    ],
)
async def test_without_any_authentication_only_an_exact_loopback_host_is_served(
    open_rig: Rig, host: str
) -> None:
    async with open_rig.client() as client:
        problem_of(await client.get("/api/v1/runs", headers={"host": host}), 403, "host_refused")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:1", "[::1]:8080"])
async def test_without_any_authentication_loopback_names_are_served(open_rig: Rig, host: str) -> None:
    async with open_rig.client() as client:
        assert (await client.get("/api/v1/runs", headers={"host": host})).status_code == 200
