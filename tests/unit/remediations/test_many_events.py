"""Events of a namespace may be thousands: they are parsed without holding up the loop."""

from __future__ import annotations

import asyncio

from app.domain.json import Obj
from remediations.causes.creation import events_about


async def test_ten_thousand_events_are_parsed_in_turns() -> None:
    events: list[Obj] = [
        {"metadata": {"name": f"e{n}"}, "regarding": {"kind": "Pod", "name": f"web-{n}"}}
        for n in range(10_000)
    ]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = await events_about(events, {"web-7", "web-9999"}, ())
    beside.cancel()
    assert [e.about for e in found] == ["Pod/web-7", "Pod/web-9999"]
    assert turns >= 100
