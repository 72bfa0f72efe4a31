"""A long body holds up nobody but its sender: it is read beside the event loop, one at a time."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from typing import Any

import pytest

from app.domain.alert import Delivery
from app.intake import alertmanager
from tests.bench.bodies import alert, message
from tests.unit.web.rig import Rig

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
