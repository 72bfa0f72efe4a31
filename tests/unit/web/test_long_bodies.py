"""A long body holds up nobody but its sender: it is read beside the event loop, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from app.domain.alert import Delivery, Source
from app.domain.effort import TooDear, spend
from app.domain.errors import TryLater
from app.intake import alertmanager, manual, orchestration
from app.web import long_bodies
from app.web.long_bodies import LongBodies
from app.web.problems import status_of
from tests.bench.bodies import alert, message
from tests.unit.web.rig import ORCHESTRATION, Rig

PATH = "/webhooks/alertmanager"
SHORT = message([alert(1, "2026-03-04T10:00:00Z")])
LONG = message([alert(number, "2026-03-04T10:00:00Z") for number in range(100)])


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which bodies were parsed; never two at once."""
    found: list[str] = []
    busy = threading.Lock()
    real = alertmanager.parse

    def parse(body: bytes, *, received_at: datetime, **more: Any) -> Delivery:
        assert busy.acquire(blocking=False)
        try:
            found.append(threading.current_thread().name)
            return real(body, received_at=received_at, **more)
        finally:
            busy.release()

    monkeypatch.setattr(alertmanager, "parse", parse)
    return found


async def test_a_long_body_is_parsed_beside_the_event_loop_and_a_short_one_in_it(
    rig: Rig, threads: list[str]
) -> None:
    async with rig.client("ingest") as http:
        for body in (SHORT, LONG):
            assert (await http.post(PATH, content=body)).status_code == 202
    here = threading.current_thread().name
    assert [name == here for name in threads] == [True, False]


async def test_long_bodies_are_parsed_one_at_a_time(rig: Rig, threads: list[str]) -> None:
    async with rig.client("ingest") as http:
        answers = await asyncio.gather(*(http.post(PATH, content=LONG) for _ in range(6)))
    assert {a.status_code for a in answers} == {202}
    assert len(threads) == 6


async def test_what_is_wrong_with_a_long_body_is_told_as_with_a_short_one(rig: Rig) -> None:
    async with rig.client("ingest") as http:
        answer = await http.post(PATH, content=b"[" * 100_000)
    assert (answer.status_code, answer.json()["code"]) == (422, "json_too_deep")


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a]", "null", "//", "\xb2"])
async def test_an_origin_that_is_no_url_is_refused_and_no_fault_of_ours(open_rig: Rig, origin: str) -> None:
    async with open_rig.client() as http:
        answer = await http.post(PATH, content=SHORT, headers={b"origin": origin.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


async def test_overload_is_503_within_its_time_and_a_long_body_holds_up_nobody_but_its_sender() -> None:
    places, begun, goes_on = LongBodies(patience=0.05), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert goes_on.wait(60)
        return "slow"

    long, large = b" " * 100_000, b" " * 2_000_000
    held = asyncio.ensure_future(places.read("bad", large, slow))
    await asyncio.to_thread(begun.wait, 60)
    for sender in ("bad", "good"):
        # Neither a long body nor a short one waits for a very long one, whoever sends it.
        assert await places.read(sender, long, lambda: "long") == "long"
        assert await places.read(sender, b"", lambda: "short") == "short"
        with pytest.raises(TryLater) as late:
            await places.read(sender, large, lambda: "large")
        assert (late.value.code, status_of(late.value)) == ("overloaded", 503)
        assert late.value.retry_after
    goes_on.set()
    assert await held == "slow"
    assert await places.read("good", large, lambda: "large") == "large"


async def test_what_strangers_write_for_pagerduty_keeps_no_body_of_alertmanager_waiting(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(body: bytes, *, received_at: datetime, **_: Any) -> Delivery:
        begun.set()
        assert goes_on.wait(60)
        return Delivery(Source.ORCHESTRATION, received_at, "orchestration")

    monkeypatch.setattr(orchestration, "parse", slow)
    secret = {"X-Remediator-Token": ORCHESTRATION}
    async with rig.client("ingest") as http:
        held = asyncio.ensure_future(
            http.post("/webhooks/pagerduty/orchestration", content=b" " * 100_000, headers=secret)
        )
        await asyncio.to_thread(begun.wait, 60)
        try:
            assert (await http.post(PATH, content=LONG)).status_code == 202
        finally:
            goes_on.set()
        assert (await held).status_code == 202


async def test_of_one_sender_one_body_stands_in_the_line() -> None:
    places, begun, goes_on = LongBodies(patience=60), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        begun.set()
        assert goes_on.wait(60)

    body = b" " * 2_000_000
    reading = [asyncio.ensure_future(places.read("bad", body, first))]
    await asyncio.to_thread(begun.wait, 60)
    for name in ("bad", "bad", "good"):
        reading.append(asyncio.ensure_future(places.read(name, body, lambda name=name: order.append(name))))  # type: ignore[misc]
        await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(*reading)
    assert order == ["good", "bad", "bad"]


HOSTILE = {
    "lists": b"[]," * 400_000,
    "nested": (b"[" * 28 + b"]" * 28 + b",") * 20_000,
    "keys": b",".join(b'{"%d":0}' % n for n in range(150_000)) + b",",
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("place", ["an ignored field", "an alert", "an annotation"])
async def test_a_body_of_nothing_but_structure_is_refused_before_it_is_read(
    rig: Rig, case: str, place: str
) -> None:
    before, after = {
        "an ignored field": (b'{"alerts":[],"x":[', b"0]}"),
        "an alert": (b'{"alerts":[{"q":[', b"0]}]}"),
        "an annotation": (
            b'{"alerts":[{"status":"firing","labels":{"a":"b"},"annotations":{"a":[',
            b"0]}}]}",
        ),
    }[place]
    body = before + HOSTILE[case] * (1 if case != "nested" else 2) + after
    async with rig.client("ingest") as http:
        answer = await http.post(PATH, content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_values")


async def test_ten_thousand_ordinary_alerts_are_taken(rig: Rig) -> None:
    body = message([alert(number, "2026-03-04T10:00:00Z") for number in range(10_000)])
    async with rig.client("ingest") as http:
        answer = await http.post(PATH, content=body)
    assert (answer.status_code, answer.json()["rejected"]) == (202, [])


SOME = message([alert(number, "2026-03-04T10:00:00Z") for number in range(20)])
assert 8 * 1024 < len(SOME) < 32 * 1024
DEAR = "['sh','-c','redis-cli -a  ping']|\n property \"auth.token\" holds ``, which is not a UR%22"


def dear(first: int = 0) -> bytes:
    """A short body whose texts take long to look through."""
    notes = {"annotations": {f"{DEAR}{n}": "x" for n in range(100)}}
    body = message([{**alert(first + number, "2026-03-04T10:00:00Z"), **notes} for number in range(2)])
    assert len(body) < 32 * 1024
    return body


async def test_a_short_body_whose_texts_take_long_to_look_through_is_parsed_beside_the_event_loop(
    rig: Rig, threads: list[str]
) -> None:
    """It is begun on the loop and given up there; the answer is the same."""
    async with rig.client("ingest") as http:
        assert (await http.post(PATH, content=dear())).status_code == 202
    here = threading.current_thread().name
    assert [name == here for name in threads] == [True, False]


async def test_of_a_sender_of_dear_bodies_one_is_begun_on_the_event_loop_until_it_has_sent_cheap_ones_for_a_while(
    rig: Rig, threads: list[str]
) -> None:
    here, cheap = threading.current_thread().name, long_bodies._ANEW
    async with rig.client("ingest") as http:
        answers = await asyncio.gather(*(http.post(PATH, content=dear(10 * n)) for n in range(6)))
        assert {a.status_code for a in answers} == {202}
        assert [name == here for name in threads].count(True) == 1
        threads.clear()
        for _ in range(cheap + 1):
            assert (await http.post(PATH, content=SOME)).status_code == 202
    assert [name == here for name in threads] == [*[False] * cheap, True]


async def test_an_alert_by_itself_stands_behind_no_dear_body_of_its_sender() -> None:
    """A group whose annotations take long to look through comes from the same Alertmanager as everybody's alerts."""
    places, begun, goes_on = LongBodies(patience=0.05), threading.Event(), threading.Event()

    def slow() -> None:
        if threading.current_thread() is threading.main_thread():
            raise TooDear
        begun.set()
        assert goes_on.wait(60)

    def alone() -> str:
        spend(None, long_bodies.MAX_OF_FEW)
        return threading.current_thread().name

    held = asyncio.ensure_future(places.read("am", b" " * 20_000, slow))
    await asyncio.to_thread(begun.wait, 60)
    try:
        for _ in range(3):
            assert await places.read("am", b" " * 2_000, alone) == threading.main_thread().name
        with pytest.raises(TryLater):  # what takes longer is not tried for longer than that
            await places.read("am", b" " * 2_000, lambda: spend(None, long_bodies.MAX_OF_FEW + 1))
    finally:
        goes_on.set()
    await held


async def test_of_bodies_that_come_in_one_moment_few_are_read_in_each_round_of_the_event_loop() -> None:
    """None of them is dear, and whoever else is to be answered has a turn between them; what one sender has sent keeps no other's waiting."""
    places, rounds, found = LongBodies(), 0, list[tuple[str, int]]()

    async def others() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    def parse(name: str) -> None:
        spend(None, long_bodies.MAX_ON_LOOP // 4)
        found.append((name, rounds))

    everybody = asyncio.ensure_future(others())
    senders = ["bad"] * 20 + ["good"]
    await asyncio.gather(*(places.read(name, b"", lambda name=name: parse(name)) for name in senders))  # type: ignore[misc]
    everybody.cancel()
    most = max(Counter(at for _, at in found).values())
    assert most * long_bodies.MAX_ON_LOOP // 4 <= long_bodies._ROUND
    assert [name for name, _ in found].index("good") < 5


async def test_who_stops_waiting_for_a_body_leaves_its_place_taken_as_long_as_it_is_read() -> None:
    """Nobody can end a thread: else as many would run as there are senders who go away."""
    places, begun, goes_on = LongBodies(patience=0.05), threading.Event(), threading.Event()
    long = b" " * 100_000

    def slow() -> None:
        begun.set()
        assert goes_on.wait(60)

    gone = asyncio.ensure_future(places.read("bad", long, slow))
    await asyncio.to_thread(begun.wait, 60)
    gone.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gone
    try:
        with pytest.raises(TryLater):
            await places.read("good", long, lambda: None)
    finally:
        goes_on.set()


async def test_an_order_whose_params_take_long_to_look_through_is_parsed_beside_the_event_loop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, real = list[str](), manual.parse

    def parse(body: bytes, *, received_at: datetime, **more: Any) -> Delivery:
        found.append(threading.current_thread().name)
        return real(body, received_at=received_at, **more)

    monkeypatch.setattr(manual, "parse", parse)
    target = {"namespace": "rag7", "kind": "Deployment", "name": "redis"}
    order = {
        "remediation": "high-error-rate",
        "target": target,
        "params": {"a": DEAR * 150},
        "reason": "r",
    }
    async with rig.client("trigger") as http:
        answer = await http.post("/api/v1/remediations", json=order)
    assert (answer.status_code, answer.json()["code"]) == (422, "secret_in_param")
    here = threading.current_thread().name
    assert [name == here for name in found] == [True, False]
