"""Pages follow each other by what stands in them, and a cursor is one of this service or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.errors import BadInput
from app.intake import alertmanager
from app.store.schema import episodes
from app.web.paging import EPISODE, cut, decode, decode_number, encode
from tests.unit.web.rig import NOW, Rig

EPISODES = [
    "20260304T101522.000000Z/alertmanager/143f9463e41d840d",
    "20260304T101522.000000Z/orchestration/" + "/\U0001f600" * 127,
]


async def _fire_one(rig: Rig, fingerprint: str, minute: int) -> str:
    labels = {"alertname": "Slow", "namespace": "rag7", "deployment": "langgraph"}
    alert = {
        "status": "firing",
        "labels": labels,
        "fingerprint": fingerprint,
        "startsAt": f"2026-03-04T10:{minute}:22Z",
    }
    body = json.dumps({"version": "4", "alerts": [alert]}).encode()
    return (await rig.store.ingest(alertmanager.parse(body, received_at=NOW, sender="am"))).incident_ids[0]


def _take_away(tx: Any) -> None:
    tx.conn.execute(update(episodes).where(episodes.c.fingerprint == "f10").values(incident_id="other"))


@pytest.mark.parametrize("comes", [True, False])
async def test_an_alert_that_comes_or_goes_meanwhile_shifts_no_page(rig: Rig, *, comes: bool) -> None:
    incident, seen, cursor = "", list[str](), ""
    for minute in range(10, 14):
        incident = await _fire_one(rig, f"f{minute}", minute)
    async with rig.client("read") as client:
        while True:
            path = f"/api/v1/incidents/{incident}/alerts"
            page = (await client.get(path, params={"limit": "2", "cursor": cursor})).json()
            seen += [one["fingerprint"] for one in page["items"]]
            if len(seen) == 2 and comes:
                assert await _fire_one(rig, "early", 10) == incident
            elif len(seen) == 2:
                await rig.store.write(_take_away)
            cursor = page["next"] or ""
            if not cursor:
                break
    assert seen == ["f10", "f11", "f12", "f13"]


@pytest.mark.parametrize("key", ["inc_1", "0", "run_06f2-1.x"])
def test_a_cursor_gives_its_key_back(key: str) -> None:
    assert decode(encode(key)) == key


@pytest.mark.parametrize("key", EPISODES)
def test_the_cursor_of_an_alert_gives_its_key_back(key: str) -> None:
    assert decode(encode(key), EPISODE) == key
    assert len(encode(key)) <= 1500


def test_no_cursor_is_the_first_page() -> None:
    assert decode("") is None
    assert decode_number("") == 0


@pytest.mark.parametrize("cursor", ["x", "MTo", "====", "Mjph", encode("a b"), encode(""), encode("ü"), "é"])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(cursor)
    assert caught.value.code == "bad_cursor"


@pytest.mark.parametrize(("count", "shown", "more"), [(0, 0, False), (2, 2, False), (3, 2, True)])
def test_a_page_has_a_next_one_only_when_there_is_more(count: int, shown: int, more: bool) -> None:
    rows, following = cut(list(range(count)), 2, str)
    assert (len(rows), following is not None) == (shown, more)
