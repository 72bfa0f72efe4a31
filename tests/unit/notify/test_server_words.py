"""What Slack and PagerDuty say when they refuse: on one line, bounded, and without what looks like a secret."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from app.domain.errors import RemediatorError
from app.notify.client import Never
from app.notify.pagerduty import PagerDutyAccess, PagerDutyClient
from app.notify.slack_errors import classify
from tests.unit.notify.clock import SteppingClock

Refused = Callable[[str], Awaitable[RemediatorError]]
PASSWORD = "Zk9#wQv2rT"
SAID = (
    f"DSN postgresql://app:{PASSWORD}@db/x refused",
    f"Authorization: Bearer {PASSWORD} refused",
    f"two\nlines\x1b[31m with password={PASSWORD} " + "x" * 5_000,
)


async def _slack(said: str) -> RemediatorError:
    return classify(said, what="chat.postMessage")


async def _pagerduty(said: str) -> RemediatorError:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": said, "errors": [said]}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        client = PagerDutyClient(PagerDutyAccess(routing_key="k" * 32), http, SteppingClock())
        with pytest.raises(Never) as raised:
            await client.end("inc_0k3m", "resolve")
    return raised.value


@pytest.mark.parametrize("refused", [_slack, _pagerduty])
@pytest.mark.parametrize("said", SAID)
async def test_a_refusal_repeats_no_secret(said: str, refused: Refused) -> None:
    error = await refused(said)
    for told in (str(error), error.code):
        assert PASSWORD not in told
        assert told.isprintable()
        assert len(told) < 500
