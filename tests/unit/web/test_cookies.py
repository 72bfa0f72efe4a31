"""Cookies at the door: only our own pages' are left, whatever was sent costs little, and none reaches the API and the webhooks."""

from __future__ import annotations

import http.cookies
import time
from typing import Any

import pytest
from fastapi import Request

from app.web.cookies import MAX_COOKIE, OURS, SESSION, VISIT, keep_own_cookies
from tests.unit.web.rig import Rig
from tests.unit.work import measured

BACKSLASHES = "\\" * 28_000
MAX_UNITS = 200
"""Work of two requests whose head is as long as it may be; quadratic work on one took 1,400 and more."""


def left(*cookies: str, path: str = "/") -> list[str]:
    """What whoever reads the request next finds."""
    scope: dict[str, Any] = {"path": path, "headers": [(b"host", b"a"), (b"x-b", b"c")]}
    scope["headers"][1:1] = [(b"cookie", one.encode("latin-1")) for one in cookies]
    keep_own_cookies(scope)
    assert scope["headers"][:2] == [(b"host", b"a"), (b"x-b", b"c")]
    return [value.decode() for _, value in scope["headers"][2:]]


KEPT = [
    ((), []),
    (("a=b",), []),
    ((f"{SESSION}=a.b",), [f"{SESSION}=a.b"]),
    ((f"a=b;{SESSION}=a_-.b==;  c=d ; {VISIT}=visit_1",), [f"{SESSION}=a_-.b==; {VISIT}=visit_1"]),
    ((f"{SESSION}=a", f"{VISIT}=b"), [f"{SESSION}=a; {VISIT}=b"]),
    ((f"{SESSION}=a; {SESSION}=b",), [f"{SESSION}=b"]),
    ((f'{SESSION}="a"',), []),
    ((f"{SESSION}=a\\142",), []),
    ((f"{SESSION}=" + "a" * MAX_COOKIE,), [f"{SESSION}=" + "a" * MAX_COOKIE]),
    ((f"{SESSION}=" + "a" * (MAX_COOKIE + 1),), []),
    ((f"{SESSION}",), [f"{SESSION}="]),
    ((f"{SESSION.upper()}=a; \xff=\xe9; =;;;",), []),
    (("; ".join(f"{SESSION}={n}" for n in range(1_000)),), [f"{SESSION}=999"]),
]


@pytest.mark.parametrize(("given", "kept"), KEPT)
def test_only_our_own_cookies_are_left_and_none_in_quotes(given: tuple[str, ...], kept: list[str]) -> None:
    assert left(*given) == kept


@pytest.mark.parametrize("path", ["/api/v1/runs", "/api/", "/webhooks/alertmanager"])
def test_the_api_and_the_webhooks_get_none(path: str) -> None:
    assert left(f"{SESSION}=a", path=path) == []


PATHS = ["/healthz", "/metrics", "/api/v1/runs", "/webhooks/alertmanager", "/nowhere", "/openapi.json"]


@pytest.mark.parametrize("scopes", [(), ("read",)])
@pytest.mark.parametrize("path", PATHS)
async def test_quotes_are_taken_off_no_cookie_of_a_request_whoever_sends_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, path: str, scopes: tuple[str, ...]
) -> None:
    unquoted: list[int] = []
    plain = http.cookies._unquote  # what starlette calls

    def counted(text: str) -> str:
        unquoted.append(len(text))
        assert len(text) <= MAX_COOKIE
        return str(plain(text))

    monkeypatch.setattr(http.cookies, "_unquote", counted)
    async with rig.client(*scopes) as client:
        await client.get(path)  # what only a first request costs is not counted
        with measured() as work:
            for name in ("a", SESSION):
                await client.get(path, headers={"cookie": f'{name}="{BACKSLASHES}"'})
    assert unquoted == []
    assert work.units < MAX_UNITS


async def test_what_reads_a_request_behind_the_door_finds_ours_alone(rig: Rig) -> None:
    seen: list[dict[str, str]] = []

    async def reading(request: Request) -> None:
        seen.append(request.cookies)

    rig.app.add_api_route("/shown", reading)
    async with rig.client() as client:
        await client.get("/shown", headers={"cookie": f'a="{BACKSLASHES}"; {VISIT}=visit_123; {SESSION}=x.y'})
    assert seen == [{VISIT: "visit_123", SESSION: "x.y"}]
    assert {VISIT.encode(), SESSION.encode()} <= OURS


def test_the_cost_grows_with_the_length_alone() -> None:
    """Sixteen times the length may take no hundred times as long."""

    def seconds(length: int) -> float:
        texts = (f'a="{BACKSLASHES[:length]}"', "=;" * (length // 2), f"{SESSION}=a;" * (length // 21))
        taken = []
        for _ in range(5):
            begun = time.thread_time()
            for text in texts:
                left(text)
            taken.append(time.thread_time() - begun)
        return min(taken)

    assert seconds(28_000) < 100 * max(seconds(1_750), 1e-5)
