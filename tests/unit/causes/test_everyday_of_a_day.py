"""A rule that waits for an hour and longer (`for:`) fires when its trouble has filled the whole hour before: what began then is no noise of every
day, where the logs reach back far enough to tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.remediation import History, PastAlert
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_everyday import DB, HANDLERS, Handler, decided, scaling, writes
from tests.unit.causes.test_more_pods import BUSY
from tests.unit.causes.world import World

TEN_HOURS = 600.0


def long_known(world: World, minutes: float = TEN_HOURS) -> World:
    """The logs reach back so far, with a good line every minute."""
    for rows in world.cluster.timed.values():
        rows += [(NOW - timedelta(minutes=n), "INFO served") for n in range(180, int(minutes))]
        rows.sort()
    return world


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize(
    ("since", "reaching", "wanted"),
    [
        (70, TEN_HOURS, (False, False)),
        (150, TEN_HOURS, (False, False)),
        (TEN_HOURS, TEN_HOURS, (True, True)),
        (70, 180, (True, True)),
        (70, 190, (True, True)),
    ],
    ids=["for an hour", "for two hours", "every day", "nobody knows", "too little is known"],
)
async def test_what_began_an_hour_before_the_alert_is_its_trouble(
    since: float, reaching: float, wanted: tuple[bool, bool], handler: Handler
) -> None:
    world = long_known(writes(BUSY(), DB, every=60, since=since), reaching)
    assert await decided(world, handler) == wanted


HUNG_UP = 'level=error msg="write response" err="write tcp 10.0.0.3:8080->10.0.0.7:51234: write: broken pipe"'
ABORTED = "ERROR o.a.c.c.C.[.[.[/] - org.apache.catalina.connector.ClientAbortException: java.io.IOException: Broken pipe"
RESET = "2026/03/04 02:10:11 [error] 31#31: *7 recv() failed (104: Connection reset by peer) while reading client request line"
DAY = (NOW - timedelta(days=2), NOW)
HEARD = History(watched=(DAY,))
FIRED = History(
    watched=(DAY,), alerts=(PastAlert("HighLatency", NOW - timedelta(hours=9), NOW - timedelta(hours=8)),)
)
DEAF = History(watched=((NOW - timedelta(hours=5), NOW),))


async def asked(world: World, handler: Handler, history: History) -> bool:
    """Whether it asks before it scales out."""
    scene = replace(await world.scene(), history=history)
    params = handler.params()
    steps = await handler.ladder(scene, params, await handler.diagnose(scene, params))  # type: ignore[arg-type]
    step = next(s for s in steps if s.name == scaling(handler))
    assert step.applies, step.why
    return bool(step.asks)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize("said", [HUNG_UP, ABORTED, RESET])
async def test_clients_that_hung_up_as_often_all_day_while_all_was_well_ask_nobody(
    said: str, handler: Handler
) -> None:
    def all_day(since: float = TEN_HOURS, reaching: float = TEN_HOURS) -> World:
        return long_known(writes(BUSY(), said, every=240, since=since), reaching)

    assert not await asked(all_day(), handler, HEARD)
    assert await asked(all_day(), handler, History()), "nobody listened"
    assert await asked(all_day(), handler, DEAF), "nobody listened for long enough"
    assert await asked(all_day(), handler, FIRED), "an alert fired meanwhile"
    assert await asked(all_day(180, 180), handler, HEARD), "the logs tell of no such time"


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize(
    "said",
    [
        DB,
        "ERROR could not send to otel-collector:4317: connection refused",
        "WARN too many connections already for role app, retrying",
        "ERROR ClientAbortException: pool is exhausted",
        "2026/03/04 02:10:11 [error] 31#31: *7 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.7",
    ],
)
async def test_what_speaks_of_anything_that_we_need_asks_whatever_a_day_proves(
    said: str, handler: Handler
) -> None:
    world = long_known(writes(BUSY(), said, every=240, since=TEN_HOURS))
    assert await asked(world, handler, HEARD)
