"""The endpoint for button clicks: 200 in time for whatever Slack signed, and never a server error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from app.intake.auth import Access
from app.intake.slack import MAX_BYTES
from app.store.database import Store
from app.web import slack
from app.web.app import create_app
from app.web.services import Limits
from tests.doubles.slack_click import SECRET, Signed, signed
from tests.unit.web.rig import NOW, Rig, problem_of

CLICK = {"type": "block_actions", "actions": []}


@dataclass
class Recorded:
    """Interactions that note what they get; `hold` keeps them busy, `broken` lets them fail."""

    got: list[Any] = field(default_factory=list)
    hold: asyncio.Event | None = None
    broken: bool = False

    def begin(self, payload: Any) -> asyncio.Task[None]:
        return asyncio.create_task(self._take(payload))

    async def _take(self, payload: Any) -> None:
        if self.hold is not None:
            await self.hold.wait()
        if self.broken:
            raise RuntimeError("a defect")
        self.got.append(payload)


def client(
    rig: Rig, interactions: Recorded | None, *, secret: str = SECRET, limits: Limits | None = None
) -> httpx.AsyncClient:
    access = replace(rig.access, slack_secret=secret) if secret else Access()
    services = replace(rig.services, access=access, interactions=interactions, limits=limits or Limits())
    transport = httpx.ASGITransport(create_app(services))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


async def post(http: httpx.AsyncClient, request: Signed) -> httpx.Response:
    return await http.post(slack.SlackInteractions.path, content=request.body, headers=request.headers)


async def test_a_signed_click_is_handed_on_and_answered_with_an_empty_200(rig: Rig) -> None:
    seen = Recorded()
    answer = await post(client(rig, seen), signed(CLICK, now=NOW))
    assert (answer.status_code, answer.content, seen.got) == (200, b"", [CLICK])


async def test_without_a_secret_nothing_of_a_body_is_read(rig: Rig) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x"

    async with client(rig, Recorded(), secret="") as http:
        answer = await http.post(slack.SlackInteractions.path, content=body())
    problem_of(answer, 401, "not_configured")
    assert read == []


async def test_the_answer_does_not_wait_longer_than_slack_does(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack, "ANSWER_WITHIN", 0.01)
    seen = Recorded(hold=asyncio.Event())
    answer = await post(client(rig, seen), signed(CLICK, now=NOW))
    assert (answer.status_code, seen.got) == (200, [])
    assert seen.hold is not None
    seen.hold.set()
    while not seen.got:  # noqa: ASYNC110 - it goes on, and nothing tells when
        await asyncio.sleep(0)


async def test_a_defect_behind_it_is_no_server_error_for_slack(rig: Rig) -> None:
    seen = Recorded(broken=True)
    tasks: list[asyncio.Task[None]] = []
    begin = seen.begin
    seen.begin = lambda payload: tasks.append(begin(payload)) or tasks[-1]  # type: ignore[method-assign,func-returns-value]
    assert (await post(client(rig, seen), signed(CLICK, now=NOW))).status_code == 200
    assert isinstance(tasks[0].exception(), RuntimeError)


async def test_without_a_signing_secret_nothing_is_taken_also_where_the_api_is_open(store: Store) -> None:
    rig, seen = Rig(store, access=Access()), Recorded()
    answer = await post(client(rig, seen, secret=""), signed(CLICK, now=NOW))
    problem_of(answer, 401, "not_configured")
    assert seen.got == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Slack-Signature": "v0=" + "0" * 64}, "not_authenticated"),
        ({"X-Slack-Signature": "v0=ü".encode()}, "not_authenticated"),
        ({"X-Slack-Request-Timestamp": "soon"}, "not_authenticated"),
        ({"X-Slack-Request-Timestamp": "1"}, "not_authenticated"),
    ],
)
async def test_what_is_not_signed_is_401_and_counted(rig: Rig, headers: dict[str, Any], code: str) -> None:
    seen = Recorded()
    request = signed(CLICK, now=NOW)
    http = client(rig, seen)
    answer = await http.post(
        slack.SlackInteractions.path, content=request.body, headers={**request.headers, **headers}
    )
    problem_of(answer, 401, code)
    assert seen.got == []
    assert rig.counted("clicks_total", action="unknown", result="not_accepted") == 1


async def test_a_body_beyond_the_limit_is_refused_before_it_is_checked(rig: Rig) -> None:
    answer = await post(client(rig, Recorded()), signed(b"x" * (MAX_BYTES + 1), now=NOW))
    problem_of(answer, 413, "body_too_large")


async def test_a_second_delivery_of_the_same_request_is_refused(rig: Rig) -> None:
    seen, request = Recorded(), signed(CLICK, now=NOW)
    http = client(rig, seen)
    assert (await post(http, request)).status_code == 200
    problem_of(await post(http, request), 401, "replayed")
    assert seen.got == [CLICK]
