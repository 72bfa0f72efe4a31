"""Too many requests that prove nothing are told to wait, whatever the door; what proves itself always passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.web.app import create_app
from app.web.failures import ADDRESSES, API_TRIES, WINDOW, Failures, TooManyFailuresError
from tests.unit.web.rig import Rig, StillClock, bearer, problem_of
from tests.unit.web.test_webhooks import AM, EO, PD, good

DOORS = [
    ("POST", AM, {"authorization": "Bearer wrong"}),
    ("POST", PD, {"x-pagerduty-signature": "v1=00"}),
    ("POST", EO, {"x-remediator-token": "wrong"}),
    ("GET", "/api/v1/incidents", {"authorization": "Bearer wrong"}),
    ("GET", "/api/v1/incidents", {}),
    ("POST", "/api/v1/pause", {"authorization": "Basic wrong"}),
]


class MovingClock(StillClock):
    """Time that a test moves."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


@pytest.mark.parametrize(("method", "path", "headers"), DOORS)
async def test_what_proves_nothing_too_often_is_told_to_wait_and_what_does_passes(
    rig: Rig, method: str, path: str, headers: dict[str, str]
) -> None:
    clock = MovingClock()
    rig.app = create_app(replace(rig.services, clock=clock))
    async with rig.client() as client:
        said = [
            (await client.request(method, path, headers=headers, content=b"{}")).status_code
            for _ in range(API_TRIES + 3)
        ]
        assert said == [401] * API_TRIES + [429] * 3
        told = await client.request(method, path, headers=headers, content=b"{}")
        problem_of(told, 429, "too_many_failures")
        assert told.headers["retry-after"] == "60"
        body, proof = good(AM)
        assert (await client.post(AM, content=body, headers=proof)).status_code == 202
        assert (await client.get("/api/v1/incidents", headers=bearer("read"))).status_code == 200
        clock.at = WINDOW + 1
        assert (await client.request(method, path, headers=headers, content=b"{}")).status_code == 401
    assert rig.counted("failed_authentications_total", result="limited") == 4
    assert rig.counted("failed_authentications_total", result="refused") == API_TRIES + 1


def test_addresses_wait_for_themselves_and_a_machine_for_all_of_its_own() -> None:
    failures = Failures(2)
    for address in ("2001:db8::1", "2001:db8::ffff", "::ffff:192.0.2.1", "::ffff:192.0.2.1"):
        failures.count(address, 0.0)
    for address in ("2001:db8::2", "::ffff:192.0.2.1"):
        with pytest.raises(TooManyFailuresError):
            failures.require_room(address, 1.0)
    for address in ("2001:db8:0:1::1", "::ffff:192.0.2.2", "192.0.2.9", "somewhere", ""):
        failures.require_room(address, 1.0)


def test_few_addresses_are_remembered() -> None:
    failures = Failures(1)
    for number in range(2 * ADDRESSES):
        failures.count(f"host-{number}", 0.0)
    assert len(failures._since) == ADDRESSES
    failures.require_room("host-0", 0.0)
    with pytest.raises(TooManyFailuresError):
        failures.require_room(f"host-{2 * ADDRESSES - 1}", 0.0)
