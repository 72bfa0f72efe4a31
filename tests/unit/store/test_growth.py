"""How much the state folder grows by what one body holds, SQLite's log included: what a sender writes at length is kept once or twice, and an
alert has a place of bounded size beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.domain.alert import Delivery
from app.domain.events import EventKind
from app.intake import alertmanager, orchestration
from app.store import audit
from app.store.database import Store
from app.store.schema import episodes
from tests.contract.stores import START, CountingIds, HandClock
from tests.empty_store import put_empty_store

MIB = 1024 * 1024
TIMES = 2.2
OF_AN_ALERT = 8 * 1024  # its rows and index entries, and what is empty on their pages
LOG = 17 * MIB  # of SQLite: what it grows to before it begins anew


def alert(number: int, labels: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": f"a{number}", **labels},
        "annotations": annotations,
        "startsAt": "2026-03-01T02:00:00Z",
    }


def texts(text: str, many: int) -> dict[str, str]:
    return {f"n{number}": text for number in range(many)}


KINDS: dict[str, Callable[[int], Any]] = {
    "one long text": lambda n: alert(n, {}, {"description": "lorem ipsum " * 800}),
    "long texts": lambda n: alert(n, {}, texts("x y " * 2_400, 15)),
    "quotes": lambda n: alert(n, {}, texts('\\"' * 4_900, 10)),
    "control characters": lambda n: alert(n, {}, texts("\x01\0" * 2_500, 3)),
    "other scripts": lambda n: alert(n, {}, texts("\N{GRINNING FACE}é" * 2_000, 5)),
    "long labels": lambda n: alert(n, texts("v" * 4_000, 20), {}),
    "control characters in labels": lambda n: alert(n, texts("\x01\x02" * 1_000, 20), {}),
    "many labels": lambda n: alert(n, dict.fromkeys((f"k{k}" for k in range(110)), 0), {}),
    "long names": lambda n: alert(
        n,
        {"alertname": f"{n}{'a' * 4_000}", "namespace": "n" * 4_000, "pod": "p" * 4_000, "severity": "s" * 4_000},
        {"summary": "t" * 9_000},
    ),
    "long names of workloads": lambda n: alert(n, {"deployment": f"{n}{'d' * 4_000}"}, {}),
    "tiny": lambda n: {"labels": {"a": str(n)}},
    "none": lambda _: 0,
    "rejected objects": lambda n: {"labels": {}, "n": n, "x": "y" * 40_000},
    "long links": lambda n: {**alert(n, {}, {}), "generatorURL": f"http://x.example/{'g' * 2_000}"},
}  # fmt: skip


def body_of(make: Callable[[int], Any], most: int) -> bytes:
    """As many as a body has room for."""
    items, length = list[str](), 0
    while length < most and len(items) < 9_000:
        items.append(json.dumps(make(len(items)), separators=(",", ":"), ensure_ascii=False))
        length += len(items[-1].encode()) + 1
    return ('{"version":"4","status":"firing","alerts":[' + ",".join(items) + "]}").encode()


@contextmanager
def opened(
    folder: Path, *, new: bool = True, ids: CountingIds | None = None
) -> Iterator[tuple[Store, Callable[[], int]]]:
    """A store, and how much its folder has grown since."""
    file = folder / "remediator.sqlite"
    url = put_empty_store(file) if new else f"sqlite:///{file}"
    before = sum(file.stat().st_size for file in folder.iterdir())
    store = Store.open(url, clock=HandClock(), ids=ids or CountingIds())
    try:
        yield store, lambda: sum(file.stat().st_size for file in folder.iterdir()) - before
    finally:
        store.close()


def parsed(body: bytes) -> Delivery:
    return alertmanager.parse(body, received_at=START, sender="alertmanager")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_of_a_mebibyte_takes_about_twice_its_size(tmp_path: Path, kind: str) -> None:
    body = body_of(KINDS[kind], MIB)
    delivery = parsed(body)
    with opened(tmp_path) as (store, grown):
        await store.ingest(delivery)
        with_log = grown()
    allowed = TIMES * len(body) + OF_AN_ALERT * (len(delivery.alerts) + len(delivery.rejected))
    assert with_log <= allowed, f"{with_log / len(body):.2f} times the body"
    assert grown() <= allowed


@pytest.mark.parametrize("kind", ["quotes", "long labels"])
async def test_the_log_of_a_large_body_does_not_stay(tmp_path: Path, kind: str) -> None:
    body = body_of(KINDS[kind], 15 * MIB)
    delivery = parsed(body)
    with opened(tmp_path) as (store, grown):
        await store.ingest(delivery)
        await store.ingest(parsed(body_of(KINDS["tiny"], 100)))
        assert grown() <= TIMES * len(body) + OF_AN_ALERT * len(delivery.alerts) + LOG


async def test_the_same_body_again_takes_next_to_nothing(tmp_path: Path) -> None:
    body = body_of(KINDS["long texts"], MIB)
    grew, ids = list[int](), CountingIds()
    for _ in range(5):
        with opened(tmp_path, new=not grew, ids=ids) as (store, grown):
            await store.ingest(parsed(body))
        grew.append(grown())
    assert sum(grew[1:]) < MIB // 4  # an index, once


async def test_the_trail_holds_short_annotations_whole_and_says_of_long_ones_that_they_are_not(
    tmp_path: Path,
) -> None:
    short = {"summary": "s" * 900, "runbook_url": "https://runbooks.example/a", "team": "sre"}
    long = {**short, "summary": "s" * 9_000, "z": "z" * 9_000, "y": "y" * 9_000}
    body = json.dumps({"alerts": [alert(1, {"team": "a"}, short), alert(2, {"team": "b"}, long)]}).encode()
    with opened(tmp_path) as (store, _):
        await store.ingest(parsed(body))
        records = await store.read(lambda conn: audit.page(conn, 0, 100))
        kept = await store.read(lambda conn: conn.execute(select(episodes.c.annotations)).scalars().all())
    first, second = (r.data for r in records if r.kind is EventKind.ALERT_FIRED)
    assert first["annotations"] == short
    assert "annotations_cut" not in first
    assert second["annotations"] == {**short, "summary": "s" * 1_000 + "…"}
    assert second["annotations_cut"] == 3
    assert [json.loads(text) for text in kept] == [short, long]


@pytest.mark.parametrize("value", ["v" * 1_000_000, dict.fromkeys((f"k{n}" for n in range(9_000)), "w" * 90)])
async def test_a_body_of_an_orchestration_takes_less_than_its_size(tmp_path: Path, value: Any) -> None:
    body = json.dumps({"event": {"summary": "s", "custom_details": value}}).encode()
    delivery = orchestration.parse(body, received_at=START, sender="pagerduty")
    with opened(tmp_path) as (store, grown):
        await store.ingest(delivery)
        assert grown() <= len(body)
