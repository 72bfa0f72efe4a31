"""Standings: one row a key, changed under a lock with its audit record: the same on SQLite and Postgres."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.decision import Mode
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store import audit, facts, incidents, standings
from app.store.database import Store, Tx
from app.store.schema import incidents as incident_rows
from app.store.standings import StoredStanding
from tests.contract.stores import START, HandClock, open_incident

KEY = "HighErrorRate/high-error-rate/rag7/Deployment"


def standing(
    alertname: str = "HighErrorRate", target_class: str = "rag7/Deployment", level: Mode = Mode.OBSERVE
) -> StoredStanding:
    key = f"{alertname}/high-error-rate/{target_class}"
    return StoredStanding(
        key, alertname, "high-error-rate", target_class, "errors", level, START, why="it begins here"
    )


async def opened(store: Store, *new: StoredStanding) -> None:
    for one in new:
        await store.write(lambda tx, one=one: standings.open_one(tx, one, {"change": "opened"}))  # type: ignore[misc]


async def found(store: Store, key: str = KEY) -> StoredStanding | None:
    return await store.read(lambda conn: standings.find(conn, key))


async def test_a_standing_is_read_as_it_was_written(store: Store, clock: HandClock) -> None:
    await opened(store, standing())
    clock.forward(days=3)
    changed = replace(
        standing(),
        level=Mode.APPROVE,
        successes=9,
        trials=10,
        since=START + timedelta(days=1),
        why="run_1 did not fix it",
        asked_at=START + timedelta(days=2),
        agreed={"ana": "2026-03-01T03:00:00+00:00"},
        incident_id="inc_1",
        run_id="run_1",
    )
    await store.write(lambda tx: standings.put(tx, changed, {"change": "asked"}, "ana"))
    assert await found(store) == replace(changed, updated_at=clock.now())
    assert await found(store, "another") is None


async def test_each_change_is_audited_with_who_made_it(store: Store) -> None:
    await opened(store, standing())
    moved = replace(standing(), level=Mode.APPROVE, incident_id="inc_1", run_id="run_1")
    await store.write(lambda tx: standings.put(tx, moved, {"change": "promoted", "by": "ana"}, "ana"))
    trail = await store.read(lambda conn: audit.page(conn, 0, 10))
    assert [(e.kind, e.actor, e.incident_id, e.run_id, e.data["change"]) for e in trail] == [
        (EventKind.AUTONOMY_CHANGED, "service", "", "", "opened"),
        (EventKind.AUTONOMY_CHANGED, "ana", "inc_1", "run_1", "promoted"),
    ]


async def test_what_is_begun_again_stays_and_only_its_rule_is_new(store: Store) -> None:
    await opened(store, standing(level=Mode.AUTO))
    again = replace(standing(), rule="errors, renamed")
    kept = await store.write(lambda tx: standings.open_one(tx, again, {"change": "opened"}))
    assert (kept.level, kept.rule) == (Mode.AUTO, "errors, renamed")
    now = await found(store)
    assert now is not None
    assert (now.level, now.rule) == (Mode.AUTO, "errors, renamed")
    assert len(await store.read(lambda conn: audit.page(conn, 0, 10))) == 1


async def test_a_failure_leaves_neither_change_nor_record(store: Store) -> None:
    await opened(store, standing())

    def broken(tx: Tx) -> None:
        standings.put(tx, replace(standing(), level=Mode.AUTO), {"change": "promoted"})
        raise Missing("something else")

    with pytest.raises(Missing):
        await store.write(broken)
    now = await found(store)
    assert now is not None
    assert now.level is Mode.OBSERVE
    assert len(await store.read(lambda conn: audit.page(conn, 0, 10))) == 1


async def test_a_result_concerns_its_alert_and_an_order_all_alerts_of_the_class(store: Store) -> None:
    other = replace(standing("Other", "rag7"), remediation="restart")
    await opened(
        store, standing(), standing("Broken"), standing("Broken", "rag7"), standing("Broken", "web"), other
    )
    classes = ["rag7", "rag7/Deployment", "rag7/Deployment/langgraph"]

    def look(tx: Tx, alertname: str | None) -> list[str]:
        return [s.key for s in standings.concerned(tx, "high-error-rate", classes, alertname)]

    assert await store.write(lambda tx: look(tx, "HighErrorRate")) == [KEY]
    assert sorted(await store.write(lambda tx: look(tx, None))) == sorted(
        [KEY, "Broken/high-error-rate/rag7", "Broken/high-error-rate/rag7/Deployment"]
    )
    assert await store.write(lambda tx: look(tx, "Unknown")) == []


async def test_results_at_the_same_moment_are_both_counted(store: Store) -> None:
    await opened(store, standing())

    def count(tx: Tx) -> None:
        (held,) = standings.concerned(tx, "high-error-rate", ["rag7/Deployment"])
        more = replace(held, successes=held.successes + 1, trials=held.trials + 1)
        standings.put(tx, more, {"change": "counted"})

    await asyncio.gather(*(store.write(count) for _ in range(12)))
    now = await found(store)
    assert now is not None
    assert (now.successes, now.trials) == (12, 12)


async def test_what_waits_and_how_many_stand_where_is_counted(store: Store) -> None:
    assert await store.read(standings.count) == ({}, 0)
    await opened(store, standing(), standing("Broken"), standing("Slow", level=Mode.AUTO))
    waiting = replace(standing("Broken"), asked_at=START)
    await store.write(lambda tx: standings.put(tx, waiting, {"change": "asked"}))
    assert await store.read(standings.count) == ({"observe": 2, "auto": 1}, 1)
    asked = await store.read(lambda conn: standings.waiting(conn, "high-error-rate"))
    assert [s.alertname for s in asked] == ["Broken"]
    assert await store.read(lambda conn: standings.waiting(conn, "restart")) == []
    assert [s.alertname for s in await store.read(standings.listed)] == ["Broken", "HighErrorRate", "Slow"]


async def test_one_that_is_not_there_cannot_be_held(store: Store) -> None:
    with pytest.raises(Missing):
        await store.write(lambda tx: standings.hold(tx, KEY))


async def test_only_resting_incidents_of_the_alert_are_woken(store: Store) -> None:
    incident_id = await open_incident(store)
    claim = timedelta(seconds=60)
    await store.write(lambda tx: incidents.claim_due(tx, "replica", claim, 10))
    await store.write(lambda tx: incidents.schedule(tx, incident_id, None))
    alertname = (await store.read(lambda conn: incidents.get(conn, incident_id))).alertname

    async def due() -> bool:
        row = incident_rows.c
        query = incident_rows.select().with_only_columns(row.due_at).where(row.id == incident_id)
        return (await store.read(lambda conn: conn.execute(query).scalar())) is not None

    await store.write(lambda tx: facts.wake_resting(tx, observed=True, alertname=alertname))
    assert not await due()  # open, not resting
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.OBSERVED))
    await store.write(lambda tx: facts.wake_resting(tx, observed=True, alertname="Another"))
    assert not await due()
    await store.write(lambda tx: facts.wake_resting(tx, observed=True, alertname=alertname))
    assert await due()
