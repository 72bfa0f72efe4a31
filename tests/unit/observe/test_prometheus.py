"""The Prometheus client: answers become numbers, everything else becomes ProbeUnavailable, reads are repeated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.domain.errors import ProbeUnavailable
from app.domain.ports import Sample
from app.observe.http_json import LIMIT
from app.observe.prometheus import Prometheus

Handler = Callable[[httpx.Request], httpx.Response]
NOW = datetime(2026, 3, 4, 10, 15, tzinfo=UTC)


class Waits:
    """A clock that notes how long it was asked to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def prometheus(handler: Handler, clock: Waits | None = None) -> Prometheus:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return Prometheus(client, "http://user:s3cret-word@prom.example:9090/prefix/", clock or Waits())


def result(kind: str, rows: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"resultType": kind, "result": rows}})


async def test_an_instant_query_gives_each_series_with_its_value() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return result("vector", [{"metric": {"pod": "a"}, "value": [1772619300, "0.25"]}])

    assert await prometheus(handler).instant('up{job="x"}') == [({"pod": "a"}, 0.25)]
    assert seen[0].method == "GET"
    assert seen[0].url.path == "/prefix/api/v1/query"
    assert seen[0].url.params["query"] == 'up{job="x"}'


async def test_a_scalar_is_one_value_without_labels() -> None:
    assert await prometheus(lambda _: result("scalar", [1772619300, "3"])).instant("3") == [({}, 3.0)]


@pytest.mark.parametrize("nothing", ["NaN", "+Inf", "-Inf"])
async def test_a_value_that_is_not_finite_is_not_a_measurement(nothing: str) -> None:
    rows = [
        {"metric": {"pod": "a"}, "value": [1, nothing]},
        {"metric": {"pod": "b"}, "value": [1, "2"]},
    ]
    assert await prometheus(lambda _: result("vector", rows)).instant("q") == [({"pod": "b"}, 2.0)]


async def test_a_window_gives_samples_with_their_times() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/prefix/api/v1/query_range"
        assert request.url.params["start"] == "1772619300.000"
        assert request.url.params["step"] == "30"
        values = [[1772619300, "1"], [1772619330, "NaN"], [1772619360, "3"]]
        silent = {"metric": {"pod": "b"}, "values": [[1772619300, "NaN"]]}
        return result("matrix", [{"metric": {"pod": "a"}, "values": values}, silent])

    found = await prometheus(handler).window("q", NOW, NOW, 30)

    at = datetime.fromtimestamp(1772619300, UTC)
    last = datetime.fromtimestamp(1772619360, UTC)
    assert found == [({"pod": "a"}, [Sample(at, 1.0), Sample(last, 3.0)])]


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (httpx.Response(200, text="<html>"), "gave an answer that is not JSON"),
        (httpx.Response(200, content=b"\xff\xfe\xff"), "gave an answer that is not JSON"),
        (httpx.Response(200, json=[]), "gave an answer that is not a query result"),
        (httpx.Response(200, json={"status": "error"}), "gave an answer that is not a query result"),
        (httpx.Response(302, headers={"location": "http://evil.example"}), "answered 302"),
        (result("matrix", []), "answered with a matrix where one value per series was expected"),
        (result("vector", [{"metric": {}, "value": [1, "many"]}]), "gave a value that is not a number"),
        (result("vector", [{"metric": {}, "value": [1]}]), "gave a value that is not a number"),
        (result("vector", [{"value": [1, "1"]}]), "gave a series without labels"),
        (
            httpx.Response(400, json={"status": "error", "errorType": "bad_data", "error": "parse error"}),
            "answered 400: parse error",
        ),
    ],
)
async def test_what_is_not_an_answer_says_so_at_once(response: httpx.Response, text: str) -> None:
    clock = Waits()

    with pytest.raises(ProbeUnavailable) as caught:
        await prometheus(lambda _: response, clock).instant("q")

    assert caught.value.message == f"Prometheus {text}"
    assert clock.slept == []


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_failure_that_may_pass_is_tried_three_times(status: int) -> None:
    calls: list[int] = []
    clock = Waits()

    def handler(_: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(status, json={"error": "query timed out"})

    with pytest.raises(ProbeUnavailable, match=f"Prometheus answered {status}: query timed out"):
        await prometheus(handler, clock).instant("q")

    assert (len(calls), clock.slept) == (3, [0.2, 0.4])


async def test_the_second_attempt_may_succeed() -> None:
    answers = iter([httpx.Response(503), result("vector", [])])
    assert await prometheus(lambda _: next(answers)).instant("q") == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (httpx.ConnectError("no route to s3cret-word"), "could not be reached"),
        (httpx.ReadTimeout("slow"), "did not answer within 5 s"),
    ],
)
async def test_a_lost_connection_is_told_without_the_url(error: Exception, text: str) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ProbeUnavailable) as caught:
        await prometheus(handler).instant("q")

    assert str(caught.value) == f"prometheus: Prometheus {text}"
    assert caught.value.__cause__ is error


async def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    with pytest.raises(ProbeUnavailable, match="more than 8 MiB"):
        await prometheus(lambda _: httpx.Response(200, content=b" " * (LIMIT + 1))).instant("q")


async def test_a_window_that_comes_as_a_vector_is_refused() -> None:
    with pytest.raises(ProbeUnavailable, match="answered with a vector where a window was expected"):
        await prometheus(lambda _: result("vector", [])).window("q", NOW, NOW, 15)


@pytest.mark.parametrize(
    "said",
    [
        "cannot log in: password=sunflower-4777",
        "see\nhttps://bot:sunflower-4777@h/x",
        "a\r\nok  approval: approved by kim",
    ],
)
async def test_the_words_of_a_refusal_are_one_line_without_secrets(said: str) -> None:
    answer = httpx.Response(400, json={"status": "error", "error": said})
    with pytest.raises(ProbeUnavailable) as caught:
        await prometheus(lambda _: answer).instant("q")
    assert "sunflower" not in str(caught.value)
    assert str(caught.value).splitlines() == [str(caught.value)]
