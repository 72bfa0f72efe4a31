"""The outermost layer and the reading of bodies: limits, numbers, counts, log lines, and no exception that gets out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from starlette.requests import ClientDisconnect
from structlog.testing import LogCapture

from app.domain.errors import BadInput, TryLater
from app.domain.pieces import PIECE
from app.store.database import Store
from app.web.app import create_app
from app.web.requests import read_body
from app.web.services import Limits
from app.web.unproved import MAX_UNPROVED, Unproved
from tests.unit.web.rig import Rig, bearer, problem_of

AM = "/webhooks/alertmanager"
Message = dict[str, Any]


class Arriving:
    """A receive channel that gives the messages one by one and then hangs."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    async def __call__(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(**headers: str) -> Message:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": pairs}


async def read(*messages: Message, **headers: str) -> bytes:
    return await read_body(scope(**headers), Arriving(*messages), limit=10, seconds=0.05)


GOOD = [
    ([part(b"")], b""),
    ([part(b"0123456789")], b"0123456789"),
    ([part(b"01", more=True), part(b"23", more=True), part(b"")], b"0123"),
    ([{"type": "http.request"}], b""),
]


@pytest.mark.parametrize(("messages", "body"), GOOD)
async def test_a_body_is_read_whole(messages: list[Message], body: bytes) -> None:
    assert await read(*messages) == body


LARGE = [
    ([part(b"0" * 11)], {}),
    ([part(b"0" * 6, more=True), part(b"0" * 6)], {}),
    ([part(b"0" * 11, more=True)], {}),
    ([], {"content_length": "11"}),
    ([], {"content_length": "9" * 30}),
]


@pytest.mark.parametrize(("messages", "headers"), LARGE)
async def test_a_body_beyond_the_limit_is_refused_as_early_as_it_shows(
    messages: list[Message], headers: dict[str, str]
) -> None:
    with pytest.raises(BadInput) as caught:
        await read(*messages, **headers)
    assert caught.value.code == "body_too_large"


@pytest.mark.parametrize("length", ["x", "-1", "", "1e9"])
async def test_a_length_that_is_no_number_is_left_to_the_server(length: str) -> None:
    assert await read(part(b"ok"), content_length=length) == b"ok"


@pytest.mark.parametrize("messages", [[], [part(b"01", more=True)]])
async def test_a_body_that_does_not_arrive_in_time_may_be_sent_again(messages: list[Message]) -> None:
    with pytest.raises(TryLater) as caught:
        await read(*messages)
    assert caught.value.code == "body_timeout"


@pytest.mark.parametrize("before", [[], [part(b"01", more=True)]])
async def test_a_caller_that_hangs_up_is_noticed(before: list[Message]) -> None:
    with pytest.raises(ClientDisconnect):
        await read(*before, {"type": "http.disconnect"})


async def test_a_slow_webhook_is_answered_with_503(store: Store) -> None:
    rig = Rig(store, limits=Limits(body_seconds=0.02))

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with rig.client("ingest") as client:
        response = await client.post(AM, content=body())
    problem_of(response, 503, "body_timeout")
    assert response.headers["retry-after"] == "5"


@pytest.fixture
def log() -> Any:
    """The events logged during the test."""
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.reset_defaults()


def _broken_store(error: BaseException) -> Any:
    class Broken:
        async def ingest(self, _delivery: object) -> Any:
            raise error

    return Broken()


async def test_an_unexpected_error_is_a_500_that_tells_nothing_and_a_log_line_that_tells_all(
    rig: Rig, log: list[Message]
) -> None:
    broken = rig.with_store(_broken_store(ZeroDivisionError("password=hunter2 in /srv/app")))
    async with broken.client("ingest") as client:
        response = await client.post(AM, json={"version": "4", "alerts": []})
    problem = problem_of(response, 500, "internal")
    assert "hunter2" not in response.text
    assert "Zero" not in response.text
    [failed, served] = log
    assert (failed["event"], failed["log_level"], failed["request"]) == (
        "request failed",
        "error",
        problem["request_id"],
    )
    assert failed["exc_info"] is True
    assert (served["event"], served["status"]) == ("request not served", 500)


async def test_a_caller_that_hung_up_gets_no_answer_and_makes_no_error(rig: Rig, log: list[Message]) -> None:
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    connection = {
        "type": "http", "method": "POST", "path": AM, "raw_path": AM.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": [(b"authorization", b"Bearer 4Kq9vT2m-ingest"), (b"host", b"a")], "http_version": "1.1",
        "server": ("127.0.0.1", 8080), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    await rig.app(connection, Arriving({"type": "http.disconnect"}), send)
    assert sent == []
    assert [line["event"] for line in log] == ["client gone"]
    assert rig.counted("http_requests_total", method="POST", route=AM, status="none") == 1


async def test_good_requests_make_no_log_line_and_refused_ones_make_one(rig: Rig, log: list[Message]) -> None:
    async with rig.client("read") as client:
        await client.get("/api/v1/incidents")
        await client.get("/api/v1/incidents/inc_1?token=hunter2")
    [line] = log
    assert line["event"] == "request refused"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/incidents/inc_1", 422)


async def test_every_answer_carries_its_own_request_id(rig: Rig) -> None:
    async with rig.client("read") as client:
        ids = {
            (await client.get(path)).headers["x-request-id"] for path in ("/healthz", "/healthz", "/nowhere")
        }
    assert len(ids) == 3


async def test_requests_are_counted_by_route_template_and_known_methods_only(rig: Rig) -> None:
    async with rig.client("read") as client:
        for path in ("/api/v1/incidents/inc_1", "/api/v1/incidents/inc_2", "/nowhere/1", "/nowhere/2"):
            await client.get(path)
        await client.request("BREW", "/nowhere/3")
    count = rig.counted
    assert (
        count("http_requests_total", method="GET", route="/api/v1/incidents/{incident_id}", status="404") == 2
    )
    assert count("http_requests_total", method="GET", route="unmatched", status="404") == 2
    assert count("http_requests_total", method="other", route="unmatched", status="404") == 1


async def test_a_webhook_is_counted_under_its_route(rig: Rig) -> None:
    async with rig.client("ingest") as client:
        await client.post(AM, json={"version": "4", "alerts": []})
    assert rig.counted("http_requests_total", method="POST", route=AM, status="202") == 1
    assert rig.counted("http_request_seconds_count", route=AM) == 1


@pytest.mark.parametrize("word", ["a://b:", "password='", "token=a'", "x"])
async def test_a_long_path_is_logged_by_its_beginning(rig: Rig, log: list[Message], word: str) -> None:
    """Nobody has to prove anything to ask for one, and each line is searched for secrets on the event loop."""
    async with rig.client() as client:
        problem_of(await client.get(f"/{word * (60_000 // len(word))}"), 404, "not_found")
    [line] = log
    assert (line["event"], line["status"]) == ("request refused", 404)
    assert line["path"] == f"/{word * 200}"[:200]


LONG, FILLING = b" " * 60_000, b" " * 70_000


class Sending:
    """A body that is under way until it is told to end."""

    def __init__(self, sent: bytes) -> None:
        self.sent, self.here, self.ends = sent, asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.sent
        self.here.set()
        await self.ends.wait()


@pytest.mark.parametrize("path", ["/webhooks/pagerduty", "/webhooks/slack/interactions"])
async def test_bodies_that_only_their_end_proves_take_a_bounded_place_together(rig: Rig, path: str) -> None:
    """Who fills it keeps nobody out whose body is short, or who has proved who it is by the head; and it is free again afterwards."""
    access = replace(rig.access, slack_secret="a-signing-secret")
    web = replace(rig.services, access=access, interactions=Clicks(), unproved=Unproved(50_000))
    transport = httpx.ASGITransport(create_app(web))
    first = Sending(FILLING)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        held = asyncio.ensure_future(http.post(path, content=first))
        await first.here.wait()
        refused = await http.post(path, content=LONG)
        problem_of(refused, 503, "overloaded")
        assert refused.headers["retry-after"] == "10"
        for sent in (LONG[:30_000], LONG[:20]):
            problem_of(await http.post(path, content=sent), 401, "not_authenticated")
        proved = await http.post(AM, content=LONG, headers=bearer("ingest"))
        problem_of(proved, 422, "invalid_json")
        first.ends.set()
        problem_of(await held, 401, "not_authenticated")
        problem_of(await http.post(path, content=LONG), 401, "not_authenticated")


def test_the_place_that_ships_holds_less_than_a_pod_has() -> None:
    """The largest bodies of all connections would be 256 MiB."""
    place = Unproved()
    with ExitStack() as under_way:
        for _ in range(128):
            under_way.enter_context(place.body()).take(PIECE + 512 * 1024)
        last = under_way.enter_context(place.body())
        last.take(PIECE)
        with pytest.raises(TryLater):
            last.take(1)
    with place.body() as one:
        one.take(PIECE + MAX_UNPROVED)


class Clicks:
    """Interactions that never come."""

    def begin(self, payload: Any) -> asyncio.Task[None]:
        raise AssertionError(payload)
