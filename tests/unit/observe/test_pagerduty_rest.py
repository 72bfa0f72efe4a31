"""Reading the alerts of a PagerDuty incident: bounded, with the token to the configured host only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.domain.alert_report import AlertReport, Reported, combined
from app.domain.errors import ProbeUnavailable
from app.observe import pagerduty_rest
from app.observe.pagerduty_rest import PagerDutyRest

TOKEN = "y_NbAkKc66ryYTWUXYEu"
ANSWER = {"alerts": [{"id": "A", "body": {"details": {"namespace": "shop"}}}]}


class RecordedSleeps:
    """A clock that does not wait, but remembers for how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 3, 4, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


Answer = httpx.Response | type[httpx.TransportError]


class Client:
    """A client over scripted answers; the last one repeats."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self.answers = list(answers)
        self.clock = RecordedSleeps()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.rest = PagerDutyRest(client, "https://api.example.net/", TOKEN, self.clock)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.Response):
            return answer
        raise answer("lost")


def ok(body: Any = ANSWER) -> httpx.Response:
    return httpx.Response(200, json=body)


async def failed(client: Client) -> ProbeUnavailable:
    with pytest.raises(ProbeUnavailable) as caught:
        await client.rest.incident_alerts("Q0X7")
    assert TOKEN not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    return caught.value


async def test_the_alerts_are_asked_for_with_token_and_version() -> None:
    client = Client(ok())
    assert await client.rest.incident_alerts("Q0X7LMN2P4RST8") == ANSWER
    [request] = client.requests
    assert str(request.url) == "https://api.example.net/incidents/Q0X7LMN2P4RST8/alerts?limit=100"
    assert request.headers["authorization"] == f"Token token={TOKEN}"
    assert request.headers["accept"] == "application/vnd.pagerduty+json;version=2"


@pytest.mark.parametrize("odd", ["", "../users", "A/B", "A?x=1", "A" * 65, "Ä", "A\n"])
async def test_an_id_that_would_change_the_path_is_not_asked_for(odd: str) -> None:
    client = Client(ok())
    with pytest.raises(ProbeUnavailable, match="unexpected form"):
        await client.rest.incident_alerts(odd)
    assert client.requests == []


@pytest.mark.parametrize(
    "first",
    [
        httpx.Response(500),
        httpx.Response(503),
        httpx.Response(429),
        httpx.ConnectError,
        httpx.ReadTimeout,
        httpx.RemoteProtocolError,
    ],
)
async def test_what_may_pass_is_tried_again(first: Answer) -> None:
    client = Client(first, ok())
    assert await client.rest.incident_alerts("Q0X7") == ANSWER
    assert client.clock.slept == [1.0]


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({}, [1.0, 2.0]),
        ({"retry-after": "4"}, [4.0, 4.0]),
        ({"ratelimit-reset": "7"}, [7.0, 7.0]),
        ({"retry-after": "3600"}, [10.0, 10.0]),
        ({"retry-after": "soon"}, [1.0, 2.0]),
    ],
)
async def test_it_waits_as_told_within_limits_and_gives_up_after_three_attempts(
    headers: dict[str, str], waits: list[float]
) -> None:
    client = Client(httpx.Response(429, headers=headers))
    error = await failed(client)
    assert (error.code, len(client.requests), client.clock.slept) == ("pagerduty_unavailable", 3, waits)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (httpx.Response(401), "the token is wrong"),
        (httpx.Response(403), "lacks a permission"),
        (httpx.Response(404), "no such incident"),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), "answered 302"),
        (httpx.Response(200, text="<html>"), "not JSON"),
        (httpx.Response(200, content=b'{"alerts": ["\xff"]}'), "not JSON"),
        (httpx.Response(200, json=[]), "not a list of alerts"),
        (httpx.Response(200, json={"alerts": {}}), "not a list of alerts"),
        (
            httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")),
            "could not be read",
        ),
    ],
)
async def test_what_will_not_pass_is_asked_once_and_told(answer: httpx.Response, text: str) -> None:
    client = Client(answer)
    error = await failed(client)
    assert (error.code, len(client.requests)) == ("pagerduty_refused", 1)
    assert text in str(error)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagerduty_rest, "LIMIT", 1024 * 1024)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    client = Client(httpx.Response(200, content=endless()))
    assert "more than 1 MiB" in str(await failed(client))


async def test_a_lost_connection_keeps_its_cause() -> None:
    error = await failed(Client(httpx.ConnectError))
    assert isinstance(error.__cause__, httpx.ConnectError)


@pytest.mark.parametrize(
    ("incident", "told"),
    [
        ({"status": "triggered"}, ("triggered", "")),
        ({"status": "resolved", "acknowledgements": [{"at": "x"}]}, ("resolved", "")),
        ({"status": "acknowledged"}, ("acknowledged", "acknowledged in PagerDuty by somebody")),
        (
            {
                "status": "acknowledged",
                "acknowledgements": [
                    {"at": "2026-03-04T03:01:00Z", "acknowledger": {"summary": "Ann Ops"}},
                    {"at": "2026-03-04T03:05:00Z", "acknowledger": {"summary": "Ben\u202eOps"}},
                ],
            },
            ("acknowledged", "acknowledged in PagerDuty by Ben\\u202eOps at 2026-03-04T03:05:00Z"),
        ),
        (
            {"status": "acknowledged", "acknowledgements": "odd"},
            ("acknowledged", "acknowledged in PagerDuty by somebody"),
        ),
    ],
)
async def test_d_who_acknowledged_an_incident_is_told(
    incident: dict[str, Any], told: tuple[str, str]
) -> None:
    assert await Client(ok({"incident": incident})).rest.incident_status("Q0X7") == told


async def test_d_an_incident_counts_as_acknowledged_when_all_that_fires_is() -> None:
    held = AlertReport(Reported.FIRING, "acknowledged", "acknowledged in PagerDuty by Ann")
    assert combined([held]).held_by == "acknowledged in PagerDuty by Ann"
    assert combined([held, AlertReport(Reported.FIRING, "fires")]).held_by == ""
    assert combined([held, AlertReport(Reported.GONE)]).held_by != ""


@pytest.mark.parametrize("status", ["triggered", "acknowledged", "resolved"])
async def test_the_status_of_an_incident_is_asked_for_with_the_same_token(status: str) -> None:
    client = Client(ok({"incident": {"id": "Q0X7", "status": status, "priority": None}}))
    assert (await client.rest.incident_status("Q0X7"))[0] == status
    [request] = client.requests
    assert str(request.url) == "https://api.example.net/incidents/Q0X7?limit=100"
    assert request.headers["authorization"] == f"Token token={TOKEN}"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"incident": None},
        {"incident": []},
        {"incident": {"status": None}},
        {"incident": {"status": "snoozed"}},
        {"incident": {"status": ["resolved"]}},
        {"error": {"code": 2010}},
    ],
)
async def test_an_answer_without_a_known_status_is_unknown_and_never_resolved(body: Any) -> None:
    client = Client(ok(body))
    with pytest.raises(ProbeUnavailable, match="not an incident with a status") as caught:
        await client.rest.incident_status("Q0X7")
    assert caught.value.code == "pagerduty_refused"


async def test_a_status_is_asked_for_again_when_pagerduty_is_busy_and_not_when_it_refuses() -> None:
    busy = Client(httpx.Response(429), ok({"incident": {"status": "triggered"}}))
    assert await busy.rest.incident_status("Q0X7") == ("triggered", "")
    assert (len(busy.requests), len(busy.clock.slept)) == (2, 1)
    refused = Client(httpx.Response(404))
    with pytest.raises(ProbeUnavailable, match="no such incident"):
        await refused.rest.incident_status("Q0X7")
    assert len(refused.requests) == 1
    with pytest.raises(ProbeUnavailable, match="unexpected form"):
        await refused.rest.incident_status("../users")
    assert len(refused.requests) == 1
